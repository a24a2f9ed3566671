//! Runs one statement to its end.

use rusqlite::{Rows, Statement};
use serde::de::DeserializeOwned;

use super::script;
use crate::Result;
use crate::storage::params::{Binder, Params};
use crate::storage::row::Columns;
use crate::storage::{Sql, Store};

impl Sql<'_> {
    /// Gives a statement its parameters, and its rows to `read`.
    pub(super) fn step<R>(
        self,
        statement: &mut Statement<'_>,
        text: &str,
        params: impl Params,
        read: impl FnOnce(&mut Reader<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let writes = !statement.readonly() || script::is_optimize(text);
        if writes {
            self.store.check_may_write()?;
        }
        params.bind(&mut Binder::new(statement))?;
        let written = writes.then(|| Written::begin(self.store, text));
        let mut rows =
            Reader { store: self.store, rows: statement.raw_query(), number: 0, writes, end: None };
        let result = read(&mut rows);
        let finished = rows.finish();
        let failed = rows.end == Some(End::Failed);
        drop(rows);
        if let Some(written) = written {
            written.end(failed);
        }
        finished.and(result)
    }
}

/// Whether a statement that may write has written.
///
/// The turn is marked before the statement runs, and the mark taken back afterwards: code of the user's
/// that reads the rows may panic, and be caught by the user.
struct Written<'a> {
    store: &'a Store,
    text: &'a str,
    /// What was before, unless there is something to commit already.
    before: Option<Before>,
}

struct Before {
    /// Whether the turn had written, and undone it.
    wrote: bool,
    total_changes: u64,
}

impl<'a> Written<'a> {
    fn begin(store: &'a Store, text: &'a str) -> Self {
        let before = (!store.turn.unsaved.get())
            .then(|| Before { wrote: store.wrote(), total_changes: store.total_changes() });
        store.mark_written();
        Written { store, text, before }
    }

    /// `INSERT OR FAIL` fails and keeps what it inserted before; other statements than `UPDATE` and `DELETE` may
    /// write what is not counted.
    fn end(self, failed: bool) {
        let Some(before) = self.before else { return };
        let unchanged = before.total_changes == self.store.total_changes();
        if unchanged && (failed || script::changes_only_rows(self.text)) {
            self.store.turn.wrote.set(before.wrote);
            self.store.turn.unsaved.set(false);
        }
    }
}

/// How a statement ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Failed,
}

/// The rows of a statement that runs.
pub(super) struct Reader<'a, 's> {
    store: &'a Store,
    rows: Rows<'s>,
    number: usize,
    writes: bool,
    end: Option<End>,
}

impl<'s> Reader<'_, 's> {
    pub(super) fn next(&mut self) -> Result<Option<&rusqlite::Row<'s>>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.rows.next() {
            Ok(None) => {
                self.end = Some(End::Done);
                Ok(None)
            }
            Ok(row) => {
                self.number += 1;
                Ok(row)
            }
            Err(error) => {
                self.end = Some(End::Failed);
                Err(self.store.failed(error))
            }
        }
    }

    pub(super) fn next_columns(&mut self) -> Result<Option<Columns<'_>>> {
        let number = self.number + 1;
        Ok(self.next()?.map(|row| Columns::live(row, number)))
    }

    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.next_columns()?.map(Columns::read_row).transpose()
    }

    /// A write that is left half-way keeps its rows but skips its foreign key check.
    fn finish(&mut self) -> Result<()> {
        if self.writes { skip(self).map(drop) } else { Ok(()) }
    }
}

/// Reads to the end and says how many rows there were.
pub(super) fn skip(rows: &mut Reader<'_, '_>) -> Result<usize> {
    while rows.next()?.is_some() {}
    Ok(rows.number)
}

impl Drop for Reader<'_, '_> {
    fn drop(&mut self) {
        // Only after a panic is there anything left to do, and nobody to tell.
        drop(self.finish());
    }
}
