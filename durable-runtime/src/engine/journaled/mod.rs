//! The engine on the shared journal: the commits of all objects go into one log and are flushed together.
//!
//! The guarantee: a commit whose [`Receipt`](super::Receipt) is durable survives a crash and a loss of power,
//! whole. The journal is the truth; an object's file is a copy of it that lags behind, and a file that
//! lags is brought up to date from the journal when the directory is opened.
//!
//! How the parts hang together:
//! - a turn commits into the object's *overlay* ([`database`]), and what it changed becomes one record of the journal;
//! - a *checkpoint* ([`checkpoint`]) writes overlays back to the files, makes that durable, and lets the journal forget;
//! - objects that lost commits to a damaged journal are kept in *quarantine* ([`quarantine`]);
//! - *recovery* ([`recovery`]) replays what the journal holds beyond the last checkpoint.
//!
//! Rules that make it correct:
//! 1. A page reaches its file only after the record that holds it is durable.
//! 2. Whether a page stands in a record as an image or as a difference is decided under the epoch in
//!    which the record is appended: the first time after a checkpoint *begins* it is an image.
//! 3. Appending a record and accepting its pages is one step for whoever looks at the object ([`Entry::state`]):
//!    a checkpoint that begins after the append finds the pages.
//! 4. A deletion is a record without pages. From its append on the object does not exist; its file is removed, or
//!    overwritten by an object that is created anew, by the write-back, and only after the record is durable.
//! 5. The pair of epoch and number is never given to two commits of an object, also not across deletions.
//! 6. An object that begins as a copy is created by a record that names no pages but a file, which is durable before. It gets its place
//!    by the write-back, after the record is durable; recovery does the same. See [`copies`](super::copies).
//! 7. One write-back of an object at a time, and never an older state over a newer one ([`Entry::begin_write_back`]).
//! 8. Where a history is kept, no page of a file is overwritten before the history has it durably: see [`history`](super::history).

mod adopt;
mod checkpoint;
mod copy;
mod database;
mod entries;
mod entry;
mod listing;
mod memory;
pub(crate) mod quarantine;
mod rebuild;
pub(crate) mod recovery;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::catalogue::{ObjectIndex, Unlisted};
use super::copies::{Copied, Copies, CopyFile, OnProgress};
use super::files::Disk;
use super::files::sparing::Sparing;
use super::history::{Compactor, History, HistoryLimits, Point};
use super::journal::{CheckpointEpoch, Journal, LocalJournal, Options, Refusal};
use super::overlay::Template;
use super::pagestore::{FilePerObject, PageStore, Stamp, object_path};
use super::record::Draft;
use super::vfs::{Clock, Vfs, template};
use super::wakes::{Batch, Due, Wake, Wakes};
use super::{
    About, Amend, Configure, Database, Directory, Engine, Known, Listed, ObjectKey, Order, Receipt,
    StoredClass,
};
use crate::observe::events::note;
use crate::observe::meters::JournalMeters;
use crate::{Error, ErrorKind, Result};

use checkpoint::Checkpointer;
use database::JournaledDatabase;
use entries::Entries;
use entry::Entry;
use memory::Unwritten;
use quarantine::Quarantine;
pub(crate) use recovery::OnDamage;

/// Bytes of journal after which a checkpoint begins, unless the builder says otherwise.
pub(crate) const CHECKPOINT_DISTANCE: u64 = 64 * 1_024 * 1_024;

/// Bytes of changes that may wait in memory for their files, unless the builder says otherwise.
pub(crate) const UNWRITTEN_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// How many times of last use wait in memory for the list of objects, before a checkpoint is made for them.
const USES_MAX: usize = 10_000;

/// When changes are written to the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteLimits {
    /// Bytes of journal after which a checkpoint begins.
    pub(crate) checkpoint_distance: u64,
    /// Bytes of changes that are in no file, and of records that are not flushed: from half of it on a
    /// checkpoint begins, and beyond it turns wait for one.
    pub(crate) unwritten_bytes_max: usize,
    /// How much past is kept.
    pub(crate) history: HistoryLimits,
}

impl Default for WriteLimits {
    fn default() -> Self {
        WriteLimits {
            checkpoint_distance: CHECKPOINT_DISTANCE,
            unwritten_bytes_max: UNWRITTEN_BYTES_MAX,
            history: HistoryLimits::default(),
        }
    }
}

