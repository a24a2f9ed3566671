//! The client's end of a WebSocket, without a network.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use parking_lot::Mutex;

use super::within;
use crate::socket::{Close, CloseFrame, Incoming, Message, Outgoing, SocketDriver};
use crate::time::Time;
use crate::{Error, ErrorKind, Result};

/// A client's end of a WebSocket, in the test's process: see [`TestRuntime::connect`](super::TestRuntime::connect).
///
/// It answers pings and close frames by itself, as a browser does, and takes a close code that is none for a broken frame, to be
/// answered with 1002. What it sends and what is sent to it is carried by the runtime's own tasks, so
/// [`settle`](super::TestRuntime::settle) waits until it has arrived. It needs no `close`: dropped, it is as a tab that was shut.
pub struct TestSocket {
    wire: Arc<Wire>,
    patience: Duration,
    real_time: Time,
}

/// The code with which a broken frame is answered.
const BROKEN: u16 = 1002;

/// What is on its way between both ends.
#[derive(Default)]
struct Wire(Mutex<State>);

#[derive(Default)]
struct State {
    /// From the client to the object.
    up: VecDeque<Up>,
    /// The client sends nothing any more.
    is_up_over: bool,
    up_waker: Option<Waker>,
    /// From the object to the client, without what the client answers by itself.
    down: VecDeque<Message>,
    /// How the connection has ended, as the client sees it.
    close: Option<Close>,
    down_waker: Vec<Waker>,
    has_sent_close: bool,
    answers_pings: bool,
    pings_sent: u64,
    /// How many of them the transport has answered.
    pongs: u64,
}

/// What the client sends.
enum Up {
    Frame(Incoming),
    Ping,
}

impl State {
    fn ended(&mut self, close: impl FnOnce() -> Close) -> Vec<Waker> {
        self.close.get_or_insert_with(close);
        std::mem::take(&mut self.down_waker)
    }
}

impl TestSocket {
    pub(super) fn new(patience: Duration, real_time: Time) -> Self {
        let wire = Wire(Mutex::new(State { answers_pings: true, ..State::default() }));
        TestSocket { wire: Arc::new(wire), patience, real_time }
    }

    /// Carries frames between both ends, until the connection is over.
    pub(super) fn carry(&self, driver: SocketDriver) -> impl Future<Output = ()> + Send + 'static {
        let ends = || End(Arc::clone(&self.wire));
        let (incoming, outgoing, last) = (ends(), ends(), ends());
        async move {
            driver.run(incoming, outgoing).await;
            last.0.end();
        }
    }

    /// Sends a message. After the end of the connection it goes nowhere.
    pub fn send(&self, message: impl Into<Message>) {
        self.wire.push(Up::Frame(Incoming::Message(message.into())));
    }

    /// Sends a ping, and waits for the pong. It is the transport that answers, once it has read what was sent before: the object
    /// never hears of it.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`] when the connection has ended, with the code and the reason.
    /// - [`ErrorKind::TimedOut`] when no pong comes within ten real seconds.
    pub async fn ping(&self) -> Result<()> {
        let number = {
            let mut state = self.wire.0.lock();
            state.pings_sent += 1;
            state.pings_sent
        };
        self.wire.push(Up::Ping);
        let pong = self.next(move |state| (state.pongs >= number).then_some(()));
        self.patiently(pong, "no pong has come").await?
    }

    /// The next message from the object; waits for it.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`] when the connection has ended, with the code and the reason: see [`closed`](TestSocket::closed).
    /// - [`ErrorKind::TimedOut`] when none comes within ten real seconds.
    pub async fn recv(&self) -> Result<Message> {
        let next = self.next(|state| state.down.pop_front());
        self.patiently(next, "no message has come").await?
    }

    /// The next message from the object, if one has come.
    pub fn try_recv(&self) -> Option<Message> {
        self.wire.0.lock().down.pop_front()
    }

    /// Closes from the client's side, with a code and a reason, or `None` and `""`; [`closed`](TestSocket::closed) waits for the answer.
    pub fn close(&self, code: impl Into<Option<u16>>, reason: &str) {
        self.wire.0.lock().has_sent_close = true;
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned() };
        self.wire.push(Up::Frame(Incoming::Close(frame)));
    }

    /// Drops the connection, without a close frame.
    pub fn terminate(&self) {
        self.wire.end();
    }

    /// Does not answer pings from now on, as one who has left without saying so.
    pub fn stop_answering(&self) {
        self.wire.0.lock().answers_pings = false;
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.wire.0.lock().close.is_some()
    }

    /// Waits for the end of the connection, and gives the close frame of the object; code 1006 if there was none, and 1002, not clean,
    /// if it was broken.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when it has not ended within ten real seconds.
    pub async fn closed(&self) -> Result<Close> {
        let closed = poll_fn(|task| {
            let mut state = self.wire.0.lock();
            if let Some(close) = &state.close {
                return Poll::Ready(close.clone());
            }
            state.down_waker.push(task.waker().clone());
            Poll::Pending
        });
        self.patiently(closed, "the WebSocket has not closed").await
    }

    /// Waits for what `take` finds.
    fn next<R>(
        &self,
        mut take: impl FnMut(&mut State) -> Option<R>,
    ) -> impl Future<Output = Result<R>> {
        poll_fn(move |task| {
            let mut state = self.wire.0.lock();
            if let Some(found) = take(&mut state) {
                return Poll::Ready(Ok(found));
            }
            if let Some(close) = &state.close {
                let Close { code, reason, .. } = close;
                let text = format!("the WebSocket is closed: {code} {reason}");
                return Poll::Ready(Err(Error::new(ErrorKind::Invalid, text)));
            }
            state.down_waker.push(task.waker().clone());
            Poll::Pending
        })
    }

    async fn patiently<F: Future>(&self, future: F, failed: &str) -> Result<F::Output> {
        let patience = self.real_time.sleep(self.patience);
        within(future, patience).await.ok_or_else(|| {
            let text = format!("{failed} within {:?}", self.patience);
            Error::new(ErrorKind::TimedOut, text)
        })
    }
}

