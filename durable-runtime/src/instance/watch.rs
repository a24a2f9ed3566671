//! Sees turns that do not come to an end. Rust code that never returns cannot be interrupted, so somebody must be told.
//!
//! Guarantees:
//! - A turn that runs for longer than the threshold and half of it more is logged while it runs, and again each time
//!   that has doubled. It is told for how long it has surely run.
//! - A turn pays a few stores that no other thread waits for. While no turn runs, nobody looks.
//!
//! Every thread that runs turns has a [`Post`]: what it runs at the moment. A thread of the runtime looks at all of them
//! now and then; what it sees twice has run in between.

use std::cell::Cell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::instance::events::{event, note};
use crate::node::Node;

/// Less would be looking all the time.
const THRESHOLD_MIN: Duration = Duration::from_millis(1);

/// The longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// What one thread runs. Written by that thread, read by those that look.
#[derive(Debug)]
struct Post {
    /// Tells one thread from another.
    thread: u64,
    /// Goes up with every begin and every end: odd while a turn runs.
    count: AtomicU64,
    /// The address of the turn's object.
    object: AtomicUsize,
    /// Its method. Locked only when it is another one than that of the turn before.
    method: Mutex<&'static str>,
}

static POSTS: Mutex<Vec<Weak<Post>>> = Mutex::new(Vec::new());

thread_local! {
    static HERE: Here = Here::new();
}

/// The post of this thread, and what stands there.
struct Here {
    post: Arc<Post>,
    count: Cell<u64>,
    method: Cell<&'static str>,
}

impl Here {
    fn new() -> Self {
        static THREADS: AtomicU64 = AtomicU64::new(0);
        let post = Arc::new(Post {
            thread: THREADS.fetch_add(1, Ordering::Relaxed),
            count: AtomicU64::new(0),
            object: AtomicUsize::new(0),
            method: Mutex::new(""),
        });
        POSTS.lock().push(Arc::downgrade(&post));
        Here { post, count: Cell::new(0), method: Cell::new("") }
    }

    fn begin(&self, object: usize, method: &'static str) {
        if !std::ptr::eq(self.method.get(), method) {
            self.method.set(method);
            *self.post.method.lock() = method;
        }
        // With `Release`, so that whoever sees it sees also that the turn before has ended.
        self.post.object.store(object, Ordering::Release);
        self.step();
    }

    fn step(&self) {
        self.count.set(self.count.get() + 1);
        self.post.count.store(self.count.get(), Ordering::Release);
    }
}

/// A turn runs on this thread, until this is dropped.
#[derive(Debug)]
pub(crate) struct OnPost {
    here: PhantomData<*const ()>,
}

impl Drop for OnPost {
    fn drop(&mut self) {
        // A thread that ends runs nothing.
        let _ = HERE.try_with(Here::step);
    }
}

/// Looks at the turns of one node.
#[derive(Debug)]
pub(crate) struct Watch {
    threshold: Duration,
    /// Whether somebody looks, or nobody is to.
    is_awake: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_thread: bool,
    is_over: bool,
}

