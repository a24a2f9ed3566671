//! An operator's look into an object, or a change to it: a [visit], of which only the storage is known.
//!
//! The guarantee: no code of the object's runs. One that is in memory stays there, and after a change its instance is made anew; one
//! that is not stays so, and one that cannot be activated is looked at all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::DurableObject;
use crate::call::Failure;
use crate::id::RawId;
use crate::instance::turn::dispose;
use crate::instance::{Live, Object, visit};
use crate::storage::Store;

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
pub(crate) async fn operate<T: DurableObject>(
    object: Arc<Object<T>>,
    visit: Visit,
) -> Result<(), Failure> {
    let operate = |live: &mut Live<T>| {
        live.operate(visit);
        Ok(())
    };
    visit::visit(object, operate).await?
}

impl<T: DurableObject> Live<T> {
    fn operate(&mut self, visit: Visit) {
        match visit(self.ctx.store_mut()) {
            Aftermath::Nothing => {}
            Aftermath::Changed => dispose(self.instance.take()),
            Aftermath::Restored => self.end_restored(),
        }
    }
}

impl<T: DurableObject> Object<T> {
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
