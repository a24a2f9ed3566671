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
use rusqlite::{Connection, params};

use super::{Catalogue, Class};
use crate::Result;
use crate::engine::listing::{Known, Listed, Order};
use crate::engine::pagestore::{Header, Stamp};
use crate::engine::wakes::WakeTable;
use crate::engine::{About, ObjectKey, sqlite};

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS objects (\
     class TEXT NOT NULL, id BLOB NOT NULL, name TEXT, location_hint TEXT, created_ms INTEGER, \
     commit_number INTEGER NOT NULL, epoch INTEGER NOT NULL, deleted INTEGER NOT NULL, \
     PRIMARY KEY (class, id)) STRICT, WITHOUT ROWID; \
     CREATE INDEX IF NOT EXISTS objects_by_name ON objects (class, name, id) WHERE name IS NOT NULL";

/// What a catalogue of an earlier program lacks. Unknown until the object is written the next time.
const ADDED: [&str; 4] = ["changed_ms", "pages", "schema_version", "active_ms"];

/// A row that is not newer changes nothing: a start may tell again what a checkpoint has told already.
const UPSERT: &str = "INSERT INTO objects (class, id, name, location_hint, created_ms, \
     commit_number, epoch, deleted, changed_ms, pages, schema_version) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
     ON CONFLICT DO UPDATE SET name = coalesce(excluded.name, name), \
     location_hint = coalesce(excluded.location_hint, location_hint), \
     created_ms = coalesce(excluded.created_ms, created_ms), \
     commit_number = excluded.commit_number, epoch = excluded.epoch, deleted = excluded.deleted, \
     changed_ms = excluded.changed_ms, pages = coalesce(excluded.pages, pages), \
     schema_version = coalesce(excluded.schema_version, schema_version) \
     WHERE (excluded.epoch, excluded.commit_number) >= (epoch, commit_number)";
/// An object that is not stored has no row, and gets none.
const SET_ACTIVE: &str = "UPDATE objects SET active_ms = max(?3, coalesce(active_ms, ?3)) \
     WHERE class = ?1 AND id = ?2";

/// What the list says of an object. A deleted one keeps its row, since commit numbers are never used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) about: About,
    /// When its first commit was, in milliseconds since 1970, if that is known.
    pub(crate) created_ms: Option<i64>,
    pub(crate) stamp: Stamp,
    /// What its database says of itself, if that is known.
    pub(crate) header: Option<Header>,
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
            self.header = row.header.or(self.header);
        }
    }
}

/// Keeps the list of all objects, and of those that are to be woken.
pub(crate) trait ObjectIndex: WakeTable + fmt::Debug {
    /// Writes rows, durably, all or none. What a row leaves open stays as it is.
    fn store(&self, rows: &[(ObjectKey, Row)]) -> Result<()> {
        self.store_with_uses(rows, &[])
    }

    /// The same, and when objects were last in use, in milliseconds since 1970.
    fn store_with_uses(&self, rows: &[(ObjectKey, Row)], uses: &[(ObjectKey, i64)]) -> Result<()>;

    /// Rows of a class in this order, those of deleted objects too; so many, unless there are no more.
    fn page(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>>;

    /// The row of an object, also of a deleted one.
    fn find(&self, object: &ObjectKey) -> Result<Option<Known>>;

    /// The classes that are stored, in the order of their names.
    fn classes(&self) -> Result<Vec<Class>> {
        Ok(Vec::new())
    }

    /// Forgets a class, whose objects are all deleted.
    fn remove_class(&self, key: &str) -> Result<()> {
        let _ = key;
        Ok(())
    }

    /// Whether it was lost since [`set_complete`](ObjectIndex::set_complete), and has to be made anew.
    fn is_lost(&self) -> bool;

    /// Every object has its row now.
    fn set_complete(&self) -> Result<()>;
}

impl ObjectIndex for Catalogue {
    fn store_with_uses(&self, rows: &[(ObjectKey, Row)], uses: &[(ObjectKey, i64)]) -> Result<()> {
        if rows.is_empty() && uses.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut write = || {
            let transaction = state.connection.transaction()?;
            write_all(&transaction, rows, uses)?;
            transaction.commit()
        };
        write().map_err(failed)
    }

