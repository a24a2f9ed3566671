//! Turns, the queue and the instance: who runs, in which order, and what is undone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::prelude::*;
use durable::{Error, ErrorKind};
use durable_tests::{finish, matrix, now, poll_once};

/// How often an instance was made, for all objects of one runtime.
#[derive(Clone, Default)]
struct Constructions(Arc<AtomicUsize>);

impl Constructions {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Counter {
    /// Kept in memory only, to see which instance answers.
    in_memory: i64,
}

#[durable_object]
impl Counter {
    fn new(ctx: &Context<Self>) -> Self {
        if let Ok(constructions) = ctx.env::<Constructions>() {
            constructions.0.fetch_add(1, Ordering::SeqCst);
        }
        Counter { in_memory: 0 }
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        self.in_memory += by;
        ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
    }

    pub fn total(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT total FROM hits", [])
    }

    pub fn in_memory(&self) -> i64 {
        self.in_memory
    }

    /// Counts in memory only.
    pub fn remember(&mut self, by: i64) -> i64 {
        self.in_memory += by;
        self.in_memory
    }

    pub fn increment_and_fail(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        self.increment(ctx, by)?;
        Err(Error::other("no"))
    }

    pub fn remember_and_fail(&mut self, by: i64) -> Result<i64, String> {
        self.in_memory += by;
        Err("no".to_owned())
    }

    pub fn increment_and_panic(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        self.increment(ctx, by)?;
        panic!("not today")
    }

    pub fn write_in_read(&self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("UPDATE hits SET total = 99", []).map(drop)
    }

    pub fn put_in_read(&self, ctx: &Context) -> Result<()> {
        ctx.kv().put("key", &1)
    }

    pub fn delete_in_read(&self, ctx: &Context) -> Result<()> {
        ctx.kv().delete("key").map(drop)
    }

    /// SQLite ends the transaction by itself; the method goes on as if nothing were wrong.
    pub fn doom(&mut self, ctx: &Context) -> Result<i64> {
        ctx.sql().execute_batch(
            "CREATE TABLE once (n INTEGER PRIMARY KEY); INSERT INTO once VALUES (1)",
        )?;
        let refused = ctx.sql().execute("INSERT OR ROLLBACK INTO once VALUES (1)", []);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Constraint);
        let after = ctx.sql().execute("UPDATE hits SET total = 1000", []);
        assert_eq!(after.unwrap_err().kind(), ErrorKind::RolledBack);
        Ok(1)
    }

    pub fn commit_by_hand(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("COMMIT", []).map(drop)
    }

    /// Calls another object from inside a turn, by polling the call by hand.
    pub fn call_inside(&mut self, ctx: &Context<Self>) -> Result<String> {
        let other = ctx.namespace::<Counter>().get_by_name("other");
        let refused = now(other.increment(1)).unwrap_err();
        assert!(matches!(refused, CallError::Deadlock(_)), "{refused:?}");
        let handle = ctx.handle();
        let turn: Result<()> = now(handle.turn(|_, _| Ok(())));
        assert_eq!(turn.unwrap_err().kind(), ErrorKind::Deadlock);
        Ok(refused.to_string())
    }

    /// Waits for the test, which holds the object busy that way.
    pub fn hold(&mut self, ctx: &Context) -> Result<()> {
        let gate = ctx.env::<Gate>()?;
        gate.entered.wait();
        gate.leave.wait();
        Ok(())
    }
}

/// Two meeting points of a test with a turn that blocks its thread.
#[derive(Clone)]
struct Gate {
    entered: Arc<std::sync::Barrier>,
    leave: Arc<std::sync::Barrier>,
}

impl Gate {
    fn new() -> Self {
        let barrier = || Arc::new(std::sync::Barrier::new(2));
        Gate { entered: barrier(), leave: barrier() }
    }
}

async fn start(bed: &durable_tests::Bed) -> (Runtime, Constructions) {
    let constructions = Constructions::default();
    let builder = bed.builder().register::<Counter>().env(constructions.clone());
    (builder.start().await.unwrap(), constructions)
}

