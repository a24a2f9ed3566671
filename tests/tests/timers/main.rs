//! Timers as a program has them, on a clock that the test moves.

mod failures;
mod kills;
mod many;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{ErrorKind, Schedule};
use durable_tests::{Bed, Form, matrix, on_one_thread};
use serde::{Deserialize, Serialize};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What all objects of a test share: the order in which things ran, and whether constructors fail.
#[derive(Debug, Default)]
struct World {
    runs: Mutex<Vec<String>>,
    is_down: AtomicBool,
}

impl World {
    fn take_runs(&self) -> Vec<String> {
        std::mem::take(&mut self.runs.lock().unwrap())
    }
}

/// Writes down what its timers bring, and when.
struct Planner;

#[durable_object]
impl Planner {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        if ctx.env::<Arc<World>>()?.is_down.load(Ordering::SeqCst) {
            return Err(durable::Error::other("the world is down"));
        }
        if ctx.name() == Some("regular") {
            ctx.schedule("hourly", Every(HOUR), ctx.this().note("hourly"))?;
        }
        Ok(Planner)
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE notes (text TEXT NOT NULL, at INTEGER NOT NULL)")
    }

    pub fn note(&mut self, ctx: &Context, text: &str) -> Result<()> {
        let at = i64::try_from(seconds(ctx.now())).unwrap();
        ctx.sql().execute("INSERT INTO notes VALUES (?, ?)", (text, at))?;
        let name = ctx.name().unwrap_or_default();
        ctx.env::<Arc<World>>()?.runs.lock().unwrap().push(format!("{name} {text}"));
        Ok(())
    }

    /// Puts a deadline off.
    pub fn touch(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.schedule("idle", After(30 * MINUTE), ctx.this().note("idle"))
    }

    /// Notes a countdown, and sets its own timer anew until it is over.
    pub fn count_down(&mut self, ctx: &Context<Self>, from: u32) -> Result<()> {
        self.note(ctx, &from.to_string())?;
        if from == 0 {
            assert!(!ctx.unschedule("count")?, "it is not there while it runs");
            return Ok(());
        }
        ctx.schedule("count", After(from * SECOND), ctx.this().count_down(from - 1))
    }

    /// Runs every hour, until it has had enough.
    pub fn stop_after(&mut self, ctx: &Context<Self>, runs: u32) -> Result<()> {
        let count = ctx.kv().get("count")?.unwrap_or(0_u32) + 1;
        ctx.kv().put("count", &count)?;
        ctx.schedule("hourly", Every(HOUR), ctx.this().stop_after(runs))?;
        if count == runs {
            assert!(ctx.unschedule("hourly")?, "it is there while it runs");
        }
        self.note(ctx, "tick")
    }

    /// Looks, and writes nothing.
    pub fn look(&self, ctx: &Context) -> Result<u32> {
        ctx.env::<Arc<World>>()?.runs.lock().unwrap().push("look".into());
        ctx.sql().query_one("SELECT count(*) FROM notes", [])
    }

    /// Writes although it may not.
    pub fn sneak(&self, ctx: &Context<Self>) -> Result<()> {
        let refused = ctx.schedule("more", Every(HOUR), ctx.this().look());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
        ctx.kv().put("sneaked", &true)
    }

    pub fn carry(&mut self, ctx: &Context, load: Load) -> Result<()> {
        self.note(ctx, &load.text)
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<(String, u64)>> {
        ctx.sql().query_all("SELECT text, at FROM notes ORDER BY rowid", [])
    }
}

/// An argument that may be impossible to store.
#[derive(Debug, Deserialize)]
struct Load {
    text: String,
}

impl Serialize for Load {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeStruct as _};
        if self.text == "too heavy" {
            return Err(S::Error::custom("too heavy to carry"));
        }
        let mut load = serializer.serialize_struct("Load", 1)?;
        load.serialize_field("text", &self.text)?;
        load.end()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A runtime at midnight of the first of January 2030, and its world.
