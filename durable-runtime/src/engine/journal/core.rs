//! What the journal does, one step at a time: its threads only call these steps, and tests call them by hand.
//!
//! The guarantee: a batch is written only after the one before was synced, and the watermark
//! moves only after its own sync. The first error of a write or a sync is the end: nothing is tried again, since
//! after a failed sync nobody knows what the disk holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::CheckpointFile;
use super::segment::{self, Segment, SegmentHead};
use super::state::{Batch, State};
use super::{Appended, CheckpointEpoch, Options, Refusal};
use crate::engine::directory::io_error;
use crate::engine::files::{Disk, is_full};
use crate::engine::receipt::{Receipt, Watermark};
use crate::engine::record::{OpenFrame, Position};
use crate::observe::events::note;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    pub(super) generation: u64,
    pub(super) state: Mutex<State>,
    /// Changes under the lock of `state` only.
    pub(super) epoch: AtomicU64,
    pub(super) watermark: Arc<Watermark>,
    pub(super) unflushed_bytes: AtomicUsize,
    /// Something has gathered, or the journal is closing.
    pub(super) gathered: Condvar,
    /// A segment was taken or let go, or the journal is closing.
    pub(super) refill: Condvar,
    /// Held while a segment is made. Taken before `state`, never under it.
    pub(super) making: Mutex<Making>,
    /// Taken before `state`, never under it.
    pub(super) checkpoint: Mutex<CheckpointFile>,
}

/// What is needed to make the next segment.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) next: u64,
    pub(super) generation: u64,
    /// Why the last one could not be made, and when.
    pub(super) refused: Option<(Instant, Error)>,
}

impl Core {
    pub(super) fn append(
        &self,
        epoch: CheckpointEpoch,
        frames: Vec<OpenFrame>,
    ) -> Result<Appended, Refusal> {
        loop {
            let mut state = self.state.lock();
            if let Some(error) = self.watermark.failure() {
                return Err(Refusal::Failed(error.clone()));
            }
            if state.is_closing {
                return Err(Refusal::Failed(Error::new(
                    ErrorKind::ShutDown,
                    "the journal has been closed",
                )));
            }
            if self.epoch.load(Ordering::Relaxed) != epoch.0 {
                return Err(Refusal::Stale);
            }
            if state.missing_segments(&frames) == 0 {
                return Ok(self.enqueue(&mut state, frames));
            }
            let made = state.made;
            drop(state);
            self.make_segment(made).map_err(Refusal::Failed)?;
        }
    }

    fn enqueue(&self, state: &mut State, frames: Vec<OpenFrame>) -> Appended {
        let before = state.gathered_bytes();
        let was_empty = !state.has_gathered();
        let wanted = state.wants_segment(self.options.ready_min);
        let ready = state.ready();
        let (ticket, position) = state.push(frames);
        // With the frames that end segments, as the flush will count them.
        self.unflushed_bytes.fetch_add(state.gathered_bytes() - before, Ordering::Relaxed);
        if was_empty {
            self.gathered.notify_one();
        }
        if state.ready() < ready || (!wanted && state.wants_segment(self.options.ready_min)) {
            self.refill.notify_one();
        }
        Appended { receipt: Receipt::pending(&self.watermark, ticket), position, end: state.end() }
    }

    /// Makes one more segment ready, unless that happened since `made` of them had been.
    pub(super) fn make_segment(&self, made: u64) -> Result<()> {
        let mut making = self.making.lock();
        let old = {
            let mut state = self.state.lock();
            if state.made != made {
                return Ok(());
            }
            state.retired.pop()
        };
        if let Some((when, error)) = &making.refused
            && old.is_none()
            && when.elapsed() < self.options.retry_after
        {
            return Err(error.clone());
        }
        let segment =
            make_next(&*self.disk, &self.folder, &self.options, &mut making, old.as_deref())?;
        self.state.lock().add_ready(segment);
        Ok(())
    }

    /// Flushes what has gathered; says whether there was anything.
    pub(super) fn flush(&self) -> bool {
        let batch = {
            let mut state = self.state.lock();
            if !state.has_gathered() || self.watermark.failure().is_some() {
                return false;
            }
            state.take_batch()
        };
        let begun = self.options.meters.begin();
        match write(&batch) {
            Ok(()) => {
                let (ticket, bytes) = (batch.last_ticket, batch.bytes);
                self.options.meters.flushed(begun, bytes);
                self.state.lock().flushed(batch);
                self.unflushed_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.watermark.advance(ticket);
            }
            Err(error) => self.watermark.fail(error),
        }
        true
    }

    pub(super) fn begin_checkpoint(&self) -> (CheckpointEpoch, Position) {
        let state = self.state.lock();
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        (CheckpointEpoch(epoch), state.end())
    }

    pub(super) fn complete_checkpoint(&self, redo: Position) -> Result<()> {
        self.checkpoint.lock().write(redo)?;
        self.state.lock().set_redo(redo);
        self.trim();
        Ok(())
    }

    pub(super) fn keep_from(&self, segment: Option<u64>) {
        let mut state = self.state.lock();
        state.kept_from = segment;
        state.retire();
        drop(state);
        self.trim();
    }

    /// Removes the files that are too many to be recycled.
    pub(super) fn trim(&self) {
        let surplus = {
            let mut state = self.state.lock();
            self.refill.notify_one();
            let kept = state.retired.len().min(self.options.retired_max);
            state.retired.split_off(kept)
        };
        for path in surplus {
            // The next start removes it.
            if let Err(error) = self.disk.remove(&path) {
                note!(warn, path = %path.display(), reason = %error, "cannot remove a journal segment");
            }
        }
    }
}

/// Makes the next segment, of an old file if there is one.
pub(super) fn make_next(
    disk: &dyn Disk,
    folder: &Path,
    options: &Options,
    making: &mut Making,
    old: Option<&Path>,
) -> Result<Segment> {
    let salt = getrandom::u64().map_err(|error| {
        Error::new(
            ErrorKind::Storage,
            format!("the operating system has no random numbers: {error}"),
        )
    })?;
    let (number, generation) = (making.next, making.generation);
    // Never 0 in the low half, with which every frame begins: zeros are no frame.
    let head = SegmentHead { number, generation, salt: salt | 1, bytes: options.segment_bytes };
    let made = segment::make(disk, folder, head, old).map_err(|error| {
        let refused = io_error("make", &segment::path_of(folder, number), &error);
        if is_full(&error) {
            return Error::new(ErrorKind::StorageFull, refused.message());
        }
        refused
    });
    // After a failure the number is used again, since a gap would look like a lost segment.
    making.next += u64::from(made.is_ok());
    making.refused = made.as_ref().err().map(|error| (Instant::now(), error.clone()));
    made
}

/// Writes a batch and makes it durable: one sync for each segment that it reaches into.
fn write(batch: &Batch) -> Result<()> {
    for runs in batch.runs.chunk_by(|a, b| a.segment.head.number == b.segment.head.number) {
        let segment = &runs[0].segment;
        for run in runs {
            let written = segment.file.write_at(&run.bytes, u64::from(run.offset));
            written.map_err(|error| io_error("write", &segment.path, &error))?;
        }
        segment.file.sync_data().map_err(|error| io_error("sync", &segment.path, &error))?;
    }
    Ok(())
}
