//! What may cross a call: the traits that arguments and replies must have, and one business
//! method as the macro describes it to the runtime.
//!
//! The traits are blanket-implemented and exist for their error messages: the macro names them at
//! the span of the user's type, so that a missing derive is reported there, in words that help.
//! Every rule that only the type checker can decide has its text here.

use std::any::{Any, type_name};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::schema::TypeSchema;
use crate::wire::shape::{MethodShape, ShapeCell, Tracer, Value};
use crate::wire::{Decoder, Encoder, WireError};
use crate::{Context, DurableObject, Error};

/// An argument of a business method: `Serialize + DeserializeOwned`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a business method",
    label = "has no form that a call could carry",
    note = "help: an argument must be `Serialize + DeserializeOwned + Send + 'static`: put `#[derive(serde::Serialize, serde::Deserialize)]` on its type",
    note = "rule: arg-not-serializable"
)]
pub trait RpcArg: Sized + 'static {
    /// Appends the argument to a message.
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError>;
    /// Takes the argument from a message.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError>;
    /// Finds out what it looks like.
    fn trace(tracer: &mut Tracer);
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> RpcArg for T {
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError> {
        out.put(self)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        input.take()
    }

    fn trace(tracer: &mut Tracer) {
        tracer.add::<Self>();
    }
}

/// What may wait in a queue and move to another thread.
///
/// Apart from [`RpcArg`] and [`RpcReply`], so that a type that lacks only `Send` is told only that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a reply of a business method, because it is not `Send`",
    label = "cannot be sent to another thread",
    note = "help: calls move between threads: use `Arc` for `Rc`, `Mutex` for `RefCell`, and data for pointers",
    note = "rule: arg-not-send"
)]
pub trait SendValue: Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static> SendValue for T {}

/// The owned arguments of a call, as a tuple. What is asked of each element is asked here by the
/// element's own name, so that rustc speaks of the element and not of the tuple.
pub trait SendValues: Send + 'static {}

macro_rules! send_values {
    ($($element:ident)*) => {
        impl<$($element: SendValue),*> SendValues for ($($element,)*) {}
    };
}

send_values!();
send_values!(A);
send_values!(A B);
send_values!(A B C);
send_values!(A B C D);
send_values!(A B C D E);
send_values!(A B C D E F);
send_values!(A B C D E F G);
send_values!(A B C D E F G H);
send_values!(A B C D E F G H I);
send_values!(A B C D E F G H I J);
send_values!(A B C D E F G H I J K);
send_values!(A B C D E F G H I J K L);
send_values!(A B C D E F G H I J K L M);
send_values!(A B C D E F G H I J K L M N);
send_values!(A B C D E F G H I J K L M N O);
send_values!(A B C D E F G H I J K L M N O P);

/// What can be copied into a call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be borrowed by a business method, because the call needs a copy of it",
    label = "cannot be copied into the call",
    note = "help: put `#[derive(Clone)]` on the type, or take it by value",
    note = "rule: arg-not-clone"
)]
pub trait CloneValue: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> CloneValue for T {}

/// What stands behind the reference, where a method takes one: the call owns a copy of it.
pub trait RpcBorrow {
    /// What the call owns: `String` for `str`, `Vec<T>` for `[T]`, `T` for `T`.
    type Owned;
    /// Copies the caller's value.
    fn copy(&self) -> Self::Owned;
    /// Shows the copy to the method.
    fn lend(owned: &Self::Owned) -> &Self;
}

// Not through `ToOwned`: rustc would speak of that trait, and of the foreign types that have it.
impl<T: CloneValue> RpcBorrow for T {
    type Owned = T;

    fn copy(&self) -> T {
        self.clone()
    }

    fn lend(owned: &T) -> &T {
        owned
    }
}

impl<T: CloneValue> RpcBorrow for [T] {
    type Owned = Vec<T>;

    fn copy(&self) -> Vec<T> {
        self.to_vec()
    }

    fn lend(owned: &Vec<T>) -> &[T] {
        owned
    }
}

impl RpcBorrow for str {
    type Owned = String;

    fn copy(&self) -> String {
        self.to_owned()
    }

    fn lend(owned: &String) -> &str {
        owned
    }
}

impl RpcBorrow for Path {
    type Owned = PathBuf;

