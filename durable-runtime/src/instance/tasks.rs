//! The async code of an object: handlers and background futures, from start to end.
//!
//! Guarantees:
//! - Each keeps its object in memory while it runs, and ends when the object is reset or the runtime's
//!   patience with shutting down is over, at its next `.await`.
//! - Handlers begin in the order of the turns that started them.
//! - Whoever waits for it is told how it ended; a panic in it is that answer, and hurts nobody else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::activity;
use crate::call::{CallError, Failure};
use crate::gate::Unconfirmed;
use crate::instance::Object;
use crate::instance::chain::{self, Chain, Link};
use crate::instance::events::event;
use crate::instance::session::{Session, SessionPin};
use crate::instance::turn::{dispose, message_of};
use crate::node::Node;
use crate::{BoxFuture, DurableObject};

/// How a future of an object's own ended.
pub(crate) enum Ended<R> {
    Done(R),
    Panicked(String),
    /// It took longer than its limit.
    OverLimit,
    /// The object was reset.
    Reset(Arc<str>),
    /// The runtime did not wait for it any longer.
    ShutDown,
}

/// Polls a future until it ends or may not go on. It is left to the caller to drop.
pub(crate) async fn attend<R>(
    future: &mut BoxFuture<R>,
    session: &Session,
    node: &Node,
    limit: Duration,
) -> Ended<R> {
    let mut reset = pin!(session.over.wait());
    let mut cut = pin!(node.cut.wait());
    // Most end soon, and need no timer.
    let mut sleep = None;
    poll_fn(|task| {
        if let Poll::Ready(reason) = reset.as_mut().poll(task) {
            return Poll::Ready(Ended::Reset(reason));
        }
        if cut.as_mut().poll(task).is_ready() {
            return Poll::Ready(Ended::ShutDown);
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task))) {
            Ok(Poll::Ready(value)) => return Poll::Ready(Ended::Done(value)),
            Ok(Poll::Pending) => {}
            Err(payload) => return Poll::Ready(Ended::Panicked(message_of(payload))),
        }
        if limit == Duration::MAX {
            return Poll::Pending;
        }
        let sleep = sleep.get_or_insert_with(|| node.settings.time.limit(limit));
        Pin::new(sleep).poll(task).map(|()| Ended::OverLimit)
    })
    .await
}

impl<T: DurableObject> Object<T> {
    /// Runs an async handler on behalf of `caller`, once the turn that starts it is committed. What it does not
    /// confirm is remembered in `unconfirmed`, and its answer sent to `sender`.
    pub(crate) fn spawn_handler<R: Send + 'static>(
        self: &Arc<Self>,
        method: &'static str,
        session: Arc<Session>,
        caller: Chain,
        unconfirmed: Arc<Unconfirmed>,
        mut handler: BoxFuture<R>,
        sender: oneshot::Sender<Result<R, Failure>>,
    ) {
        let object = Arc::clone(self);
        let (pin, place) = (session.pin(), session.starts.take_place());
        self.node().spawn(async move {
            activity::describe(|| format!("`{method}` of {}", object.label()));
            let attended = attend(&mut handler, &session, object.node(), Duration::MAX);
            let link = Link::new(&object, caller, unconfirmed);
            let ended = place.run(chain::scope(link, attended)).await;
            dispose(handler);
            let identity = object.identity();
            let answered = match ended {
                Ended::Done(value) => Ok(value),
                Ended::Panicked(message) => {
                    event!(error, identity, method, reason = message, "a handler panicked");
                    Err(CallError::Panicked { method, message })
                }
                Ended::Reset(reason) => {
                    event!(warn, identity, method, reason = &*reason, "a handler was dropped");
                    Err(CallError::Reset { reason: reason.to_string(), started: true })
                }
                Ended::ShutDown | Ended::OverLimit => {
                    event!(error, identity, method, reason = "shutdown", "a handler was dropped");
                    Err(CallError::ShutDown)
                }
            };
            drop(pin);
            object.outlived();
            let _ = sender.send(answered);
        });
    }

    /// Runs a background future; `pin` was taken in the turn that started it.
    pub(crate) fn spawn_background(
        self: &Arc<Self>,
        session: Arc<Session>,
        pin: SessionPin,
        mut future: BoxFuture<()>,
    ) {
        let object = Arc::clone(self);
        self.node().spawn(async move {
            activity::describe(|| format!("a background future of {}", object.label()));
            let limit = object.node().settings.background_limit;
            let link = Link::new(&object, None, Arc::default());
            let attended = attend(&mut future, &session, object.node(), limit);
            let ended = chain::scope(link, attended).await;
            dispose(future);
            let identity = object.identity();
            match ended {
                Ended::Done(()) => {}
                Ended::Panicked(reason) => {
                    event!(error, identity, reason, "a background future panicked");
                }
                Ended::OverLimit => {
                    let reason = format!("it ran for longer than {limit:?}");
                    event!(error, identity, reason, "a background future was dropped");
                }
                Ended::Reset(reason) => {
                    let reason = &*reason;
                    event!(warn, identity, reason, "a background future was dropped");
                }
                Ended::ShutDown => {
                    let reason = "shutdown";
                    event!(error, identity, reason, "a background future was dropped");
                }
            }
            drop(pin);
            object.outlived();
        });
    }
}