    fn page(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>> {
        super::pages::page(&self.state.lock().connection, class, order, count).map_err(failed)
    }

    fn find(&self, object: &ObjectKey) -> Result<Option<Known>> {
        super::pages::find(&self.state.lock().connection, object).map_err(failed)
    }

    fn classes(&self) -> Result<Vec<Class>> {
        self.state.lock().classes().map_err(|error| error.context("the catalogue"))
    }

    fn remove_class(&self, key: &str) -> Result<()> {
        self.state.lock().remove_class(key).map_err(failed)
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

/// Adds the columns that a catalogue of an earlier program lacks.
pub(super) fn add_columns(connection: &Connection) -> rusqlite::Result<()> {
    for column in ADDED {
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('objects') WHERE name = ?1)";
        if !connection.query_row(sql, [column], |row| row.get::<_, bool>(0))? {
            connection
                .execute_batch(&format!("ALTER TABLE objects ADD COLUMN {column} INTEGER"))?;
        }
    }
    Ok(())
}

fn write_all(
    connection: &Connection,
    rows: &[(ObjectKey, Row)],
    uses: &[(ObjectKey, i64)],
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(UPSERT)?;
    for (key, row) in rows {
        let Row { about, created_ms, stamp, header, deleted } = row;
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
            deleted,
            stamp.time_ms,
            header.map(|header| header.pages),
            header.map(|header| header.schema_version),
        ])?;
    }
    let mut set_active = connection.prepare_cached(SET_ACTIVE)?;
    for (key, time_ms) in uses {
        set_active.execute(params![&*key.class, key.id.as_bytes(), time_ms])?;
    }
    Ok(())
}

fn failed(error: rusqlite::Error) -> crate::Error {
    sqlite::error(error).context("the catalogue")
}

/// What is to be written with the next checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Unlisted(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    news: News,
    /// What is being written just now. Whoever looks must see it: it is nowhere else yet.
    leaving: News,
}

/// What the list does not know yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) rows: HashMap<ObjectKey, Row>,
    /// When objects were last in use.
    pub(crate) uses: HashMap<ObjectKey, i64>,
}

impl News {
    pub(crate) fn note(&mut self, key: &ObjectKey, row: Row) {
        match self.rows.get_mut(key) {
            Some(known) => known.update(row),
            None => drop(self.rows.insert(key.clone(), row)),
        }
    }

    fn note_use(&mut self, key: &ObjectKey, time_ms: i64) {
        let latest = self.uses.entry(key.clone()).or_insert(time_ms);
        *latest = time_ms.max(*latest);
    }

    /// Takes over what is known later.
    pub(crate) fn merge(&mut self, later: News) {
        later.rows.into_iter().for_each(|(key, row)| self.note(&key, row));
        later.uses.into_iter().for_each(|(key, time_ms)| self.note_use(&key, time_ms));
    }

    /// What of it is about this object.
    fn of_one(&self, key: &ObjectKey) -> News {
        let row = self.rows.get(key).map(|row| (key.clone(), row.clone()));
        let time_ms = self.uses.get(key).map(|time_ms| (key.clone(), *time_ms));
        News { rows: row.into_iter().collect(), uses: time_ms.into_iter().collect() }
    }

    /// What of it is about the objects of a class.
    fn of_class(&self, class: &str) -> News {
        let rows = self.rows.iter().filter(|(key, _)| *key.class == *class);
        let uses = self.uses.iter().filter(|(key, _)| *key.class == *class);
        News {
            rows: rows.map(|(key, row)| (key.clone(), row.clone())).collect(),
            uses: uses.map(|(key, time_ms)| (key.clone(), *time_ms)).collect(),
        }
    }
}

impl Unlisted {
    /// Adds what is new of an object.
    pub(crate) fn note(&self, key: &ObjectKey, row: Row) {
        self.0.lock().news.note(key, row);
    }

    /// Adds when an object was last in use; gives how many of those wait.
    pub(crate) fn note_use(&self, key: &ObjectKey, time_ms: i64) -> usize {
        let news = &mut self.0.lock().news;
        news.note_use(key, time_ms);
        news.uses.len()
    }

    /// What waits about an object.
    pub(crate) fn of_one(&self, key: &ObjectKey) -> News {
        let waiting = self.0.lock();
        let mut news = waiting.leaving.of_one(key);
        news.merge(waiting.news.of_one(key));
        news
    }

    /// What waits about the objects of a class.
    pub(crate) fn of_class(&self, class: &str) -> News {
        let waiting = self.0.lock();
        let mut news = waiting.leaving.of_class(class);
        news.merge(waiting.news.of_class(class));
        news
    }

