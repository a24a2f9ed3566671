//! What a handler has done and not confirmed: the output gate of its whole run.
//!
//! The guarantee: what the framework carries out of a handler (its reply, its calls to objects) leaves
//! only when every turn that the handler had behind it by then is durable. A turn's own reply waits by
//! itself, in [`Call`](crate::Call), so there is something to remember only after
//! [`Handle::turn_unconfirmed`](crate::Handle::turn_unconfirmed).

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::Result;
use crate::engine::Receipt;
use crate::sync::Mutex;

/// The commits that a handler has made and not waited for.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed(Mutex<Vec<Receipt>>);

impl Unconfirmed {
    pub(crate) fn push(&self, receipt: Receipt) {
        let mut receipts = self.0.lock();
        receipts.retain(|receipt| !receipt.is_durable());
        receipts.push(receipt);
    }

    /// What an output that leaves now must wait for, if anything.
    pub(crate) fn barrier(&self) -> Option<Barrier> {
        let mut receipts = self.0.lock();
        receipts.retain(|receipt| !receipt.is_durable());
        (!receipts.is_empty()).then(|| Barrier(receipts.clone()))
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// When one can no longer become durable.
    pub(crate) async fn wait(&self) -> Result<()> {
        let Some(mut barrier) = self.barrier() else { return Ok(()) };
        std::future::poll_fn(|task| barrier.poll_durable(task)).await
    }
}

/// Commits that must be durable before an output may leave.
#[derive(Debug)]
pub(crate) struct Barrier(Vec<Receipt>);

impl Barrier {
    pub(crate) fn poll_durable(&mut self, task: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(receipt) = self.0.last_mut() {
            ready!(receipt.poll_durable(task))?;
            self.0.pop();
        }
        Poll::Ready(Ok(()))
    }
}

/// When a call may leave its caller, and when its reply may.
#[derive(Debug, Default)]
pub(crate) enum Passage {
    /// The call waits for what its handler has not confirmed, its reply for what the turn may have seen.
    #[default]
    Outward,
    /// A turn of the handler's own object: it is no output, and only its reply waits.
    Own,
    /// Neither waits; the handler remembers the turn.
    Unconfirmed(Vec<Arc<Unconfirmed>>),
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(test)]
mod tests;
