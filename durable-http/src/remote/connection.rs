//! One connection: frames in, calls, frames out, all in one task.
//!
//! The invariant: reading never waits for writing. A client that sends without reading what it is answered is told that the server is overloaded,
//! and is not waited for.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use durable_runtime::remote::{
    CallFrame, Failed, LEAVING, Outcome, Progress, ReplyFrame, ToServer,
};
use durable_runtime::transport::Connection as Place;
use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::calls::Calls;
use super::{BYTES_MAX, CALLS_MAX, SILENCE};

const SHUTS_DOWN: &str = "the server shuts down";

/// How many frames are read before their calls are made.
const BATCH: usize = 64;

/// Carries calls until one of both sides ends it.
pub(crate) async fn run<S>(
    socket: WebSocketStream<S>,
    calls: Calls,
    place: Place,
    progress: Progress,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection {
        socket,
        calls,
        running: FuturesUnordered::new(),
        accepted: HashMap::new(),
        bytes: 0,
        outgoing: VecDeque::new(),
        to_flush: false,
        ending: Ending::No,
        place: Some(place),
    };
    let mut silence = pin!(tokio::time::sleep(SILENCE));
    let ended = poll_fn(|task| {
        let polled = connection.poll(task);
        if polled.is_pending() && silence.as_mut().poll(task).is_ready() {
            let left = SILENCE.saturating_sub(progress.silence());
            if left.is_zero() {
                return Poll::Ready(Err(Error::ConnectionClosed));
            }
            silence.as_mut().reset(Instant::now() + left);
            task.waker().wake_by_ref();
        }
        polled
    });
    if let Err(error) = ended.await {
        tracing::debug!(reason = %error, "a client has gone");
    }
}

struct Connection<S> {
    socket: WebSocketStream<S>,
    calls: Calls,
    running: FuturesUnordered<Running>,
    /// Those that run, by their numbers.
    accepted: HashMap<u64, Accepted>,
    /// Of the frames of those that run, and of replies that are not written.
    bytes: usize,
    outgoing: VecDeque<Bytes>,
    to_flush: bool,
    ending: Ending,
    /// Until the client is told of a shutdown.
    place: Option<Place>,
}

/// A call, with its number for when it is dropped.
type Running = Pin<Box<dyn Future<Output = (u64, Result<ReplyFrame, Aborted>)> + Send>>;

struct Accepted {
    /// Drops the call.
    drop: AbortHandle,
    /// How many bytes its frame had.
    bytes: usize,
}

