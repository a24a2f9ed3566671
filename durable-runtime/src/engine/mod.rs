//! What makes objects durable.
//!
//! The guarantee: once a [`Receipt`] says that a commit is durable, the commit survives a crash
//! of the process and a loss of power, whole. Before that it may be lost, but only whole. An object that
//! was never committed leaves no trace.
//!
//! `storage` and everything above it know only the two traits of this file. No connection is
//! opened outside this folder.

mod catalogue;
mod check;
mod copies;
mod directory;
#[cfg(test)]
pub(crate) mod fake;
mod files;
mod history;
mod journal;
mod journaled;
mod listing;
mod meta;
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
mod wakes;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use rusqlite::Connection;

#[cfg(test)]
pub(crate) use catalogue::ObjectIndex;
pub(crate) use catalogue::{Catalogue, Class as StoredClass};
pub(crate) use check::Trial;
pub use check::{Check, CheckProgress, CheckReport, Problem, ProblemKind, ProblemObject, check};
pub(crate) use copies::{Copied, Copies, CopyFile, OnProgress};
pub(crate) use directory::Directory;
#[cfg(test)]
pub(crate) use files::held;
#[cfg(feature = "testing")]
pub(crate) use files::lossy::LossyDisk;
pub(crate) use files::{Disk, RealDisk};
#[cfg(feature = "admin")]
pub(crate) use history::Moments;
pub(crate) use history::{HistoryLimits, Point};
pub(crate) use journaled::{JournaledEngine, OnDamage, WriteLimits};
pub(crate) use listing::{Known, Listed, Order, Place};
#[cfg(test)]
pub(crate) use meta::WAKES;
pub(crate) use meta::{Absent, META_FORMAT, Work, is_no_table, read_wake};
pub(crate) use receipt::Receipt;
#[cfg(all(test, loom))]
pub(crate) use receipt::Watermark;
pub(crate) use scratch::Scratch;
pub(crate) use vfs::tune_process;
pub(crate) use wakes::{Due, NEVER, Wake};

use crate::id::RawId;
use crate::{Error, ErrorKind, Result};

/// Which object: the class key and the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) class: Arc<str>,
    pub(crate) id: RawId,
}

/// What a list of objects says of one, besides its commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) location_hint: Option<String>,
}

impl About {
    /// Takes over what the other one knows.
    fn merge(&mut self, other: About) {
        self.name = other.name.or(self.name.take());
        self.location_hint = other.location_hint.or(self.location_hint.take());
    }
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

    /// Durable when everything is that was committed so far.
    fn flushed(&self) -> Receipt {
        Receipt::durable()
    }

    /// How many files an open object holds open, at most.
    fn files_per_object(&self) -> usize;

    /// The earliest time, in milliseconds since 1970, that an object wants to be woken at; `waiter` is told once when it
    /// becomes earlier. Objects that are taken do not count.
    ///
    /// # Errors
    /// When the list of those times cannot be read.
    fn earliest_wake(&self, waiter: &Waker) -> Result<Option<i64>> {
        let _ = waiter;
        Ok(None)
    }

    /// Takes the first object whose time has come. It is not found again before it is [given back](Self::give_back).
    ///
    /// # Errors
    /// As [`earliest_wake`](Self::earliest_wake).
    fn take_due(&self, now_ms: i64) -> Result<Option<Due>> {
        let _ = now_ms;
        Ok(None)
    }

    /// Lets a taken object be found again.
    fn give_back(&self, object: &ObjectKey) {
        let _ = object;
    }

    /// Says what the object itself holds about its time, when that is not what was known of it. Only for whoever has
    /// the object to himself.
    fn correct_wake(&self, object: &ObjectKey, wake: Wake) {
        let _ = (object, wake);
    }

    /// Lets an object, taken or not, be found not before this time, unless it commits another one: what it wants before is
    /// being done.
    fn put_off(&self, object: &ObjectKey, not_before_ms: i64) {
        let _ = (object, not_before_ms);
    }

    /// Makes an object what it was after an earlier commit, in a commit of its own. It is not open, and is opened with
    /// `configure` for `amend`.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when that is not kept, and those of `amend`; the object is as it was then.
    fn restore(
        &self,
        object: &ObjectKey,
        point: Point,
        configure: Configure,
        amend: Amend<'_>,
    ) -> Result<Receipt> {
        let _ = (object, point, configure, amend);
        Err(no_history())
    }

    /// The objects of a class that exist, from a place on: so many, unless there are no more. Some of what is found may
    /// not be [durable](Self::flushed) yet.
    ///
    /// # Errors
    /// When the list cannot be read.
    fn list(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>> {
        let _ = (class, order, count);
        Ok(Vec::new())
    }

    /// What is known of an object, if it exists.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn find(&self, object: &ObjectKey) -> Result<Option<Known>> {
        let _ = object;
        Ok(None)
    }

    /// The classes that are stored, in the order of their names.
    ///
    /// # Errors
    /// When the list cannot be read.
    fn classes(&self) -> Result<Vec<StoredClass>> {
        Ok(Vec::new())
    }

