//! User code that misbehaves where nobody expects it: in a clock, in a `Drop`, in what it hands over.
//! The object answers afterwards, and the runtime shuts down.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::SystemTime;

use durable::prelude::*;
use durable_tests::{Bed, Form, on_many_threads, on_one_thread, poll_once};
use serde::{Deserialize, Serialize};

/// Meeting points of a test with a turn that blocks its thread.
#[derive(Clone)]
struct Gate {
    entered: Arc<Barrier>,
    leave: Arc<Barrier>,
}

impl Gate {
    fn new() -> Self {
        let barrier = || Arc::new(Barrier::new(2));
        Gate { entered: barrier(), leave: barrier() }
    }
}

/// What a background future found.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<Option<String>>>);

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the second panic");
    }
}

/// Carries whatever else the caller owns.
#[derive(Serialize, Deserialize)]
struct Luggage {
    #[serde(skip)]
    _contents: Option<Box<dyn std::any::Any + Send>>,
}

#[derive(Default)]
struct Victim;

#[durable_object]
impl Victim {
    pub fn put(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("key", &1)
    }

    pub fn ping(&self) -> u8 {
        1
    }

    pub fn panic_with_a_bomb(&mut self) {
        std::panic::panic_any(Bomb)
    }

    pub fn carry(&self, luggage: Luggage) {
        drop(luggage);
    }

    pub fn hold(&mut self, ctx: &Context) -> Result<()> {
        let gate = ctx.env::<Gate>()?;
        gate.entered.wait();
        gate.leave.wait();
        Ok(())
    }

    /// Holds the object, and calls another one afterwards, in the background.
    pub fn hold_then_call(&mut self, ctx: &Context) -> Result<()> {
        let found = ctx.env::<Found>()?.clone();
        let other = ctx.namespace::<Victim>().get_by_name("other");
        ctx.wait_until(async move {
            let answer = format!("{:?}", other.put().await);
            *found.0.lock().unwrap() = Some(answer);
        });
        self.hold(ctx)
    }
}

#[test]
fn the_executor_of_the_start_may_be_gone() {
    let bed = Bed::new(Form::Moved);
    let first = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder = bed.builder().register::<Victim>();
    let runtime = first.block_on(async { builder.start().await.unwrap() });
    drop(first);
    on_one_thread(async {
        // Nobody is left to activate the object; the caller is told, and does not wait for ever.
        let refused = runtime.get::<Victim>("a").ping().await.unwrap_err();
        assert!(matches!(refused, CallError::Reset { started: false, .. }), "{refused:?}");
    });
}

#[test]
fn a_clock_that_panics_fails_the_turn_and_nothing_else() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let fails = Arc::new(AtomicBool::new(false));
        let clock = {
            let fails = fails.clone();
            move || {
                assert!(!fails.load(Ordering::SeqCst), "no time");
                SystemTime::now()
            }
        };
        let runtime = bed.builder().register::<Victim>().clock(clock).start().await.unwrap();
        let stub = runtime.get::<Victim>("a");
        stub.ping().await.unwrap();
        fails.store(true, Ordering::SeqCst);
        let failed = stub.put().await.unwrap_err();
        assert!(matches!(failed, CallError::Panicked { .. }), "{failed:?}");
        fails.store(false, Ordering::SeqCst);
        stub.put().await.unwrap();
        runtime.shutdown().await.unwrap();
    });
}

#[test]
fn a_panic_whose_payload_panics_is_one_error() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Victim>().start().await.unwrap();
        let stub = runtime.get::<Victim>("a");
        let failed = stub.panic_with_a_bomb().await.unwrap_err();
        assert!(matches!(failed, CallError::Panicked { .. }), "{failed:?}");
        assert_eq!(stub.ping().await.unwrap(), 1);
        runtime.shutdown().await.unwrap();
    });
}

