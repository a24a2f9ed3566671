//! Many timers of many objects: `DURABLE_TIMERS_OBJECTS=10000 cargo test --release -p durable-tests --test timers many` is the
//! long form.

use super::*;

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

/// Timers of each object.
const TIMERS: u64 = 10;

/// How often an object was activated, and which timer ran when.
#[derive(Debug, Default)]
struct Crowd {
    activated: AtomicUsize,
    runs: Mutex<Vec<(SystemTime, u64, u64)>>,
}

struct Member;

#[durable_object]
impl Member {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        ctx.env::<Arc<Crowd>>()?.activated.fetch_add(1, Ordering::SeqCst);
        Ok(Member)
    }

    /// Sets ten timers at times of the next day that look random.
    pub fn set_timers(&mut self, ctx: &Context<Self>, number: u64) -> Result<()> {
        for timer in 0..TIMERS {
            let at = ctx.now() + after(number, timer);
            ctx.schedule(&timer.to_string(), At(at), ctx.this().run(number, timer))?;
        }
        Ok(())
    }

    pub fn run(&mut self, ctx: &Context, number: u64, timer: u64) -> Result<()> {
        ctx.env::<Arc<Crowd>>()?.runs.lock().unwrap().push((ctx.now(), number, timer));
        Ok(())
    }
}

/// In one of the 8,640 spans of ten seconds of a day.
fn after(number: u64, timer: u64) -> Duration {
    let mixed = (number * TIMERS + timer).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Duration::from_secs(10 + mixed % 8_640 * 10)
}

#[test]
fn many_timers_of_objects_that_sleep_run_in_the_order_of_their_times() {
    let objects = std::env::var("DURABLE_TIMERS_OBJECTS").ok().and_then(|text| text.parse().ok());
    let objects: u64 = objects.unwrap_or(200);
    on_one_thread(async {
        let crowd = Arc::<Crowd>::default();
        let env = Arc::clone(&crowd);
        let setup = move |builder: durable::Builder| {
            builder.register::<Member>().env(Arc::clone(&env)).resident_limit(1_000)
        };
        let mut runtime = TestRuntime::start(setup).await.unwrap();
        let begin = runtime.now();
        for number in 0..objects {
            runtime.get::<Member>(&number.to_string()).set_timers(number).await.unwrap();
        }
        crowd.activated.store(0, Ordering::SeqCst);
        let restart = Instant::now();
        runtime.restart().await.unwrap();
        println!("{objects} objects: a restart took {:?}", restart.elapsed());
        runtime.settle().await.unwrap();
        assert_eq!(crowd.activated.load(Ordering::SeqCst), 0, "nobody is in memory");
        let day = Instant::now();
        runtime.advance(DAY + MINUTE).await.unwrap();
        println!("{} timers: a day took {:?}", objects * TIMERS, day.elapsed());
        let runs = std::mem::take(&mut *crowd.runs.lock().unwrap());
        let expected = runs.iter().map(|&(_, number, timer)| begin + after(number, timer));
        assert!(expected.eq(runs.iter().map(|&(at, ..)| at)), "each runs at its time");
        assert!(runs.is_sorted_by_key(|&(at, ..)| at));
        let mut once: Vec<_> = runs.iter().map(|&(_, number, timer)| (number, timer)).collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len() as u64, objects * TIMERS, "each runs");
        assert_eq!(runs.len(), once.len(), "each runs once");
    });
}
