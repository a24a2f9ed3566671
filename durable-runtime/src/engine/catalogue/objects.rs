//! The list of all objects, for whoever has to find them without knowing their ids.
//!
//! The guarantee: every commit that the journal has let go of is in the list, since the list is written, durably, before
//! the journal lets go; what came after is in the journal's tail, and the next start adds it. No commit waits for
//! the list, and no start reads it.
//!
//! It is a cache. If it is lost, the next start reads every object's file once and makes it anew; what
//! cannot be found again are the rows of deleted objects, which have no file.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::params;

use super::Catalogue;
use crate::Result;
use crate::engine::pagestore::Stamp;
use crate::engine::wakes::WakeTable;
use crate::engine::{About, ObjectKey, sqlite};
use crate::id::RawId;

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS objects (\
     class TEXT NOT NULL, id BLOB NOT NULL, name TEXT, location_hint TEXT, created_ms INTEGER, \
     commit_number INTEGER NOT NULL, epoch INTEGER NOT NULL, deleted INTEGER NOT NULL, \
     PRIMARY KEY (class, id)) STRICT, WITHOUT ROWID";

/// A row that is not newer changes nothing: a start may tell again what a checkpoint has told already.
const UPSERT: &str = "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
     ON CONFLICT DO UPDATE SET name = coalesce(excluded.name, name), \
     location_hint = coalesce(excluded.location_hint, location_hint), \
     created_ms = coalesce(excluded.created_ms, created_ms), \
     commit_number = excluded.commit_number, epoch = excluded.epoch, deleted = excluded.deleted \
     WHERE (excluded.epoch, excluded.commit_number) >= (epoch, commit_number)";

/// What the list says of an object. A deleted one keeps its row, since commit numbers are never used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) about: About,
    /// When its first commit was, in milliseconds since 1970, if that is known.
    pub(crate) created_ms: Option<i64>,
    pub(crate) stamp: Stamp,
    pub(crate) deleted: bool,
}

impl Row {
    /// Takes over what another row of the same object knows.
    pub(crate) fn update(&mut self, row: Row) {
        self.about.merge(row.about);
        self.created_ms = row.created_ms.or(self.created_ms);
        // An object that was deleted and created anew in a later run may count from the start, in a later epoch.
        if (row.stamp.epoch, row.stamp.commit) >= (self.stamp.epoch, self.stamp.commit) {
            (self.stamp, self.deleted) = (row.stamp, row.deleted);
        }
    }
}

/// Keeps the list of all objects, and of those that are to be woken.
pub(crate) trait ObjectIndex: WakeTable + fmt::Debug {
    /// Writes rows, durably, all or none. What a row leaves open stays as it is.
    fn store(&self, rows: &[(ObjectKey, Row)]) -> Result<()>;

    /// The objects of a class that are listed and not deleted.
    fn objects(&self, class: &str) -> Result<Vec<ObjectKey>>;

    /// Whether it was lost since [`set_complete`](ObjectIndex::set_complete), and has to be made anew.
    fn is_lost(&self) -> bool;

    /// Every object has its row now.
    fn set_complete(&self) -> Result<()>;
}

impl ObjectIndex for Catalogue {
    fn store(&self, rows: &[(ObjectKey, Row)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = state.connection.transaction()?;
            {
                let mut upsert = transaction.prepare_cached(UPSERT)?;
                for (key, row) in rows {
                    let Row { about, created_ms, stamp, deleted } = row;
                    // SQLite has signed numbers; no object comes to half of them.
                    let commit = i64::try_from(stamp.commit).unwrap_or(i64::MAX);
                    upsert.execute(params![
                        &*key.class,
                        key.id.as_bytes(),
                        about.name.as_deref(),
                        about.location_hint,
                        created_ms,
                        commit,
                        stamp.epoch,
                        deleted
                    ])?;
                }
            }
            transaction.commit()
        };
        write().map_err(sqlite::error).map_err(|error| error.context("the catalogue"))
    }

    fn objects(&self, class: &str) -> Result<Vec<ObjectKey>> {
        let state = self.state.lock();
        let class: Arc<str> = class.into();
        let read = || -> rusqlite::Result<Vec<ObjectKey>> {
            let sql = "SELECT id FROM objects WHERE class = ?1 AND NOT deleted";
            let mut objects = state.connection.prepare_cached(sql)?;
            let objects = objects.query_map([&*class], |row| {
                Ok(ObjectKey { class: Arc::clone(&class), id: RawId::from_bytes(row.get(0)?) })
            })?;
            objects.collect()
        };
        read().map_err(sqlite::error).map_err(|error| error.context("the catalogue"))
    }

    fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn set_complete(&self) -> Result<()> {
        let state = self.state.lock();
        let mark = format!("PRAGMA user_version = {}", super::COMPLETE);
        state.connection.execute_batch(&mark).map_err(sqlite::error)
    }
}

