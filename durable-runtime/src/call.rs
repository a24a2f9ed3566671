//! A call as a value: nothing happens until it is polled, and then either its whole turn runs or none of it.
//!
//! A call that finds its object free runs there and then, on the caller's task. Otherwise its
//! job waits in the object's queue, and whoever drains the queue runs it, whether or not the
//! caller is polled again. The reply leaves once what the turn wrote, or may have seen, is durable.

mod error;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::coop;

use crate::activity::Wait;
use crate::engine::Receipt;
use crate::gate::{Barrier, Passage};
use crate::instance::chain;
use crate::instance::drain::Holder;
use crate::instance::mailbox::{GateId, Ticket};
use crate::instance::turn::{Invocation, Turned, in_a_turn};
use crate::instance::{Claim, Job, Live, Object};
use crate::message::Message;
use crate::node::Node;
use crate::observe::turns::Waiting;
use crate::remote::{Departure, Sent, depart};
use crate::stub::{Place, RawStub};
use crate::time::Sleep;
use crate::{BoxFuture, DurableObject, Error, ErrorKind};

pub use error::CallError;
pub(crate) use error::Failure;

/// Units of tokio's co-operative budget, of the 128 that a task has before it must yield, that an
/// inline turn costs. A loop of calls that never wait would otherwise keep its thread from all
/// others. With 16 units a task makes 8 turns with storage before others on its thread go first;
/// for turns without storage, which take a tenth of the time, that many would cost more than the
/// turns themselves (200 instead of 115 ns a call).
const STORAGE_TURN_UNITS: usize = 16;
const PLAIN_TURN_UNITS: usize = 2;

const INSIDE_A_TURN: &str = "a call cannot be made inside a turn; put it into `ctx.wait_until(async move { .. })` or an async handler";

/// A call to one method of one object: a future that does nothing until it is polled.
///
/// Gives `Result<R, CallError<E>>`. Calls made through one stub arrive in the order in which they
/// were first polled. A dropped call has run wholly or will not run at all.
#[must_use = "a call does nothing until it is awaited or sent"]
pub struct Call<T: DurableObject, R, E = Infallible> {
    target: RawStub<T>,
    timeout: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The closed gate that lets it pass.
    pass: Option<GateId>,
    passage: Passage,
    /// While it is in the queue.
    wait: Option<Wait>,
    state: State<T, R, E>,
}

enum State<T: DurableObject, R, E> {
    /// Not polled yet.
    New(Box<dyn Invocation<T, R, E>>),
    /// Polled, and held back until what its handler has done before is durable.
    Held {
        invocation: Box<dyn Invocation<T, R, E>>,
        barrier: Barrier,
    },
    /// In the object's queue, or running there.
    Queued {
        ticket: Ticket,
        reply: oneshot::Receiver<Turned<R, E>>,
    },
    /// On its way to an object in another process.
    Away {
        reply: BoxFuture<Result<R, CallError<E>>>,
        sent: Sent,
    },
    /// The turn has run; its reply waits at the output gate.
    Gated(Turned<R, E>),
    Done,
}

impl<T: DurableObject, R, E> State<T, R, E> {
    /// To be called once for each call that waited, when it waits no longer.
    fn count_answer(&self, target: &RawStub<T>) {
        if let (State::Queued { .. } | State::Gated(_), Ok(object)) = (self, target.object()) {
            object.answered();
        }
    }
}

