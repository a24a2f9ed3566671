//! Turns from async code.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::instance::Object;
use crate::stub::RawStub;
use crate::{CallError, Context, DurableObject, Error, Namespace, ObjectId, Result};

/// An object as async code of its own sees it: a handler, or a future given to
/// [`Context::wait_until`].
///
/// It has no storage; [`turn`](Handle::turn) has. Between two turns anything may run in the object.
pub struct Handle<T: DurableObject> {
    stub: RawStub<T>,
    object: Arc<Object<T>>,
}

impl<T: DurableObject> Handle<T> {
    pub(crate) fn new(object: Arc<Object<T>>) -> Self {
        let identity = object.identity();
        let id = ObjectId::new(identity.id, identity.name.get().cloned());
        Handle { stub: RawStub::new(id, Ok(object.clone())), object }
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
        self.stub.turn("turn", code).await.map_err(CallError::flatten)
    }

    /// Waits on the runtime's clock: a test that moves the clock by hand moves this, too.
    pub async fn sleep(&self, duration: Duration) {
        self.object.node().settings.time.sleep(duration).await;
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
        Handle { stub: self.stub.clone(), object: self.object.clone() }
    }
}

impl<T: DurableObject> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.object.identity())
    }
}