impl Drop for TestSocket {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for TestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.wire.0.lock();
        f.debug_struct("TestSocket")
            .field("waiting", &state.down.len())
            .field("close", &state.close)
            .finish_non_exhaustive()
    }
}

impl Wire {
    fn push(&self, frame: Up) {
        let waker = {
            let mut state = self.0.lock();
            if !state.is_up_over {
                state.up.push_back(frame);
            }
            state.up_waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// The connection is over, for both ends. What the client has sent before still arrives.
    fn end(&self) {
        let wakers = {
            let mut state = self.0.lock();
            state.is_up_over = true;
            let mut wakers = state.ended(|| Close::lost("the connection was lost"));
            wakers.extend(state.up_waker.take());
            wakers
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What the object has written arrives at the client.
    fn arrives(&self, frame: Outgoing) {
        let (answer, wakers) = {
            let mut state = self.0.lock();
            let mut answer = None;
            match frame {
                Outgoing::Text(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    state.down.push_back(Message::Text(text));
                }
                Outgoing::Binary(bytes) => state.down.push_back(Message::Binary(bytes)),
                Outgoing::Ping => answer = state.answers_pings.then_some(Incoming::Heartbeat),
                Outgoing::Close(frame) => {
                    let (close, close_answer) = understood(&frame);
                    state.close.get_or_insert(close);
                    let is_first = !std::mem::replace(&mut state.has_sent_close, true);
                    answer = is_first.then_some(Incoming::Close(close_answer));
                }
            }
            (answer, std::mem::take(&mut state.down_waker))
        };
        if let Some(answer) = answer {
            self.push(Up::Frame(answer));
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// What a client takes a close frame for, and how it answers.
fn understood(frame: &CloseFrame) -> (Close, CloseFrame) {
    match frame.code {
        // Those from 1015 on stand for nothing yet, or never in a frame; an object may send some of them all the same.
        Some(code @ (..1000 | 1004..=1006 | 1015..3000 | 5000..)) => {
            let reason = format!("{code} is no close code");
            let close = Close { code: BROKEN, reason, was_clean: false };
            (close, CloseFrame::of_runtime(BROKEN, ""))
        }
        _ => (Close::clean(frame), frame.answer()),
    }
}

/// The object's end of the wire, as a transport has it.
struct End(Arc<Wire>);

impl Stream for End {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Incoming>> {
        let mut state = self.0.0.lock();
        match state.up.pop_front() {
            Some(Up::Frame(frame)) => Poll::Ready(Some(frame)),
            Some(Up::Ping) => {
                state.pongs += 1;
                let wakers = std::mem::take(&mut state.down_waker);
                drop(state);
                wakers.into_iter().for_each(Waker::wake);
                Poll::Ready(Some(Incoming::Heartbeat))
            }
            None if state.is_up_over => Poll::Ready(None),
            None => {
                state.up_waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Outgoing> for End {
    type Error = ();

    fn poll_ready(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, frame: Outgoing) -> Result<(), ()> {
        self.0.arrives(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}
