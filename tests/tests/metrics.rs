//! What a recorder of `metrics` is given.

#![allow(
    unused_mut,
    reason = "the expansion inside a `macro_rules` has one for each `&self` and `ctx`"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use durable::Error;
use durable::prelude::*;
use durable::testing::TestRuntime;
use durable_tests::{Bed, Form, on_many_threads, on_one_thread, poll_once};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// A number of one name with its labels, `durable_turns_total{class=A,outcome=ok}`.
#[derive(Default)]
struct Number(Mutex<Values>);

#[derive(Clone, Debug, Default)]
struct Values {
    sum: f64,
    records: usize,
}

impl Number {
    fn add(&self, value: f64) {
        let mut values = self.0.lock().unwrap();
        values.sum += value;
        values.records += 1;
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.add(f64::from(u32::try_from(value).unwrap()));
    }

    fn absolute(&self, _: u64) {
        unreachable!("nobody sets a counter");
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("nobody sets a gauge");
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        self.add(value);
    }
}

/// The recorder of this process. Numbers are told apart by their class.
#[derive(Clone, Default)]
struct Book {
    numbers: Arc<Mutex<BTreeMap<String, Arc<Number>>>>,
    described: Arc<Mutex<BTreeMap<String, Option<Unit>>>>,
}

impl Book {
    fn open() -> &'static Book {
        static BOOK: OnceLock<Book> = OnceLock::new();
        BOOK.get_or_init(|| {
            let book = Book::default();
            metrics::set_global_recorder(book.clone()).ok().unwrap();
            book
        })
    }

    fn number(&self, key: &Key) -> Arc<Number> {
        let labels: BTreeSet<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(",");
        let name = if labels.is_empty() {
            key.name().into()
        } else {
            format!("{}{{{labels}}}", key.name())
        };
        self.numbers.lock().unwrap().entry(name).or_default().clone()
    }

    fn describe(&self, key: &KeyName, unit: Option<Unit>) {
        self.described.lock().unwrap().insert(key.as_str().to_owned(), unit);
    }

    fn values(&self, name: &str) -> Values {
        let numbers = self.numbers.lock().unwrap();
        let number = numbers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", numbers.keys()));
        number.0.lock().unwrap().clone()
    }

    /// A counter or a gauge, as a whole number.
    fn count(&self, name: &str) -> i64 {
        let sum = self.values(name).sum;
        (-100..100).find(|number| f64::from(*number) == sum).unwrap().into()
    }
}

impl Recorder for Book {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.number(key))
    }
}

/// Each test has a class of its own, so that its numbers are.
macro_rules! actor {
    ($class:ident) => {
        #[derive(Default)]
        struct $class;

        #[durable_object]
        impl $class {
            pub fn act(&mut self, ctx: &Context, x: u32) -> Result<()> {
                ctx.kv().put("x", &x)
            }

            pub fn fail(&mut self) -> Result<()> {
                Err(Error::other("on purpose"))
            }

            pub fn crash(&mut self) {
                panic!("on purpose");
            }

            pub fn start_over(&mut self, ctx: &Context) -> Result<()> {
                Err(ctx.abort("on purpose"))
            }

            pub fn remind(&mut self, ctx: &Context) -> Result<()> {
                ctx.set_alarm(After(Duration::from_secs(1)))
            }

            fn alarm(&mut self, _: &Context<Self>, _: AlarmInfo) -> Result<()> {
                Err(Error::other("on purpose"))
            }
        }
    };
}

actor!(Turning);
actor!(Living);
actor!(Crowded);
actor!(Alarmed);
actor!(Storing);

#[test]
fn turns_are_counted_and_timed() {
    let book = Book::open();
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Turning>().start().await.unwrap();
        let actor = runtime.get::<Turning>("a");
        actor.act(1).await.unwrap();
        actor.act(2).await.unwrap();
        actor.fail().await.unwrap_err();
        actor.crash().await.unwrap_err();
        actor.start_over().await.unwrap_err();
        runtime.shutdown().await.unwrap();
    });
    let turns =
        |outcome| book.count(&format!("durable_turns_total{{class=Turning,outcome={outcome}}}"));
    let outcomes = ["ok", "error", "panicked", "reset", "rolled_back", "failed"];
    assert_eq!(outcomes.map(turns), [2, 1, 1, 1, 0, 0]);
    let records = |name| book.values(&format!("{name}{{class=Turning}}")).records;
    assert_eq!(records("durable_turn_duration_seconds"), 5);
    assert_eq!(records("durable_turn_commit_seconds"), 2);
    // At least the first one had to wait for its object.
    assert!((1..5).contains(&records("durable_turn_queue_seconds")));
}

