//! What `#[durable_object]` implements: a class, described to the runtime.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::handlers::{AlarmInfo, Request, Response};
use crate::rpc::{MethodDescription, WireReply};
use crate::socket::{Close, Message, SocketError, WebSocket};
use crate::stub::RawStub;
use crate::wire::{Decoder, WireError};
use crate::{Context, Handle, Migration, Result};

/// A class of durable objects. Implemented by `#[durable_object]`, never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a durable object",
    label = "not a durable object",
    note = "help: put `#[durable_object]` on the inherent `impl` that holds its methods",
    note = "rule: not-an-object"
)]
pub trait DurableObject: Sized + ObjectValue + 'static {
    /// The typed stub: one method for each business method.
    type Stub: Clone + Send + Sync + 'static;

    /// The class name, stored with the data.
    const CLASS: &'static str;
    /// Names under which this class was stored before (`renamed_from`).
    const FORMER_CLASSES: &'static [&'static str];
    /// After how long without use an object deletes itself (`expires_after`); `None`: never.
    const EXPIRES_AFTER: Option<Duration> = None;
    /// The business methods, in source order.
    const METHODS: &'static [MethodDescription];
    /// The migrations, from 1 upwards without gaps.
    const MIGRATIONS: &'static [MigrationInfo];
    /// The handlers that the class has.
    const HANDLERS: Handlers<Self>;

    /// Makes an instance. Runs as a turn, after the migrations, at every activation.
    fn construct(ctx: &Context<Self>) -> Result<Self>;

    /// Runs the method named `method` on arguments that `input` reads, and writes the reply in the
    /// form of the arguments.
    ///
    /// # Errors
    /// When there is no such method, or the arguments or the reply cannot be read or written.
    fn dispatch(
        &mut self,
        ctx: &Context<Self>,
        method: &str,
        input: &mut Decoder<'_>,
    ) -> Result<WireReply, WireError>;

    /// Wraps an untyped stub.
    fn stub(raw: RawStub<Self>) -> Self::Stub;
}

/// What may live in the runtime: an object moves between threads, though it runs on one at a time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a durable object, because it is not `Send`",
    label = "cannot move between threads",
    note = "help: objects move between threads: use `Arc` for `Rc` in its fields, and data for pointers; `Cell` and `RefCell` are fine",
    note = "rule: object-not-send"
)]
pub trait ObjectValue: Send {}

#[diagnostic::do_not_recommend]
impl<T: Send> ObjectValue for T {}

/// Lets a class that is not `Send` have no stub, so that it gives one error and not several.
pub trait SendObject {
    /// The stub itself.
    type Only<Stub>;
}

impl<T: ObjectValue> SendObject for T {
    type Only<Stub> = Stub;
}

/// A class that can be made without a constructor: it has `Default`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no constructor",
    label = "needs a constructor",
    note = "help: add `fn new(ctx: &Context<Self>) -> Self` to the impl, or `#[derive(Default)]` to the type",
    note = "rule: missing-new"
)]
pub trait ConstructDefault {
    /// The default instance.
    fn construct_default() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> ConstructDefault for T {
    fn construct_default() -> Self {
        T::default()
    }
}

/// Runs all migrations of a class on an empty database in memory.
///
/// # Errors
/// What the first migration that fails says, with its name.
pub fn check_migrations<T: DurableObject>() -> Result<()> {
    crate::storage::check_migrations(T::MIGRATIONS, T::CLASS)
}

/// One migration of a class.
#[derive(Clone, Copy, Debug)]
pub struct MigrationInfo {
    /// The schema version it leads to, from 1.
    pub number: u32,
    /// The function's name.
    pub name: &'static str,
    /// Checksum of the function's tokens.
    pub checksum: u64,
    /// SQL that the function names but does not contain (constants, `include_str!`): part of its checksum.
    pub sql: &'static [&'static str],
    /// The function.
    pub apply: fn(&mut Migration<'_>) -> Result<()>,
}

/// A boxed future, as async handlers return it.
pub type BoxFuture<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// A handler in one of its two forms. `A` is a tuple of what it takes besides the object.
#[expect(missing_debug_implementations, reason = "only the expansion of the macro has one")]
pub enum Handler<T: DurableObject, A, R> {
    /// `fn (&mut self, ctx: &Context<Self>, …)`: one turn.
    Sync(fn(&mut T, &Context<T>, A) -> Result<R>),
    /// `async fn (this: Handle<Self>, …)`: as many turns as it makes.
    Async(fn(Handle<T>, A) -> BoxFuture<Result<R>>),
}

/// The handlers of a class.
#[expect(missing_debug_implementations, reason = "only the expansion of the macro has one")]
pub struct Handlers<T: DurableObject> {
    /// An HTTP request.
    pub fetch: Option<Handler<T, (Request,), Response>>,
    /// The object's alarm is due.
    pub alarm: Option<Handler<T, (AlarmInfo,), ()>>,
    /// A message on a hibernating WebSocket.
    pub websocket_message: Option<Handler<T, (WebSocket, Message), ()>>,
    /// A hibernating WebSocket closed.
    pub websocket_close: Option<Handler<T, (WebSocket, Close), ()>>,
    /// A hibernating WebSocket failed.
    pub websocket_error: Option<Handler<T, (WebSocket, SocketError), ()>>,
}

impl<T: DurableObject> Handlers<T> {
    /// A class without handlers.
    pub const NONE: Self = Handlers {
        fetch: None,
        alarm: None,
        websocket_message: None,
        websocket_close: None,
        websocket_error: None,
    };
}
