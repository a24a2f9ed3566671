//! A call that arrives: how a frame becomes a turn, and what comes of it an outcome.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;

use super::{CallFrame, Failed, Known, Outcome, RemoteAddress};
use crate::call::CallError;
use crate::id::RawId;
use crate::instance::chain;
use crate::rpc::{MethodDescription, Refusal};
use crate::wire::{Encoder, NAMED_NONE, WireError, is_positional, split_named};
use crate::{BoxFuture, DurableObject, Namespace, Result};

/// How much of the text of a shape is told, in bytes.
const SHAPE_BYTES_MAX: usize = 16 * 1024;

/// What a server says of a method to a client that does not know: whether it has the same shape.
pub fn known(method: &'static MethodDescription, call: &CallFrame) -> Option<Known> {
    if call.knows {
        return None;
    }
    let shape = method.shape();
    let agrees = call.fingerprint.is_some() && shape.fingerprint() == call.fingerprint;
    let text = || {
        let text = shape.describe();
        text[..text.floor_char_boundary(SHAPE_BYTES_MAX)].to_owned()
    };
    Some(Known { agrees, shape: (!agrees).then(text) })
}

/// Makes a call that has arrived. It is handed to the object in the first poll. Waits for `limit` at most.
///
/// # Errors
/// When there can be no such object.
pub fn arrive<T: DurableObject>(
    namespace: &Namespace<T>,
    method: &'static MethodDescription,
    call: CallFrame,
    limit: Duration,
) -> Result<BoxFuture<Outcome>> {
    let id = match call.object {
        RemoteAddress::Name(name) => namespace.id_from_name(&name)?,
        RemoteAddress::Id(bytes) => namespace.checked(RawId::from_bytes(bytes))?,
    };
    let agrees = || {
        let ours = method.shape().fingerprint();
        ours.is_some() && ours == call.fingerprint
    };
    if is_positional(&call.arguments) && !agrees() {
        return Ok(Box::pin(ready(Outcome::Failed(Failed::OtherShape))));
    }
    let arguments = match in_order(method, &call.names, &call.arguments) {
        Ok(arguments) => arguments,
        Err(error) => return Ok(Box::pin(ready(Outcome::Failed(refused(&error))))),
    };
    let timeout = call.timeout.map_or(limit, |timeout| timeout.min(limit));
    let chain = chain::arrived(call.gates);
    let made = namespace.raw_stub(&id).call_message(method, arguments).timeout(timeout);
    Ok(Box::pin(async move {
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
    }))
}

/// The arguments in the order in which the method takes them. One that the client does not have is `None`, if it can be.
fn in_order(
    method: &MethodDescription,
    names: &[Cow<'static, str>],
    message: &Bytes,
) -> std::result::Result<Bytes, WireError> {
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
