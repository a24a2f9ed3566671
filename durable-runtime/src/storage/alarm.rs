//! `_durable_alarm`: when the object wants to be woken, and what became of the last time that went wrong.
//!
//! The guarantee: an alarm is a row like any other, so that it is undone with whatever set it; each commit that touches
//! it says to the engine when the object is to be woken from then on.
//!
//! Two rows at most. Slot 0 is the alarm that is set: `time` is what it was set for, `due` when it is to run next, which
//! is later once it has failed. While an async handler runs, the row stays, marked as running, so that a crash finds it:
//! for everybody else it is no longer set. Slot 1 is the last one that was given up: `due` is when.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension};

use super::{Store, millis};
use crate::{Error, ErrorKind, Result};

const CREATE: &str = "CREATE TABLE _durable_alarm (slot INTEGER PRIMARY KEY, time INTEGER NOT NULL, \
    due INTEGER NOT NULL, failed INTEGER NOT NULL, running INTEGER NOT NULL, reason TEXT) STRICT";
// Cached, so each begins as no statement of a user's may.
const READ: &str =
    "/*durable*/SELECT time, due, failed, running FROM _durable_alarm WHERE slot = 0";
const READ_GIVEN_UP: &str =
    "/*durable*/SELECT time, due, failed, reason FROM _durable_alarm WHERE slot = 1";
const SET: &str = "/*durable*/INSERT OR REPLACE INTO _durable_alarm (slot, time, due, failed, running) \
    VALUES (0, ?1, ?2, ?3, ?4)";
const CLEAR: &str = "/*durable*/DELETE FROM _durable_alarm WHERE slot = 0";
const GIVE_UP: &str = "/*durable*/INSERT OR REPLACE INTO _durable_alarm (slot, time, due, failed, running, reason) \
    VALUES (1, ?1, ?2, ?3, 0, ?4)";
const FORGET_GIVEN_UP: &str = "/*durable*/DELETE FROM _durable_alarm WHERE slot = 1";

/// Bytes that are kept of why something failed.
const REASON_BYTES_MAX: usize = 1_024;

/// The alarm that is set. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) time: i64,
    pub(crate) due: i64,
    /// Runs that failed.
    pub(crate) failed: u32,
    /// Whether an async handler runs, or ran when the process ended.
    pub(crate) is_running: bool,
}

/// An alarm that was given up, because all its runs failed. See [`Context::failed_alarm`](crate::Context::failed_alarm).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAlarm {
    /// The time the alarm was set for.
    pub scheduled_time: SystemTime,
    /// When its last run had failed.
    pub given_up: SystemTime,
    /// How many runs there were.
    pub runs: u32,
    /// What the last run failed with; of a long text the first 1,024 bytes.
    pub reason: String,
}

impl Store {
    /// The alarm that is set, also one that runs.
    pub(crate) fn alarm(&self) -> Result<Option<Alarm>> {
        self.on_own_table(None, |connection| {
            let mut read = connection.prepare_cached(READ)?;
            let alarm = read.query_row([], |row| {
                Ok(Alarm {
                    time: row.get(0)?,
                    due: row.get(1)?,
                    failed: row.get(2)?,
                    is_running: row.get(3)?,
                })
            });
            alarm.optional()
        })
    }

    /// Sets the alarm in place of the one that is set, which is not tried again then.
    pub(crate) fn set_alarm(&self, time: i64) -> Result<()> {
        self.check_may_write()?;
        self.put_alarm(Alarm { time, due: time, failed: 0, is_running: false })
    }

    /// Clears the alarm, also one that runs: it is not tried again then. Gives whether there was one.
    pub(crate) fn delete_alarm(&self) -> Result<bool> {
        self.check_may_write()?;
        let deleted = self.on_own_table(0, |connection| execute(connection, CLEAR))? > 0;
        if deleted {
            self.touch_work();
        }
        Ok(deleted)
    }

    /// Writes the row of the alarm.
    pub(crate) fn put_alarm(&self, alarm: Alarm) -> Result<()> {
        let Alarm { time, due, failed, is_running } = alarm;
        self.on_own_or_new_table(CREATE, |connection| {
            connection.prepare_cached(SET)?.execute((time, due, failed, is_running))
        })?;
        self.touch_work();
        Ok(())
    }

    /// Clears the alarm because all its runs failed, and keeps what it was.
    pub(crate) fn give_up_alarm(&self, alarm: Alarm, now: i64, reason: &str) -> Result<()> {
        let reason = reason_to_keep(reason);
        self.on_own_table(0, |connection| {
            let mut give_up = connection.prepare_cached(GIVE_UP)?;
            give_up.execute((alarm.time, now, alarm.failed, reason))?;
            execute(connection, CLEAR)
        })?;
        self.touch_work();
        Ok(())
    }

