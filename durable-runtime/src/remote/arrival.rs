//! A call that arrives: how a frame becomes a turn, and what comes of it an outcome.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::{CallFrame, Failed, Known, Outcome};
use crate::call::CallError;
use crate::instance::chain;
use crate::rpc::{MethodDescription, Refusal};
use crate::stub::RawStub;
use crate::wire::{Encoder, NAMED_NONE, WireError, is_positional, split_named};
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
    let arguments = match in_order(method, &call.names, &call.arguments) {
        Ok(arguments) => arguments,
        Err(error) => return Box::pin(std::future::ready(Outcome::Failed(refused(&error)))),
    };
    let timeout = call.timeout.map_or(limit, |timeout| timeout.min(limit));
    let chain = chain::arrived(call.chain);
    let made = stub.call_message(method, arguments).timeout(timeout);
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

/// The arguments in the order in which the method takes them. One that the client does not have is `None`, if it can be.
fn in_order(
    method: &MethodDescription,
    names: &[Cow<'static, str>],
    message: &Bytes,
) -> Result<Bytes, WireError> {
    let wanted = || method.arguments.iter().map(|argument| argument.name);
    if is_positional(message) || wanted().eq(names.iter().map(|name| &**name)) {
        return Ok(message.clone());
    }
    let mut values = split_named(message, names.len())?.into_iter();
    let mut given: HashMap<&str, &[u8]> =
        names.iter().map(|name| &**name).zip(&mut values).collect();
    let mut ordered = Encoder::named().finish();
    for argument in method.arguments {
        match given.remove(argument.name) {
            Some(value) => ordered.extend_from_slice(value),
            None if argument.is_optional => ordered.push(NAMED_NONE),
            None => return Err(WireError::Lacks(argument.name.to_owned())),
        }
    }
    match given.into_keys().next() {
        Some(unknown) => Err(WireError::Unexpected(unknown.to_owned())),
        None => Ok(Bytes::from(ordered)),
    }
}

/// What a client is told of a message that does not fit.
fn refused(error: &WireError) -> Failed {
    Failed::Incompatible { reason: error.to_string() }
}
