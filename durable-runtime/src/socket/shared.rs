//! One socket, as its object, its users and its transport share it.
//!
//! The guarantee: a frame leaves in the order in which its turn was committed, and only when that turn is durable.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::home::Home;
use super::line::{Due, Line, Sent};
use super::message::{Close, CloseFrame, Outgoing, SocketState};
use crate::engine::Receipt;
use crate::gate::Barrier;
use crate::id::Identity;
use crate::node::Node;
use crate::observe::events::event;
use crate::observe::meters::SocketMeters;
use crate::{Error, ErrorKind, Result};

/// What a frame waits for before it is written.
#[derive(Debug)]
pub(super) enum Held {
    /// Nothing.
    No,
    /// The turn that sent it.
    Turn(Receipt),
    /// What the handler that sent it had not confirmed.
    Handler(Vec<Barrier>),
}

impl Held {
    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Result<()>> {
        match self {
            Held::No => Poll::Ready(Ok(())),
            Held::Turn(receipt) => receipt.poll_durable(task),
            Held::Handler(barriers) => {
                while let Some(barrier) = barriers.last_mut() {
                    std::task::ready!(barrier.poll_durable(task))?;
                    barriers.pop();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// What the builder says about sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketLimits {
    /// How long a peer may be silent before it is asked whether it is there.
    pub(crate) idle_ping: Duration,
    /// How long a message of a peer may be.
    pub(crate) message_bytes_max: usize,
    /// How much may wait to be written.
    pub(crate) queue_bytes_max: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        SocketLimits {
            idle_ping: super::SOCKET_IDLE_PING,
            message_bytes_max: super::SOCKET_MESSAGE_BYTES_MAX,
            queue_bytes_max: super::SOCKET_QUEUE_BYTES_MAX,
        }
    }
}

/// See the module.
pub(crate) struct Shared {
    /// In the whole process; later ones are greater.
    pub(super) id: u64,
    pub(super) tags: Box<[Box<str>]>,
    node: Arc<Node>,
    /// Of its object.
    identity: Arc<Identity>,
    pub(super) meters: Arc<SocketMeters>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    line: Line<Held>,
    attachment: Option<Box<[u8]>>,
    /// Whether the turn that accepted it is committed.
    is_accepted: bool,
    /// Whether no event is to reach the object any more.
    is_dismissed: bool,
    /// When a message of the peer was last answered without the object.
    auto_responded: Option<SystemTime>,
    /// Of whoever writes.
    writer: Option<Waker>,
    /// Of whoever watches the time.
    watcher: Option<Waker>,
    /// Of whoever would read, if less were to be written.
    reader: Option<Waker>,
}

impl State {
    /// Who has to look again, to be woken outside of the lock.
    fn all(&mut self) -> [Option<Waker>; 3] {
        [self.writer.take(), self.watcher.take(), self.reader.take()]
    }
}

fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl Shared {
    pub(super) fn new(tags: Box<[Box<str>]>, home: &dyn Home) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (node, identity) = (Arc::clone(home.node()), Arc::clone(home.identity()));
        let state = State {
            line: Line::new(node.settings.time.now_or_system()),
            attachment: None,
            is_accepted: false,
            is_dismissed: false,
            auto_responded: None,
            writer: None,
            watcher: None,
            reader: None,
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let meters = Arc::clone(home.socket_meters());
        Shared { id, tags, node, identity, meters, state: Mutex::new(state) }
    }

    fn now(&self) -> SystemTime {
        self.node.settings.time.now_or_system()
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| &**known == tag)
    }

    pub(super) fn state(&self) -> SocketState {
        self.state.lock().line.state()
    }

    pub(super) fn attachment(&self) -> Option<Box<[u8]>> {
        self.state.lock().attachment.clone()
    }

    pub(super) fn set_attachment(&self, attachment: Box<[u8]>) {
        self.state.lock().attachment = Some(attachment);
    }

    /// The turn is committed. `false` if its socket is gone already: then it never was.
    pub(super) fn accept(&self) -> bool {
        let mut state = self.state.lock();
        state.is_accepted = state.line.state() != SocketState::Closed;
        state.is_accepted
    }

    /// Whether the runtime shuts down, and has told the others.
    pub(super) fn is_late(&self) -> bool {
        self.node.is_closing()
    }

    pub(super) fn auto_responded(&self) -> Option<SystemTime> {
        self.state.lock().auto_responded
    }

    /// Answers by itself.
    pub(super) fn auto_respond(&self, response: Outgoing) {
        if self.send(Held::No, response).is_ok() {
            let now = self.now();
            self.state.lock().auto_responded = Some(now);
            self.meters.answered.increment(1);
        }
    }

    pub(super) fn listens(&self) -> bool {
        self.state.lock().line.listens()
    }

    pub(super) fn closed_by_us(&self) -> bool {
        self.state.lock().line.closed_by_us()
    }

    pub(super) fn has_close_to_write(&self) -> bool {
        self.state.lock().line.has_close_to_write()
    }

    /// Queues a message.
    ///
    /// # Errors
    /// When the object, or the runtime, has closed the socket.
    pub(super) fn send(&self, held: Held, frame: Outgoing) -> Result<()> {
        let (now, bytes_max) = (self.now(), self.queue_bytes_max());
        let (sent, wakers) = {
            let mut state = self.state.lock();
            let sent = state.line.send(held, frame, bytes_max, now);
            (
                sent,
                if sent == Sent::Overflowed {
                    state.all()
                } else {
                    [state.writer.take(), None, None]
                },
            )
        };
        wake(wakers);
        match sent {
            Sent::Queued | Sent::Lost => Ok(()),
            Sent::Refused => Err(closed()),
            Sent::Overflowed => {
                self.meters.too_slow.increment(1);
                event!(
                    warn,
                    self.identity,
                    socket = self.id,
                    bytes_max,
                    "a WebSocket is closed: its peer reads too slowly"
                );
                Ok(())
            }
        }
    }

    /// Queues a close frame, unless there is one.
    pub(super) fn close(&self, held: Held, frame: CloseFrame) {
        let now = self.now();
        let wakers = {
            let mut state = self.state.lock();
            state.line.close(held, frame, now);
            state.all()
        };
        wake(wakers);
    }

    /// The same, for an object that is not to hear of it.
    pub(super) fn dismiss(&self, frame: CloseFrame) {
        self.state.lock().is_dismissed = true;
        self.close(Held::No, frame);
    }

    /// The peer has closed. Gives the event that follows.
    pub(super) fn peer_closed(&self, frame: &CloseFrame) -> Option<Close> {
        let now = self.now();
        let (event, wakers) = {
            let mut state = self.state.lock();
            let event = state.line.peer_closed(frame, now).filter(|_| !state.is_dismissed);
            (event, state.all())
        };
        wake(wakers);
        event
    }

    /// The connection is gone, or is to be. Gives the event that follows, unless the socket never was.
    pub(super) fn lose(&self, reason: &str) -> Option<Close> {
        let (event, wakers) = {
            let mut state = self.state.lock();
            let event = state.line.lost(reason);
            let event = event.filter(|_| state.is_accepted && !state.is_dismissed);
            (event, state.all())
        };
        wake(wakers);
        event
    }

    pub(super) fn busy(&self) {
        self.state.lock().line.busy();
    }

    pub(super) fn idle(&self) {
        let now = self.now();
        self.state.lock().line.idle(now);
    }

    /// The next frame to write; `None` after the last.
    pub(super) fn poll_next(&self, task: &mut Task<'_>) -> Poll<Option<Outgoing>> {
        let now = self.now();
        let mut state = self.state.lock();
        let next = state.line.next(now, |held| held.poll(task));
        if next.is_ready() {
            state.line.took(now, self.queue_bytes_max());
        }
        let has_room = next.is_ready() && !state.line.is_crowded(self.queue_bytes_max());
        let reader = if has_room { state.reader.take() } else { None };
        let replaced = match &next {
            // Also while a frame is held back: a ping may overtake it, and the connection may go.
            Poll::Pending => state.writer.replace(task.waker().clone()),
            // What is due has changed: a close frame is written, or has become necessary.
            Poll::Ready(None | Some(Outgoing::Close(_))) => state.watcher.take(),
            Poll::Ready(Some(_)) => None,
        };
        drop(state);
        if let Poll::Ready(Some(Outgoing::Text(_) | Outgoing::Binary(_))) = next {
            self.meters.sent.increment(1);
        }
        if next.is_ready() {
            wake([replaced, reader]);
        }
        next
    }

    /// Ready when more may be read.
    pub(super) fn poll_room(&self, task: &Task<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.line.is_crowded(self.queue_bytes_max()) {
            return Poll::Ready(());
        }
        let replaced = state.reader.replace(task.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    fn queue_bytes_max(&self) -> usize {
        self.node.settings.sockets.queue_bytes_max
    }

    /// What the time asks for. Wakes `task` when something else may have become due earlier.
    pub(super) fn poll_due(&self, task: &Task<'_>) -> Due {
        let now = self.now();
        let (due, writer, replaced) = {
            let mut state = self.state.lock();
            let due = state.line.due(now, self.node.settings.sockets.idle_ping);
            let writer = if due == Due::Ping { state.writer.take() } else { None };
            (due, writer, state.watcher.replace(task.waker().clone()))
        };
        wake([writer]);
        drop(replaced);
        due
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocket({})", self.id)
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Invalid, "the WebSocket was closed, and nothing can be sent any more")
}
