//! `_durable_timers`: the calls that the object has asked for at later times, each under a key of its own.
//!
//! The guarantee: a timer is a row like any other, so that it is undone with whatever set it; each commit that touches
//! one says to the engine when the object is to be woken from then on.
//!
//! `time` is the regular time of the run that is next, `due` when it is to be tried, which differs once it has failed; one
//! without `due` was given up. The rhythm is in `every` (milliseconds) or in `cron` and `zone`, or there is none. `class`, `id`
//! and `name` say whom it calls, if that is another object.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::alarm::{reason_to_keep, time_of};
use super::millis;
use crate::Result;
use crate::engine::ObjectKey;
use crate::id::RawId;
use crate::message::Message;
use crate::schedule::FailedRun;
use crate::time::recurrence::{CronRule, Rule};

const CREATE: &str = "CREATE TABLE _durable_timers (key TEXT NOT NULL PRIMARY KEY, time INTEGER NOT NULL, due INTEGER, \
    failed INTEGER NOT NULL, every INTEGER, cron TEXT, zone TEXT, class TEXT, id BLOB, name TEXT, method TEXT NOT NULL, \
    arguments BLOB NOT NULL, reason TEXT, failed_at INTEGER, failed_runs INTEGER) STRICT, WITHOUT ROWID; \
    CREATE INDEX _durable_timers_due ON _durable_timers (due)";
// Cached, so each begins as no statement of a user's may.
const NEXT: &str = "/*durable*/SELECT min(due) FROM _durable_timers";
const FIRST: &str = "/*durable*/SELECT key, time, due, failed, every, cron, zone, class, id, name, method, reason, failed_at, \
    failed_runs, arguments FROM _durable_timers WHERE due IS NOT NULL ORDER BY due, key LIMIT 1";
const ONE: &str = "/*durable*/SELECT key, time, due, failed, every, cron, zone, class, id, name, method, reason, failed_at, \
    failed_runs, arguments FROM _durable_timers WHERE key = ?1";
// Arguments may be large, and nobody looks at them in a list.
const ALL: &str = "/*durable*/SELECT key, time, due, failed, every, cron, zone, class, id, name, method, reason, failed_at, \
    failed_runs, x'' FROM _durable_timers ORDER BY due IS NULL, due, key";
const PUT: &str = "/*durable*/INSERT OR REPLACE INTO _durable_timers (key, time, due, failed, every, cron, zone, class, id, \
    name, method, reason, failed_at, failed_runs, arguments) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
const DELETE: &str = "/*durable*/DELETE FROM _durable_timers WHERE key = ?1";
const RETRY: &str = "/*durable*/UPDATE _durable_timers SET due = ?1, failed = 0 WHERE due IS NULL";

/// A call at a later time. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) key: String,
    pub(crate) rule: Rule,
    /// The regular time of the run that is next.
    pub(crate) time: i64,
    /// When it is to be tried; `None` once it was given up.
    pub(crate) due: Option<i64>,
    /// Runs for this time that failed.
    pub(crate) failed: u32,
    pub(crate) call: Message,
    /// The last run that failed, if none has succeeded since.
    pub(crate) failed_run: Option<FailedRun>,
}

impl Timer {
    /// The same one, before its run at another time.
    pub(crate) fn at(self, time: i64) -> Timer {
        Timer { time, due: Some(time), failed: 0, ..self }
    }
}

impl Store {
    /// When the first timer is due, in milliseconds since 1970.
    pub(crate) fn next_timer(&self) -> Result<Option<i64>> {
        self.on_own_table(None, |connection| {
            connection.prepare_cached(NEXT)?.query_row([], |row| row.get(0))
        })
    }

    /// The timer that is due first, and of several the first by its key.
    pub(crate) fn first_timer(&self) -> Result<Option<Timer>> {
        self.on_own_table(None, |connection| {
            let mut first = connection.prepare_cached(FIRST)?;
            first.query_row([], |row| self.read_timer(row)).optional()
        })
    }

    pub(crate) fn timer(&self, key: &str) -> Result<Option<Timer>> {
        self.on_own_table(None, |connection| {
            let mut one = connection.prepare_cached(ONE)?;
            one.query_row([key], |row| self.read_timer(row)).optional()
        })
    }

