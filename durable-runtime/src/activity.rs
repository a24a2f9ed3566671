//! Who is at work, for tests that wait until nobody is.
//!
//! The guarantee: whoever hands work on counts it before its own ends. So when nobody is at work at one moment, nothing
//! of the runtime's runs before somebody outside calls it or its clock moves.
//!
//! A task is at work from its start to its end, except while it waits for nothing but the runtime itself: for the clock,
//! for a turn, for a handler or a gate ([`Wait`]). Whoever it waits for is counted by itself. A task that waits for
//! anything else, such as a socket of the user's own, stays at work: nobody here can know when it goes on.
//!
//! Outside of tests nobody counts: there is no [`Activity`] then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::BoxFuture;

thread_local! {
    /// The task that is polled on this thread, if it is counted.
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// What a task or a turn is, in words.
type Label = Option<Arc<str>>;

/// All who are at work in one runtime.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By a number of their own.
    at_work: BTreeMap<u64, Label>,
    /// How often somebody began.
    begun: u64,
}

impl Activity {
    /// Counts as one more at work, for as long as the result lives.
    pub(crate) fn begin(self: &Arc<Self>) -> Work {
        self.begin_as(None)
    }

    fn begin_as(self: &Arc<Self>, label: Label) -> Work {
        let mut state = self.state.lock();
        state.begun += 1;
        let number = state.begun;
        state.at_work.insert(number, label);
        Work { activity: Arc::clone(self), number }
    }

