//! Calling an object's handlers for what happens to its sockets.
//!
//! Guarantees:
//! - An event is one turn, or is started by one. Its handler runs at most once; when the object cannot be reached, because its constructor
//!   fails or its queue is full, it is tried again. A reset forgets the events with their sockets.
//! - What a handler returns, or that it panics, goes to the log; the socket stays as it is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::Span;

use super::message::{Close, Message, SocketError};
use super::set::restart;
use super::shared::{Held, Shared};
use super::{Sockets, WebSocket};
use crate::activity::waiting;
use crate::call::CallError;
use crate::gate::{Passage, Unconfirmed};
use crate::id::Identity;
use crate::instance::Object;
use crate::node::Node;
use crate::object::Handler;
use crate::observe::events::event;
use crate::observe::meters::SocketMeters;
use crate::observe::turns;
use crate::stub::RawStub;
use crate::{BoxFuture, Call, Context, DurableObject, Error, ErrorKind, Handle, ObjectId};

/// How long an event waits for a place in a queue that is full.
const QUEUE_WAIT: Duration = Duration::from_millis(20);

/// How often an event is tried whose object cannot be reached.
const ATTEMPTS: u32 = 7;

/// The wait after the first attempt; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// An object with sockets, whose type is not known.
pub(crate) trait Home: Send + Sync {
    fn sockets(&self) -> &Sockets;
    fn node(&self) -> &Arc<Node>;
    fn identity(&self) -> &Arc<Identity>;
    fn socket_meters(&self) -> &Arc<SocketMeters>;
    /// The object in words.
    fn label(&self) -> String;
    /// Handles a message: done when its turn is over. `None` if the class has no handler, as below.
    fn on_message(self: Arc<Self>, socket: Arc<Shared>, message: Message) -> Option<BoxFuture<()>>;
    /// Handles the end: done when the handler is, an async one too.
    fn on_close(self: Arc<Self>, socket: Arc<Shared>, close: Close) -> Option<BoxFuture<()>>;
    fn on_error(self: Arc<Self>, socket: Arc<Shared>, error: SocketError) -> Option<BoxFuture<()>>;
}

impl<T: DurableObject> Home for Object<T> {
    fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    fn node(&self) -> &Arc<Node> {
        Object::node(self)
    }

    fn identity(&self) -> &Arc<Identity> {
        Object::identity(self)
    }

    fn socket_meters(&self) -> &Arc<SocketMeters> {
        &self.meters().sockets
    }

    fn label(&self) -> String {
        Object::label(self)
    }

    fn on_message(self: Arc<Self>, socket: Arc<Shared>, message: Message) -> Option<BoxFuture<()>> {
        let handler = T::HANDLERS.websocket_message?;
        Some(Box::pin(raise(self, "websocket_message", handler, socket, message, Until::Begun)))
    }

    fn on_close(self: Arc<Self>, socket: Arc<Shared>, close: Close) -> Option<BoxFuture<()>> {
        let handler = T::HANDLERS.websocket_close?;
        Some(Box::pin(raise(self, "websocket_close", handler, socket, close, Until::Done)))
    }

    fn on_error(self: Arc<Self>, socket: Arc<Shared>, error: SocketError) -> Option<BoxFuture<()>> {
        let handler = T::HANDLERS.websocket_error?;
        Some(Box::pin(raise(self, "websocket_error", handler, socket, error, Until::Begun)))
    }
}

type EventHandler<T, A> = Handler<T, (WebSocket, A), ()>;
type AsyncHandler<T, A> = fn(Handle<T>, (WebSocket, A)) -> BoxFuture<crate::Result<()>>;

/// How long an event keeps what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Until its turn is over: an async handler has begun then.
    Begun,
    /// Until its handler has ended.
    Done,
}

