//! The task that holds the connection.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use durable_runtime::remote::{
    CallFrame, Failed, LEAVING, Outcome, Progress, ReplyFrame, ToServer,
};
use futures_util::{Sink, Stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connect::{BackOff, Connector, Socket};
use crate::link::{Command, First, Queued, Shared};

/// How often the server is asked whether it is there.
const PING: Duration = Duration::from_secs(20);

/// A server that says nothing for so long is not there.
const SILENCE: Duration = Duration::from_mins(1);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How much is read or taken from the queue at once.
const BATCH: usize = 64;

/// Connects, carries calls, and connects anew, until nobody has a stub any more.
pub(crate) async fn run(
    connector: Connector,
    queue: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    patience: Duration,
    first: watch::Sender<First>,
) {
    let mut calls = Calls { queue, unsent: VecDeque::new(), is_over: false };
    let mut back_off = BackOff::default();
    while let Some(socket) = connect(&connector, &mut calls, &mut back_off, patience, &first).await
    {
        tracing::debug!("connected to the server");
        shared.forget();
        let mut connection = Connection::new(socket, &shared, patience);
        let ended = poll_fn(|task| connection.poll(&mut calls, task)).await;
        let reason = match ended {
            End::Lost(reason) => reason,
            End::Nobody => {
                let _ = timeout(GOODBYE, connection.socket.close(None)).await;
                return;
            }
        };
        tracing::debug!(reason, "the connection to the server is lost");
        connection.lose(&reason, &mut calls, &mut back_off);
    }
}

/// Calls that are to be sent.
struct Calls {
    queue: mpsc::UnboundedReceiver<Command>,
    unsent: VecDeque<Queued>,
    /// Nobody has a stub any more.
    is_over: bool,
}

impl Calls {
    /// When the first of them has waited for too long.
    fn expiry(&self, patience: Duration) -> Option<Instant> {
        // They stand in the order in which they came.
        self.unsent.front()?.since.checked_add(patience)
    }

    /// Lets those fail who have waited for too long.
    fn fail_expired(&mut self, patience: Duration, why: &Failed) {
        let (expired, left) = std::mem::take(&mut self.unsent)
            .into_iter()
            .partition(|queued| queued.since.elapsed() >= patience);
        self.unsent = left;
        let expired: VecDeque<Queued> = expired;
        for queued in expired {
            let _ = queued.reply.send(Outcome::Failed(why.clone()));
        }
    }
}

/// Tries until there is a connection. `None` when nobody wants one.
async fn connect(
    connector: &Connector,
    calls: &mut Calls,
    back_off: &mut BackOff,
    patience: Duration,
    first: &watch::Sender<First>,
) -> Option<(Socket, Progress)> {
    let mut why =
        Failed::Disconnected { reason: "the server has not answered yet".into(), sent: false };
    // A server that shuts down may be connected to, and takes no calls all the same.
    let mut delay = back_off.again(fastrand::f64());
    loop {
        let attempt = async move {
            sleep(delay).await;
            connector.connect().await
        };
        let mut attempt = std::pin::pin!(attempt);
        let tried = loop {
            let oldest = calls.expiry(patience);
            tokio::select! {
                tried = &mut attempt => break tried,
                command = calls.queue.recv() => match command {
                    Some(Command::Call(queued)) => calls.unsent.push_back(*queued),
                    Some(Command::Cancel(_)) => calls.unsent.retain(|queued| !queued.reply.is_closed()),
                    None => return None,
                },
                () = sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                    calls.fail_expired(patience, &why);
                }
            }
        };
        match tried {
            Ok(socket) => {
                first.send_replace(Some(Ok(())));
                return Some(socket);
            }
            Err(failed) => {
                tracing::debug!(reason = ?failed, "the server cannot be reached");
                if let Failed::Denied { .. } = failed {
                    // It will not be otherwise for those who wait.
                    calls.fail_expired(Duration::ZERO, &failed);
                }
                why = failed.clone();
                first.send_if_modified(|first| {
                    let is_news = !matches!(first, Some(Ok(())));
                    if is_news {
                        *first = Some(Err(failed));
                    }
                    is_news
                });
                delay = back_off.next(fastrand::f64());
            }
        }
    }
}

