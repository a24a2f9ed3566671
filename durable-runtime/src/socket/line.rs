//! One socket's life, from its acceptance to its end: plain data, without I/O or time of its own.
//!
//! Guarantees:
//! - Exactly one close event: when the peer's close frame is read, or when the connection is lost before that.
//! - What was sent is written in the order in which it was sent, each frame only when whatever holds it back (`H`)
//!   lets it go, and nothing after the close frame. A close frame is written at most once.
//! - What waits to be written is bounded by bytes: a peer that does not read is not read either, and what others send it beyond
//!   the bound closes it. A peer that is not there any more is found out.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::message::{Close, CloseFrame, Outgoing, SocketState};
use crate::Result;

/// How long the peer has to take and to answer a close frame, before the connection is given up.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// Who has closed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// We have, and the peer has not answered.
    Closing,
    /// The peer has, and we have not answered.
    Answering,
    /// Both, or the connection is lost.
    Closed,
}

/// How far our close frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    NotTaken,
    /// The transport is writing it.
    Taken,
    Written,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Queued,
    /// The peer is gone: as everything that is sent over a network, it may be lost.
    Lost,
    /// It was our own side that closed.
    Refused,
    /// Too much waits to be written: the socket is being closed.
    Overflowed,
}

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The connection is to be dropped.
    Over,
    /// A ping is to be written now.
    Ping,
    /// The peer does not answer: the connection is lost.
    Lost(&'static str),
    /// Nothing before this time.
    At(SystemTime),
    /// Nothing, ever.
    Never,
}

/// See the module. `H` holds a frame back.
#[derive(Debug)]
pub(super) struct Line<H> {
    stage: Stage,
    /// Whether the object or the runtime has closed.
    closed_by_us: bool,
    queue: VecDeque<(H, Outgoing)>,
    queued_bytes: usize,
    close_frame: Frame,
    /// Since when one side has closed.
    closing_since: Option<SystemTime>,
    /// Whether the connection is lost.
    is_cut: bool,
    pulse: Pulse,
}

/// Whether the peer is still there.
#[derive(Debug)]
struct Pulse {
    /// When it was last heard.
    heard: SystemTime,
    /// When it was asked, if it has not answered.
    pinged: Option<SystemTime>,
    is_ping_due: bool,
    /// Whether nothing is read, because what was read is still being handled.
    is_busy: bool,
}

impl Pulse {
    fn due(&mut self, now: SystemTime, patience: Duration) -> Due {
        let since = if self.is_busy { now } else { self.pinged.unwrap_or(self.heard) };
        match since.checked_add(patience) {
            None => Due::Never,
            Some(end) if now < end => Due::At(end),
            Some(_) if self.pinged.is_some() => Due::Lost("the peer did not answer a ping"),
            Some(_) => {
                self.pinged = Some(now);
                self.is_ping_due = true;
                Due::Ping
            }
        }
    }
}

impl<H> Line<H> {
    pub(super) fn new(now: SystemTime) -> Self {
        Line {
            stage: Stage::Open,
            closed_by_us: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            close_frame: Frame::NotTaken,
            closing_since: None,
            is_cut: false,
            pulse: Pulse { heard: now, pinged: None, is_ping_due: false, is_busy: false },
        }
    }

    pub(super) fn state(&self) -> SocketState {
        match self.stage {
            Stage::Open => SocketState::Open,
            Stage::Closing | Stage::Answering => SocketState::Closing,
            Stage::Closed => SocketState::Closed,
        }
    }