impl<T, R, E> Call<T, R, E>
where
    T: DurableObject,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(crate) fn new(target: RawStub<T>, invocation: Box<dyn Invocation<T, R, E>>) -> Self {
        Call {
            target,
            timeout: None,
            sleep: None,
            pass: None,
            passage: Passage::default(),
            wait: None,
            state: State::New(invocation),
        }
    }

    /// Lets the call pass a closed gate.
    pub(crate) fn through(mut self, gate: GateId) -> Self {
        self.pass = Some(gate);
        self
    }

    /// Says what the call and its reply wait for.
    pub(crate) fn passing(mut self, passage: Passage) -> Self {
        self.passage = passage;
        self
    }

    /// The call as it is stored, to be made later by somebody else: an object of this node.
    pub(crate) fn into_message(mut self, node: &Node) -> crate::Result<Message> {
        let State::New(invocation) = std::mem::replace(&mut self.state, State::Done) else {
            return Err(Error::new(ErrorKind::Invalid, "a call that was polled cannot be sent"));
        };
        let object = self.target.object().map_err(Error::clone)?;
        if object.node().address() != node.address() {
            let text = "a call to an object of another runtime cannot be sent: make its stub with \
                        `ctx.namespace()` or from a runtime of the same directory";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let identity = object.identity();
        Ok(Message {
            receiver: identity.key(),
            name: identity.name.get().cloned(),
            method: invocation.method().into(),
            arguments: invocation.store_arguments()?,
        })
    }

    /// Gives up with [`CallError::TimedOut`] if there is no answer within `after`, counted from
    /// the first poll. A call that has not started then never will.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// First poll.
    fn start(&mut self, task: &mut Task<'_>) -> Poll<Result<R, CallError<E>>> {
        let State::New(invocation) = std::mem::replace(&mut self.state, State::Done) else {
            return Poll::Ready(Err(already_answered()));
        };
        if in_a_turn() {
            return Poll::Ready(Err(CallError::Deadlock(INSIDE_A_TURN.into())));
        }
        if let Some(after) = self.timeout {
            self.sleep = self.target.limit(after).map(Box::pin);
        }
        let barrier = match self.passage {
            Passage::Outward => chain::barrier_here(),
            Passage::Own | Passage::Unconfirmed(_) => None,
        };
        match barrier {
            None => self.leave(invocation, task),
            Some(barrier) => {
                self.state = State::Held { invocation, barrier };
                self.poll_held(task)
            }
        }
    }

    fn poll_held(&mut self, task: &mut Task<'_>) -> Poll<Result<R, CallError<E>>> {
        let State::Held { barrier, .. } = &mut self.state else { return self.wait(task) };
        let Poll::Ready(durable) = barrier.poll_durable(task) else {
            let after = ready!(self.poll_timeout(task));
            self.state = State::Done;
            return Poll::Ready(Err(CallError::TimedOut { after, started: false }));
        };
        let State::Held { invocation, .. } = std::mem::replace(&mut self.state, State::Done) else {
            return self.wait(task);
        };
        match durable {
            Ok(()) => self.leave(invocation, task),
            Err(error) => Poll::Ready(Err(CallError::StorageFailed(error))),
        }
    }

    /// Runs at once if the object is free, else joins its queue; or goes where the object is.
    fn leave(
        &mut self,
        invocation: Box<dyn Invocation<T, R, E>>,
        task: &mut Task<'_>,
    ) -> Poll<Result<R, CallError<E>>> {
        let object = match self.target.place() {
            Place::Here(object) => object,
            Place::Away { remote, address, .. } => {
                let (remote, object, sent) = (remote.clone(), address.clone(), Sent::default());
                let timeout = self.timeout;
                let away = Departure { remote, object, invocation, timeout, sent: sent.clone() };
                self.state = State::Away { reply: depart(away), sent };
                return self.poll_away(task);
            }
            Place::Nowhere(error) => {
                return Poll::Ready(Err(CallError::NotFound(error.clone())));
            }
        };
        // A caller without budget has kept its thread for long enough: its job joins the queue, so
        // that it keeps its place among the calls of its object, and others go first.
        let claim =
            if coop::has_budget_remaining() { object.claim(self.pass) } else { Claim::Wait };
        match claim {
            Claim::Run(live) => {
                let holder = Holder::new(object.clone(), Some(live));
                let ran = holder.run(|live| (live.run(invocation), live.used_storage()));
                let Some((turned, used_storage)) = ran else {
                    return Poll::Ready(Err(already_answered()));
                };
                let units = if used_storage { STORAGE_TURN_UNITS } else { PLAIN_TURN_UNITS };
                spend_budget(task, units);
                self.pass_gate(turned, task)
            }
            Claim::Wait => self.join_queue(&object.clone(), invocation, task),
            Claim::Refused(failure) => Poll::Ready(Err(failure.widen())),
        }
    }

    fn poll_away(&mut self, task: &mut Task<'_>) -> Poll<Result<R, CallError<E>>> {
        let State::Away { reply, sent } = &mut self.state else { return self.wait(task) };
        if let Poll::Ready(answer) = reply.as_mut().poll(task) {
            self.state = State::Done;
            return Poll::Ready(answer);
        }
        let sent = sent.clone();
        let after = ready!(self.poll_timeout(task));
        let started = !sent.withdraw();
        self.state = State::Done;
        Poll::Ready(Err(CallError::TimedOut { after, started }))
    }

    fn join_queue(
        &mut self,
        object: &std::sync::Arc<Object<T>>,
        invocation: Box<dyn Invocation<T, R, E>>,
        task: &mut Task<'_>,
    ) -> Poll<Result<R, CallError<E>>> {
        let (sender, reply) = oneshot::channel();
        let queued = || {
            let waiting = Waiting::from_here(object.meters());
            Box::new(QueuedCall { invocation, sender, waiting }) as Box<dyn Job<T>>
        };
        match object.submit(self.pass, queued) {
            Ok(ticket) => {
                object.waits();
                self.state = State::Queued { ticket, reply };
                self.wait(task)
            }
            Err(failure) => Poll::Ready(Err(failure.widen())),
        }
    }

    /// Later polls: the reply, the timeout, or nothing yet.
    fn wait(&mut self, task: &mut Task<'_>) -> Poll<Result<R, CallError<E>>> {
        let State::Queued { ticket, reply } = &mut self.state else {
            return Poll::Ready(Err(already_answered()));
        };
        let ticket = *ticket;
        if let Poll::Ready(answer) = Pin::new(reply).poll(task) {
            self.end_wait();
            return match answer {
                Ok(turned) => self.pass_gate(turned, task),
                Err(_) => Poll::Ready(Err(CallError::ShutDown)),
            };
        }
        let after = ready!(self.poll_timeout(task));
        self.end_wait();
        let started = !self.target.object().is_ok_and(|object| object.cancel(ticket));
        Poll::Ready(Err(CallError::TimedOut { after, started }))
    }

    /// Ready when the timeout is over; never, if there is none.
    fn poll_timeout(&mut self, task: &mut Task<'_>) -> Poll<Duration> {
        match (&mut self.sleep, self.timeout) {
            (Some(sleep), Some(after)) => sleep.as_mut().poll(task).map(|()| after),
            _ => Poll::Pending,
        }
    }

    /// Gives the reply out once it may be seen.
    fn pass_gate(
        &mut self,
        turned: Turned<R, E>,
        task: &mut Task<'_>,
    ) -> Poll<Result<R, CallError<E>>> {
        if let Passage::Unconfirmed(handlers) = &self.passage {
            for handler in handlers {
                handler.push(turned.receipt.clone());
            }
            return Poll::Ready(turned.outcome);
        }
        if turned.receipt.is_durable() {
            return Poll::Ready(turned.outcome);
        }
        if let Ok(object) = self.target.object() {
            object.waits();
        }
        self.state = State::Gated(turned);
        self.poll_gate(task)
    }

    /// Ends the wait in the queue or at the output gate.
    fn end_wait(&mut self) -> State<T, R, E> {
        let left = std::mem::replace(&mut self.state, State::Done);
        left.count_answer(&self.target);
        left
    }

    fn poll_gate(&mut self, task: &mut Task<'_>) -> Poll<Result<R, CallError<E>>> {
        let State::Gated(turned) = &mut self.state else { return self.wait(task) };
        let Poll::Ready(durable) = turned.receipt.poll_durable(task) else {
            let after = ready!(self.poll_timeout(task));
            self.end_wait();
            return Poll::Ready(Err(CallError::TimedOut { after, started: true }));
        };
        let State::Gated(turned) = self.end_wait() else { return self.wait(task) };
        Poll::Ready(durable.map_err(CallError::StorageFailed).and(turned.outcome))
    }
}

