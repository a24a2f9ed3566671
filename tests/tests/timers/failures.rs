//! Timers whose runs fail.

use super::*;

use std::sync::atomic::AtomicU32;

/// How a run goes wrong.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum How {
    Error,
    Panic,
    Abort,
    Doom,
}

const ALL: [(How, &str); 4] = [
    (How::Error, "no luck"),
    (How::Panic, "it panicked: no luck"),
    (How::Abort, "the object was reset: no luck"),
    (How::Doom, "UNIQUE"),
];

/// Does what it is told, after as many failures as the test says.
#[derive(Default)]
struct Clumsy {
    /// Kept in memory only: a run that failed has left nothing.
    runs: u32,
}

#[durable_object]
impl Clumsy {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE done (what TEXT PRIMARY KEY, at INTEGER NOT NULL)")
    }

    pub fn attempt(&mut self, ctx: &Context, how: How) -> Result<()> {
        self.runs += 1;
        assert_eq!(self.runs, 1, "an instance is of no use after a run that failed");
        let at = i64::try_from(seconds(ctx.now())).unwrap();
        let what = format!("{how:?} {at}");
        ctx.sql().execute("INSERT INTO done VALUES (?, ?)", (&*what, at))?;
        let Failures(left) = &**ctx.env::<Arc<Failures>>()?;
        if left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_err()
        {
            self.runs = 0;
            return Ok(());
        }
        match how {
            How::Error => Err(durable::Error::other("no luck")),
            How::Panic => panic!("no luck"),
            How::Abort => Err(ctx.abort("no luck")),
            How::Doom => {
                let insert = "INSERT OR ROLLBACK INTO done VALUES (?, ?)";
                assert!(ctx.sql().execute(insert, (what, at)).is_err());
                Ok(())
            }
        }
    }

    pub fn done(&self, ctx: &Context) -> Result<Vec<u64>> {
        ctx.sql().query_all("SELECT at FROM done ORDER BY at", [])
    }
}

#[derive(Debug, Default)]
struct Failures(AtomicU32);

async fn start() -> (TestRuntime, Arc<Failures>) {
    let failures = Arc::<Failures>::default();
    let env = Arc::clone(&failures);
    let runtime =
        TestRuntime::start(move |builder| builder.register::<Clumsy>().env(Arc::clone(&env)));
    (runtime.await.unwrap(), failures)
}

async fn set(
    runtime: &TestRuntime,
    when: impl Into<durable::Recurrence> + Send + 'static,
    how: How,
) {
    let stub = runtime.get::<Clumsy>("a");
    let set = runtime
        .run_in_object(&stub, move |_, ctx| ctx.schedule("key", when, ctx.this().attempt(how)));
    set.await.unwrap();
}

async fn schedule(runtime: &TestRuntime) -> Option<Schedule> {
    let schedules =
        runtime.run_in_object(&runtime.get::<Clumsy>("a"), |_, ctx| ctx.schedules()).await;
    schedules.unwrap().pop()
}

#[test]
fn a_run_that_fails_leaves_nothing_and_is_tried_again() {
    on_one_thread(async {
        for (how, reason) in ALL {
            let (runtime, failures) = start().await;
            let begin = runtime.now();
            failures.0.store(3, Ordering::SeqCst);
            set(&runtime, At(begin + HOUR), how).await;
            runtime.advance(HOUR).await.unwrap();
            let waiting = schedule(&runtime).await.unwrap();
            let failure = waiting.last_failure.unwrap();
            assert_eq!((failure.time, failure.runs), (begin + HOUR, 1), "{how:?}");
            assert!(failure.reason.contains(reason), "{how:?}: {}", failure.reason);
            let next = waiting.next_run.unwrap().duration_since(begin + HOUR).unwrap();
            assert!(!waiting.is_given_up && (2 * SECOND..=5 * SECOND / 2).contains(&next));
            runtime.advance(MINUTE).await.unwrap();
            // After 2, 4 and 8 seconds, each longer by up to a quarter.
            let done = runtime.get::<Clumsy>("a").done().await.unwrap();
            let [at] = done[..] else { panic!("{how:?}: {done:?}") };
            let after = at - seconds(begin + HOUR);
            assert!((14..=17).contains(&after), "{how:?}: after {after} seconds");
            assert_eq!(schedule(&runtime).await, None);
        }
    });
}

