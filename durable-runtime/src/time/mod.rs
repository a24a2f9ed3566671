//! The runtime's time: what it is, and how to wait for it.
//!
//! Guarantees:
//! - Whatever the runtime waits for by time it waits for here, so a clock that a test moves by hand moves all of it.
//! - A wait never ends early, and ends in the order of its time. It needs no timer of the executor: a thread of its own
//!   wakes who is due, so a blocked executor delays nobody's turn but its own. The thread begins with the first wait.

mod deadlines;
pub(crate) mod recurrence;
pub(crate) mod retry;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::activity::Wait;
use crate::instance::turn::guarded;
use crate::observe::events::note;
use deadlines::{Deadlines, Ticket};

/// The thread looks at the clock at least this often while somebody waits: the system's clock may be set, and a
/// user's clock may jump.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Tells the time and wakes who waits for it.
pub(crate) struct Time {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether somebody else calls [`Time::wake_due`]: then there is no thread.
    is_manual: bool,
}

#[derive(Default)]
struct State {
    deadlines: Deadlines,
    has_thread: bool,
    is_over: bool,
}

impl Time {
    /// Time that passes by itself.
    pub(crate) fn new(clock: Clock) -> Time {
        Time::with(clock, false)
    }

    /// Time that passes for those who wait only when [`wake_due`](Time::wake_due) is called.
    pub(crate) fn manual(clock: Clock) -> Time {
        Time::with(clock, true)
    }

    fn with(clock: Clock, is_manual: bool) -> Time {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Time { shared: Arc::new(Shared { clock, state, changed, is_manual }) }
    }

    /// The time. Panics if a user's clock does: to be called inside a turn, which guards it.
    pub(crate) fn now(&self) -> SystemTime {
        (self.shared.clock)()
    }

    /// The time, from a clock that may panic: the system's time then.
    pub(crate) fn now_or_system(&self) -> SystemTime {
        self.shared.now()
    }

    /// Waits for so long.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.shared.now().checked_add(duration).unwrap_or_else(far_away))
    }

    /// Waits for so long, as a limit of something else that is waited for.
    pub(crate) fn limit(&self, duration: Duration) -> Sleep {
        let mut sleep = self.sleep(duration);
        sleep.is_limit = true;
        sleep
    }

    /// Waits until that time.
    pub(crate) fn sleep_until(&self, time: SystemTime) -> Sleep {
        Sleep { shared: Arc::clone(&self.shared), time, ticket: None, is_limit: false, wait: None }
    }

    /// The earliest time that somebody waits for.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn earliest(&self) -> Option<SystemTime> {
        self.shared.state.lock().deadlines.earliest()
    }

    /// Wakes all whose time has come.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn wake_due(&self) {
        self.shared.wake_due();
    }
}

/// A time that nobody lives to see, within what every platform can hold.
fn far_away() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4 * u64::from(u32::MAX))
}

impl Shared {
    /// The time, also from a clock that panics. Not to be called under the lock: the clock may be a user's.
    fn now(&self) -> SystemTime {
        guarded(|| (self.clock)()).unwrap_or_else(|message| {
            note!(error, reason = message, "the clock panicked; the system's is used");
            SystemTime::now()
        })
    }

    fn wake_due(&self) {
        let now = self.now();
        let due = self.state.lock().deadlines.take_due(now);
        due.into_iter().for_each(std::task::Waker::wake);
    }

    /// Sees to it that somebody wakes the first waiter.
    fn first_has_changed(self: &Arc<Self>, state: &mut State) {
        if self.is_manual || state.is_over {
            return;
        }
        if state.has_thread {
            self.changed.notify_one();
            return;
        }
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("durable-clock".into());
        match thread.spawn(move || shared.run()) {
            Ok(_) => state.has_thread = true,
            // Tried again with the next wait.
            Err(error) => {
                note!(error, reason = %error, "the thread that wakes waiters cannot be started");
            }
        }
    }