matrix! {
    async fn a_thousand_callers_of_one_object_count_exactly(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let calls: Vec<_> = (0..1000).map(|_| tokio::spawn(stub.increment(1))).collect();
        let mut seen = BTreeSet::new();
        for call in calls {
            assert!(seen.insert(call.await.unwrap().unwrap()), "a total was given twice");
        }
        assert_eq!(seen, (1..=1000).collect());
        runtime.shutdown().await.unwrap();
    }

    async fn ten_callers_of_each_of_a_hundred_objects(bed) {
        let (runtime, constructions) = start(&bed).await;
        let mut calls = Vec::new();
        for caller in 0..1000 {
            let object = caller % 100;
            let stub = runtime.get::<Counter>(&object.to_string());
            calls.push(tokio::spawn(async move { (object, stub.increment(1).await.unwrap()) }));
        }
        let mut seen = BTreeSet::new();
        for call in calls {
            assert!(seen.insert(call.await.unwrap()));
        }
        let expected = (0..100).flat_map(|object| (1..=10).map(move |total| (object, total)));
        assert_eq!(seen, expected.collect());
        assert_eq!(constructions.count(), 100);
    }

    async fn a_thousand_callers_activate_a_cold_object_once(bed) {
        let (runtime, constructions) = start(&bed).await;
        // Each with a stub of its own: they race to find the object, too.
        let calls: Vec<_> = (0..1000)
            .map(|_| {
                let runtime = runtime.clone();
                tokio::spawn(async move { runtime.get::<Counter>("cold").total().await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 0);
        }
        assert_eq!(constructions.count(), 1);
    }

    async fn calls_of_one_stub_arrive_in_the_order_of_their_first_poll(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        // Last one first. The first poll activates the object, so most of them queue up.
        let numbers = (1..=50).rev();
        let mut calls: Vec<_> = (1..=50).map(|by| stub.remember(by)).rev().collect();
        let polls: Vec<_> = calls.iter_mut().map(poll_once).collect();
        let mut expected = 0;
        for ((poll, by), call) in polls.into_iter().zip(numbers).zip(calls) {
            expected += by;
            assert_eq!(finish(poll, call).await.unwrap(), expected);
        }
    }

    async fn a_caller_that_is_not_polled_any_more_holds_up_nobody(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let mut loser = stub.increment(1);
        let poll = poll_once(&mut loser);
        // Alive, first in the queue, and not polled again before the others are answered.
        assert_eq!(stub.increment(1).await.unwrap(), 2);
        assert_eq!(stub.total().await.unwrap(), 2);
        assert_eq!(finish(poll, loser).await.unwrap(), 1);
    }

    async fn a_dropped_caller_leaves_the_activation_to_the_others(bed) {
        let (runtime, constructions) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let mut activator = stub.increment(1);
        let _ = poll_once(&mut activator);
        let others: Vec<_> = (0..10).map(|_| tokio::spawn(stub.total())).collect();
        drop(activator);
        for other in others {
            other.await.unwrap().unwrap();
        }
        assert_eq!(constructions.count(), 1);
    }

    async fn a_panic_is_an_error_and_undoes_the_turn_and_the_instance(bed) {
        let (runtime, constructions) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        stub.increment(1).await.unwrap();
        match stub.increment_and_panic(10).await.unwrap_err() {
            CallError::Panicked { method, message } => {
                assert_eq!((method, message.as_str()), ("increment_and_panic", "not today"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stub.total().await.unwrap(), 1);
        assert_eq!(stub.in_memory().await.unwrap(), 0, "a fresh instance");
        assert_eq!(constructions.count(), 2);
    }

    async fn an_error_undoes_what_the_turn_wrote_and_the_instance(bed) {
        let (runtime, constructions) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        stub.increment(1).await.unwrap();
        let error = stub.increment_and_fail(10).await.unwrap_err();
        assert_eq!(error, CallError::Application(Error::other("no")));
        assert_eq!(stub.total().await.unwrap(), 1);
        assert_eq!(stub.in_memory().await.unwrap(), 0, "a fresh instance");
        assert_eq!(constructions.count(), 2);
    }

    async fn an_error_of_a_turn_that_wrote_nothing_keeps_the_instance(bed) {
        let (runtime, constructions) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let error = stub.remember_and_fail(7).await.unwrap_err();
        assert_eq!(error, CallError::Application("no".to_owned()));
        assert_eq!(stub.in_memory().await.unwrap(), 7);
        assert_eq!(constructions.count(), 1);
    }

    async fn a_turn_that_sqlite_rolled_back_cannot_succeed(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        stub.increment(1).await.unwrap();
        let error = stub.doom().await.unwrap_err();
        assert!(matches!(&error, CallError::RolledBack(cause) if cause.message().contains("once")), "{error:?}");
        assert_eq!(stub.increment(1).await.unwrap(), 2, "the object answers afterwards");
    }

    async fn a_read_only_method_cannot_write(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let attempts = [stub.write_in_read(), stub.put_in_read(), stub.delete_in_read()];
        for refused in attempts {
            let refused = refused.await;
            let CallError::Application(error) = refused.unwrap_err() else { panic!() };
            assert_eq!(error.kind(), ErrorKind::ReadOnly);
            assert!(error.message().contains("&mut self"), "{error}");
        }
        assert_eq!(stub.total().await.unwrap(), 0);
    }

    async fn transactions_belong_to_the_turn(bed) {
        let (runtime, _) = start(&bed).await;
        let error = runtime.get::<Counter>("home").commit_by_hand().await.unwrap_err();
        assert_eq!(error.flatten().kind(), ErrorKind::Refused);
    }

    async fn a_call_inside_a_turn_fails_at_once(bed) {
        let (runtime, _) = start(&bed).await;
        let message = runtime.get::<Counter>("home").call_inside().await.unwrap();
        assert!(message.contains("wait_until"), "{message}");
        assert_eq!(runtime.get::<Counter>("other").total().await.unwrap(), 0, "nothing was done");
    }

    async fn a_call_can_be_sent_and_has_a_timeout(bed) {
        fn assert_sendable<F: Future + Send + Unpin + 'static>(future: F) -> F {
            future
        }
        let (runtime, _) = start(&bed).await;
        let call = assert_sendable(runtime.get::<Counter>("home").increment(1));
        assert_eq!(call.timeout(Duration::from_secs(60)).await.unwrap(), 1);
    }

    async fn a_loop_of_calls_lets_others_on_its_thread_run(bed) {
        let (runtime, _) = start(&bed).await;
        let stub = runtime.get::<Counter>("home");
        let stop = Arc::new(AtomicUsize::new(0));
        let stopper = {
            let stop = stop.clone();
            tokio::spawn(async move { stop.store(1, Ordering::SeqCst) })
        };
        while stop.load(Ordering::SeqCst) == 0 {
            stub.in_memory().await.unwrap();
        }
        stopper.await.unwrap();
    }
}

/// Needs a thread for the turn that blocks and another for the test.
#[test]
fn a_call_that_times_out_in_the_queue_never_runs() {
    durable_tests::on_many_threads(async {
        let bed = durable_tests::Bed::new(durable_tests::Form::Moved);
        let gate = Gate::new();
        let runtime = bed.builder().register::<Counter>().env(gate.clone()).start().await.unwrap();
        let stub = runtime.get::<Counter>("home");
        stub.increment(1).await.unwrap();
        let holder = std::thread::spawn({
            let stub = stub.clone();
            move || durable_tests::on_one_thread(async move { stub.hold().await.unwrap() })
        });
        gate.entered.wait();
        let after = Duration::from_millis(1);
        let error = stub.increment(1).timeout(after).await.unwrap_err();
        assert_eq!(error, CallError::TimedOut { after, started: false });
        assert!(error.is_retryable());
        let mut dropped = stub.increment(1);
        assert!(poll_once(&mut dropped).is_pending());
        drop(dropped);
        gate.leave.wait();
        assert_eq!(stub.total().await.unwrap(), 1, "neither has run");
        holder.join().unwrap();
    });
}

#[test]
fn a_busy_object_queues_and_overloads() {
    durable_tests::on_many_threads(async {
        let bed = durable_tests::Bed::new(durable_tests::Form::Moved);
        let gate = Gate::new();
        let builder = bed.builder().register::<Counter>().env(gate.clone()).queue_limit(2);
        let runtime = builder.start().await.unwrap();
        let stub = runtime.get::<Counter>("home");
        stub.increment(1).await.unwrap();
        let holder = std::thread::spawn({
            let stub = stub.clone();
            move || durable_tests::on_one_thread(async move { stub.hold().await.unwrap() })
        });
        gate.entered.wait();
        let mut waiting = [stub.increment(1), stub.increment(1)];
        assert!(waiting.iter_mut().all(|call| poll_once(call).is_pending()));
        assert_eq!(now(stub.increment(1)), Err(CallError::Overloaded { queued: 2 }));
        gate.leave.wait();
        let [second, third] = waiting;
        assert_eq!(second.await.unwrap(), 2);
        assert_eq!(third.await.unwrap(), 3);
        holder.join().unwrap();
    });
}
