//! When a commit is durable.
//!
//! The guarantee: a [`Receipt`] says *durable* only after the flush that holds its commit has returned
//! without an error, and one that can never become durable says why. Waiters are woken in the
//! order in which their commits lie in the journal. A receipt that is dropped leaves nothing behind.
//!
//! No executor is needed: a receipt takes any waker.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, OnceLock};
use crate::{Error, Result};

/// Counts the appends of one journal. What is durable is a prefix of them.
pub(crate) type Ticket = u64;

/// A ticket that no append ever gets: who waits for it waits for the failure.
const NEVER: Ticket = Ticket::MAX;

/// How far a journal is durable, and who waits for it to be.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    durable: AtomicU64,
    failure: OnceLock<Error>,
    waiting: Mutex<Waiting>,
}

/// The wakers by ticket and by a number of their own, since several may wait for one ticket.
#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<(Ticket, u64), Waker>,
    last: u64,
}

impl Watermark {
    /// Makes all tickets up to this one durable and wakes who waits for them.
    pub(crate) fn advance(&self, ticket: Ticket) {
        debug_assert!(ticket < NEVER && self.failure.get().is_none());
        self.durable.store(ticket, Ordering::Release);
        // After the store: who registers later takes the lock later, and looks again under it.
        let woken = {
            let mut waiting = self.waiting.lock();
            let later = waiting.wakers.split_off(&(ticket + 1, 0));
            std::mem::replace(&mut waiting.wakers, later)
        };
        wake(woken);
    }

    /// Nothing more becomes durable. The first failure is the one that counts.
    pub(crate) fn fail(&self, error: Error) {
        let _ = self.failure.set(error);
        let woken = std::mem::take(&mut self.waiting.lock().wakers);
        wake(woken);
    }

    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    pub(crate) fn durable(&self) -> Ticket {
        self.durable.load(Ordering::Acquire)
    }

    fn outcome(&self, ticket: Ticket) -> Option<Result<()>> {
        if self.durable() >= ticket {
            return Some(Ok(()));
        }
        let error = self.failure.get()?;
        // Looked at again: the last flush may have come between the two, and after a failure comes none.
        Some(if self.durable() >= ticket { Ok(()) } else { Err(error.clone()) })
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiters(&self) -> usize {
        self.waiting.lock().wakers.len()
    }
}

/// A waker is code of an executor. If one panics, the others are woken all the same.
fn wake(wakers: BTreeMap<(Ticket, u64), Waker>) {
    for waker in wakers.into_values() {
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            tracing::error!("a waker panicked");
        }
    }
}

/// Says when a commit is durable: the output gate waits for it.
#[derive(Clone, Debug)]
#[must_use = "nothing may leave the object before the receipt says that its commit is durable"]
pub(crate) struct Receipt {
    /// `None`: durable.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    watermark: Arc<Watermark>,
    ticket: Ticket,
    /// The number under which a waker is registered; 0 for none.
    waiter: u64,
}

impl Clone for Pending {
    /// The clone waits by itself.
    fn clone(&self) -> Self {
        Pending { watermark: Arc::clone(&self.watermark), ticket: self.ticket, waiter: 0 }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.waiter != 0 && self.watermark.outcome(self.ticket).is_none() {
            self.watermark.waiting.lock().wakers.remove(&(self.ticket, self.waiter));
        }
    }
}

impl Receipt {
    /// A receipt for what is durable already.
    pub(crate) fn durable() -> Self {
        Receipt { pending: None }
    }

    /// A receipt for an append.
    pub(crate) fn pending(watermark: &Arc<Watermark>, ticket: Ticket) -> Self {
        Receipt { pending: Some(Pending { watermark: Arc::clone(watermark), ticket, waiter: 0 }) }
    }

    /// A receipt that is never durable and never fails.
    pub(crate) fn never() -> Self {
        Self::failure(&Arc::default())
    }

    /// A receipt that only ever says why the journal failed.
    pub(crate) fn failure(watermark: &Arc<Watermark>) -> Self {
        Self::pending(watermark, NEVER)
    }

