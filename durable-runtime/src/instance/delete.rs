//! Deleting an object from outside, whether or not it is in memory.
//!
//! The guarantee: a turn that ran before sees the object, and none after it does. The deletion is one commit, in the object's queue like any
//! turn; with it ends the object's session, so that no handler and no instance of before goes on, and whoever waits is told. What
//! comes later finds an object that was never written.

use std::sync::Arc;

use crate::call::{CallError, Failure};
use crate::instance::events::event;
use crate::instance::turn::dispose;
use crate::instance::visit::visit;
use crate::instance::{Live, Object};
use crate::{DurableObject, Result};

/// Why calls that waited were not made, and what clients of WebSockets are told.
pub(crate) const DELETED: &str = "the object was deleted";

/// Why an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Nobody has used it for as long as its class says.
    Expired,
}

/// Deletes what the object has stored; gives whether there was anything.
pub(crate) async fn delete<T: DurableObject>(object: Arc<Object<T>>) -> Result<bool, Failure> {
    visit(object, |live| live.delete(Cause::Asked)).await?
}

impl<T: DurableObject> Live<T> {
    pub(super) fn delete(&mut self, cause: Cause) -> Result<bool, Failure> {
        let existed = self.ctx.store_mut().delete().map_err(CallError::StorageFailed)?;
        dispose(self.instance.take());
        self.ctx.object().set_resident(false);
        self.ctx.object().deleted();
        let identity = self.ctx.identity();
        match cause {
            _ if !existed => {}
            Cause::Asked => event!(info, identity, "an object was deleted"),
            Cause::Expired => event!(info, identity, "an object has expired and was deleted"),
        }
        Ok(existed)
    }
}

impl<T: DurableObject> Object<T> {
    /// Ends what belongs to what was stored: instance, handlers, background futures, gates and sockets.
    fn deleted(self: &Arc<Self>) {
        self.sockets.dismiss_all(DELETED);
        self.start_over(&self.session(), &Arc::from(DELETED), || {});
    }
}
