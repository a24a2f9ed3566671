//! A call that leaves: how a stub's call becomes a frame, and its outcome a value.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{CallFrame, Departing, Failed, Outcome, Remote, RemoteAddress, Sent};
use crate::call::{CallError, Failure};
use crate::instance::chain;
use crate::instance::turn::Invocation;
use crate::rpc::{MethodDescription, WireReply};
use crate::wire::shape::{MethodShape, difference};
use crate::wire::{Encoder, WireError, is_positional};
use crate::{BoxFuture, DurableObject};

/// What a call needs to leave.
pub(crate) struct Departure<T: DurableObject, R, E> {
    pub(crate) remote: Remote,
    pub(crate) object: RemoteAddress,
    pub(crate) invocation: Box<dyn Invocation<T, R, E>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) sent: Sent,
}

/// Sends the call in its first poll, and gives what came of it.
pub(crate) fn depart<T, R, E>(departure: Departure<T, R, E>) -> BoxFuture<Result<R, CallError<E>>>
where
    T: DurableObject,
    R: Send + 'static,
    E: Send + 'static,
{
    Box::pin(async move {
        let method = departure.invocation.method();
        let mut named_only = false;
        loop {
            let sent = departure.hand_on(named_only);
            match sent.map_err(|error| not_to_be_written(method, &error))?.await {
                // The server has another build than the one that it had when the arguments were written.
                Outcome::Failed(Failed::OtherShape) if !named_only => named_only = true,
                outcome => return departure.read(outcome),
            }
        }
    })
}

impl<T, R, E> Departure<T, R, E>
where
    T: DurableObject,
    R: Send + 'static,
    E: Send + 'static,
{
    fn method(&self) -> &'static str {
        self.invocation.method()
    }

    fn shape(&self) -> Option<&'static MethodShape> {
        MethodDescription::of::<T>(self.method()).map(MethodDescription::shape)
    }

    fn hand_on(&self, named_only: bool) -> Result<BoxFuture<Outcome>, WireError> {
        let (method, transport) = (self.method(), &self.remote.transport);
        let described = MethodDescription::of::<T>(method);
        let shape = described.map(MethodDescription::shape);
        let known = transport.known(T::CLASS, method);
        let agrees = known.as_ref().is_some_and(|known| known.agrees);
        let arguments = match shape {
            Some(shape) if !named_only && agrees => Encoder::agreed(shape),
            _ => Encoder::named(),
        };
        let arguments = self.invocation.write_arguments(arguments)?;
        let names =
            described.filter(|_| !is_positional(&arguments)).map_or(&[][..], |d| d.arguments);
        let frame = CallFrame {
            number: 0,
            class: Cow::Borrowed(T::CLASS),
            object: self.object.clone(),
            method: Cow::Borrowed(method),
            fingerprint: shape.and_then(MethodShape::fingerprint),
            knows: known.is_some(),
            timeout: self.timeout,
            gates: chain::outgoing(),
            names: names.iter().map(|argument| Cow::Borrowed(argument.name)).collect(),
            arguments: Bytes::from(arguments),
        };
        Ok(transport.call(Departing { frame, sent: self.sent.clone() }))
    }

    fn read(&self, outcome: Outcome) -> Result<R, CallError<E>> {
        let reply = match outcome {
            Outcome::Value(message) => WireReply::Ok(message.into()),
            Outcome::Error(message) => {
                WireReply::Err { message: message.into(), text: String::new() }
            }
            Outcome::Failed(failed) => return Err(self.failure(failed).widen()),
        };
        let read = self.invocation.read_reply(&reply).map_err(|error| {
            let reason = format!("the object has run it, and its reply {error}");
            let failed = Failed::Incompatible { reason };
            self.failure(failed).widen()
        })?;
        read.map_err(CallError::Application)
    }

    fn failure(&self, failed: Failed) -> Failure {
        let failed = match failed {
            Failed::Incompatible { reason } => {
                Failed::Incompatible { reason: self.compare(reason) }
            }
            failed => failed,
        };
        failed.into_failure(self.method())
    }

    /// What does not fit, with both shapes if they are known to differ.
    fn compare(&self, reason: String) -> String {
        let known = self.remote.transport.known(T::CLASS, self.method());
        let theirs = known.filter(|known| !known.agrees).and_then(|known| known.shape);
        match (self.shape(), theirs) {
            (Some(ours), Some(theirs)) => {
                let (ours, differs) = (ours.describe(), difference(ours.describe(), &theirs));
                format!("{reason}; {differs}; here it is `{ours}`, on the server `{theirs}`")
            }
            _ => reason,
        }
    }
}

fn not_to_be_written<E>(method: &'static str, error: &WireError) -> CallError<E> {
    CallError::Incompatible { method, reason: format!("its arguments {error}") }
}
