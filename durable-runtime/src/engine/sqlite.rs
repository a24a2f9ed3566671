//! How every connection is opened, and how SQLite's errors become ours.
//!
//! Invariant: each statement of the framework that may enter a connection's statement cache starts with
//! [`OURS`], and no text of a user's may. The cache is keyed by text and asks no authorizer, so without
//! the mark a user who repeats our text would get our rights.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::Configure;
use crate::{Constraint, Error, ErrorKind, Result};

/// Starts every cached statement of the framework.
pub(crate) const OURS: &str = "/*durable*/";

/// Stands in the header of every object's file. A promise: tools recognise the files by it.
pub(crate) const APPLICATION_ID: u32 = 0x4472_626c;

pub(crate) const PAGE_BYTES: u64 = 4_096;

/// How SQLite's error begins for a statement that it leaves half done.
pub(crate) const TOO_DEEP: &str = "triggers nested too deep";

const STATEMENTS_CACHED_MAX: usize = 64;

/// An empty database in memory, laid out as it will be on disk.
pub(super) fn open_memory(configure: &Configure) -> Result<Connection> {
    let connection = Connection::open_in_memory().map_err(error)?;
    let layout = format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA encoding = 'UTF-8'; \
         PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = {APPLICATION_ID};"
    );
    connection.execute_batch(&layout).map_err(error)?;
    prepare(connection, configure)
}

/// Opens a database file that is no object's, by the path alone, for programs that only the system's locks keep apart.
pub(crate) fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

pub(super) fn prepare(mut connection: Connection, configure: &Configure) -> Result<Connection> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    configure(&mut connection).map_err(error)?;
    Ok(connection)
}

/// Runs one of our own statements that gives no rows.
pub(super) fn run(connection: &Connection, sql: &'static str) -> Result<()> {
    debug_assert!(sql.starts_with(OURS), "a statement of ours without its mark: {sql}");
    let mut statement = connection.prepare_cached(sql).map_err(error)?;
    statement.raw_execute().map(|_| ()).map_err(error)
}

/// Turns an error of SQLite's into ours: its own text first, then what helps.
pub(crate) fn error(error: rusqlite::Error) -> Error {
    use rusqlite::Error as Sqlite;
    match error {
        Sqlite::SqliteFailure(code, text) => {
            failure(code, &text.unwrap_or_else(|| code.to_string()))
        }
        Sqlite::SqlInputError { error, msg, offset, .. } => {
            failure(error, &format!("{msg} (at byte {offset} of the statement)"))
        }
        Sqlite::MultipleStatement => Error::new(
            ErrorKind::Sql,
            "the SQL holds more than one statement: use `execute_batch`, or one call for each",
        ),
        Sqlite::ToSqlConversionFailure(reason) => {
            Error::new(ErrorKind::Encoding, format!("a parameter cannot be stored: {reason}"))
        }
        other => Error::new(ErrorKind::Sql, other),
    }
}

fn failure(error: ffi::Error, text: &str) -> Error {
    let (kind, help) = match error.code {
        ErrorCode::ConstraintViolation => (ErrorKind::Constraint, ""),
        ErrorCode::TooBig => (
            ErrorKind::Limit,
            ": a string, a blob and a row have at most 8 MiB; split it over several rows",
        ),
        ErrorCode::DiskFull => {
            (ErrorKind::Storage, ": free space on the disk of the data directory")
        }
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Storage, ": look at the disk of the data directory and the system's log")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            (ErrorKind::Storage, ": the object's file is damaged; restore it from a copy")
        }
        ErrorCode::CannotOpen => (
            ErrorKind::Storage,
            ": look at the permissions of the data directory and the limit of open files",
        ),
        ErrorCode::ReadOnly => (ErrorKind::Storage, ": the data directory must be writable"),
        ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed => {
            (ErrorKind::Storage, ": another program has the object's file open; close it")
        }
        ErrorCode::OutOfMemory | ErrorCode::PermissionDenied | ErrorCode::NoLargeFileSupport => {
            (ErrorKind::Storage, "")
        }
        ErrorCode::OperationInterrupted => {
            (ErrorKind::TimedOut, ": the turn took too long; do less in one turn")
        }
        ErrorCode::ApiMisuse => return Error::new(ErrorKind::Sql, "the SQL holds no statement"),
        _ if text.starts_with(TOO_DEEP) => (
            ErrorKind::Sql,
            ": triggers and foreign keys act on one another at most 1,000 times deep",
        ),
        _ if text.starts_with("cannot VACUUM") => {
            (ErrorKind::Refused, ": VACUUM is not needed, pages that become free are used again")
        }
        _ if text.starts_with("no such table") => {
            (ErrorKind::Sql, ": a table is created in a migration, `#[migration(n)]`")
        }
        _ => (ErrorKind::Sql, ""),
    };
    Error::new(kind, format!("{text}{help}")).with_constraint(constraint(error.extended_code))
}

