//! SQL on one object.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Admin, Cell, LOOK_TIME, Operation};
use crate::storage::Store;
use crate::storage::visit::Table;
use crate::{Error, ErrorKind, Result};

/// Rows of one answer, at most.
pub const ROWS_MAX: usize = 10_000;

/// Bytes of one answer's values, at most.
const BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Runs one SQL statement on an object, as a turn of it, under the guards and limits of its own SQL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunSql {
    /// The object.
    pub object: String,
    /// The statement.
    pub query: String,
    /// Whether it may write. If so, its instance in memory is made anew afterwards.
    #[serde(default)]
    pub write: bool,
    /// How many rows are wanted: 1 to 10,000.
    pub rows: usize,
    /// How long it may run, in milliseconds; not longer than a turn of the program may. Default: 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
}

/// What a statement gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, a value for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Whether there are more rows than were wanted, or than fit into an answer.
    pub has_more: bool,
    /// Rows that were inserted, changed or deleted.
    pub changed: u64,
}

impl Operation for RunSql {
    const NAME: &'static str = "sql";
    type Reply = Rows;

    fn changes(&self) -> bool {
        self.write
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Rows> {
        let found = admin.find(&self.object).await?;
        let RunSql { query, write, rows, time_ms, .. } = self;
        let time = time_ms.map_or(LOOK_TIME, Duration::from_millis);
        let rows = rows.clamp(1, ROWS_MAX);
        let run = move |store: &Store| store.sql().table(&query, [], rows, BYTES_MAX);
        let table = if write {
            admin.change(&found, time, run).await
        } else {
            admin.look_for(&found, time, run).await.map_err(|error| match error.kind() {
                ErrorKind::ReadOnly => {
                    let text =
                        "the statement writes: that is to be asked for, with `write` (`--write`)";
                    Error::new(ErrorKind::ReadOnly, text)
                }
                _ => error,
            })
        };
        let Table { columns, rows, has_more, changed } = table?;
        let rows = rows.into_iter().map(|row| row.into_iter().map(Cell::from).collect());
        Ok(Rows { columns, rows: rows.collect(), has_more, changed })
    }
}
