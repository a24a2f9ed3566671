//! SQL in a turn.
//!
//! The guarantee: every statement has run to its end when the call returns, so none is open at the
//! commit; one that fails undoes itself alone, or else the whole turn is doomed.

use std::fmt;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Rows, Statement};
use serde::de::DeserializeOwned;

use super::params::{Binder, Params};
use super::{Store, row};
use crate::engine::sqlite::PAGE_BYTES;
use crate::{Error, ErrorKind, Result};

/// The longest text of one statement, in bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// The longest text of a batch, in bytes.
const BATCH_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// The object's SQL database, in the transaction of the running turn.
///
/// A row becomes any type that is `DeserializeOwned`:
///
/// - a struct or a map takes the columns by name, a tuple by position;
/// - any other type is the value of the only column;
/// - `Option` is `None` for NULL, a BLOB is bytes (`Vec<u8>`, `[u8; N]`), 0 and 1 are `bool`, a TEXT is a
///   `String` or an enum without data, an INTEGER is exact as any integer it fits in, or an `f64`.
///
/// Nothing else is converted: a TEXT is never read as a number.
///
/// ```
/// use durable_runtime::{Result, Sql};
///
/// #[derive(serde::Deserialize)]
/// struct Post {
///     id: u64,
///     text: String,
/// }
///
/// fn add(sql: Sql<'_>, text: &str) -> Result<u64> {
///     sql.query_one("INSERT INTO posts (text) VALUES (?) RETURNING id", [text])
/// }
///
/// fn newest(sql: Sql<'_>, count: u32) -> Result<Vec<Post>> {
///     sql.query_all("SELECT id, text FROM posts ORDER BY id DESC LIMIT ?", [count])
/// }
/// ```
///
/// Limits: a statement has at most 100,000 bytes, a batch 4 MiB, a string, a BLOB and a row 8 MiB.
/// `BEGIN`, `COMMIT`, `ATTACH`, temporary tables and the like are refused: a turn is one
/// transaction on one database.
///
/// # Errors
/// An error of one statement undoes that statement only; what the turn did before stays. Where SQLite rolls
/// back the whole transaction (`INSERT OR ROLLBACK`, `RAISE(ROLLBACK)`, a full disk), every later call
/// in the turn fails with [`ErrorKind::RolledBack`], and so does the turn. Otherwise the kind is:
///
/// | kind | when |
/// | --- | --- |
/// | [`Sql`](ErrorKind::Sql) | SQLite does not take the statement, or the number of parameters is wrong |
/// | [`Constraint`](ErrorKind::Constraint) | a constraint refuses a row |
/// | [`ReadOnly`](ErrorKind::ReadOnly) | a write in a method with `&self` |
/// | [`Refused`](ErrorKind::Refused) | the statement is not allowed in a turn |
/// | [`Limit`](ErrorKind::Limit) | something is too long |
/// | [`Conversion`](ErrorKind::Conversion) | a row cannot be read as the type asked for |
/// | [`Storage`](ErrorKind::Storage) | the disk or the file failed |
#[derive(Clone, Copy)]
pub struct Sql<'a> {
    store: &'a Store,
}

impl fmt::Debug for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sql({:?})", self.store)
    }
}

