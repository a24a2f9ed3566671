//! Checkpoints: files catch up with the journal, and the journal may forget.
//!
//! The steps, each of which may be the last one before a crash:
//! 1. The checkpoint *begins*: from here on the first change of each page is logged as an image. Here redo starts
//!    once the checkpoint is complete.
//! 2. Every object with newer pages writes them back, after the records that hold them are durable; and, where a history
//!    is kept, after the commits so far are copied to it, and the pages as they are in the files.
//! 3. All files are synced, which the history notes.
//! 4. The list of objects and the due index learn what is new: of the index, what was so when the checkpoint began.
//! 5. The checkpoint is *complete*: the journal durably notes where redo starts, and recycles what lies before.
//!
//! An object whose file cannot be written does not keep the others from 2 and 3; but 4 and 5 wait until it can.
//!
//! A crash before 5 redoes from the checkpoint before, whose images cover every page that was touched since.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::entry::{Entry, WritingBack, wait};
use super::{Shared, WriteLimits};
use crate::engine::ObjectKey;
use crate::engine::files::FilesystemSync;
use crate::engine::journal::Journal;
use crate::observe::events::note;
use crate::observe::meters::CheckpointMeters;
use crate::{Error, ErrorKind, Result};

/// A history that is behind the journal by more than this is told of: checkpoints take too long to keep up.
const LAG_BYTES_MAX: u64 = 1_024 * 1_024 * 1_024;

/// The thread that makes checkpoints.
pub(super) struct Checkpointer {
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that there may be something to do.
#[derive(Clone)]
pub(super) struct Waker {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    limits: WriteLimits,
}

#[derive(Default)]
struct Signal {
    rounds: Mutex<Rounds>,
    changed: Condvar,
}

/// What was asked for, and what became of it.
#[derive(Default)]
struct Rounds {
    is_wanted: bool,
    is_ending: bool,
    begun: u64,
    ended: u64,
    /// Why the last one failed, if it did.
    failure: Option<Error>,
    /// Objects whose connections are closed, to be written back.
    closed: Vec<Arc<Entry>>,
    thread: Served,
}

/// Whether there is a thread that makes the rounds.
#[derive(Clone, Copy, Default, PartialEq)]
enum Served {
    #[default]
    NotYet,
    Now,
    NoLonger,
}

impl Checkpointer {
    pub(super) fn start(shared: Arc<Shared>, limits: WriteLimits) -> Result<Self> {
        let waker = Waker::new(Arc::clone(&shared), limits);
        let signal = Arc::clone(&waker.signal);
        signal.rounds.lock().thread = Served::Now;
        let thread = std::thread::Builder::new()
            .name("durable-checkpoint".to_owned())
            .spawn(move || run(&shared, &signal))
            .map_err(|error| {
                Error::new(ErrorKind::Storage, format!("cannot start a thread: {error}"))
            })?;
        Ok(Checkpointer { waker, thread: Some(thread) })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Makes a last checkpoint and ends the thread.
    pub(super) fn stop(&mut self) {
        self.waker.signal.rounds.lock().is_ending = true;
        self.waker.signal.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            note!(error, "the checkpoint thread has panicked");
        }
    }
}

impl Waker {
    pub(super) fn new(shared: Arc<Shared>, limits: WriteLimits) -> Self {
        Waker { shared, signal: Arc::default(), limits }
    }

    /// Wakes the thread if the journal has grown enough since the last checkpoint, or memory is half full.
    pub(super) fn wake_if_due(&self) {
        if self.shared.logged.load(Ordering::Relaxed) >= self.limits.checkpoint_distance
            || self.shared.unwritten_bytes() > self.limits.unwritten_bytes_max / 2
        {
            self.wake();
        }
    }

    /// Wakes the thread.
    pub(super) fn wake(&self) {
        self.signal.want(&mut self.signal.rounds.lock());
    }

    /// Brings the file of an object up to date whose connection is closed. Where a history is kept the thread does that, as one
    /// sync serves many objects then; the object stays in memory until it is done.
    ///
    /// # Errors
    /// When that is done here, and the journal or the file fails. The pages stay in memory.
    pub(super) fn write_back_closed(&self, entry: Arc<Entry>) -> Result<()> {
        if self.shared.history.is_some() {
            let mut rounds = self.signal.rounds.lock();
            if rounds.thread == Served::Now {
                rounds.closed.push(entry);
                self.signal.changed.notify_all();
                return Ok(());
            }
        }
        let written = write_closed(&self.shared, &entry);
        self.shared.entries.forget_if_idle(&entry);
        written
    }