impl Watch {
    /// Tells of turns that run for longer than this; of none with [`Duration::MAX`].
    pub(crate) fn new(threshold: Duration) -> Arc<Self> {
        Arc::new(Watch {
            threshold: threshold.max(THRESHOLD_MIN),
            is_awake: AtomicBool::new(threshold == Duration::MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// A turn of the object at that address begins on this thread.
    #[inline]
    pub(crate) fn begin(
        self: &Arc<Self>,
        node: &Arc<Node>,
        object: usize,
        method: &'static str,
    ) -> OnPost {
        let _ = HERE.try_with(|here| here.begin(object, method));
        if !self.is_awake.load(Ordering::Relaxed) {
            self.wake(node);
        }
        OnPost { here: PhantomData }
    }

    #[cold]
    fn wake(self: &Arc<Self>, node: &Arc<Node>) {
        let mut state = self.state.lock();
        self.is_awake.store(true, Ordering::Relaxed);
        if state.has_thread || state.is_over {
            self.changed.notify_one();
            return;
        }
        let (watch, node) = (Arc::clone(self), Arc::downgrade(node));
        let thread = std::thread::Builder::new().name("durable-watch".into());
        match thread.spawn(move || watch.run(&node)) {
            Ok(_) => state.has_thread = true,
            // Not tried again: every turn would.
            Err(error) => {
                note!(error, reason = %error, "the thread that looks for long turns cannot be started");
            }
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_one();
    }

    fn run(&self, node: &Weak<Node>) {
        let mut sightings = Sightings::default();
        while self.wait() {
            let posts = posts();
            let counts = posts.iter().map(|post| (post.thread, post.count.load(Ordering::Acquire)));
            let look = sightings.look(Instant::now(), self.threshold, counts);
            for long in look.long {
                if let Some(post) = posts.iter().find(|post| post.thread == long.thread) {
                    tell(node, post, &long);
                }
            }
            // Nobody looks any more only after one more look: by then a turn that still saw somebody is to be seen.
            if self.is_awake.swap(look.is_lively, Ordering::Relaxed) || look.is_lively {
                continue;
            }
            let mut state = self.state.lock();
            while !state.is_over && !self.is_awake.load(Ordering::Relaxed) {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Until the next look; `false` if there is none.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_over {
            self.changed.wait_for(&mut state, (self.threshold / 2).min(LOOK_MAX));
        }
        !state.is_over
    }
}

fn posts() -> Vec<Arc<Post>> {
    let mut posts = POSTS.lock();
    posts.retain(|post| post.strong_count() > 0);
    posts.iter().filter_map(Weak::upgrade).collect()
}

/// Logs a long turn, if it is one of this node's and runs yet.
fn tell(node: &Weak<Node>, post: &Post, long: &Long) {
    let (object, method) = (post.object.load(Ordering::Acquire), *post.method.lock());
    let Some(identity) = node.upgrade().and_then(|node| node.identity_at(object)) else { return };
    if post.count.load(Ordering::Acquire) == long.count {
        let ran = long.ran;
        event!(warn, identity, method, ?ran, "a turn has run for long and is not done");
    }
}

/// What was seen so far: of each thread, the last count.
#[derive(Debug, Default)]
struct Sightings(HashMap<u64, Sighting>);

#[derive(Debug)]
struct Sighting {
    count: u64,
    since: Instant,
    /// From when on it is told of again.
    next: Duration,
}

/// What a look has shown.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    /// Whether a turn runs, or has run since the last look.
    is_lively: bool,
    /// What is to be told of.
    long: Vec<Long>,
}

/// A turn that runs for too long.
#[derive(Debug, PartialEq, Eq)]
struct Long {
    thread: u64,
    count: u64,
    ran: Duration,
}

impl Sightings {
    /// Takes note of the counts of all threads.
    fn look(
        &mut self,
        now: Instant,
        threshold: Duration,
        counts: impl Iterator<Item = (u64, u64)>,
    ) -> Look {
        let mut before = std::mem::take(&mut self.0);
        let mut look = Look { is_lively: false, long: Vec::new() };
        for (thread, count) in counts {
            let runs = count % 2 == 1;
            let known = before.remove(&thread).filter(|sighting| sighting.count == count);
            look.is_lively |= runs || known.is_none();
            let mut sighting = known.unwrap_or(Sighting { count, since: now, next: threshold });
            let ran = now.saturating_duration_since(sighting.since);
            if runs && ran >= sighting.next {
                look.long.push(Long { thread, count, ran });
                sighting.next = ran.saturating_mul(2);
            }
            self.0.insert(thread, sighting);
        }
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is told at each half second, of one thread with these counts.
    fn told(counts: &[u64]) -> Vec<Option<Duration>> {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let looks = (0_u32..).zip(counts).map(|(place, count)| {
            let look =
                sightings.look(start + place * SECOND / 2, SECOND, [(7, *count)].into_iter());
            assert!(look.long.iter().all(|long| (long.thread, long.count) == (7, *count)));
            look.long.first().map(|long| long.ran)
        });
        looks.collect()
    }

    #[test]
    fn a_turn_that_goes_on_is_told_of_again_when_it_has_doubled() {
        let second = |number| Some(number * SECOND);
        let expected = [None, None, second(1), None, second(2), None, None, None, second(4)];
        assert_eq!(told(&[1; 9]), expected);
    }

    #[test]
    fn turns_that_follow_each_other_are_not_one() {
        assert_eq!(told(&[1, 3, 5, 7, 9, 11, 13]), [None; 7]);
    }

    #[test]
    fn a_thread_that_rests_runs_nothing() {
        assert_eq!(told(&[2; 9]), [None; 9]);
    }

    #[test]
    fn it_is_quiet_when_nothing_has_run_since_the_last_look() {
        let mut sightings = Sightings::default();
        let mut is_lively =
            |count| sightings.look(Instant::now(), SECOND, [(7, count)].into_iter()).is_lively;
        assert_eq!(
            [2, 2, 4, 4, 5, 5, 6, 6].map(&mut is_lively),
            [true, false, true, false, true, true, true, false]
        );
    }
}
