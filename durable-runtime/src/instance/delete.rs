//! Deleting an object from outside, whether or not it is in memory.
//!
//! The guarantee: a turn that ran before sees the object, and none after it does. The deletion is one commit, in the object's queue like any
//! turn; with it ends the object's session, so that no handler and no instance of before goes on, and whoever waits is told. What
//! comes later finds an object that was never written.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::activity::waiting;
use crate::call::{CallError, Failure};
use crate::engine::Receipt;
use crate::instance::events::event;
use crate::instance::turn::dispose;
use crate::instance::{Job, Live, Object};
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

/// What a deletion gave: whether there was something to delete, and when that is durable.
type Deleted = Result<(bool, Receipt), Failure>;

/// Deletes what the object has stored; gives whether there was anything.
pub(crate) async fn delete<T: DurableObject>(object: Arc<Object<T>>) -> Result<bool, Failure> {
    let (sender, done) = oneshot::channel();
    object.submit_patiently(Box::new(Deletion { sender })).await?;
    let (existed, receipt) = waiting(done).await.unwrap_or(Err(CallError::ShutDown))?;
    receipt.wait().await.map_err(CallError::StorageFailed)?;
    Ok(existed)
}

struct Deletion {
    sender: oneshot::Sender<Deleted>,
}

impl<T: DurableObject> Job<T> for Deletion {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        let deleted = live.delete(Cause::Asked);
        let _ = self.sender.send(deleted);
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }

    fn needs_no_instance(&self) -> bool {
        true
    }
}

impl<T: DurableObject> Live<T> {
    pub(super) fn delete(&mut self, cause: Cause) -> Deleted {
        let existed = self.ctx.store_mut().delete().map_err(CallError::StorageFailed)?;
        let receipt = self.ctx.store().receipt();
        dispose(self.instance.take());
        self.ctx.object().set_resident(false);
        self.ctx.object().deleted();
        let identity = self.ctx.identity();
        match cause {
            _ if !existed => {}
            Cause::Asked => event!(info, identity, "an object was deleted"),
            Cause::Expired => event!(info, identity, "an object has expired and was deleted"),
        }
        Ok((existed, receipt))
    }
}

impl<T: DurableObject> Object<T> {
    /// Ends what belongs to what was stored: instance, handlers, background futures, gates and sockets.
    fn deleted(self: &Arc<Self>) {
        self.sockets.dismiss_all(DELETED);
        self.start_over(&self.session(), &Arc::from(DELETED), || {});
    }
}
