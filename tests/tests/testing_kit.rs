//! What the test kit can look at and do to objects.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable_tests::on_one_thread;

const HOUR: Duration = Duration::from_hours(1);

/// Rings when its alarm runs, unless it is broken.
#[derive(Default)]
struct Bell;

#[durable_object]
impl Bell {
    pub fn set(&mut self, ctx: &Context, after: Duration) -> Result<()> {
        ctx.set_alarm(after)
    }

    pub fn break_it(&mut self, ctx: &Context, is_broken: bool) -> Result<()> {
        ctx.kv().put("broken", &is_broken)
    }

    pub fn rings(&self, ctx: &Context) -> Result<u32> {
        Ok(ctx.kv().get("rings")?.unwrap_or(0))
    }

    pub fn melt(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    fn alarm(&mut self, ctx: &Context<Self>, alarm: AlarmInfo) -> Result<()> {
        if ctx.kv().get("broken")?.unwrap_or(false) {
            return Err(durable::Error::other(format!("broken, run {}", alarm.retry_count)));
        }
        let rings: u32 = ctx.kv().get("rings")?.unwrap_or(0);
        ctx.kv().put("rings", &(rings + 1))
    }
}

async fn start() -> TestRuntime {
    let builder = TestRuntime::builder().in_memory();
    builder.start(|builder| builder.register::<Bell>()).await.unwrap()
}

#[test]
fn an_alarm_is_fired_before_its_time_and_once() {
    on_one_thread(async {
        let runtime = start().await;
        let bell = runtime.get::<Bell>("a");
        assert!(!runtime.fire_alarm(&bell).await.unwrap(), "none is set");
        bell.set(HOUR).await.unwrap();
        assert!(runtime.fire_alarm(&bell).await.unwrap());
        assert_eq!(bell.rings().await.unwrap(), 1);
        runtime.advance(2 * HOUR).await.unwrap();
        assert_eq!(bell.rings().await.unwrap(), 1);
    });
}

#[test]
fn what_is_stored_is_listed_wherever_it_is() {
    on_one_thread(async {
        let mut runtime = start().await;
        let namespace = runtime.namespace::<Bell>();
        let id = |name: &str| namespace.id_from_name(name).unwrap();
        let listed = |runtime: &TestRuntime| runtime.list::<Bell>().unwrap();
        let sorted = |mut ids: Vec<_>| {
            ids.sort_by_key(ToString::to_string);
            ids
        };
        // One that is only read does not exist.
        runtime.get::<Bell>("reader").rings().await.unwrap();
        assert!(listed(&runtime).is_empty());
        for name in ["a", "b", "c"] {
            runtime.get::<Bell>(name).break_it(false).await.unwrap();
        }
        assert_eq!(listed(&runtime), sorted(vec![id("a"), id("b"), id("c")]));
        runtime.get::<Bell>("b").melt().await.unwrap();
        assert_eq!(listed(&runtime), sorted(vec![id("a"), id("c")]));
        runtime.evict_all().await.unwrap();
        assert_eq!(listed(&runtime), sorted(vec![id("a"), id("c")]));
        runtime.restart().await.unwrap();
        assert_eq!(listed(&runtime), sorted(vec![id("a"), id("c")]));
        runtime.get::<Bell>("c").melt().await.unwrap();
        runtime.crash().await.unwrap();
        assert_eq!(listed(&runtime), [id("a")]);
    });
}

#[test]
fn an_alarm_that_was_given_up_is_listed_and_runs_again_when_told() {
    on_one_thread(async {
        let mut runtime = start().await;
        for name in ["good", "bad"] {
            let bell = runtime.get::<Bell>(name);
            bell.break_it(name == "bad").await.unwrap();
            bell.set(HOUR).await.unwrap();
        }
        runtime.advance(2 * HOUR).await.unwrap();
        runtime.restart().await.unwrap();
        let failed = runtime.namespace::<Bell>().failed_alarms().await.unwrap();
        let [(id, alarm)] = &failed[..] else { panic!("{failed:?}") };
        assert_eq!(*id, runtime.namespace::<Bell>().id_from_name("bad").unwrap());
        assert_eq!((alarm.runs, alarm.reason.as_str()), (7, "broken, run 6"));

        // Still broken: seven more runs.
        assert_eq!(runtime.namespace::<Bell>().retry(id).await.unwrap(), 1);
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.namespace::<Bell>().failed_alarms().await.unwrap().len(), 1);

        let bad = runtime.get::<Bell>("bad");
        bad.break_it(false).await.unwrap();
        runtime.namespace::<Bell>().retry(id).await.unwrap();
        runtime.settle().await.unwrap();
        assert_eq!(bad.rings().await.unwrap(), 1);
        assert!(runtime.namespace::<Bell>().given_up().unwrap().is_empty());
        assert_eq!(runtime.namespace::<Bell>().retry(id).await.unwrap(), 0);
    });
}

