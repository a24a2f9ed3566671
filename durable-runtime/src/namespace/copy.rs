//! Copies of objects, with types: see [`copying`](crate::copying).

use std::fmt;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Namespace;
use crate::copying::{self, RawSnapshot, Source, Target, bytes_of};
use crate::engine::{Copied, ObjectKey};
use crate::{Bookmark, BoxFuture, DurableObject, ObjectId, Progress, Result};

/// An object that was written to a file. See [`Namespace::export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The moment of the object that the file holds.
    pub bookmark: Bookmark,
    /// The size of the file.
    pub bytes: u64,
    /// The number of the last migration that the object had had; 0 if none.
    pub schema_version: u32,
}

impl Exported {
    fn new<T>(id: &ObjectId<T>, copied: &Copied) -> Exported {
        Exported {
            bookmark: Bookmark::new(id.raw(), copied.point),
            bytes: bytes_of(copied),
            schema_version: copied.header.schema_version,
        }
    }
}

impl<T: DurableObject> Namespace<T> {
    /// Writes an object to a file: a plain SQLite database, whole after one commit, that needs nothing beside it. The object
    /// goes on meanwhile, and is not activated. Where the disk can do
    /// that (btrfs, XFS), nothing is copied: the two files share their bytes until one of them changes.
    ///
    /// The file holds all that the object has, also tables of the framework's, whose names begin with `_durable_`.
    /// [`import`](Self::import) makes an object of it.
    ///
    /// ```
    /// use durable_runtime::{DurableObject, Namespace, ObjectId, Result};
    ///
    /// async fn back_up<T: DurableObject>(rooms: &Namespace<T>, id: &ObjectId<T>) -> Result<()> {
    ///     let exported = rooms.export(id, "/backups/room.db").await?;
    ///     println!("{} bytes, as of {}", exported.bytes, exported.bookmark);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when there is a file of that name, [`ErrorKind::NotKept`](crate::ErrorKind::NotKept) when the object does not exist or that moment
    /// of it is not kept, [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a bookmark of another object; when the class is not registered, the id belongs
    /// to another class, the disk fails, or this is awaited inside a turn. Then there is no file.
    pub fn export(&self, id: &ObjectId<T>, path: impl AsRef<Path>) -> Export<T> {
        Export { copy: Copy::new(self, id), path: path.as_ref().to_owned() }
    }

    /// Takes a copy of an object that is kept until it is dropped, in the data directory: to make several objects of it, or
    /// several files, or to read it with SQLite. What a program leaves that dies is removed at the next start.
    ///
    /// ```
    /// use durable_runtime::{DurableObject, Namespace, ObjectId, Result};
    ///
    /// async fn multiply<T: DurableObject>(rooms: &Namespace<T>, template: &ObjectId<T>) -> Result<()> {
    ///     let snapshot = rooms.snapshot(template).await?;
    ///     for name in ["a", "b", "c"] {
    ///         snapshot.fork(&rooms.id_from_name(name)?).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`export`](Self::export), without a file.
    pub fn snapshot(&self, id: &ObjectId<T>) -> TakeSnapshot<T> {
        TakeSnapshot { copy: Copy::new(self, id) }
    }

    /// Makes an object that begins with the data of another one: the tables, the keys and values, the schema. It is an object of its own, with the
    /// name and the id of `to`, created now; it has no alarm, no timers, no messages that wait, came or were given up, no sockets, and its history
    /// begins here. The other object goes on meanwhile, and is not activated.
    ///
    /// Of two that make the same object at the same time one succeeds, also if the other one is a first write. Turns of the new object that
    /// are asked for meanwhile wait and find the copy.
    ///
    /// ```
    /// use durable_runtime::{DurableObject, Namespace, ObjectId, Result};
    ///
    /// async fn try_out<T: DurableObject>(rooms: &Namespace<T>, id: &ObjectId<T>) -> Result<ObjectId<T>> {
    ///     let copy = rooms.unique_id()?;
    ///     rooms.fork(id, &copy).await?;
    ///     Ok(copy)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when `to` exists; otherwise as [`export`](Self::export). Then nothing is made.
    pub fn fork(&self, from: &ObjectId<T>, to: &ObjectId<T>) -> Fork<T> {
        Fork { copy: Copy::new(self, from), to: to.clone() }
    }

    /// Makes an object that begins with what is in a SQLite file: one that [`export`](Self::export) wrote, of an object of the same class in whatever directory, or
    /// one of another program. It is an object of its own, as after [`fork`](Self::fork). The file stays as it is; nobody may write to it
    /// meanwhile. A log beside it (`-wal`) counts.
    ///
    /// The file is looked over first: `integrity_check`, `foreign_key_check`, text in UTF-8. Any size of pages will do. Of the tables whose names begin with
    /// `_durable_` an export's keys and values and its record of migrations are taken over, nothing else; a file that has other
    /// things that speak of such tables is refused.
    ///
    /// Which migrations it has had, an export says itself. Of another program's file its `user_version` is taken for the number of the last one: 0, if
    /// it was never set, runs all of them. Those that are missing are tried on the data before anything is stored, and run at
    /// the first use.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when the object exists, [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the file is not sound or not allowed, [`ErrorKind::Constraint`](crate::ErrorKind::Constraint) when a row refers to one that is not there,
    /// [`ErrorKind::Migration`](crate::ErrorKind::Migration) when its schema is newer than the program's or a migration fails, [`ErrorKind::Limit`](crate::ErrorKind::Limit) when it is larger than
    /// [`database_limit`](crate::Builder::database_limit); when the class is not registered, the id belongs to another class, the disk fails, or this is awaited inside a
    /// turn. Then nothing is made.
    pub async fn import(&self, id: &ObjectId<T>, path: impl AsRef<Path>) -> Result<()> {
        let (target, path) = (self.target(id)?, path.as_ref().to_owned());
        copying::import(&self.node, path, target).await
    }