/// Why a connection is over.
enum End {
    /// Nobody has a stub any more.
    Nobody,
    Lost(String),
}

struct Connection<'a> {
    socket: Socket,
    shared: &'a Shared,
    /// Calls without a reply, by their numbers.
    sent: HashMap<u64, Queued>,
    cancelled: VecDeque<u64>,
    /// The server takes no more calls.
    is_ending: bool,
    /// Calls that the server did not take.
    returned: Vec<Queued>,
    /// Whether a call was taken.
    has_served: bool,
    to_flush: bool,
    ping: Pin<Box<Sleep>>,
    progress: Progress,
    patience: Duration,
    /// When the first call that waits for another server has waited for too long.
    expired: Option<Pin<Box<Sleep>>>,
}

impl<'a> Connection<'a> {
    fn new((socket, progress): (Socket, Progress), shared: &'a Shared, patience: Duration) -> Self {
        Connection {
            socket,
            shared,
            sent: HashMap::new(),
            cancelled: VecDeque::new(),
            is_ending: false,
            returned: Vec::new(),
            has_served: false,
            to_flush: false,
            ping: Box::pin(sleep(PING)),
            progress,
            patience,
            expired: None,
        }
    }

    /// Ready when the connection is over.
    fn poll(&mut self, calls: &mut Calls, task: &mut Context<'_>) -> Poll<End> {
        loop {
            let read = match self.poll_read(task) {
                Poll::Ready(Err(reason)) => return Poll::Ready(End::Lost(reason)),
                read => read.is_ready(),
            };
            let taken = self.take(calls, task);
            match self.poll_write(calls, task) {
                Poll::Ready(Err(reason)) => return Poll::Ready(End::Lost(reason)),
                Poll::Ready(Ok(())) if calls.is_over => return Poll::Ready(End::Nobody),
                _ => {}
            }
            if self.is_ending {
                self.fail_expired(calls, task);
            }
            if self.ping.as_mut().poll(task).is_ready() {
                if self.progress.silence() >= SILENCE {
                    let reason = format!("the server has said nothing for {SILENCE:?}");
                    return Poll::Ready(End::Lost(reason));
                }
                self.ping.as_mut().reset(Instant::now() + PING);
                if let Err(error) = self.send(Message::Ping(Bytes::new()), task) {
                    return Poll::Ready(End::Lost(error));
                }
                continue;
            }
            if !read && !taken {
                return Poll::Pending;
            }
        }
    }

    /// A server that takes no more calls may be long in ending; those that wait for the next one wait no longer for that.
    fn fail_expired(&mut self, calls: &mut Calls, task: &mut Context<'_>) {
        let patience = self.patience;
        self.give_back(calls);
        loop {
            let Some(expiry) = calls.expiry(patience) else { return };
            let expired = self.expired.get_or_insert_with(|| Box::pin(sleep_until(expiry)));
            if expired.deadline() != expiry {
                expired.as_mut().reset(expiry);
            }
            if expired.as_mut().poll(task).is_pending() {
                return;
            }
            let reason = "the server shuts down".to_owned();
            calls.fail_expired(patience, &Failed::Disconnected { reason, sent: false });
        }
    }