    /// Waits for a checkpoint that begins after this call: what was committed before is in the files then, unless it fails.
    ///
    /// # Errors
    /// When a file cannot be written, or the engine was closed.
    pub(super) fn catch_up(&self) -> Result<()> {
        self.signal.round()
    }

    /// Waits on this thread until what waits in memory for the files is within its limit. The caller holds
    /// no lock; what is waited for are threads of the engine, which need nobody else.
    ///
    /// # Errors
    /// [`ErrorKind::StorageFull`] when the files cannot be written, and so it stays too much.
    pub(super) fn make_room(&self) -> Result<()> {
        while self.shared.unwritten_bytes() > self.limits.unwritten_bytes_max {
            let Err(error) = self.signal.round() else { continue };
            // One file that cannot be written does not keep the others from making room.
            if self.shared.unwritten_bytes() > self.limits.unwritten_bytes_max {
                let text = format!(
                    "too much is waiting in memory for the objects' files, which cannot be written: {}",
                    error.message()
                );
                return Err(Error::new(ErrorKind::StorageFull, text));
            }
        }
        Ok(())
    }
}

impl Signal {
    fn want(&self, rounds: &mut Rounds) {
        if !rounds.is_wanted {
            rounds.is_wanted = true;
            self.changed.notify_all();
        }
    }

    /// Waits for a checkpoint that begins after this call.
    fn round(&self) -> Result<()> {
        let mut rounds = self.rounds.lock();
        let number = rounds.begun + 1;
        self.want(&mut rounds);
        while rounds.ended < number && rounds.thread != Served::NoLonger {
            self.changed.wait(&mut rounds);
        }
        if rounds.thread == Served::NoLonger {
            return Err(Error::new(ErrorKind::ShutDown, "the engine has been closed"));
        }
        rounds.failure.clone().map_or(Ok(()), Err)
    }

    /// Waits until there is something to do.
    fn begin(&self) -> Task {
        let mut rounds = self.rounds.lock();
        loop {
            if rounds.is_wanted || rounds.is_ending {
                rounds.is_wanted = false;
                rounds.begun += 1;
                return Task::Checkpoint { is_last: rounds.is_ending };
            }
            if !rounds.closed.is_empty() {
                return Task::Closed(std::mem::take(&mut rounds.closed));
            }
            self.changed.wait(&mut rounds);
        }
    }

    fn end(&self, outcome: Result<()>) {
        let mut rounds = self.rounds.lock();
        rounds.ended = rounds.begun;
        rounds.failure = outcome.err();
        self.changed.notify_all();
    }
}

/// What the thread is to do.
enum Task {
    Checkpoint { is_last: bool },
    Closed(Vec<Arc<Entry>>),
}

fn run(shared: &Shared, signal: &Signal) {
    let _over = Over(signal);
    let meters = CheckpointMeters::new();
    loop {
        let is_last = match signal.begin() {
            Task::Checkpoint { is_last } => is_last,
            Task::Closed(mut entries) => {
                // One may have been opened and closed again; a write-back of it waits for the one before.
                entries.sort_unstable_by_key(Arc::as_ptr);
                entries.dedup_by(|a, b| Arc::ptr_eq(a, b));
                // Whatever fails is told there, and tried again by the next checkpoint.
                let _ = write_back(shared, &entries, &mut || {});
                forget(shared, entries);
                continue;
            }
        };
        let begun = Instant::now();
        let outcome = checkpoint(shared);
        meters.ended(begun, outcome.is_ok());
        if let Err(error) = &outcome {
            note!(error, reason = %error, "a checkpoint failed; the journal keeps everything until one succeeds");
        }
        signal.end(outcome);
        if is_last {
            let closed = std::mem::take(&mut signal.rounds.lock().closed);
            forget(shared, closed);
            return;
        }
    }
}

/// Lets go of objects that nobody uses and whose files lack nothing.
fn forget(shared: &Shared, entries: Vec<Arc<Entry>>) {
    // One by one: an object that is here twice is forgotten with the last one.
    for entry in entries {
        shared.entries.forget_if_idle(&entry);
    }
}

/// Nobody waits for a thread that has ended, or panicked.
struct Over<'a>(&'a Signal);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.rounds.lock().thread = Served::NoLonger;
        self.0.changed.notify_all();
    }
}

/// Makes one checkpoint.
pub(super) fn checkpoint(shared: &Shared) -> Result<()> {
    checkpoint_in_steps(shared, &mut || {})
}