async fn start(form: Form) -> (TestRuntime, Arc<World>) {
    let world = Arc::<World>::default();
    let env = Arc::clone(&world);
    let runtime = TestRuntime::start(move |builder| {
        let builder = builder.register::<Planner>().env(Arc::clone(&env));
        if form == Form::Wire { builder.always_serialize() } else { builder }
    });
    (runtime.await.unwrap(), world)
}

/// Runs a turn of `Planner`.
async fn turn<R: Send + 'static>(
    runtime: &TestRuntime,
    name: &str,
    code: impl FnOnce(&mut Planner, &Context<Planner>) -> Result<R> + Send + 'static,
) -> Result<R> {
    runtime.run_in_object(&runtime.get::<Planner>(name), code).await
}

async fn schedules(runtime: &TestRuntime, name: &str) -> Vec<Schedule> {
    turn(runtime, name, |_, ctx| ctx.schedules()).await.unwrap()
}

/// What was noted, with seconds since `begin`.
async fn notes(runtime: &TestRuntime, name: &str, begin: SystemTime) -> Vec<(String, u64)> {
    let mut notes = runtime.get::<Planner>(name).notes().await.unwrap();
    notes.iter_mut().for_each(|(_, at)| *at -= seconds(begin));
    notes
}

fn note(text: &str, at: Duration) -> (String, u64) {
    (text.into(), at.as_secs())
}

matrix! {
    async fn a_timer_runs_when_it_is_due_and_is_gone(bed) {
        let (runtime, _) = start(bed.form).await;
        let begin = runtime.now();
        turn(&runtime, "a", move |_, ctx| {
            ctx.schedule("later", begin + HOUR, ctx.this().note("later"))?;
            ctx.schedule("soon", After(MINUTE), ctx.this().note("soon"))?;
            ctx.schedule("sooner", MINUTE, ctx.this().note("sooner"))?;
            ctx.schedule("passed", At(begin - HOUR), ctx.this().note("passed"))
        })
        .await
        .unwrap();
        let set = schedules(&runtime, "a").await;
        let keys: Vec<_> = set.iter().map(|schedule| &*schedule.key).collect();
        runtime.advance(30 * MINUTE).await.unwrap();
        let left = schedules(&runtime, "a").await;
        assert!(keys.ends_with(&["soon", "sooner", "later"]), "{keys:?}");
        assert_eq!(left.len(), 1);
        assert_eq!((&*left[0].key, &*left[0].method, &*left[0].recurrence), ("later", "note", "once"));
        assert_eq!(left[0].next_run, Some(begin + HOUR));
        assert!(left[0].receiver.is_none() && !left[0].is_given_up && left[0].last_failure.is_none());
        runtime.advance(DAY).await.unwrap();
        let expected =
            [note("passed", Duration::ZERO), note("soon", MINUTE), note("sooner", MINUTE), note("later", HOUR)];
        assert_eq!(notes(&runtime, "a", begin).await, expected);
        assert!(schedules(&runtime, "a").await.is_empty());
    }

    async fn a_method_decides_about_its_own_timer(bed) {
        let (runtime, _) = start(bed.form).await;
        let begin = runtime.now();
        turn(&runtime, "a", |_, ctx| {
            ctx.schedule("count", After(SECOND), ctx.this().count_down(3))?;
            ctx.schedule("hourly", Every(HOUR), ctx.this().stop_after(3))
        })
        .await
        .unwrap();
        runtime.advance(DAY).await.unwrap();
        let expected = [
            note("3", SECOND),
            note("2", 4 * SECOND),
            note("1", 6 * SECOND),
            note("0", 7 * SECOND),
            note("tick", HOUR),
            note("tick", 2 * HOUR),
            note("tick", 3 * HOUR),
        ];
        assert_eq!(notes(&runtime, "a", begin).await, expected);
        assert!(schedules(&runtime, "a").await.is_empty());
    }

    async fn arguments_are_stored_with_the_turn(bed) {
        let (runtime, _) = start(bed.form).await;
        let begin = runtime.now();
        let carry = |text: &'static str| {
            turn(&runtime, "a", move |_, ctx| {
                ctx.schedule("carry", HOUR, ctx.this().carry(Load { text: text.into() }))
            })
        };
        carry("light").await.unwrap();
        let error = carry("too heavy").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encoding);
        assert!(error.message().contains("`carry`") && error.message().contains("too heavy"), "{error}");
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(notes(&runtime, "a", begin).await, [note("light", HOUR)]);
    }
}

