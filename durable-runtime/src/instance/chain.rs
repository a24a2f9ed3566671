//! On whose behalf async code runs: the objects whose handlers and gates wait for it.
//!
//! A task-local round handlers, background futures and gates. A handler that a call has started goes on from the
//! chain of its caller, who waits for it; a background future begins a chain of its own, since nobody does.
//! So a call that would wait for a gate which one of its own ancestors holds is known to wait for ever.
//! A task that user code spawns by itself has no chain: there the gate's limit ends the wait.

use std::future::Future;
use std::sync::{Arc, LazyLock};

use crate::DurableObject;
use crate::gate::{Barrier, Unconfirmed};
use crate::id::Identity;
use crate::instance::Object;
use crate::instance::mailbox::GateId;
use crate::remote::{GATES_MAX, GateLink};

tokio::task_local! {
    static CHAIN: Arc<Link>;
}

/// The innermost link, if there is any.
pub(crate) type Chain = Option<Arc<Link>>;

/// A handler, a background future or a gate.
#[derive(Debug)]
pub(crate) struct Link {
    who: Who,
    /// The gate that it holds closed.
    gate: Option<GateId>,
    /// Who waits for it.
    parent: Chain,
    /// What it has not confirmed.
    unconfirmed: Arc<Unconfirmed>,
}

/// Whose handler, background future or gate a link is.
#[derive(Debug)]
enum Who {
    /// Of an object of the node with this address.
    Object { node: usize, class: &'static str, identity: Arc<Identity> },
    /// Of an object in a process, whose call came from another one.
    Away { process: u64 },
}

/// Tells this process from all others, so that a gate is known when its chain comes back.
static PROCESS: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or_default());

/// The gates in the chain of the task that runs, to go along with a call that leaves the process; the innermost first. No names go:
/// they are nothing for whoever has the server.
pub(crate) fn outgoing() -> Vec<GateLink> {
    let Some(innermost) = current() else { return Vec::new() };
    let gates = innermost.ancestors().filter_map(|link| {
        let gate = link.gate?;
        Some(match link.who {
            Who::Object { .. } => GateLink { process: *PROCESS, number: gate.number() },
            Who::Away { process } => GateLink { process, number: gate.number() },
        })
    });
    gates.take(GATES_MAX).collect()
}

/// The chain that came with a call from another process.
pub(crate) fn arrived(gates: Vec<GateLink>) -> Chain {
    gates.into_iter().rfold(None, |parent, GateLink { process, number }| {
        let gate = Some(GateId::from_number(number));
        let who = Who::Away { process };
        Some(Arc::new(Link { who, gate, parent, unconfirmed: Arc::default() }))
    })
}

/// Runs a future on behalf of a chain.
pub(crate) async fn continued<F: Future>(chain: Chain, future: F) -> F::Output {
    match chain {
        Some(link) => CHAIN.scope(link, future).await,
        None => future.await,
    }
}

/// The chain of the task that runs.
pub(crate) fn current() -> Chain {
    CHAIN.try_with(Arc::clone).ok()
}

/// What the handler that this task is, if it is one, has not confirmed.
pub(crate) fn unconfirmed_here() -> Option<Arc<Unconfirmed>> {
    CHAIN.try_with(|link| Arc::clone(&link.unconfirmed)).ok()
}

/// What an output of this task must wait for, if anything.
pub(crate) fn barrier_here() -> Option<Barrier> {
    CHAIN.try_with(|link| link.unconfirmed.barrier()).ok().flatten()
}

/// Runs a future as this link.
pub(crate) async fn scope<F: Future>(link: Link, future: F) -> F::Output {
    CHAIN.scope(Arc::new(link), future).await
}

/// Whether this task works for an object of the node with this address.
pub(crate) fn is_within(node: usize) -> bool {
    current().is_some_and(|link| link.ancestors().any(|link| link.is_of(node)))
}

/// If somebody in this task's chain holds one of these gates of an object: the way from there back to it, such as
/// `Room "a" -> Clerk "b" -> Room "a"`.
pub(crate) fn cycle(gates: impl Iterator<Item = GateId>) -> Option<String> {
    let mut gates = gates.peekable();
    gates.peek()?;
    let (gates, innermost): (Vec<_>, _) = (gates.collect(), current()?);
    let holds = |link: &&Link| link.gate_here().is_some_and(|gate| gates.contains(&gate));
    let holder = innermost.ancestors().position(|link| holds(&link))?;
    let mut way: Vec<String> = innermost.ancestors().take(holder + 1).map(Link::label).collect();
    way.reverse();
    way.dedup();
    way.extend(way.first().cloned());
    Some(way.join(" -> "))
}

impl Link {
    /// A handler or a background future of `object`, which `parent` waits for.
    pub(crate) fn new<T: DurableObject>(
        object: &Object<T>,
        parent: Chain,
        unconfirmed: Arc<Unconfirmed>,
    ) -> Self {
        let (node, identity) = (object.node().address(), Arc::clone(object.identity()));
        let who = Who::Object { node, class: T::CLASS, identity };
        Link { who, gate: None, parent, unconfirmed }
    }

    /// The gate that it holds, if that is in this process.
    fn gate_here(&self) -> Option<GateId> {
        match self.who {
            Who::Away { process } if process != *PROCESS => None,
            _ => self.gate,
        }
    }

    fn is_of(&self, address: usize) -> bool {
        matches!(self.who, Who::Object { node, .. } if node == address)
    }

    /// The code behind a gate of `object`. What it sends out waits for what the handler has not confirmed
    /// that closed the gate.
    pub(crate) fn of_gate<T: DurableObject>(
        object: &Object<T>,
        parent: Chain,
        gate: GateId,
    ) -> Self {
        let unconfirmed = parent.as_ref().map(|link| Arc::clone(&link.unconfirmed));
        let mut link = Link::new(object, parent, unconfirmed.unwrap_or_default());
        link.gate = Some(gate);
        link
    }

    /// The link itself first.
    fn ancestors(&self) -> impl Iterator<Item = &Link> {
        std::iter::successors(Some(self), |link| link.parent.as_deref())
    }

    fn label(&self) -> String {
        match &self.who {
            Who::Object { class, identity, .. } => label(class, identity),
            Who::Away { .. } => "another process".to_owned(),
        }
    }
}

/// An object in words, such as `Room "a"`.
pub(super) fn label(class: &str, identity: &Identity) -> String {
    match identity.name.get() {
        Some(name) => format!("{class} {name:?}"),
        None => format!("{class} {}", identity.id),
    }
}

impl Drop for Link {
    /// One after the other: a long chain must not become a deep recursion.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.parent.take());
        }
    }
}
