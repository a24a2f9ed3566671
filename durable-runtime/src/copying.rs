//! Copies of objects: snapshots, forks, exports and imports, for callers with and without types.
//!
//! The guarantee: a copy is one object after one of its commits, or one file, whole. The object that is copied is neither activated nor
//! held up. One that is made of a copy is there whole, durably, or not at all; and it is a new one: see
//! [`storage::copy`](crate::storage) for what stays behind.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;

use crate::engine::{About, Configure, Copied, Copies, CopyFile, Engine, ObjectKey, Point, sqlite};
use crate::id::{Identity, RawId};
use crate::instance::adopt::Adoption;
use crate::instance::registry::AnyClass;
use crate::instance::turn::in_a_turn;
use crate::node::Node;
use crate::object::MigrationInfo;
use crate::storage::{Importer, become_new, millis};
use crate::trial::try_guarded;
use crate::{Error, ErrorKind, Result};

/// How far a copy is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that are copied.
    pub done: u64,
    /// All bytes.
    pub total: u64,
}

/// Is told how far a copy is, on the thread that makes it.
pub(crate) type Report = Box<dyn FnMut(Progress) + Send>;

/// What to copy, and whom to tell.
#[derive(Default)]
pub(crate) struct Source {
    /// The commit; the last one if there is none.
    pub(crate) at: Option<Point>,
    pub(crate) report: Option<Report>,
}

/// What a copy is to become.
pub(crate) struct Target {
    key: ObjectKey,
    name: Option<Arc<str>>,
    /// Nothing where the program does not have the class.
    class: Option<Arc<dyn AnyClass>>,
}

/// A copy that is kept.
#[derive(Debug)]
pub(crate) struct RawSnapshot {
    file: CopyFile,
    pub(crate) copied: Copied,
}

impl Source {
    fn report(mut self) -> impl FnMut(u64, u64) + Send {
        move |done, total| {
            if let Some(report) = &mut self.report {
                report(Progress { done, total });
            }
        }
    }
}

impl Target {
    /// An object of a class of the program's.
    pub(crate) fn new(class: Arc<dyn AnyClass>, id: RawId, name: Option<Arc<str>>) -> Target {
        let key = ObjectKey { class: class.key().into(), id };
        Target { key, name, class: Some(class) }
    }

    /// An object of a class that the program does not have.
    #[cfg(feature = "admin")]
    pub(crate) fn of_stranger(key: ObjectKey, name: Option<Arc<str>>) -> Target {
        Target { key, name, class: None }
    }

    fn identity(&self, node: &Arc<Node>) -> Arc<Identity> {
        if let Some(class) = &self.class {
            return Arc::clone(class).identity(node, self.key.id, self.name.as_ref());
        }
        let identity = Identity::new(Arc::clone(&self.key.class), self.key.id);
        if let Some(name) = &self.name {
            let _ = identity.name.set(Arc::clone(name));
        }
        Arc::new(identity)
    }

    /// The history of its schema, as far as that is known.
    fn schema(&self) -> &'static [MigrationInfo] {
        self.class.as_ref().map_or(&[], |class| class.migrations())
    }

    /// Makes a copy its first commit, durably.
    async fn adopt(self, node: &Arc<Node>, adoption: Adoption) -> Result<()> {
        if let Some(class) = self.class {
            return class.adopt(node, self.key.id, adoption).await;
        }
        let keeper = Arc::clone(node);
        let adopt = move |engine: &dyn Engine| {
            let _alone = keeper.keep_strangers();
            let Adoption { copy, about, wake } = adoption;
            engine.adopt(&self.key, copy, about, wake).map(drop)
        };
        node.read(adopt).await
    }
}

