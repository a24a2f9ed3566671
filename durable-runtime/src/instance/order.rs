//! In which order the async handlers of an object begin.
//!
//! The guarantee: that of the turns that started them, on any executor. A handler is first polled after the one before it
//! has been, so what two of them do before their first wait happens in order. After that each goes on by itself.

use std::future::{Future, poll_fn};
use std::pin::pin;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::activity::waiting;

/// The order of the handlers of one object.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// Closed when the last one has begun, or never will.
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The place of one handler in the order.
#[derive(Debug)]
pub(crate) struct Place {
    before: Option<oneshot::Receiver<()>>,
    begun: oneshot::Sender<()>,
}

impl Starts {
    /// The next place.
    pub(crate) fn take_place(&self) -> Place {
        let (begun, receiver) = oneshot::channel();
        Place { before: self.last.lock().replace(receiver), begun }
    }
}

impl Place {
    /// Runs a future, whose first poll waits for its turn.
    pub(crate) async fn run<F: Future>(self, future: F) -> F::Output {
        if let Some(before) = self.before {
            // Nothing is sent: it is dropped.
            let _ = waiting(before).await;
        }
        let (mut future, mut begun) = (pin!(future), Some(self.begun));
        poll_fn(|task| {
            let polled = future.as_mut().poll(task);
            drop(begun.take());
            polled
        })
        .await
    }
}
