//! The test kit: time, quiet, eviction and crashes in a test's own hands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use durable::prelude::*;
use durable::testing::{TestBuilder, TestRuntime};
use durable::{Body, Builder, ErrorKind};
use durable_tests::{on_many_threads, on_one_thread, poll_once};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_hours(1);
const LONG: Duration = Duration::from_hours(24 * 365);

/// Keeps a list of what happened when, and a count in a field that is not stored.
struct Diary {
    turns: u32,
}

#[durable_object]
impl Diary {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        if ctx.name() == Some("gated") {
            ctx.block_concurrency_while(|gate| async move {
                gate.turn(|diary, _| {
                    diary.turns = 100;
                    Ok::<_, durable::Error>(())
                })
                .await
            });
        }
        Ok(Diary { turns: 0 })
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE entries (text TEXT NOT NULL, at INTEGER NOT NULL)")
    }

    pub fn write(&mut self, ctx: &Context, text: &str) -> Result<()> {
        let at = ctx.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        ctx.sql().execute("INSERT INTO entries VALUES (?, ?)", (text, at)).map(|_| ())
    }

    pub fn texts(&self, ctx: &Context) -> Result<Vec<String>> {
        ctx.sql().query_all("SELECT text FROM entries ORDER BY rowid", [])
    }

    pub fn times(&self, ctx: &Context) -> Result<Vec<u64>> {
        ctx.sql().query_all("SELECT at FROM entries ORDER BY rowid", [])
    }

    /// How many turns this instance has had.
    pub fn turn(&mut self) -> u32 {
        self.turns += 1;
        self.turns
    }

    /// Writes so often, with as many seconds between.
    pub fn remind(&mut self, ctx: &Context<Self>, text: String, seconds: u64, times: u32) {
        let this = ctx.handle();
        ctx.wait_until(async move {
            for _ in 0..times {
                this.sleep(Duration::from_secs(seconds)).await;
                let text = text.clone();
                let written = this.turn(move |diary, ctx| diary.write(ctx, &text)).await;
                written.unwrap();
            }
        });
    }

    /// Has the other one write, which may take a while.
    pub fn tell(&mut self, ctx: &Context<Self>, other: String, text: String) {
        let other = ctx.namespace::<Diary>().get_by_name(&other);
        ctx.wait_until(async move { other.write(&text).await.unwrap() });
    }

    /// Passes a note on to the next diary, so many times.
    pub fn pass_on(&mut self, ctx: &Context<Self>, hops: u32) -> Result<()> {
        self.write(ctx, &hops.to_string())?;
        let next = ctx.namespace::<Diary>().get_by_name(&(hops % 3).to_string());
        ctx.wait_until(async move {
            if hops > 0 {
                next.pass_on(hops - 1).await.unwrap();
            }
        });
        Ok(())
    }

    pub fn close_for(&mut self, ctx: &Context<Self>, seconds: u64) {
        ctx.block_concurrency_while(move |gate| async move {
            gate.sleep(Duration::from_secs(seconds)).await;
            Ok::<_, durable::Error>(())
        });
    }

    /// Waits for the test, which is the world's part here.
    pub fn wait_for_the_world(&mut self, ctx: &Context<Self>) -> Result<()> {
        let (world, this) = (ctx.env::<Arc<Notify>>()?.clone(), ctx.handle());
        ctx.wait_until(async move {
            world.notified().await;
            this.turn(|diary, ctx| diary.write(ctx, "the world")).await.unwrap();
        });
        Ok(())
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        match request.uri().path() {
            "/sleep" => this.sleep(HOUR).await,
            "/world" => this.env::<Arc<Notify>>()?.notified().await,
            _ => {}
        }
        let turns = this.turn(|diary, _| Ok::<_, durable::Error>(diary.turn())).await?;
        Ok(Response::new(Body::from(turns.to_string())))
    }
}

fn register(builder: Builder) -> Builder {
    builder.register::<Diary>()
}

async fn start() -> TestRuntime {
    TestRuntime::start(register).await.unwrap()
}

/// With a world that answers when the notifier says so.
async fn start_with_a_world(kit: TestBuilder) -> (TestRuntime, Arc<Notify>) {
    let world = Arc::new(Notify::new());
    let env = world.clone();
    (kit.start(move |builder| register(builder).env(env.clone())).await.unwrap(), world)
}

fn get(path: &str) -> Request {
    http::Request::get(path).body(Body::empty()).unwrap()
}

