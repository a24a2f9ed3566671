//! One object, as it is stored.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::value::shown;
use super::{Admin, Commit, Moment, Operation, Summary};
use crate::engine::ObjectKey;
use crate::storage::Store;
use crate::storage::alarm::Alarm;
use crate::storage::timers::Timer;
use crate::time::recurrence::Rule;
use crate::{Bookmark, DeadLetter, ErrorKind, FailedAlarm, Result};

/// Keys and dead letters that are shown, at most.
const SHOWN_MAX: usize = 10_000;

/// A stored value with more bytes is not shown.
const VALUE_BYTES_MAX: usize = 64 * 1_024;

/// Bytes of values in one answer, after which no more are shown.
const BYTES_ENOUGH: usize = 4 * 1_024 * 1_024;

const SCHEMA: &str = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema \
    WHERE name NOT LIKE '\\_durable\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND tbl_name NOT LIKE '\\_durable\\_%' ESCAPE '\\' ORDER BY type <> 'table', type, name";
const KEYS: &str = "SELECT count(*) FROM _durable_kv";
const ENTRIES: &str = "SELECT key, CASE WHEN length(value) <= ?2 THEN value END, length(value) \
    FROM _durable_kv WHERE key > ?3 OR ?3 IS NULL ORDER BY key LIMIT ?1";

/// Asks for all that is known of one object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Show {
    /// The object.
    pub object: String,
    /// How many keys and how many dead letters are wanted: up to 10,000 each.
    pub limit: usize,
    /// Only keys after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// All that is known of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shown {
    /// What the list of objects says.
    pub object: Summary,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its indexes, views and triggers.
    pub parts: Vec<Part>,
    /// How many keys it has.
    pub keys: u64,
    /// The first of them, or those after the one that was named.
    pub entries: Vec<Entry>,
    /// Its alarm.
    pub alarm: Option<AlarmShown>,
    /// The last alarm that was given up.
    pub failed_alarm: Option<FailureShown>,
    /// Its timers.
    pub timers: Vec<TimerShown>,
    /// Messages that it has sent and that nobody has confirmed.
    pub outbox: u64,
    /// Messages that were given up, the oldest first.
    pub dead_letters: Vec<DeadLetterShown>,
    /// How many objects have sent it messages lately.
    pub senders: u64,
    /// Its open WebSockets.
    pub sockets: usize,
    /// Whether it is in memory.
    pub is_resident: bool,
    /// Its bookmark.
    pub bookmark: Option<Bookmark>,
    /// The earliest state that it can be restored to, if a history is kept.
    pub oldest: Option<Commit>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many rows it has; nothing if counting them takes too long.
    pub rows: Option<u64>,
    /// The statement that made it.
    pub sql: String,
}

/// An index, a view or a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Part {
    /// `index`, `view` or `trigger`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The table that it belongs to.
    pub table: String,
    /// The statement that made it.
    pub sql: String,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value in JSON: bytes are `{"bytes": "00ff"}`. Nothing if it is not shown.
    pub value: Option<Json>,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// Why it is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlarmShown {
    /// What it was set for.
    pub time: Moment,
    /// When it runs next.
    pub due: Moment,
    /// How many runs have failed.
    pub failed: u32,
    /// Whether it runs.
    pub is_running: bool,
}

