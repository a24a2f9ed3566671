//! `_durable_meta`: who the object in a database is. One row, written with the object's first commit.
//!
//! The guarantee: an object's file is never taken for another object's, and a later program finds out
//! whether it can read the file before it touches it.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{Store, millis};
use crate::engine::{META_FORMAT as FORMAT, sqlite};
use crate::{Error, ErrorKind, Result};

pub(super) const CREATE: &str = "CREATE TABLE _durable_meta (class TEXT NOT NULL, id BLOB NOT NULL, name TEXT, \
    created INTEGER NOT NULL, location_hint TEXT, format INTEGER NOT NULL) STRICT";
pub(super) const INSERT: &str = "INSERT INTO _durable_meta (class, id, name, created, location_hint, format) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const UPDATE: &str = "UPDATE _durable_meta \
    SET name = coalesce(?1, name), location_hint = coalesce(location_hint, ?2)";
const SELECT: &str = "SELECT class, id, name, location_hint, format, \
    (SELECT count(*) FROM sqlite_schema WHERE name = '_durable_migrations'), \
    (SELECT count(*) FROM sqlite_schema WHERE name = '_durable_restore') FROM _durable_meta";

/// How much of the identity is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    is_written: bool,
    has_name: bool,
    has_hint: bool,
}

struct Meta {
    class: String,
    id: Vec<u8>,
    name: Option<String>,
    location_hint: Option<String>,
    format: i64,
    has_migrations: bool,
    wishes_restore: bool,
}

/// Whether the database says which migrations it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Absent,
    Present,
}

impl Store {
    /// Opens the object, checks that it is the right one, and fills in the identity.
    pub(super) fn load_meta(&mut self) -> Result<History> {
        self.wishes_restore = false;
        let database = self.database()?;
        if !database.is_stored() {
            return Ok(History::Absent);
        }
        let meta = {
            let _ours = self.guard.lift();
            read(database.connection())?
        };
        self.check_meta(&meta)?;
        if let Some(name) = &meta.name {
            let _ = self.identity.name.set(Arc::from(name.as_str()));
        }
        // A hint that this program does not know has no effect, and stays stored.
        if let Some(hint) = meta.location_hint.as_ref().and_then(|hint| hint.parse().ok()) {
            let _ = self.identity.location_hint.set(hint);
        }
        self.wishes_restore = meta.wishes_restore;
        self.stored = Stored {
            is_written: true,
            has_name: meta.name.is_some(),
            has_hint: meta.location_hint.is_some(),
        };
        Ok(if meta.has_migrations { History::Present } else { History::Absent })
    }

    fn check_meta(&self, meta: &Meta) -> Result<()> {
        if meta.format > FORMAT {
            return Err(damaged(format_args!(
                "the object's file has format {}, and this program knows {FORMAT}: use a newer one",
                meta.format
            )));
        }
        if meta.class != *self.identity.class || meta.id != self.identity.id.as_bytes() {
            return Err(damaged(format_args!(
                "the file of {} holds an object of class `{}` with another id: it was moved or copied",
                self.identity, meta.class
            )));
        }
        Ok(())
    }

    /// Writes what is not stored yet, in the turn's transaction; returns what is stored once it commits.
    pub(super) fn store_meta(&self, now: SystemTime) -> Result<Stored> {
        let known = if self.turn.emptied.get() { Stored::default() } else { self.stored };
        let name = self.identity.name.get().map(|name| &**name);
        let hint = self.identity.hint().map(|hint| hint.to_string());
        let stored = Stored {
            is_written: true,
            has_name: name.is_some() || known.has_name,
            has_hint: hint.is_some() || known.has_hint,
        };
        if stored == known {
            return Ok(stored);
        }
        let connection = self.enter()?;
        let _ours = self.guard.lift();
        let write = || {
            if known.is_written {
                return connection.execute(UPDATE, (name, hint));
            }
            connection.execute_batch(CREATE)?;
            let (class, id) = (&*self.identity.class, self.identity.id.as_bytes());
            connection.execute(INSERT, (class, id, name, millis(now), hint, FORMAT))
        };
        write().map_err(|error| self.failed(error))?;
        Ok(stored)
    }
}

fn read(connection: &Connection) -> Result<Meta> {
    let meta = |row: &Row<'_>| {
        Ok(Meta {
            class: row.get(0)?,
            id: row.get(1)?,
            name: row.get(2)?,
            location_hint: row.get(3)?,
            format: row.get(4)?,
            has_migrations: row.get(5)?,
            wishes_restore: row.get(6)?,
        })
    };
    match connection.query_row(SELECT, [], meta).optional() {
        Ok(Some(meta)) => Ok(meta),
        Ok(None) => Err(damaged(format_args!("the object's file does not say whose it is"))),
        Err(error) => match sqlite::error(error) {
            error if error.kind() == ErrorKind::Sql => {
                Err(damaged(format_args!("the object's file does not say whose it is: {error}")))
            }
            error => Err(error),
        },
    }
}

fn damaged(message: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Storage, message)
}