/// Runs a handler, or begins to.
async fn raise<T: DurableObject, A: Send + 'static>(
    object: Arc<Object<T>>,
    method: &'static str,
    handler: EventHandler<T, A>,
    socket: Arc<Shared>,
    what: A,
    until: Until,
) {
    // The turn takes it: what is still there afterwards had no turn.
    let slot = Arc::new(Mutex::new(Some(what)));
    let mut attempt = 0;
    loop {
        // Nothing is sent: it is dropped.
        let (alive, ended) = oneshot::channel();
        let call = call(&object, method, &handler, &socket, &slot, alive);
        let Err(failure) = call.passing(Passage::Unconfirmed(Vec::new())).await else {
            if until == Until::Done {
                let _ = waiting(ended).await;
            }
            return;
        };
        if slot.lock().is_none() {
            return log(&object, method, &failure);
        }
        if !object.sockets.contains(socket.id) {
            // The object was reset, and has forgotten it.
            return;
        }
        let wait = match failure {
            CallError::ShutDown => return socket.close(Held::No, restart()),
            CallError::Overloaded { .. } => QUEUE_WAIT,
            failure if attempt == ATTEMPTS => {
                let reason = failure.to_string();
                event!(
                    error,
                    Object::identity(&object),
                    method,
                    reason,
                    "an event of a WebSocket was given up"
                );
                return;
            }
            _ => {
                attempt += 1;
                FIRST_WAIT * 2_u32.pow(attempt - 1)
            }
        };
        Object::node(&object).settings.time.sleep(wait).await;
    }
}

/// The turn that runs the handler, or starts it.
fn call<T: DurableObject, A: Send + 'static>(
    object: &Arc<Object<T>>,
    method: &'static str,
    handler: &EventHandler<T, A>,
    socket: &Arc<Shared>,
    slot: &Arc<Mutex<Option<A>>>,
    alive: oneshot::Sender<()>,
) -> Call<T, (), Error> {
    let identity = Object::identity(object);
    let id = ObjectId::new(identity.id, identity.name.get().cloned());
    let stub = RawStub::new(id, Ok(Arc::clone(object)));
    let (slot, socket) = (Arc::clone(slot), WebSocket::new(Arc::clone(socket)));
    let take = move || {
        let what = slot.lock().take();
        what.ok_or_else(|| Error::new(ErrorKind::Invalid, "the event was handled already"))
    };
    match *handler {
        Handler::Sync(handler) => stub.turn(method, move |instance, ctx: &Context<T>| {
            handler(instance, ctx, (socket, take()?))
        }),
        Handler::Async(handler) => stub.turn(method, move |_, ctx| {
            let what = take()?;
            start(ctx, method, handler, socket, what, alive);
            Ok(())
        }),
    }
}

/// Has an async handler run once this turn is committed, and drops `alive` when it has ended.
fn start<T: DurableObject, A>(
    ctx: &Context<T>,
    method: &'static str,
    handler: AsyncHandler<T, A>,
    socket: WebSocket,
    what: A,
    alive: oneshot::Sender<()>,
) {
    let unconfirmed = Arc::<Unconfirmed>::default();
    let handle = ctx.handle().remembering(&unconfirmed);
    let handler = handler(handle, (socket.remembering(&unconfirmed), what));
    // A peer's frame belongs to no span of this program.
    let handler = turns::handler(ctx.identity(), method, &Span::none(), handler);
    let object = Arc::clone(ctx.object());
    ctx.once_committed(move |session| {
        // Nobody waits for it.
        let (sender, _) = oneshot::channel();
        let logs = Arc::clone(&object);
        let logged: BoxFuture<()> = Box::pin(async move {
            let _alive = alive;
            if let Err(error) = handler.await {
                log(&logs, method, &CallError::Application(error));
            }
        });
        object.spawn_handler(method, session, None, unconfirmed, logged, sender);
    });
}

fn log<T: DurableObject>(object: &Object<T>, method: &'static str, failure: &CallError<Error>) {
    // Of a panic the turn has told already.
    if !matches!(failure, CallError::Panicked { .. }) {
        let reason = failure.to_string();
        event!(error, Object::identity(object), method, reason, "a WebSocket handler failed");
    }
}
