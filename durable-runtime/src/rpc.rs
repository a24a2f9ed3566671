//! What may cross a call: the traits that arguments and replies must have, and one business
//! method as the macro describes it to the runtime.
//!
//! The traits are blanket-implemented and exist for their error messages: the macro names them at
//! the span of the user's type, so that a missing derive is reported there, in words that help.

use serde::{Serialize, de::DeserializeOwned};

use crate::wire::{Decoder, Encoder, WireError};
use crate::{Context, DurableObject};

/// An argument of a business method: `Serialize + DeserializeOwned + Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a durable object method",
    label = "not an argument",
    note = "help: an argument must be `Serialize + DeserializeOwned + Send + 'static`; derive both: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "rule: arg-not-serializable"
)]
pub trait RpcArg: Sized + Send + 'static {
    /// Appends the argument to a message.
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError>;
    /// Takes the argument from a message.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> RpcArg for T {
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError> {
        out.put(self)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        input.take()
    }
}

/// What a business method returns, or the error it returns: `Serialize + DeserializeOwned + Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from a durable object method",
    label = "not a reply",
    note = "help: a reply must be `Serialize + DeserializeOwned + Send + 'static`; derive both, or return an error enum of your own",
    note = "rule: return-not-serializable"
)]
pub trait RpcReply: Sized + Send + 'static {
    /// Appends the reply to a message.
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError>;
    /// Takes the reply from a message.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> RpcReply for T {
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError> {
        out.put(self)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        input.take()
    }
}

/// Splits a return type into what a call gives and how it can fail.
///
/// Implemented for `Result<T, E>` only, so that a stub's types and the object's values cannot disagree.
pub trait Fallible {
    /// The success type.
    type Ok;
    /// The error type.
    type Err;
    /// The same value, named as a `Result`.
    fn into_result(self) -> Result<Self::Ok, Self::Err>;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;

    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// Whether a method may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `&mut self`: the turn may write.
    Write,
    /// `&self`: a write inside the turn is an error.
    ReadOnly,
}

/// A business method in the class descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// The name that calls carry; `r#type` is `type`.
    pub name: &'static str,
    /// Whether it may write.
    pub access: Access,
}

/// One business method as a stub calls it: typed for a caller in this process, and able to take the wire form.
///
/// `A` is a tuple of the owned arguments.
pub struct Method<T: DurableObject, A, R, E> {
    /// Name and access.
    pub info: MethodInfo,
    /// Runs the method with arguments that were moved here.
    pub invoke: fn(&mut T, &Context<T>, A) -> Result<R, E>,
    /// Writes the arguments for [`DurableObject::dispatch`].
    pub encode: fn(&A, &mut Encoder) -> Result<(), WireError>,
    /// Reads the reply that [`DurableObject::dispatch`] made.
    pub decode: fn(&WireReply) -> Result<Result<R, E>, WireError>,
}

/// The reply of a method in wire form: one message that holds the value or the application's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireReply {
    /// The method's value.
    Ok(Vec<u8>),
    /// The method's own error; its turn is rolled back.
    Err(Vec<u8>),
}