#[test]
fn rhythms_go_on_until_they_are_stopped() {
    on_one_thread(async {
        let (runtime, _) = start(Form::Moved).await;
        let begin = runtime.now();
        turn(&runtime, "a", |_, ctx| {
            ctx.schedule("every", Every(10 * HOUR), ctx.this().note("every"))?;
            ctx.schedule("utc", Cron("0 9 * * *"), ctx.this().note("utc"))?;
            ctx.schedule(
                "new york",
                CronIn("0 9 * * *", "America/New_York"),
                ctx.this().note("new york"),
            )
        })
        .await
        .unwrap();
        let words = schedules(&runtime, "a").await;
        let words: Vec<_> = words.iter().map(|schedule| &*schedule.recurrence).collect();
        assert_eq!(words, ["cron 0 9 * * *", "every 36000s", "cron 0 9 * * * in America/New_York"]);
        runtime.advance(DAY).await.unwrap();
        assert!(turn(&runtime, "a", |_, ctx| ctx.unschedule("every")).await.unwrap());
        assert!(!turn(&runtime, "a", |_, ctx| ctx.unschedule("every")).await.unwrap());
        runtime.advance(DAY).await.unwrap();
        let expected = [
            note("utc", 9 * HOUR),
            note("every", 10 * HOUR),
            note("new york", 14 * HOUR),
            note("every", 20 * HOUR),
            note("utc", DAY + 9 * HOUR),
            note("new york", DAY + 14 * HOUR),
        ];
        assert_eq!(notes(&runtime, "a", begin).await, expected);
    });
}

#[test]
fn a_key_holds_one_timer() {
    on_one_thread(async {
        let (runtime, _) = start(Form::Moved).await;
        let begin = runtime.now();
        for minutes in [0, 20, 20, 20] {
            runtime.advance(minutes * MINUTE).await.unwrap();
            runtime.get::<Planner>("a").touch().await.unwrap();
            turn(&runtime, "a", move |_, ctx| {
                // The same rhythm goes on, and the call is the newest.
                ctx.schedule("hourly", Every(HOUR), ctx.this().note(&format!("hourly {minutes}")))?;
                // Another one begins anew.
                ctx.schedule("other", Every(HOUR + minutes * SECOND), ctx.this().note("other"))?;
                ctx.schedule("once", At(begin + 61 * MINUTE), ctx.this().note("once"))
            })
            .await
            .unwrap();
        }
        runtime.advance(HOUR).await.unwrap();
        let expected = [
            note("hourly 20", HOUR),
            note("once", 61 * MINUTE),
            note("other", 20 * MINUTE + HOUR + 20 * SECOND),
            note("idle", 90 * MINUTE),
            note("hourly 20", 2 * HOUR),
        ];
        assert_eq!(notes(&runtime, "a", begin).await, expected);
    });
}

#[test]
fn a_constructor_may_set_its_timers_each_time() {
    on_one_thread(async {
        let (runtime, _) = start(Form::Moved).await;
        let begin = runtime.now();
        for _ in 0..10 {
            runtime.get::<Planner>("regular").look().await.unwrap();
            runtime.evict_all().await.unwrap();
            runtime.advance(21 * MINUTE).await.unwrap();
        }
        let expected = [1, 2, 3].map(|hours| note("hourly", hours * HOUR));
        assert_eq!(notes(&runtime, "regular", begin).await, expected);
    });
}