#[test]
fn objects_are_counted_as_they_come_and_go() {
    let book = Book::open();
    let count = |name| book.count(&format!("{name}{{class=Living}}"));
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Living>()).await.unwrap();
        let (one, other) = (runtime.get::<Living>("a"), runtime.get::<Living>("b"));
        one.act(1).await.unwrap();
        other.act(1).await.unwrap();
        assert_eq!(count("durable_resident_objects"), 2);
        assert!(runtime.evict(&one).await.unwrap());
        assert_eq!(count("durable_resident_objects"), 1);
        one.act(2).await.unwrap();
        one.start_over().await.unwrap_err();
        assert_eq!(count("durable_resident_objects"), 2);
    });
    assert_eq!(count("durable_resident_objects"), 0);
    assert_eq!(count("durable_activations_total"), 3);
    assert_eq!(count("durable_evictions_total"), 1);
    assert_eq!(count("durable_resets_total"), 1);
}

#[test]
fn refused_calls_are_counted() {
    let book = Book::open();
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let builder = bed.builder().register::<Crowded>().queue_limit(1);
        let runtime = builder.start().await.unwrap();
        let actor = runtime.get::<Crowded>("a");
        let mut first = actor.act(1);
        assert!(poll_once(&mut first).is_pending());
        actor.act(2).await.unwrap_err();
        first.await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    assert_eq!(book.count("durable_calls_overloaded_total{class=Crowded}"), 1);
}

#[test]
fn alarms_are_counted() {
    let book = Book::open();
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Alarmed>()).await.unwrap();
        runtime.get::<Alarmed>("a").remind().await.unwrap();
        runtime.advance(Duration::from_hours(1)).await.unwrap();
    });
    let count = |name| book.count(&format!("{name}{{class=Alarmed}}"));
    assert_eq!(count("durable_alarm_runs_total"), 7);
    assert_eq!(count("durable_alarm_retries_total"), 6);
    assert_eq!(count("durable_alarms_given_up_total"), 1);
}

/// Has sockets.
#[derive(Default)]
struct Chatting;

#[durable_object]
impl Chatting {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        ctx.set_websocket_auto_response(("ping", "pong"))?;
        Ok(ctx.accept_websocket(&mut request, [])?.1)
    }

    pub fn say(&self, ctx: &Context, text: String) -> usize {
        ctx.broadcast(text)
    }
}

#[test]
fn sockets_and_their_messages_are_counted() {
    let book = Book::open();
    let count = |name: &str| book.count(&format!("durable_websocket{name}{{class=Chatting}}"));
    on_one_thread(async {
        let setup =
            |builder: durable::Builder| builder.register::<Chatting>().websocket_queue_limit(1_000);
        let runtime = TestRuntime::start(setup).await.unwrap();
        let object = runtime.get::<Chatting>("a");
        let ann = runtime.connect(&object, Request::default()).await.unwrap();
        let bob = runtime.connect(&object, Request::default()).await.unwrap();
        for text in ["ping", "hello"] {
            ann.send(text);
        }
        object.say("to both".to_owned()).await.unwrap();
        runtime.settle().await.unwrap();
        assert_eq!(count("s_open"), 2);
        ann.close(1000, "");
        runtime.settle().await.unwrap();
        assert_eq!(count("s_open"), 1);
        // One alone may be as large as it likes.
        runtime
            .run_in_object(&object, |_, ctx| {
                for _ in 0..2 {
                    ctx.broadcast("x".repeat(1_000));
                }
                Ok(())
            })
            .await
            .unwrap();
        runtime.settle().await.unwrap();
        drop(bob);
    });
    assert_eq!(count("_messages_received_total"), 2);
    assert_eq!(count("_auto_responses_total"), 1);
    assert_eq!(count("_messages_sent_total"), 3, "the answer, and one for each");
    assert_eq!(count("s_too_slow_total"), 1);
    assert_eq!(count("s_open"), 0);
}

#[test]
fn flushes_and_checkpoints_are_counted_and_timed() {
    let book = Book::open();
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Storing>().start().await.unwrap();
        runtime.get::<Storing>("a").act(1).await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    // Other tests of the process flush, too.
    assert!(book.values("durable_journal_flushes_total").sum >= 1.0);
    assert!(book.values("durable_journal_flush_bytes").sum > 0.0);
    assert!(book.values("durable_journal_flush_duration_seconds").sum > 0.0);
    assert!(book.values("durable_checkpoints_total{outcome=ok}").sum >= 1.0);
    assert!(book.values("durable_checkpoint_duration_seconds").sum > 0.0);
}

#[test]
fn every_number_is_described_with_its_unit() {
    let book = Book::open();
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Turning>().start().await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    let described = book.described.lock().unwrap();
    for name in book.numbers.lock().unwrap().keys() {
        let name = name.split('{').next().unwrap();
        let unit = described.get(name).unwrap_or_else(|| panic!("{name} is not described"));
        let expected = match name.rsplit('_').next().unwrap() {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        assert_eq!(unit.as_ref(), Some(&expected), "{name}");
    }
}