    fn target(&self, id: &ObjectId<T>) -> Result<Target> {
        self.check(id)?;
        let class = Arc::clone(self.class()?);
        Ok(Target::new(class, id.raw(), id.shared_name().cloned()))
    }
}

/// What all copies have in common.
struct Copy<T: DurableObject> {
    namespace: Namespace<T>,
    id: ObjectId<T>,
    at: Option<Bookmark>,
    report: Option<copying::Report>,
}

impl<T: DurableObject> Copy<T> {
    fn new(namespace: &Namespace<T>, id: &ObjectId<T>) -> Self {
        Copy { namespace: namespace.clone(), id: id.clone(), at: None, report: None }
    }

    fn source(&mut self) -> Result<(ObjectKey, Source)> {
        self.namespace.check(&self.id)?;
        let id = self.id.raw();
        let class = self.namespace.class()?.key.clone();
        let at = self.at.map(|bookmark| bookmark.point_of(id)).transpose()?;
        Ok((ObjectKey { class, id }, Source { at, report: self.report.take() }))
    }
}

macro_rules! options {
    ($name:ident) => {
        impl<T: DurableObject> $name<T> {
            /// The object as it was at a bookmark, instead of as it is now. It need not exist any more.
            pub fn at(mut self, bookmark: &Bookmark) -> Self {
                self.copy.at = Some(*bookmark);
                self
            }

            /// Says now and then how far it is, on the thread that copies. Where the disk lets files share their bytes, only once.
            pub fn progress(mut self, report: impl FnMut(Progress) + Send + 'static) -> Self {
                self.copy.report = Some(Box::new(report));
                self
            }
        }

        impl<T: DurableObject> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.copy.id)
            }
        }
    };
}

/// An object that is to be written to a file. See [`Namespace::export`].
#[must_use = "nothing is written before it is awaited"]
pub struct Export<T: DurableObject> {
    copy: Copy<T>,
    path: PathBuf,
}

options!(Export);

impl<T: DurableObject> IntoFuture for Export<T> {
    type Output = Result<Exported>;
    type IntoFuture = BoxFuture<Result<Exported>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (object, source) = self.copy.source()?;
            let node = &self.copy.namespace.node;
            let copied = copying::export(node, object, source, self.path).await?;
            Ok(Exported::new(&self.copy.id, &copied))
        })
    }
}

/// An object that is to be copied. See [`Namespace::snapshot`].
#[must_use = "nothing is copied before it is awaited"]
pub struct TakeSnapshot<T: DurableObject> {
    copy: Copy<T>,
}

options!(TakeSnapshot);

impl<T: DurableObject> IntoFuture for TakeSnapshot<T> {
    type Output = Result<Snapshot<T>>;
    type IntoFuture = BoxFuture<Result<Snapshot<T>>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (object, source) = self.copy.source()?;
            let Copy { namespace, id, .. } = self.copy;
            let raw = copying::snapshot(&namespace.node, object, source).await?;
            Ok(Snapshot { namespace, id, raw: Arc::new(raw) })
        })
    }
}

/// An object that is to be made of another one. See [`Namespace::fork`].
#[must_use = "nothing is made before it is awaited"]
pub struct Fork<T: DurableObject> {
    copy: Copy<T>,
    to: ObjectId<T>,
}

options!(Fork);

impl<T: DurableObject> IntoFuture for Fork<T> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<Result<()>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (object, source) = self.copy.source()?;
            let namespace = &self.copy.namespace;
            let target = namespace.target(&self.to)?;
            copying::fork(&namespace.node, object, source, target).await
        })
    }
}

/// A copy of an object, in the data directory. It is removed when this is dropped. See [`Namespace::snapshot`].
pub struct Snapshot<T: DurableObject> {
    namespace: Namespace<T>,
    id: ObjectId<T>,
    raw: Arc<RawSnapshot>,
}

impl<T: DurableObject> Snapshot<T> {
    /// The object that was copied.
    pub fn id(&self) -> &ObjectId<T> {
        &self.id
    }

    /// The moment of the object that the copy holds.
    pub fn bookmark(&self) -> Bookmark {
        Bookmark::new(self.id.raw(), self.raw.copied.point)
    }

    /// The number of the last migration that the object had had; 0 if none.
    pub fn schema_version(&self) -> u32 {
        self.raw.copied.header.schema_version
    }

    /// The size of the copy, in bytes.
    pub fn size(&self) -> u64 {
        bytes_of(&self.raw.copied)
    }

    /// The copy: a plain SQLite database, to be read only. It is there as long as this is not dropped.
    pub fn path(&self) -> &Path {
        self.raw.path()
    }

    /// Makes an object of the copy: see [`Namespace::fork`].
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when `to` exists; when its id belongs to another class, the disk fails, or this is awaited inside a turn.
    pub async fn fork(&self, to: &ObjectId<T>) -> Result<()> {
        let target = self.namespace.target(to)?;
        copying::fork_snapshot(&self.namespace.node, &self.raw, target).await
    }

    /// Writes the copy to a file: see [`Namespace::export`].
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when there is a file of that name; when the disk fails, or this is awaited inside a turn.
    pub async fn export(&self, path: impl AsRef<Path>) -> Result<Exported> {
        let path = path.as_ref().to_owned();
        let copied = copying::export_snapshot(&self.namespace.node, &self.raw, path).await?;
        Ok(Exported::new(&self.id, &copied))
    }
}

impl<T: DurableObject> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, {})", self.id, self.bookmark())
    }
}
