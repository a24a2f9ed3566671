//! The untyped core of a stub. The macro wraps it in a type with one method per business method.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

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
#[cfg(feature = "json")]
use crate::rpc::WireReply;
use crate::rpc::{Access, Method, MethodInfo, SendValue, SendValues};
#[cfg(feature = "json")]
use crate::wire::Decoder;
#[cfg(feature = "json")]
use crate::wire::json::{Argument, Refusal};
use crate::{BoxFuture, DurableObject, Error, ErrorKind, Handle, ObjectId, Request, Response};

/// A reference to one object of class `T`, which need not exist yet.
pub struct RawStub<T: DurableObject> {
    /// One count for all of it: each call holds a clone.
    target: Arc<Target<T>>,
}

struct Target<T: DurableObject> {
    id: ObjectId<T>,
    /// Or why there can be no such object, told to every call.
    object: crate::Result<Arc<Object<T>>>,
}

impl<T: DurableObject> RawStub<T> {
    pub(crate) fn new(id: ObjectId<T>, object: crate::Result<Arc<Object<T>>>) -> Self {
        RawStub { target: Arc::new(Target { id, object }) }
    }

    pub(crate) fn object(&self) -> Result<&Arc<Object<T>>, &Error> {
        self.target.object.as_ref()
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
            let mut input = Decoder::json(&arguments);
            match object.dispatch(ctx, method.name, &mut input) {
                Ok(WireReply::Ok(value)) => Ok(value),
                Ok(WireReply::Err { message, .. }) => Err(Refusal::Application(message)),
                Err(error) => Err(Refusal::Wire(error)),
            }
        };
        Call::new(self.clone(), Box::new(ClosureCall { info: method, closure }))
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
