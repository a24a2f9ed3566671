//! What objects do by themselves: alarms that wake cold objects, and messages from object to object.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use durable::prelude::*;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::measure::{Pace, Row, Run, Sides, per_second};
use crate::rows::{executor, ok};

/// Objects whose alarms are due at the same time, and messages of one run.
const SLEEPERS: usize = 20_000;
const MESSAGES: usize = 20_000;
/// Small, so that checkpoints happen meanwhile.
const DISTANCE: u64 = 1024 * 1024;
const HOUR: u64 = 3_600;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, unit, set_up| Row { name, unit, limit_name: "", pace: Pace::Whole, set_up };
    vec![
        row("due alarms of cold objects, checkpoints meanwhile", "alarms/s, no limit", |size| {
            alarms(size.scaled(SLEEPERS))
        }),
        row("messages from one object to another", "messages/s, no limit", |size| {
            messages(size.scaled(MESSAGES), 1)
        }),
        row("messages from 100 objects to 100 others", "messages/s, no limit", |size| {
            messages(size.scaled(MESSAGES), 100)
        }),
    ]
}

/// Tells when so many things have happened.
#[derive(Clone, Default)]
struct Countdown(Arc<(AtomicUsize, Notify)>);

impl Countdown {
    fn set(&self, count: usize) {
        self.0.0.store(count, Ordering::SeqCst);
    }

    fn count(&self) {
        if self.0.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.1.notify_one();
        }
    }

    async fn over(&self) {
        self.0.1.notified().await;
    }
}

/// Sleeps until its alarm, and counts it.
#[derive(Default)]
struct Sleeper;

#[durable_object]
impl Sleeper {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE wakes (total INTEGER NOT NULL); INSERT INTO wakes VALUES (0)",
        )
    }

    pub fn sleep(&mut self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(After(Duration::from_secs(HOUR)))
    }

    fn alarm(&mut self, ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        ctx.sql().execute("UPDATE wakes SET total = total + 1", [])?;
        ctx.env::<Countdown>()?.count();
        Ok(())
    }
}

/// Sends what it is told to, and counts what comes.
#[derive(Default)]
struct Post;

#[durable_object]
impl Post {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn send(&mut self, ctx: &Context, to: &str) -> Result<()> {
        ctx.send(ctx.namespace::<Post>().get_by_name(to).receive(1))
    }

    pub fn receive(&mut self, ctx: &Context, by: i64) -> Result<()> {
        ctx.sql().execute("UPDATE hits SET total = total + ?", [by])?;
        ctx.env::<Countdown>()?.count();
        Ok(())
    }
}

/// All objects set their alarm, the runtime ends, and when it starts again all of them are due.
fn alarms(sleepers: usize) -> Sides {
    let (directory, executor) = (ok(tempfile::tempdir()), executor());
    let (countdown, seconds) = (Countdown::default(), Arc::new(AtomicU64::new(0)));
    let ours: Run = Box::new(move |_| {
        let start = || {
            let seconds = Arc::clone(&seconds);
            let clock = move || {
                SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed))
            };
            let builder = Runtime::builder(directory.path()).register::<Sleeper>();
            let builder = builder.checkpoint_distance(DISTANCE).clock(clock).env(countdown.clone());
            ok(executor.block_on(builder.start()))
        };
        let runtime = start();
        in_lanes(&executor, sleepers, |index| {
            let stub = runtime.get::<Sleeper>(&index.to_string());
            async move { ok(stub.sleep().await) }
        });
        ok(executor.block_on(runtime.shutdown()));
        drop(runtime);
        countdown.set(sleepers);
        seconds.fetch_add(2 * HOUR, Ordering::Relaxed);
        let begin = Instant::now();
        let runtime = start();
        executor.block_on(countdown.over());
        let rate = per_second(sleepers, begin.elapsed());
        ok(executor.block_on(runtime.shutdown()));
        rate
    });
    Sides::alone(ours)
}

/// From the first call that sends to the last message that has its effect.
fn messages(messages: usize, pairs: usize) -> Sides {
    let (directory, executor): (TempDir, _) = (ok(tempfile::tempdir()), executor());
    let countdown = Countdown::default();
    let builder = Runtime::builder(directory.path()).register::<Post>().env(countdown.clone());
    let runtime = ok(executor.block_on(builder.start()));
    let ours: Run = Box::new(move |_| {
        // Part of what the run needs.
        let _ = directory.path();
        countdown.set(messages);
        let begin = Instant::now();
        in_lanes(&executor, messages, |index| {
            let pair = index % pairs;
            let stub = runtime.get::<Post>(&format!("from {pair}"));
            async move { ok(stub.send(&format!("to {pair}")).await) }
        });
        executor.block_on(countdown.over());
        per_second(messages, begin.elapsed())
    });
    Sides::alone(ours)
}

/// Does something so often, with 100 in flight.
fn in_lanes<F: Future<Output = ()> + Send + 'static>(
    executor: &tokio::runtime::Runtime,
    count: usize,
    make: impl Fn(usize) -> F,
) {
    let mut lanes: Vec<Vec<F>> = (0..100).map(|_| Vec::new()).collect();
    for index in 0..count {
        lanes[index % 100].push(make(index));
    }
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            executor.spawn(async move {
                for work in lane {
                    work.await;
                }
            })
        })
        .collect();
    executor.block_on(async {
        for task in tasks {
            ok(task.await);
        }
    });
}
