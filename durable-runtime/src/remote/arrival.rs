//! A call that arrives: how a frame becomes a turn, and what comes of it an outcome.

use std::time::Duration;

use bytes::Bytes;

use super::{CallFrame, Failed, Known, Outcome};
use crate::call::CallError;
use crate::instance::chain;
use crate::rpc::{MethodDescription, Refusal};
use crate::stub::RawStub;
use crate::wire::{WireError, is_positional};
use crate::{BoxFuture, DurableObject};

/// What a server says of a method to a client that calls it for the first time.
pub fn known(method: &'static MethodDescription, call: &CallFrame) -> Known {
    let shape = method.shape();
    let agrees = call.fingerprint.is_some() && shape.fingerprint() == call.fingerprint;
    Known { agrees, shape: (!agrees).then(|| shape.describe().to_owned()) }
}

/// Makes a call that has arrived. It is handed to the object in the first poll. Waits for `limit` at most.
pub fn arrive<T: DurableObject>(
    stub: &RawStub<T>,
    method: &'static MethodDescription,
    call: CallFrame,
    limit: Duration,
) -> BoxFuture<Outcome> {
    let agrees = || {
        let ours = method.shape().fingerprint();
        ours.is_some() && ours == call.fingerprint
    };
    if is_positional(&call.arguments) && !agrees() {
        return Box::pin(std::future::ready(Outcome::Failed(Failed::OtherShape)));
    }
    let timeout = call.timeout.map_or(limit, |timeout| timeout.min(limit));
    let chain = chain::arrived(call.chain);
    let made = stub.call_message(method, call.arguments).timeout(timeout);
    Box::pin(async move {
        match chain::continued(chain, made).await {
            Ok(value) => Outcome::Value(Bytes::from(value)),
            Err(CallError::Application(Refusal::Application(error))) => {
                Outcome::Error(Bytes::from(error))
            }
            Err(CallError::Application(Refusal::Wire(error))) => Outcome::Failed(refused(&error)),
            Err(other) => match other.split() {
                Err(failure) => {
                    tracing::debug!(reason = %failure, "a remote call gave no value");
                    Outcome::Failed(Failed::of(failure))
                }
                Ok(_) => Outcome::Failed(Failed::OtherShape),
            },
        }
    })
}

/// What a client is told of a message that does not fit.
fn refused(error: &WireError) -> Failed {
    Failed::Incompatible { reason: error.to_string() }
}
