//! The untyped core of a stub. The macro wraps it in a type with one method per business method.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::Span;

use crate::activity::waiting;
use crate::body::{BODY_BYTES_MAX, Body};
use crate::call::{Call, CallError};
use crate::gate::Unconfirmed;
use crate::instance::Object;
use crate::instance::chain;
use crate::instance::turn::{ClosureCall, MethodCall};
use crate::object::Handler;
use crate::observe::events::event;
use crate::observe::turns;
use crate::remote::{Remote, RemoteAddress};
use crate::rpc::{
    Access, Method, MethodDescription, MethodInfo, Refusal, SendValue, SendValues, WireReply,
};
use crate::time::Sleep;
use crate::wire::Decoder;
#[cfg(feature = "json")]
use crate::wire::json::Argument;
use crate::{BoxFuture, DurableObject, Error, ErrorKind, Handle, ObjectId, Request, Response};

/// A reference to one object of class `T`, which need not exist yet.
pub struct RawStub<T: DurableObject> {
    /// One count for all of it: each call holds a clone.
    target: Arc<Target<T>>,
}

struct Target<T: DurableObject> {
    id: ObjectId<T>,
    place: Place<T>,
}

/// Where an object is.
pub(crate) enum Place<T: DurableObject> {
    /// In this process.
    Here(Arc<Object<T>>),
    /// In another process.
    Away {
        remote: Remote,
        address: RemoteAddress,
        /// Told to those who can only do with one in this process.
        not_here: Error,
    },
    /// There can be no such object; why is told to every call.
    Nowhere(Error),
}

impl<T: DurableObject> RawStub<T> {
    pub(crate) fn new(id: ObjectId<T>, object: crate::Result<Arc<Object<T>>>) -> Self {
        let place = object.map_or_else(Place::Nowhere, Place::Here);
        RawStub { target: Arc::new(Target { id, place }) }
    }

    /// A stub of an object in another process.
    pub(crate) fn remote(id: ObjectId<T>, remote: Remote, address: RemoteAddress) -> Self {
        let text = "the object is in another process: it can be called, and that is all";
        let not_here = Error::new(ErrorKind::Invalid, text);
        let place = Place::Away { remote, address, not_here };
        RawStub { target: Arc::new(Target { id, place }) }
    }

    pub(crate) fn place(&self) -> &Place<T> {
        &self.target.place
    }

    /// The object, if it is in this process.
    pub(crate) fn object(&self) -> Result<&Arc<Object<T>>, &Error> {
        match &self.target.place {
            Place::Here(object) => Ok(object),
            Place::Away { not_here: error, .. } | Place::Nowhere(error) => Err(error),
        }
    }

    /// Waits for so long, by the clock of the place where the object is.
    pub(crate) fn limit(&self, after: Duration) -> Option<Sleep> {
        match &self.target.place {
            Place::Here(object) => Some(object.node().settings.time.limit(after)),
            Place::Away { remote, .. } => Some(remote.limit(after)),
            Place::Nowhere(_) => None,
        }
    }

    /// The object's id.
    pub fn id(&self) -> &ObjectId<T> {
        &self.target.id
    }

    /// The object's name, if the stub was made from it.
    pub fn name(&self) -> Option<&str> {
        self.target.id.name()
    }

    /// Builds a call to a business method.
    pub fn call<A, R, E>(&self, method: Method<T, A, R, E>, arguments: A) -> Call<T, R, E>
    where
        A: SendValues,
        R: SendValue,
        E: SendValue,
    {
        Call::new(self.clone(), Box::new(MethodCall { method, arguments }))
    }

    /// Builds a call to a business method by its name, with arguments that came as JSON: all that it has, in its order.
    /// Gives the value as JSON.
    #[cfg(feature = "json")]
    pub fn call_json(
        &self,
        method: MethodInfo,
        arguments: Vec<Argument>,
    ) -> Call<T, Vec<u8>, Refusal> {
        let closure = move |object: &mut T, ctx: &crate::Context<T>| {
            by_name(object, ctx, method, &mut Decoder::json(&arguments))
        };
        Call::new(self.clone(), Box::new(ClosureCall { info: method, closure }))
    }

    /// Builds a call to a business method by its name, for a caller in another process: with a message, and to give one.
    pub(crate) fn call_message(
        &self,
        method: &'static MethodDescription,
        arguments: Bytes,
    ) -> Call<T, Vec<u8>, Refusal> {
        let closure = move |object: &mut T, ctx: &crate::Context<T>| {
            let input = Decoder::new(&arguments).map_err(Refusal::Wire)?;
            let mut input = input.agreed(method.shape()).of_stranger();
            by_name(object, ctx, method.info, &mut input)
        };
        Call::new(self.clone(), Box::new(ClosureCall { info: method.info, closure }))
    }