async fn body(response: Response) -> String {
    use http_body_util::BodyExt;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Writes each test twice: on one thread and on many.
macro_rules! on_both {
    ($(async fn $name:ident() $body:block)+) => {
        $(
            mod $name {
                use super::*;

                async fn test() $body

                #[test]
                fn on_one_thread() {
                    super::on_one_thread(test());
                }

                #[test]
                fn on_many_threads() {
                    super::on_many_threads(test());
                }
            }
        )+
    };
}

on_both! {
    async fn what_falls_due_runs_in_order_and_at_its_time() {
        let runtime = start().await;
        let (a, b) = (runtime.get::<Diary>("a"), runtime.get::<Diary>("b"));
        let start = runtime.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        a.remind("three".into(), 3, 1).await.unwrap();
        a.remind("two".into(), 2, 2).await.unwrap();
        b.remind("later".into(), 600, 1).await.unwrap();
        runtime.advance(Duration::from_millis(1_999)).await.unwrap();
        assert!(a.texts().await.unwrap().is_empty());
        runtime.advance(Duration::from_millis(1)).await.unwrap();
        assert_eq!(a.texts().await.unwrap(), ["two"]);
        runtime.advance(HOUR * 24).await.unwrap();
        assert_eq!(a.texts().await.unwrap(), ["two", "three", "two"]);
        assert_eq!(a.times().await.unwrap(), [start + 2, start + 3, start + 4]);
        assert_eq!(b.times().await.unwrap(), [start + 600]);
        let now = runtime.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(now, start + 2 + 86_400);
    }

    async fn quiet_is_when_all_that_was_set_off_is_done() {
        let runtime = start().await;
        runtime.get::<Diary>("0").pass_on(100).await.unwrap();
        let before = runtime.now();
        runtime.settle().await.unwrap();
        assert_eq!(runtime.now(), before);
        let mut written = 0;
        for name in ["0", "1", "2"] {
            written += runtime.get::<Diary>(name).texts().await.unwrap().len();
        }
        assert_eq!(written, 101);
    }

    async fn a_handler_that_sleeps_is_quiet_until_its_time() {
        let runtime = start().await;
        let fetch = tokio::spawn(runtime.get::<Diary>("a").fetch(get("/sleep")));
        // The spawned task is the test's own: it has called once the object is at work.
        while runtime.evict(&runtime.get::<Diary>("a")).await.unwrap() {}
        runtime.advance(HOUR - Duration::from_nanos(1)).await.unwrap();
        assert!(!fetch.is_finished());
        runtime.advance(Duration::from_nanos(1)).await.unwrap();
        assert_eq!(body(fetch.await.unwrap().unwrap()).await, "1");
    }

    async fn who_waits_for_another_object_is_quiet_with_it() {
        let runtime = start().await;
        let (a, b) = (runtime.get::<Diary>("a"), runtime.get::<Diary>("b"));
        b.close_for(20).await.unwrap();
        a.tell("b".into(), "at last".into()).await.unwrap();
        runtime.advance(Duration::from_secs(19)).await.unwrap();
        let b_texts = b.texts();
        runtime.advance(Duration::from_secs(1)).await.unwrap();
        assert_eq!(b_texts.await.unwrap(), ["at last"]);
    }

    async fn who_waits_for_the_world_is_named() {
        let kit = TestRuntime::builder().patience(Duration::from_millis(1));
        let (runtime, world) = start_with_a_world(kit).await;
        runtime.get::<Diary>("a").wait_for_the_world().await.unwrap();
        let before = runtime.now();
        let error = runtime.advance(HOUR).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.message().contains("a background future of Diary \"a\""), "{error}");
        assert_eq!(runtime.now(), before, "time does not pass before all is quiet");
        let mut fetch = Box::pin(runtime.get::<Diary>("b").fetch(get("/world")));
        assert!(poll_once(&mut fetch).is_pending());
        let error = runtime.settle().await.unwrap_err();
        assert!(error.message().contains("`fetch` of Diary \"b\""), "{error}");
        world.notify_waiters();
        assert_eq!(body(fetch.await.unwrap()).await, "1");
        while runtime.settle().await.is_err() {}
        assert_eq!(runtime.get::<Diary>("a").texts().await.unwrap(), ["the world"]);
    }

    async fn the_runtimes_limits_are_on_the_clock() {
        let runtime = start().await;
        let a = runtime.get::<Diary>("a");
        // A gate may be closed for 30 seconds, a background future may run for 15 minutes.
        a.close_for(20).await.unwrap();
        let mut waiting = a.turn();
        assert!(poll_once(&mut waiting).is_pending());
        runtime.advance(Duration::from_secs(20)).await.unwrap();
        assert_eq!(waiting.await, Ok(1));
        a.close_for(31).await.unwrap();
        let mut waiting = a.turn();
        assert!(poll_once(&mut waiting).is_pending());
        runtime.advance(Duration::from_secs(30)).await.unwrap();
        assert!(matches!(waiting.await, Err(CallError::Reset { .. })));
        a.remind("late".into(), 15 * 60 + 1, 1).await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert!(a.texts().await.unwrap().is_empty());
        // A caller's patience, too.
        a.close_for(20).await.unwrap();
        let mut waiting = a.turn().timeout(Duration::from_secs(5));
        assert!(poll_once(&mut waiting).is_pending());
        runtime.advance(Duration::from_secs(5)).await.unwrap();
        assert!(matches!(waiting.await, Err(CallError::TimedOut { started: false, .. })));
    }

    async fn idle_objects_go_as_time_passes() {
        let runtime = start().await;
        let a = runtime.get::<Diary>("a");
        assert_eq!(a.turn().await, Ok(1));
        runtime.advance(Duration::from_secs(9)).await.unwrap();
        assert_eq!(a.turn().await, Ok(2));
        runtime.advance(Duration::from_secs(13)).await.unwrap();
        assert_eq!(a.turn().await, Ok(1));
        runtime.advance(LONG).await.unwrap();
    }

    async fn evicted_objects_begin_anew_and_those_at_work_stay() {
        let runtime = start().await;
        let (a, b) = (runtime.get::<Diary>("a"), runtime.get::<Diary>("b"));
        a.write("kept").await.unwrap();
        assert_eq!(a.turn().await, Ok(1));
        assert_eq!(b.turn().await, Ok(1));
        assert!(runtime.evict(&a).await.unwrap());
        assert_eq!((a.turn().await, b.turn().await), (Ok(1), Ok(2)));
        assert_eq!(a.texts().await.unwrap(), ["kept"]);
        assert!(runtime.evict_all().await.unwrap());
        assert_eq!((a.turn().await, b.turn().await), (Ok(1), Ok(1)));
        b.remind("later".into(), 60, 1).await.unwrap();
        assert!(!runtime.evict(&b).await.unwrap());
        assert!(!runtime.evict_all().await.unwrap());
        assert_eq!((a.turn().await, b.turn().await), (Ok(1), Ok(2)));
        runtime.advance(HOUR).await.unwrap();
        assert!(runtime.evict_all().await.unwrap());
    }

    async fn every_turn_may_find_a_fresh_instance() {
        let kit = TestRuntime::builder().evict_between_turns();
        let runtime = kit.start(register).await.unwrap();
        let a = runtime.get::<Diary>("a");
        for _ in 0..3 {
            assert_eq!(a.turn().await, Ok(1));
            a.write("kept").await.unwrap();
        }
        // Those that wait in the queue, too.
        let mut calls = [a.turn(), a.turn(), a.turn()];
        for call in &mut calls {
            let _ = poll_once(call);
        }
        for call in calls {
            assert_eq!(call.await, Ok(1));
        }
        assert_eq!(a.texts().await.unwrap(), ["kept", "kept", "kept"]);
        // Handlers keep the instance, and no longer.
        for _ in 0..3 {
            assert_eq!(body(a.fetch(get("/")).await.unwrap()).await, "1");
        }
        a.remind("late".into(), 1, 2).await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(a.turn().await, Ok(1));
        assert_eq!(a.texts().await.unwrap().len(), 5);
        // A constructor with a gate does not go round for ever.
        assert_eq!(runtime.get::<Diary>("gated").turn().await, Ok(101));
    }

    async fn private_parts_are_within_reach() {
        let runtime = start().await;
        let a = runtime.get::<Diary>("a");
        let set = runtime.run_in_object(&a, |diary, ctx| {
            diary.turns = 41;
            diary.write(ctx, "from the test")?;
            Ok(ctx.name().map(str::to_owned))
        });
        assert_eq!(set.await.unwrap().as_deref(), Some("a"));
        assert_eq!(a.turn().await, Ok(42));
        let failed = runtime.run_in_object(&a, |diary, ctx| -> Result<()> {
            diary.write(ctx, "undone")?;
            Err(durable::Error::other("on purpose"))
        });
        assert_eq!(failed.await.unwrap_err().message(), "on purpose");
        assert_eq!(a.texts().await.unwrap(), ["from the test"]);
    }

    async fn a_restart_keeps_what_is_stored() {
        let mut runtime = start().await;
        let before = runtime.get::<Diary>("a");
        before.write("kept").await.unwrap();
        before.turn().await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        let time = runtime.now();
        runtime.restart().await.unwrap();
        assert_eq!(before.turn().await, Err(CallError::ShutDown));
        let after = runtime.get::<Diary>("a");
        assert_eq!(after.turn().await, Ok(1));
        assert_eq!(after.texts().await.unwrap(), ["kept"]);
        assert_eq!(runtime.now(), time);
    }

    async fn a_crash_loses_nothing_that_was_acknowledged_and_whatever_was_on_its_way() {
        let mut runtime =
            TestRuntime::start(|builder| register(builder).checkpoint_distance(4_096)).await.unwrap();
        let mut written = Vec::new();
        for round in 0..8 {
            let (a, b) = (runtime.get::<Diary>("a"), runtime.get::<Diary>("b"));
            for number in 0..20 {
                let text = format!("{round}/{number}");
                a.write(&text).await.unwrap();
                written.push(text);
            }
            b.remind("never".into(), 60, 1).await.unwrap();
            let mut fetch = Box::pin(b.fetch(get("/sleep")));
            assert!(poll_once(&mut fetch).is_pending());
            runtime.settle().await.unwrap();
            runtime.crash().await.unwrap();
            assert!(fetch.await.is_err());
            assert_eq!(a.turn().await, Err(CallError::ShutDown));
            assert_eq!(runtime.get::<Diary>("a").texts().await.unwrap(), written);
            runtime.advance(HOUR * 2).await.unwrap();
        }
        assert!(runtime.get::<Diary>("b").texts().await.unwrap().is_empty());
    }

    async fn many_at_the_same_time_do_not_know_of_each_other() {
        let mut tasks = Vec::new();
        for hours in 0..8_u32 {
            tasks.push(tokio::spawn(async move {
                let runtime = start().await;
                let a = runtime.get::<Diary>("a");
                a.remind("x".into(), 60, 5).await.unwrap();
                runtime.advance(HOUR * hours).await.unwrap();
                (runtime.now(), a.texts().await.unwrap().len())
            }));
        }
        let start = start().await.now();
        for (hours, task) in (0..).zip(tasks) {
            let expected = if hours == 0 { 0 } else { 5 };
            assert_eq!(task.await.unwrap(), (start + HOUR * hours, expected));
        }
    }

    async fn the_directory_goes_with_the_runtime() {
        let runtime = start().await;
        runtime.get::<Diary>("a").write("x").await.unwrap();
        let directory = runtime.directory().to_owned();
        assert!(directory.join("FORMAT").exists());
        drop(runtime);
        assert!(!directory.exists());
    }
}

