//! The journal: the commits of all objects of a node in one log, flushed together.
//!
//! The guarantee: an append lands directly after the commit that it expects or not at all. Once its receipt is
//! durable it survives a loss of power, and so does everything appended before it. Nothing is ever
//! reordered, and no part of a commit counts without the rest.
//!
//! An append costs no I/O: it takes a place under a short lock. One thread, the flusher, writes what has gathered
//! meanwhile and syncs it once. A lone caller is so flushed at once, and a busy node batches by itself.
//! A second thread makes segments ahead, or recycles those that a checkpoint has let go.
//!
//! When the active segment fails, that is the end of this journal: every receipt that is not durable and every later
//! append gets the same error. A full disk is not: no segment can be made then, so appends are
//! refused with [`ErrorKind::StorageFull`] until one can.
//!
//! A checkpoint goes like this: [`begin_checkpoint`](Journal::begin_checkpoint) gives the redo position; from then on
//! the first touch of each page logs its image, for which records are appended under an epoch;
//! all pages that were changed before are written back and synced; then
//! [`complete_checkpoint`](Journal::complete_checkpoint) lets the segments before the redo position go.

pub(crate) mod checkpoint;
mod core;
#[cfg(all(test, loom))]
mod loom_tests;
pub(crate) mod segment;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::checkpoint::CheckpointFile;
use self::core::{Core, Making};
use self::segment::SEGMENT_HEAD_BYTES;
use self::state::State;
use super::directory::io_error;
use super::files::Disk;
use super::receipt::{Receipt, Watermark};
use super::record::frame::{FRAME_ALIGN, FRAME_HEAD_BYTES};
use super::record::{Draft, Position};
use super::scan::ScanReport;
use crate::observe::events::note;
use crate::observe::meters::JournalMeters;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

/// The smallest segment: a head, and some frames that can hold any record's head.
const SEGMENT_BYTES_MIN: u32 = 16 * 1_024;
/// The largest part of a record. Up to one part of each segment may stay empty.
const FRAME_BYTES_MAX: u32 = 4 * 1_024 * 1_024;

/// Between two begins of checkpoints: which pages were logged as images is counted anew with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CheckpointEpoch(pub(crate) u64);

/// An append that took its place.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    /// When it is durable.
    pub(crate) receipt: Receipt,
    /// Where its first frame is.
    #[cfg_attr(not(test), expect(dead_code, reason = "history will ask"))]
    pub(crate) position: Position,
    /// Directly behind its last frame.
    #[cfg_attr(not(test), expect(dead_code, reason = "history will ask"))]
    pub(crate) end: Position,
}

/// An append that left no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A checkpoint has begun since the caller chose between images and deltas: it is to choose again.
    Stale,
    /// [`ErrorKind::StorageFull`] when trying later can help, [`ErrorKind::Limit`] for a record that is too
    /// large, [`ErrorKind::Storage`] when the journal has failed.
    Failed(Error),
}

/// Where commits become durable.
pub(crate) trait Journal: Send + Sync + fmt::Debug {
    /// Appends a commit directly after the commit number `expected` of its object, or not at all. On one node
    /// it always holds, since the object's owner is the only one who appends for it.
    ///
    /// `epoch` is the one under which the pages were drafted. Does no I/O unless no segment is ready.
    fn append(
        &self,
        epoch: CheckpointEpoch,
        expected: u64,
        record: Draft,
    ) -> Result<Appended, Refusal>;

    /// The epoch to draft pages under.
    fn checkpoint_epoch(&self) -> CheckpointEpoch;

    /// Counts the starts of this journal.
    fn generation(&self) -> u64;

    /// Begins a new epoch. The position is where redo will start: every append of an earlier epoch lies
    /// before it, every one of this or a later epoch behind.
    fn begin_checkpoint(&self) -> (CheckpointEpoch, Position);

    /// Makes `redo`, which a begin gave, the start of redo, and lets go of what lies before. Everything
    /// that was appended before it must be in the database files, and these synced.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]: redo starts there or where it did before. Not fatal; it may be tried again.
    fn complete_checkpoint(&self, redo: Position) -> Result<()>;

    /// Keeps the segments from this number on, for a reader that is behind; `None` keeps none.
    #[cfg_attr(not(test), expect(dead_code, reason = "history will ask"))]
    fn keep_from(&self, segment: Option<u64>);

    /// How much is appended and not yet durable.
    fn unflushed_bytes(&self) -> usize;

    /// Durable when the next turn may write: at once, or, when too much is unflushed, after all that was
    /// appended so far.
    fn relief(&self) -> Receipt;