/// An alarm that was given up, or a run of a timer that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureShown {
    /// When its last run had failed.
    pub time: Moment,
    /// How many runs there were.
    pub runs: u32,
    /// What the last one failed with.
    pub reason: String,
}

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimerShown {
    /// Its key.
    pub key: String,
    /// When it runs next; nothing once it was given up.
    pub due: Option<Moment>,
    /// How often: `once`, `every 1h 30m`, or a cron expression.
    pub rhythm: String,
    /// The method that it calls.
    pub method: String,
    /// The object that it calls, if that is another one, as class key and id.
    pub receiver: Option<String>,
    /// Its last run that failed, if none has succeeded since.
    pub failed: Option<FailureShown>,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterShown {
    /// Its number in this object.
    pub id: i64,
    /// Whom it was for: class key and name or id.
    pub receiver: String,
    /// The method that was to be called.
    pub method: String,
    /// When it was sent.
    pub sent: Moment,
    /// When it was given up.
    pub given_up: Moment,
    /// Why.
    pub reason: String,
}

impl Operation for Show {
    const NAME: &'static str = "show";
    type Reply = Shown;

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Shown> {
        let found = admin.find(&self.object).await?;
        let (limit, after) = (self.limit.min(SHOWN_MAX), self.after);
        let stored =
            admin.look(&found, move |store| Stored::read(store, limit, after.as_deref())).await?;
        let known = admin.known(&found.key).await?.ok_or_else(|| found.missing())?;
        let object = admin.summary(&found.class, &found.key, known);
        let past = super::Bookmarks { object: self.object, ..super::Bookmarks::default() };
        let past = past.run(admin).await?;
        let class = admin.node.class_of(&found.key.class);
        let present = class.and_then(|class| class.present_one(found.key.id));
        Ok(Shown {
            object,
            tables: stored.tables,
            parts: stored.parts,
            keys: stored.keys,
            entries: stored.entries,
            alarm: stored.work.alarm,
            failed_alarm: stored.work.failed_alarm,
            timers: stored.work.timers,
            outbox: stored.work.outbox,
            dead_letters: stored.work.dead_letters,
            senders: stored.senders,
            sockets: present.as_ref().map_or(0, |present| present.sockets),
            is_resident: present.is_some_and(|present| present.is_resident),
            bookmark: past.current,
            oldest: past.oldest,
        })
    }
}

/// What its database holds.
struct Stored {
    tables: Vec<Table>,
    parts: Vec<Part>,
    keys: u64,
    entries: Vec<Entry>,
    work: Work,
    senders: u64,
}

/// What an object has to do by itself, and what became of that.
pub(super) struct Work {
    pub(super) alarm: Option<AlarmShown>,
    pub(super) failed_alarm: Option<FailureShown>,
    pub(super) timers: Vec<TimerShown>,
    pub(super) outbox: u64,
    pub(super) dead_letters: Vec<DeadLetterShown>,
}

impl Stored {
    fn read(store: &Store, limit: usize, after: Option<&str>) -> Result<Stored> {
        let (mut tables, mut parts) = (Vec::new(), Vec::new());
        for (kind, name, table, sql) in
            store.sql().query_all::<(String, String, String, String)>(SCHEMA, [])?
        {
            if kind == "table" {
                tables.push(Table { rows: count(store, &name)?, name, sql });
            } else {
                parts.push(Part { kind, name, table, sql });
            }
        }
        Ok(Stored {
            tables,
            parts,
            keys: store
                .read_own(0, |connection| connection.query_row(KEYS, [], |row| row.get(0)))?,
            entries: entries(store, limit, after)?,
            work: Work::read(store, limit)?,
            senders: store.senders()?,
        })
    }
}

/// How many rows a table has; nothing if that cannot be found out soon.
fn count(store: &Store, table: &str) -> Result<Option<u64>> {
    let quoted = table.replace('"', "\"\"");
    match store.sql().query_one(&format!("SELECT count(*) FROM \"{quoted}\""), []) {
        Ok(rows) => Ok(Some(rows)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::TimedOut | ErrorKind::Sql | ErrorKind::Refused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn entries(store: &Store, limit: usize, after: Option<&str>) -> Result<Vec<Entry>> {
    store.read_own(Vec::new(), |connection| {
        let mut statement = connection.prepare(ENTRIES)?;
        let mut rows = statement.query((limit, VALUE_BYTES_MAX, after))?;
        let (mut entries, mut total) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let (key, value, bytes): (String, Option<Vec<u8>>, u64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let (value, hidden) = match value.as_deref().map(shown) {
                Some(Ok(value)) => (Some(value), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, Some(format!("it has more than {VALUE_BYTES_MAX} bytes"))),
            };
            total += key.len()
                + value.as_ref().map_or(0, |_| usize::try_from(bytes).unwrap_or(usize::MAX));
            entries.push(Entry { key, value, bytes, hidden });
            if total > BYTES_ENOUGH {
                break;
            }
        }
        Ok(entries)
    })
}

impl Work {
    pub(super) fn read(store: &Store, letters: usize) -> Result<Work> {
        let own = store.key();
        Ok(Work {
            alarm: store.alarm()?.map(AlarmShown::from),
            failed_alarm: store.failed_alarm()?.map(FailureShown::from),
            timers: store.timers()?.into_iter().map(|timer| TimerShown::of(timer, &own)).collect(),
            outbox: store.pending_messages()?,
            dead_letters: store
                .dead_letters(letters)?
                .into_iter()
                .map(DeadLetterShown::from)
                .collect(),
        })
    }
}

impl From<Alarm> for AlarmShown {
    fn from(alarm: Alarm) -> Self {
        AlarmShown {
            time: Moment::from_millis(alarm.time),
            due: Moment::from_millis(alarm.due),
            failed: alarm.failed,
            is_running: alarm.is_running,
        }
    }
}

impl From<FailedAlarm> for FailureShown {
    fn from(failed: FailedAlarm) -> Self {
        FailureShown { time: failed.given_up.into(), runs: failed.runs, reason: failed.reason }
    }
}

impl TimerShown {
    fn of(timer: Timer, own: &ObjectKey) -> Self {
        let rhythm = match timer.rule {
            Rule::Once => "once".to_owned(),
            Rule::Every(period) => format!("every {:#}", SignedDuration::from_millis(period)),
            Rule::Cron(cron) => match cron.zone {
                Some(zone) => format!("{} in {zone}", cron.expression),
                None => cron.expression,
            },
        };
        let receiver = timer.call.receiver;
        TimerShown {
            key: timer.key,
            due: timer.due.map(Moment::from_millis),
            rhythm,
            method: timer.call.method.to_string(),
            receiver: (receiver != *own).then(|| {
                addressed(&receiver.class, timer.call.name.as_ref(), &receiver.id.to_string())
            }),
            failed: timer.failed_run.map(|run| FailureShown {
                time: run.time.into(),
                runs: run.runs,
                reason: run.reason,
            }),
        }
    }
}

impl From<DeadLetter> for DeadLetterShown {
    fn from(letter: DeadLetter) -> Self {
        let name = letter.receiver_name.map(Arc::<str>::from);
        DeadLetterShown {
            id: letter.id,
            receiver: addressed(&letter.receiver_class, name.as_ref(), &letter.receiver_id),
            method: letter.method,
            sent: letter.sent.into(),
            given_up: letter.given_up.into(),
            reason: letter.reason,
        }
    }
}

/// Another object, as an operator would name it.
fn addressed(class: &str, name: Option<&Arc<str>>, id: &str) -> String {
    format!("{class}/{}", name.map_or(id, |name| &**name))
}
