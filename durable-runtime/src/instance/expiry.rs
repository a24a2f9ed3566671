//! Objects that delete themselves when nobody has used them for a time that their class gives.
//!
//! The guarantee: an object is deleted not before that time has passed since its last turn, reads included, by its own word
//! ([`storage::expiry`](crate::storage)), and not while it has something to do by itself, a socket that is open, or a handler that
//! runs. Who comes at the same time finds it as it was, or a new one.

use crate::DurableObject;
use crate::call::Failure;
use crate::instance::Live;
use crate::instance::delete::Cause;
use crate::instance::events::event;
use crate::storage::millis;

impl<T: DurableObject> Live<T> {
    /// Notes that a turn uses the object, if that has to be noted. A turn of its own: the one that uses it may only read.
    pub(super) fn note_use(&mut self) {
        if T::EXPIRES_AFTER.is_none() {
            return;
        }
        let now = millis(self.ctx.node().settings.time.now_or_system());
        if !self.ctx.store().is_lease_short(now) {
            return;
        }
        if let Err(failure) = self.own_turn(|ctx| ctx.store().renew_lease(now)) {
            event!(warn, self.ctx.identity(), reason = %failure, "that an object is in use could not be noted");
        }
    }

    /// Its time has come: deletes the object, unless it is in use.
    pub(super) fn expire(&mut self, now: i64, has_work: bool) -> Result<(), Failure> {
        let object = self.ctx.object();
        let is_in_use = has_work || object.is_pinned() || !object.sockets.is_empty() || {
            let duties = object.duties.lock();
            duties.runs_alarm || !duties.delivers_to.is_empty()
        };
        let is_expired = self.own_turn(|ctx| {
            let store = ctx.store();
            let Some(lease) = store.lease()? else { return Ok(false) };
            if is_in_use {
                store.put_lease(now)?;
            } else if !store.is_expired(lease, now) {
                // The class has got another time since.
                store.put_lease(lease.used)?;
            } else {
                return Ok(true);
            }
            Ok(false)
        })?;
        if is_expired {
            let _ = self.delete(Cause::Expired)?;
        }
        Ok(())
    }
}