    /// Durable after all that was appended so far.
    fn flushed(&self) -> Receipt;

    /// Never durable; fails as soon as the journal has failed.
    fn failed(&self) -> Receipt;

    /// Why the journal failed, if it has.
    fn failure(&self) -> Option<Error>;

    /// Flushes everything and ends the threads. Later appends are refused.
    ///
    /// # Errors
    /// When the journal has failed.
    fn close(&self) -> Result<()>;
}

/// What can be chosen about a journal.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The length of a segment file.
    pub(crate) segment_bytes: u32,
    /// How many segments are made ahead, once a quarter of the first one is written.
    pub(crate) ready_min: usize,
    /// How many files that nothing needs any more are kept to be recycled.
    pub(crate) retired_max: usize,
    /// From how much on [`Journal::relief`] has to be waited for.
    pub(crate) unflushed_bytes_max: usize,
    /// How long a segment that could not be made is not tried again.
    pub(crate) retry_after: Duration,
    pub(crate) meters: JournalMeters,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 16 * 1_024 * 1_024,
            ready_min: 2,
            retired_max: 16,
            unflushed_bytes_max: 64 * 1_024 * 1_024,
            retry_after: Duration::from_millis(250),
            meters: JournalMeters::silent(),
        }
    }
}

impl Options {
    /// The longest frame: four fit into a segment.
    fn frame_bytes_max(&self) -> usize {
        let quarter = (self.segment_bytes - SEGMENT_HEAD_BYTES) as usize / 4 - FRAME_HEAD_BYTES;
        quarter.min(FRAME_BYTES_MAX as usize) / FRAME_ALIGN * FRAME_ALIGN
    }
}

/// A journal that has started and admits nothing yet: until what the scan found is safe in the
/// database files, a crash has to find the old segments and nothing else.
#[derive(Debug)]
#[must_use = "the journal takes appends only after `admit`"]
pub(crate) struct NewGeneration {
    core: Core,
    /// The files of before.
    old: Vec<PathBuf>,
}

impl NewGeneration {
    /// Starts a new generation behind everything that the scan found.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] and [`ErrorKind::StorageFull`]; nothing of the old segments is changed then.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: Options,
        found: &ScanReport,
    ) -> Result<NewGeneration> {
        if options.segment_bytes < SEGMENT_BYTES_MIN {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a journal segment has at least {SEGMENT_BYTES_MIN} bytes"),
            ));
        }
        make_folder(&*disk, folder).map_err(|error| io_error("create", folder, &error))?;
        let checkpoint = CheckpointFile::open(&*disk, folder, found.checkpoint_sequence)?;
        // A disk may be full, and the journal must start all the same: a segment that was made ahead
        // and never written to serves for the first one.
        let (spare, mut old) = sort(found);
        for unfinished in old.extract_if(.., |path| segment::is_unfinished(path)) {
            disk.remove(&unfinished).map_err(|error| io_error("remove", &unfinished, &error))?;
        }
        let mut making =
            Making { next: found.next_segment, generation: found.next_generation, refused: None };
        let generation = making.generation;
        let first = core::make_next(&*disk, folder, &options, &mut making, spare.as_deref())?;
        let core = Core {
            disk,
            folder: folder.to_owned(),
            options,
            generation,
            state: Mutex::new(State::new(Arc::new(first), Vec::new())),
            epoch: AtomicU64::new(1),
            watermark: Arc::default(),
            unflushed_bytes: AtomicUsize::new(0),
            gathered: Condvar::new(),
            refill: Condvar::new(),
            making: Mutex::new(making),
            checkpoint: Mutex::new(checkpoint),
        };
        Ok(NewGeneration { core, old })
    }

    /// What the scan found is safe: lets the old segments go and admits appends.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]; the next start finds the old segments again.
    pub(crate) fn admit(self) -> Result<LocalJournal> {
        let journal = self.admit_by_hand()?;
        journal.spawn("durable-flusher", flush_all)?;
        journal.spawn("durable-segments", refill_all)?;
        Ok(journal)
    }

    /// A journal without threads.
    pub(crate) fn admit_by_hand(self) -> Result<LocalJournal> {
        let start = self.core.state.lock().end();
        self.core.checkpoint.lock().write(start)?;
        self.core.state.lock().retired = self.old;
        self.core.trim();
        Ok(LocalJournal { core: Arc::new(self.core), threads: Mutex::default() })
    }
}

