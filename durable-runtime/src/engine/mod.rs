//! What makes objects durable.
//!
//! The guarantee: once a [`Receipt`] says that a commit is durable, the commit survives a crash
//! of the process and a loss of power, whole. Before that it may be lost, but only whole. An object that
//! was never committed leaves no trace.
//!
//! `storage` and everything above it know only the two traits of this file. No connection is
//! opened outside this folder.

mod catalogue;
mod directory;
mod files;
mod journal;
mod journaled;
mod overlay;
mod pagestore;
mod receipt;
mod record;
mod scan;
mod scratch;
pub(crate) mod sqlite;
#[cfg(test)]
mod testing;
mod vfs;

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;

pub(crate) use catalogue::Catalogue;
pub(crate) use directory::Directory;
pub(crate) use files::RealDisk;
pub(crate) use journaled::{CHECKPOINT_DISTANCE, JournaledEngine};
pub(crate) use receipt::Receipt;
pub(crate) use scratch::Scratch;
pub(crate) use vfs::tune_process;

use crate::id::RawId;
use crate::{Error, Result};

/// Which object: the class key and the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) class: Arc<str>,
    pub(crate) id: RawId,
}

/// Prepares a new connection for its use by the layers above. An engine calls it on every connection that
/// it hands out, also when it replaces one.
pub(crate) type Configure = Arc<dyn Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Keeps the databases of all objects.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Opens the database of an object. For an object that was never committed nothing is created on disk.
    fn open(&self, object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>>;

    /// Whether a commit ever made the object durable.
    fn exists(&self, object: &ObjectKey) -> Result<bool>;

    /// Fails when the engine can no longer make anything durable; never durable before.
    fn failed(&self) -> Receipt;

    /// How many files an open object holds open, at most.
    fn files_per_object(&self) -> usize;
}

/// The open database of one object.
///
/// After a failed commit or rollback whose outcome is unknown every later `begin`, `commit` and
/// `rollback` fails; the database must then be dropped and opened anew.
pub(crate) trait Database: Send {
    /// The connection to run statements on. It changes with `commit`, so it is not to be kept.
    fn connection(&self) -> &Connection;

    /// Lets a transaction change as much as a migration may, or only as much as a turn.
    fn allow_large_transactions(&self, allow: bool) {
        let _ = allow;
    }

    /// Why the engine failed a statement, if it was that and not SQLite; asked once after each failure.
    fn take_failure(&self) -> Option<Error> {
        None
    }

    /// Whether a commit ever made the object durable.
    fn is_stored(&self) -> bool;

    /// Whether it failed and must be dropped and opened anew.
    fn is_failed(&self) -> bool {
        false
    }

    /// Begins a transaction.
    fn begin(&self) -> Result<()>;

    /// Commits the transaction, which makes the object exist if it did not. If this fails, nothing of
    /// the transaction is left.
    fn commit(&mut self) -> Result<Receipt>;

    /// Commits the transaction of a never-written object in memory only: the next `commit`
    /// stores it, and without one it is forgotten. On a stored object this is an error.
    fn commit_provisional(&mut self) -> Result<()>;

    /// Ends the transaction without its effects. Does nothing if SQLite has ended it already.
    fn rollback(&mut self) -> Result<()>;
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.id)
    }
}