#[test]
fn a_shutdown_keeps_every_object_open_that_background_work_may_need() {
    on_many_threads(async {
        let (bed, gate, found) = (Bed::new(Form::Moved), Gate::new(), Found::default());
        let builder = bed.builder().register::<Victim>().env(gate.clone()).env(found.clone());
        let runtime = builder.start().await.unwrap();
        let stub = runtime.get::<Victim>("a");
        stub.put().await.unwrap();
        runtime.get::<Victim>("other").put().await.unwrap();
        let holder = std::thread::spawn(move || {
            on_one_thread(async move { stub.hold_then_call().await.unwrap() });
        });
        gate.entered.wait();
        let mut shutdown = Box::pin(runtime.shutdown());
        for _ in 0..100 {
            assert!(poll_once(&mut shutdown).is_pending());
            tokio::task::yield_now().await;
        }
        gate.leave.wait();
        shutdown.await.unwrap();
        holder.join().unwrap();
        assert_eq!(found.0.lock().unwrap().as_deref(), Some("Ok(())"));
    });
}

#[test]
fn refused_arguments_may_hold_a_call_to_the_same_object() {
    on_one_thread(async {
        let (bed, gate) = (Bed::new(Form::Moved), Gate::new());
        let builder = bed.builder().register::<Victim>().queue_limit(1).env(gate.clone());
        let runtime = builder.start().await.unwrap();
        let stub = runtime.get::<Victim>("a");
        stub.ping().await.unwrap();
        let holder = std::thread::spawn({
            let stub = stub.clone();
            move || on_one_thread(async move { stub.hold().await.unwrap() })
        });
        gate.entered.wait();
        let mut queued = stub.ping();
        assert!(poll_once(&mut queued).is_pending());
        let refused = stub.carry(Luggage { _contents: Some(Box::new(queued)) }).await;
        assert_eq!(refused, Err(CallError::Overloaded { queued: 1 }));
        gate.leave.wait();
        holder.join().unwrap();
        assert_eq!(stub.ping().await.unwrap(), 1);
    });
}

/// Knows how many instances there are, and takes its time to go.
struct Slow {
    alive: Arc<AtomicUsize>,
    gate: Gate,
}

#[durable_object]
impl Slow {
    fn new(ctx: &Context) -> Result<Self> {
        let alive = ctx.env::<Arc<AtomicUsize>>()?.clone();
        assert_eq!(alive.fetch_add(1, Ordering::SeqCst), 0, "two instances of one object");
        Ok(Slow { alive, gate: ctx.env::<Gate>()?.clone() })
    }

    pub fn ping(&self) -> u8 {
        1
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.gate.entered.wait();
        self.gate.leave.wait();
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn an_object_that_is_evicted_slowly_is_never_there_twice() {
    on_many_threads(async {
        let (bed, gate) = (Bed::new(Form::Moved), Gate::new());
        let alive = Arc::<AtomicUsize>::default();
        let builder = bed.builder().register::<Slow>().env(gate.clone()).env(alive.clone());
        let runtime = builder.start().await.unwrap();
        let slow = runtime.namespace::<Slow>();
        let id = slow.id_from_name("a").unwrap();
        assert_eq!(slow.get(&id).ping().await.unwrap(), 1);
        let evictor = std::thread::spawn({
            let (slow, id) = (slow.clone(), id.clone());
            move || while !slow.evict(&id).unwrap() {}
        });
        gate.entered.wait();
        // The instance is half gone: a call has to wait until it is gone altogether.
        let mut call = slow.get(&id).ping();
        for _ in 0..1_000 {
            assert!(poll_once(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
        gate.leave.wait();
        assert_eq!(call.await.unwrap(), 1);
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        // The last instance goes with the runtime.
        let last = std::thread::spawn(move || {
            gate.entered.wait();
            gate.leave.wait();
        });
        evictor.join().unwrap();
        runtime.shutdown().await.unwrap();
        last.join().unwrap();
    });
}