impl<'a> Sql<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Sql { store }
    }

    /// Runs one statement and returns how many rows it inserted, changed or deleted (not counting
    /// those that triggers and foreign keys did). Rows that it gives are dropped.
    ///
    /// # Errors
    /// See [`Sql`].
    pub fn execute(&self, query: &str, params: impl Params) -> Result<usize> {
        let connection = self.store.enter()?;
        let before = connection.total_changes();
        self.run(query, params, |rows| {
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        // SQLite keeps the count of an earlier statement when this one is of a kind that changes none.
        let changed = connection.total_changes() != before;
        Ok(if changed { usize::try_from(connection.changes()).unwrap_or(usize::MAX) } else { 0 })
    }

    /// Runs one statement that gives exactly one row.
    ///
    /// # Errors
    /// [`ErrorKind::NoRows`] and [`ErrorKind::ManyRows`] when it gives none or more; what it wrote stays
    /// written. Others: see [`Sql`].
    pub fn query_one<T: DeserializeOwned>(&self, query: &str, params: impl Params) -> Result<T> {
        self.query_optional(query, params)?.ok_or_else(|| {
            Error::new(
                ErrorKind::NoRows,
                "the query gave no row, and one was asked for: use `query_optional` if that can be",
            )
        })
    }

    /// Runs one statement that gives one row or none.
    ///
    /// # Errors
    /// [`ErrorKind::ManyRows`] when it gives more; what it wrote stays written. Others: see [`Sql`].
    pub fn query_optional<T: DeserializeOwned>(
        &self,
        query: &str,
        params: impl Params,
    ) -> Result<Option<T>> {
        self.run(query, params, |rows| {
            let Some(value) = rows.read()? else { return Ok(None) };
            if rows.next()?.is_some() {
                return Err(Error::new(
                    ErrorKind::ManyRows,
                    "the query gave more than one row: use `query_all`, or add `LIMIT 1`",
                ));
            }
            Ok(Some(value))
        })
    }

    /// Runs one statement and returns all the rows that it gives, in their order.
    ///
    /// # Errors
    /// See [`Sql`].
    pub fn query_all<T: DeserializeOwned>(
        &self,
        query: &str,
        params: impl Params,
    ) -> Result<Vec<T>> {
        self.run(query, params, |rows| {
            let mut values = Vec::new();
            while let Some(value) = rows.read()? {
                values.push(value);
            }
            Ok(values)
        })
    }

    /// Runs any number of statements without parameters, one after the other. Rows that they give are
    /// dropped.
    ///
    /// # Errors
    /// The first statement that fails ends the batch; those before it stay done. See [`Sql`].
    pub fn execute_batch(&self, sql: &str) -> Result<()> {
        check_length(sql, BATCH_BYTES_MAX, "a batch of SQL")?;
        let connection = self.store.enter()?;
        let mut batch = Batch::new(connection, sql);
        loop {
            self.store.guard.start("")?;
            let next = batch.next().map_err(|error| self.store.failed(error))?;
            let Some(mut statement) = next else { return Ok(()) };
            let text = statement.expanded_sql().ok_or_else(no_memory)?;
            self.store.guard.check_renames(&text)?;
            self.step(&mut statement, &text, (), |rows| {
                while rows.next()?.is_some() {}
                Ok(())
            })?;
        }
    }

    /// How many bytes the database uses: its pages in use times 4,096.
    ///
    /// # Errors
    /// When the database cannot be read: see [`Sql`].
    pub fn database_size(&self) -> Result<u64> {
        const COUNT: &str = "/*durable*/SELECT (SELECT page_count FROM pragma_page_count) \
                             - (SELECT freelist_count FROM pragma_freelist_count)";
        let connection = self.store.enter()?;
        let _ours = self.store.guard.lift();
        let pages = connection
            .prepare_cached(COUNT)
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(|error| self.store.failed(error))?;
        Ok(u64::try_from(pages).unwrap_or_default() * PAGE_BYTES)
    }

    fn run<R>(
        self,
        query: &str,
        params: impl Params,
        read: impl FnOnce(&mut Reader<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        check_length(query, SQL_BYTES_MAX, "a statement")?;
        let connection = self.store.enter()?;
        self.store.guard.start(query)?;
        let mut statement =
            connection.prepare_cached(query).map_err(|error| self.store.failed(error))?;
        if let Err(refused) = self.store.guard.check_renames(query) {
            // From the cache it would come without a question to the authorizer.
            statement.discard();
            return Err(refused);
        }
        self.step(&mut statement, query, params, read)
    }

    fn step<R>(
        self,
        statement: &mut Statement<'_>,
        text: &str,
        params: impl Params,
        read: impl FnOnce(&mut Reader<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let writes = !statement.readonly() || is_optimize(text);
        if writes {
            self.store.check_may_write()?;
        }
        params.bind(&mut Binder::new(statement))?;
        let connection = self.store.enter()?;
        let before = connection.total_changes();
        let mut rows =
            Reader { store: self.store, rows: statement.raw_query(), number: 0, failed: false };
        let result = read(&mut rows);
        // A write that is left half-way keeps its rows but skips its foreign key check.
        let finished = if writes { rows.finish() } else { Ok(()) };
        let failed = rows.failed;
        drop(rows);
        // `INSERT OR FAIL` fails and keeps what it inserted before.
        if writes && (!failed || connection.total_changes() != before) {
            self.store.mark_written();
        }
        finished.and(result)
    }
}

/// `PRAGMA optimize` writes statistics although SQLite calls it read-only.
fn is_optimize(sql: &str) -> bool {
    let sql = sql.trim_start();
    sql.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("pragma"))
        && sql.to_ascii_lowercase().contains("optimize")
}

fn check_length(sql: &str, bytes_max: usize, what: &str) -> Result<()> {
    if sql.len() <= bytes_max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!("{what} has {} bytes, over the limit of {bytes_max}", sql.len()),
    ))
}

fn no_memory() -> Error {
    Error::new(ErrorKind::Storage, "out of memory")
}

/// The rows of a statement that runs.
struct Reader<'a, 's> {
    store: &'a Store,
    rows: Rows<'s>,
    number: usize,
    failed: bool,
}

