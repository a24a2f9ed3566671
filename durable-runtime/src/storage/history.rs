//! Going back to an earlier state of the object: `_durable_restore` holds the wish, until the next activation fulfils it.
//!
//! The guarantee: a wish is a row like any other, stored or undone with its turn. Fulfilling it is one commit, so after a
//! crash the object is as it was before, wish included, or restored and without it. What was sent to others
//! and what came from them is not undone, and so is not forgotten either.
//!
//! What does not simply go back:
//! - *Messages received*: of each sender the highest number stays, so that what had its effect is not applied again.
//! - *Messages sent*: numbers that were given once are not given again. Messages that were on their way then go out
//!   again under their old numbers, and receivers that have had them answer as before. If all was deleted in between, nobody knows
//!   those numbers any more: then a new epoch begins, and what was on its way then may have its effect twice.
//! - *Alarm and timers* whose time has passed meanwhile are skipped, and the log says so; rhythms go on with their next time.

use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use crate::engine::{Point, is_no_table, sqlite};
use crate::observe::events::note;
use crate::time::recurrence::{CronRule, Rule};
use crate::{Error, ErrorKind, Result};

const CREATE: &str = "CREATE TABLE _durable_restore (one INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, \
    number INTEGER NOT NULL) STRICT";
const WISH: &str =
    "/*durable*/INSERT OR REPLACE INTO _durable_restore (one, epoch, number) VALUES (1, ?1, ?2)";
const READ: &str = "/*durable*/SELECT epoch, number FROM _durable_restore";
const FORGET: &str = "DROP TABLE IF EXISTS _durable_restore";

const INBOX: &str = "SELECT class, object, epoch, highest, at FROM _durable_inbox";
const REFUSED: &str = "SELECT class, object, epoch, number, at, reason FROM _durable_refused";
const RECEIVERS: &str = "SELECT class, object, last, name FROM _durable_receivers";
const SENDER: &str = "SELECT epoch FROM _durable_sender";

/// What a restore takes along from the present.
#[derive(Debug, Default)]
struct Kept {
    inbox: Vec<(String, Vec<u8>, i64, i64, i64)>,
    refused: Vec<(String, Vec<u8>, i64, i64, i64, String)>,
    sender: Option<i64>,
    receivers: Vec<(String, Vec<u8>, i64, Option<String>)>,
}

/// What was due meanwhile and is not made up for.
#[derive(Clone, Copy, Debug, Default)]
struct Skipped {
    alarms: usize,
    timers: usize,
}

impl Store {
    /// The last commit; in a turn that has written, its own.
    pub(crate) fn current_commit(&self) -> Result<Point> {
        let database = self.database()?;
        if self.turn.unsaved.get() {
            return Ok(next(database.last_commit()));
        }
        if database.is_stored() {
            return Ok(database.last_commit());
        }
        Err(Error::new(ErrorKind::NotKept, "nothing of the object is stored yet"))
    }

    /// The last commit that was made at a time, in milliseconds since 1970, or before.
    pub(crate) fn commit_at(&self, time_ms: i64) -> Result<Point> {
        self.database()?.commit_at(time_ms)
    }

    /// Stores, with the turn that runs, that the object is to be restored. Gives the commit of the turn.
    pub(crate) fn wish_restore(&self, point: Point) -> Result<Point> {
        self.check_may_write()?;
        let database = self.database()?;
        database.check_kept(point)?;
        self.write_wish(point)?;
        Ok(next(self.database()?.last_commit()))
    }

    /// Stores it without a look at whether it can be done.
    pub(crate) fn write_wish(&self, point: Point) -> Result<()> {
        let Point { epoch, commit } = point;
        self.on_own_or_new_table(CREATE, |connection| {
            connection.prepare_cached(WISH)?.execute((epoch, commit.cast_signed()))
        })?;
        self.wished.set(true);
        self.mark_written();
        Ok(())
    }

    /// What is wished for, in the turn that runs.
    pub(crate) fn wish(&self) -> Option<Point> {
        if !self.wished.get() {
            return None;
        }
        self.on_own_table(None, read_wish).ok().flatten()
    }

    /// Whether a turn has wished for something, so that the next session is to begin with opening the object.
    pub(crate) fn has_wish(&self) -> bool {
        self.wished.get()
    }

    /// How the last wish ended that was fulfilled, or refused, since the object is in memory.
    pub(crate) fn take_restored(&self) -> Option<Result<()>> {
        self.restored.take()
    }

