//! One object as the engine holds it: its pages in memory, its file, and how far both are.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::Mutex;

use crate::Result;
use crate::engine::overlay::Template;
use crate::engine::pagestore::{PageStore, Stamp};
use crate::engine::vfs::{ObjectFile, Vfs};
use crate::engine::{ObjectKey, Receipt};
use crate::{Error, ErrorKind};

/// An object with a connection, or with pages that its file lacks.
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) file: Arc<ObjectFile>,
    /// Held while a record is appended and its pages are accepted.
    pub(super) state: Mutex<State>,
    /// Held while pages are written to the file.
    writer: Mutex<()>,
}

/// The last commit of an object.
pub(super) struct State {
    pub(super) stamp: Stamp,
    pub(super) latest: Receipt,
    /// Time of the last commit: the next one is not earlier.
    pub(super) time_ms: i64,
}

impl Entry {
    pub(super) fn open(
        key: ObjectKey,
        vfs: &Arc<Vfs>,
        store: Arc<dyn PageStore>,
        template: &Template,
    ) -> Result<Entry> {
        let stamp = store.stamp().map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot read the file of {key}: {error}"))
        })?;
        let file = Arc::new(ObjectFile::open(vfs, store, template)?);
        let state = State { stamp, latest: Receipt::durable(), time_ms: 0 };
        Ok(Entry { key, file, state: Mutex::new(state), writer: Mutex::default() })
    }

    /// Whether a commit was ever logged.
    pub(super) fn is_stored(&self) -> bool {
        self.file.overlay().is_stored()
    }

    /// Whether the file lacks something that is committed.
    pub(super) fn has_newer_pages(&self) -> bool {
        self.file.overlay().snapshot().is_some()
    }

    /// Brings the file up to the last commit, waiting until that is durable. What was written is `unsynced`
    /// before its pages leave memory: a checkpoint that finds nothing left to write must find it there.
    ///
    /// # Errors
    /// When the journal or the file fails. The pages stay in memory.
    pub(super) fn write_back(&self, unsynced: &Mutex<Vec<Arc<dyn PageStore>>>) -> Result<()> {
        let _writer = self.writer.lock();
        let (snapshot, stamp, latest) = {
            let state = self.state.lock();
            let Some(snapshot) = self.file.overlay().snapshot() else { return Ok(()) };
            (snapshot, state.stamp, state.latest.clone())
        };
        wait(latest)?;
        self.file.store().write(&snapshot, stamp).map_err(|error| {
            Error::new(
                ErrorKind::Storage,
                format!("cannot write the file of {}: {error}", self.key),
            )
        })?;
        unsynced.lock().push(Arc::clone(self.file.store()));
        self.file.overlay().written_back(&snapshot);
        Ok(())
    }

    /// Gives back the file descriptor.
    pub(super) fn release(&self) {
        self.file.store().release();
    }
}

/// Waits on this thread until a commit is durable.
pub(super) fn wait(mut receipt: Receipt) -> Result<()> {
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut task = Context::from_waker(&waker);
    loop {
        match receipt.poll_durable(&mut task) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
