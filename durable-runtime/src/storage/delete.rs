//! Deleting all that an object holds, as a part of the turn.
//!
//! The guarantee: after [`Store::delete_all`] the database is that of an object that was never written,
//! migrations included, and stays usable; an error or a rollback, of the turn or of a transaction
//! in it, brings everything back.
//!
//! It is done in SQL, so that savepoints reach over it. If nothing is written afterwards the commit
//! deletes the object itself ([`Database::delete`](crate::engine::Database::delete)): no file, no row,
//! and the next turn finds an object that does not exist. Otherwise it is an ordinary commit of what was
//! written, with an identity row of its own.

use std::time::SystemTime;

use rusqlite::Connection;

use super::migration::orphan;
use super::{Store, Turn};
use crate::Result;

/// Views go first, since they may refer to anything, then virtual tables, which take their shadow tables
/// along, then the other tables with their indexes and triggers. SQLite's own `sqlite_sequence` stays, empty.
const VIEWS: &str = "SELECT name FROM sqlite_schema WHERE type = 'view'";
const VIRTUAL_TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage = 0";
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' \
    AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name LIKE 'sqlite\\_stat_' ESCAPE '\\')";
const SEQUENCES: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'sqlite_sequence'";

impl Turn {
    /// What a transaction inside the turn brings back when it is undone.
    pub(super) fn progress(&self) -> Progress {
        Progress { unsaved: self.unsaved.get(), emptied: self.emptied.get() }
    }

    pub(super) fn restore(&self, progress: Progress) {
        self.unsaved.set(progress.unsaved);
        self.emptied.set(progress.emptied);
    }
}

/// What the turn has done so far, as far as it decides how it commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    unsaved: bool,
    emptied: bool,
}

impl Store {
    /// Deletes everything and runs all migrations anew: see
    /// [`Context::delete_all`](crate::Context::delete_all).
    pub(crate) fn delete_all(&self, now: SystemTime) -> Result<()> {
        self.check_may_write()?;
        self.transaction(|| {
            self.enter()?;
            let _relaxed = self.relax()?;
            self.drop_everything()?;
            self.apply_all(now)
        })?;
        self.turn.wrote.set(true);
        self.turn.touched_work.set(true);
        // What the migrations wrote is provisional, as it is in an object that was never written.
        self.turn.restore(Progress { unsaved: false, emptied: true });
        self.expiry.forget();
        Ok(())
    }

    /// Deletes the object, outside of turns: it need not be activated, and no migration runs. Gives whether there was
    /// anything to delete.
    ///
    /// # Errors
    /// When the deletion cannot be logged, or the database cannot be opened.
    pub(crate) fn delete(&mut self) -> Result<bool> {
        let was_stored = self.with_database(|database| Ok(database.is_stored()))?;
        let deleted = self.with_database(|database| database.delete());
        // Whatever became of it, the next one opens it anew.
        self.close();
        self.latest = deleted?;
        Ok(was_stored)
    }

    fn drop_everything(&self) -> Result<()> {
        let connection = self.enter()?;
        let ours = self.guard.lift();
        let is_violated = !matches!(orphan(connection), Ok(None));
        let dropped = if is_violated {
            // A violation that the turn has put off is counted until its rows are deleted, and SQLite does
            // that, row by row, only while it enforces foreign keys. Without one a table goes at once.
            self.enforce_foreign_keys(true)?;
            let dropped = drop_all_deferred(connection);
            self.enforce_foreign_keys(false)?;
            dropped
        } else {
            drop_all(connection)
        };
        drop(ours);
        dropped.map_err(|error| self.failed(error))
    }

    /// Ends a turn that has deleted everything and has written nothing since.
    pub(super) fn commit_deletion(&mut self) -> Result<()> {
        self.latest = self.with_database(|database| database.delete())?;
        self.turn.begun.set(false);
        self.close();
        Ok(())
    }
}

fn drop_all_deferred(connection: &Connection) -> rusqlite::Result<()> {
    let was_deferred: bool =
        connection.query_row("PRAGMA defer_foreign_keys", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
    drop_all(connection)?;
    if was_deferred {
        return Ok(());
    }
    connection.execute_batch("PRAGMA defer_foreign_keys = OFF")
}

fn drop_all(connection: &Connection) -> rusqlite::Result<()> {
    for (kind, select) in [("VIEW", VIEWS), ("TABLE", VIRTUAL_TABLES), ("TABLE", TABLES)] {
        for name in names(connection, select)? {
            let quoted = name.replace('"', "\"\"");
            connection.execute_batch(&format!("DROP {kind} IF EXISTS main.\"{quoted}\""))?;
        }
    }
    if !names(connection, SEQUENCES)?.is_empty() {
        connection.execute_batch("DELETE FROM sqlite_sequence")?;
    }
    connection.execute_batch("PRAGMA user_version = 0")
}

fn names(connection: &Connection, select: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(select)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

#[cfg(test)]
mod tests;