/// Rows that are to be written with the next checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Unlisted {
    rows: Mutex<HashMap<ObjectKey, Row>>,
}

impl Unlisted {
    /// Adds what is new of an object.
    pub(crate) fn note(&self, key: &ObjectKey, row: Row) {
        let mut rows = self.rows.lock();
        let Some(known) = rows.get_mut(key) else {
            rows.insert(key.clone(), row);
            return;
        };
        known.update(row);
    }

    /// Whose rows wait, and whether each of them exists.
    pub(crate) fn objects(&self) -> Vec<(ObjectKey, bool)> {
        self.rows.lock().iter().map(|(key, row)| (key.clone(), !row.deleted)).collect()
    }

    /// Writes all of them. If that fails they wait for the next time.
    ///
    /// # Errors
    /// What the index says.
    pub(crate) fn store(&self, index: &Arc<dyn ObjectIndex>) -> Result<()> {
        let rows: Vec<_> = std::mem::take(&mut *self.rows.lock()).into_iter().collect();
        index.store(&rows).inspect_err(|_| {
            for (key, row) in rows {
                self.note(&key, row);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scan::testing::object;
    use crate::engine::wakes::{Due, Wake};

    fn row(commit: u64, name: Option<&str>, created_ms: Option<i64>) -> Row {
        Row {
            about: About { name: name.map(Arc::from), location_hint: None },
            created_ms,
            stamp: Stamp { commit, ..Stamp::default() },
            deleted: false,
        }
    }

    #[test]
    fn rows_are_merged_and_never_go_back() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        let key = object(1);
        catalogue.store(&[(key.clone(), row(1, Some("a"), Some(7)))]).unwrap();
        catalogue.store(&[(key.clone(), row(5, None, None))]).unwrap();
        catalogue.store(&[(key.clone(), row(3, None, None))]).unwrap();
        assert_eq!(catalogue.object(&key).unwrap(), Some(row(5, Some("a"), Some(7))));
        let deleted = Row { deleted: true, ..row(6, None, None) };
        catalogue.store(&[(key.clone(), deleted)]).unwrap();
        let tombstone = catalogue.object(&key).unwrap().unwrap();
        assert!(tombstone.deleted && tombstone.stamp.commit == 6);
        assert_eq!(catalogue.object(&object(2)).unwrap(), None);
    }

    #[test]
    fn an_object_that_is_created_anew_in_a_later_run_may_count_from_the_start() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        let key = object(1);
        let tombstone = Row { deleted: true, ..row(50, Some("a"), Some(7)) };
        let mut anew = row(1, None, Some(9));
        anew.stamp.epoch = 2;
        catalogue.store(&[(key.clone(), tombstone.clone())]).unwrap();
        catalogue.store(&[(key.clone(), anew.clone())]).unwrap();
        catalogue.store(&[(key.clone(), tombstone.clone())]).unwrap();
        let found = catalogue.object(&key).unwrap().unwrap();
        assert_eq!((found.stamp, found.deleted), (anew.stamp, false));
        let mut waiting = tombstone;
        waiting.update(anew.clone());
        assert_eq!((waiting.stamp, waiting.deleted), (anew.stamp, false));
    }

    #[test]
    fn what_could_not_be_stored_waits() {
        #[derive(Debug)]
        struct Full;
        impl WakeTable for Full {
            fn after(&self, _: Option<&Due>, _: usize) -> Result<Vec<Due>> {
                Ok(Vec::new())
            }
            fn write(&self, _: &[(ObjectKey, Wake)]) -> Result<()> {
                Err(crate::Error::other("full"))
            }
            fn given_up(&self, _: &str) -> Result<Vec<ObjectKey>> {
                Ok(Vec::new())
            }
        }
        impl ObjectIndex for Full {
            fn store(&self, _: &[(ObjectKey, Row)]) -> Result<()> {
                Err(crate::Error::other("full"))
            }
            fn objects(&self, _: &str) -> Result<Vec<ObjectKey>> {
                Ok(Vec::new())
            }
            fn is_lost(&self) -> bool {
                false
            }
            fn set_complete(&self) -> Result<()> {
                Ok(())
            }
        }
        let unlisted = Unlisted::default();
        unlisted.note(&object(1), row(1, Some("a"), Some(7)));
        let full: Arc<dyn ObjectIndex> = Arc::new(Full);
        unlisted.store(&full).unwrap_err();
        unlisted.note(&object(1), row(2, None, None));
        let data = tempfile::tempdir().unwrap();
        let catalogue = Arc::new(Catalogue::open(data.path()).unwrap());
        let index: Arc<dyn ObjectIndex> = Arc::clone(&catalogue) as _;
        unlisted.store(&index).unwrap();
        assert_eq!(catalogue.object(&object(1)).unwrap(), Some(row(2, Some("a"), Some(7))));
    }
}
