//! The rows that a call of [`Sql::exec`](super::Sql::exec) gave.
//!
//! The guarantee: a cursor owns its rows. No statement is open behind it, so it can be left unread, kept
//! in a field and read in a later turn, and nothing that is written meanwhile changes it.

use std::fmt;

use rusqlite::types::ValueRef;
use serde::de::DeserializeOwned;

use super::row::{Columns, Source};
use super::sql::{many_rows, no_rows};
use super::value::Value;
use crate::{Error, ErrorKind, Result};

/// The most memory that the rows of one cursor may take, in bytes.
pub(super) const BUFFER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Rows as values in their order; strings and blobs lie in one piece of memory.
#[derive(Clone, Default)]
pub(super) struct Buffer {
    names: Vec<String>,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
    rows: usize,
}

/// A value. Two `u32` are start and length in the bytes.
#[derive(Clone, Copy)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(u32, u32),
    Blob(u32, u32),
}

impl Buffer {
    pub(super) fn column_names(&self) -> &[String] {
        &self.names
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the rows get too large.
    pub(super) fn push(&mut self, row: &rusqlite::Row<'_>, bytes_max: usize) -> Result<()> {
        if self.rows == 0 {
            self.names = owned(row.as_ref().column_names());
        }
        for index in 0..self.names.len() {
            let cell = match row.get_ref(index).unwrap_or(ValueRef::Null) {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Integer(value),
                ValueRef::Real(value) => Cell::Real(value),
                ValueRef::Text(text) => {
                    let (start, length) = self.keep(text, bytes_max)?;
                    Cell::Text(start, length)
                }
                ValueRef::Blob(bytes) => {
                    let (start, length) = self.keep(bytes, bytes_max)?;
                    Cell::Blob(start, length)
                }
            };
            self.cells.push(cell);
        }
        self.rows += 1;
        self.check(0, bytes_max)
    }

    /// Gives the columns their names if there was no row to do so.
    pub(super) fn with_names<'n>(mut self, names: impl Iterator<Item = &'n str>) -> Self {
        if self.rows == 0 {
            self.names = owned(names);
        }
        self
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    fn keep(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(u32, u32)> {
        self.check(bytes.len(), bytes_max)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        match (u32::try_from(start), u32::try_from(bytes.len())) {
            (Ok(start), Ok(length)) => Ok((start, length)),
            _ => Err(too_large(bytes_max)),
        }
    }

    /// Whether there is room for `more` bytes.
    fn check(&self, more: usize, bytes_max: usize) -> Result<()> {
        let used = self.cells.len() * size_of::<Cell>() + self.bytes.len();
        if used + more > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
    }

    pub(super) fn value(&self, row: usize, column: usize) -> ValueRef<'_> {
        let slice = |start: u32, length: u32| {
            let start = start as usize;
            self.bytes.get(start..start + length as usize).unwrap_or_default()
        };
        match self.cells.get(row * self.names.len() + column) {
            None | Some(Cell::Null) => ValueRef::Null,
            Some(Cell::Integer(value)) => ValueRef::Integer(*value),
            Some(Cell::Real(value)) => ValueRef::Real(*value),
            Some(Cell::Text(start, length)) => ValueRef::Text(slice(*start, *length)),
            Some(Cell::Blob(start, length)) => ValueRef::Blob(slice(*start, *length)),
        }
    }
}

fn owned<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

fn too_large(bytes_max: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "the rows of one call take more than {bytes_max} bytes: read them one by one with \
             `query_each`, or ask for fewer"
        ),
    )
}

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
        let rows = (self.next..self.buffer.rows)
            .map(|row| self.row(row, row == self.next).read_row())
            .collect::<Result<_>>()?;
        self.next = self.buffer.rows;
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
        self.buffer.rows - self.next
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
        (row < self.buffer.rows).then(|| {
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

#[cfg(test)]
mod tests;