impl RawSnapshot {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Writes an object to a file outside, which must not be there.
pub(crate) async fn export(
    node: &Arc<Node>,
    object: ObjectKey,
    source: Source,
    path: PathBuf,
) -> Result<Copied> {
    check_outside_of_turns()?;
    let write = move |engine: &dyn Engine| {
        let copy = beside(&*engine.copies()?, &path)?;
        let copied = engine.copy(&object, source.at, &copy, &mut source.report())?;
        copy.publish(&path)?;
        Ok(copied)
    };
    node.read(write).await
}

/// Writes a snapshot to a file outside, which must not be there.
pub(crate) async fn export_snapshot(
    node: &Arc<Node>,
    snapshot: &Arc<RawSnapshot>,
    path: PathBuf,
) -> Result<Copied> {
    check_outside_of_turns()?;
    let snapshot = Arc::clone(snapshot);
    let write = move |engine: &dyn Engine| {
        let copies = engine.copies()?;
        let copy = beside(&copies, &path)?;
        copies.duplicate(snapshot.path(), &copy)?;
        copy.publish(&path)?;
        Ok(snapshot.copied)
    };
    node.read(write).await
}

/// Takes a copy that is kept until it is dropped.
pub(crate) async fn snapshot(
    node: &Arc<Node>,
    object: ObjectKey,
    source: Source,
) -> Result<RawSnapshot> {
    check_outside_of_turns()?;
    let take = move |engine: &dyn Engine| {
        let file = engine.copies()?.new_file()?;
        let copied = engine.copy(&object, source.at, &file, &mut source.report())?;
        Ok(RawSnapshot { file, copied })
    };
    node.read(take).await
}

/// Makes an object of another one.
pub(crate) async fn fork(
    node: &Arc<Node>,
    object: ObjectKey,
    source: Source,
    target: Target,
) -> Result<()> {
    let copy = move |engine: &dyn Engine| {
        let copy = engine.copies()?.new_file()?;
        engine.copy(&object, source.at, &copy, &mut source.report())?;
        Ok(copy)
    };
    make(node, target, Pending::None, copy).await
}

/// Makes an object of a snapshot.
pub(crate) async fn fork_snapshot(
    node: &Arc<Node>,
    snapshot: &Arc<RawSnapshot>,
    target: Target,
) -> Result<()> {
    let snapshot = Arc::clone(snapshot);
    let copy = move |engine: &dyn Engine| {
        let copies = engine.copies()?;
        let copy = copies.new_file()?;
        copies.duplicate(snapshot.path(), &copy)?;
        Ok(copy)
    };
    make(node, target, Pending::None, copy).await
}

/// Makes an object of a SQLite file.
pub(crate) async fn import(node: &Arc<Node>, path: PathBuf, target: Target) -> Result<()> {
    let (class, schema) = (Arc::clone(&target.key.class), target.schema());
    let now = node.settings.time.now_or_system();
    let bytes_max = node.settings.limits.database_bytes;
    let copy = move |engine: &dyn Engine| {
        let copies = engine.copies()?;
        let (copy, beside) = copies.take_in(&path)?;
        let other = copies.successor(&copy);
        let importer = Importer { class: &class, schema, now, bytes_max };
        let adapted = importer.adapt(copy.path(), other.path());
        let is_written_anew = adapted
            .map_err(|error| error.context(format!("{} cannot be imported", path.display())))?;
        drop(beside);
        Ok(if is_written_anew { other } else { copy })
    };
    make(node, target, Pending::Try, copy).await
}

/// What to do about migrations that a copy has not had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// The object is as good as the one that it was copied from.
    None,
    /// Nobody has ever run them on such data.
    Try,
}

/// Makes an object of what `copy` gives.
async fn make(
    node: &Arc<Node>,
    target: Target,
    pending: Pending,
    copy: impl FnOnce(&dyn Engine) -> Result<CopyFile> + Send + 'static,
) -> Result<()> {
    check_outside_of_turns()?;
    let (identity, key) = (target.identity(node), target.key.clone());
    let expires_after = target.class.as_ref().and_then(|class| class.expires_after());
    let schema = target.schema();
    let now_ms = millis(node.settings.time.now_or_system());
    let prepare = move |engine: &dyn Engine| {
        if engine.exists(&key)? {
            return Err(Error::new(ErrorKind::Exists, format!("{identity} exists already")));
        }
        let copy = copy(engine)?;
        let copies = engine.copies()?;
        let wake = copies.amend(&copy, &configure(), &mut |connection| {
            become_new(connection, &identity, now_ms, expires_after)
        })?;
        if pending == Pending::Try {
            try_guarded(copies.trial(&copy), &key, schema).outcome?;
        }
        let about = About {
            name: identity.name.get().cloned(),
            location_hint: identity.hint().map(|hint| hint.to_string()),
        };
        Ok(Adoption { copy, about, wake })
    };
    let adoption = node.read(prepare).await?;
    target.adopt(node, adoption).await
}

/// For statements of ours on a copy.
fn configure() -> Configure {
    Arc::new(|connection| {
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        ] {
            connection.set_db_config(setting, value)?;
        }
        Ok(())
    })
}

fn check_outside_of_turns() -> Result<()> {
    if !in_a_turn() {
        return Ok(());
    }
    let text = "a turn cannot wait for a copy of an object: use `ctx.wait_until`";
    Err(Error::new(ErrorKind::Deadlock, text))
}

/// A file beside another one, which must not be there.
fn beside(copies: &Copies, path: &Path) -> Result<CopyFile> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Invalid, format!("{} names no file", path.display())));
    };
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::Exists, format!("{} is there already", path.display())));
    }
    loop {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        // What is there may be a link to another export, left by a program that died, or somebody's who may not write there.
        if let Some(file) = copies.make_at(path.with_file_name(hidden))? {
            return Ok(file);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("at", &self.at).finish_non_exhaustive()
    }
}

/// How many bytes the database of a copy has.
pub(crate) fn bytes_of(copied: &Copied) -> u64 {
    u64::from(copied.header.pages) * sqlite::PAGE_BYTES
}
