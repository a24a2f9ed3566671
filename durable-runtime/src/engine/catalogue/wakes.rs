//! When objects are to be woken, as far as that is on the disk: see [`Wakes`](crate::engine::wakes::Wakes).

use std::sync::Arc;

use rusqlite::{Row, Transaction, params};

use super::Catalogue;
use crate::engine::wakes::{Due, Wake, WakeTable};
use crate::engine::{ObjectKey, sqlite};
use crate::id::RawId;
use crate::{Error, Result};

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS wakes (\
     class TEXT NOT NULL, id BLOB NOT NULL, time_ms INTEGER NOT NULL, \
     PRIMARY KEY (class, id)) STRICT, WITHOUT ROWID; \
     CREATE INDEX IF NOT EXISTS wakes_by_time ON wakes (time_ms, class, id); \
     CREATE TABLE IF NOT EXISTS given_up (\
     class TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (class, id)) STRICT, WITHOUT ROWID";

const FIRST: &str = "SELECT time_ms, class, id FROM wakes ORDER BY time_ms, class, id LIMIT ?1";
const AFTER: &str = "SELECT time_ms, class, id FROM wakes WHERE (time_ms, class, id) > (?2, ?3, ?4) \
     ORDER BY time_ms, class, id LIMIT ?1";
const SET: &str = "INSERT OR REPLACE INTO wakes (class, id, time_ms) VALUES (?1, ?2, ?3)";
const CLEAR: &str = "DELETE FROM wakes WHERE class = ?1 AND id = ?2";
const GIVEN_UP: &str = "SELECT id FROM given_up WHERE class = ?1 ORDER BY id";
const GIVE_UP: &str = "INSERT OR IGNORE INTO given_up (class, id) VALUES (?1, ?2)";
const TAKE_UP: &str = "DELETE FROM given_up WHERE class = ?1 AND id = ?2";

impl WakeTable for Catalogue {
    fn after(&self, last: Option<&Due>, count: usize) -> Result<Vec<Due>> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let state = self.state.lock();
        let read = || -> rusqlite::Result<Vec<Due>> {
            let Some((time, object)) = last else {
                let mut first = state.connection.prepare_cached(FIRST)?;
                return first.query_map([count], due)?.collect();
            };
            let mut after = state.connection.prepare_cached(AFTER)?;
            let (class, id) = (&*object.class, object.id.as_bytes());
            after.query_map(params![count, time, class, id], due)?.collect()
        };
        read().map_err(failed)
    }

    fn write(&self, changes: &[(ObjectKey, Wake)]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut write = || {
            let transaction = state.connection.transaction()?;
            write_all(&transaction, changes)?;
            transaction.commit()
        };
        write().map_err(failed)
    }

    fn given_up(&self, class: &str) -> Result<Vec<ObjectKey>> {
        let state = self.state.lock();
        let read = || -> rusqlite::Result<Vec<ObjectKey>> {
            let mut given_up = state.connection.prepare_cached(GIVEN_UP)?;
            let class: Arc<str> = class.into();
            let objects = given_up.query_map([&*class], |row| {
                Ok(ObjectKey { class: Arc::clone(&class), id: RawId::from_bytes(row.get(0)?) })
            })?;
            objects.collect()
        };
        read().map_err(failed)
    }
}

fn write_all(transaction: &Transaction<'_>, changes: &[(ObjectKey, Wake)]) -> rusqlite::Result<()> {
    let (mut set, mut clear) =
        (transaction.prepare_cached(SET)?, transaction.prepare_cached(CLEAR)?);
    let (mut give_up, mut take_up) =
        (transaction.prepare_cached(GIVE_UP)?, transaction.prepare_cached(TAKE_UP)?);
    for (object, wake) in changes {
        let (class, id) = (&*object.class, object.id.as_bytes());
        match wake.time_ms {
            Some(time) => set.execute(params![class, id, time])?,
            None => clear.execute(params![class, id])?,
        };
        let note = if wake.has_given_up { &mut give_up } else { &mut take_up };
        note.execute(params![class, id])?;
    }
    Ok(())
}

fn due(row: &Row<'_>) -> rusqlite::Result<Due> {
    let (time, class, id): (i64, String, [u8; 32]) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok((time, ObjectKey { class: class.into(), id: RawId::from_bytes(id) }))
}

fn failed(error: rusqlite::Error) -> Error {
    sqlite::error(error).context("the catalogue")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scan::testing::object;

    #[test]
    fn rows_come_in_order_from_any_place_and_are_there_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        let due = [(-5, object(3)), (7, object(1)), (7, object(2)), (9, object(4))];
        let mut due = due.to_vec();
        due.sort();
        let rows: Vec<_> = due.iter().map(|due| (due.1.clone(), Some(due.0).into())).collect();
        catalogue.write(&rows).unwrap();
        assert_eq!(catalogue.after(None, 10).unwrap(), due);
        for place in 0..due.len() {
            let rest = &due[place + 1..];
            assert_eq!(catalogue.after(Some(&due[place]), 10).unwrap(), rest);
            assert_eq!(catalogue.after(Some(&due[place]), 1).unwrap(), rest[..rest.len().min(1)]);
        }
        let changes = [(object(3), Some(8)), (object(4), None), (object(5), None)];
        catalogue.write(&changes.map(|(object, time)| (object, time.into()))).unwrap();
        drop(catalogue);
        let catalogue = Catalogue::open(data.path()).unwrap();
        let times: Vec<i64> =
            catalogue.after(None, 10).unwrap().into_iter().map(|due| due.0).collect();
        assert_eq!(times, [7, 7, 8]);
    }

    #[test]
    fn who_has_given_up_is_listed_until_the_work_is_taken_up() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        let given_up = |time_ms| Wake { time_ms, has_given_up: true };
        let (one, other) = (object(1), object(2));
        catalogue
            .write(&[(one.clone(), given_up(None)), (other.clone(), given_up(Some(3)))])
            .unwrap();
        let mut both = [one.clone(), other.clone()];
        both.sort();
        assert_eq!(catalogue.given_up(&one.class).unwrap(), both);
        assert_eq!(catalogue.given_up("Nobody").unwrap(), []);
        catalogue.write(&[(one.clone(), Some(9).into())]).unwrap();
        assert_eq!(catalogue.given_up(&one.class).unwrap(), [other]);
    }
}
