//! From one reset of an object to the next.
//!
//! Guarantees:
//! - A reset ends a session once, with one reason, under the lock of the object's queue: a turn of a session
//!   that is over is not committed, and an instance of one is never used again.
//! - An object with a pinned session is not evicted.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Notify, OnceLock};

use super::order::Starts;

/// Something that happens at most once, for a reason.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    reason: OnceLock<Arc<str>>,
    happened: Notify,
}

impl Signal {
    /// Says why. The first reason stays. [`wake`](Signal::wake) follows, outside of locks.
    pub(crate) fn set(&self, reason: &Arc<str>) {
        let _ = self.reason.set(Arc::clone(reason));
    }

    /// Wakes all who wait.
    pub(crate) fn wake(&self) {
        self.happened.notify_waiters();
    }

    pub(crate) fn reason(&self) -> Option<&Arc<str>> {
        self.reason.get()
    }

    /// Waits until it happens.
    pub(crate) async fn wait(&self) -> Arc<str> {
        loop {
            // Made before the look, so that nothing between the two is missed.
            let happened = self.happened.notified();
            if let Some(reason) = self.reason() {
                return Arc::clone(reason);
            }
            happened.await;
        }
    }
}

/// What lives until the object is reset: its instance, its handlers, background futures and gates.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) over: Signal,
    /// Of its async handlers.
    pub(crate) starts: Starts,
    pins: AtomicUsize,
}

impl Session {
    pub(crate) fn is_over(&self) -> bool {
        self.over.reason().is_some()
    }

    /// Whether something is pending that wants the object in memory.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// Keeps the object in memory for as long as the pin lives.
    pub(crate) fn pin(self: &Arc<Self>) -> SessionPin {
        self.pins.fetch_add(1, Ordering::Relaxed);
        SessionPin { session: Arc::clone(self) }
    }
}

/// See [`Session::pin`].
#[derive(Debug)]
pub(crate) struct SessionPin {
    session: Arc<Session>,
}

impl Drop for SessionPin {
    fn drop(&mut self) {
        self.session.pins.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