    /// A call that runs a closure as a turn.
    pub(crate) fn turn<R, E>(
        &self,
        method: &'static str,
        closure: impl FnOnce(&mut T, &crate::Context<T>) -> Result<R, E> + Send + 'static,
    ) -> Call<T, R, E>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        let info = MethodInfo { name: method, access: Access::Write };
        Call::new(self.clone(), Box::new(ClosureCall { info, closure }))
    }

    /// Sends an HTTP request to the object's `fetch` handler. Async handlers begin in the order in which their
    /// requests were first polled.
    pub fn fetch(&self, request: Request) -> Fetch {
        let stub = self.clone();
        Fetch { response: Box::pin(async move { stub.respond(request).await }) }
    }

    async fn respond(self, request: Request) -> Result<Response, CallError> {
        if let Place::Away { remote, address, .. } = self.place() {
            if let Some(unconfirmed) = chain::unconfirmed_here() {
                unconfirmed.wait().await.map_err(CallError::StorageFailed)?;
            }
            return remote.fetch(T::CLASS, address.clone(), request).await;
        }
        let answer = match T::HANDLERS.fetch {
            None => Err(CallError::NotFound(no_fetch::<T>())),
            Some(Handler::Sync(handler)) => self.respond_in_a_turn(request, handler).await,
            Some(Handler::Async(handler)) => self.respond_async(request, handler).await,
        };
        match answer.map_err(CallError::split) {
            Ok(response) => Ok(response),
            Err(Err(failure)) => Err(failure),
            Err(Ok(error)) if error.kind() == ErrorKind::NoUpgrade => Ok(upgrade_required()),
            Err(Ok(error)) => {
                if let Ok(object) = self.object() {
                    event!(error, object.identity(), reason = %error, "a fetch handler failed");
                }
                Ok(internal_error())
            }
        }
    }

    /// The sync form: the body is read first, then the handler runs as one turn.
    async fn respond_in_a_turn(
        &self,
        request: Request,
        handler: fn(&mut T, &crate::Context<T>, (Request,)) -> crate::Result<Response>,
    ) -> Result<Response, CallError<Error>> {
        let (head, body) = request.into_parts();
        let body = match body.collect_up_to(BODY_BYTES_MAX).await {
            Ok(bytes) => Body::from(bytes),
            Err(error) if error.kind() == ErrorKind::Limit => return Ok(too_large()),
            Err(error) => return Err(CallError::Application(error)),
        };
        let request = Request::from_parts(head, body);
        self.turn("fetch", move |object, ctx| handler(object, ctx, (request,))).await
    }

    /// The async form: the handler starts when its turn in the queue comes, and goes on whether
    /// or not its caller waits for it. Its reply leaves when all turns that it made are durable.
    async fn respond_async(
        &self,
        request: Request,
        handler: fn(Handle<T>, (Request,)) -> BoxFuture<crate::Result<Response>>,
    ) -> Result<Response, CallError<Error>> {
        // It is the caller who waits for the handler, not the task that starts it.
        let caller = chain::current();
        let (caller_span, unconfirmed) = (Span::current(), Arc::<Unconfirmed>::default());
        let remembered = unconfirmed.clone();
        let start = self.turn("fetch", move |_, ctx| {
            let handler = handler(ctx.handle().remembering(&remembered), (request,));
            let handler = turns::handler(ctx.identity(), "fetch", &caller_span, handler);
            let (sender, answer) = oneshot::channel();
            let object = ctx.object().clone();
            ctx.once_committed(move |session| {
                object.spawn_handler("fetch", session, caller, remembered, handler, sender);
            });
            Ok::<_, Error>(answer)
        });
        let ended = waiting(start.await?).await;
        unconfirmed.wait().await.map_err(CallError::StorageFailed)?;
        match ended {
            Ok(Ok(response)) => response.map_err(CallError::Application),
            Ok(Err(failure)) => Err(failure.widen()),
            Err(_) => Err(CallError::ShutDown),
        }
    }
}

/// What the stub of class `T` is, for code that takes stubs of any class. Implemented by `#[durable_object]`, never by hand.
pub trait ObjectStub<T> {
    /// The `RawStub<T>` inside. Nothing here says that the class is a durable object: one that cannot be
    /// is to give one error and not several.
    #[doc(hidden)]
    fn raw_stub(&self) -> &dyn Any;
}

fn by_name<T: DurableObject>(
    object: &mut T,
    ctx: &crate::Context<T>,
    method: MethodInfo,
    input: &mut Decoder<'_>,
) -> Result<Vec<u8>, Refusal> {
    match object.dispatch(ctx, method.name, input) {
        Ok(WireReply::Ok(value)) => Ok(value),
        Ok(WireReply::Err { message, .. }) => Err(Refusal::Application(message)),
        Err(error) => Err(Refusal::Wire(error)),
    }
}

fn no_fetch<T: DurableObject>() -> Error {
    let message = format!("class `{}` has no `fetch` handler", T::CLASS);
    Error::new(ErrorKind::NotFound, message)
}

fn status(status: http::StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// What went wrong stays in the log.
fn internal_error() -> Response {
    status(http::StatusCode::INTERNAL_SERVER_ERROR)
}

/// The handler wants to speak WebSocket, and the client has not asked for it.
fn upgrade_required() -> Response {
    let mut response = status(http::StatusCode::UPGRADE_REQUIRED);
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    headers.insert(http::header::UPGRADE, http::HeaderValue::from_static("websocket"));
    headers.insert(http::header::SEC_WEBSOCKET_VERSION, http::HeaderValue::from_static("13"));
    response
}

fn too_large() -> Response {
    status(http::StatusCode::PAYLOAD_TOO_LARGE)
}

impl<T: DurableObject> Clone for RawStub<T> {
    fn clone(&self) -> Self {
        RawStub { target: self.target.clone() }
    }
}

impl<T: DurableObject> fmt::Debug for RawStub<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", T::CLASS, self.id())
    }
}

/// A request on its way to an object: a future of its response.
///
/// An error of the handler becomes a response with status 500 and no details; a [`CallError`] is
/// the runtime's.
#[must_use = "a request is not sent until it is awaited"]
pub struct Fetch {
    response: BoxFuture<Result<Response, CallError>>,
}

impl Future for Fetch {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.response.as_mut().poll(task)
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetch")
    }
}
