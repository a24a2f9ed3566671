//! Reading the list of objects, a page at a time: whoever reads holds the catalogue for no longer than that.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::Row;
use crate::engine::listing::{Known, Listed, Order};
use crate::engine::pagestore::{Header, Stamp};
use crate::engine::{About, ObjectKey};
use crate::id::RawId;

/// The columns of [`listed`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, location_hint, created_ms, commit_number, epoch, deleted, changed_ms, pages, \
             schema_version, active_ms, time_ms FROM objects LEFT JOIN wakes USING (class, id) ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE class = ?1 AND id = ?2");
const BY_ID: &str = select!("WHERE class = ?2 ORDER BY id LIMIT ?1");
const BY_ID_AFTER: &str = select!("WHERE class = ?2 AND id > ?3 ORDER BY id LIMIT ?1");
const BY_NAME: &str =
    select!("WHERE class = ?2 AND name IS NOT NULL AND name >= ?3 ORDER BY name, id LIMIT ?1");
const BY_NAME_AFTER: &str = select!(
    "WHERE class = ?2 AND name IS NOT NULL AND (name, id) > (?3, ?4) ORDER BY name, id LIMIT ?1"
);

/// See [`ObjectIndex::page`](super::ObjectIndex::page).
pub(super) fn page(
    connection: &Connection,
    class: &str,
    order: &Order,
    count: usize,
) -> rusqlite::Result<Vec<Listed>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    match order {
        Order::Ids { after: None } => rows(connection, BY_ID, params![count, class]),
        Order::Ids { after: Some(after) } => {
            rows(connection, BY_ID_AFTER, params![count, class, after.as_bytes()])
        }
        Order::Names { prefix, after } => {
            let mut listed = match after {
                None => rows(connection, BY_NAME, params![count, class, &**prefix])?,
                Some((name, id)) => {
                    rows(connection, BY_NAME_AFTER, params![count, class, &**name, id.as_bytes()])?
                }
            };
            let is_wanted =
                |listed: &Listed| order.place(listed.0, listed.1.row.about.name.as_ref()).is_some();
            let end = listed.iter().position(|listed| !is_wanted(listed));
            listed.truncate(end.unwrap_or(listed.len()));
            Ok(listed)
        }
    }
}

/// See [`ObjectIndex::find`](super::ObjectIndex::find).
pub(super) fn find(connection: &Connection, object: &ObjectKey) -> rusqlite::Result<Option<Known>> {
    let mut find = connection.prepare_cached(FIND)?;
    let row = find.query_row((&*object.class, object.id.as_bytes()), listed);
    Ok(row.optional()?.map(|(_, known)| known))
}

fn rows(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Listed>> {
    connection.prepare_cached(sql)?.query_map(params, listed)?.collect()
}

fn listed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Listed> {
    let name: Option<String> = row.get(1)?;
    let (pages, schema_version): (Option<u32>, Option<u32>) = (row.get(8)?, row.get(9)?);
    let header = pages.zip(schema_version);
    let known = Known {
        row: Row {
            about: About { name: name.map(Arc::from), location_hint: row.get(2)? },
            created_ms: row.get(3)?,
            stamp: Stamp {
                commit: row.get::<_, i64>(4)?.cast_unsigned(),
                epoch: row.get(5)?,
                time_ms: row.get::<_, Option<i64>>(7)?.unwrap_or_default(),
            },
            header: header.map(|(pages, schema_version)| Header { pages, schema_version }),
            deleted: row.get(6)?,
        },
        active_ms: row.get(10)?,
        wake_ms: row.get(11)?,
    };
    Ok((RawId::from_bytes(row.get(0)?), known))
}

#[cfg(test)]
mod tests {
    use super::super::{Catalogue, ObjectIndex};
    use super::*;

    /// What `sql` does, as SQLite explains it.
    fn plan(catalogue: &Catalogue, sql: &str) -> String {
        let state = catalogue.state.lock();
        let mut explain = state.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; explain.parameter_count()];
        let rows = explain
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3))
            .unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn a_page_costs_no_more_than_its_rows() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(data.path()).unwrap();
        for sql in [BY_ID, BY_ID_AFTER, BY_NAME, BY_NAME_AFTER, FIND] {
            let plan = plan(&catalogue, sql);
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        }
    }

    #[test]
    fn a_catalogue_of_an_earlier_program_gains_what_it_lacks() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("catalogue.db");
        let earlier = Connection::open(path).unwrap();
        let object = crate::engine::scan::testing::object(1);
        earlier
            .execute_batch(
                "CREATE TABLE objects (class TEXT NOT NULL, id BLOB NOT NULL, name TEXT, location_hint TEXT, \
                 created_ms INTEGER, commit_number INTEGER NOT NULL, epoch INTEGER NOT NULL, \
                 deleted INTEGER NOT NULL, PRIMARY KEY (class, id)) STRICT, WITHOUT ROWID",
            )
            .unwrap();
        let insert = "INSERT INTO objects VALUES (?1, ?2, 'a', NULL, 7, 3, 1, 0)";
        earlier.execute(insert, (&*object.class, object.id.as_bytes())).unwrap();
        drop(earlier);
        for _ in 0..2 {
            let catalogue = Catalogue::open(data.path()).unwrap();
            let known = catalogue.find(&object).unwrap().unwrap();
            assert_eq!(known.row.about.name.as_deref(), Some("a"));
            assert_eq!((known.row.header, known.active_ms), (None, None));
            let all = Order::Names { prefix: "".into(), after: None };
            assert_eq!(catalogue.page(&object.class, &all, 10).unwrap(), [(object.id, known)]);
        }
    }
}
