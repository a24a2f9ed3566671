//! Turns from the code that holds a gate closed.

use std::fmt;
use std::time::Duration;

use crate::instance::mailbox::GateId;
use crate::{Context, DurableObject, Error, Handle, Namespace, ObjectId, Result};

/// An object as the code sees it that runs behind its closed gate: see
/// [`Handle::block_concurrency_while`].
///
/// Its turns pass the gate, and all others wait. Kept for longer than the gate is closed, it is as any
/// [`Handle`].
pub struct GateHandle<T: DurableObject> {
    handle: Handle<T>,
    gate: GateId,
}

impl<T: DurableObject> GateHandle<T> {
    pub(crate) fn new(handle: Handle<T>, gate: GateId) -> Self {
        GateHandle { handle, gate }
    }

    /// Runs `code` as one turn, past the closed gate: see [`Handle::turn`].
    ///
    /// # Errors
    /// What `code` returned, or the runtime's error turned into an `E`: see
    /// [`CallError::flatten`](crate::CallError::flatten).
    pub async fn turn<R, E, F>(&self, code: F) -> Result<R, E>
    where
        F: FnOnce(&mut T, &Context<T>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.handle.turn_through(self.gate, code).await
    }

    /// Waits on the runtime's clock; the gate's limit runs on it, too.
    pub async fn sleep(&self, duration: Duration) {
        self.handle.sleep(duration).await;
    }

    /// The object's id.
    pub fn id(&self) -> &ObjectId<T> {
        self.handle.id()
    }

    /// The object's name, if it is known.
    pub fn name(&self) -> Option<&str> {
        self.handle.name()
    }

    /// Objects of another class. Calls of this object itself would wait for the gate: use
    /// [`turn`](GateHandle::turn).
    pub fn namespace<Other: DurableObject>(&self) -> Namespace<Other> {
        self.handle.namespace()
    }

    /// The value of type `E` that was given to [`Builder::env`](crate::Builder::env).
    ///
    /// # Errors
    /// When there is none.
    pub fn env<E: Send + Sync + 'static>(&self) -> Result<&E> {
        self.handle.env()
    }
}

impl<T: DurableObject> Clone for GateHandle<T> {
    fn clone(&self) -> Self {
        GateHandle { handle: self.handle.clone(), gate: self.gate }
    }
}

impl<T: DurableObject> fmt::Debug for GateHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GateHandle").field(&self.handle).finish()
    }
}
