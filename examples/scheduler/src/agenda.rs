//! One person's reminders: an object with a timer for each.
//!
//! A reminder is delivered by the turn that its timer runs, which writes it down and, once that is durable, hands it to whoever
//! shows it. If that turn fails, the runtime tries it again; nothing here counts retries or remembers what is due.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use durable::Error;
use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// When a reminder comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rhythm {
    At(SystemTime),
    After(Duration),
    Every(Duration),
    /// A cron expression, in a time zone if one is named, else in UTC.
    Cron(String, Option<String>),
}

/// What is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    pub text: String,
    /// How many deliveries fail before one succeeds, to see what that looks like.
    #[serde(default)]
    pub flaky: u32,
}

/// A reminder that was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub name: String,
    pub text: String,
    pub at: SystemTime,
}

/// A reminder that is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub rhythm: String,
    pub next: Option<SystemTime>,
    /// What the last delivery failed with, and the how manieth in a row it was.
    pub trouble: Option<(u32, String)>,
}

/// Shows what is delivered.
pub type Show = Box<dyn Fn(&Delivery) + Send + Sync>;

/// Deliveries of this process that failed on purpose, by reminder. Not in the object: a turn that fails leaves nothing there.
pub type Tries = Mutex<HashMap<String, u32>>;

/// The reminders of one person.
#[derive(Debug, Default)]
pub struct Agenda;

#[durable_object]
impl Agenda {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE deliveries (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, at_ms INTEGER NOT NULL)",
        )
    }

    /// Adds a reminder, in place of the one that has the name.
    pub fn add(
        &mut self,
        ctx: &Context<Self>,
        name: &str,
        rhythm: Rhythm,
        reminder: Reminder,
    ) -> Result<()> {
        let call = ctx.this().deliver(name.to_owned(), reminder);
        match rhythm {
            Rhythm::At(time) => ctx.schedule(name, At(time), call),
            Rhythm::After(wait) => ctx.schedule(name, After(wait), call),
            Rhythm::Every(period) => ctx.schedule(name, Every(period), call),
            Rhythm::Cron(cron, None) => ctx.schedule(name, Cron(&cron), call),
            Rhythm::Cron(cron, Some(zone)) => ctx.schedule(name, CronIn(&cron, &zone), call),
        }
    }

    /// Removes a reminder. Gives whether there was one.
    pub fn remove(&mut self, ctx: &Context, name: &str) -> Result<bool> {
        ctx.unschedule(name)
    }

    /// All reminders, the next one first.
    pub fn entries(&self, ctx: &Context) -> Result<Vec<Entry>> {
        let schedules = ctx.schedules()?.into_iter();
        let entry = |schedule: durable::Schedule| Entry {
            name: schedule.key,
            rhythm: schedule.recurrence,
            next: schedule.next_run,
            trouble: schedule.last_failure.map(|failure| (failure.runs, failure.reason)),
        };
        Ok(schedules.map(entry).collect())
    }

    /// The last deliveries, the newest first.
    pub fn deliveries(&self, ctx: &Context, count: u32) -> Result<Vec<Delivery>> {
        let sql = "SELECT name, text, at_ms FROM deliveries ORDER BY id DESC LIMIT ?";
        let rows: Vec<(String, String, u64)> = ctx.sql().query_all(sql, [count])?;
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let rows = rows.into_iter();
        Ok(rows.map(|(name, text, millis)| Delivery { name, text, at: at(millis) }).collect())
    }

    /// What each timer calls.
    pub fn deliver(&mut self, ctx: &Context<Self>, name: String, reminder: Reminder) -> Result<()> {
        if let Some(failed) = fail_on_purpose(ctx, &name, reminder.flaky) {
            return Err(Error::other(format!("nobody is there, try {failed}")));
        }
        let at = ctx.now();
        let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let insert = "INSERT INTO deliveries (name, text, at_ms) VALUES (?, ?, ?)";
        ctx.sql().execute(insert, (&name, &reminder.text, millis))?;
        let (this, delivery) = (ctx.handle(), Delivery { name, text: reminder.text, at });
        // Shown once it is stored, and not if that fails.
        ctx.wait_until(async move {
            if let Ok(show) = this.env::<Show>() {
                show(&delivery);
            }
        });
        Ok(())
    }
}

/// Counts one more delivery that is to fail, if not enough have.
fn fail_on_purpose(ctx: &Context, name: &str, flaky: u32) -> Option<u32> {
    let mut tries = ctx.env::<Tries>().ok()?.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = tries.entry(name.to_owned()).or_default();
    if *failed == flaky {
        *failed = 0;
        return None;
    }
    *failed += 1;
    Some(*failed)
}
