//! Turns from async code.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::activity::waiting;
use crate::gate::{Passage, Unconfirmed};
use crate::instance::gate::GateEnd;
use crate::instance::mailbox::GateId;
use crate::instance::{Object, chain};
use crate::stub::RawStub;
use crate::{
    CallError, Context, DurableObject, Error, ErrorKind, GateHandle, Namespace, ObjectId, Result,
};

/// An object as async code of its own sees it: a handler, or a future given to
/// [`Context::wait_until`].
///
/// It has no storage; [`turn`](Handle::turn) has. Between two turns anything may run in the object.
pub struct Handle<T: DurableObject> {
    stub: RawStub<T>,
    object: Arc<Object<T>>,
    /// Of the handler that the handle was given to.
    unconfirmed: Option<Arc<Unconfirmed>>,
}

impl<T: DurableObject> Handle<T> {
    pub(crate) fn new(object: Arc<Object<T>>) -> Self {
        let identity = object.identity();
        let id = ObjectId::new(identity.id, identity.name.get().cloned());
        Handle { stub: RawStub::new(id, Ok(object.clone())), object, unconfirmed: None }
    }

    /// The same handle for a handler whose reply waits for what the handle does not confirm.
    pub(crate) fn remembering(self, unconfirmed: &Arc<Unconfirmed>) -> Self {
        Handle { unconfirmed: Some(unconfirmed.clone()), ..self }
    }

    /// Runs `code` as one turn: alone in the object, as one transaction.
    ///
    /// `Ok` commits and comes back once the commit is durable; `Err` or a panic rolls back.
    ///
    /// # Errors
    /// What `code` returned, or the runtime's error turned into an `E`: see [`CallError::flatten`].
    pub async fn turn<R, E, F>(&self, code: F) -> Result<R, E>
    where
        F: FnOnce(&mut T, &Context<T>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.stub.turn("turn", code).passing(Passage::Own).await.map_err(CallError::flatten)
    }

    /// Runs `code` as one turn, as [`turn`](Handle::turn) does, and comes back as soon as it is committed in
    /// memory: if the machine fails within the next moments, the turn is lost, whole.
    ///
    /// For a handler that has more to do meanwhile. What the runtime carries out of the handler later on
    /// still waits until the turn is durable: its reply, the replies of its other turns, its calls to
    /// objects. What the handler does by itself does not wait (a request to another server, a file, a
    /// message to a task of its own): call [`sync`](Handle::sync) first. Nor do calls of objects from tasks that it
    /// has spawned.
    ///
    /// # Errors
    /// As [`turn`](Handle::turn). That the turn could not be made durable is told by the outputs that
    /// wait for it.
    pub async fn turn_unconfirmed<R, E, F>(&self, code: F) -> Result<R, E>
    where
        F: FnOnce(&mut T, &Context<T>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        // The handler it runs in, and the one that the handle was given to: in a task that the handler
        // has spawned there is only the second.
        let handlers =
            chain::unconfirmed_here().into_iter().chain(self.unconfirmed.clone()).collect();
        let call = self.stub.turn("turn", code).passing(Passage::Unconfirmed(handlers));
        call.await.map_err(CallError::flatten)
    }

    /// Waits until everything that the object has committed so far is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) when it could not be made durable, and what
    /// [`turn`](Handle::turn) may fail with: it waits for its turn.
    pub async fn sync(&self) -> Result<()> {
        self.turn(|_, _| Ok(())).await
    }

    /// Keeps every other event of the object waiting until `code` is done, and gives what that returned.
    ///
    /// It waits for its turn first. From then on only [`gate.turn`](GateHandle::turn) reaches the object, and
    /// whether or not anybody still waits for the result, `code` runs to its end. If it fails, panics or
    /// takes longer than 30 seconds (see [`Builder::gate_limit`](crate::Builder::gate_limit)), the object
    /// is reset: the instance is dropped, and so is every handler and background future of the object, the
    /// one that awaits this included; whoever waits gets [`CallError::Reset`].
    ///
    /// More is said with [`Context::block_concurrency_while`].
    ///
    /// # Errors
    /// What `code` returned, or the runtime's error turned into an `E`: see [`CallError::flatten`].
    pub async fn block_concurrency_while<R, E, F, Fut>(&self, code: F) -> Result<R, E>
    where
        F: FnOnce(GateHandle<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + fmt::Display + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        let caller = chain::current();
        let (handle, session) = (self.clone(), self.object.session());
        let closing = move |_: &mut T, ctx: &Context<T>| {
            ctx.close_gate(caller, move |id| async move {
                let result = code(GateHandle::new(handle, id)).await;
                let failed = result.as_ref().err().map(ToString::to_string);
                GateEnd { failed, answer: Box::new(|| drop(sender.send(result))) }
            });
            Ok::<_, Error>(())
        };
        let closing = self.stub.turn("block_concurrency_while", closing).passing(Passage::Own);
        closing.await.map_err(|error| E::from(Error::from(error)))?;
        waiting(result).await.unwrap_or_else(|_| {
            let reason = session.over.reason().map_or("it was reset", |reason| reason);
            Err(E::from(Error::new(ErrorKind::Reset, reason)))
        })
    }

    /// Starts the object over: every turn, handler, background future and gate that is not done is given up, the
    /// instance is dropped, and whoever waits gets [`CallError::Reset`] with the reason. The next call finds
    /// a fresh instance. The connections of its WebSockets are dropped, without a close event. What was committed
    /// before stays, and stubs go on working.
    ///
    /// A handler or background future that aborts its own object ends at its next `.await`.
    pub fn abort(&self, reason: impl fmt::Display) {
        self.object.reset(&Arc::from(reason.to_string()));
    }

    /// Waits on the runtime's clock: a test that moves the clock by hand moves this, too.
    pub async fn sleep(&self, duration: Duration) {
        self.object.node().settings.time.sleep(duration).await;
    }

    /// Runs `code` as a turn that passes a closed gate.
    pub(crate) async fn turn_through<R, E, F>(&self, gate: GateId, code: F) -> Result<R, E>
    where
        F: FnOnce(&mut T, &Context<T>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.stub
            .turn("turn", code)
            .passing(Passage::Own)
            .through(gate)
            .await
            .map_err(CallError::flatten)
    }

    /// The object's id.
    pub fn id(&self) -> &ObjectId<T> {
        self.stub.id()
    }

    /// The object's name, if it is known.
    pub fn name(&self) -> Option<&str> {
        self.object.identity().name.get().map(|name| &**name)
    }

    /// A stub of the object itself.
    pub fn this(&self) -> T::Stub {
        T::stub(self.stub.clone())
    }

    /// Objects of another class.
    pub fn namespace<Other: DurableObject>(&self) -> Namespace<Other> {
        Namespace::new(self.object.node().clone())
    }

    /// The value of type `E` that was given to [`Builder::env`](crate::Builder::env).
    ///
    /// # Errors
    /// When there is none.
    pub fn env<E: Send + Sync + 'static>(&self) -> Result<&E> {
        self.object.node().settings.environment.get()
    }
}

impl<T: DurableObject> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle {
            stub: self.stub.clone(),
            object: self.object.clone(),
            unconfirmed: self.unconfirmed.clone(),
        }
    }
}

impl<T: DurableObject> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.object.identity())
    }
}
