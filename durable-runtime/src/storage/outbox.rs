//! `_durable_outbox`: messages that the object has sent and that their receivers have not confirmed, and what became of those
//! that never will be.
//!
//! The guarantee: a message is a row like any other, so it is sent if and only if its turn commits, and it stays until its
//! receiver has durably taken or refused it. Messages to one receiver have numbers without gaps in the order in which they
//! became due; a number is never used twice with the same *epoch*, which is drawn at random whenever the tables are made.
//! So a receiver that remembers the highest number knows what it has had.
//!
//! One row a receiver says when the next delivery to it is to be tried (`due`; NULL when nothing waits), and how often in a
//! row it has failed. A message for a later time has no number until then.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use crate::Result;
use crate::engine::ObjectKey;
use crate::id::RawId;
use crate::message::Message;

pub(super) const CREATE: &str = "\
    CREATE TABLE _durable_sender (epoch INTEGER NOT NULL) STRICT; \
    INSERT INTO _durable_sender VALUES (random()); \
    CREATE TABLE _durable_receivers (id INTEGER PRIMARY KEY, class TEXT NOT NULL, object BLOB NOT NULL, \
    name TEXT, last INTEGER NOT NULL, due INTEGER, failed INTEGER NOT NULL, since INTEGER, \
    UNIQUE (class, object)) STRICT; \
    CREATE INDEX _durable_receivers_due ON _durable_receivers (due) WHERE due IS NOT NULL; \
    CREATE TABLE _durable_outbox (id INTEGER PRIMARY KEY, receiver INTEGER NOT NULL, number INTEGER, \
    due INTEGER NOT NULL, sent INTEGER NOT NULL, method TEXT NOT NULL, arguments BLOB NOT NULL) STRICT; \
    CREATE INDEX _durable_outbox_numbers ON _durable_outbox (receiver, number) WHERE number IS NOT NULL; \
    CREATE INDEX _durable_outbox_due ON _durable_outbox (due) WHERE number IS NULL";

// Cached, so each begins as no statement of a user's may.
const EPOCH: &str = "/*durable*/SELECT epoch FROM _durable_sender";
const FIND: &str = "/*durable*/SELECT id, last, name IS NULL FROM _durable_receivers \
    WHERE class = ?1 AND object = ?2";
const MEET: &str = "/*durable*/INSERT INTO _durable_receivers (class, object, name, last, failed) \
    VALUES (?1, ?2, ?3, 0, 0)";
const NAME: &str = "/*durable*/UPDATE _durable_receivers SET name = ?2 WHERE id = ?1";
const NUMBER: &str =
    "/*durable*/UPDATE _durable_receivers SET last = ?2, due = coalesce(due, ?3) WHERE id = ?1";
const POST: &str = "/*durable*/INSERT INTO _durable_outbox \
    (receiver, number, due, sent, method, arguments) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const COME_DUE: &str = "/*durable*/SELECT o.id, o.receiver, r.last, length(o.arguments) FROM _durable_outbox o \
    JOIN _durable_receivers r ON r.id = o.receiver \
    WHERE o.number IS NULL AND o.due <= ?1 ORDER BY o.due, o.id LIMIT 1";
const COME_DUE_NUMBER: &str = "/*durable*/UPDATE _durable_outbox SET number = ?2 WHERE id = ?1";
const NEXT_LATER: &str = "/*durable*/SELECT min(due) FROM _durable_outbox WHERE number IS NULL";
const RECEIVERS: &str = "/*durable*/SELECT id, class, object, name, due FROM _durable_receivers \
    WHERE due IS NOT NULL ORDER BY due, id";
const LETTERS: &str = "/*durable*/SELECT number, method, arguments FROM _durable_outbox \
    WHERE receiver = ?1 AND number IS NOT NULL ORDER BY number LIMIT ?2";
const COUNT: &str = "/*durable*/SELECT count(*) FROM _durable_outbox";
const CONFIRM: &str = "/*durable*/DELETE FROM _durable_outbox \
    WHERE receiver = ?1 AND number IS NOT NULL AND number <= ?2";
const FIRST: &str = "/*durable*/SELECT min(number) FROM _durable_outbox \
    WHERE receiver = ?1 AND number IS NOT NULL";
const REST: &str = "/*durable*/UPDATE _durable_receivers \
    SET due = ?2, failed = ?3, since = ?4 WHERE id = ?1";
const STATE: &str = "/*durable*/SELECT failed, since FROM _durable_receivers WHERE id = ?1";
const IS_EMPTY: &str = "/*durable*/SELECT NOT EXISTS (SELECT 1 FROM _durable_outbox) \
    AND (SELECT count(*) FROM _durable_receivers) > ?1";
const BEGIN_ANEW: &str =
    "DELETE FROM _durable_receivers; UPDATE _durable_sender SET epoch = random()";

