//! Who the object in a database is, by its own word: the table `_durable_meta`, which `storage` writes; and when it wants to be
//! woken.
//!
//! The engine asks for it when no caller is there who knows: when it checks a directory, and when it rebuilds the
//! catalogue.

use rusqlite::{Connection, OptionalExtension};

use super::ObjectKey;

/// The form of the `_durable_*` tables that this program writes.
pub(crate) const META_FORMAT: i64 = 1;

/// When the object's alarm is due, if it has one.
pub(crate) const WAKE: &str = "/*durable*/SELECT due FROM _durable_alarm WHERE slot = 0";

/// When the object wants to be woken, in milliseconds since 1970, if it does. `storage` writes that table, too, once
/// there is an alarm.
pub(super) fn read_wake(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_durable_alarm')";
    if !connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(None);
    }
    connection.query_row(WAKE, [], |row| row.get(0)).optional()
}

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) class: String,
    pub(super) id: Vec<u8>,
    pub(super) name: Option<String>,
    pub(super) location_hint: Option<String>,
    pub(super) created_ms: i64,
    pub(super) format: i64,
}

impl Meta {
    /// The one row, if there is one.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Meta>> {
        let sql = "SELECT class, id, name, location_hint, created, format FROM _durable_meta";
        let row = connection.query_row(sql, [], |row| {
            Ok(Meta {
                class: row.get(0)?,
                id: row.get(1)?,
                name: row.get(2)?,
                location_hint: row.get(3)?,
                created_ms: row.get(4)?,
                format: row.get(5)?,
            })
        });
        row.optional()
    }

    /// Whether it is this object.
    pub(super) fn is_of(&self, key: &ObjectKey) -> bool {
        self.class == *key.class && self.id == key.id.as_bytes()
    }
}