    /// Fulfils the wish of an object that is open. Afterwards it is opened anew.
    ///
    /// # Errors
    /// When it cannot be done now; a wish that can never be fulfilled is dropped.
    pub(super) fn fulfil_wish(&mut self, now_ms: i64) -> Result<()> {
        let (point, kept) = {
            let _ours = self.guard.lift();
            let connection = self.database()?.connection();
            let read = || Ok((read_wish(connection)?, Kept::read(connection)?));
            read().map_err(sqlite::error)?
        };
        let Some(point) = point else { return Ok(()) };
        self.close();
        let known = if self.is_strange { usize::MAX } else { self.schema.len() };
        let (class, id) = (&self.identity.class, self.identity.id);
        let mut skipped = Skipped::default();
        let restored = {
            let _ours = self.guard.lift();
            self.engine.restore(&self.key(), point, self.configure(), &mut |connection| {
                check_schema(connection, known)?;
                connection.execute_batch(FORGET).map_err(sqlite::error)?;
                kept.merge(connection).map_err(sqlite::error)?;
                skipped = skip_overdue(connection, now_ms)?;
                Ok(())
            })
        };
        match restored {
            Ok(receipt) => {
                let (number, Skipped { alarms, timers }) = (point.commit, skipped);
                note!(warn, %class, %id, number, alarms, timers, "an object was restored to an earlier commit; its overdue alarms and timers are skipped");
                self.latest = receipt;
                self.restored.set(Some(Ok(())));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotKept | ErrorKind::Limit | ErrorKind::Migration
                ) =>
            {
                note!(error, %class, %id, reason = %error, "an object cannot be restored, and stays as it is");
                self.forget_wish()?;
                self.restored.set(Some(Err(error)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn forget_wish(&mut self) -> Result<()> {
        self.latest = self.with_database(|database| {
            database.begin()?;
            let dropped = database.connection().execute_batch(FORGET).map_err(sqlite::error);
            match dropped {
                Ok(()) => database.commit(),
                Err(error) => database.rollback().and(Err(error)),
            }
        })?;
        self.close();
        Ok(())
    }
}

fn next(point: Point) -> Point {
    Point { commit: point.commit + 1, ..point }
}

fn read_wish(connection: &Connection) -> rusqlite::Result<Option<Point>> {
    let mut read = connection.prepare_cached(READ)?;
    let wish = read.query_row([], |row| {
        Ok(Point { epoch: row.get(0)?, commit: row.get::<_, i64>(1)?.cast_unsigned() })
    });
    wish.optional()
}

/// A program cannot use what a newer one has made.
fn check_schema(connection: &Connection, known: usize) -> Result<()> {
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite::error)?;
    if usize::try_from(version).is_ok_and(|version| version <= known) {
        return Ok(());
    }
    let text = format!(
        "the object had schema version {version} then, and this program knows versions up to {known}: \
         run the newer program"
    );
    Err(Error::new(ErrorKind::Migration, text))
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
    fn read(connection: &Connection) -> rusqlite::Result<Kept> {
        Ok(Kept {
            inbox: rows(connection, INBOX, |row| row.try_into())?,
            refused: rows(connection, REFUSED, |row| row.try_into())?,
            sender: rows(connection, SENDER, |row| row.get(0))?.pop(),
            receivers: rows(connection, RECEIVERS, |row| row.try_into())?,
        })
    }

    fn merge(&self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.inbox.is_empty() {
            connection.execute_batch(&if_missing(super::inbox::CREATE))?;
        }
        for (class, object, epoch, highest, at) in &self.inbox {
            connection.execute(
                "INSERT INTO _durable_inbox (class, object, epoch, highest, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET highest = max(highest, excluded.highest), at = max(at, excluded.at)",
                params![class, object, epoch, highest, at],
            )?;
        }
        if !self.refused.is_empty() {
            connection.execute_batch(&if_missing(super::inbox::CREATE_REFUSED))?;
        }
        for (class, object, epoch, number, at, reason) in &self.refused {
            connection.execute(
                "INSERT OR REPLACE INTO _durable_refused (class, object, epoch, number, at, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![class, object, epoch, number, at, reason],
            )?;
        }
        let then: Option<i64> = rows(connection, SENDER, |row| row.get(0))?.pop();
        // One that had not sent anything then draws an epoch with its first message.
        let Some(then) = then else { return Ok(()) };
        if self.sender != Some(then) {
            connection.execute_batch("UPDATE _durable_sender SET epoch = random()")?;
            return Ok(());
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
fn skip_overdue(connection: &Connection, now_ms: i64) -> Result<Skipped> {
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
    if !is_there("_durable_timers").map_err(failed)? {
        return Ok(skipped);
    }
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
    for (key, time, rule) in overdue.map_err(failed)? {
        skipped.timers += 1;
        let changed = match rule.next(time, now_ms)? {
            Some(next) => {
                let sql =
                    "UPDATE _durable_timers SET time = ?2, due = ?2, failed = 0 WHERE key = ?1";
                connection.execute(sql, params![key, next])
            }
            None => connection.execute("DELETE FROM _durable_timers WHERE key = ?1", [key]),
        };
        changed.map_err(failed)?;
    }
    Ok(skipped)
}