/// The journal of one node, in a folder of its own.
#[derive(Debug)]
pub(crate) struct LocalJournal {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal for LocalJournal {
    fn append(
        &self,
        epoch: CheckpointEpoch,
        expected: u64,
        record: Draft,
    ) -> Result<Appended, Refusal> {
        assert_eq!(record.number(), expected + 1, "a commit has the number after the expected one");
        let frames = record.finish(self.core.options.frame_bytes_max()).map_err(Refusal::Failed)?;
        self.core.append(epoch, frames)
    }

    fn checkpoint_epoch(&self) -> CheckpointEpoch {
        // Whether it is still the one is looked at under the lock.
        CheckpointEpoch(self.core.epoch.load(Ordering::Relaxed))
    }

    fn generation(&self) -> u64 {
        self.core.generation
    }

    fn begin_checkpoint(&self) -> (CheckpointEpoch, Position) {
        self.core.begin_checkpoint()
    }

    fn complete_checkpoint(&self, redo: Position) -> Result<()> {
        self.core.complete_checkpoint(redo)
    }

    fn keep_from(&self, segment: Option<u64>) {
        self.core.keep_from(segment);
    }

    fn unflushed_bytes(&self) -> usize {
        self.core.unflushed_bytes.load(Ordering::Relaxed)
    }

    fn relief(&self) -> Receipt {
        if self.unflushed_bytes() <= self.core.options.unflushed_bytes_max {
            return Receipt::durable();
        }
        self.flushed()
    }

    fn flushed(&self) -> Receipt {
        Receipt::pending(&self.core.watermark, self.core.state.lock().last_ticket)
    }

    fn failed(&self) -> Receipt {
        Receipt::failure(&self.core.watermark)
    }

    fn failure(&self) -> Option<Error> {
        self.core.watermark.failure().cloned()
    }

    fn close(&self) -> Result<()> {
        self.stop();
        // Without threads nobody else does it.
        while self.core.flush() {}
        self.failure().map_or(Ok(()), Err)
    }
}

impl LocalJournal {
    /// Where redo starts.
    pub(crate) fn begin(&self) -> Position {
        self.core.state.lock().redo()
    }

    /// Does what the flusher does, for a journal without threads. Says whether there was anything to flush.
    #[cfg(test)]
    pub(crate) fn flush_by_hand(&self) -> bool {
        self.core.flush()
    }

    fn spawn(&self, name: &str, run: fn(&Core)) -> Result<()> {
        let core = Arc::clone(&self.core);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&core));
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot start the thread {name}: {error}"))
        })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn stop(&self) {
        self.core.state.lock().is_closing = true;
        self.core.gathered.notify_all();
        self.core.refill.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last owner may be a waker that the flusher calls: it cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A panic has failed the watermark, where everybody sees it.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.stop();
        if self.core.state.lock().has_gathered() {
            self.core.watermark.fail(Error::new(
                ErrorKind::ShutDown,
                "the journal was dropped before it was flushed",
            ));
        }
    }
}

/// The flusher.
fn flush_all(core: &Core) {
    let _watch = FailOnPanic(&core.watermark);
    loop {
        let mut state = core.state.lock();
        while !state.has_gathered() && !state.is_closing {
            core.gathered.wait(&mut state);
        }
        drop(state);
        // Nothing left means that the journal is closing or has failed.
        if !core.flush() {
            return;
        }
    }
}

/// A flusher that panics must not leave anybody waiting.
struct FailOnPanic<'a>(&'a Watermark);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Error::new(ErrorKind::Storage, "the journal's flusher panicked"));
        }
    }
}

/// Makes segments ahead.
fn refill_all(core: &Core) {
    let mut state = core.state.lock();
    while !state.is_closing {
        if !state.wants_segment(core.options.ready_min) {
            core.refill.wait(&mut state);
            continue;
        }
        let made = state.made;
        drop(state);
        let refused = core.make_segment(made);
        state = core.state.lock();
        if let Err(error) = refused
            && !state.is_closing
        {
            note!(warn, reason = %error, "cannot make a journal segment ahead");
            // Who needs one before tries again.
            core.refill.wait(&mut state);
        }
    }
}

/// One file that may be used at once, if there is one, and all others.
fn sort(found: &ScanReport) -> (Option<PathBuf>, Vec<PathBuf>) {
    let spare = found.files.iter().position(|file| file.is_spare);
    let others = found.files.iter().enumerate().filter(|(index, _)| Some(*index) != spare);
    let others = others.map(|(_, file)| file.path.clone()).collect();
    (spare.map(|index| found.files[index].path.clone()), others)
}

/// Makes the journal's folder durably.
fn make_folder(disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
    disk.create_dir_all(folder)?;
    folder.parent().map_or(Ok(()), |parent| disk.sync_directory(parent))
}
