//! Alarms as a program has them: by the system's clock, from files that were left by a kill, on a clock that a program moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use durable::Error;
use durable::prelude::*;
use durable_tests::{Bed, Form, copy_directory, matrix, on_one_thread};
use tokio::sync::mpsc;

/// Where handlers tell that they have run, and with what.
type Runs = mpsc::UnboundedSender<(String, AlarmInfo)>;

fn tell(runs: &Runs, name: Option<&str>, alarm: AlarmInfo) {
    let _ = runs.send((name.unwrap_or_default().to_owned(), alarm));
}

/// Counts down to zero, one alarm at a time.
#[derive(Default)]
struct Countdown;

#[durable_object]
impl Countdown {
    pub fn start(&mut self, ctx: &Context, from: u32) -> Result<()> {
        ctx.kv().put("left", &from)?;
        ctx.set_alarm(After(Duration::from_millis(1)))
    }

    pub fn sleep_until(&mut self, ctx: &Context, time: SystemTime) -> Result<()> {
        ctx.set_alarm(time)
    }

    pub fn left(&self, ctx: &Context) -> Result<Option<u32>> {
        ctx.kv().get("left")
    }

    pub fn next(&self, ctx: &Context) -> Result<Option<SystemTime>> {
        ctx.alarm()
    }

    pub fn set_while_reading(&self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(ctx.now())
    }

    fn alarm(&mut self, ctx: &Context<Self>, alarm: AlarmInfo) -> Result<()> {
        assert!(ctx.now() >= alarm.scheduled_time);
        let left = ctx.kv().get("left")?.unwrap_or(0_u32).saturating_sub(1);
        ctx.kv().put("left", &left)?;
        if left > 0 {
            ctx.set_alarm(After(Duration::from_millis(1)))?;
        }
        tell(ctx.env::<Runs>()?, ctx.name(), alarm);
        Ok(())
    }
}

/// Delivers parcels, outside of turns.
#[derive(Default)]
struct Carrier;

#[durable_object]
impl Carrier {
    pub fn take(&mut self, ctx: &Context, parcel: &str) -> Result<bool> {
        ctx.kv().put(parcel, &true)?;
        ctx.ensure_alarm(After(Duration::ZERO))
    }

    pub fn rest(&self, ctx: &Context) -> Result<usize> {
        ctx.kv().keys(..)?.try_fold(0, |count, key| key.map(|_| count + 1))
    }

    async fn alarm(this: Handle<Self>, alarm: AlarmInfo) -> Result<()> {
        let parcels: Vec<String> =
            this.turn(|_, ctx| ctx.kv().keys(..)?.collect::<Result<_, Error>>()).await?;
        tokio::task::yield_now().await;
        this.turn(move |_, ctx| ctx.kv().delete_many(parcels)).await?;
        tell(this.env::<Runs>()?, this.name(), alarm);
        Ok(())
    }
}

async fn start(bed: &Bed) -> (Runtime, mpsc::UnboundedReceiver<(String, AlarmInfo)>) {
    let (sender, runs) = mpsc::unbounded_channel();
    let builder = bed.builder().register::<Countdown>().register::<Carrier>().env::<Runs>(sender);
    (builder.start().await.unwrap(), runs)
}

matrix! {
    async fn an_alarm_wakes_its_object_again_and_again(bed) {
        let (runtime, mut runs) = start(&bed).await;
        let stub = runtime.get::<Countdown>("a");
        stub.start(5).await.unwrap();
        for _ in 0..5 {
            let (name, alarm) = runs.recv().await.unwrap();
            assert_eq!((name.as_str(), alarm.retry_count, alarm.is_retry), ("a", 0, false));
        }
        runtime.shutdown().await.unwrap();
        let (runtime, _runs) = start(&bed).await;
        let stub = runtime.get::<Countdown>("a");
        assert_eq!(stub.left().await.unwrap(), Some(0));
        assert_eq!(stub.next().await.unwrap(), None);
        stub.set_while_reading().await.unwrap_err();
    }

    async fn an_async_handler_takes_what_there_is(bed) {
        let (runtime, mut runs) = start(&bed).await;
        let stub = runtime.get::<Carrier>("a");
        let mut sent = 0;
        while sent < 20 {
            stub.take(&sent.to_string()).await.unwrap();
            sent += 1;
        }
        while stub.rest().await.unwrap() > 0 {
            runs.recv().await.unwrap();
        }
    }
}

/// Many at once, more than are woken at the same time.
#[test]
fn everybody_gets_a_turn() {
    durable_tests::on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let (runtime, mut runs) = start(&bed).await;
        let mut names = Vec::new();
        for number in 0..300 {
            let name = format!("{number:03}");
            runtime.get::<Carrier>(&name).take("parcel").await.unwrap();
            names.push(name);
        }
        let mut woken = Vec::new();
        for _ in &names {
            woken.push(runs.recv().await.unwrap().0);
        }
        woken.sort();
        assert_eq!(woken, names);
    });
}

/// What is left of a program that was killed has its alarms: what was due runs at the start, and the rest when it is due.
#[test]
fn a_kill_loses_no_alarm() {
    on_one_thread(async {
        let (bed, left) = (Bed::new(Form::Moved), Bed::new(Form::Moved));
        let start = |bed: &Bed, hour: &Arc<AtomicU64>| {
            let (sender, runs) = mpsc::unbounded_channel();
            let hour = Arc::clone(hour);
            let clock = move || at(hour.load(Ordering::SeqCst));
            let builder = bed.builder().register::<Countdown>().env::<Runs>(sender).clock(clock);
            async move { (builder.start().await.unwrap(), runs) }
        };
        let hour = Arc::new(AtomicU64::new(1));
        let (runtime, _runs) = start(&bed, &hour).await;
        for (name, hour) in [("later", 9), ("third", 4), ("first", 2), ("second", 3)] {
            runtime.get::<Countdown>(name).sleep_until(at(hour)).await.unwrap();
        }
        copy_directory(bed.path(), left.path());
        hour.store(5, Ordering::SeqCst);
        let (killed, mut runs) = start(&left, &hour).await;
        for expected in ["first", "second", "third"] {
            let (name, _) = runs.recv().await.unwrap();
            assert_eq!(name, expected);
        }
        let next = killed.get::<Countdown>("later").next().await.unwrap();
        assert_eq!(next, Some(at(9)));
        killed.shutdown().await.unwrap();
        assert!(runs.try_recv().is_err(), "nobody else ran");
    });
}

fn at(hour: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(hour)
}
