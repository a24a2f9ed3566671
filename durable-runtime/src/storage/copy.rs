//! What a copy of an object keeps, and what it leaves behind.
//!
//! The guarantee: a copy that becomes an object is nobody else. It has the tables of the user, the keys and values, and the record of
//! migrations; its identity is its own; and it waits for nothing, has sent nothing and has received nothing. So no alarm runs twice,
//! no message is sent twice, and with its first message it draws a number of its own that receivers tell it apart by.

use std::time::Duration;

use rusqlite::Connection;

use super::{Store, expiry, kv, meta, migration};
use crate::engine::{About, CopyFile, META_FORMAT, Wake, sqlite};
use crate::id::Identity;
use crate::{Error, ErrorKind, Result};

/// The tables of the framework's that stay.
pub(super) const KEPT: [(&str, &str); 2] =
    [("_durable_kv", kv::CREATE), ("_durable_migrations", migration::CREATE)];

/// All tables of the framework's.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' \
    AND name LIKE '\\_durable\\_%' ESCAPE '\\'";

/// Makes the database of another object, or none's, that of an object that begins now. Of a class that expires it has its time from
/// now on.
pub(crate) fn become_new(
    connection: &Connection,
    identity: &Identity,
    now_ms: i64,
    expires_after: Option<Duration>,
) -> Result<()> {
    drop_own_tables(connection).map_err(sqlite::error)?;
    let write = || {
        connection.execute_batch(meta::CREATE)?;
        let (class, id) = (&*identity.class, identity.id.as_bytes());
        let (name, hint) = (identity.name.get(), identity.hint().map(|hint| hint.to_string()));
        let row = (class, id, name.map(|name| &**name), now_ms, hint, META_FORMAT);
        connection.execute(meta::INSERT, row)?;
        expires_after.map_or(Ok(()), |time| expiry::lend(connection, now_ms, time))
    };
    write().map_err(sqlite::error)
}

/// Drops what belongs to the object that the database was of.
pub(super) fn drop_own_tables(connection: &Connection) -> rusqlite::Result<()> {
    let mut names = connection.prepare(TABLES)?;
    let names: Vec<String> =
        names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names.iter().filter(|name| KEPT.iter().all(|(kept, _)| kept != name)) {
        connection.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
    }
    Ok(())
}

impl Store {
    /// Refuses an object that exists.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`]
    pub(crate) fn check_absent(&self) -> Result<()> {
        if !self.engine.exists(&self.key())? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exists, format!("{} exists already", self.identity)))
    }

    /// Makes a copy the first commit of the object, which must not exist. Afterwards it is closed.
    ///
    /// # Errors
    /// As [`Engine::adopt`](crate::engine::Engine::adopt).
    pub(crate) fn adopt(&mut self, copy: CopyFile, about: About, wake: Wake) -> Result<()> {
        self.close();
        self.latest = self.engine.adopt(&self.key(), copy, about, wake)?;
        Ok(())
    }
}