    /// A task that is counted from now on.
    pub(crate) fn watch<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        future: F,
    ) -> Watched {
        let state = TaskState { work: Some(self.begin()), ..TaskState::default() };
        let task = Task { activity: Arc::clone(self), state: Mutex::new(state) };
        Watched { task: Arc::new(task), future: Box::pin(future) }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Activity {
    /// How often somebody began to work, if nobody is at work now.
    pub(crate) fn quiet_after(&self) -> Option<u64> {
        let state = self.state.lock();
        state.at_work.is_empty().then_some(state.begun)
    }

    /// Waits until nobody is at work, at one moment at least.
    #[cfg(feature = "testing")]
    pub(crate) async fn quiet(&self) {
        loop {
            // Made before the look, so that nothing between the two is missed.
            let ended = self.ended.notified();
            if self.quiet_after().is_some() {
                return;
            }
            ended.await;
        }
    }

    /// Who is at work, in words; each once.
    pub(crate) fn at_work(&self) -> Vec<Arc<str>> {
        let state = self.state.lock();
        let mut labels: Vec<_> = state.at_work.values().flatten().cloned().collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// Counts as somebody at work while it lives.
#[derive(Debug)]
pub(crate) struct Work {
    activity: Arc<Activity>,
    number: u64,
}

impl Drop for Work {
    fn drop(&mut self) {
        let is_quiet = {
            let mut state = self.activity.state.lock();
            state.at_work.remove(&self.number);
            state.at_work.is_empty()
        };
        if is_quiet {
            self.activity.ended.notify_waiters();
        }
    }
}

/// A counted task, as its wakers see it.
struct Task {
    activity: Arc<Activity>,
    state: Mutex<TaskState>,
}

#[derive(Default)]
struct TaskState {
    /// None while it waits for nothing but the runtime, and after its end.
    work: Option<Work>,
    /// How many things of the runtime's it waits for.
    waits: usize,
    /// Since its last poll began.
    was_woken: bool,
    is_over: bool,
    label: Label,
    /// Of the executor.
    waker: Option<Waker>,
}

impl TaskState {
    fn is_at_work(&mut self, activity: &Arc<Activity>) {
        if self.work.is_none() && !self.is_over {
            self.work = Some(activity.begin_as(self.label.clone()));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = {
            let mut state = self.state.lock();
            state.was_woken = true;
            state.is_at_work(&self.activity);
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A task that is counted: see [`Activity::watch`].
pub(crate) struct Watched {
    task: Arc<Task>,
    future: BoxFuture<()>,
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.task.state.lock();
            state.was_woken = false;
            state.waker = Some(context.waker().clone());
            state.is_at_work(&self.task.activity);
        }
        let waker = Waker::from(Arc::clone(&self.task));
        let current = Current::set(&self.task);
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(current);
        let mut state = self.task.state.lock();
        if polled.is_ready() {
            state.is_over = true;
        }
        let rests = state.is_over || (state.waits > 0 && !state.was_woken);
        let ended = if rests { state.work.take() } else { None };
        // It wakes who waits for quiet: not under the lock.
        drop(state);
        drop(ended);
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.task.state.lock();
        state.is_over = true;
        let ended = state.work.take();
        drop(state);
        drop(ended);
    }
}

/// Marks a task as the one that is polled on this thread.
struct Current {
    before: Option<Arc<Task>>,
}

impl Current {
    fn set(task: &Arc<Task>) -> Self {
        Current { before: CURRENT.replace(Some(Arc::clone(task))) }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Says in words what the task is that is polled now, if it is counted.
pub(crate) fn describe(words: impl FnOnce() -> String) {
    let Some(task) = CURRENT.with_borrow(Clone::clone) else { return };
    let label: Arc<str> = words().into();
    let mut state = task.state.lock();
    state.label = Some(Arc::clone(&label));
    if let Some(work) = &state.work {
        task.activity.state.lock().at_work.insert(work.number, Some(label));
    }
}

/// The task that made it waits for something of the runtime's, for as long as this lives.
pub(crate) struct Wait {
    task: Arc<Task>,
}

impl Wait {
    /// For the task that is polled now, if it is counted.
    pub(crate) fn here() -> Option<Wait> {
        let task = CURRENT.with_borrow(Clone::clone)?;
        task.state.lock().waits += 1;
        Some(Wait { task })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.task.state.lock().waits -= 1;
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

/// Awaits something that the runtime itself will see to.
pub(crate) async fn waiting<F: Future>(future: F) -> F::Output {
    let (mut future, mut wait) = (pin!(future), None);
    poll_fn(|task| {
        let polled = future.as_mut().poll(task);
        wait = if polled.is_pending() { wait.take().or_else(Wait::here) } else { None };
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn poll(task: &mut Watched) -> Poll<()> {
        Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_quiet(activity: &Activity) -> bool {
        activity.quiet_after().is_some()
    }

    #[test]
    fn a_task_is_at_work_until_it_waits_for_the_runtime_and_from_its_wake_on() {
        let activity = Arc::new(Activity::default());
        let (sender, receiver) = oneshot::channel::<()>();
        let mut task = activity.watch(async { waiting(receiver).await.unwrap() });
        assert!(!is_quiet(&activity), "it counts before its first poll");
        assert!(poll(&mut task).is_pending());
        assert!(is_quiet(&activity));
        sender.send(()).unwrap();
        assert!(!is_quiet(&activity), "it is to run");
        assert!(poll(&mut task).is_ready());
        assert!(is_quiet(&activity));
    }

    #[test]
    fn who_waits_for_something_else_stays_at_work_and_is_named() {
        let activity = Arc::new(Activity::default());
        let mut task = activity.watch(async {
            describe(|| "the stranger".to_owned());
            std::future::pending::<()>().await;
        });
        assert!(poll(&mut task).is_pending());
        assert_eq!(activity.at_work(), ["the stranger".into()]);
        drop(task);
        assert!(is_quiet(&activity), "a dropped task is over");
    }

    #[test]
    fn a_wait_that_was_polled_before_counts_although_it_is_not_polled_again() {
        let activity = Arc::new(Activity::default());
        let (first, one) = oneshot::channel::<()>();
        let (_second, two) = oneshot::channel::<()>();
        let mut one = Box::pin(waiting(one));
        let mut two = Box::pin(waiting(two));
        let mut polls = 0;
        let mut task = activity.watch(poll_fn(move |task| {
            polls += 1;
            let first = one.as_mut().poll(task).is_ready();
            // As joins of many futures do, which poll only those that were woken.
            if polls == 1 {
                assert!(two.as_mut().poll(task).is_pending());
            }
            assert_eq!(first, polls == 2);
            Poll::Pending
        }));
        assert!(poll(&mut task).is_pending());
        first.send(()).unwrap();
        assert!(poll(&mut task).is_pending());
        assert!(is_quiet(&activity));
    }

    #[test]
    fn who_is_woken_while_it_is_polled_is_to_run() {
        let activity = Arc::new(Activity::default());
        let (_sender, receiver) = oneshot::channel::<()>();
        let mut receiver = Box::pin(waiting(receiver));
        let mut task = activity.watch(poll_fn(move |task| {
            assert!(receiver.as_mut().poll(task).is_pending());
            task.waker().wake_by_ref();
            Poll::Pending
        }));
        assert!(poll(&mut task).is_pending());
        assert!(!is_quiet(&activity));
    }

    #[test]
    fn a_turn_counts_while_it_runs() {
        let activity = Arc::new(Activity::default());
        let work = activity.begin();
        assert!(!is_quiet(&activity));
        drop(work);
        assert_eq!(activity.quiet_after(), Some(1));
    }
}