    /// Ready when there may be more to read.
    fn poll_read(&mut self, task: &mut Context<'_>) -> Poll<Result<(), String>> {
        for _ in 0..BATCH {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(task)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(error.to_string())),
                None => return Poll::Ready(Err("the server has closed the connection".to_owned())),
            };
            match message {
                Message::Binary(frame) => match ReplyFrame::decode(&frame) {
                    Ok(reply) => self.answer(reply),
                    Err(error) => return Poll::Ready(Err(format!("no frame came: {error}"))),
                },
                Message::Close(Some(frame)) => {
                    if frame.code == CloseCode::Library(LEAVING) {
                        self.take_back();
                    }
                    let reason = format!("the server has closed the connection: {}", frame.reason);
                    return Poll::Ready(Err(reason));
                }
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A server that shuts down has answered all that it took: the rest was not made.
    fn take_back(&mut self) {
        let mut left: Vec<_> = self.sent.drain().collect();
        left.sort_unstable_by_key(|(number, _)| *number);
        for (_, queued) in left {
            self.put_back(queued);
        }
    }

    /// The server has not taken it: the next one is to have it.
    fn put_back(&mut self, queued: Queued) {
        queued.departing.sent.take_back();
        self.returned.push(queued);
    }

    fn answer(&mut self, reply: ReplyFrame) {
        // Of one that was cancelled there may still come a reply.
        let Some(queued) = self.sent.remove(&reply.number) else { return };
        if let Outcome::Failed(Failed::Disconnected { sent: false, .. }) = reply.outcome {
            self.is_ending = true;
            return self.put_back(queued);
        }
        self.has_served = true;
        if let Some(known) = reply.known {
            let CallFrame { class, method, .. } = &queued.departing.frame;
            self.shared.learn(class.clone(), method.clone(), known);
        }
        let _ = queued.reply.send(reply.outcome);
    }

    /// Takes commands; whether there may be more.
    fn take(&mut self, calls: &mut Calls, task: &mut Context<'_>) -> bool {
        for _ in 0..BATCH {
            match calls.queue.poll_recv(task) {
                Poll::Ready(Some(Command::Call(queued))) => calls.unsent.push_back(*queued),
                Poll::Ready(Some(Command::Cancel(number))) => {
                    if self.sent.remove(&number).is_some() {
                        self.cancelled.push_back(number);
                    }
                    self.returned.retain(|queued| !queued.reply.is_closed());
                }
                Poll::Ready(None) => {
                    calls.is_over = true;
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    fn poll_write(
        &mut self,
        calls: &mut Calls,
        task: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        loop {
            let may_send = !self.is_ending && !calls.unsent.is_empty();
            if !may_send && self.cancelled.is_empty() {
                break;
            }
            ready!(self.poll_ready(task))?;
            if let Some(number) = self.cancelled.pop_front() {
                self.write(&ToServer::Cancel(number))?;
                continue;
            }
            let Some(queued) = calls.unsent.pop_front() else { break };
            if queued.reply.is_closed() {
                continue;
            }
            match queued.departing.frame.encode() {
                // Its caller has given it up.
                Ok(_) if !queued.departing.sent.set() => {}
                Ok(frame) => {
                    self.start_send(Message::Binary(frame))?;
                    self.sent.insert(queued.departing.frame.number, queued);
                }
                Err(error) => {
                    let reason = format!("it has no frame: {error}");
                    let _ = queued.reply.send(Outcome::Failed(Failed::Incompatible { reason }));
                }
            }
        }
        if self.to_flush {
            let flushed = ready!(Pin::new(&mut self.socket).poll_flush(task));
            flushed.map_err(|error| error.to_string())?;
            self.to_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, frame: &ToServer) -> Result<(), String> {
        let frame = frame.encode().map_err(|error| error.to_string())?;
        self.start_send(Message::Binary(frame))
    }

    /// Sends a message, if there is room for it.
    fn send(&mut self, message: Message, task: &mut Context<'_>) -> Result<(), String> {
        match self.poll_ready(task) {
            Poll::Ready(ready) => ready.and_then(|()| self.start_send(message)),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), String>> {
        Pin::new(&mut self.socket).poll_ready(task).map_err(|error| error.to_string())
    }

    fn start_send(&mut self, message: Message) -> Result<(), String> {
        self.to_flush = true;
        Pin::new(&mut self.socket).start_send(message).map_err(|error| error.to_string())
    }

    /// The connection is gone: what was sent may have been made, and what was returned was not.
    fn lose(mut self, reason: &str, calls: &mut Calls, back_off: &mut BackOff) {
        if self.has_served {
            back_off.reset();
        }
        for (_, queued) in self.sent.drain() {
            let failed = Failed::Disconnected { reason: reason.to_owned(), sent: true };
            let _ = queued.reply.send(Outcome::Failed(failed));
        }
        self.give_back(calls);
    }

    /// Puts what was returned among what is to be sent, in the order in which they were made, whatever the server has answered first.
    fn give_back(&mut self, calls: &mut Calls) {
        if !self.returned.is_empty() {
            calls.unsent.extend(self.returned.drain(..));
            let unsent = calls.unsent.make_contiguous();
            unsent.sort_unstable_by_key(|queued| queued.departing.frame.number);
        }
    }
}
