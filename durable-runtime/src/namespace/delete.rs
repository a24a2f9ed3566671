//! Deleting objects from outside.

use super::Namespace;
use crate::engine::ObjectKey;
use crate::instance::delete;
use crate::instance::turn::in_a_turn;
use crate::{DurableObject, Error, ErrorKind, ObjectId, Result};

impl<T: DurableObject> Namespace<T> {
    /// Deletes an object: all that it has stored, its alarm, its timers, and the messages that it has not sent. Gives whether
    /// there was anything, once that is durable. An object that cannot be activated any more can be deleted, too.
    ///
    /// A call that is made at the same time finds either the object as it was or, afterwards, one that was never written;
    /// it never finds a part of it. What waits or is under way in the object when its turn to be deleted comes ends: calls that wait,
    /// async handlers and closed gates with [`CallError::Reset`](crate::CallError::Reset), where `started: false` says that trying
    /// again is safe; background futures are dropped, and WebSockets are closed with code 1001, without a close event. Messages that
    /// others send to it arrive at the new object.
    ///
    /// An object deletes itself with [`Context::delete_all`](crate::Context::delete_all): a handler of its own that awaits this
    /// ends with the rest.
    ///
    /// # Errors
    /// When the class is not registered, the id belongs to another class, the disk fails, or this is awaited
    /// inside a turn.
    pub async fn delete(&self, id: &ObjectId<T>) -> Result<bool> {
        if in_a_turn() {
            let text = "a turn cannot wait for the deletion of an object: use `ctx.wait_until`";
            return Err(Error::new(ErrorKind::Deadlock, text));
        }
        self.check(id)?;
        let object = self.class()?.object(&self.node, id.raw(), id.shared_name());
        delete::delete(object).await.map_err(|failure| Error::from(failure.widen::<Error>()))
    }

    /// Deletes an object as [`delete`](Self::delete) does, and with it everything that is kept of its past: no
    /// [bookmark](crate::Bookmark) of before leads anywhere any more, and when this returns, neither its file nor the history holds anything of it.
    /// Gives whether there was anything to delete.
    ///
    /// It takes as long as a checkpoint and the rewriting of all files of the history that hold something of the object: use `delete` where that does not matter.
    /// If it fails or the process ends meanwhile, the object may be deleted and not erased. Then call it again: also for an object that is not there
    /// any more it removes what is left. Of an object that others create anew meanwhile, the past goes, too.
    ///
    /// What was committed stands in the journal's files until they are written over: see the guide, "history".
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn erase(&self, id: &ObjectId<T>) -> Result<bool> {
        let existed = self.delete(id).await?;
        let object = ObjectKey { class: self.class()?.key.clone(), id: id.raw() };
        self.node.read(move |engine| engine.erase(&object)).await?;
        Ok(existed)
    }
}
