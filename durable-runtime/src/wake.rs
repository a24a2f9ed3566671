//! Waking objects when their time has come: one task for each runtime.
//!
//! Guarantees:
//! - Who is due is woken in the order of the times, overdue ones at the start, and at most [`WOKEN_MAX`] at once, but for those
//!   that do not get on, behind a gate of their own: they keep nobody waiting for longer than [`SEAT_PATIENCE`].
//! - Nobody is woken twice at the same time: an object is looked for again only when its last run has ended.
//! - An object that could not be seen to is tried again later and later, and keeps no other from its turn.
//! - While nobody wants to be woken there is no timer, and no thread that waits for one.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::activity::waiting;
use crate::call::CallError;
use crate::engine::{Due, NEVER, ObjectKey};
use crate::instance::work::Woken;
use crate::node::Node;
use crate::observe::events::note;
use crate::storage::alarm::time_of;
use crate::storage::millis;
use crate::time::Sleep;

/// Objects that are being woken at the same time, as long as they get on.
pub(crate) const WOKEN_MAX: usize = 64;

/// How long all seats may be taken before there are more.
const SEAT_PATIENCE: Duration = Duration::from_secs(1);

/// The longest wait after a failure that was not the object's.
const WAIT_DOUBLINGS_MAX: u32 = 10;

/// How long an object is left alone whose queue is full: it works, and may have room at any moment.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// What is known of those who could not be woken.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// How often in a row.
    failures: Mutex<HashMap<ObjectKey, u32>>,
    /// Classes that the log has been told of.
    told: Mutex<HashSet<Arc<str>>>,
}

/// How long to leave alone what has failed so often.
fn back_off(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(WAIT_DOUBLINGS_MAX))
}

/// Wakes objects until the runtime ends. The node is held only while something is done.
pub(crate) async fn dispatch(node: Weak<Node>) {
    let seats = Arc::<Seats>::default();
    let mut failures = 0;
    while let Some(seat) = seats.take(&node).await {
        match waiting(next_due(&node)).await {
            Next::Due((_, object)) => {
                failures = 0;
                let Some(node) = node.upgrade() else { return };
                start(&node, object, seat);
            }
            Next::Failed => {
                failures += 1;
                let Some(wait) =
                    node.upgrade().map(|node| node.settings.time.sleep(back_off(failures)))
                else {
                    return;
                };
                wait.await;
            }
            Next::Over => return,
        }
    }
}

/// Bounds how many objects are woken at once, as long as they get on.
struct Seats {
    free: Semaphore,
    /// How many there are.
    count: AtomicUsize,
}

impl Default for Seats {
    fn default() -> Self {
        Seats { free: Semaphore::new(WOKEN_MAX), count: AtomicUsize::new(WOKEN_MAX) }
    }
}

impl Seats {
    /// Waits for a seat. If none gets free for a while, who has one waits for something else, such as a gate; so that others
    /// need not, there are twice as many then. `None` if the runtime has ended.
    async fn take(self: &Arc<Self>, node: &Weak<Node>) -> Option<Seat> {
        loop {
            let mut patience = node.upgrade()?.settings.time.limit(SEAT_PATIENCE);
            let mut free = pin!(self.free.acquire());
            let taken = poll_fn(|task| match free.as_mut().poll(task) {
                Poll::Ready(seat) => Poll::Ready(Some(seat)),
                Poll::Pending => Pin::new(&mut patience).poll(task).map(|()| None),
            });
            if let Some(seat) = waiting(taken).await {
                seat.ok()?.forget();
                return Some(Seat(Arc::clone(self)));
            }
            // A seat that is given up in between is counted, too: there may be one more than twice as many.
            let count = self.count.load(Ordering::Relaxed);
            self.count.fetch_add(count, Ordering::Relaxed);
            self.free.add_permits(count);
        }
    }
}

/// A place among those that are woken at once.
struct Seat(Arc<Seats>);

