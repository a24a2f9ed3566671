//! What a transport holds: one end of a socket, of which the object has the other.
//!
//! Not for users of objects. A transport that has sent the response of `fetch` takes the driver out of it and runs it over its
//! connection, on a task of its own:
//!
//! ```ignore
//! if let Some(driver) = PendingSocket::take(&mut response) {
//!     // .. add `Sec-WebSocket-Accept`, send the response, make the connection a WebSocket ..
//!     tokio::spawn(driver.run(incoming, outgoing)); // a `Stream` of `Incoming` and a `Sink` of `Outgoing`
//! }
//! ```
//!
//! [`SocketDriver::run`] does all there is to do. One that wants to do it by itself awaits, at the same time, [`outgoing`](SocketDriver::outgoing) in
//! a loop that writes, [`incoming`](SocketDriver::incoming) in a loop that reads, and [`ended`](SocketDriver::ended), and drops
//! the connection when that comes back. Dropping the driver says that the connection is gone.
//!
//! What the transport sees to by itself: it answers pings, joins fragments, and refuses messages over
//! [`message_bytes_max`](SocketDriver::message_bytes_max) with [`Incoming::Invalid`].

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use futures_core::Stream;
use futures_sink::Sink;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::home::Home;
use super::line::Due;
use super::message::{Close, CloseFrame, Incoming, Message, Outgoing, SocketError};
use super::shared::{Held, Shared};
use crate::Response;
use crate::activity::{self, waiting};
use crate::time::Sleep;

/// Why most connections end that end too early.
const LOST: &str = "the connection was lost without a close frame";

/// A socket that was accepted, in the extensions of the response that says so.
#[derive(Clone, Debug)]
pub struct PendingSocket(Arc<Mutex<Option<SocketDriver>>>);

impl PendingSocket {
    pub(super) fn new(shared: Arc<Shared>, home: Arc<dyn Home>) -> Self {
        let driver = SocketDriver { shared, home, token: Mutex::new(None) };
        PendingSocket(Arc::new(Mutex::new(Some(driver))))
    }

    /// The driver of the socket that this response accepts, if it accepts one, once.
    pub fn take(response: &mut Response) -> Option<SocketDriver> {
        let pending: PendingSocket = response.extensions_mut().remove()?;
        let driver = pending.0.lock().take()?;
        *driver.token.lock() = Some(driver.home.node().connection());
        Some(driver)
    }
}

/// One end of a socket, for the transport. See the module.
pub struct SocketDriver {
    shared: Arc<Shared>,
    /// Known for as long as the connection lasts.
    home: Arc<dyn Home>,
    /// Shutting down waits for it: until the close frame is written.
    token: Mutex<Option<TaskTrackerToken>>,
}

