//! One object: its file, with what the journal has on top, as a database in memory that nobody can write to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::listed::Listed;
use super::{Problem, ProblemKind, ProblemObject};
use crate::engine::files::Disk;
use crate::engine::journaled::quarantine::Quarantine;
use crate::engine::journaled::recovery::Replayed;
use crate::engine::meta::{META_FORMAT, Meta};
use crate::engine::overlay::Overlay;
use crate::engine::pagestore::{FilePerObject, PageStore, object_path};
use crate::engine::vfs::{ObjectFile, Vfs, open_connection};
use crate::engine::{Configure, ObjectKey};

/// How many findings of one database are told.
const FINDINGS_MAX: usize = 10;

/// Opens the objects of a directory to look at them.
pub(super) struct Examiner {
    pub(super) disk: Arc<dyn Disk>,
    /// The folder of all objects.
    pub(super) root: PathBuf,
    pub(super) vfs: Arc<Vfs>,
    pub(super) quarantine: Quarantine,
    pub(super) listed: Option<Listed>,
}

/// What is wrong, without whose it is.
type Finding = (ProblemKind, String);

impl Examiner {
    /// What is wrong with an object, whose newer pages are in the journal, if any are.
    pub(super) fn examine(&self, key: &ObjectKey, replayed: Option<Replayed>) -> Vec<Problem> {
        let mut object = ProblemObject::new(key);
        let findings = match self.open(key, replayed) {
            Ok(connection) => database(&connection, key, &mut object.name),
            Err(finding) => vec![finding],
        };
        let problem = |(kind, text)| {
            Problem::new(Some(object.clone()), object_path(&self.root, key), kind, text)
        };
        findings.into_iter().map(problem).collect()
    }

    /// The file of an object, and what the next start would have in memory for it.
    pub(super) fn find(
        &self,
        key: &ObjectKey,
        replayed: Option<Replayed>,
    ) -> Result<(FilePerObject, Overlay), Finding> {
        if let Some(why) = self.quarantine.objects.get(key) {
            return Err((ProblemKind::Quarantined, format!("it {why}")));
        }
        let store = match &replayed {
            Some(replayed) => replayed.store(&self.disk, &self.root, key),
            None => Ok(FilePerObject::new(Arc::clone(&self.disk), &self.root, key)),
        };
        let store = store.map_err(|error| unreadable(&error))?;
        let stamp = store.stamp().map_err(|error| unreadable(&error))?;
        if let Some(replayed) = replayed {
            if let Some(commit) = replayed.gap(stamp).or(replayed.lacks()) {
                let text = format!(
                    "commit {commit} is missing in the journal and in the file, which is at commit {}",
                    stamp.commit
                );
                return Err((ProblemKind::JournalDamaged, text));
            }
            Ok((store.mended(), Overlay::recovered(replayed.pages, replayed.size)))
        } else {
            let size = store.size().map_err(|error| unreadable(&error))?;
            let listed = self.listed.as_ref().and_then(|listed| listed.commit_of(key));
            let is_later = |listed: &(u32, u64)| *listed > (stamp.epoch, stamp.commit);
            if let Some((_, listed)) = listed.filter(is_later) {
                let text = format!(
                    "it is at commit {}, and commit {listed} was stored once",
                    stamp.commit
                );
                return Err((ProblemKind::Outdated, text));
            }
            if stamp.commit == 0 {
                let text = "its header does not say which commit it holds".to_owned();
                return Err((ProblemKind::DatabaseDamaged, text));
            }
            Ok((store, Overlay::of_file(size)))
        }
    }

    fn open(
        &self,
        key: &ObjectKey,
        replayed: Option<Replayed>,
    ) -> Result<impl std::ops::Deref<Target = Connection>, Finding> {
        let (store, overlay) = self.find(key, replayed)?;
        let file = Arc::new(ObjectFile::with_overlay(&self.vfs, Arc::new(store), overlay));
        let configure: Configure = Arc::new(|connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            // It reads everything once; a page that it returns to should be there still.
            connection.execute_batch("PRAGMA cache_size = -16384; PRAGMA cell_size_check = ON")
        });
        open_connection(&file, &configure)
            .map_err(|error| (ProblemKind::DatabaseDamaged, error.message().to_owned()))
    }
}

fn unreadable(error: &io::Error) -> Finding {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ProblemKind::DatabaseDamaged,
        _ => ProblemKind::Unreadable,
    };
    (kind, error.to_string())
}

fn database(connection: &Connection, key: &ObjectKey, name: &mut Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let damaged = |error: rusqlite::Error| (ProblemKind::DatabaseDamaged, error.to_string());
    match integrity(connection) {
        Ok(verdict) => {
            findings.extend(verdict.map(|text| (ProblemKind::DatabaseDamaged, text)));
        }
        Err(error) => findings.push(damaged(error)),
    }
    match foreign_keys(connection) {
        Ok(verdict) => findings.extend(verdict.map(|text| (ProblemKind::ForeignKey, text))),
        // What is damaged was told already.
        Err(error) if findings.is_empty() => findings.push(damaged(error)),
        Err(_) => {}
    }
    match Meta::read(connection) {
        Ok(Some(meta)) => {
            findings.extend(identity(&meta, key));
            *name = meta.name.filter(|_| findings.is_empty() || meta.class == *key.class);
        }
        Ok(None) => findings.push((ProblemKind::WrongIdentity, NAMELESS.to_owned())),
        Err(error) if findings.is_empty() => {
            findings.push((ProblemKind::WrongIdentity, format!("{NAMELESS}: {error}")));
        }
        Err(_) => {}
    }
    findings
}

const NAMELESS: &str = "the database does not say whose it is";

fn identity(meta: &Meta, key: &ObjectKey) -> Option<Finding> {
    if meta.format > META_FORMAT {
        let text = format!("format {} is newer than this program's, {META_FORMAT}", meta.format);
        return Some((ProblemKind::NewerFormat, text));
    }
    (!meta.is_of(key)).then(|| {
        let class = &meta.class;
        let text = format!(
            "the file holds an object of class {class:?} with another id: it was moved or copied"
        );
        (ProblemKind::WrongIdentity, text)
    })
}

/// What SQLite finds wrong in a database.
pub(super) fn integrity(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((rows != ["ok"]).then(|| rows.join("; ")))
}

fn foreign_keys(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT \"table\", rowid, parent FROM pragma_foreign_key_check";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let (table, rowid, parent): (String, Option<i64>, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let rowid = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
        Ok(format!("{rowid} of {table:?} refers to a row of {parent:?} that is not there"))
    })?;
    let texts = rows.take(FINDINGS_MAX).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((!texts.is_empty()).then(|| texts.join("; ")))
}