#[test]
fn a_seed_repeats_what_is_random() {
    on_one_thread(async {
        let ids = async |seed| {
            let mut runtime = TestRuntime::builder().seed(seed).start(register).await.unwrap();
            let first = runtime.namespace::<Diary>().unique_id().unwrap();
            runtime.restart().await.unwrap();
            (first, runtime.namespace::<Diary>().unique_id().unwrap())
        };
        let (first, second) = ids(7).await;
        assert_ne!(first, second, "a restart does not begin anew");
        assert_eq!(ids(7).await, (first.clone(), second));
        assert_ne!(ids(8).await.0, first);
    });
}

#[test]
fn a_restart_does_not_wait_for_ever() {
    on_one_thread(async {
        let kit = TestRuntime::builder().patience(Duration::from_millis(1));
        let mut runtime = kit.start(register).await.unwrap();
        runtime.get::<Diary>("a").remind("late".into(), 60, 1).await.unwrap();
        let error = runtime.restart().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// Rings at its time, and fails the first time.
#[derive(Default)]
struct Bell;

#[durable_object]
impl Bell {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE rings (at INTEGER NOT NULL, retry INTEGER NOT NULL)")
    }

    pub fn set(&mut self, ctx: &Context, after: Duration) -> Result<()> {
        ctx.set_alarm(after)
    }

    pub fn rings(&self, ctx: &Context) -> Result<Vec<(u64, u32)>> {
        ctx.sql().query_all("SELECT at, retry FROM rings ORDER BY at", [])
    }

    async fn alarm(this: Handle<Self>, alarm: AlarmInfo) -> Result<()> {
        if alarm.retry_count == 0 {
            return Err(durable::Error::other("not yet"));
        }
        this.turn(move |_, ctx| {
            let at = ctx.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let row = (at.as_secs(), alarm.retry_count);
            ctx.sql().execute("INSERT INTO rings VALUES (?, ?)", row).map(drop)
        })
        .await
    }
}

#[test]
fn alarms_run_when_their_time_is_passed_by_hand() {
    on_many_threads(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Bell>()).await.unwrap();
        let bells: Vec<_> = (0..20).map(|n| runtime.get::<Bell>(&n.to_string())).collect();
        let start = runtime.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        for (n, bell) in (1_u64..).zip(&bells) {
            bell.set(HOUR * u32::try_from(n).unwrap()).await.unwrap();
        }
        runtime.evict_all().await.unwrap();
        runtime.advance(HOUR * 10 + Duration::from_mins(1)).await.unwrap();
        for (n, bell) in (1_u64..).zip(&bells) {
            let rings = bell.rings().await.unwrap();
            if n > 10 {
                assert_eq!(rings, []);
                continue;
            }
            let [(at, 1)] = rings[..] else { panic!("{n}: {rings:?}") };
            // The second run comes 2 seconds later, or up to a quarter more.
            assert!((2..=3).contains(&(at - start - n * 3_600)), "{n}: {at}");
        }
    });
}
