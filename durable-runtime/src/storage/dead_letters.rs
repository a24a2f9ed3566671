//! `_durable_dead_letters`: messages that were given up, kept until somebody sends them again or deletes them.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::Store;
use super::alarm::time_of;
use crate::Result;
use crate::engine::ObjectKey;
use crate::id::RawId;
use crate::message::Message;

const CREATE: &str = "CREATE TABLE _durable_dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, \
    class TEXT NOT NULL, object BLOB NOT NULL, name TEXT, method TEXT NOT NULL, arguments BLOB NOT NULL, \
    sent INTEGER NOT NULL, failed INTEGER NOT NULL, reason TEXT NOT NULL) STRICT";
// Cached, so each begins as no statement of a user's may.
const BURY: &str = "/*durable*/INSERT INTO _durable_dead_letters \
    (class, object, name, method, arguments, sent, failed, reason) \
    SELECT r.class, r.object, r.name, o.method, o.arguments, o.sent, ?3, ?4 \
    FROM _durable_outbox o JOIN _durable_receivers r ON r.id = o.receiver \
    WHERE o.receiver = ?1 AND o.number = ?2";
const LIST: &str = "/*durable*/SELECT id, class, object, name, method, sent, failed, reason \
    FROM _durable_dead_letters ORDER BY id LIMIT ?1";
const READ: &str = "/*durable*/SELECT class, object, name, method, arguments \
    FROM _durable_dead_letters WHERE id = ?1";
const DELETE: &str = "/*durable*/DELETE FROM _durable_dead_letters WHERE id = ?1";
const LAST: &str = "/*durable*/SELECT max(id) FROM _durable_dead_letters";
const FIRST: &str = "/*durable*/SELECT id, length(arguments) FROM _durable_dead_letters \
    WHERE id <= ?1 ORDER BY id LIMIT 1";

/// Bytes that are kept of why a message was given up.
const REASON_BYTES_MAX: usize = 1_024;

/// How much is sent again in one turn, arguments and what else a message costs.
const RESENT_BYTES: i64 = 8 * 1024 * 1024;
const LETTER_BYTES: i64 = 4_096;

/// A message that was given up. See [`Context::dead_letters`](crate::Context::dead_letters).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Names it in this object, for [`resend_dead_letter`](crate::Context::resend_dead_letter) and
    /// [`delete_dead_letter`](crate::Context::delete_dead_letter).
    pub id: i64,
    /// The receiver's class, as it is stored.
    pub receiver_class: String,
    /// The receiver's id, as 64 hex digits.
    pub receiver_id: String,
    /// The receiver's name, if it is known.
    pub receiver_name: Option<String>,
    /// The method that was to be called.
    pub method: String,
    /// When it was sent.
    pub sent: SystemTime,
    /// When it was given up.
    pub given_up: SystemTime,
    /// Why: what the method failed with, or why the receiver could not be reached. Of a long text the first 1,024 bytes.
    pub reason: String,
}

impl Store {
    /// Copies a message to the dead letters; whoever calls deletes it from the outbox.
    pub(super) fn bury(&self, receiver: i64, number: i64, reason: &str, now: i64) -> Result<()> {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        self.on_own_or_new_table(CREATE, |connection| {
            connection.prepare_cached(BURY)?.execute((receiver, number, now, reason)).map(drop)
        })
    }

    /// The oldest messages that were given up.
    pub(crate) fn dead_letters(&self, count: usize) -> Result<Vec<DeadLetter>> {
        self.on_own_table(Vec::new(), |connection| {
            let mut list = connection.prepare_cached(LIST)?;
            let rows = list.query_map([count], |row| {
                Ok(DeadLetter {
                    id: row.get(0)?,
                    receiver_class: row.get(1)?,
                    receiver_id: RawId::from_bytes(row.get(2)?).to_string(),
                    receiver_name: row.get(3)?,
                    method: row.get(4)?,
                    sent: time_of(row.get(5)?),
                    given_up: time_of(row.get(6)?),
                    reason: row.get(7)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Sends a dead letter again, as a new message. `false` if there is none.
    pub(crate) fn resend_dead_letter(&self, id: i64, now: i64) -> Result<bool> {
        self.check_may_write()?;
        let message = self.on_own_table(None, |connection| {
            let mut read = connection.prepare_cached(READ)?;
            let message = read.query_row([id], |row| {
                let (class, name): (String, Option<String>) = (row.get(0)?, row.get(2)?);
                let (id, method) = (RawId::from_bytes(row.get(1)?), row.get::<_, String>(3)?);
                Ok(Message {
                    receiver: ObjectKey { class: class.into(), id },
                    name: name.map(Arc::from),
                    method: method.into(),
                    arguments: row.get(4)?,
                })
            });
            message.optional()
        })?;
        let Some(message) = message else { return Ok(false) };
        self.post(&message, now, None)?;
        self.delete_dead_letter(id)
    }

    /// Deletes a dead letter. `false` if there is none.
    pub(crate) fn delete_dead_letter(&self, id: i64) -> Result<bool> {
        self.check_may_write()?;
        let deleted = self.on_own_table(0, |connection| {
            connection.prepare_cached(DELETE)?.execute(params![id])
        })?;
        if deleted > 0 {
            self.touch_work();
        }
        Ok(deleted > 0)
    }

    /// The id of the newest dead letter.
    pub(crate) fn last_dead_letter(&self) -> Result<Option<i64>> {
        self.on_own_table(None, |connection| {
            connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))
        })
    }

    /// Sends the oldest dead letters up to this one again, in their order, as many as fit a turn. Gives how many those are;
    /// none are left when it is none.
    pub(crate) fn resend_dead_letters(&self, last: i64, now: i64) -> Result<usize> {
        let (mut count, mut bytes) = (0, 0);
        while bytes < RESENT_BYTES {
            let first: Option<(i64, i64)> = self.on_own_table(None, |connection| {
                let mut first = connection.prepare_cached(FIRST)?;
                first.query_row([last], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })?;
            let Some((id, length)) = first else { break };
            self.resend_dead_letter(id, now)?;
            count += 1;
            // Each also changes pages of its own.
            bytes += length + LETTER_BYTES;
        }
        Ok(count)
    }
}