/// Makes one checkpoint. Objects go on changing meanwhile, as `between` does after each step.
pub(super) fn checkpoint_in_steps(shared: &Shared, between: &mut dyn FnMut()) -> Result<()> {
    let erased = shared.history.as_ref().map(|history| history.wished_erasures());
    let (_, position) = shared.journal.begin_checkpoint();
    let logged = shared.logged.swap(0, Ordering::Relaxed);
    // Before the entries: whoever has a change here is among them, or has nothing left to wait for.
    let wakes = shared.wakes_to_write();
    between();
    if let Some(history) = &shared.history {
        if logged > LAG_BYTES_MAX {
            note!(warn, bytes = logged, "the objects' history lags far behind the journal");
        }
        wait(shared.journal.flushed())?;
        history.copy_commits(position, shared.now_ms());
    }
    let entries = shared.entries.all();
    let written = write_back(shared, &entries, between);
    // Objects may be closed, and their files written, after the sync.
    let kept = shared.history.as_ref().map(|history| {
        history.sync(shared.now_ms());
        history.reach()
    });
    sync(shared)?;
    between();
    // What one object lacks in its file is in the journal before this position, perhaps.
    if written.is_ok() {
        shared.unlisted.store(&shared.index)?;
        shared.wakes.write(&*shared.index, &wakes)?;
        between();
        if let (Some(history), Some(kept)) = (&shared.history, kept) {
            history.mark(kept, shared.now_ms());
            history.erase(&erased.unwrap_or_default(), kept, shared.now_ms());
        }
        shared.journal.complete_checkpoint(position)?;
    }
    for entry in entries {
        shared.entries.forget_if_idle(&entry);
    }
    written
}

/// Brings the files of objects up to date. One that cannot be written does not keep the others from it.
fn write_back(shared: &Shared, entries: &[Arc<Entry>], between: &mut dyn FnMut()) -> Result<()> {
    let mut failed = 0_usize;
    let mut first = None;
    let mut fail = |key: &ObjectKey, error: Error| {
        note!(error, class = %key.class, id = %key.id, reason = %error, "an object's file is behind; the next checkpoint tries again");
        failed += 1;
        first.get_or_insert(error);
    };
    // With a history all of them at once, for one sync of it.
    let at_once = if shared.history.is_some() { entries.len().max(1) } else { 1 };
    for entries in entries.chunks(at_once) {
        let mut begun = Vec::new();
        for entry in entries {
            match entry.begin_write_back(shared.history.is_some()) {
                Ok(write_back) => begun.extend(write_back),
                Err(error) if shared.journal.failure().is_some() => return Err(error),
                Err(error) => fail(&entry.key, error),
            }
        }
        keep_before(shared, &begun);
        for write_back in begun {
            let key = write_back.key().clone();
            if let Err(error) = write_back.write(&shared.unsynced) {
                fail(&key, error);
            }
            between();
        }
    }
    let Some(error) = first else { return Ok(()) };
    let text = format!("{failed} files could not be written, the first one: {}", error.message());
    Err(Error::new(error.kind(), text))
}

/// What is in the files now becomes the past.
pub(super) fn keep_before(shared: &Shared, begun: &[WritingBack<'_>]) {
    if let Some(history) = &shared.history {
        let changes: Vec<_> = begun.iter().filter_map(WritingBack::change).collect();
        history.before(&changes, shared.now_ms());
    }
}

/// Brings one file up to date.
fn write_closed(shared: &Shared, entry: &Entry) -> Result<()> {
    let begun = match shared.history {
        None => entry.begin_write_back(false)?,
        // Here, since the thread is gone: whoever holds this object as one of many may hold another that waits for this.
        Some(_) => entry.try_begin_write_back(true)?,
    };
    let Some(begun) = begun else { return Ok(()) };
    keep_before(shared, std::slice::from_ref(&begun));
    begun.write(&shared.unsynced)
}

/// Makes every file durable that was written since the last checkpoint.
///
/// After a failed sync nobody knows what the disk holds, and a second one that succeeds says nothing of
/// what the first has lost. So from then on no checkpoint is completed: the journal keeps everything, and the next
/// start writes the files anew.
fn sync(shared: &Shared) -> Result<()> {
    if let Some(error) = shared.sync_failure.get() {
        return Err(error.clone());
    }
    let written = std::mem::take(&mut *shared.unsynced.lock());
    if written.is_empty() {
        return Ok(());
    }
    let failed = |error| {
        let text = format!("cannot sync the objects' files, restart the program: {error}");
        shared.sync_failure.get_or_init(|| Error::new(ErrorKind::Storage, text)).clone()
    };
    match shared.disk.sync_filesystem(&shared.objects) {
        Ok(FilesystemSync::Done) => Ok(()),
        Ok(FilesystemSync::Unsupported) => {
            written.iter().try_for_each(|store| store.sync()).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