    fn copy(&self) -> PathBuf {
        self.to_owned()
    }

    fn lend(owned: &PathBuf) -> &Path {
        owned
    }
}

/// What a business method returns: `Serialize + DeserializeOwned`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from a business method",
    label = "has no form that a reply could carry",
    note = "help: a reply must be `Serialize + DeserializeOwned + Send + 'static`: put `#[derive(serde::Serialize, serde::Deserialize)]` on its type",
    note = "rule: return-not-serializable"
)]
pub trait RpcReply: Sized + 'static {
    /// Appends the reply to a message.
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError>;
    /// Takes the reply from a message.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError>;
    /// Finds out what it looks like.
    fn trace(tracer: &mut Tracer);
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> RpcReply for T {
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError> {
        out.put(self)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        input.take()
    }

    fn trace(tracer: &mut Tracer) {
        tracer.add::<Self>();
    }
}

/// The error a business method returns: `Serialize + DeserializeOwned`, or
/// [`Infallible`](std::convert::Infallible) if it returns no `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a business method",
    label = "has no form that a reply could carry",
    note = "help: return `durable::Result<..>`, or an error enum of your own with `#[derive(serde::Serialize, serde::Deserialize)]` and `From<durable::Error>`",
    note = "rule: error-not-serializable"
)]
pub trait RpcError: Sized + 'static {
    /// Appends the error to a message.
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError>;
    /// Takes the error from a message.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError>;
    /// Finds out what it looks like.
    fn trace(tracer: &mut Tracer);
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> RpcError for T {
    fn encode(&self, out: &mut Encoder) -> Result<(), WireError> {
        out.describe(in_words(self));
        out.put(self)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        input.take()
    }

    fn trace(tracer: &mut Tracer) {
        tracer.add::<Self>();
    }
}

/// An error as a person may read it: there is no telling whether it has a `Display`.
fn in_words<T: Serialize + 'static>(error: &T) -> String {
    if let Some(error) = (error as &dyn Any).downcast_ref::<Error>() {
        return error.to_string();
    }
    let mut text = String::new();
    // `format!` panics where a user's `Serialize` fails.
    match write!(text, "{:?}", serde_fmt::to_debug(error)) {
        Ok(()) => text,
        Err(_) => type_name::<T>().to_owned(),
    }
}

/// Splits a return type into what a call gives and how it can fail.
///
/// Implemented for `Result<T, E>` only, so that a stub's types and the object's values cannot disagree.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named like a `Result` and is none",
    label = "not a `Result`",
    note = "help: the stub takes a type whose name ends in `Result` apart: return `durable::Result<{Self}>`, or give the type another name",
    note = "rule: hidden-result"
)]
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

/// Tells whether a type is a `Result`, whatever it is called.
///
/// `ResultProbe::<T>::IS_RESULT` is the inherent constant where there is one, else the one of
/// [`NoResult`]. It works for types that are written out, not for type parameters.
#[derive(Debug)]
pub struct ResultProbe<T>(PhantomData<T>);

impl<T, E> ResultProbe<Result<T, E>> {
    /// It is one.
    pub const IS_RESULT: bool = true;
}

/// What [`ResultProbe`] says of all other types.
pub trait NoResult {
    /// It is none.
    const IS_RESULT: bool = false;
}

impl<T> NoResult for ResultProbe<T> {}

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

/// A business method as the class descriptor tells it: what must be known to call it without its stub.
#[derive(Clone, Copy, Debug)]
pub struct MethodDescription {
    /// Name and access.
    pub info: MethodInfo,
    /// Its doc comment, line by line.
    pub docs: &'static [&'static str],
    /// What it takes, in order.
    pub arguments: &'static [ArgumentDescription],
    /// The form of its value.
    pub reply: TypeSchema,
    /// The form of its own error.
    pub error: TypeSchema,
    /// Finds out the reply's part of the shape.
    pub trace_reply: Trace,
    /// Finds out the error's.
    pub trace_error: Trace,
    /// Where the shape is kept.
    pub shape_cell: fn() -> &'static ShapeCell,
}

/// Finds out what a type looks like, as [`RpcArg::trace`] does.
pub type Trace = fn(&mut Tracer);

