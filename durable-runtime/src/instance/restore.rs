//! Restoring an object from outside, whether or not it can be activated: a newer program may have left it as this one cannot use it.
//!
//! The guarantee: a turn that ran before sees the object as it was, and none after it does. With the state ends the object's session, as
//! by an abort.

use std::sync::Arc;

use crate::DurableObject;
use crate::Result;
use crate::engine::Point;
use crate::instance::Live;
use crate::instance::turn::dispose;
use crate::storage::Wish;

/// What calls that wait and clients of WebSockets are told.
const RESTORED: &str = "the object is restored to an earlier state";

impl<T: DurableObject> Live<T> {
    /// Gives the commit before, to undo it.
    pub(crate) fn restore(&mut self, wish: Wish) -> Result<Point> {
        let now = self.ctx.node().settings.time.now_or_system();
        let was_active = self.ctx.store().is_active();
        let restored = self.ctx.store_mut().restore(wish, now);
        // If it has failed half way, the next activation goes on with it.
        if restored.is_ok() || (was_active && !self.ctx.store().is_active()) {
            self.end_restored();
        }
        restored
    }

    /// Ends what belongs to the object as it was: the instance, handlers, background futures, gates and sockets.
    pub(super) fn end_restored(&mut self) {
        dispose(self.instance.take());
        self.ctx.object().reset(&Arc::from(RESTORED));
    }
}
