//! One row of a query that runs.

use std::fmt;

use serde::Deserialize;

use super::row::Columns;
use crate::{Error, ErrorKind, Result};

/// A row of [`Sql::query_each`](crate::Sql::query_each). Strings and blobs can be borrowed from it.
#[derive(Clone, Copy)]
pub struct Row<'r> {
    columns: Columns<'r>,
}

impl<'r> Row<'r> {
    pub(super) fn new(columns: Columns<'r>) -> Self {
        Row { columns }
    }

    /// One column, by its index from 0 or by its name. Of several with that name it is the first.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`] when there is no such column or it is not a `T`.
    pub fn get<T: Deserialize<'r>>(&self, column: impl ColumnIndex) -> Result<T> {
        let index = column.find(self).ok_or_else(|| {
            let message = format!("{} has no column {column:?}", self.columns.describe());
            Error::new(ErrorKind::Conversion, message)
        })?;
        self.columns.read_column(index)
    }

    /// The whole row, by the rules of [`Sql`](crate::Sql).
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`] when it is not a `T`.
    pub fn read<T: Deserialize<'r>>(&self) -> Result<T> {
        self.columns.read_row()
    }

    /// The names of the columns.
    pub fn column_names(&self) -> impl ExactSizeIterator<Item = &'r str> {
        let columns = self.columns;
        (0..columns.count()).map(move |index| columns.name(index))
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.columns.values()).finish()
    }
}

/// What names a column: its index from 0 (`usize`) or its name (`&str`).
pub trait ColumnIndex: sealed::Find + fmt::Debug + Copy {}

impl ColumnIndex for usize {}
impl ColumnIndex for &str {}

mod sealed {
    use super::Row;

    pub trait Find {
        fn find(self, row: &Row<'_>) -> Option<usize>;
    }

    impl Find for usize {
        fn find(self, row: &Row<'_>) -> Option<usize> {
            (self < row.columns.count()).then_some(self)
        }
    }

    impl Find for &str {
        fn find(self, row: &Row<'_>) -> Option<usize> {
            row.column_names().position(|name| name == self)
        }
    }
}