#[test]
fn a_timer_is_undone_with_its_turn_and_deleted_with_everything() {
    on_one_thread(async {
        let (runtime, _) = start(Form::Moved).await;
        turn(&runtime, "a", |_, ctx| ctx.schedule("kept", HOUR, ctx.this().note("kept")))
            .await
            .unwrap();
        turn(&runtime, "a", |_, ctx| {
            ctx.unschedule("kept")?;
            ctx.schedule("undone", HOUR, ctx.this().note("undone"))?;
            Err::<(), _>(durable::Error::other("no"))
        })
        .await
        .unwrap_err();
        turn(&runtime, "a", |_, ctx| {
            let undone = ctx.transaction(|| {
                ctx.schedule("undone", HOUR, ctx.this().note("undone"))?;
                Err::<(), _>(durable::Error::other("no"))
            });
            assert!(undone.is_err());
            Ok(())
        })
        .await
        .unwrap();
        let left = schedules(&runtime, "a").await;
        assert!(left.len() == 1 && left[0].key == "kept", "{left:?}");
        turn(&runtime, "a", |_, ctx| ctx.delete_all()).await.unwrap();
        runtime.advance(DAY).await.unwrap();
        assert!(runtime.get::<Planner>("a").notes().await.unwrap().is_empty());
    });
}

#[test]
fn a_timer_of_a_reading_method_goes_on_and_cannot_write() {
    on_one_thread(async {
        let (runtime, world) = start(Form::Moved).await;
        turn(&runtime, "a", |_, ctx| {
            ctx.schedule("look", Every(HOUR), ctx.this().look())?;
            ctx.schedule("sneak", HOUR, ctx.this().sneak())
        })
        .await
        .unwrap();
        runtime.advance(3 * HOUR).await.unwrap();
        assert_eq!(world.take_runs(), ["look"; 3]);
        let left = schedules(&runtime, "a").await;
        assert_eq!(left[0].next_run, Some(runtime.now() + HOUR));
        assert!(left[1].is_given_up);
        let reason = &left[1].last_failure.as_ref().unwrap().reason;
        assert!(reason.contains("read-only"), "{reason}");
    });
}