/// For a call that is polled after it has given its answer.
fn already_answered<E>() -> CallError<E> {
    CallError::Reset { reason: "the call was already answered".into(), started: true }
}

/// Takes a turn's share of the caller's budget.
fn spend_budget(task: &mut Task<'_>, units: usize) {
    for _ in 0..units {
        if !coop::has_budget_remaining() {
            return;
        }
        if let Poll::Ready(unit) = coop::poll_proceed(task) {
            unit.made_progress();
        }
    }
}

/// A call is plain data: no field points into another.
impl<T: DurableObject, R, E> Unpin for Call<T, R, E> {}

impl<T, R, E> Future for Call<T, R, E>
where
    T: DurableObject,
    R: Send + 'static,
    E: Send + 'static,
{
    type Output = Result<R, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let polled = match self.state {
            State::New(_) => self.start(task),
            State::Held { .. } => self.poll_held(task),
            State::Away { .. } => self.poll_away(task),
            State::Queued { .. } | State::Done => self.wait(task),
            State::Gated(_) => self.poll_gate(task),
        };
        self.wait = match self.state {
            State::Queued { .. } => self.wait.take().or_else(Wait::here),
            _ => None,
        };
        polled
    }
}

impl<T: DurableObject, R, E> Drop for Call<T, R, E> {
    fn drop(&mut self) {
        if let (State::Queued { ticket, .. }, Ok(object)) = (&self.state, self.target.object()) {
            object.cancel(*ticket);
        }
        self.state.count_answer(&self.target);
    }
}

impl<T: DurableObject, R, E> fmt::Debug for Call<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(invocation) | State::Held { invocation, .. } => invocation.method(),
            State::Queued { .. } => "queued",
            State::Away { .. } => "sent to its server",
            State::Gated(_) => "waiting for durability",
            State::Done => "done",
        };
        f.debug_struct("Call")
            .field("target", &self.target)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// A call in its object's queue.
struct QueuedCall<T: DurableObject, R, E> {
    invocation: Box<dyn Invocation<T, R, E>>,
    sender: oneshot::Sender<Turned<R, E>>,
    waiting: Waiting,
}

impl<T, R, E> Job<T> for QueuedCall<T, R, E>
where
    T: DurableObject,
    R: Send + 'static,
    E: Send + 'static,
{
    fn run(self: Box<Self>, live: &mut Live<T>) {
        // A caller who is gone by now has dropped its call after the job was taken from the
        // queue; the turn runs all the same, and only its reply is lost.
        let _ = self.sender.send(live.run_waiting(self.invocation, &self.waiting));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ =
            self.sender.send(Turned { outcome: Err(failure.widen()), receipt: Receipt::durable() });
    }
}
