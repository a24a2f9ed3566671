//! A SQLite file from outside, on its way to become an object: it is looked over and brought into the engine's form, as a private copy.
//!
//! The guarantee: what comes out is a sound database of UTF-8 text in pages of 4 KiB, which holds nothing of the framework's but the keys and
//! values and the record of migrations, both in the form that this program writes, and only if an object of the same class wrote them. A
//! file that tries to bring along anything else is refused, not repaired:
//! - Tables whose names begin with `_durable_` must be ones that objects have. All but those two are dropped, whatever is in them: so no
//!   alarm, timer, message or identity gets in.
//! - Nothing else may speak of such a table, in any letters: no trigger, view, index, foreign key or virtual table, whose actions would
//!   run with statements of the framework's.
//! - Virtual tables must be of the modules that objects may use. Their shadow tables come along, as what they are.
//!
//! No code of the file is run: triggers and views are switched off, and functions with effects are not trusted.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::migration::{self, orphan};
use super::{copy, functions, guard};
use crate::engine::{META_FORMAT, sqlite};
use crate::object::MigrationInfo;
use crate::storage::millis;
use crate::{Error, ErrorKind, Result};

/// All tables that objects have besides those of their users.
const KNOWN: [&str; 13] = [
    "_durable_alarm",
    "_durable_dead_letters",
    "_durable_expiry",
    "_durable_inbox",
    "_durable_kv",
    "_durable_meta",
    "_durable_migrations",
    "_durable_outbox",
    "_durable_receivers",
    "_durable_refused",
    "_durable_restore",
    "_durable_sender",
    "_durable_timers",
];

/// A row of the schema.
struct Entry {
    kind: String,
    name: String,
    table: String,
    /// Empty for an index that a constraint has.
    sql: String,
}

impl Entry {
    fn is_reserved(&self) -> bool {
        guard::is_reserved(&self.name)
    }

    /// An index of the framework's own, which goes with its table.
    fn belongs_to_reserved(&self) -> bool {
        self.kind == "index" && KNOWN.contains(&&*self.table) && !is_kept(&self.table)
    }

    /// What it is in words.
    fn label(&self) -> String {
        format!("the {} {:?}", self.kind, self.name)
    }
}

/// For whom a file is made ready.
pub(crate) struct Importer<'a> {
    /// The class key.
    pub(crate) class: &'a str,
    pub(crate) schema: &'static [MigrationInfo],
    pub(crate) now: SystemTime,
    /// How large a database may be.
    pub(crate) bytes_max: u64,
}

fn is_kept(table: &str) -> bool {
    copy::KEPT.iter().any(|(kept, _)| *kept == table)
}