impl<'s> Reader<'_, 's> {
    fn next(&mut self) -> Result<Option<&rusqlite::Row<'s>>> {
        self.number += 1;
        self.rows.next().map_err(|error| {
            self.failed = true;
            self.store.failed(error)
        })
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let number = self.number + 1;
        self.next()?.map(|row| row::read(row, number)).transpose()
    }

    fn finish(&mut self) -> Result<()> {
        while !self.failed && self.next()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::turn_on_scratch;

    #[test]
    fn rows_changed() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            assert_eq!(sql.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)", []).unwrap(), 0);
            assert_eq!(sql.execute("INSERT INTO t VALUES (1), (2), (3)", []).unwrap(), 3);
            assert_eq!(sql.execute("CREATE TABLE u (x)", []).unwrap(), 0);
            assert_eq!(sql.execute("SELECT * FROM t", []).unwrap(), 0);
            assert_eq!(sql.execute("UPDATE t SET x = x + 10 WHERE x > 1", []).unwrap(), 2);
            assert_eq!(sql.execute("DELETE FROM t WHERE x > 50 RETURNING x", []).unwrap(), 0);
            assert_eq!(sql.execute("DELETE FROM t RETURNING x", []).unwrap(), 3);
        });
    }

    #[test]
    fn one_optional_and_all() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            sql.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)").unwrap();
            assert_eq!(
                sql.query_all::<i64>("SELECT x FROM t ORDER BY x DESC", []).unwrap(),
                [2, 1]
            );
            let none = "SELECT x FROM t WHERE x = 9";
            assert_eq!(sql.query_optional::<i64>(none, []).unwrap(), None);
            assert_eq!(sql.query_one::<i64>(none, []).unwrap_err().kind(), ErrorKind::NoRows);
            for error in [
                sql.query_one::<i64>("SELECT x FROM t", []).unwrap_err(),
                sql.query_optional::<i64>("SELECT x FROM t", []).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::ManyRows);
            }
        });
    }

    #[test]
    fn a_write_runs_to_its_end_whatever_is_read_of_it() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            sql.execute_batch(
                "CREATE TABLE p (x INTEGER PRIMARY KEY); CREATE TABLE c (x REFERENCES p);
                 INSERT INTO p VALUES (1), (2);",
            )
            .unwrap();
            let insert = "INSERT INTO c VALUES (1), (2) RETURNING x";
            assert_eq!(sql.query_one::<i64>(insert, []).unwrap_err().kind(), ErrorKind::ManyRows);
            let error = sql.query_all::<String>(insert, []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conversion);
            assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM c", []).unwrap(), 4);
            // The foreign key is checked although only one row was asked for.
            let orphans = "INSERT INTO c VALUES (8), (9) RETURNING x";
            let error = sql.query_one::<i64>(orphans, []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Constraint);
            assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM c WHERE x > 2", []).unwrap(), 0);
        });
    }

    #[test]
    fn batches() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            sql.execute_batch("").unwrap();
            sql.execute_batch("-- nothing\n ; ;").unwrap();
            sql.execute_batch("CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1); -- end")
                .unwrap();
            let batch =
                "INSERT INTO t VALUES (2); INSERT INTO t VALUES (1); INSERT INTO t VALUES (3)";
            assert_eq!(sql.execute_batch(batch).unwrap_err().kind(), ErrorKind::Constraint);
            assert_eq!(sql.query_all::<i64>("SELECT x FROM t", []).unwrap(), [1, 2]);
            let error = sql.execute_batch("INSERT INTO t VALUES (?)").unwrap_err();
            assert_eq!(error.message(), "the statement has 1 parameters and 0 were given");
        });
    }

    #[test]
    fn no_statement_and_several() {
        turn_on_scratch(|store| {
            for empty in ["", "  ", "-- only a comment", ";"] {
                let error = store.sql().execute(empty, []).unwrap_err();
                assert_eq!(error.message(), "the SQL holds no statement", "{empty:?}");
            }
            let error = store.sql().execute("SELECT 1; SELECT 2", []).unwrap_err();
            assert!(error.message().contains("execute_batch"), "{error}");
            store.sql().execute("SELECT 1; -- end", []).unwrap();
        });
    }

    #[test]
    fn limits_of_length() {
        turn_on_scratch(|store| {
            let long = format!("SELECT '{}'", "x".repeat(100_000));
            let error = store.sql().query_one::<String>(&long, []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.message(), "a statement has 100009 bytes, over the limit of 100000");
            store.sql().execute_batch(&long).unwrap();
            let value = vec![0_u8; 9 * 1_024 * 1_024];
            let error = store.sql().execute("SELECT ?", [value]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        });
    }

    #[test]
    fn size_counts_pages_in_use() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            sql.execute_batch("CREATE TABLE t (x)").unwrap();
            let small = sql.database_size().unwrap();
            sql.execute("INSERT INTO t VALUES (zeroblob(100000))", []).unwrap();
            assert!(sql.database_size().unwrap() >= small + 90_000);
            sql.execute("DELETE FROM t", []).unwrap();
            assert_eq!(sql.database_size().unwrap(), small);
        });
    }
}
