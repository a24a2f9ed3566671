//! Checkpoints: files catch up with the journal, and the journal may forget.
//!
//! The steps, each of which may be the last one before a crash:
//! 1. The checkpoint *begins*: from here on the first change of each page is logged as an image. Here redo starts
//!    once the checkpoint is complete.
//! 2. Every object with newer pages writes them back, after the records that hold them are durable.
//! 3. All files are synced.
//! 4. The checkpoint is *complete*: the journal durably notes where redo starts, and recycles what lies before.
//!
//! A crash before 4 redoes from the checkpoint before, whose images cover every page that was touched since.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::entry::Entry;
use crate::engine::files::FilesystemSync;
use crate::engine::journal::Journal;
use crate::{Error, ErrorKind, Result};

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
    distance: u64,
}

#[derive(Default)]
struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    Checkpoint,
    /// A last one, and then the end.
    End,
}

impl Checkpointer {
    pub(super) fn start(shared: Arc<Shared>, distance: u64) -> Result<Self> {
        let waker = Waker::new(Arc::clone(&shared), distance);
        let signal = Arc::clone(&waker.signal);
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
}

impl Waker {
    pub(super) fn new(shared: Arc<Shared>, distance: u64) -> Self {
        Waker { shared, signal: Arc::default(), distance }
    }

    /// Wakes the thread if the journal has grown enough since the last checkpoint.
    pub(super) fn wake_if_due(&self) {
        if self.shared.logged.load(Ordering::Relaxed) >= self.distance {
            self.signal.want(Wanted::Checkpoint);
        }
    }
}

impl Signal {
    fn want(&self, what: Wanted) {
        let mut wanted = self.wanted.lock();
        if *wanted == Wanted::Nothing || what == Wanted::End {
            *wanted = what;
            self.changed.notify_one();
        }
    }

    fn wait(&self) -> Wanted {
        let mut wanted = self.wanted.lock();
        while *wanted == Wanted::Nothing {
            self.changed.wait(&mut wanted);
        }
        *wanted
    }

    fn done(&self) {
        let mut wanted = self.wanted.lock();
        if *wanted == Wanted::Checkpoint {
            *wanted = Wanted::Nothing;
        }
    }
}

impl Checkpointer {
    /// Makes a last checkpoint and ends the thread.
    pub(super) fn stop(&mut self) {
        self.waker.signal.want(Wanted::End);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the checkpoint thread has panicked");
        }
    }
}

fn run(shared: &Shared, signal: &Signal) {
    loop {
        let wanted = signal.wait();
        if let Err(error) = checkpoint(shared) {
            tracing::error!(%error, "a checkpoint failed; the journal keeps what it would have written");
        }
        if wanted == Wanted::End {
            return;
        }
        signal.done();
    }
}

/// Makes one checkpoint.
pub(super) fn checkpoint(shared: &Shared) -> Result<()> {
    checkpoint_in_steps(shared, &mut || {})
}

/// Makes one checkpoint. Objects go on changing meanwhile, as `between` does after each step.
pub(super) fn checkpoint_in_steps(shared: &Shared, between: &mut dyn FnMut()) -> Result<()> {
    let (_, position) = shared.journal.begin_checkpoint();
    shared.logged.store(0, Ordering::Relaxed);
    between();
    let entries: Vec<Arc<Entry>> = shared.entries.lock().values().map(Arc::clone).collect();
    for entry in &entries {
        entry.write_back(&shared.unsynced)?;
        between();
    }
    sync(shared)?;
    between();
    shared.journal.complete_checkpoint(position)?;
    for entry in entries {
        shared.forget_if_idle(&entry);
    }
    Ok(())
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
