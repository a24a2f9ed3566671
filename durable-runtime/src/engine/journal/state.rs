//! Where frames go: the part of the journal that is under its lock. Plain data, no I/O.
//!
//! The guarantee: frames lie one after the other without a gap, all frames of a commit lie together and in one
//! batch, and a frame is placed only in a segment that is ready on disk.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::segment::{SEGMENT_HEAD_BYTES, Segment};
use crate::engine::receipt::Ticket;
use crate::engine::record::frame::FRAME_HEAD_BYTES;
use crate::engine::record::{OpenFrame, Position};

/// Small frames are gathered into one write up to this size; a larger one is written by itself.
const RUN_BYTES_MAX: usize = 256 * 1_024;

/// Bytes that are written at once.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u32,
    pub(super) bytes: Vec<u8>,
}

/// What is flushed at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) runs: Vec<Run>,
    pub(super) bytes: usize,
    /// Where it ends.
    pub(super) end: Position,
    pub(super) last_ticket: Ticket,
}

#[derive(Debug)]
pub(super) struct State {
    /// From the oldest that redo needs to the one that is written to; never empty.
    live: VecDeque<Arc<Segment>>,
    /// Where the next frame goes in the last of them.
    offset: u32,
    /// What comes after them.
    ready: VecDeque<Arc<Segment>>,
    /// How many were ever made ready.
    pub(super) made: u64,
    /// Files that nobody needs any more.
    pub(super) retired: Vec<PathBuf>,
    gathered: Batch,
    /// Where the gathered batch begins.
    begin: Position,
    /// Everything before is durable.
    flushed: Position,
    redo: Position,
    /// Segments from this one on are kept although redo does not need them.
    pub(super) kept_from: Option<u64>,
    pub(super) last_ticket: Ticket,
    pub(super) is_closing: bool,
    /// An empty buffer to gather in.
    spare: Vec<u8>,
}

impl State {
    /// A journal whose next frame is the first of `current`.
    pub(super) fn new(current: Arc<Segment>, retired: Vec<PathBuf>) -> State {
        let begin = Position { segment: current.head.number, offset: SEGMENT_HEAD_BYTES };
        State {
            live: VecDeque::from([current]),
            offset: SEGMENT_HEAD_BYTES,
            ready: VecDeque::new(),
            made: 0,
            retired,
            gathered: Batch::default(),
            begin,
            flushed: begin,
            redo: begin,
            kept_from: None,
            last_ticket: 0,
            is_closing: false,
            spare: Vec::new(),
        }
    }

    /// Where the next frame goes, unless it is too long for the rest of the segment.
    pub(super) fn end(&self) -> Position {
        Position { segment: self.current().head.number, offset: self.offset }
    }