impl SocketDriver {
    /// How long a message may be, in bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.home.node().settings.sockets.message_bytes_max
    }

    /// Runs the connection to its end: reads `incoming` until it ends, and writes to `outgoing`. Then both are to be dropped.
    pub async fn run<R, W>(self, incoming: R, outgoing: W)
    where
        R: Stream<Item = Incoming>,
        W: Sink<Outgoing>,
    {
        activity::describe(|| format!("a WebSocket of {}", self.home.label()));
        let (mut reading, mut writing) = (pin!(self.read(incoming)), pin!(self.write(outgoing)));
        let mut ended = pin!(self.ended());
        let (mut has_read, mut has_written) = (false, false);
        poll_fn(|task| {
            has_read = has_read || reading.as_mut().poll(task).is_ready();
            has_written = has_written || writing.as_mut().poll(task).is_ready();
            if has_read && has_written { Poll::Ready(()) } else { ended.as_mut().poll(task) }
        })
        .await;
    }

    async fn read(&self, incoming: impl Stream<Item = Incoming>) {
        let mut incoming = pin!(incoming);
        while let Some(frame) = poll_fn(|task| incoming.as_mut().poll_next(task)).await {
            self.incoming(frame).await;
        }
        // One who has sent what is not allowed is still to be told.
        if !self.shared.has_close_to_write() {
            self.closed(LOST);
        }
    }

    async fn write<W: Sink<Outgoing>>(&self, outgoing: W) {
        let mut outgoing = pin!(outgoing);
        while let Some(frame) = self.outgoing().await {
            if self.write_all(frame, outgoing.as_mut()).await.is_err() {
                return;
            }
        }
        // It is the peer's turn to end the connection.
        let _ = poll_fn(|task| outgoing.as_mut().poll_flush(task)).await;
    }

    /// Writes all that may be written at this moment, at once.
    async fn write_all<W: Sink<Outgoing>>(
        &self,
        first: Outgoing,
        mut outgoing: Pin<&mut W>,
    ) -> Result<(), W::Error> {
        let mut next = Some(first);
        while let Some(frame) = next {
            let is_last = matches!(frame, Outgoing::Close(_));
            poll_fn(|task| outgoing.as_mut().poll_ready(task)).await?;
            outgoing.as_mut().start_send(frame)?;
            if is_last {
                break;
            }
            next = poll_fn(|task| match self.shared.poll_next(task) {
                Poll::Ready(frame) => Poll::Ready(frame),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        poll_fn(|task| outgoing.as_mut().poll_flush(task)).await
    }

    /// The next frame to write; to be called when the one before is written. `None` after the last. What is dropped before
    /// it is ready takes nothing with it.
    pub async fn outgoing(&self) -> Option<Outgoing> {
        let next = waiting(poll_fn(|task| self.shared.poll_next(task))).await;
        if next.is_none() {
            self.token.lock().take();
        }
        next
    }

    /// Gives the object what was read; the next is to be read when this comes back: when its turn is over, and not too much waits to
    /// be written.
    pub async fn incoming(&self, frame: Incoming) {
        self.shared.busy();
        match frame {
            Incoming::Heartbeat => {}
            Incoming::Message(message) => self.message(message).await,
            Incoming::Close(frame) => {
                if let Some(event) = self.shared.peer_closed(&frame) {
                    let _ = waiting(self.end(event, Some(frame.answer()))).await;
                }
            }
            Incoming::Invalid { code, reason } => self.invalid(code, reason).await,
        }
        self.shared.idle();
        // One who does not read what it is sent is not listened to: it would get more and more.
        waiting(poll_fn(|task| self.shared.poll_room(task))).await;
    }

    async fn message(&self, message: Message) {
        if !self.shared.listens() {
            return;
        }
        self.shared.meters.received.increment(1);
        let (bytes, bytes_max) = (message.as_bytes().len(), self.message_bytes_max());
        if bytes > bytes_max {
            let reason = format!("a message has {bytes} bytes, over the limit of {bytes_max}");
            return self.invalid(1009, reason).await;
        }
        if let (Some(text), Some(auto)) = (message.as_text(), self.home.sockets().auto_response())
            && text == &*auto.request
        {
            self.shared.auto_respond(Outgoing::Text(auto.response.clone()));
            return;
        }
        let home = Arc::clone(&self.home);
        if let Some(handled) = home.on_message(Arc::clone(&self.shared), message) {
            handled.await;
        }
    }

    /// Tells the object, then closes.
    async fn invalid(&self, code: u16, reason: String) {
        if !self.shared.listens() {
            return;
        }
        let (home, error) = (Arc::clone(&self.home), SocketError { message: reason.clone() });
        if let Some(handled) = home.on_error(Arc::clone(&self.shared), error) {
            handled.await;
        }
        let frame = CloseFrame::checked(Some(code), &reason);
        let frame = frame.unwrap_or_else(|_| CloseFrame::of_runtime(code, ""));
        self.shared.close(Held::No, frame);
    }

    /// Comes back when the connection is to be dropped: both sides have closed, or the peer is not there any more.
    pub async fn ended(&self) {
        let mut sleep: Option<(SystemTime, Sleep)> = None;
        let over = poll_fn(|task| {
            loop {
                match self.shared.poll_due(task) {
                    Due::Over => return Poll::Ready(()),
                    Due::Never => return Poll::Pending,
                    Due::Ping => {}
                    Due::Lost(reason) => self.closed(reason),
                    Due::At(time) => {
                        // One that is too early is renewed only when it is over: every frame puts the time off.
                        if sleep.as_ref().is_none_or(|(until, _)| *until > time) {
                            let clock = &self.home.node().settings.time;
                            sleep = Some((time, clock.sleep_until(time)));
                        }
                        if let Some((_, wait)) = &mut sleep
                            && Pin::new(wait).poll(task).is_pending()
                        {
                            return Poll::Pending;
                        }
                        sleep = None;
                    }
                }
            }
        });
        waiting(over).await;
    }

    /// Says that the connection is gone, and why.
    pub fn closed(&self, reason: &str) {
        if let Some(event) = self.shared.lose(reason) {
            drop(self.end(event, None));
        }
    }

    /// Handles the close event, answers the peer if it has to be, and forgets the socket: on a task, since that must not end with the
    /// connection.
    fn end(&self, event: Close, answer: Option<CloseFrame>) -> oneshot::Receiver<()> {
        let (sender, done) = oneshot::channel();
        let (home, shared) = (Arc::clone(&self.home), Arc::clone(&self.shared));
        let handled = Arc::clone(&home).on_close(Arc::clone(&shared), event);
        let end = move || {
            if let Some(answer) = answer {
                shared.close(Held::No, answer);
            }
            home.sockets().remove(shared.id);
            let _ = sender.send(());
        };
        match handled {
            None => end(),
            Some(handled) => self.home.node().spawn(async move {
                handled.await;
                end();
            }),
        }
        done
    }
}

impl Drop for SocketDriver {
    fn drop(&mut self) {
        self.closed(LOST);
    }
}

impl fmt::Debug for SocketDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketDriver({:?} of {})", self.shared, self.home.label())
    }
}