    /// Deletes an object of which nobody has the database open.
    ///
    /// # Errors
    /// When its database cannot be opened, or the deletion cannot be logged.
    fn delete(&self, object: &ObjectKey) -> Result<()> {
        self.open(object, Arc::new(|_| Ok(())))?.delete().map(drop)
    }

    /// Forgets a class whose objects are all deleted, once none of them has a file any more.
    ///
    /// # Errors
    /// When files cannot be removed, or the list cannot be written.
    fn remove_class(&self, key: &str) -> Result<()> {
        let _ = key;
        Ok(())
    }

    /// Says when an object was last in use, before it leaves memory. That is kept from the next checkpoint on.
    fn note_use(&self, object: &ObjectKey, time_ms: i64) {
        let _ = (object, time_ms);
    }

    /// The copies of databases in this directory.
    ///
    /// # Errors
    /// When this engine makes none.
    fn copies(&self) -> Result<Arc<Copies>> {
        Err(no_copies())
    }

    /// Copies an object as it is now, or as it was after a commit, to a file that is not there yet. The object need not be open, and goes on
    /// if it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when the object does not exist, or that commit is not kept; and when the disk fails.
    fn copy(
        &self,
        object: &ObjectKey,
        point: Option<Point>,
        to: &CopyFile,
        progress: OnProgress<'_>,
    ) -> Result<Copied> {
        let _ = (object, point, to, progress);
        Err(no_copies())
    }

    /// Makes a copy the first commit of an object that does not exist and that nobody has open.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when it exists, and when it cannot be logged; then nothing has happened.
    fn adopt(
        &self,
        object: &ObjectKey,
        copy: CopyFile,
        about: About,
        wake: Wake,
    ) -> Result<Receipt> {
        let _ = (object, copy, about, wake);
        Err(no_copies())
    }

    /// Removes what is kept of an object's past until now, durably, and its file, if it was deleted.
    ///
    /// # Errors
    /// When files cannot be written or removed: part of it may still be there.
    fn erase(&self, object: &ObjectKey) -> Result<()> {
        let _ = object;
        Ok(())
    }

    /// The objects of a class in which work was given up, in the order of their ids.
    ///
    /// # Errors
    /// When the list cannot be read.
    fn given_up(&self, class: &str) -> Result<Vec<ObjectKey>> {
        let _ = class;
        Ok(Vec::new())
    }
}

/// What is done to a database that was restored, before that is committed. It may refuse.
pub(crate) type Amend<'a> = &'a mut dyn FnMut(&Connection) -> Result<()>;

fn no_copies() -> Error {
    Error::new(ErrorKind::Refused, "objects that are not stored cannot be copied")
}

fn no_history() -> Error {
    Error::new(
        ErrorKind::NotKept,
        "no history of objects is kept: give `Builder::history` another duration than zero",
    )
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

    /// Says when all is durable that the object was when the database was opened, its deletion included.
    fn latest(&self) -> Receipt {
        Receipt::durable()
    }

    /// The object's last commit.
    fn last_commit(&self) -> Point {
        Point::default()
    }

    /// The object's last commit that was made at a time, in milliseconds since 1970, or before.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when the object did not exist then, or that is not kept.
    fn commit_at(&self, time_ms: i64) -> Result<Point> {
        let _ = time_ms;
        Err(no_history())
    }

    /// So many of the object's last commits that it can be restored to, and the first of all.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when no history is kept.
    #[cfg(feature = "admin")]
    fn moments(&self, count: usize) -> Result<Moments> {
        let _ = count;
        Err(no_history())
    }

    /// Whether the object can be restored to what it was after this commit.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when it cannot.
    fn check_kept(&self, point: Point) -> Result<()> {
        let _ = point;
        Err(no_history())
    }

    /// Whether it failed and must be dropped and opened anew.
    fn is_failed(&self) -> bool {
        false
    }

    /// How much memory it takes, in bytes. An estimate: SQLite does not say.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Says who the object is, which becomes known with the next `commit`. Told before its first one, and
    /// whenever more is known.
    fn describe(&mut self, about: About) {
        let _ = about;
    }

    /// Says what the object waits for from the next `commit` on. Without this it stays as it was; a deletion clears it.
    fn set_wake(&mut self, wake: Wake) {
        let _ = wake;
    }

    /// Begins a transaction.
    fn begin(&self) -> Result<()>;

    /// Commits the transaction, which makes the object exist if it did not. If this fails, nothing of
    /// the transaction is left.
    fn commit(&mut self) -> Result<Receipt>;

    /// Commits the transaction of a never-written object in memory only: the next `commit`
    /// stores it, and without one it is forgotten. On a stored object this is an error.
    fn commit_provisional(&mut self) -> Result<()>;

    /// Ends the open transaction without its effects, and deletes the object: that is a commit with the next
    /// number. From then on the object does not exist; one that is created later goes on counting.
    ///
    /// Afterwards the database has failed, whether there was anything to delete or not: dropped and opened
    /// anew, it is that of an object that was never written.
    ///
    /// # Errors
    /// When the deletion cannot be logged: the object is as it was before the transaction.
    fn delete(&mut self) -> Result<Receipt>;

    /// Ends the transaction without its effects. Does nothing if SQLite has ended it already.
    fn rollback(&mut self) -> Result<()>;
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.id)
    }
}