    /// The last alarm that was given up.
    pub(crate) fn failed_alarm(&self) -> Result<Option<FailedAlarm>> {
        self.on_own_table(None, |connection| {
            let mut read = connection.prepare_cached(READ_GIVEN_UP)?;
            let failed = read.query_row([], |row| {
                Ok(FailedAlarm {
                    scheduled_time: time_of(row.get(0)?),
                    given_up: time_of(row.get(1)?),
                    runs: row.get(2)?,
                    reason: row.get(3)?,
                })
            });
            failed.optional()
        })
    }

    /// Lets the alarm run now, as the one that it is. Gives whether there is one that does not run already.
    #[cfg(any(feature = "admin", feature = "testing"))]
    pub(crate) fn hasten_alarm(&self, now: i64) -> Result<bool> {
        match self.alarm()?.filter(|alarm| !alarm.is_running) {
            Some(alarm) => {
                self.put_alarm(Alarm { due: alarm.due.min(now), ..alarm }).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Sets the alarm that was given up last, to run now, unless another one is set. Gives whether it did.
    pub(crate) fn retry_failed_alarm(&self, now: i64) -> Result<bool> {
        if self.alarm()?.is_some() {
            return Ok(false);
        }
        let Some(failed) = self.failed_alarm()? else { return Ok(false) };
        let time = millis(failed.scheduled_time);
        self.put_alarm(Alarm { time, due: now, failed: 0, is_running: false })?;
        self.forget_failed_alarm()?;
        Ok(true)
    }

    /// Forgets the last alarm that was given up.
    pub(crate) fn forget_failed_alarm(&self) -> Result<()> {
        if self.on_own_table(0, |connection| execute(connection, FORGET_GIVEN_UP))? > 0 {
            self.touch_work();
        }
        Ok(())
    }
}

/// What is kept of a reason.
pub(super) fn reason_to_keep(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

/// The millisecond at which an alarm or a timer for this time is due, which is never before it.
///
/// # Errors
/// [`ErrorKind::Invalid`] when it is before 1970, or further away than can be stored.
pub(crate) fn due_at(time: SystemTime) -> Result<i64> {
    let invalid = |text: &str| {
        Error::new(ErrorKind::Invalid, format!("nothing can be set for a time {text}"))
    };
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| invalid("before 1970; a time that has passed since runs at once"))?;
    let whole = since.as_nanos().div_ceil(Duration::from_millis(1).as_nanos());
    let due = i64::try_from(whole).map_err(|_| invalid("that far away"))?;
    // It must be possible to give it back.
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(due.unsigned_abs()))
        .map(|_| due)
        .ok_or_else(|| invalid("that far away"))
}

/// The time of a stored millisecond.
pub(crate) fn time_of(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::WAKES;
    use crate::storage::tests::turn_on_scratch;

    #[test]
    fn users_cannot_run_what_is_cached_for_the_framework() {
        turn_on_scratch(|store| {
            store.set_alarm(5).unwrap();
            let alarm = store.alarm().unwrap().unwrap();
            store.give_up_alarm(alarm, 7, "no luck").unwrap();
            store.set_alarm(5).unwrap();
            assert!(store.failed_alarm().unwrap().is_some());
            let ours = [READ, READ_GIVEN_UP, SET, CLEAR, GIVE_UP, FORGET_GIVEN_UP, WAKES[0].1];
            for ours in ours {
                for sql in [ours, ours.trim_start_matches("/*durable*/")] {
                    let error = store.sql().exec(sql, []).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
                }
            }
            assert_eq!(store.alarm().unwrap().unwrap().time, 5);
        });
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        turn_on_scratch(|store| {
            store.set_alarm(5).unwrap();
            let alarm = store.alarm().unwrap().unwrap();
            let reason = "ü".repeat(REASON_BYTES_MAX).replacen('ü', "u", 1);
            store.give_up_alarm(alarm, 7, &reason).unwrap();
            let kept = store.failed_alarm().unwrap().unwrap().reason;
            assert!(reason.starts_with(&kept) && kept.len() == REASON_BYTES_MAX - 1);
        });
    }

    #[test]
    fn times_are_never_early_and_come_back() {
        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        let due = [0, 1, 999_999, 1_000_000, 1_000_001].map(|nanos| due_at(at(nanos)).unwrap());
        assert_eq!(due, [0, 1, 1, 1, 2]);
        assert_eq!(time_of(2), at(2_000_000));
        due_at(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)).unwrap_err();
    }
}
