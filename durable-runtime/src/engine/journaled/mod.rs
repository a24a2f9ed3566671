//! The engine on the shared journal: the commits of all objects go into one log and are flushed together.
//!
//! The guarantee: a commit whose [`Receipt`](super::Receipt) is durable survives a crash and a loss of power,
//! whole. The journal is the truth; an object's file is a copy of it that lags behind, and a file that
//! lags is brought up to date from the journal when the directory is opened.
//!
//! How the parts hang together:
//! - a turn commits into the object's *overlay* ([`database`]), and what it changed becomes one record of the journal;
//! - a *checkpoint* ([`checkpoint`]) writes overlays back to the files, makes that durable, and lets the journal forget;
//! - *recovery* ([`recovery`]) replays what the journal holds beyond the last checkpoint.
//!
//! Rules that make it correct:
//! 1. A page reaches its file only after the record that holds it is durable.
//! 2. Whether a page stands in a record as an image or as a difference is decided under the epoch in
//!    which the record is appended: the first time after a checkpoint *begins* it is an image.
//! 3. Appending a record and accepting its pages is one step for whoever looks at the object ([`Entry::state`]):
//!    a checkpoint that begins after the append finds the pages.
//! 4. One write-back of an object at a time, and never an older state over a newer one ([`Entry::write_back`]).

mod checkpoint;
mod database;
mod entry;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::files::Disk;
use super::journal::{CheckpointEpoch, Journal, LocalJournal, Options, Refusal};
use super::overlay::Template;
use super::pagestore::{FilePerObject, PageStore, object_path};
use super::record::Draft;
use super::vfs::{Clock, Vfs, template};
use super::{Configure, Database, Directory, Engine, ObjectKey, Receipt};
use crate::{Error, ErrorKind, Result};

use checkpoint::Checkpointer;
use database::JournaledDatabase;
use entry::Entry;

/// Bytes of journal after which a checkpoint begins, unless the builder says otherwise.
pub(crate) const CHECKPOINT_DISTANCE: u64 = 64 * 1_024 * 1_024;

/// Keeps the databases of all objects of a directory.
///
/// When the last reference goes, a last checkpoint is made and the directory is unlocked.
pub(crate) struct JournaledEngine {
    // Dropped in this order: the thread ends before the journal is closed.
    checkpointer: Checkpointer,
    shared: Arc<Shared>,
}

/// What objects, checkpoints and recovery share.
struct Shared {
    disk: Arc<dyn Disk>,
    /// The folder of all objects.
    objects: PathBuf,
    journal: LocalJournal,
    vfs: Arc<Vfs>,
    template: Template,
    clock: Clock,
    /// The objects that have a connection or pages that their file lacks.
    entries: Mutex<HashMap<ObjectKey, Arc<Entry>>>,
    /// Bytes of records since the last checkpoint began.
    logged: AtomicU64,
    /// Files that were written since the last checkpoint and are not synced.
    unsynced: Mutex<Vec<Arc<dyn PageStore>>>,
    /// Why the files can no longer be relied on to be durable.
    sync_failure: OnceLock<Error>,
    /// Dropped after the journal: a database that outlives the engine keeps the directory locked, since it
    /// can still write to it.
    _directory: Option<Directory>,
}

impl JournaledEngine {
    /// Opens the objects of a data directory, and brings their files up to date if the last program that
    /// used it did not end well.
    ///
    /// # Errors
    /// When the journal or a file cannot be read or written, or is of a newer version.
    pub(crate) fn open(
        directory: Directory,
        disk: Arc<dyn Disk>,
        clock: Clock,
        checkpoint_distance: u64,
    ) -> Result<Self> {
        let objects = directory.path().join("objects");
        let generation = recovery::recover(directory.path(), &objects, &disk, Options::default())?;
        let shared =
            Arc::new(Shared::new(disk, objects, generation.admit()?, clock, Some(directory))?);
        let checkpointer = Checkpointer::start(Arc::clone(&shared), checkpoint_distance)?;
        Ok(JournaledEngine { checkpointer, shared })
    }
}

impl Engine for JournaledEngine {
    fn open(&self, object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        let entry = self.shared.entry(object)?;
        let waker = self.checkpointer.waker();
        let database = JournaledDatabase::open(Arc::clone(&self.shared), entry, waker, &configure)?;
        Ok(Box::new(database))
    }

    fn exists(&self, object: &ObjectKey) -> Result<bool> {
        if let Some(entry) = self.shared.entries.lock().get(object) {
            return Ok(entry.is_stored());
        }
        let path = object_path(&self.shared.objects, object);
        self.shared.disk.exists(&path).map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot look for {}: {error}", path.display()))
        })
    }

    fn failed(&self) -> Receipt {
        self.shared.journal.failed()
    }

    fn files_per_object(&self) -> usize {
        1
    }
}

impl Drop for JournaledEngine {
    fn drop(&mut self) {
        self.checkpointer.stop();
        if let Err(error) = self.shared.journal.close() {
            tracing::error!(%error, "the journal could not be closed");
        }
    }
}

impl Shared {
    fn new(
        disk: Arc<dyn Disk>,
        objects: PathBuf,
        journal: LocalJournal,
        clock: Clock,
        directory: Option<Directory>,
    ) -> Result<Self> {
        Ok(Shared {
            disk,
            objects,
            journal,
            vfs: Vfs::register(Arc::clone(&clock))?,
            template: template()?,
            clock,
            entries: Mutex::default(),
            logged: AtomicU64::new(0),
            unsynced: Mutex::default(),
            sync_failure: OnceLock::new(),
            _directory: directory,
        })
    }

    /// The object's place in memory, which is made from its file if there is none.
    fn entry(&self, object: &ObjectKey) -> Result<Arc<Entry>> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(object) {
            return Ok(Arc::clone(entry));
        }
        let disk = Arc::clone(&self.disk);
        let store: Arc<dyn PageStore> = Arc::new(FilePerObject::new(disk, &self.objects, object));
        let entry = Entry::open(object.clone(), &self.vfs, store, &self.template);
        let entry = Arc::new(entry.map_err(|error| self.about(object, &error))?);
        entries.insert(object.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// An error with the object and its file.
    fn about(&self, object: &ObjectKey, error: &Error) -> Error {
        let path = object_path(&self.objects, object);
        let text = format!("{object} in {} cannot be opened: {}", path.display(), error.message());
        Error::new(error.kind(), text)
    }

    fn append(
        &self,
        epoch: CheckpointEpoch,
        expected: u64,
        draft: Draft,
    ) -> Result<Receipt, Refusal> {
        let bytes = draft.payload_bytes() as u64;
        let appended = self.journal.append(epoch, expected, draft)?;
        self.logged.fetch_add(bytes, Ordering::Relaxed);
        Ok(appended.receipt)
    }

    /// Lets go of an object that has no connection and whose file has all its pages.
    fn forget_if_idle(&self, entry: &Arc<Entry>) {
        let mut entries = self.entries.lock();
        // One count is the map's and one the caller's.
        if Arc::strong_count(entry) == 2 && !entry.has_newer_pages() {
            entries.remove(&entry.key);
            entry.release();
        }
    }

    /// Milliseconds since 1970 by the runtime's clock.
    fn now_ms(&self) -> i64 {
        let since = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