    /// Whether messages of the peer still count.
    pub(super) fn listens(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether so much waits to be written that nothing more is to be read: most of what is read is answered.
    pub(super) fn is_crowded(&self, bytes_max: usize) -> bool {
        self.queued_bytes > bytes_max / 2
    }

    /// Whether our own side has closed.
    pub(super) fn closed_by_us(&self) -> bool {
        self.closed_by_us
    }

    /// Whether a close frame is on its way to the peer.
    pub(super) fn has_close_to_write(&self) -> bool {
        self.closing_since.is_some()
            && !self.is_cut
            && self.stage != Stage::Answering
            && self.close_frame != Frame::Written
    }

    /// Puts a message behind all others.
    pub(super) fn send(
        &mut self,
        held: H,
        frame: Outgoing,
        bytes_max: usize,
        now: SystemTime,
    ) -> Sent {
        if self.closed_by_us {
            return Sent::Refused;
        }
        if self.stage == Stage::Closed {
            return Sent::Lost;
        }
        // One that is too large by itself may pass: nobody could ever send it otherwise.
        let bytes = self.queued_bytes.saturating_add(frame.weight());
        if bytes > bytes_max && !self.queue.is_empty() {
            self.queue.clear();
            self.queued_bytes = 0;
            let too_slow = CloseFrame::of_runtime(1013, "too slow");
            self.close(held, too_slow, now);
            return Sent::Overflowed;
        }
        self.queued_bytes = bytes;
        self.queue.push_back((held, frame));
        Sent::Queued
    }

    /// Closes from our side, after all that was sent. The second one is as none: `false`.
    pub(super) fn close(&mut self, held: H, frame: CloseFrame, now: SystemTime) -> bool {
        self.stage = match self.stage {
            Stage::Open => Stage::Closing,
            Stage::Answering => Stage::Closed,
            Stage::Closing | Stage::Closed => return false,
        };
        self.closed_by_us = true;
        self.closing_since = Some(now);
        self.queue.push_back((held, Outgoing::Close(frame)));
        true
    }

    /// The peer's close frame was read. Gives the event, unless there was one; [`close`](Self::close) answers.
    pub(super) fn peer_closed(&mut self, frame: &CloseFrame, now: SystemTime) -> Option<Close> {
        self.stage = match self.stage {
            Stage::Open => Stage::Answering,
            Stage::Closing => Stage::Closed,
            Stage::Answering | Stage::Closed => return None,
        };
        self.closing_since.get_or_insert(now);
        Some(Close::clean(frame))
    }

    /// The connection is gone. Gives the event, unless there was one.
    pub(super) fn lost(&mut self, reason: &str) -> Option<Close> {
        self.is_cut = true;
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open | Stage::Closing => Some(Close::lost(reason)),
            Stage::Answering | Stage::Closed => None,
        }
    }

    /// What is to be written next; `None` after the last. Called when what it gave before is written.
    /// `may_go` says whether a frame may leave, or that it never may.
    pub(super) fn next(
        &mut self,
        now: SystemTime,
        mut may_go: impl FnMut(&mut H) -> Poll<Result<()>>,
    ) -> Poll<Option<Outgoing>> {
        if self.close_frame == Frame::Taken {
            self.close_frame = Frame::Written;
        }
        if self.is_cut || self.close_frame == Frame::Written {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.pulse.is_ping_due) {
            return Poll::Ready(Some(Outgoing::Ping));
        }
        let Some((held, _)) = self.queue.front_mut() else { return Poll::Pending };
        let frame = match may_go(held) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.queue.pop_front().map(|(_, frame)| frame),
            Poll::Ready(Err(_)) => Some(self.give_up(now)),
        };
        let Some(frame) = frame else { return Poll::Pending };
        self.queued_bytes = self.queued_bytes.saturating_sub(frame.weight());
        if matches!(frame, Outgoing::Close(_)) {
            self.close_frame = Frame::Taken;
        }
        if self.queue.is_empty() {
            // Most sockets are silent most of the time.
            self.queue = VecDeque::new();
        }
        Poll::Ready(Some(frame))
    }

    /// What was to be written never may: a later frame must not take its place.
    fn give_up(&mut self, now: SystemTime) -> Outgoing {
        self.queue.clear();
        self.queued_bytes = 0;
        self.stage = match self.stage {
            Stage::Open | Stage::Closing => Stage::Closing,
            Stage::Answering | Stage::Closed => Stage::Closed,
        };
        self.closed_by_us = true;
        self.closing_since.get_or_insert(now);
        Outgoing::Close(CloseFrame::of_runtime(1011, "storage failed"))
    }

    /// Something was read, and is being handled until [`idle`](Self::idle).
    pub(super) fn busy(&mut self) {
        self.pulse.is_busy = true;
    }

    /// The next thing is read.
    pub(super) fn idle(&mut self, now: SystemTime) {
        self.pulse = Pulse { heard: now, pinged: None, is_ping_due: false, is_busy: false };
    }

    /// A frame is taken, so the one before is written. While so much waits that the peer is not read, that shows that it is there: then
    /// the system's buffers are full, and it has made room.
    pub(super) fn took(&mut self, now: SystemTime, bytes_max: usize) {
        if self.is_crowded(bytes_max) {
            self.pulse.heard = now;
            self.pulse.pinged = None;
        }
    }

    /// What is to happen at this time, where a silent peer is asked after `patience` and given up after as much again.
    pub(super) fn due(&mut self, now: SystemTime, patience: Duration) -> Due {
        if self.is_cut || self.stage == Stage::Closed && self.close_frame == Frame::Written {
            return Due::Over;
        }
        if let Some(since) = self.closing_since {
            return match since.checked_add(CLOSE_WAIT) {
                Some(end) if now < end => Due::At(end),
                _ => Due::Lost("the peer did not answer the close frame"),
            };
        }
        self.pulse.due(now, patience)
    }
}

#[cfg(test)]
mod tests;
