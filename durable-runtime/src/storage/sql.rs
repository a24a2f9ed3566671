//! SQL in a turn.
//!
//! The guarantee: every statement has run to its end when the call returns, so none is open at the
//! commit; one that fails undoes itself alone, or else the whole turn is doomed.

mod script;
mod step;
#[cfg(feature = "admin")]
mod table;

use std::fmt;
use std::ops::ControlFlow;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Statement, StatementStatus};
use serde::de::DeserializeOwned;

use self::step::{Reader, skip};
#[cfg(feature = "admin")]
pub(crate) use self::table::Table;
use super::buffer::{BUFFER_BYTES_MAX, Buffer};
use super::cursor::{Cursor, many_rows, no_rows};
use super::live::Row;
use super::params::Params;
use super::{Store, functions};
use crate::engine::sqlite::PAGE_BYTES;
use crate::{Error, ErrorKind, Result};

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
/// It is all of SQLite's SQL, with FTS5, JSON, R*Tree and the mathematical functions. `BEGIN`, `COMMIT`, `ATTACH`,
/// temporary tables and the like are refused: a turn is one transaction on one database.
///
/// Of the pragmas there are those that look at the schema; `user_version` shows the schema's version. What these five
/// set ends with the turn: `case_sensitive_like`, `ignore_check_constraints`, `legacy_alter_table`,
/// `recursive_triggers`, `reverse_unordered_selects`. Foreign keys are enforced; `foreign_keys = OFF` does nothing, and
/// `defer_foreign_keys = ON` has them checked when the turn ends.
///
/// Limits: the text of a call has at most 100,000 bytes, a batch 4 MiB, a string, a BLOB and a row 8 MiB. The
/// SQL of a turn may run for 30 s ([`turn_limit`](crate::Builder::turn_limit)), and the database may have 10 GB
/// ([`database_limit`](crate::Builder::database_limit)).
///
/// # Errors
/// An error of one statement undoes that statement only; what the turn did before stays. Where SQLite rolls
/// back the whole transaction (`INSERT OR ROLLBACK`, `RAISE(ROLLBACK)`, an interrupted write), and where it leaves a
/// statement half done (triggers or foreign keys that act on one another over 1,000 times deep), every later call in the turn fails with [`ErrorKind::RolledBack`], and so does the turn. Otherwise the kind is:
///
/// | kind | when |
/// | --- | --- |
/// | [`Sql`](ErrorKind::Sql) | SQLite does not take the statement, or the number of parameters is wrong |
/// | [`Constraint`](ErrorKind::Constraint) | a constraint refuses a row |
/// | [`ReadOnly`](ErrorKind::ReadOnly) | a write in a method with `&self` |
/// | [`Refused`](ErrorKind::Refused) | the statement is not allowed in a turn |
/// | [`Limit`](ErrorKind::Limit) | something is too long, or the database too large |
/// | [`TimedOut`](ErrorKind::TimedOut) | the SQL of the turn ran too long |
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
        self.run(query, params, skip)?;
        // SQLite keeps the count of an earlier statement when this one is of a kind that changes none.
        let changed = connection.total_changes() != before;
        Ok(if changed { usize::try_from(connection.changes()).unwrap_or(usize::MAX) } else { 0 })
    }

    /// Runs one or several statements to their end and returns the rows of the last.
    ///
    /// Parameters belong to the last statement. The statements are separated by `;`, and the last may end with one.
    /// When one fails, those before it stay done. For text that ends with a comment, use
    /// [`execute_batch`](Sql::execute_batch).
    ///
    /// The rows are kept in memory, at most 64 MiB of them; [`query_each`](Sql::query_each) keeps none.
    ///
    /// # Errors
    /// [`ErrorKind::Sql`] when the text holds no statement or an empty one, or when a statement before the last has
    /// parameters. [`ErrorKind::Limit`] when the rows are too large; what was written stays written. Others: see [`Sql`].
    pub fn exec(&self, query: &str, params: impl Params) -> Result<Cursor> {
        check_length(query, self.store.limits().sql_bytes, "a statement")?;
        let mut counts = Counts::default();
        let rows = if script::is_single(query) {
            self.prepared(query, |statement| {
                self.collect(statement, query, params, &mut counts, BUFFER_BYTES_MAX)
            })?
        } else {
            self.exec_script(query, params, &mut counts)?
        };
        Ok(Cursor::new(rows, counts.read, counts.written))
    }

    /// Runs one statement and hands each row to `each` while SQLite is at it: nothing is kept, and strings
    /// and blobs can be borrowed.
    ///
    /// [`ControlFlow::Break`] ends the reading, and so does an error, which is passed through. A statement that
    /// writes runs to its end all the same. `each` may use the storage, but what it writes may or may
    /// not be seen by a query that still runs. While a statement that writes gives its rows, transactions, batches
    /// of keys and `delete_all` are refused.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use durable_runtime::{Result, Sql};
    ///
    /// fn longest(sql: Sql<'_>) -> Result<usize> {
    ///     let mut longest = 0;
    ///     sql.query_each("SELECT text FROM posts", [], |row| -> Result<_> {
    ///         longest = longest.max(row.get::<&str>(0)?.len());
    ///         Ok(ControlFlow::Continue(()))
    ///     })?;
    ///     Ok(longest)
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `each`; others: see [`Sql`].
    pub fn query_each<E: From<Error>>(
        &self,
        query: &str,
        params: impl Params,
        mut each: impl FnMut(Row<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut outcome = Ok(());
        self.run(query, params, |rows| {
            while let Some(columns) = rows.next_columns()? {
                match each(Row::new(columns)) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break,
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        outcome
    }

    /// Runs one statement that gives exactly one row.
    ///
    /// # Errors
    /// [`ErrorKind::NoRows`] and [`ErrorKind::ManyRows`] when it gives none or more; what it wrote stays
    /// written. Others: see [`Sql`].
    pub fn query_one<T: DeserializeOwned>(&self, query: &str, params: impl Params) -> Result<T> {
        self.query_optional(query, params)?.ok_or_else(no_rows)
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
                return Err(many_rows());
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
            let next = self.prepare(|| batch.next())?;
            let Some(mut statement) = next else { return Ok(()) };
            let text = statement.expanded_sql().ok_or_else(no_memory)?;
            self.admit(&text)?;
            self.step(&mut statement, &text, (), skip)?;
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
        check_length(query, self.store.limits().sql_bytes, "a statement")?;
        self.prepared(query, |statement| self.step(statement, query, params, read))
    }

    /// Lends the statement of a text that has only one.
    fn prepared<R>(
        self,
        query: &str,
        run: impl FnOnce(&mut Statement<'_>) -> Result<R>,
    ) -> Result<R> {
        let connection = self.store.enter()?;
        self.store.guard.start(query)?;
        let mut statement = self.prepare(|| connection.prepare_cached(query))?;
        if let Err(refused) = self.admit(query) {
            // From the cache it would come without a question to the authorizer.
            statement.discard();
            return Err(refused);
        }
        run(&mut statement)
    }

    /// Decides on a statement that has been prepared.
    fn admit(self, text: &str) -> Result<()> {
        self.store.guard.check_names(text)?;
        if self.store.guard.is_definition() {
            // It may need functions that are not there. Statements prepared before would miss them only
            // while they run.
            self.store.enter()?.flush_prepared_statement_cache();
        }
        Ok(())
    }

    /// Prepares a statement of the user's, if need be with more functions than there were.
    fn prepare<R>(self, mut prepare: impl FnMut() -> rusqlite::Result<R>) -> Result<R> {
        let first = prepare();
        let prepared = match first {
            Err(error) if functions::is_missing(&error) && !self.store.functions.replace(true) => {
                functions::install(self.store.enter()?).and_then(|()| prepare())
            }
            prepared => prepared,
        };
        prepared.map_err(|error| self.store.failed(error))
    }

    fn exec_script(self, script: &str, params: impl Params, counts: &mut Counts) -> Result<Buffer> {
        let connection = self.store.enter()?;
        let mut rest = script;
        loop {
            self.store.guard.start("")?;
            let next = self.prepare(|| Batch::new(connection, rest).next())?;
            let mut statement = next.ok_or_else(|| script::missing(rest.len() < script.len()))?;
            let following = if statement.parameter_count() == 0 {
                // Without parameters it is the statement as it was written.
                let text = statement.expanded_sql().ok_or_else(no_memory)?;
                rest.strip_prefix(text.as_str()).ok_or_else(script::empty)?
            } else {
                // Where it ends is not known, so what follows is tried.
                connection.prepare(rest).map_err(|_| script::parameters_before_the_last())?;
                ""
            };
            let text = &rest[..rest.len() - following.len()];
            self.admit(text)?;
            if following.trim_ascii().is_empty() {
                return self.collect(&mut statement, text, params, counts, BUFFER_BYTES_MAX);
            }
            self.counted(&mut statement, counts, |statement| {
                self.step(statement, text, (), skip).map(|rows| ((), rows))
            })?;
            rest = following;
        }
    }

    /// Runs a statement and keeps its rows.
    fn collect(
        self,
        statement: &mut Statement<'_>,
        text: &str,
        params: impl Params,
        counts: &mut Counts,
        bytes_max: usize,
    ) -> Result<Buffer> {
        self.counted(statement, counts, |statement| {
            let rows = self.step(statement, text, params, |rows| {
                let mut buffer = Buffer::default();
                while let Some(row) = rows.next()? {
                    buffer.push(row, bytes_max)?;
                }
                Ok(buffer)
            })?;
            // Not before it ran: SQLite may have prepared it anew.
            let rows = rows.with_names(statement.column_names());
            let count = rows.len();
            Ok((rows, count))
        })
    }

    /// Adds what a statement reads and writes to the counts. `run` says how many rows it gave.
    fn counted<'c, R>(
        self,
        statement: &mut Statement<'c>,
        counts: &mut Counts,
        run: impl FnOnce(&mut Statement<'c>) -> Result<(R, usize)>,
    ) -> Result<R> {
        let connection = self.store.enter()?;
        // Of text without a statement there is none, and rusqlite panics when it is asked for its counters.
        let may_be_none = statement.readonly() && statement.column_count() == 0;
        if may_be_none && statement.expanded_sql().is_none() {
            return Err(script::empty());
        }
        let before = connection.total_changes();
        statement.reset_status(StatementStatus::FullscanStep);
        let (result, rows) = run(statement)?;
        let steps = statement.get_status(StatementStatus::FullscanStep);
        counts.read += u64::try_from(steps).unwrap_or_default().max(rows as u64);
        counts.written += connection.total_changes() - before;
        Ok(result)
    }
}

/// What the statements of a call did.
#[derive(Default)]
struct Counts {
    read: u64,
    written: u64,
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

#[cfg(test)]
mod tests;