/// Wakes itself for ever.
#[derive(Default)]
struct Restless;

#[durable_object]
impl Restless {
    pub fn start(&mut self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(ctx.now())
    }

    pub fn runs(&self, ctx: &Context) -> Result<u32> {
        Ok(ctx.kv().get("runs")?.unwrap_or(0))
    }

    fn alarm(&mut self, ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        let runs: u32 = ctx.kv().get("runs")?.unwrap_or(0);
        ctx.kv().put("runs", &(runs + 1))?;
        ctx.set_alarm(ctx.now())
    }
}

#[test]
fn an_object_that_wakes_itself_for_ever_is_slowed_down() {
    on_one_thread(async {
        let limit = |builder: durable::Builder| builder.wake_limit(10, Duration::from_secs(10));
        let runtime = TestRuntime::start(move |builder| limit(builder).register::<Restless>());
        let runtime = runtime.await.unwrap();
        let restless = runtime.get::<Restless>("a");
        restless.start().await.unwrap();
        runtime.settle().await.unwrap();
        assert_eq!(restless.runs().await.unwrap(), 10);
        // It rests for 10, 20, 40 … 640 seconds.
        runtime.advance(Duration::from_secs(10 + 20 + 40)).await.unwrap();
        assert_eq!(restless.runs().await.unwrap(), 40);
        runtime.advance(HOUR).await.unwrap();
        let runs = restless.runs().await.unwrap();
        assert!((80..=130).contains(&runs), "{runs}");
    });
}

/// Fails without having written anything.
#[derive(Default)]
struct Careful {
    tries: u32,
}

#[durable_object]
impl Careful {
    pub fn start(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.set_alarm(ctx.now())?;
        ctx.schedule("timer", At(ctx.now()), ctx.this().attempt())
    }

    pub fn attempt(&mut self) -> Result<()> {
        self.tries += 1;
        Err(durable::Error::other("not now"))
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    fn alarm(&mut self, _ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        self.attempt()
    }
}

#[test]
fn a_run_that_fails_and_wrote_nothing_keeps_the_instance() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Careful>()).await.unwrap();
        let careful = runtime.get::<Careful>("a");
        careful.start().await.unwrap();
        runtime.advance(Duration::from_secs(3)).await.unwrap();
        assert_eq!(careful.tries().await.unwrap(), 4, "two runs of each");
    });
}

/// Cannot be reached for the first 25 seconds that it is awake.
#[derive(Default)]
struct Sleepy;

#[durable_object]
impl Sleepy {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        if ctx.kv().get("set")?.unwrap_or(false) {
            let this = ctx.handle();
            ctx.block_concurrency_while(|_| async move {
                this.sleep(Duration::from_secs(25)).await;
                Ok::<_, durable::Error>(())
            });
        }
        Ok(Sleepy)
    }

    pub fn set(&mut self, ctx: &Context, after: Duration) -> Result<()> {
        ctx.kv().put("set", &true)?;
        ctx.set_alarm(after)
    }

    fn alarm(&mut self, _ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        Ok(())
    }
}

#[test]
fn objects_behind_gates_do_not_keep_others_from_their_alarms() {
    on_one_thread(async {
        let start = TestRuntime::start(|builder| builder.register::<Sleepy>().register::<Bell>());
        let runtime = start.await.unwrap();
        // More than are woken at once, also when that is doubled once.
        for number in 0..150 {
            runtime.get::<Sleepy>(&number.to_string()).set(HOUR).await.unwrap();
        }
        let bell = runtime.get::<Bell>("a");
        bell.set(HOUR + Duration::from_secs(1)).await.unwrap();
        runtime.evict_all().await.unwrap();
        runtime.advance(HOUR + Duration::from_secs(4)).await.unwrap();
        assert_eq!(bell.rings().await.unwrap(), 1);
        runtime.advance(HOUR).await.unwrap();
        bell.set(HOUR).await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(bell.rings().await.unwrap(), 2);
    });
}