    /// Whether waiting would take no time and succeed.
    pub(crate) fn is_durable(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.watermark.durable() >= pending.ticket)
    }

    /// Ready when the commit is durable, or with the error when it cannot become durable any more.
    /// The latest waker is the one that is woken.
    pub(crate) fn poll_durable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Ok(())) };
        let watermark = &pending.watermark;
        if let Some(outcome) = watermark.outcome(pending.ticket) {
            return Poll::Ready(outcome);
        }
        let mut waiting = watermark.waiting.lock();
        // Under the lock again: whoever wakes takes it after changing the outcome.
        if let Some(outcome) = watermark.outcome(pending.ticket) {
            return Poll::Ready(outcome);
        }
        if pending.waiter == 0 {
            waiting.last += 1;
            pending.waiter = waiting.last;
        }
        let key = (pending.ticket, pending.waiter);
        let replaced = waiting.wakers.insert(key, cx.waker().clone());
        // A waker may run code of others when it is dropped.
        drop(waiting);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the commit is durable.
    ///
    /// # Errors
    /// When it cannot become durable any more.
    pub(crate) async fn wait(mut self) -> Result<()> {
        poll_fn(|cx| self.poll_durable(cx)).await
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;
    use crate::ErrorKind;

    /// Notes its name when it is woken.
    struct Noted(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn poll(receipt: &mut Receipt, waker: &Waker) -> Poll<Result<()>> {
        receipt.poll_durable(&mut Context::from_waker(waker))
    }

    #[test]
    fn what_is_durable_is_ready() {
        let mut receipt = Receipt::durable();
        assert!(receipt.is_durable());
        assert_eq!(poll(&mut receipt, Waker::noop()), Poll::Ready(Ok(())));
    }

    #[test]
    fn waiters_wake_in_the_order_of_their_commits_and_only_then() {
        let watermark = Arc::new(Watermark::default());
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut receipts = Vec::new();
        for (ticket, name) in [(3, "c"), (1, "a"), (2, "b"), (4, "d")] {
            let mut receipt = Receipt::pending(&watermark, ticket);
            let waker = Waker::from(Arc::new(Noted(name, Arc::clone(&log))));
            assert_eq!(poll(&mut receipt, &waker), Poll::Pending);
            receipts.push(receipt);
        }
        watermark.advance(3);
        assert_eq!(*log.lock(), ["a", "b", "c"]);
        assert!(receipts[0].is_durable() && !receipts[3].is_durable());
        watermark.advance(4);
        assert_eq!(*log.lock(), ["a", "b", "c", "d"]);
        assert_eq!(watermark.waiters(), 0);
    }

    #[test]
    fn dropped_and_replaced_waiters_leave_nothing() {
        let watermark = Arc::new(Watermark::default());
        let mut receipt = Receipt::pending(&watermark, 1);
        let old = Arc::new(Flag(AtomicBool::new(false)));
        assert_eq!(poll(&mut receipt, &Waker::from(Arc::clone(&old))), Poll::Pending);
        let mut clone = receipt.clone();
        assert_eq!(poll(&mut clone, Waker::noop()), Poll::Pending);
        assert_eq!(poll(&mut receipt, Waker::noop()), Poll::Pending);
        assert_eq!(watermark.waiters(), 2);
        drop(clone);
        assert_eq!(watermark.waiters(), 1);
        watermark.advance(1);
        assert!(!old.0.load(Ordering::SeqCst), "the replaced waker was woken");
        drop(receipt);
        assert_eq!(watermark.waiters(), 0);
    }

    #[test]
    fn a_failure_reaches_all_but_the_durable() {
        let watermark = Arc::new(Watermark::default());
        let mut receipts = [1, 2, NEVER].map(|ticket| Receipt::pending(&watermark, ticket));
        watermark.advance(1);
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        for receipt in &mut receipts[1..] {
            assert_eq!(poll(receipt, &Waker::from(Arc::clone(&flag))), Poll::Pending);
        }
        watermark.fail(Error::new(ErrorKind::Storage, "broken"));
        watermark.fail(Error::new(ErrorKind::ShutDown, "too late"));
        assert!(flag.0.load(Ordering::SeqCst));
        assert_eq!(poll(&mut receipts[0], Waker::noop()), Poll::Ready(Ok(())));
        for receipt in &mut receipts[1..] {
            let Poll::Ready(Err(error)) = poll(receipt, Waker::noop()) else { panic!("not ready") };
            assert_eq!(error.message(), "broken");
            assert!(!receipt.is_durable());
        }
    }
}
