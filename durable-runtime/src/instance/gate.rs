//! A closed gate: async code that runs while every other event of its object waits.
//!
//! Guarantees:
//! - The gate is closed from the end of the turn that asked for it, without a gap, and its code starts when
//!   that turn is durable.
//! - It opens when the code succeeds. In every other case (an error, a panic, the limit, a task that is
//!   dropped) the object is reset, and with it whatever waits.

use std::sync::Arc;

use tracing::Span;

use crate::activity;
use crate::engine::Receipt;
use crate::instance::Object;
use crate::instance::chain::{self, Chain, Link};
use crate::instance::mailbox::GateId;
use crate::instance::session::{Session, SessionPin};
use crate::instance::tasks::{Ended, attend};
use crate::instance::turn::dispose;
use crate::observe::turns;
use crate::{BoxFuture, DurableObject};

/// What its code is called in the log.
const METHOD: &str = "block_concurrency_while";

/// Code that a turn wants to run behind a closed gate.
pub(crate) struct PendingGate {
    pub(crate) start: Box<dyn FnOnce(GateId) -> BoxFuture<GateEnd> + Send>,
    /// Who waits for it.
    pub(crate) parent: Chain,
}

/// How that code ended.
pub(crate) struct GateEnd {
    /// Its error.
    pub(crate) failed: Option<String>,
    /// Tells whoever waits, once the gate is open or the object is reset.
    pub(crate) answer: Box<dyn FnOnce() + Send>,
}

/// Closes the gate for all that a turn has asked for; one after the other, they hold it together.
pub(crate) fn close<T: DurableObject>(
    object: &Arc<Object<T>>,
    session: &Arc<Session>,
    receipt: Receipt,
    pending: Vec<PendingGate>,
) {
    match object.close_gate(session) {
        Some(id) => {
            let pin = session.pin();
            let (object, session) = (Arc::clone(object), Arc::clone(session));
            let gate = ClosedGate { object, session, id, is_over: false, pin: Some(pin) };
            let node = Arc::clone(gate.object.node());
            node.spawn(hold(gate, receipt, pending));
        }
        None => dispose(pending),
    }
}

/// A gate that is closed for as long as this lives. Dropped in any other way than by [`open`](Self::open), it resets
/// the object: what its code was to see to has not been seen to.
struct ClosedGate<T: DurableObject> {
    object: Arc<Object<T>>,
    session: Arc<Session>,
    id: GateId,
    is_over: bool,
    pin: Option<SessionPin>,
}

impl<T: DurableObject> ClosedGate<T> {
    fn open(mut self) {
        self.is_over = true;
        // Before: the turn that comes next is to find it gone. Until it opens, the gate itself keeps the object in memory.
        self.pin = None;
        self.object.open_gate(self.id);
    }

    fn reset(mut self, reason: &str) {
        self.is_over = true;
        self.object.end_session(&self.session, &Arc::from(reason));
    }
}

impl<T: DurableObject> Drop for ClosedGate<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.object.end_session(&self.session, &Arc::from("its closed gate was given up"));
        }
    }
}

async fn hold<T: DurableObject>(gate: ClosedGate<T>, receipt: Receipt, pending: Vec<PendingGate>) {
    activity::describe(|| format!("`block_concurrency_while` of {}", gate.object.label()));
    if let Err(error) = receipt.wait().await {
        return gate.reset(&format!("the turn that closed its gate could not be stored: {error}"));
    }
    let mut answers = Vec::new();
    for PendingGate { start, parent } in pending {
        let id = gate.id;
        // Started inside, so that a panic of the closure counts as one of its future.
        let future: BoxFuture<GateEnd> = Box::pin(async move { start(id).await });
        let identity = gate.object.identity();
        let mut future = turns::handler(identity, METHOD, &Span::none(), future);
        let node = gate.object.node();
        let limit = node.settings.gate_limit;
        let attended = attend(&mut future, &gate.session, node, limit);
        let ended = chain::scope(Link::of_gate(&gate.object, parent, id), attended).await;
        let (failed, answer) = match ended {
            Ended::Done(GateEnd { failed, answer }) => (
                failed.map(|error| format!("`block_concurrency_while` failed: {error}")),
                Some(answer),
            ),
            Ended::Panicked(message) => {
                (Some(format!("`block_concurrency_while` panicked: {message}")), None)
            }
            Ended::OverLimit => {
                (Some(format!("`block_concurrency_while` ran for longer than {limit:?}")), None)
            }
            Ended::ShutDown => (Some("the runtime was shut down".to_owned()), None),
            Ended::Reset(reason) => (Some(reason.to_string()), None),
        };
        answers.extend(answer);
        if let Some(reason) = failed {
            gate.reset(&reason);
            dispose(future);
            return tell(answers);
        }
        dispose(future);
    }
    gate.open();
    tell(answers);
}

fn tell(answers: Vec<Box<dyn FnOnce() + Send>>) {
    for answer in answers {
        answer();
    }
}