    /// Wakes waiters until the end. Costs nothing while nobody waits.
    fn run(&self) {
        loop {
            self.wake_due();
            let now = self.now();
            let mut state = self.state.lock();
            if state.is_over {
                return;
            }
            match state.deadlines.earliest() {
                None => self.changed.wait(&mut state),
                Some(earliest) => {
                    let wait = earliest.duration_since(now).unwrap_or_default().min(LOOK);
                    if !wait.is_zero() {
                        self.changed.wait_for(&mut state, wait);
                    }
                }
            }
        }
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// A wait for a time: ready when the runtime's clock has reached it.
#[must_use = "a wait does nothing until it is awaited"]
pub(crate) struct Sleep {
    shared: Arc<Shared>,
    time: SystemTime,
    ticket: Option<Ticket>,
    /// Whoever waits for it waits for something else in the first place.
    is_limit: bool,
    wait: Option<Wait>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        if now >= self.time {
            if let Some(ticket) = self.ticket.take() {
                state.deadlines.remove(ticket);
            }
            self.wait = None;
            return Poll::Ready(());
        }
        if self.wait.is_none() && !self.is_limit {
            self.wait = Wait::here();
        }
        if self.ticket.is_some_and(|ticket| state.deadlines.renew(ticket, task.waker())) {
            return Poll::Pending;
        }
        // New, or woken by a clock that went back since.
        let (ticket, is_first) = state.deadlines.add(self.time, task.waker().clone());
        self.ticket = Some(ticket);
        if is_first {
            shared.first_has_changed(&mut state);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.state.lock().deadlines.remove(ticket);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep(until {:?})", self.time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    use super::*;

    fn by_hand() -> (Time, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(100));
        let clock = Arc::clone(&seconds);
        let clock =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
        (Time::manual(Arc::new(clock)), seconds)
    }

    fn is_ready(sleep: &mut Sleep) -> bool {
        Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_wait_ends_when_the_clock_says_so_and_not_before() {
        let (time, seconds) = by_hand();
        let mut sleep = time.sleep(Duration::from_secs(5));
        assert!(!is_ready(&mut sleep));
        seconds.store(104, Ordering::Relaxed);
        time.wake_due();
        assert!(!is_ready(&mut sleep));
        assert_eq!(time.earliest(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(105)));
        seconds.store(105, Ordering::Relaxed);
        time.wake_due();
        assert_eq!(time.earliest(), None);
        assert!(is_ready(&mut sleep));
    }

    #[test]
    fn a_clock_that_went_back_after_the_wake_makes_the_wait_longer() {
        let (time, seconds) = by_hand();
        let mut sleep = time.sleep(Duration::from_secs(5));
        assert!(!is_ready(&mut sleep));
        seconds.store(105, Ordering::Relaxed);
        time.wake_due();
        seconds.store(90, Ordering::Relaxed);
        assert!(!is_ready(&mut sleep));
        assert!(time.earliest().is_some(), "it must be woken once more");
    }

    #[test]
    fn a_dropped_wait_is_nobodys() {
        let (time, _) = by_hand();
        let mut sleep = time.sleep(Duration::from_secs(5));
        assert!(!is_ready(&mut sleep));
        drop(sleep);
        assert_eq!(time.earliest(), None);
    }

    #[test]
    fn a_wait_for_ever_is_no_overflow() {
        let (time, _) = by_hand();
        assert!(!is_ready(&mut time.sleep(Duration::MAX)));
    }

    #[test]
    fn the_thread_wakes_who_is_due() {
        let time = Time::new(Arc::new(SystemTime::now));
        let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
        executor.block_on(async {
            time.sleep(Duration::from_millis(2)).await;
            time.sleep(Duration::ZERO).await;
            let (long, short) =
                (time.sleep(Duration::from_mins(10)), time.sleep(Duration::from_millis(1)));
            let mut long = std::pin::pin!(long);
            tokio::select! {
                () = &mut long => panic!("too early"),
                () = short => {}
            }
        });
    }
}
