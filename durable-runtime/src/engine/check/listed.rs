//! What the catalogue says: which objects there are to be, and how far they were.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Problem, ProblemKind, object};
use crate::engine::ObjectKey;
use crate::engine::catalogue::COMPLETE;
use crate::id::RawId;

/// Whether a rollback journal still counts: SQLite overwrites its beginning with zeros when it does not.
fn is_hot(journal: &Path) -> bool {
    let mut first = [0];
    let read = File::open(journal).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first != [0]
}

/// The list of objects, open for reading.
pub(super) struct Listed(Connection);

impl Listed {
    /// Opens the catalogue as it lies there. Nothing is said of one that cannot be judged: a lost one is made anew, and
    /// one in the middle of a write, which a killed program leaves, is rolled back by the next start.
    pub(super) fn open(data: &Path) -> (Option<Listed>, Option<Problem>) {
        let path = data.join("catalogue.db");
        let is_empty = fs::metadata(&path).map_or(true, |file| file.len() == 0);
        // SQLite would remove the journal of an empty file.
        if is_empty || is_hot(&data.join("catalogue.db-journal")) {
            return (None, None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
            let verdict = object::integrity(&connection)?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok((connection, verdict, version))
        });
        let damaged = |text| Problem::new(None, path.clone(), ProblemKind::CatalogueDamaged, text);
        match opened {
            Ok((connection, None, COMPLETE)) => (Some(Listed(connection)), None),
            Ok((_, verdict, _)) => (None, verdict.map(damaged)),
            Err(error) => (None, Some(damaged(error.to_string()))),
        }
    }

    /// Which epoch and commit an object had come to at least; `None` if it is not listed or was deleted.
    pub(super) fn commit_of(&self, key: &ObjectKey) -> Option<(u32, u64)> {
        let sql =
            "SELECT epoch, commit_number FROM objects WHERE class = ? AND id = ? AND NOT deleted";
        let query = || -> rusqlite::Result<Option<(u32, i64)>> {
            let mut statement = self.0.prepare_cached(sql)?;
            let stamp = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_row((&*key.class, key.id.as_bytes()), stamp).optional()
        };
        // The list is sound by its own word; what it still cannot say is not known.
        let (epoch, commit) = query().ok().flatten()?;
        Some((epoch, u64::try_from(commit).ok()?))
    }

    /// Goes through all objects that were not deleted.
    pub(super) fn for_each(&self, mut visit: impl FnMut(ObjectKey)) -> rusqlite::Result<()> {
        let sql = "SELECT class, id FROM objects WHERE NOT deleted";
        let mut statement = self.0.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let class: String = row.get(0)?;
            visit(ObjectKey { class: class.into(), id: RawId::from_bytes(row.get(1)?) });
        }
        Ok(())
    }
}
