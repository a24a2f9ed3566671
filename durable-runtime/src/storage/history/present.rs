//! What does not simply go back when an object is restored, because others know of it, or because time has passed.
//!
//! - *Messages received*: of each sender the highest number stays, so that what had its effect is not applied again.
//! - *Messages sent*: numbers that were given once are not given again. Messages that were on their way then go out
//!   again under their old numbers, and receivers that have had them answer as before. If all was deleted in between, or the numbers
//!   began anew after very many receivers, nobody knows those numbers any more: then a new epoch begins, and what was on its way then may
//!   have its effect twice.
//! - *Alarm, timers and messages for a time* that has passed meanwhile are skipped, unless the wish says otherwise; rhythms go on with their
//!   next time.

use rusqlite::{Connection, params};

use crate::Result;
use crate::engine::{is_no_table, sqlite};
use crate::storage::{inbox, outbox};
use crate::time::recurrence::{CronRule, Rule};

const INBOX: &str = "SELECT class, object, epoch, highest, at FROM _durable_inbox";
const REFUSED: &str = "SELECT class, object, epoch, number, at, reason FROM _durable_refused";
const RECEIVERS: &str = "SELECT class, object, last, name FROM _durable_receivers";
const SENDER: &str = "SELECT epoch FROM _durable_sender";

/// What a restore takes along from the present.
#[derive(Debug, Default)]
pub(super) struct Kept {
    inbox: Vec<(String, Vec<u8>, i64, i64, i64)>,
    refused: Vec<(String, Vec<u8>, i64, i64, i64, String)>,
    sender: Option<i64>,
    receivers: Vec<(String, Vec<u8>, i64, Option<String>)>,
}

/// What was due meanwhile and is not made up for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    pub(super) alarms: usize,
    pub(super) timers: usize,
    pub(super) messages: usize,
}

/// All rows; none where there is no such table.
fn rows<R>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<R>,
) -> rusqlite::Result<Vec<R>> {
    let all = |connection: &Connection| {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], row)?;
        rows.collect::<rusqlite::Result<Vec<R>>>()
    };
    match all(connection) {
        Err(error) if is_no_table(&error) => Ok(Vec::new()),
        found => found,
    }
}

impl Kept {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Kept> {
        Ok(Kept {
            inbox: rows(connection, INBOX, |row| row.try_into())?,
            refused: rows(connection, REFUSED, |row| row.try_into())?,
            sender: rows(connection, SENDER, |row| row.get(0))?.pop(),
            receivers: rows(connection, RECEIVERS, |row| row.try_into())?,
        })
    }

    pub(super) fn merge(&self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.inbox.is_empty() {
            connection.execute_batch(&if_missing(inbox::CREATE))?;
        }
        for (class, object, epoch, highest, at) in &self.inbox {
            connection.execute(
                "INSERT INTO _durable_inbox (class, object, epoch, highest, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET highest = max(highest, excluded.highest), at = max(at, excluded.at)",
                params![class, object, epoch, highest, at],
            )?;
        }
        if !self.refused.is_empty() {
            connection.execute_batch(&if_missing(inbox::CREATE_REFUSED))?;
        }
        for (class, object, epoch, number, at, reason) in &self.refused {
            connection.execute(
                "INSERT OR REPLACE INTO _durable_refused (class, object, epoch, number, at, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![class, object, epoch, number, at, reason],
            )?;
        }
        self.merge_sent(connection)
    }

    fn merge_sent(&self, connection: &Connection) -> rusqlite::Result<()> {
        let then: Option<i64> = rows(connection, SENDER, |row| row.get(0))?.pop();
        match (then, self.sender) {
            (None, None) => return Ok(()),
            // It had not sent anything then; when this is undone, the numbers of now are the ones to go on with.
            (None, Some(now)) => {
                connection.execute_batch(outbox::CREATE)?;
                connection.execute("UPDATE _durable_sender SET epoch = ?1", [now])?;
            }
            (Some(then), now) if now != Some(then) => {
                return connection.execute_batch("UPDATE _durable_sender SET epoch = random()");
            }
            (Some(_), _) => {}
        }
        for (class, object, last, name) in &self.receivers {
            connection.execute(
                "INSERT INTO _durable_receivers (class, object, name, last, failed) VALUES (?1, ?2, ?3, ?4, 0) \
                 ON CONFLICT (class, object) DO UPDATE SET last = max(last, excluded.last)",
                params![class, object, name, last],
            )?;
        }
        Ok(())
    }
}

fn if_missing(create: &str) -> String {
    create.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
}

/// What was due until now does not run.
pub(super) fn skip_overdue(connection: &Connection, now_ms: i64) -> Result<Skipped> {
    let failed = sqlite::error;
    let is_there = |table: &str| {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        connection.query_row(sql, [table], |row| row.get::<_, i64>(0)).map(|count| count > 0)
    };
    let mut skipped = Skipped::default();
    if is_there("_durable_alarm").map_err(failed)? {
        let sql = "DELETE FROM _durable_alarm WHERE slot = 0 AND due <= ?1";
        skipped.alarms = connection.execute(sql, [now_ms]).map_err(failed)?;
    }
    if is_there("_durable_outbox").map_err(failed)? {
        // Those with a number were on their way: their receivers know which of them they have had.
        let sql = "DELETE FROM _durable_outbox WHERE number IS NULL AND due <= ?1";
        skipped.messages = connection.execute(sql, [now_ms]).map_err(failed)?;
    }
    if is_there("_durable_timers").map_err(failed)? {
        skipped.timers = skip_timers(connection, now_ms)?;
    }
    Ok(skipped)
}

/// Rhythms go on with their next time. Gives how many there were.
fn skip_timers(connection: &Connection, now_ms: i64) -> Result<usize> {
    let sql =
        format!("SELECT key, time, every, cron, zone FROM _durable_timers WHERE due <= {now_ms}");
    let overdue = rows(connection, &sql, |row| {
        let rule = match (row.get(2)?, row.get(3)?) {
            (Some(every), _) => Rule::Every(every),
            (None, Some(expression)) => Rule::Cron(CronRule { expression, zone: row.get(4)? }),
            (None, None) => Rule::Once,
        };
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, rule))
    });
    let overdue = overdue.map_err(sqlite::error)?;
    let skipped = overdue.len();
    for (key, time, rule) in overdue {
        let changed = match rule.next(time, now_ms)? {
            Some(next) => {
                let sql =
                    "UPDATE _durable_timers SET time = ?2, due = ?2, failed = 0 WHERE key = ?1";
                connection.execute(sql, params![key, next])
            }
            None => connection.execute("DELETE FROM _durable_timers WHERE key = ?1", [key]),
        };
        changed.map_err(sqlite::error)?;
    }
    Ok(skipped)
}