/// Messages that one delivery has, and receivers that one step serves.
const LETTERS_MAX: usize = 32;
/// Bytes of arguments after which a delivery has enough, and a turn gives no more messages their numbers: to refuse or to
/// number them writes them anew, and a turn has a limit.
const ARGUMENTS_BYTES_ENOUGH: usize = 8 * 1_024 * 1_024;
/// Messages that are given their numbers in one turn.
const COME_DUE_MAX: usize = if cfg!(test) { 8 } else { 1_024 };
const RECEIVERS_MAX: usize = 64;
/// Receivers that are remembered while nothing is on its way.
const RECEIVERS_KEPT: i64 = if cfg!(test) { 4 } else { 1_024 };
/// How long a receiver that cannot be reached is tried.
pub(crate) const PATIENCE: Duration = Duration::from_hours(7 * 24);

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) number: i64,
    pub(crate) method: String,
    pub(crate) arguments: Vec<u8>,
}

/// The first messages to one receiver, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// Its row, in this epoch.
    pub(crate) row: i64,
    pub(crate) epoch: i64,
    pub(crate) receiver: ObjectKey,
    pub(crate) name: Option<String>,
    pub(crate) letters: Vec<Letter>,
}

/// What is to be done about a receiver that could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// Try again after so long.
    Wait(Duration),
    /// Its first message goes to the dead letters, and the next one may go.
    GiveUp,
}

/// How often in a row a receiver could not be reached, and for how long that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) since: Duration,
}

impl Store {
    /// Sends a message with the turn that runs: at once, or not before a later time.
    pub(crate) fn post(&self, message: &Message, now: i64, later: Option<i64>) -> Result<()> {
        self.check_may_write()?;
        self.on_own_or_new_table(CREATE, |connection| post(connection, message, now, later))?;
        self.touch_work();
        Ok(())
    }

    /// When the first message wants to be sent, in milliseconds since 1970, but for those to receivers that are `busy`: to
    /// whom some are on their way.
    pub(crate) fn next_delivery(&self, busy: &HashSet<i64>) -> Result<Option<i64>> {
        self.on_own_table(None, |connection| {
            let later: Option<i64> =
                connection.prepare_cached(NEXT_LATER)?.query_row([], |row| row.get(0))?;
            let mut receivers = connection.prepare_cached(RECEIVERS)?;
            let mut rows = receivers.query([])?;
            while let Some(row) = rows.next()? {
                if !busy.contains(&row.get(0)?) {
                    let due: i64 = row.get(4)?;
                    return Ok(Some(later.map_or(due, |later| later.min(due))));
                }
            }
            Ok(later)
        })
    }

    /// How many messages no receiver has confirmed.
    pub(crate) fn pending_messages(&self) -> Result<u64> {
        self.on_own_table(0, |connection| {
            connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))
        })
    }

    /// Gives numbers to messages that have become due, and gives what is to be sent now.
    pub(crate) fn parcels(&self, now: i64, busy: &HashSet<i64>) -> Result<Vec<Parcel>> {
        let came_due = self.on_own_table(false, |connection| come_due(connection, now))?;
        if came_due {
            self.touch_work();
        }
        self.on_own_table(Vec::new(), |connection| {
            let epoch = epoch(connection)?;
            let mut receivers = connection.prepare_cached(RECEIVERS)?;
            let mut rows = receivers.query([])?;
            let mut parcels = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, due): (i64, i64) = (row.get(0)?, row.get(4)?);
                if due > now || parcels.len() == RECEIVERS_MAX {
                    break;
                }
                if !busy.contains(&id) {
                    let class: String = row.get(1)?;
                    let receiver =
                        ObjectKey { class: class.into(), id: RawId::from_bytes(row.get(2)?) };
                    let (name, letters) = (row.get(3)?, letters(connection, id)?);
                    parcels.push(Parcel { row: id, epoch, receiver, name, letters });
                }
            }
            Ok(parcels)
        })
    }

    /// Notes that the receiver of a parcel has taken or refused its messages up to this number. Those that it refused go to
    /// the dead letters, each with the reason. Gives what is to be sent to it next, and when; nothing if the parcel is one
    /// of an earlier epoch.
    pub(crate) fn confirm(
        &self,
        parcel: &Parcel,
        highest: i64,
        refused: &[(i64, String)],
        now: i64,
    ) -> Result<Option<Parcel>> {
        if !self.knows(parcel)? {
            return Ok(None);
        }
        for (number, reason) in refused {
            self.bury(parcel.row, *number, reason, now)?;
        }
        let letters = self.on_own_table(Vec::new(), |connection| {
            connection.prepare_cached(CONFIRM)?.execute((parcel.row, highest))?;
            let letters = letters(connection, parcel.row)?;
            let due = (!letters.is_empty()).then_some(now);
            let no_failure = None::<i64>;
            connection.prepare_cached(REST)?.execute((parcel.row, due, 0, no_failure))?;
            if letters.is_empty()
                && connection
                    .prepare_cached(IS_EMPTY)?
                    .query_row([RECEIVERS_KEPT], |row| row.get(0))?
            {
                connection.execute_batch(BEGIN_ANEW)?;
            }
            Ok(letters)
        })?;
        self.touch_work();
        Ok((!letters.is_empty()).then(|| Parcel { letters, ..parcel.clone() }))
    }

    /// Notes that the receiver of a parcel could not be reached. `decide` says what to do about that. Gives the number of
    /// the message that was given up, if one was.
    pub(crate) fn unreached(
        &self,
        parcel: &Parcel,
        reason: &str,
        now: i64,
        decide: impl FnOnce(Failures) -> Unreached,
    ) -> Result<Option<i64>> {
        if !self.knows(parcel)? {
            return Ok(None);
        }
        let (failed, since, first) = self.on_own_table((0, None, None), |connection| {
            let mut state = connection.prepare_cached(STATE)?;
            let (failed, since): (u32, Option<i64>) =
                state.query_row([parcel.row], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let first: Option<i64> =
                connection.prepare_cached(FIRST)?.query_row([parcel.row], |row| row.get(0))?;
            Ok((failed, since, first))
        })?;
        let since = since.unwrap_or(now);
        let passed = Duration::from_millis(u64::try_from(now - since).unwrap_or_default());
        let failures = Failures { count: failed + 1, since: passed };
        let given_up = match (decide(failures), first) {
            (Unreached::Wait(wait), Some(_)) => {
                let due = now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                self.rest(parcel.row, Some(due), failures.count, Some(since))?;
                None
            }
            (Unreached::GiveUp, Some(first)) => {
                self.bury(parcel.row, first, reason, now)?;
                let left = self.on_own_table(None, |connection| {
                    connection.prepare_cached(CONFIRM)?.execute((parcel.row, first))?;
                    connection.prepare_cached(FIRST)?.query_row([parcel.row], |row| row.get(0))
                })?;
                self.rest(parcel.row, left.map(|_: i64| now), 0, None)?;
                Some(first)
            }
            (_, None) => {
                self.rest(parcel.row, None, 0, None)?;
                None
            }
        };
        self.touch_work();
        Ok(given_up)
    }

    fn rest(&self, row: i64, due: Option<i64>, failed: u32, since: Option<i64>) -> Result<()> {
        self.on_own_table((), |connection| {
            connection.prepare_cached(REST)?.execute((row, due, failed, since)).map(drop)
        })
    }

    /// Whether a parcel is of the epoch that the tables have: nothing was deleted since.
    fn knows(&self, parcel: &Parcel) -> Result<bool> {
        let epoch = self.on_own_table(None, |connection| epoch(connection).map(Some))?;
        Ok(epoch == Some(parcel.epoch))
    }
}

