//! How much memory the node's changes take that no file has yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an object with such changes takes besides its pages.
const OBJECT_BYTES: usize = 1_024;

/// The sum over all objects, in bytes.
#[derive(Debug, Default)]
pub(super) struct Unwritten(AtomicUsize);

/// What one object adds to the sum; nothing any more once it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    sum: Arc<Unwritten>,
    bytes: AtomicUsize,
}

impl Unwritten {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { sum: Arc::clone(self), bytes: AtomicUsize::new(0) }
    }
}

impl Share {
    /// The object lags behind by pages of this size, or not at all. One thread at a time may say so.
    pub(super) fn set(&self, lag: Option<usize>) {
        let bytes = lag.map_or(0, |pages| pages + OBJECT_BYTES);
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        // The difference may be negative, and wrapping around is then the same as subtracting.
        self.sum.0.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(None);
    }
}
