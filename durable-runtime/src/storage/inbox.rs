//! `_durable_inbox`: which messages the object has had, so that none has its effect twice.
//!
//! The guarantee: the highest number that came from a sender in one epoch is stored with the effect of that message, in one
//! transaction. What comes again with a number up to it is answered as before. It is remembered for 14 days after the last
//! message of that sender, twice as long as any sender tries.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use crate::Result;
use crate::engine::ObjectKey;

pub(super) const CREATE: &str = "CREATE TABLE _durable_inbox (class TEXT NOT NULL, object BLOB NOT NULL, \
    epoch INTEGER NOT NULL, highest INTEGER NOT NULL, at INTEGER NOT NULL, \
    PRIMARY KEY (class, object, epoch)) STRICT, WITHOUT ROWID";
pub(super) const CREATE_REFUSED: &str = "CREATE TABLE _durable_refused (class TEXT NOT NULL, object BLOB NOT NULL, \
    epoch INTEGER NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, \
    PRIMARY KEY (class, object, epoch, number)) STRICT, WITHOUT ROWID";
// Cached, so each begins as no statement of a user's may.
const HIGHEST: &str = "/*durable*/SELECT highest FROM _durable_inbox \
    WHERE class = ?1 AND object = ?2 AND epoch = ?3";
const NOTE: &str = "/*durable*/INSERT INTO _durable_inbox (class, object, epoch, highest, at) \
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET highest = excluded.highest, at = excluded.at";
const FORGET: &str = "/*durable*/DELETE FROM _durable_inbox WHERE at < ?1";
const REASON: &str = "/*durable*/SELECT reason FROM _durable_refused \
    WHERE class = ?1 AND object = ?2 AND epoch = ?3 AND number = ?4";
const REFUSE: &str = "/*durable*/INSERT OR REPLACE INTO _durable_refused \
    (class, object, epoch, number, at, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const FORGET_REFUSED: &str = "/*durable*/DELETE FROM _durable_refused WHERE at < ?1";

/// How long after its last message a sender is forgotten.
const KEPT: Duration = Duration::from_hours(14 * 24);
/// One sender in so many has the old ones forgotten when it is first met.
const FORGETS_OLD: i64 = 64;

/// Who has sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) key: ObjectKey,
    pub(crate) epoch: i64,
}

/// What became of a message. `Err` is why it was refused.
pub(crate) type Verdict = std::result::Result<(), String>;

impl Store {
    /// What became of a message, if the object has had it.
    pub(crate) fn received(&self, sender: &Sender, number: i64) -> Result<Option<Verdict>> {
        let key = (&*sender.key.class, sender.key.id.as_bytes(), sender.epoch);
        let highest: Option<i64> = self.on_own_table(None, |connection| {
            connection.prepare_cached(HIGHEST)?.query_row(key, |row| row.get(0)).optional()
        })?;
        if highest.is_none_or(|highest| highest < number) {
            return Ok(None);
        }
        let reason: Option<String> = self.on_own_table(None, |connection| {
            let mut reason = connection.prepare_cached(REASON)?;
            reason.query_row((key.0, key.1, key.2, number), |row| row.get(0)).optional()
        })?;
        Ok(Some(reason.map_or(Ok(()), Err)))
    }

    /// Remembers what became of a message, with the turn that runs.
    pub(crate) fn note_received(
        &self,
        sender: &Sender,
        number: i64,
        verdict: &Verdict,
        now: i64,
    ) -> Result<()> {
        let Sender { key: ObjectKey { class, id }, epoch } = sender;
        let note = |connection: &Connection| {
            let noted = params![&**class, id.as_bytes(), epoch, number, now];
            connection.prepare_cached(NOTE)?.execute(noted)
        };
        self.on_own_or_new_table(CREATE, note)?;
        if let Err(reason) = verdict {
            self.on_own_or_new_table(CREATE_REFUSED, |connection| {
                let refused = params![&**class, id.as_bytes(), epoch, number, now, reason];
                connection.prepare_cached(REFUSE)?.execute(refused)
            })?;
        }
        if number == 1 && epoch % FORGETS_OLD == 0 {
            let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
            for forget in [FORGET, FORGET_REFUSED] {
                self.on_own_table(0, |connection| {
                    connection.prepare_cached(forget)?.execute([now.saturating_sub(kept)])
                })?;
            }
        }
        self.mark_written();
        Ok(())
    }
}