fn epoch(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(EPOCH)?.query_row([], |row| row.get(0))
}

fn post(
    connection: &Connection,
    message: &Message,
    now: i64,
    later: Option<i64>,
) -> rusqlite::Result<()> {
    let (receiver, last) = receiver(connection, message)?;
    let number = later.is_none().then_some(last + 1);
    if let Some(number) = number {
        connection.prepare_cached(NUMBER)?.execute((receiver, number, now))?;
    }
    let due = later.unwrap_or(now);
    connection.prepare_cached(POST)?.execute(params![
        receiver,
        number,
        due,
        now,
        &*message.method,
        message.arguments
    ])?;
    Ok(())
}

/// The receiver's row, and the last number that a message to it was given.
fn receiver(connection: &Connection, message: &Message) -> rusqlite::Result<(i64, i64)> {
    let Message { receiver: ObjectKey { class, id }, name, .. } = message;
    let key = (&**class, id.as_bytes());
    let mut find = connection.prepare_cached(FIND)?;
    let found: Option<(i64, i64, bool)> =
        find.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((row, last, is_nameless)) = found else {
        let name = name.as_deref();
        connection.prepare_cached(MEET)?.execute((key.0, key.1, name))?;
        return Ok((connection.last_insert_rowid(), 0));
    };
    if let Some(name) = name.as_ref().filter(|_| is_nameless) {
        connection.prepare_cached(NAME)?.execute((row, &**name))?;
    }
    Ok((row, last))
}

/// Gives numbers to what has become due, the first of it if it is much; says whether there was anything.
fn come_due(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    let (mut count, mut bytes) = (0, 0);
    let mut next = connection.prepare_cached(COME_DUE)?;
    while count < COME_DUE_MAX && bytes < ARGUMENTS_BYTES_ENOUGH {
        let found: Option<(i64, i64, i64, usize)> = next
            .query_row([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((message, receiver, last, length)) = found else { break };
        connection.prepare_cached(COME_DUE_NUMBER)?.execute((message, last + 1))?;
        connection.prepare_cached(NUMBER)?.execute((receiver, last + 1, now))?;
        count += 1;
        bytes += length;
    }
    Ok(count > 0)
}

fn letters(connection: &Connection, receiver: i64) -> rusqlite::Result<Vec<Letter>> {
    let mut select = connection.prepare_cached(LETTERS)?;
    let mut rows = select.query((receiver, LETTERS_MAX))?;
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while bytes < ARGUMENTS_BYTES_ENOUGH
        && let Some(row) = rows.next()?
    {
        let arguments: Vec<u8> = row.get(2)?;
        bytes += arguments.len();
        letters.push(Letter { number: row.get(0)?, method: row.get(1)?, arguments });
    }
    Ok(letters)
}