fn constraint(extended_code: i32) -> Option<Constraint> {
    match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => Some(Constraint::Unique),
        ffi::SQLITE_CONSTRAINT_NOTNULL => Some(Constraint::NotNull),
        ffi::SQLITE_CONSTRAINT_CHECK => Some(Constraint::Check),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Some(Constraint::ForeignKey),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn memory() -> Connection {
        let nothing: Configure = Arc::new(|_| Ok(()));
        open_memory(&nothing).unwrap()
    }

    #[test]
    fn layout_of_a_new_database() {
        let connection = memory();
        let pragma = |name: &str| {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap()
        };
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        assert_eq!(pragma("page_size"), 4_096);
        assert_eq!(pragma("auto_vacuum"), 2);
        assert_eq!(pragma("application_id"), i64::from(APPLICATION_ID));
    }

    #[test]
    fn constraints_are_told_apart() {
        let connection = memory();
        let setup = "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c NOT NULL, d CHECK (d > 0), e REFERENCES t);
            CREATE TABLE s (a INTEGER) STRICT; INSERT INTO t VALUES (1, 1, 1, 1, 1)";
        connection.execute_batch(setup).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        for (sql, expected) in [
            ("INSERT INTO t VALUES (1, 2, 1, 1, 1)", Some(Constraint::Unique)),
            ("INSERT INTO t VALUES (2, 1, 1, 1, 1)", Some(Constraint::Unique)),
            ("INSERT INTO t VALUES (2, 2, NULL, 1, 1)", Some(Constraint::NotNull)),
            ("INSERT INTO t VALUES (2, 2, 1, 0, 1)", Some(Constraint::Check)),
            ("INSERT INTO t VALUES (2, 2, 1, 1, 9)", Some(Constraint::ForeignKey)),
            ("INSERT INTO s VALUES ('text')", None),
        ] {
            let found = error(connection.execute_batch(sql).unwrap_err());
            assert_eq!(
                (found.kind(), found.constraint()),
                (ErrorKind::Constraint, expected),
                "{sql}"
            );
            assert_eq!(found.context("outside").constraint(), expected, "{sql}");
        }
        assert_eq!(error(connection.execute_batch("SELEC 1").unwrap_err()).constraint(), None);
    }

    #[test]
    fn errors_start_with_the_text_of_sqlite() {
        let connection = memory();
        connection.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)").unwrap();
        let kind_and_text = |sql: &str| {
            let found = error(connection.execute_batch(sql).unwrap_err());
            (found.kind(), found.message().to_owned())
        };
        assert_eq!(
            kind_and_text("INSERT INTO t VALUES (1), (1)"),
            (ErrorKind::Constraint, "UNIQUE constraint failed: t.x".into())
        );
        assert_eq!(
            kind_and_text("SELEC 1"),
            (ErrorKind::Sql, "near \"SELEC\": syntax error (at byte 0 of the statement)".into())
        );
        let (kind, text) = kind_and_text("SELECT * FROM missing");
        assert_eq!(kind, ErrorKind::Sql);
        assert!(text.starts_with("no such table: missing"), "{text}");
        assert!(text.contains("#[migration(n)]"), "{text}");
        assert_eq!(kind_and_text("SELECT zeroblob(2000000000)").0, ErrorKind::Limit);
    }
}