    fn current(&self) -> &Arc<Segment> {
        &self.live[self.live.len() - 1]
    }

    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.runs.is_empty()
    }

    pub(super) fn gathered_bytes(&self) -> usize {
        self.gathered.bytes
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether a segment is to be made ahead. A new journal that is hardly written to needs none: most
    /// programs that are started for a moment end within the first segment.
    pub(super) fn wants_segment(&self, ready_min: usize) -> bool {
        let is_in_use = self.made > 0 || self.offset > self.current().head.bytes / 4;
        is_in_use && self.ready() < ready_min
    }

    pub(super) fn add_ready(&mut self, segment: Segment) {
        debug_assert!(segment.head.number > self.current().head.number);
        self.ready.push_back(Arc::new(segment));
        self.made += 1;
    }

    /// How many segments must be made before these frames fit.
    pub(super) fn missing_segments(&self, frames: &[OpenFrame]) -> usize {
        let mut needed = 0_usize;
        let mut offset = self.offset;
        for frame in frames {
            if !self.fits(offset, frame) {
                needed += 1;
                offset = SEGMENT_HEAD_BYTES;
            }
            offset += length(frame);
        }
        needed.saturating_sub(self.ready.len())
    }

    /// There must always be room left for the frame that ends the segment.
    fn fits(&self, offset: u32, frame: &OpenFrame) -> bool {
        let end = u64::from(offset) + frame.len() as u64 + FRAME_HEAD_BYTES as u64;
        end <= u64::from(self.current().head.bytes)
    }

    /// Places the frames of one commit; `missing_segments` must have been 0. Returns where the first one is.
    pub(super) fn push(&mut self, frames: Vec<OpenFrame>) -> (Ticket, Position) {
        let mut first = None;
        for frame in frames {
            if !self.fits(self.offset, &frame) {
                self.next_segment();
            }
            let position = self.place(frame);
            first.get_or_insert(position);
        }
        self.last_ticket += 1;
        self.gathered.last_ticket = self.last_ticket;
        (self.last_ticket, first.unwrap_or(self.end()))
    }

    fn next_segment(&mut self) {
        self.place(OpenFrame::end_of_segment());
        let next = self.ready.pop_front();
        assert!(next.is_some(), "frames are placed only in segments that are ready");
        self.live.extend(next);
        self.offset = SEGMENT_HEAD_BYTES;
    }

    fn place(&mut self, frame: OpenFrame) -> Position {
        let position = self.end();
        let segment = Arc::clone(self.current());
        let length = length(&frame);
        let bytes = frame.close(segment.head.place(), position.offset, self.begin);
        self.gathered.bytes += bytes.len();
        self.offset += length;
        debug_assert!(self.offset <= segment.head.bytes);
        match self.gathered.runs.last_mut() {
            Some(run)
                if run.segment.head.number == position.segment
                    && run.bytes.len() + bytes.len() <= RUN_BYTES_MAX =>
            {
                debug_assert_eq!(run.offset as usize + run.bytes.len(), position.offset as usize);
                run.bytes.extend_from_slice(&bytes);
            }
            _ => {
                let bytes = if bytes.len() < RUN_BYTES_MAX {
                    let mut gathering = std::mem::take(&mut self.spare);
                    gathering.extend_from_slice(&bytes);
                    gathering
                } else {
                    bytes
                };
                self.gathered.runs.push(Run { segment, offset: position.offset, bytes });
            }
        }
        position
    }

    /// All that has gathered. What comes from now on is the next batch.
    pub(super) fn take_batch(&mut self) -> Batch {
        self.begin = self.end();
        let batch = std::mem::take(&mut self.gathered);
        Batch { end: self.begin, ..batch }
    }

    /// A batch is durable. Its largest buffers are not kept.
    pub(super) fn flushed(&mut self, mut batch: Batch) {
        debug_assert!(self.flushed <= batch.end);
        self.flushed = batch.end;
        if let Some(run) =
            batch.runs.first_mut().filter(|run| run.bytes.capacity() <= 2 * RUN_BYTES_MAX)
        {
            self.spare = std::mem::take(&mut run.bytes);
            self.spare.clear();
        }
    }

    /// Redo starts here from now on. Lets go of the segments that nothing needs any more.
    pub(super) fn set_redo(&mut self, redo: Position) {
        self.redo = self.redo.max(redo);
        self.retire();
    }

    pub(super) fn redo(&self) -> Position {
        self.redo
    }

    pub(super) fn retire(&mut self) {
        // Not one that may still be written to: its file may soon be another segment.
        let needed = self.redo.segment.min(self.flushed.segment);
        let needed = needed.min(self.kept_from.unwrap_or(u64::MAX));
        while self.live.len() > 1 && self.live[0].head.number < needed {
            self.retired.extend(self.live.pop_front().map(|segment| segment.path.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn live_segments(&self) -> Vec<u64> {
        self.live.iter().map(|segment| segment.head.number).collect()
    }
}

/// Frames are shorter than a segment, whose length is a u32.
fn length(frame: &OpenFrame) -> u32 {
    u32::try_from(frame.len()).unwrap_or(u32::MAX)
}