    /// All timers, the first that is due first, and those that were given up last. Without the arguments of their calls.
    pub(crate) fn timers(&self) -> Result<Vec<Timer>> {
        self.on_own_table(Vec::new(), |connection| {
            let mut all = connection.prepare_cached(ALL)?;
            let timers = all.query_map([], |row| self.read_timer(row))?;
            timers.collect()
        })
    }

    /// Writes a timer in place of the one that has its key.
    pub(crate) fn put_timer(&self, timer: &Timer) -> Result<()> {
        self.check_may_write()?;
        self.on_own_or_new_table(CREATE, |connection| put(connection, timer, &self.key()))?;
        self.touch_work();
        Ok(())
    }

    /// Gives whether there was one.
    pub(crate) fn delete_timer(&self, key: &str) -> Result<bool> {
        self.check_may_write()?;
        self.change_timers(|connection| connection.prepare_cached(DELETE)?.execute([key]))
            .map(|deleted| deleted > 0)
    }

    /// Lets all timers that were given up run again from now on. Gives how many there were.
    pub(crate) fn retry_given_up_timers(&self, now: i64) -> Result<usize> {
        self.change_timers(|connection| connection.prepare_cached(RETRY)?.execute([now]))
    }

    fn change_timers(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<usize> {
        let changed = self.on_own_table(0, change)?;
        if changed > 0 {
            self.touch_work();
        }
        Ok(changed)
    }

    fn read_timer(&self, row: &Row<'_>) -> rusqlite::Result<Timer> {
        let receiver = match row.get::<_, Option<String>>(7)? {
            Some(class) => ObjectKey { class: class.into(), id: RawId::from_bytes(row.get(8)?) },
            None => self.key(),
        };
        let rule = match (row.get(4)?, row.get(5)?) {
            (Some(every), _) => Rule::Every(every),
            (None, Some(expression)) => Rule::Cron(CronRule { expression, zone: row.get(6)? }),
            (None, None) => Rule::Once,
        };
        let failed_run = match row.get(11)? {
            Some(reason) => {
                Some(FailedRun { time: time_of(row.get(12)?), runs: row.get(13)?, reason })
            }
            None => None,
        };
        Ok(Timer {
            key: row.get(0)?,
            rule,
            time: row.get(1)?,
            due: row.get(2)?,
            failed: row.get(3)?,
            call: Message {
                receiver,
                name: row.get(9)?,
                method: row.get(10)?,
                arguments: row.get(14)?,
            },
            failed_run,
        })
    }
}

fn put(connection: &Connection, timer: &Timer, own_key: &ObjectKey) -> rusqlite::Result<usize> {
    let Timer { key, rule, time, due, failed, call, failed_run } = timer;
    let (every, cron) = match rule {
        Rule::Once => (None, None),
        Rule::Every(every) => (Some(every), None),
        Rule::Cron(cron) => (None, Some(cron)),
    };
    let receiver = Some(&call.receiver).filter(|receiver| *receiver != own_key);
    let failed_run = failed_run.as_ref();
    connection.prepare_cached(PUT)?.execute(params![
        key,
        time,
        due,
        failed,
        every,
        cron.map(|cron| &cron.expression),
        cron.and_then(|cron| cron.zone.as_ref()),
        receiver.map(|receiver| &*receiver.class),
        receiver.map(|receiver| receiver.id.as_bytes()),
        receiver.and(call.name.as_deref()),
        &*call.method,
        failed_run.map(|run| reason_to_keep(&run.reason)),
        failed_run.map(|run| millis(run.time)),
        failed_run.map(|run| run.runs),
        call.arguments,
    ])
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::ErrorKind;
    use crate::engine::WAKES;
    use crate::storage::tests::turn_on_scratch;

    fn timer(store: &Store, key: &str, due: Option<i64>) -> Timer {
        let arguments = vec![2, 7];
        let call = Message { receiver: store.key(), name: None, method: "greet".into(), arguments };
        let (key, rule) = (key.to_owned(), Rule::Once);
        Timer { key, rule, time: 5, due, failed: 0, call, failed_run: None }
    }

    #[test]
    fn a_timer_comes_back_as_it_was() {
        turn_on_scratch(|store| {
            let berlin = Rule::Cron(CronRule {
                expression: "0 9 * * *".into(),
                zone: Some("Europe/Berlin".into()),
            });
            let utc = Rule::Cron(CronRule { expression: "@daily".into(), zone: None });
            let other = ObjectKey { class: "Other".into(), id: RawId::from_bytes([7; 32]) };
            let plain = timer(store, "key", Some(9));
            let failed_run =
                Some(FailedRun { time: SystemTime::UNIX_EPOCH, runs: 3, reason: "no luck".into() });
            let abroad =
                Message { receiver: other, name: Some("Bob".into()), ..plain.call.clone() };
            for timer in [
                Timer { rule: Rule::Every(90_000), ..plain.clone() },
                Timer { rule: berlin, failed: 3, failed_run, ..plain.clone() },
                Timer { rule: utc, call: abroad, due: None, ..plain.clone() },
                plain,
            ] {
                store.put_timer(&timer).unwrap();
                assert_eq!(store.timer("key").unwrap().as_ref(), Some(&timer));
                let first = timer.due.is_some().then_some(timer);
                assert_eq!(store.first_timer().unwrap(), first);
            }
        });
    }

    #[test]
    fn the_first_is_by_time_and_then_by_key() {
        turn_on_scratch(|store| {
            assert!(store.first_timer().unwrap().is_none() && store.timers().unwrap().is_empty());
            assert!(!store.delete_timer("a").unwrap());
            for (key, due) in [("d", None), ("c", Some(3)), ("b", Some(7)), ("a", Some(7))] {
                store.put_timer(&timer(store, key, due)).unwrap();
            }
            let keys: Vec<_> = store.timers().unwrap().into_iter().map(|timer| timer.key).collect();
            assert_eq!(keys, ["c", "a", "b", "d"]);
            assert_eq!(store.next_timer().unwrap(), Some(3));
            assert!(store.delete_timer("c").unwrap());
            assert_eq!(store.next_timer().unwrap(), Some(7));
            assert_eq!(store.first_timer().unwrap().unwrap().key, "a");
        });
    }

    #[test]
    fn what_was_given_up_can_be_taken_up() {
        turn_on_scratch(|store| {
            assert_eq!(store.retry_given_up_timers(9).unwrap(), 0);
            let given_up = Timer { failed: 7, ..timer(store, "a", None) };
            store.put_timer(&given_up).unwrap();
            store.put_timer(&timer(store, "b", Some(20))).unwrap();
            let wake = store.wake().unwrap();
            assert!(wake.has_given_up && wake.time_ms == Some(20));
            assert_eq!(store.retry_given_up_timers(9).unwrap(), 1);
            let wake = store.wake().unwrap();
            assert!(!wake.has_given_up && wake.time_ms == Some(9));
            let taken_up = Timer { due: Some(9), failed: 0, ..given_up };
            assert_eq!(store.timer("a").unwrap(), Some(taken_up));
            assert_eq!(store.retry_given_up_timers(9).unwrap(), 0);
        });
    }

    #[test]
    fn users_cannot_run_what_is_cached_for_the_framework() {
        turn_on_scratch(|store| {
            store.put_timer(&timer(store, "a", Some(5))).unwrap();
            assert_eq!(store.next_timer().unwrap(), Some(5));
            for ours in [NEXT, FIRST, ONE, ALL, PUT, DELETE, RETRY, WAKES[1].1] {
                for sql in [ours, ours.trim_start_matches("/*durable*/")] {
                    let error = store.sql().exec(sql, []).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
                }
            }
        });
    }

    #[test]
    fn many_timers_cost_no_more_to_look_at() {
        turn_on_scratch(|store| {
            store.put_timer(&timer(store, "a", Some(5))).unwrap();
            let connection = store.enter().unwrap();
            let _ours = store.guard.lift();
            for sql in [NEXT, FIRST, ONE, WAKES[1].1] {
                let explain = format!("EXPLAIN QUERY PLAN {sql}");
                let mut explain = connection.prepare(&explain).unwrap();
                let mut steps = explain.raw_query();
                while let Some(step) = steps.next().unwrap() {
                    let step: String = step.get(3).unwrap();
                    assert!(!step.contains("SCAN t") && !step.contains("B-TREE"), "{sql}: {step}");
                    assert!(step.contains("SEARCH") || step.contains("SCALAR"), "{sql}: {step}");
                }
            }
        });
    }
}
