//! The rows that a call of [`Sql::exec`](super::Sql::exec) gave.
//!
//! The guarantee: a cursor owns its rows. No statement is open behind it, so it can be left unread, kept
//! in a field and read in a later turn, and nothing that is written meanwhile changes it.

use std::fmt;

use serde::de::DeserializeOwned;

use super::buffer::Buffer;
use super::row::{Columns, Source};
use super::value::Value;
use crate::{Error, ErrorKind, Result};

/// What [`Sql::exec`](crate::Sql::exec) gave: rows, and how much was read and written.
///
/// It owns the rows. The statements have run to their end when there is a cursor, so it need not be
/// read, and may be kept after the turn. Each row is given once; the methods take the rows that are left.
///
/// ```
/// use durable_runtime::{Result, Sql};
///
/// fn scores(sql: Sql<'_>) -> Result<Vec<(String, i64)>> {
///     let mut cursor = sql.exec("SELECT name, score FROM players ORDER BY score DESC", [])?;
///     let winner: Option<(String, i64)> = cursor.next_row()?;
///     let others: Vec<(String, i64)> = cursor.all()?;
///     Ok(winner.into_iter().chain(others).collect())
/// }
/// ```
#[derive(Clone)]
pub struct Cursor {
    buffer: Buffer,
    /// The row that comes next.
    next: usize,
    rows_read: u64,
    rows_written: u64,
}

impl Cursor {
    pub(super) fn new(buffer: Buffer, rows_read: u64, rows_written: u64) -> Self {
        Cursor { buffer, next: 0, rows_read, rows_written }
    }

    /// The only row that is left.
    ///
    /// # Errors
    /// [`ErrorKind::NoRows`] and [`ErrorKind::ManyRows`] when there are none or more,
    /// [`ErrorKind::Conversion`] when it is not a `T`. After an error no row is taken.
    pub fn one<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.optional()?.ok_or_else(no_rows)
    }

    /// The only row that is left, or `None` if none is.
    ///
    /// # Errors
    /// [`ErrorKind::ManyRows`] when there are more, [`ErrorKind::Conversion`] when it is not a `T`.
    /// After an error no row is taken.
    pub fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let row = match self.len() {
            0 => return Ok(None),
            1 => self.row(self.next, true).read_row()?,
            _ => return Err(many_rows()),
        };
        self.next += 1;
        Ok(Some(row))
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`] when one is not a `T`. After an error no row is taken.
    pub fn all<T: DeserializeOwned>(&mut self) -> Result<Vec<T>> {
        let rows = (self.next..self.buffer.len())
            .map(|row| self.row(row, row == self.next).read_row())
            .collect::<Result<_>>()?;
        self.next = self.buffer.len();
        Ok(rows)
    }

    /// The next row, or `None` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`] when it is not a `T`. The row is taken all the same.
    pub fn next_row<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.take().map(|row| self.row(row, true).read_row()).transpose()
    }

    /// The rows that are left, one by one. A row that is not a `T` is an error of its own; the next
    /// one follows.
    pub fn rows<T: DeserializeOwned>(&mut self) -> impl Iterator<Item = Result<T>> {
        let first = self.next;
        std::iter::from_fn(move || self.take().map(|row| self.row(row, row == first).read_row()))
    }

    /// The rows that are left, one by one, as values in the order of the columns. Columns of the same
    /// name are all there.
    pub fn raw(&mut self) -> impl Iterator<Item = Vec<Value>> {
        std::iter::from_fn(move || self.take().map(|row| self.row(row, false).values()))
    }

    /// The names of the columns; none for a statement that gives no rows.
    pub fn column_names(&self) -> &[String] {
        self.buffer.column_names()
    }

    /// How many rows are left.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.next
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many rows SQLite looked at, for all statements of the call: of each statement the rows that
    /// it gave, or the steps that it took through whole tables if those are more. Rows that were found
    /// through an index and not given are not counted.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// How many rows all statements of the call inserted, changed or deleted, with those of triggers and
    /// foreign keys. Entries of indexes and changes of the schema are not counted.
    pub fn rows_written(&self) -> u64 {
        self.rows_written
    }

    fn take(&mut self) -> Option<usize> {
        let row = self.next;
        (row < self.buffer.len()).then(|| {
            self.next += 1;
            row
        })
    }

    fn row(&self, row: usize, first: bool) -> Columns<'_> {
        Columns { source: Source::Buffered(&self.buffer, row), number: row + 1, first }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("columns", &self.column_names())
            .field("rows", &self.len())
            .field("rows_read", &self.rows_read)
            .field("rows_written", &self.rows_written)
            .finish_non_exhaustive()
    }
}

pub(super) fn no_rows() -> Error {
    Error::new(
        ErrorKind::NoRows,
        "the query gave no row, and one was asked for: use `query_optional` if that can be",
    )
}

pub(super) fn many_rows() -> Error {
    Error::new(
        ErrorKind::ManyRows,
        "the query gave more than one row: use `query_all`, or add `LIMIT 1`",
    )
}

#[cfg(test)]
mod tests;
