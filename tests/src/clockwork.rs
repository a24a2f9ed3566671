//! Objects that wake themselves all the time, and whose every run leaves a trace that tells whether it ran twice, for crash tests.

use std::time::{Duration, SystemTime};

use durable::prelude::*;

/// Periods of the recurring timers, in milliseconds.
const PERIODS: [u64; 2] = [3, 7];

/// Has two recurring timers, one that sets itself anew, and an alarm.
#[derive(Debug, Default)]
pub struct Clockwork;

#[durable_object]
impl Clockwork {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE traces (wheel TEXT NOT NULL, number INTEGER NOT NULL, runs INTEGER NOT NULL, PRIMARY KEY (wheel, number));
             CREATE TABLE counts (wheel TEXT PRIMARY KEY, runs INTEGER NOT NULL)",
        )
    }

    /// Sets everything going, once.
    pub fn start(&mut self, ctx: &Context<Self>) -> Result<()> {
        if ctx.kv().get("started")?.unwrap_or(false) {
            return Ok(());
        }
        ctx.kv().put("started", &true)?;
        for period in PERIODS {
            let key = period.to_string();
            ctx.schedule(&key, Every(Duration::from_millis(period)), ctx.this().tick(&key))?;
        }
        ctx.schedule("chain", After(Duration::ZERO), ctx.this().link(1))?;
        ctx.set_alarm(After(Duration::ZERO))
    }

    /// A recurring timer runs. Its next time is that of this run: it was moved there in this very turn.
    pub fn tick(&mut self, ctx: &Context, key: &str) -> Result<()> {
        let next = ctx.schedules()?.into_iter().find(|schedule| schedule.key == key);
        let next = next.and_then(|schedule| schedule.next_run).ok_or_else(|| lost(key))?;
        trace(ctx, key, millis(next))
    }

    /// One link of a chain of timers, each of which sets the next.
    pub fn link(&mut self, ctx: &Context<Self>, number: i64) -> Result<()> {
        let next = ctx.this().link(number + 1);
        ctx.schedule("chain", After(Duration::from_millis(2)), next)?;
        trace(ctx, "chain", number)
    }

    fn alarm(&mut self, ctx: &Context<Self>, alarm: AlarmInfo) -> Result<()> {
        let next = ctx.now().max(alarm.scheduled_time + Duration::from_millis(1));
        ctx.set_alarm(next + Duration::from_millis(4))?;
        trace(ctx, "alarm", millis(alarm.scheduled_time))
    }

    /// How many runs there were.
    pub fn runs(&self, ctx: &Context) -> Result<u64> {
        ctx.sql().query_one("SELECT coalesce(sum(runs), 0) FROM counts", [])
    }

    /// The same, after a check that no trace is missing and all goes on.
    pub fn audit(&self, ctx: &Context) -> Result<u64> {
        if !ctx.kv().get("started")?.unwrap_or(false) {
            return Ok(0);
        }
        let wrong: Vec<String> = ctx.sql().query_all(
            "SELECT wheel FROM counts WHERE runs <> (SELECT count(*) FROM traces WHERE wheel = counts.wheel)
             UNION SELECT 'chain' WHERE (SELECT max(number) <> count(*) FROM traces WHERE wheel = 'chain')",
            [],
        )?;
        assert!(wrong.is_empty(), "half a run of {wrong:?}");
        let twice: Vec<(String, i64)> =
            ctx.sql().query_all("SELECT wheel, number FROM traces WHERE runs > 1", [])?;
        assert!(twice.is_empty(), "ran twice: {twice:?}");
        for period in PERIODS {
            let sql = "SELECT count(DISTINCT number % ?) FROM traces WHERE wheel = ?";
            let rhythms: u64 = ctx.sql().query_one(sql, (period, period.to_string()))?;
            assert!(rhythms <= 1, "the timer of {period} ms lost its rhythm");
        }
        let schedules = ctx.schedules()?;
        assert_eq!(schedules.len(), PERIODS.len() + 1, "a timer is lost: {schedules:?}");
        for schedule in schedules {
            assert!(schedule.last_failure.is_none(), "a run failed: {schedule:?}");
        }
        assert!(ctx.alarm()?.is_some(), "the alarm is lost");
        assert_eq!(ctx.failed_alarm()?, None);
        self.runs(ctx)
    }
}

/// Has an async alarm, whose runs may leave a trace twice and never none.
#[derive(Debug, Default)]
pub struct Courier;

#[durable_object]
impl Courier {
    pub fn start(&mut self, ctx: &Context) -> Result<()> {
        if ctx.kv().get::<u64>("begun")?.is_none() {
            ctx.kv().put("begun", &0_u64)?;
            ctx.set_alarm(After(Duration::ZERO))?;
        }
        Ok(())
    }

    async fn alarm(this: Handle<Self>, _: AlarmInfo) -> Result<()> {
        let run = this
            .turn(|_, ctx| {
                let begun = ctx.kv().get("begun")?.unwrap_or(0_u64) + 1;
                ctx.kv().put("begun", &begun)?;
                Ok::<_, durable::Error>(begun)
            })
            .await?;
        this.turn(move |_, ctx| {
            ctx.kv().put("ended", &run)?;
            ctx.set_alarm(After(Duration::from_millis(4)))
        })
        .await
    }

    /// How many runs have ended.
    pub fn audit(&self, ctx: &Context) -> Result<u64> {
        let begun = ctx.kv().get("begun")?.unwrap_or(0_u64);
        let ended = ctx.kv().get("ended")?.unwrap_or(0_u64);
        assert!(ended <= begun && ctx.failed_alarm()?.is_none());
        Ok(ended)
    }
}

/// Leaves the trace of one run.
fn trace(ctx: &Context, wheel: &str, number: i64) -> Result<()> {
    let trace = "INSERT INTO traces VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET runs = runs + 1";
    ctx.sql().execute(trace, (wheel, number))?;
    let count = "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET runs = runs + 1";
    ctx.sql().execute(count, [wheel]).map(|_| ())
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn lost(key: &str) -> durable::Error {
    durable::Error::other(format!("the timer {key} is lost"))
}