impl Importer<'_> {
    /// Looks a file over and brings it into form. `other` is a name beside it where it may be written anew; says whether it was.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the file is not sound or not allowed, [`ErrorKind::Constraint`] when a row refers to one that is not there,
    /// [`ErrorKind::Migration`] when its schema is newer than the program's, and [`ErrorKind::Limit`] when it is too large.
    pub(crate) fn adapt(&self, file: &Path, other: &Path) -> Result<bool> {
        let connection = Importer::open(file)?;
        check_content(&connection)?;
        self.check_size(&connection)?;
        self.adapt_schema(&connection)?;
        let read = |pragma: &str| read::<i64>(&connection, pragma);
        let is_in_form = read("page_size")? == i64::try_from(sqlite::PAGE_BYTES).unwrap_or(0)
            && read("auto_vacuum")? == AUTO_VACUUM_INCREMENTAL;
        if !is_in_form {
            let layout = format!(
                "PRAGMA page_size = {}; PRAGMA auto_vacuum = INCREMENTAL",
                sqlite::PAGE_BYTES
            );
            connection.execute_batch(&layout).map_err(unusable)?;
            let other = other.to_str().ok_or_else(|| refused("its path is not UTF-8"))?;
            connection.execute("VACUUM INTO ?1", [other]).map_err(unusable)?;
        }
        connection.close().map_err(|(_, error)| unusable(error))?;
        Ok(!is_in_form)
    }

    fn open(file: &Path) -> Result<Connection> {
        let connection = sqlite::open_file(file).map_err(unusable)?;
        let configure = || {
            for (setting, value) in [
                (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
                (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
                (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
                (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
                (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            ] {
                connection.set_db_config(setting, value)?;
            }
            // Generated columns and indexes may use them.
            functions::install(&connection)?;
            let settings = "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; \
                PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384";
            connection.execute_batch(settings)
        };
        configure().map_err(unusable)?;
        Ok(connection)
    }

    fn check_size(&self, connection: &Connection) -> Result<()> {
        let pages: i64 = read(connection, "page_count")?;
        let page: i64 = read(connection, "page_size")?;
        let bytes = u64::try_from(pages.saturating_mul(page)).unwrap_or(u64::MAX);
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let text = format!(
            "its database has {bytes} bytes and may have {}: see `Builder::database_limit`",
            self.bytes_max
        );
        Err(Error::new(ErrorKind::Limit, text))
    }

    /// Leaves nothing of the framework's but what is to be kept.
    fn adapt_schema(&self, connection: &Connection) -> Result<()> {
        let entries = entries(connection)?;
        for entry in &entries {
            check_entry(entry)?;
        }
        let has = |table: &str| entries.iter().any(|entry| entry.name == table);
        if has("_durable_meta") {
            self.check_origin(connection)?;
        } else if let Some(entry) = entries.iter().find(|entry| entry.is_reserved()) {
            return Err(refused(format!(
                "it has {} and does not say of which object it is: names that begin with `_durable_` are reserved",
                entry.label()
            )));
        }
        let version: u32 = if has("_durable_migrations") {
            let last = "SELECT coalesce(max(version), 0) FROM _durable_migrations";
            connection.query_row(last, [], |row| row.get(0)).map_err(unusable)?
        } else {
            let version: i64 = read(connection, "user_version")?;
            u32::try_from(version).map_err(|_| {
                refused(format!("its `user_version`, {version}, is no schema version"))
            })?
        };
        connection.execute_batch("BEGIN IMMEDIATE").map_err(unusable)?;
        copy::drop_own_tables(connection).map_err(unusable)?;
        if !has("_durable_migrations") {
            migration::record_as_applied(connection, self.schema, version, millis(self.now))?;
        }
        let settings = format!(
            "PRAGMA application_id = {}; PRAGMA user_version = {version}; COMMIT",
            sqlite::APPLICATION_ID
        );
        connection.execute_batch(&settings).map_err(unusable)
    }

    /// Whether an object of the same class wrote the file, in a form that this program knows.
    fn check_origin(&self, connection: &Connection) -> Result<()> {
        let row = connection.query_row("SELECT class, format FROM _durable_meta", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        });
        let Some((class, format)) = row.optional().map_err(unusable)? else {
            return Err(refused("its table `_durable_meta` is empty"));
        };
        if format > META_FORMAT {
            return Err(refused(format!(
                "it has format {format}, and this program knows {META_FORMAT}: use a newer one"
            )));
        }
        if class != self.class {
            return Err(refused(format!(
                "it is of an object of class {class:?}, not {:?}",
                self.class
            )));
        }
        Ok(())
    }
}

const AUTO_VACUUM_INCREMENTAL: i64 = 2;

fn check_content(connection: &Connection) -> Result<()> {
    let verdict: String = read(connection, "integrity_check(1)")?;
    if verdict != "ok" {
        return Err(refused(format!("it is damaged: {}", verdict.trim())));
    }
    // In place of a write-ahead log: everything is in the one file afterwards.
    let mode: String = read(connection, "journal_mode = DELETE")?;
    if mode != "delete" {
        return Err(refused(format!("its journal mode is {mode:?} and cannot be changed")));
    }
    let encoding: String = read(connection, "encoding")?;
    if encoding != "UTF-8" {
        return Err(refused(format!(
            "its text is {encoding}, and objects keep UTF-8: write it anew with `sqlite3 old.db .dump | sqlite3 new.db`, \
             set its `user_version` if it has one, and import that"
        )));
    }
    match orphan(connection).map_err(unusable)? {
        None => Ok(()),
        Some(orphan) => Err(Error::new(ErrorKind::Constraint, orphan)),
    }
}

fn entries(connection: &Connection) -> Result<Vec<Entry>> {
    let read = || {
        let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Entry { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(unusable)
}

fn check_entry(entry: &Entry) -> Result<()> {
    if entry.is_reserved() {
        let is_table = entry.kind == "table" && KNOWN.contains(&&*entry.name);
        // A virtual table would be asked to drop itself.
        let is_plain = created(&entry.sql, "CREATE TABLE ").is_some_and(|(it, _)| it == entry.name);
        if !((is_table && is_plain) || entry.belongs_to_reserved()) {
            return Err(refused(format!(
                "it has {}: names that begin with `_durable_` are reserved, and no object has this one",
                entry.label()
            )));
        }
        let kept = copy::KEPT.iter().find(|(name, _)| *name == entry.name);
        if let Some((_, create)) = kept.filter(|(_, create)| !is_as_created(&entry.sql, create)) {
            return Err(refused(format!("{} is not as objects have it: {create}", entry.label())));
        }
        return Ok(());
    }
    let sql = entry.sql.to_ascii_lowercase();
    let speaks_of_reserved = match (&*entry.kind, created(&entry.sql, "CREATE TABLE ")) {
        // A column may have any name. What else a table is called, its text decides.
        ("table", Some((name, _))) => name != entry.name || guard::refers_to_reserved(&sql),
        // The index of a constraint has no text.
        ("index", None) if sql.is_empty() => false,
        _ => sql.contains(guard::RESERVED) || guard::is_reserved(&entry.table),
    };
    if speaks_of_reserved {
        return Err(refused(format!(
            "{} speaks of a table of the framework's: names that begin with `_durable_` are reserved",
            entry.label()
        )));
    }
    let is_usable = entry.kind != "table"
        || entry.sql.starts_with("CREATE TABLE ")
        || module_of(&entry.sql).is_some_and(|module| guard::MODULES.contains(&&*module));
    if is_usable {
        return Ok(());
    }
    Err(refused(format!(
        "{} is a virtual table of a module that objects cannot use",
        entry.label()
    )))
}

/// SQLite keeps the text, but for `IF NOT EXISTS`.
fn is_as_created(sql: &str, create: &str) -> bool {
    sql == create.replacen(" IF NOT EXISTS", "", 1)
}

/// The name of what a statement makes, as SQLite keeps its text, and the text after that.
fn created<'a>(sql: &'a str, begin: &str) -> Option<(String, &'a str)> {
    let rest = sql.strip_prefix(begin)?;
    let close = match rest.chars().next()? {
        '[' => ']',
        quote @ ('"' | '`' | '\'') => quote,
        _ => {
            let is_letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
            let end = rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len());
            return Some((rest[..end].to_owned(), &rest[end..]));
        }
    };
    let mut name = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != close {
            name.push(letter);
        } else if close != ']' && letters.next_if(|(_, next)| *next == close).is_some() {
            name.push(close);
        } else {
            return Some((name, &rest[at + 1..]));
        }
    }
    None
}

/// The module of a virtual table, in small letters.
fn module_of(sql: &str) -> Option<String> {
    let (_, rest) = created(sql, "CREATE VIRTUAL TABLE ")?;
    let (using, rest) = guard::skip_blank(rest).split_at_checked("USING".len())?;
    if !using.eq_ignore_ascii_case("USING") {
        return None;
    }
    let is_letter = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    let module: String = guard::skip_blank(rest).chars().take_while(is_letter).collect();
    Some(module.to_ascii_lowercase())
}

fn read<T: rusqlite::types::FromSql>(connection: &Connection, pragma: &str) -> Result<T> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).map_err(unusable)
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

fn unusable(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::new(ErrorKind::StorageFull, error),
        Some(ErrorCode::SystemIoFailure) => Error::new(ErrorKind::Storage, error),
        Some(ErrorCode::NotADatabase) => refused("it is no SQLite database, or an encrypted one"),
        _ => refused(format!("SQLite cannot use it: {error}")),
    }
}