impl MethodDescription {
    /// The description of a class's method.
    pub fn of<T: DurableObject>(method: &str) -> Option<&'static Self> {
        T::METHODS.iter().find(|description| description.info.name == method)
    }

    /// The method's shape: found out when it is first asked for.
    pub fn shape(&self) -> &'static MethodShape {
        (self.shape_cell)().get_or_init(|| {
            let names: Vec<&str> = self.arguments.iter().map(|argument| argument.name).collect();
            let arguments = self.arguments.iter().map(|argument| argument.trace);
            let types: Vec<Trace> = arguments.chain([self.trace_reply, self.trace_error]).collect();
            MethodShape::new(&names, &types)
        })
    }
}

/// An argument of a [`MethodDescription`].
#[derive(Clone, Copy, Debug)]
pub struct ArgumentDescription {
    /// Its name in the source; `r#type` is `type`.
    pub name: &'static str,
    /// Whether its type is written as an `Option`, so that it may be left out.
    pub is_optional: bool,
    /// The form of its value.
    pub schema: TypeSchema,
    /// Finds out its part of the shape.
    pub trace: Trace,
}

/// One business method as a stub calls it: typed for a caller in this process, and able to take the wire form.
///
/// `A` is a tuple of the owned arguments.
#[expect(missing_debug_implementations, reason = "only the expansion of the macro has one")]
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
    Err {
        /// The error.
        message: Vec<u8>,
        /// The error in words, for people who have no type for it.
        text: String,
    },
}

/// Why a call by name gave no value, if it was not the runtime's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method's own error, in the form of the arguments.
    Application(Vec<u8>),
    /// Arguments that do not fit, or a reply that cannot be written.
    Wire(WireError),
}

/// Writes one value, as [`RpcReply::encode`] does.
type Write<T> = fn(&T, &mut Encoder) -> Result<(), WireError>;
/// Reads one value, as [`RpcReply::decode`] does.
type Read<T> = fn(&mut Decoder<'_>) -> Result<T, WireError>;

/// Both take the functions and not the traits: a bound here would be a second error, with a note that
/// points into this file, for every type that lacks a derive.
impl WireReply {
    /// Puts the outcome of a method into wire form, into the message that
    /// [`Decoder::finish`] has begun.
    ///
    /// # Errors
    /// When the value or the error cannot be written.
    pub fn write<R, E>(
        outcome: Result<R, E>,
        out: Encoder,
        write_ok: Write<R>,
        write_error: Write<E>,
    ) -> Result<Self, WireError> {
        match outcome {
            Ok(value) => {
                let out = out.of(Value::Reply).write(|out| write_ok(&value, out))?;
                Ok(WireReply::Ok(out.finish()))
            }
            Err(error) => {
                let mut out = out.of(Value::Error).write(|out| write_error(&error, out))?;
                let text = out.take_text();
                Ok(WireReply::Err { message: out.finish(), text })
            }
        }
    }

    /// Reads the outcome back.
    ///
    /// # Errors
    /// When the bytes are no such value.
    pub fn read<R, E>(
        &self,
        read_ok: Read<R>,
        read_error: Read<E>,
    ) -> Result<Result<R, E>, WireError> {
        match self {
            WireReply::Ok(message) => read_message(message, read_ok).map(Ok),
            WireReply::Err { message, .. } => read_message(message, read_error).map(Err),
        }
    }
}

fn read_message<T>(message: &[u8], read: Read<T>) -> Result<T, WireError> {
    let mut input = Decoder::new(message)?;
    let value = read(&mut input)?;
    input.finish()?;
    Ok(value)
}

/// Writes the error of a method that returns no `Result`: there is none.
///
/// # Errors
/// Never.
pub fn encode_never(never: &Infallible, _: &mut Encoder) -> Result<(), WireError> {
    match *never {}
}

/// Reads the error of a method that returns no `Result`: whoever sends one has another method in mind.
///
/// # Errors
/// Always.
pub fn decode_never(_: &mut Decoder<'_>) -> Result<Infallible, WireError> {
    Err(WireError::Decode {
        expected: "the reply of a method that cannot fail",
        reason: "it is an error".to_owned(),
    })
}

/// Says that a method that returns no `Result` has no error.
pub fn trace_never(tracer: &mut Tracer) {
    tracer.add_never();
}
