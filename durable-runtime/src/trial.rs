//! Trying migrations on real databases before they meet them.
//!
//! The guarantee: the directory is not changed. Each object is put together in memory as the next start would find it, one after
//! the other, and what its migrations write stays there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::engine::{Engine, ObjectKey, Trial};
use crate::instance::turn::guarded;
use crate::storage::{Tried, try_migrations};
use crate::{DurableObject, Error, ErrorKind, MigrationInfo, ObjectId, Result};

/// What became of the objects of a class. See [`check_migrations_on`].
#[non_exhaustive]
pub struct MigrationReport<T> {
    /// All objects of the class, in the order of their ids.
    pub objects: Vec<MigrationTrial<T>>,
}

/// An object on which migrations were tried.
#[non_exhaustive]
pub struct MigrationTrial<T> {
    /// Its id, with its name if it has one.
    pub id: ObjectId<T>,
    /// The schema version that it has.
    pub from: u32,
    /// The schema version that this program would bring it to.
    pub to: u32,
    /// Why it cannot be brought there, if so.
    pub error: Option<Error>,
}

impl<T> MigrationReport<T> {
    /// Whether every object can be brought to the version of this program.
    pub fn is_sound(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The objects that cannot.
    pub fn failures(&self) -> impl Iterator<Item = &MigrationTrial<T>> {
        self.objects.iter().filter(|object| object.error.is_some())
    }
}

/// Runs the migrations that the objects of a class have not had on the real data of a directory, and says which would fail and
/// why. Nothing in the directory changes; best run it on last night's copy before a new version goes out.
///
/// It blocks the thread for as long as the migrations take: call it outside of async code, or with `spawn_blocking`. What one
/// object's migrations write is held in memory meanwhile, up to 1 GiB each.
///
/// ```
/// use durable_runtime::{DurableObject, Result, check_migrations_on};
///
/// fn rehearse<T: DurableObject>() -> Result<()> {
///     let report = check_migrations_on::<T>("/backups/last-night")?;
///     for failure in report.failures() {
///         println!("{failure:?}");
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`ErrorKind::Locked`] while a runtime uses the directory, [`ErrorKind::Invalid`] when it is no data directory or when the class could
/// not be registered there, since its objects have another name by now, and [`ErrorKind::Storage`] when it cannot be read. That nothing is stored of the class is no error. What is wrong with one
/// object is in the report.
pub fn check_migrations_on<T: DurableObject>(
    directory: impl AsRef<Path>,
) -> Result<MigrationReport<T>> {
    let trial = Arc::new(Trial::open(directory.as_ref())?);
    let Some(key) = trial.key_of(T::CLASS, T::FORMER_CLASSES)? else {
        return Ok(MigrationReport { objects: Vec::new() });
    };
    let to = T::MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or(0);
    let objects = trial.objects(&key)?.into_iter().map(|object| {
        let engine: Arc<dyn Engine> = Arc::clone(&trial) as _;
        let Tried { name, from, outcome } = try_guarded(engine, &object, T::MIGRATIONS);
        MigrationTrial { id: ObjectId::new(object.id, name), from, to, error: outcome.err() }
    });
    Ok(MigrationReport { objects: objects.collect() })
}

/// Runs the migrations that an object of an engine for trials has not had. One that panics has failed.
pub(crate) fn try_guarded(
    engine: Arc<dyn Engine>,
    object: &ObjectKey,
    schema: &'static [MigrationInfo],
) -> Tried {
    try_migrations(engine, object, schema, |run| {
        guarded(run).unwrap_or_else(|message| {
            let text = format!("a migration panicked: {message}");
            Err(Error::new(ErrorKind::Panicked, text))
        })
    })
}

impl<T> fmt::Debug for MigrationTrial<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationTrial")
            .field("id", &self.id)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("error", &self.error)
            .finish()
    }
}

impl<T> fmt::Debug for MigrationReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationReport").field("objects", &self.objects).finish()
    }
}
