//! A few rows of a statement with the names of their columns, for people to look at.

use super::Sql;
use super::step::Reader;
use crate::storage::{Params, Value};
use crate::{Error, ErrorKind, Result};

/// What a statement gave.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// Whether there are more rows than were wanted.
    pub(crate) has_more: bool,
    /// Rows that were inserted, changed or deleted, those of triggers and foreign keys included.
    pub(crate) changed: u64,
}

impl Sql<'_> {
    /// Runs one statement and keeps its first rows. A statement that writes runs to its end.
    pub(crate) fn table(
        self,
        query: &str,
        params: impl Params,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Table> {
        super::check_length(query, self.store.limits().sql_bytes, "a statement")?;
        let before = self.store.enter()?.total_changes();
        let mut table = self.prepared(query, |statement| {
            if statement.expanded_sql().is_none() && statement.column_count() == 0 {
                return Err(super::script::empty());
            }
            let mut table =
                self.step(statement, query, params, |rows| read(rows, rows_max, bytes_max))?;
            // Not before it ran: SQLite may have prepared it anew.
            table.columns = statement.column_names().map(str::to_owned).collect();
            Ok(table)
        })?;
        table.changed = self.store.enter()?.total_changes() - before;
        Ok(table)
    }
}

fn read(rows: &mut Reader<'_, '_>, rows_max: usize, bytes_max: usize) -> Result<Table> {
    let (mut table, mut bytes) = (Table::default(), 0);
    while let Some(row) = rows.next()? {
        if table.rows.len() >= rows_max {
            table.has_more = true;
            break;
        }
        let width = row.as_ref().column_count();
        let values = (0..width).map(|index| row.get_ref(index).map_or(Value::Null, Value::from));
        let values: Vec<_> = values.collect();
        bytes += values.iter().map(size).sum::<usize>();
        if bytes > bytes_max && !table.rows.is_empty() {
            table.has_more = true;
            break;
        }
        if bytes > bytes_max {
            let text = format!(
                "a row has more than the {bytes_max} bytes that are shown: select less of it"
            );
            return Err(Error::new(ErrorKind::Limit, text));
        }
        table.rows.push(values);
    }
    Ok(table)
}

fn size(value: &Value) -> usize {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
    };
    length + size_of::<Value>()
}