#[test]
fn after_seven_runs_it_is_given_up_and_kept() {
    on_one_thread(async {
        for (how, reason) in ALL {
            let (mut runtime, failures) = start().await;
            let begin = runtime.now();
            failures.0.store(7, Ordering::SeqCst);
            set(&runtime, At(begin), how).await;
            runtime.advance(DAY).await.unwrap();
            assert_eq!(failures.0.load(Ordering::SeqCst), 0, "all its runs");
            runtime.restart().await.unwrap();
            let given_up = schedule(&runtime).await.unwrap();
            assert!(given_up.is_given_up && given_up.next_run.is_none());
            let failure = given_up.last_failure.unwrap();
            assert!(failure.runs == 7 && failure.reason.contains(reason), "{failure:?}");
            let after = failure.time.duration_since(begin).unwrap();
            assert!((126 * SECOND..=158 * SECOND).contains(&after), "{after:?}");
            // The same once more changes nothing, another time does.
            set(&runtime, At(begin), how).await;
            runtime.advance(DAY).await.unwrap();
            assert!(schedule(&runtime).await.unwrap().is_given_up);
            set(&runtime, At(begin + SECOND), how).await;
            runtime.settle().await.unwrap();
            assert_eq!(schedule(&runtime).await, None);
            assert_eq!(runtime.get::<Clumsy>("a").done().await.unwrap().len(), 1);
        }
    });
}

#[test]
fn what_recurs_goes_on_with_its_next_period() {
    on_one_thread(async {
        let (runtime, failures) = start().await;
        let begin = runtime.now();
        failures.0.store(7, Ordering::SeqCst);
        set(&runtime, Every(HOUR), How::Error).await;
        runtime.advance(HOUR + 30 * MINUTE).await.unwrap();
        let failed = schedule(&runtime).await.unwrap();
        assert!(!failed.is_given_up);
        assert_eq!(failed.next_run, Some(begin + 2 * HOUR));
        let failure = failed.last_failure.unwrap();
        assert_eq!((failure.runs, &*failure.reason), (7, "no luck"));
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Clumsy>("a").done().await.unwrap(), [seconds(begin + 2 * HOUR)]);
        let healed = schedule(&runtime).await.unwrap();
        assert_eq!((healed.next_run, healed.last_failure), (Some(begin + 3 * HOUR), None));
    });
}

#[test]
fn a_retry_stands_in_for_the_next_period() {
    on_one_thread(async {
        let (runtime, failures) = start().await;
        let begin = runtime.now();
        failures.0.store(4, Ordering::SeqCst);
        // Runs at 10; retries after 2 and 4; at 20 and not after 8; at 30 and not after 16.
        set(&runtime, Every(10 * SECOND), How::Error).await;
        runtime.advance(55 * SECOND).await.unwrap();
        let done = runtime.get::<Clumsy>("a").done().await.unwrap();
        assert_eq!(done, [30, 40, 50].map(|second| seconds(begin) + second));
    });
}

/// Another program under the same name, which has another method.
mod newer {
    use super::*;

    #[derive(Default)]
    pub(super) struct Clumsy;

    #[durable_object]
    impl Clumsy {
        #[migration(1)]
        fn create(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE done (what TEXT PRIMARY KEY, at INTEGER NOT NULL)")
        }

        pub fn schedules(&self, ctx: &Context) -> Result<Option<(bool, String)>> {
            let first = ctx.schedules()?.pop();
            Ok(first.map(|first| (first.is_given_up, first.last_failure.unwrap().reason)))
        }
    }
}

#[test]
fn a_method_that_is_gone_is_a_run_that_failed() {
    on_one_thread(async {
        let is_newer = Arc::<AtomicBool>::default();
        let switch = Arc::clone(&is_newer);
        let started = TestRuntime::start(move |builder| {
            let builder = builder.env(Arc::<Failures>::default());
            if switch.load(Ordering::SeqCst) {
                builder.register::<newer::Clumsy>()
            } else {
                builder.register::<Clumsy>()
            }
        });
        let mut runtime = started.await.unwrap();
        set(&runtime, HOUR, How::Error).await;
        is_newer.store(true, Ordering::SeqCst);
        runtime.restart().await.unwrap();
        runtime.advance(2 * HOUR).await.unwrap();
        let (is_given_up, reason) =
            runtime.get::<newer::Clumsy>("a").schedules().await.unwrap().unwrap();
        assert!(is_given_up && reason.contains("no method `attempt`"), "{reason}");
    });
}

#[test]
fn what_is_not_its_fault_is_no_run() {
    on_one_thread(async {
        let (runtime, world) = super::start(Form::Moved).await;
        turn(&runtime, "a", |_, ctx| ctx.schedule("key", HOUR, ctx.this().note("at last")))
            .await
            .unwrap();
        runtime.evict_all().await.unwrap();
        world.is_down.store(true, Ordering::SeqCst);
        runtime.advance(DAY).await.unwrap();
        assert!(world.take_runs().is_empty());
        world.is_down.store(false, Ordering::SeqCst);
        assert_eq!(schedules(&runtime, "a").await[0].last_failure, None);
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(world.take_runs(), ["a at last"]);
    });
}