    /// Writes all of it. If that fails it waits for the next time. For one caller at a time.
    ///
    /// # Errors
    /// What the index says.
    pub(crate) fn store(&self, index: &Arc<dyn ObjectIndex>) -> Result<()> {
        let leaving = {
            let mut waiting = self.0.lock();
            waiting.leaving = std::mem::take(&mut waiting.news);
            waiting.leaving.clone()
        };
        let rows: Vec<_> = leaving.rows.into_iter().collect();
        let uses: Vec<_> = leaving.uses.into_iter().collect();
        let stored = index.store_with_uses(&rows, &uses);
        let mut waiting = self.0.lock();
        let left = std::mem::take(&mut waiting.leaving);
        if stored.is_err() {
            let later = std::mem::replace(&mut waiting.news, left);
            waiting.news.merge(later);
        }
        stored
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
            header: None,
            deleted: false,
        }
    }

    fn stored(catalogue: &Catalogue, number: u8) -> Option<Row> {
        catalogue.find(&object(number)).unwrap().map(|known| known.row)
    }

    #[test]
    fn rows_are_merged_and_never_go_back() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        let key = object(1);
        catalogue.store(&[(key.clone(), row(1, Some("a"), Some(7)))]).unwrap();
        catalogue.store(&[(key.clone(), row(5, None, None))]).unwrap();
        catalogue.store(&[(key.clone(), row(3, None, None))]).unwrap();
        assert_eq!(stored(&catalogue, 1), Some(row(5, Some("a"), Some(7))));
        let deleted = Row { deleted: true, ..row(6, None, None) };
        catalogue.store(&[(key.clone(), deleted)]).unwrap();
        let tombstone = stored(&catalogue, 1).unwrap();
        assert!(tombstone.deleted && tombstone.stamp.commit == 6);
        assert_eq!(stored(&catalogue, 2), None);
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
        let found = stored(&catalogue, 1).unwrap();
        assert_eq!((found.stamp, found.deleted), (anew.stamp, false));
        let mut waiting = tombstone;
        waiting.update(anew.clone());
        assert_eq!((waiting.stamp, waiting.deleted), (anew.stamp, false));
    }

    #[test]
    fn what_could_not_be_stored_waits() {
        /// Refuses all, and sees meanwhile what waits.
        #[derive(Debug)]
        struct Full(Arc<Unlisted>);
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
            fn store_with_uses(
                &self,
                rows: &[(ObjectKey, Row)],
                uses: &[(ObjectKey, i64)],
            ) -> Result<()> {
                for (key, row) in rows {
                    assert_eq!(self.0.of_one(key).rows.get(key), Some(row));
                    assert_eq!(
                        self.0.of_class(&key.class).uses.get(key),
                        uses.iter().find(|(object, _)| object == key).map(|(_, time_ms)| time_ms)
                    );
                }
                Err(crate::Error::other("full"))
            }
            fn page(&self, _: &str, _: &Order, _: usize) -> Result<Vec<Listed>> {
                Ok(Vec::new())
            }
            fn find(&self, _: &ObjectKey) -> Result<Option<Known>> {
                Ok(None)
            }
            fn is_lost(&self) -> bool {
                false
            }
            fn set_complete(&self) -> Result<()> {
                Ok(())
            }
        }
        let unlisted = Arc::<Unlisted>::default();
        unlisted.note(&object(1), row(1, Some("a"), Some(7)));
        let full: Arc<dyn ObjectIndex> = Arc::new(Full(Arc::clone(&unlisted)));
        unlisted.note_use(&object(1), 40);
        unlisted.note_use(&object(2), 50);
        unlisted.note_use(&object(1), 30);
        unlisted.store(&full).unwrap_err();
        unlisted.note(&object(1), row(2, None, None));
        let data = tempfile::tempdir().unwrap();
        let catalogue = Arc::new(Catalogue::open(data.path()).unwrap());
        let index: Arc<dyn ObjectIndex> = Arc::clone(&catalogue) as _;
        unlisted.store(&index).unwrap();
        assert_eq!(stored(&catalogue, 1), Some(row(2, Some("a"), Some(7))));
        assert_eq!(catalogue.find(&object(1)).unwrap().unwrap().active_ms, Some(40));
        assert_eq!(catalogue.find(&object(2)).unwrap(), None, "a use makes no object");
    }
}