impl Drop for Seat {
    fn drop(&mut self) {
        // Those that were added go again.
        let one_less = |count: usize| (count > WOKEN_MAX).then(|| count - 1);
        if self.0.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            self.0.free.add_permits(1);
        }
    }
}

enum Next {
    Due(Due),
    /// The list of times cannot be read.
    Failed,
    /// The runtime has ended.
    Over,
}

/// Waits for the next object that is due, and takes it.
async fn next_due(node: &Weak<Node>) -> Next {
    let mut sleep: Option<(i64, Sleep)> = None;
    poll_fn(|task| {
        loop {
            let Some(node) = node.upgrade().filter(|node| !node.is_closing()) else {
                return Poll::Ready(Next::Over);
            };
            let Some(engine) = node.engine() else { return Poll::Ready(Next::Over) };
            let time = &node.settings.time;
            let found = engine.take_due(millis(time.now_or_system()));
            let earliest = match found {
                Ok(Some(due)) => return Poll::Ready(Next::Due(due)),
                Ok(None) => engine.earliest_wake(task.waker()),
                Err(error) => Err(error),
            };
            match earliest {
                Ok(None) => {
                    sleep = None;
                    return Poll::Pending;
                }
                Ok(Some(earliest)) => {
                    if sleep.as_ref().is_none_or(|(until, _)| *until != earliest) {
                        sleep = Some((earliest, time.sleep_until(time_of(earliest))));
                    }
                }
                Err(error) => {
                    note!(error, reason = %error, "it cannot be read which alarms are due");
                    return Poll::Ready(Next::Failed);
                }
            }
            if let Some((_, wait)) = &mut sleep
                && Pin::new(wait).poll(task).is_pending()
            {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Wakes one object, on a task that shutting down waits for.
fn start(node: &Arc<Node>, object: ObjectKey, seat: Seat) {
    let woken_by = Arc::clone(node);
    node.spawn(async move {
        let woken = match woken_by.class_of(&object.class) {
            Some(class) => class.wake(&woken_by, object.id).await,
            None => Woken::NoClass,
        };
        woken_by.trouble.settle(&woken_by, &object, woken);
        drop(seat);
    });
}

impl Trouble {
    /// Lets the object be found again, at once or after a while, whether it is taken or not. What nobody can run is not looked
    /// for again before the next start, when somebody may.
    pub(crate) fn settle(&self, node: &Node, object: &ObjectKey, woken: Woken) {
        let wait = match woken {
            Woken::Done => {
                self.failures.lock().remove(object);
                Duration::ZERO
            }
            Woken::Failed(CallError::ShutDown) if node.is_closing() => return,
            Woken::Failed(CallError::Overloaded { .. }) => QUEUE_WAIT,
            Woken::Failed(failure) => {
                let mut failures = self.failures.lock();
                let count = failures.entry(object.clone()).or_default();
                *count += 1;
                let wait = back_off(*count);
                note!(warn, class = %object.class, id = %object.id, reason = %failure, ?wait, "what an object has to do could not be done; it will be tried again");
                wait
            }
            Woken::NoHandler => {
                self.tell_once(&object.class);
                Duration::ZERO
            }
            Woken::NoClass => {
                self.tell_once(&object.class);
                Duration::MAX
            }
        };
        let Some(engine) = node.engine() else { return };
        if wait.is_zero() {
            engine.give_back(object);
        } else {
            let until = node.settings.time.now_or_system().checked_add(wait);
            engine.put_off(object, until.map_or(NEVER, millis));
        }
    }
}

impl Trouble {
    /// Tells the log of a class that cannot do what its objects wait for.
    fn tell_once(&self, class: &Arc<str>) {
        if self.told.lock().insert(Arc::clone(class)) {
            let class = &**class;
            note!(
                warn,
                class,
                "objects have alarms, and this program has no `alarm` handler for them"
            );
        }
    }
}

#[cfg(test)]
mod tests;
