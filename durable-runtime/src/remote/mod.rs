//! Objects in another process: what a client and a server have in common.
//!
//! A stub of an object that lives elsewhere is the same stub: its calls go to a [`Transport`], which carries them to a server over
//! one connection. Here is all that is not a network: the frames, what a failure looks like on the way, and the
//! [names](RemoteNamespace) of the objects. The crates `durable-client` and `durable-http` have the two ends of the connection.
//!
//! Guarantees:
//! - Calls of one connection reach an object in the order in which they were first polled.
//! - A call whose first poll has not come, or that was dropped before its turn began, is not made.
//! - Who sends something waits until what it has done before is durable, as for every other output.
//! - Positional bytes are read only by a method of the same shape (`wire/shape`) as the one that wrote them.

mod arrival;
mod departure;
mod failed;
mod frame;
mod namespace;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use crate::time::Time;
use crate::{BoxFuture, CallError, Request, Response};

pub use arrival::{arrive, known};
pub use failed::Failed;
pub use frame::{
    CALL_FRAME_BYTES_MAX, CallFrame, FrameError, GATES_MAX, GateLink, Known, LEAVING, Outcome,
    PROTOCOL, RemoteAddress, ReplyFrame, ToServer,
};
pub use namespace::RemoteNamespace;
pub use watched::{Progress, Watched};

pub(crate) use departure::{Departure, depart};

/// Carries calls to objects that live elsewhere.
pub trait Transport: Send + Sync + 'static {
    /// What the server has said about a method, on the connection that there is.
    fn known(&self, class: &'static str, method: &'static str) -> Option<Known>;

    /// Hands a call on, before it returns: what is handed on first arrives first. Dropping the future takes the call
    /// back, if it has not begun.
    fn call(&self, call: Departing) -> BoxFuture<Outcome>;

    /// Sends an HTTP request to an object.
    fn fetch(
        &self,
        class: &'static str,
        object: RemoteAddress,
        request: Request,
    ) -> BoxFuture<Result<Response, CallError>>;
}

/// A call that leaves this process.
#[derive(Debug)]
pub struct Departing {
    /// All but its number, which the transport gives it.
    pub frame: CallFrame,
    /// To be set before it is written.
    pub sent: Sent,
}

/// Whether a call may have reached the server: agreed upon between who writes it and who gives it up.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<AtomicU8>);

const NEW: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Sent {
    /// Says that it is going to be written; `false` if it must not be, since its caller has given it up.
    pub fn set(&self) -> bool {
        self.0.compare_exchange(NEW, SENT, Ordering::AcqRel, Ordering::Acquire) != Err(WITHDRAWN)
    }

    /// Says that the server has not taken it.
    pub fn take_back(&self) {
        let _ = self.0.compare_exchange(SENT, NEW, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Gives it up; `false` if it may have reached the server.
    pub(crate) fn withdraw(&self) -> bool {
        self.0.compare_exchange(NEW, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) != Err(SENT)
    }

    /// Whether it may have reached the server.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire) == SENT
    }
}

/// The way to the objects of a server.
#[derive(Clone)]
pub struct Remote {
    transport: Arc<dyn Transport>,
    /// What timeouts are measured by.
    time: Arc<Time>,
}

impl Remote {
    /// Objects that are reached by `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Remote { transport, time: Arc::new(Time::new(Arc::new(SystemTime::now))) }
    }

    pub(crate) fn fetch(
        &self,
        class: &'static str,
        object: RemoteAddress,
        request: Request,
    ) -> BoxFuture<Result<Response, CallError>> {
        self.transport.fetch(class, object, request)
    }

    pub(crate) fn limit(&self, after: Duration) -> crate::time::Sleep {
        self.time.limit(after)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