#[test]
fn what_makes_no_sense_is_named() {
    on_one_thread(async {
        let (runtime, _) = start(Form::Moved).await;
        turn(&runtime, "a", |_, ctx| {
            let call = || ctx.this().look();
            let (long, longest) = ("k".repeat(1_025), "k".repeat(1_024));
            ctx.schedule(&longest, HOUR, call())?;
            let before_time = SystemTime::UNIX_EPOCH - SECOND;
            for (refused, named) in [
                (ctx.schedule("", HOUR, call()), "1 to 1024 bytes"),
                (ctx.schedule(&long, HOUR, call()), "this one has 1025"),
                (ctx.schedule("k", Every(Duration::ZERO), call()), "every 0 seconds"),
                (ctx.schedule("k", Every(Duration::MAX), call()), "that far away"),
                (ctx.schedule("k", At(before_time), call()), "before 1970"),
                (ctx.schedule("k", Cron("0 9 * *"), call()), "\"0 9 * *\""),
                (
                    ctx.schedule("k", Cron("0 0 30 2 *"), call()),
                    "`cron 0 0 30 2 *` matches no time",
                ),
                (
                    ctx.schedule("k", CronIn("0 9 * * *", "Mars/Olympus"), call()),
                    "\"Mars/Olympus\"",
                ),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert!(error.message().contains(named), "{named}: {error}");
            }
            assert_eq!(ctx.schedules()?.len(), 1);
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// What was missed runs once and the rhythm goes on, whatever came between.
#[test]
fn restarts_crashes_and_evictions_lose_nothing() {
    on_one_thread(async {
        let (mut runtime, world) = start(Form::Moved).await;
        for name in ["b", "a"] {
            turn(&runtime, name, |_, ctx| {
                ctx.schedule("every", Every(HOUR), ctx.this().note("every"))?;
                ctx.schedule("first", 100 * MINUTE, ctx.this().note("first"))?;
                ctx.schedule("last", 200 * MINUTE, ctx.this().note("last"))
            })
            .await
            .unwrap();
        }
        runtime.evict_all().await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(world.take_runs().len(), 2);
        runtime.crash().await.unwrap();
        runtime.advance(SECOND).await.unwrap();
        assert!(world.take_runs().is_empty(), "what ran is not forgotten");
        // Nobody is there for the times from 1:40 to 3:20.
        world.is_down.store(true, Ordering::SeqCst);
        runtime.evict_all().await.unwrap();
        runtime.advance(2 * HOUR + 30 * MINUTE).await.unwrap();
        world.is_down.store(false, Ordering::SeqCst);
        runtime.restart().await.unwrap();
        runtime.settle().await.unwrap();
        let missed = world.take_runs();
        // In the order of their times, and of two objects at the same time each once.
        for (pair, text) in missed.chunks(2).zip(["first", "every", "last"]) {
            let mut pair = pair.to_vec();
            pair.sort();
            assert_eq!(pair, [format!("a {text}"), format!("b {text}")], "{missed:?}");
        }
        assert_eq!(missed.len(), 6);
        runtime.advance(30 * MINUTE).await.unwrap();
        assert_eq!(world.take_runs().len(), 2);
    });
}

#[test]
fn a_day_of_cron_retries_and_deadlines() {
    on_one_thread(async {
        let (runtime, world) = start(Form::Moved).await;
        let begin = std::time::Instant::now();
        turn(&runtime, "a", |_, ctx| {
            ctx.schedule("quarter", Cron("*/15 * * * *"), ctx.this().note("quarter"))?;
            ctx.schedule(
                "report",
                CronIn("0 9 * * *", "Europe/Berlin"),
                ctx.this().note("report"),
            )?;
            ctx.schedule("broken", Every(6 * HOUR), ctx.this().sneak())
        })
        .await
        .unwrap();
        for _ in 0..24 {
            runtime.get::<Planner>("a").touch().await.unwrap();
            runtime.advance(HOUR).await.unwrap();
        }
        let runs = world.take_runs();
        let count = |text: &str| runs.iter().filter(|run| **run == format!("a {text}")).count();
        assert_eq!((count("quarter"), count("report"), count("idle")), (96, 1, 24));
        println!("a day took {:?}", begin.elapsed());
    });
}

#[test]
fn a_timer_of_another_object_sends_it_a_message() {
    on_one_thread(async {
        let (mut runtime, _) = start(Form::Moved).await;
        let begin = runtime.now();
        turn(&runtime, "a", |_, ctx| {
            let other = ctx.namespace::<Planner>().get_by_name("b");
            ctx.schedule("other", Every(HOUR), other.note("hello"))
        })
        .await
        .unwrap();
        let [other] = &schedules(&runtime, "a").await[..] else { panic!("one timer") };
        assert_eq!(other.receiver.as_ref().map(|receiver| &*receiver.class), Some("Planner"));
        runtime.advance(HOUR).await.unwrap();
        runtime.crash().await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        let wanted = [note("hello", HOUR), note("hello", 2 * HOUR)];
        assert_eq!(notes(&runtime, "b", begin).await, wanted);
        assert!(notes(&runtime, "a", begin).await.is_empty());
    });
}

#[test]
fn a_timer_that_was_given_up_is_listed_and_tried_again_when_told() {
    on_one_thread(async {
        let (mut runtime, _) = start(Form::Moved).await;
        turn(&runtime, "a", |_, ctx| ctx.schedule("broken", HOUR, ctx.this().sneak()))
            .await
            .unwrap();
        runtime.advance(2 * HOUR).await.unwrap();
        runtime.restart().await.unwrap();
        let [id] = &runtime.namespace::<Planner>().given_up().unwrap()[..] else { panic!("one") };
        assert_eq!(runtime.namespace::<Planner>().retry(id).await.unwrap(), 1);
        assert!(!schedules(&runtime, "a").await[0].is_given_up);
        runtime.advance(HOUR).await.unwrap();
        assert!(schedules(&runtime, "a").await[0].is_given_up, "it fails each time");
        turn(&runtime, "a", |_, ctx| ctx.unschedule("broken")).await.unwrap();
        assert!(runtime.namespace::<Planner>().given_up().unwrap().is_empty());
    });
}
