//! Earlier states of objects, from outside.

use std::time::SystemTime;

use super::Namespace;
use crate::instance::Live;
use crate::instance::turn::in_a_turn;
use crate::instance::visit::visit;
use crate::storage::millis;
use crate::{Bookmark, DurableObject, Error, ErrorKind, ObjectId, Restore, Result};

impl<T: DurableObject> Namespace<T> {
    /// The object's state now, to come back to. The object is not activated for it.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when nothing of the object is stored; and when the class is not registered, the id belongs to
    /// another class, the disk fails, or this is awaited inside a turn.
    pub async fn current_bookmark(&self, id: &ObjectId<T>) -> Result<Bookmark> {
        let point = self.visit(id, |live| live.store().current_commit()).await?;
        Ok(Bookmark::new(id.raw(), point))
    }

    /// The object's state at a time: see [`Context::bookmark_for_time`](crate::Context::bookmark_for_time). The object is not activated
    /// for it.
    ///
    /// # Errors
    /// As there, and as [`current_bookmark`](Self::current_bookmark).
    pub async fn bookmark_for_time(&self, id: &ObjectId<T>, time: SystemTime) -> Result<Bookmark> {
        let point = self.visit(id, move |live| live.store().commit_at(millis(time))).await?;
        Ok(Bookmark::new(id.raw(), point))
    }

    /// Makes the object what it was at a bookmark, and gives the bookmark to undo that: see
    /// [`Context::restore_on_next_session`](crate::Context::restore_on_next_session) for what is restored, and [`Restore`] for what else can be said.
    /// The object is reset, as by [`Context::abort`](crate::Context::abort). Also for an object that was deleted since, as long as its history is kept, and for one that
    /// cannot be activated, because a migration fails or a newer program has used it.
    ///
    /// ```
    /// # use durable_runtime::{Bookmark, DurableObject, Namespace, ObjectId, Restore, Result};
    /// # async fn example<T: DurableObject>(rooms: Namespace<T>, id: ObjectId<T>, bookmark: Bookmark) -> Result<()> {
    /// let undo = rooms.restore(&id, &bookmark).await?;
    /// rooms.restore(&id, Restore::to(&undo).fire_overdue()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a bookmark of another object, [`ErrorKind::NotKept`] when that state is not kept,
    /// [`ErrorKind::Migration`] when its schema is newer than the program's: the object is reset then at most. And as
    /// [`current_bookmark`](Self::current_bookmark).
    pub async fn restore(&self, id: &ObjectId<T>, to: impl Into<Restore>) -> Result<Bookmark> {
        let wish = to.into().wish_of(id.raw())?;
        let undo = self.visit(id, move |live| live.restore(wish)).await?;
        Ok(Bookmark::new(id.raw(), undo))
    }

    /// Runs code in an object, whether or not it can be activated.
    async fn visit<R: Send + 'static>(
        &self,
        id: &ObjectId<T>,
        code: impl FnOnce(&mut Live<T>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        if in_a_turn() {
            let text = "a turn cannot wait for another one: use `ctx`, or `ctx.wait_until`";
            return Err(Error::new(ErrorKind::Deadlock, text));
        }
        self.check(id)?;
        let object = self.class()?.object(&self.node, id.raw(), id.shared_name());
        visit(object, code).await.map_err(|failure| Error::from(failure.widen::<Error>()))?
    }
}
