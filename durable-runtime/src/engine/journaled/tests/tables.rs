//! What objects of the tests hold, and random statements that change it.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::Result;
use crate::engine::Database;
use crate::engine::files::simulated::Random;
use crate::engine::journaled::database::JournaledDatabase;

/// Under this key stands when the object wants to be woken.
const WAKE: &str = "wake";

pub(super) const SCHEMA: &str = "CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB, note TEXT);
    CREATE INDEX rows_by_note ON rows (note);
    CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID";

/// What an object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) rows: BTreeMap<i64, Vec<u8>>,
    pub(super) kv: BTreeMap<String, Vec<u8>>,
}

impl Tables {
    /// When the object wants to be woken.
    pub(super) fn wake(&self) -> Option<i64> {
        let value = self.kv.get(WAKE)?;
        Some(i64::from_le_bytes(value[..].try_into().unwrap()))
    }
}

pub(super) fn integrity(connection: &Connection) -> String {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

pub(super) fn tables(connection: &Connection) -> Tables {
    let mut rows = connection.prepare("SELECT id, value FROM rows").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut kv = connection.prepare("SELECT key, value FROM kv").unwrap();
    let kv = kv.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    Tables {
        rows: rows.map(|row| row.unwrap()).collect(),
        kv: kv.map(|row| row.unwrap()).collect(),
    }
}

/// Sets or clears when the object is to be woken.
pub(super) fn write_wake(
    database: &mut JournaledDatabase,
    model: &mut Tables,
    time: Option<i64>,
) -> Result<()> {
    database.set_wake(time.into());
    let connection = database.connection();
    let done = if let Some(time) = time {
        let value = time.to_le_bytes().to_vec();
        model.kv.insert(WAKE.into(), value.clone());
        connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", params![WAKE, value])
    } else {
        model.kv.remove(WAKE);
        connection.execute("DELETE FROM kv WHERE key = ?", [WAKE])
    };
    let failed =
        |error| database.take_failure().unwrap_or_else(|| crate::engine::sqlite::error(error));
    done.map(|_| ()).map_err(failed)
}

/// One random statement, on the database and on the model.
pub(super) fn statement(
    database: &JournaledDatabase,
    model: &mut Tables,
    random: &mut Random,
) -> Result<()> {
    let connection = database.connection();
    let id = i64::try_from(random.below(60)).unwrap();
    let bytes = [10, 300, 2_000, 9_000][random.below(4)];
    let value = vec![random.next().to_le_bytes()[0]; bytes];
    let note = format!("note {}", id % 7);
    let key = format!("key {}", id % 20);
    let insert = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)";
    let done = match random.below(12) {
        0..4 => {
            model.rows.insert(id, value.clone());
            connection.execute(insert, params![id, value, note])
        }
        4 => {
            for row in model.rows.range_mut(id..).take(20) {
                row.1.truncate(100);
            }
            connection.execute(
                "UPDATE rows SET value = substr(value, 1, 100) WHERE id IN \
                 (SELECT id FROM rows WHERE id >= ? ORDER BY id LIMIT 20)",
                [id],
            )
        }
        5 => {
            model.rows.retain(|row, _| *row < id || *row >= id + 15);
            connection.execute("DELETE FROM rows WHERE id >= ?1 AND id < ?1 + 15", [id])
        }
        6..9 => {
            model.kv.insert(key.clone(), value.clone());
            connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", params![key, value])
        }
        9 => {
            model.kv.remove(&key);
            connection.execute("DELETE FROM kv WHERE key = ?", [key])
        }
        // The file becomes shorter.
        10 => connection.execute_batch("PRAGMA incremental_vacuum(1000)").map(|()| 0),
        // More than fits into one segment.
        _ => (0..12).try_fold(0, |_, more| {
            model.rows.insert(100 + more, value.clone());
            connection.execute(insert, params![100 + more, value, note])
        }),
    };
    let failed =
        |error| database.take_failure().unwrap_or_else(|| crate::engine::sqlite::error(error));
    done.map(|_| ()).map_err(failed)
}