/// How far the end of a connection has come that this side wants.
#[derive(Debug, PartialEq)]
enum Ending {
    No,
    /// To be said when all calls are answered: a client may take it that the others were not made.
    Wanted(CloseCode, &'static str),
    Said,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Ready when the connection is over.
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(place) = &mut self.place
            && self.ending == Ending::No
            && place.poll_ends(task).is_ready()
        {
            self.end(CloseCode::Library(LEAVING), SHUTS_DOWN);
        }
        loop {
            // Many are read before their calls are made, so that many replies are written at once.
            let read = self.poll_read(task)?;
            let is_full = self.poll_running(task);
            // What cannot be written now waits.
            if let Poll::Ready(Err(error)) = self.poll_write(task) {
                return Poll::Ready(Err(error));
            }
            if is_full && self.bytes <= BYTES_MAX {
                continue;
            }
            match read {
                Poll::Ready(Read::Some) => {}
                Poll::Ready(Read::End) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_read(&mut self, task: &mut Context<'_>) -> Poll<Result<Read, Error>> {
        for _ in 0..BATCH {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(task)) {
                Some(message) => message?,
                None => return Poll::Ready(Ok(Read::End)),
            };
            match message {
                Message::Binary(frame) => self.take(&frame),
                Message::Text(_) => self.end(CloseCode::Unsupported, "frames are binary"),
                // The library answers.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
            if self.outgoing.len() > 4 * CALLS_MAX {
                tracing::warn!("a client sends calls and reads no replies: it is cut off");
                return Poll::Ready(Ok(Read::End));
            }
        }
        Poll::Ready(Ok(Read::Some))
    }

    fn take(&mut self, frame: &Bytes) {
        match ToServer::decode(frame) {
            Ok(ToServer::Call(call)) if self.ending == Ending::No => {
                self.accept(*call, frame.len());
            }
            // After the last word nothing may follow: the client knows that it was not taken.
            Ok(ToServer::Call(_)) if self.ending == Ending::Said => {}
            Ok(ToServer::Call(call)) => {
                let number = call.number;
                self.reply(ReplyFrame { number, known: None, outcome: not_made() });
            }
            Ok(ToServer::Cancel(number)) => {
                if let Some(accepted) = self.accepted.get(&number) {
                    accepted.drop.abort();
                }
            }
            Err(error) => {
                tracing::debug!(reason = %error, "a client sent no frame");
                self.end(CloseCode::Protocol, "this is no frame");
            }
        }
    }

    fn accept(&mut self, call: CallFrame, bytes: usize) {
        let number = call.number;
        if self.accepted.contains_key(&number) {
            return self.end(CloseCode::Protocol, "two calls have one number");
        }
        let queued = self.accepted.len();
        if queued >= CALLS_MAX || self.bytes + bytes > BYTES_MAX {
            let outcome = Outcome::Failed(Failed::Overloaded { queued: queued as u64 });
            return self.reply(ReplyFrame { number, known: None, outcome });
        }
        self.bytes += bytes;
        let (drop, registration) = AbortHandle::new_pair();
        let made = Abortable::new(self.calls.make(call), registration);
        self.running.push(Box::pin(async move { (number, made.await) }));
        self.accepted.insert(number, Accepted { drop, bytes });
    }

    /// Lets calls run; whether there is no room for their replies before others are written.
    fn poll_running(&mut self, task: &mut Context<'_>) -> bool {
        while self.bytes <= BYTES_MAX {
            let Poll::Ready(Some((number, made))) = Pin::new(&mut self.running).poll_next(task)
            else {
                return false;
            };
            let arguments = self.accepted.remove(&number).map_or(0, |accepted| accepted.bytes);
            self.bytes = self.bytes.saturating_sub(arguments);
            if let Ok(reply) = made {
                self.reply(reply);
            }
        }
        true
    }

    fn reply(&mut self, mut reply: ReplyFrame) {
        if reply.outcome == Outcome::Failed(Failed::ShutDown) {
            self.end(CloseCode::Library(LEAVING), SHUTS_DOWN);
            reply.outcome = not_made();
        }
        let frame = reply.encode().or_else(|error| {
            let reason = format!("its reply cannot be sent: {error}");
            let outcome = Outcome::Failed(Failed::Incompatible { reason });
            ReplyFrame { number: reply.number, known: None, outcome }.encode()
        });
        if let Ok(frame) = frame {
            self.bytes += frame.len();
            self.outgoing.push_back(frame);
        }
    }

    fn end(&mut self, code: CloseCode, reason: &'static str) {
        if self.ending == Ending::No {
            self.ending = Ending::Wanted(code, reason);
        }
    }

    fn poll_write(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.outgoing.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(task))?;
            let Some(frame) = self.outgoing.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(frame.len());
            Pin::new(&mut self.socket).start_send(Message::Binary(frame))?;
            self.to_flush = true;
        }
        if let (Ending::Wanted(code, reason), true) = (&self.ending, self.running.is_empty()) {
            let frame = CloseFrame { code: *code, reason: (*reason).into() };
            ready!(Pin::new(&mut self.socket).poll_ready(task))?;
            Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)))?;
            (self.ending, self.to_flush) = (Ending::Said, true);
        }
        if self.to_flush {
            ready!(Pin::new(&mut self.socket).poll_flush(task))?;
            self.to_flush = false;
        }
        if self.ending == Ending::Said {
            self.place = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// What is said of a call that comes too late: another connection may be there for it soon.
fn not_made() -> Outcome {
    Outcome::Failed(Failed::Disconnected { reason: SHUTS_DOWN.to_owned(), sent: false })
}

/// What reading gave.
enum Read {
    /// There may be more.
    Some,
    /// The client has gone.
    End,
}