/// Keeps the databases of all objects of a directory.
///
/// When the last reference goes, a last checkpoint is made and the directory is unlocked.
pub(crate) struct JournaledEngine {
    // Dropped in this order: the threads end before the journal is closed.
    checkpointer: Checkpointer,
    compactor: Option<Compactor>,
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
    /// The objects that may not be opened.
    quarantine: Quarantine,
    /// The list of all objects, and what it is to learn with the next checkpoint.
    index: Arc<dyn ObjectIndex>,
    unlisted: Arc<Unlisted>,
    /// When objects want to be woken.
    wakes: Wakes,
    entries: Entries,
    /// What objects were before, if that is kept.
    history: Option<Arc<History>>,
    copies: Arc<Copies>,
    unwritten: Arc<Unwritten>,
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
    /// When the journal or a file cannot be read or written, or is of a newer version; and when the journal is damaged so
    /// that nobody can say which objects lost commits, unless that is accepted.
    pub(crate) fn open(
        directory: Directory,
        disk: Arc<dyn Disk>,
        clock: Clock,
        limits: WriteLimits,
        on_damage: OnDamage,
        index: Arc<dyn ObjectIndex>,
    ) -> Result<Self> {
        let Sparing { steady, sparing } = Sparing::new(disk);
        let options = Options { meters: JournalMeters::new(), ..Options::default() };
        let history = History::open(Arc::clone(&steady), directory.path(), limits.history)?;
        let history = history.map(Arc::new);
        let past = history.as_deref().map(|history| (history, millis(clock())));
        let recovered =
            recovery::recover(directory.path(), &steady, options, on_damage, &*index, past)?;
        let journal = recovered.generation.admit()?;
        let places = Places { disk: sparing, data: directory.path().to_owned(), index, history };
        let shared = Shared::new(places, journal, recovered.quarantine, clock, Some(directory))?;
        let shared = Arc::new(shared);
        rebuild::rebuild_if_lost(&*shared.index, &shared.disk, &shared.objects, &shared.vfs)?;
        let compactor = shared.history.clone().map(Compactor::start).transpose()?;
        let checkpointer = Checkpointer::start(Arc::clone(&shared), limits)?;
        Ok(JournaledEngine { checkpointer, compactor, shared })
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
        self.shared.exists(object)
    }

    fn failed(&self) -> Receipt {
        self.shared.journal.failed()
    }

    fn flushed(&self) -> Receipt {
        self.shared.journal.flushed()
    }

    fn files_per_object(&self) -> usize {
        1
    }

    fn earliest_wake(&self, waiter: &task::Waker) -> Result<Option<i64>> {
        self.shared.wakes.earliest(&*self.shared.index, waiter)
    }

    fn take_due(&self, now_ms: i64) -> Result<Option<Due>> {
        Ok(self.shared.wakes.take_due(&*self.shared.index, now_ms, 1)?.pop())
    }

    fn give_back(&self, object: &ObjectKey) {
        self.shared.wakes.give_back(object);
    }

    fn correct_wake(&self, object: &ObjectKey, wake: Wake) {
        self.shared.wakes.set(object, wake);
    }

    fn put_off(&self, object: &ObjectKey, not_before_ms: i64) {
        self.shared.wakes.put_off(object, not_before_ms);
    }

