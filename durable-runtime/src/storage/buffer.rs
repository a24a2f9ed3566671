//! Rows in memory, in a compact form.

use rusqlite::types::ValueRef;

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
pub(super) enum Cell {
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
