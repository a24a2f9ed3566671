//! `_durable_expiry`: until when the object is kept although nobody uses it.
//!
//! The guarantee: an object of a class that expires has this row from its first commit on, and the row's `due` is never earlier than
//! the class's time after the last use. So whoever comes at `due` and finds the row unchanged knows that nobody has used the object
//! for that long, across restarts and crashes.
//!
//! Not every use writes: `due` lies a little later than it has to, and only a use that finds less than the whole
//! time left moves it. So an object is written at most about 32 times within its time for being read.

use std::cell::Cell;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::Store;
use crate::Result;
use crate::engine::is_no_table;

const CREATE: &str = "CREATE TABLE _durable_expiry (slot INTEGER PRIMARY KEY CHECK (slot = 0), \
    used INTEGER NOT NULL, due INTEGER NOT NULL) STRICT";
const READ: &str = "/*durable*/SELECT used, due FROM _durable_expiry";
const SET: &str =
    "/*durable*/INSERT OR REPLACE INTO _durable_expiry (slot, used, due) VALUES (0, ?1, ?2)";
const USE_NOW: &str =
    "/*durable*/UPDATE _durable_expiry SET due = ?1 + (due - used), used = ?1 WHERE used <= ?1";
const CLEAR: &str = "/*durable*/DELETE FROM _durable_expiry";

/// The part of the time by which `due` is later than it has to be.
const SLACK: i64 = 32;
/// It is not later by more than this.
const SLACK_MAX_MS: i64 = 24 * 60 * 60 * 1_000;

/// Until when an object is kept. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The use that was noted last.
    pub(crate) used: i64,
    pub(crate) due: i64,
}

impl Lease {
    fn after(used: i64, time: i64) -> Lease {
        let slack = (time / SLACK).min(SLACK_MAX_MS);
        Lease { used, due: used.saturating_add(time).saturating_add(slack) }
    }
}

/// What is known of the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Row {
    /// It has to be read.
    #[default]
    Unknown,
    Absent,
    Due(i64),
}

/// How the objects of a class expire.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// After how many milliseconds, if they do.
    time: Option<i64>,
    row: Cell<Row>,
}

impl Expiry {
    pub(super) fn after(time: Option<Duration>) -> Expiry {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Expiry { time: time.map(millis), row: Cell::default() }
    }

    /// The row may be another one than was known.
    pub(super) fn forget(&self) {
        self.row.set(Row::Unknown);
    }
}

impl Store {
    /// Until when the object is kept, if it has the row.
    pub(crate) fn lease(&self) -> Result<Option<Lease>> {
        self.on_own_table(None, read)
    }

    /// Whether a use at this time has to be noted, with [`renew_lease`](Self::renew_lease). An object that is not stored has no row, and
    /// gets none by being used.
    pub(crate) fn is_lease_short(&self, now: i64) -> bool {
        let Some(time) = self.expiry.time else { return false };
        let is_stored = self.database.get().is_some_and(|database| database.is_stored());
        is_stored
            && match self.expiry.row.get() {
                Row::Due(due) => due < now.saturating_add(time),
                Row::Unknown | Row::Absent => true,
            }
    }

    /// Notes a use, if the row does not cover it. A part of the turn.
    pub(crate) fn renew_lease(&self, now: i64) -> Result<()> {
        self.ensure_lease(now)?;
        if self.is_lease_short(now) {
            self.put_lease(now)?;
        }
        Ok(())
    }

    /// Sees to it that an object that is being written has the row.
    pub(super) fn ensure_lease(&self, now: i64) -> Result<()> {
        if self.expiry.time.is_none() {
            return Ok(());
        }
        if self.expiry.row.get() == Row::Unknown {
            let lease = self.lease()?;
            self.expiry.row.set(lease.map_or(Row::Absent, |lease| Row::Due(lease.due)));
        }
        if self.expiry.row.get() == Row::Absent {
            self.put_lease(now)?;
        }
        Ok(())
    }

    /// Keeps the object from now on for the whole time, or for ever if its class does not expire.
    pub(crate) fn put_lease(&self, used: i64) -> Result<()> {
        let Some(time) = self.expiry.time else {
            self.on_own_table((), |connection| {
                connection.prepare_cached(CLEAR)?.execute([]).map(|_| ())
            })?;
            self.touch_work();
            return Ok(());
        };
        let lease = Lease::after(used, time);
        self.on_own_or_new_table(CREATE, |connection| {
            connection.prepare_cached(SET)?.execute((lease.used, lease.due))
        })?;
        self.expiry.row.set(Row::Due(lease.due));
        self.touch_work();
        Ok(())
    }

    /// Has an object that is being restored kept for the whole time from now on: that it was not used meanwhile says nothing. Where
    /// the class is not there, its time is the one of the row.
    pub(super) fn use_now(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let used = match self.expiry.time {
            Some(time) => {
                let lease = Lease::after(now, time);
                connection.execute(SET, (lease.used, lease.due))
            }
            None => connection.execute(USE_NOW, [now]),
        };
        match used {
            // The class did not expire then.
            Err(error) if is_no_table(&error) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Whether an object whose last noted use was then has not been used for as long as its class says.
    pub(crate) fn is_expired(&self, lease: Lease, now: i64) -> bool {
        self.expiry
            .time
            .is_some_and(|time| lease.used.saturating_add(time) <= now && lease.due <= now)
    }
}

/// Gives a database that begins now its row.
pub(super) fn lend(connection: &Connection, now: i64, time: Duration) -> rusqlite::Result<()> {
    let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let lease = Lease::after(now, time);
    connection.execute_batch(CREATE)?;
    connection.execute(SET, (lease.used, lease.due)).map(|_| ())
}

fn read(connection: &Connection) -> rusqlite::Result<Option<Lease>> {
    let mut read = connection.prepare_cached(READ)?;
    let row = read.query_row([], |row| Ok(Lease { used: row.get(0)?, due: row.get(1)? }));
    row.optional()
}