    fn list(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>> {
        self.shared.list(class, order, count)
    }

    fn find(&self, object: &ObjectKey) -> Result<Option<Known>> {
        self.shared.find(object)
    }

    fn classes(&self) -> Result<Vec<StoredClass>> {
        self.shared.index.classes()
    }

    fn remove_class(&self, key: &str) -> Result<()> {
        // A file that is left would bring the class back.
        self.checkpointer.waker().catch_up()?;
        self.shared.index.remove_class(key)
    }

    fn note_use(&self, object: &ObjectKey, time_ms: i64) {
        let is_stored = self.shared.entries.get(object).is_some_and(|entry| entry.is_stored());
        if is_stored && self.shared.unlisted.note_use(object, time_ms) >= USES_MAX {
            self.checkpointer.waker().wake();
        }
    }

    fn restore(
        &self,
        object: &ObjectKey,
        point: Point,
        configure: Configure,
        amend: Amend<'_>,
    ) -> Result<Receipt> {
        let (shared, waker) = (Arc::clone(&self.shared), self.checkpointer.waker());
        let entry = shared.entry(object)?;
        database::restore(shared, &entry, waker, point, &configure, amend)
    }

    fn copies(&self) -> Result<Arc<Copies>> {
        Ok(Arc::clone(&self.shared.copies))
    }

    fn copy(
        &self,
        object: &ObjectKey,
        point: Option<Point>,
        to: &CopyFile,
        progress: OnProgress<'_>,
    ) -> Result<Copied> {
        // An earlier commit is looked for in the history, where those that are only in the journal are not yet.
        let is_copied = point.map_or(Ok(()), |_| self.checkpointer.waker().catch_up());
        let copied = copy::copy(&self.shared, object, point, to.path(), progress);
        copied.map_err(|error| is_copied.err().unwrap_or(error))
    }

    fn adopt(
        &self,
        object: &ObjectKey,
        copy: CopyFile,
        about: About,
        wake: Wake,
    ) -> Result<Receipt> {
        adopt::adopt(&self.shared, &self.checkpointer.waker(), object, copy, about, wake)
    }

    fn erase(&self, object: &ObjectKey) -> Result<()> {
        erase(&self.shared, object, || self.checkpointer.waker().catch_up())
    }

    fn given_up(&self, class: &str) -> Result<Vec<ObjectKey>> {
        self.shared.wakes.given_up(&*self.shared.index, class)
    }
}

impl Drop for JournaledEngine {
    fn drop(&mut self) {
        self.checkpointer.stop();
        self.compactor = None;
        if let Err(error) = self.shared.journal.close() {
            note!(error, reason = %error, "the journal could not be closed");
        }
    }
}

/// Removes what was kept of an object until now: see [`Engine::erase`]. `catch_up` makes a checkpoint that begins after it is called.
fn erase(shared: &Shared, object: &ObjectKey, catch_up: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(history) = &shared.history else { return catch_up() };
    history.wish_erasure(object.id);
    catch_up()?;
    history.wipe(object.id).map_err(|error| {
        let text = format!(
            "the history of {object} could not be overwritten everywhere, erase it again: {error}"
        );
        Error::new(ErrorKind::Storage, text)
    })
}

/// Where everything is.
struct Places {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    index: Arc<dyn ObjectIndex>,
    history: Option<Arc<History>>,
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Shared {
    fn new(
        places: Places,
        journal: LocalJournal,
        quarantine: Quarantine,
        clock: Clock,
        directory: Option<Directory>,
    ) -> Result<Self> {
        if let Some(history) = &places.history {
            history.set_copied(journal.begin());
        }
        let vfs = Vfs::register(Arc::clone(&clock))?;
        let copies = Copies::new(Arc::clone(&places.disk), &places.data, Arc::clone(&vfs));
        Ok(Shared {
            copies: Arc::new(copies),
            history: places.history,
            objects: places.data.join("objects"),
            disk: places.disk,
            index: places.index,
            unlisted: Arc::default(),
            wakes: Wakes::default(),
            journal,
            vfs,
            template: template()?,
            clock,
            quarantine,
            entries: Entries::default(),
            unwritten: Arc::default(),
            logged: AtomicU64::new(0),
            unsynced: Mutex::default(),
            sync_failure: OnceLock::new(),
            _directory: directory,
        })
    }

    fn exists(&self, object: &ObjectKey) -> Result<bool> {
        self.quarantine.check(object)?;
        if let Some(entry) = self.entries.get(object) {
            return Ok(entry.is_stored());
        }
        let path = object_path(&self.objects, object);
        self.disk.exists(&path).map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot look for {}: {error}", path.display()))
        })
    }

    /// The object's place in memory, which is made from its file if there is none.
    fn entry(&self, object: &ObjectKey) -> Result<Arc<Entry>> {
        self.quarantine.check(object)?;
        self.entries.get_or_open(object, || self.open_entry(object))
    }

    fn open_entry(&self, object: &ObjectKey) -> Result<Entry> {
        let store = Arc::new(FilePerObject::new(Arc::clone(&self.disk), &self.objects, object));
        let (first, share) = (self.first_stamp(), self.unwritten.share());
        Entry::open(object.clone(), &self.vfs, store, &self.template, first, share, &self.unlisted)
            .map_err(|error| self.about(object, &error))
    }

    /// Where an object that is created now begins to count. It may have been there before, and nothing may
    /// be left that says so; but no number of this process is given twice, and no other process has its epoch.
    fn first_stamp(&self) -> Stamp {
        Stamp {
            commit: self.entries.numbers_passed(),
            epoch: u32::try_from(self.journal.generation()).unwrap_or(u32::MAX),
            time_ms: 0,
        }
    }

    /// An error with the object and its file.
    fn about(&self, object: &ObjectKey, error: &Error) -> Error {
        let path = object_path(&self.objects, object);
        let text = format!("{object} in {} cannot be opened: {}", path.display(), error.message());
        Error::new(error.kind(), text)
    }

    /// How much memory changes take that are in no file or not flushed.
    fn unwritten_bytes(&self) -> usize {
        self.unwritten.bytes() + self.journal.unflushed_bytes()
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

    /// Takes note of what a commit says about the object's time, while its entry is locked.
    fn note_wake(&self, object: &ObjectKey, change: Option<Wake>) {
        if let Some(wake) = change {
            self.wakes.set(object, wake);
        }
    }

    /// The changes of the due index that a checkpoint, which has begun, is to write: those of all commits that are
    /// logged before its begin, and of no object whose commits its write-back does not wait for.
    fn wakes_to_write(&self) -> Batch {
        // A commit that is being logged notes its wake before its entry is unlocked.
        for entry in self.entries.all() {
            drop(entry.state.lock());
        }
        self.wakes.unwritten()
    }

    /// Milliseconds since 1970 by the runtime's clock.
    fn now_ms(&self) -> i64 {
        millis((self.clock)())
    }
}
