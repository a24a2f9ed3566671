//! The types of [`plain`](super) for loom, with as much of their interface as is used.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

pub(crate) use loom::sync::atomic;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A lock that knows no poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<V>(loom::sync::Mutex<V>);

/// The lock is let go for as long as a [`Condvar`] waits.
pub(crate) struct MutexGuard<'a, V>(Option<loom::sync::MutexGuard<'a, V>>);

impl<V> Mutex<V> {
    pub(crate) fn new(value: V) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, V> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }
}

impl<V> Deref for MutexGuard<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.0.as_ref().unwrap()
    }
}

impl<V> DerefMut for MutexGuard<'_, V> {
    fn deref_mut(&mut self) -> &mut V {
        self.0.as_mut().unwrap()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<V>(&self, guard: &mut MutexGuard<'_, V>) {
        let inner = guard.0.take().unwrap();
        guard.0 = Some(self.0.wait(inner).unwrap());
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A value that is set once: there for others a moment after it was set, and never half.
#[derive(Debug)]
pub(crate) struct OnceLock<V> {
    value: std::sync::OnceLock<V>,
    is_set: AtomicBool,
}

impl<V> Default for OnceLock<V> {
    fn default() -> Self {
        OnceLock { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
    }
}

impl<V> OnceLock<V> {
    pub(crate) fn set(&self, value: V) -> Result<(), V> {
        let set = self.value.set(value);
        // Also by whoever comes second: the plain one waits for the first.
        self.is_set.store(true, Ordering::Release);
        set
    }

    pub(crate) fn get(&self) -> Option<&V> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }
}

/// What tokio's promises about `notify_waiters`: it reaches whoever has called `notified` before, polled or not.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    calls: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    /// How many calls there were before.
    calls: usize,
}

impl Notify {
    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified { notify: self, calls: self.calls.load(Ordering::SeqCst) }
    }

    pub(crate) fn notify_waiters(&self) {
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.calls.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.notify.waiting.lock();
        if self.notify.calls.load(Ordering::SeqCst) != self.calls {
            return Poll::Ready(());
        }
        waiting.push(task.waker().clone());
        Poll::Pending
    }
}

/// Runs a test once for every order in which its threads can meet, if at most `interruptions` times one of them
/// has to wait where it could go on. Two or three find what there is to find; all orders would take hours.
pub(crate) fn in_every_order(interruptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(interruptions);
    model.check(test);
}

/// Polls a future each time that it is woken, and never without: a wake-up that is lost is a deadlock, which loom
/// finds.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let signal = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&signal));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut is_woken = signal.is_woken.lock();
        while !*is_woken {
            signal.woken.wait(&mut is_woken);
        }
        *is_woken = false;
    }
}

#[derive(Default)]
struct Woken {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock() = true;
        self.woken.notify_one();
    }
}
