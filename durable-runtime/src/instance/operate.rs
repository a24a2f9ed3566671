//! An operator's look into an object, or a change to it, in the object's queue like any turn.
//!
//! The guarantee: no code of the object's runs. One that is in memory stays there, and after a change its instance is made anew; one
//! that is not stays so, and one that cannot be activated is looked at all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::DurableObject;
use crate::activity::waiting;
use crate::call::{CallError, Failure};
use crate::id::RawId;
use crate::instance::turn::dispose;
use crate::instance::{Job, Live, Object};
use crate::storage::Store;

/// What calls that wait and clients of WebSockets are told when an object is restored.
const RESTORED: &str = "the object is restored to an earlier state";

/// What a visit has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    Nothing,
    /// The instance may be behind its storage.
    Changed,
    /// The object is another one, and what belonged to the one before ends.
    Restored,
}

/// What is done with the storage of an object.
pub(crate) type Visit = Box<dyn FnOnce(&mut Store) -> Aftermath + Send>;

/// An object that is in memory, or was lately.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) id: RawId,
    pub(crate) name: Option<Arc<str>>,
    /// Turns that were run since it is known in this process.
    pub(crate) turns: u64,
    /// Calls that have no answer yet.
    pub(crate) waiting: usize,
    /// Memory of its database, in bytes, as of the last turn.
    pub(crate) bytes: usize,
    pub(crate) sockets: usize,
    pub(crate) is_resident: bool,
}

/// Has a visit made.
pub(crate) async fn visit<T: DurableObject>(
    object: Arc<Object<T>>,
    visit: Visit,
) -> Result<(), Failure> {
    let (sender, made) = oneshot::channel();
    object.submit_patiently(Box::new(Visiting { visit, sender })).await?;
    waiting(made).await.unwrap_or(Err(CallError::ShutDown))
}

struct Visiting {
    visit: Visit,
    sender: oneshot::Sender<Result<(), Failure>>,
}

impl<T: DurableObject> Job<T> for Visiting {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        let aftermath = (self.visit)(live.ctx.store_mut());
        if aftermath != Aftermath::Nothing {
            dispose(live.instance.take());
        }
        if aftermath == Aftermath::Restored {
            let object = Arc::clone(live.ctx.object());
            object.restored();
        }
        live.after_turn();
        let _ = self.sender.send(Ok(()));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }

    fn needs_no_instance(&self) -> bool {
        true
    }
}

impl<T: DurableObject> Object<T> {
    /// Ends what belongs to the object as it was: handlers, background futures, gates and sockets.
    fn restored(self: &Arc<Self>) {
        self.start_over(&self.session(), &Arc::from(RESTORED), || {});
    }

    /// What is known of it without a turn.
    pub(super) fn present(&self) -> Present {
        Present {
            id: self.identity.id,
            name: self.identity.name.get().cloned(),
            turns: self.turns.load(Ordering::Relaxed),
            waiting: self.unanswered.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            sockets: self.sockets.count(),
            is_resident: self.is_resident.load(Ordering::Relaxed),
        }
    }
}
