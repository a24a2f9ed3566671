//! The sockets of one object. They belong to the object, not to its instance, so they outlive evictions; a reset
//! forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::message::CloseFrame;
use super::shared::{Held, Shared};

/// A text that is answered without waking the object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AutoResponse {
    pub(super) request: Box<str>,
    pub(super) response: Bytes,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// From the oldest to the youngest.
    open: BTreeMap<u64, Arc<Shared>>,
    auto_response: Option<Arc<AutoResponse>>,
}

impl Sockets {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().open.is_empty()
    }

    /// Those with this tag, or all, from the oldest to the youngest.
    pub(super) fn list(&self, tag: Option<&str>) -> Vec<Arc<Shared>> {
        let inner = self.0.lock();
        let wanted = |socket: &&Arc<Shared>| tag.is_none_or(|tag| socket.has_tag(tag));
        inner.open.values().filter(wanted).cloned().collect()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.lock().open.contains_key(&id)
    }

    pub(super) fn insert(&self, socket: Arc<Shared>) {
        socket.meters.open.increment(1);
        self.0.lock().open.insert(socket.id, socket);
    }

    pub(super) fn remove(&self, id: u64) {
        let removed = self.0.lock().open.remove(&id);
        // Not under the lock.
        if let Some(socket) = removed {
            socket.meters.open.decrement(1);
        }
    }

    pub(super) fn auto_response(&self) -> Option<Arc<AutoResponse>> {
        self.0.lock().auto_response.clone()
    }

    pub(super) fn set_auto_response(&self, auto_response: Option<Arc<AutoResponse>>) {
        let replaced = std::mem::replace(&mut self.0.lock().auto_response, auto_response);
        drop(replaced);
    }

    /// Closes all, because the runtime shuts down.
    pub(crate) fn close_all(&self) {
        for socket in self.list(None) {
            socket.close(Held::No, restart());
        }
    }

    /// Closes all and forgets them, because their object is gone: it hears nothing of them any more.
    pub(crate) fn dismiss_all(&self, reason: &str) {
        let open = std::mem::take(&mut self.0.lock().open);
        for socket in open.into_values() {
            socket.dismiss(CloseFrame::of_runtime(1001, reason));
        }
    }

    /// Forgets all sockets. Their connections are gone when what this gives is dropped, which must not be under a lock.
    pub(crate) fn take_all(&self) -> Forgotten {
        Forgotten(std::mem::take(&mut self.0.lock().open))
    }
}

/// Sockets that their object does not have any more: their connections are dropped with this, without a close frame, and
/// nobody is told.
#[derive(Debug)]
pub(crate) struct Forgotten(BTreeMap<u64, Arc<Shared>>);

impl Drop for Forgotten {
    fn drop(&mut self) {
        for socket in self.0.values() {
            let _ = socket.lose("its object has forgotten it");
        }
    }
}

/// What clients are told at a shutdown: to come back.
pub(super) fn restart() -> CloseFrame {
    CloseFrame::of_runtime(1012, "service restart")
}
