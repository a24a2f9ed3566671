//! SQL: queries, and cursors that are kept.

use durable::{Cursor, Value as SqlValue};
use serde_json::{Map, Value as Json, json};

use super::{Failure, Outcome, Turn};
use crate::case::{CursorVerb, SqlMode};
use crate::differences::Rule;
use crate::object::Interpreter;
use crate::value::Value;

/// The names of the tables that the cases know as the runtime's own, and what they are called here.
const OWN_TABLES: [(&str, &str); 3] =
    [("_cf_KV", "_durable_kv"), ("_cf_METADATA", "_durable_alarm"), ("_cf_", "_durable_")];

/// Where a cursor is kept whose case gave it no name.
const UNREAD: &str = "(unread)";

impl<T: Interpreter> Turn<'_, T> {
    pub(super) fn sql(
        &mut self,
        query: &Json,
        params: &Json,
        mode: SqlMode,
        name: &str,
    ) -> Outcome {
        let query = Value::read(query);
        let query = translate(query.text().unwrap_or_default());
        let params = self.parameters(params)?;
        if self.drops_under_a_cursor(&query) && self.emulates(Rule::RowsAreReadAtOnce) {
            return Err(Failure::error("sql_locked", "a cursor is open"));
        }
        let mut cursor = self.ctx.sql().exec(&query, &params[..])?;
        let writes = cursor.rows_written() > 0 && !cursor.is_empty();
        let result = read(&mut cursor, mode);
        let unread = !cursor.is_empty();
        if mode == SqlMode::Keep || (writes && unread) {
            let name = if mode == SqlMode::Keep { name } else { UNREAD };
            if writes {
                self.emulates(Rule::RowsAreReadAtOnce);
                self.memory.writing.insert(name.to_owned());
            }
            self.memory.cursors.insert(name.to_owned(), cursor);
        }
        result
    }

    fn parameters(&mut self, params: &Json) -> Result<Vec<SqlValue>, Failure> {
        let params = Value::read(params);
        params.list().iter().map(|value| self.parameter(value)).collect()
    }

    /// Every number of JavaScript's is a REAL.
    fn parameter(&mut self, value: &Value) -> Result<SqlValue, Failure> {
        Ok(match value {
            Value::Null => SqlValue::Null,
            Value::Number(number) => SqlValue::Real(*number),
            Value::Text(text) => SqlValue::Text(text.clone()),
            Value::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
            Value::Bool(value) if self.emulates(Rule::BooleansAreIntegers) => {
                SqlValue::Text(value.to_string())
            }
            Value::Bool(value) => SqlValue::Integer((*value).into()),
            value if value.is_undefined() => SqlValue::Null,
            _ => return Err(Failure::error("type_error", "this is no value of SQL")),
        })
    }

    fn drops_under_a_cursor(&self, query: &str) -> bool {
        let query = query.trim_start().to_ascii_lowercase();
        (query.starts_with("drop") || query.starts_with("alter"))
            && self.memory.cursors.values().any(|cursor| !cursor.is_empty())
    }

    pub(super) fn cursor(&mut self, verb: CursorVerb, name: &str) -> Outcome {
        let cursor = self.memory.cursors.get_mut(name);
        let cursor = cursor.ok_or_else(|| Failure::error("error", "there is no such cursor"))?;
        match verb {
            CursorVerb::Next => Ok(match next(cursor) {
                Some(row) => json!({ "value": row }),
                None => json!({ "done": true }),
            }),
            CursorVerb::Array | CursorVerb::NotYet => read(cursor, SqlMode::Array),
            CursorVerb::Raw => read(cursor, SqlMode::Raw),
            CursorVerb::One => read(cursor, SqlMode::One),
            CursorVerb::Columns => read(cursor, SqlMode::Columns),
        }
    }

    pub(super) fn size(&mut self, exact: bool) -> Outcome {
        let size = self.ctx.sql().database_size()?;
        let mut shown = json!({ "number": true, "positive": size > 0, "mod_page": size % 4_096 });
        if exact {
            shown["exact"] = size.into();
        }
        Ok(shown)
    }

    pub(super) fn compare_size(&mut self) -> Outcome {
        let size = self.ctx.sql().database_size()?;
        let change = match self.memory.size.replace(size) {
            None => "first",
            Some(before) if before < size => "grew",
            Some(before) if before > size => "shrank",
            Some(_) => "same",
        };
        Ok(json!(change))
    }
}

fn translate(query: &str) -> String {
    OWN_TABLES.iter().fold(query.to_owned(), |query, (theirs, ours)| {
        query.replace(theirs, ours).replace(&theirs.to_uppercase(), &ours.to_uppercase())
    })
}

fn translate_back(name: &str) -> String {
    OWN_TABLES.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(ours, theirs))
}

fn read(cursor: &mut Cursor, mode: SqlMode) -> Outcome {
    let columns: Vec<String> =
        cursor.column_names().iter().map(|name| translate_back(name)).collect();
    Ok(match mode {
        SqlMode::Array => json!({ "rows": objects(cursor) }),
        SqlMode::One => {
            // Whether there is one row is for the library to say.
            cursor.clone().one::<()>()?;
            json!({ "row": next(cursor) })
        }
        SqlMode::Raw => {
            let rows: Vec<Json> =
                cursor.raw().map(|row| row.iter().map(record).collect()).collect();
            json!({ "columns": columns, "rows": rows })
        }
        SqlMode::Columns => json!({ "columns": columns }),
        SqlMode::None | SqlMode::Keep | SqlMode::NotYet => Json::Null,
        SqlMode::Count => json!({ "rows": cursor.raw().count() }),
        SqlMode::Len => {
            let lens: Vec<Json> =
                cursor.raw().map(|row| row.iter().map(length).collect()).collect();
            json!({ "lens": lens })
        }
        SqlMode::Counters => {
            let mut counters = counters(cursor);
            counters["rows"] = cursor.raw().count().into();
            counters
        }
        SqlMode::Counters0 => counters(cursor),
        SqlMode::Next => objects(cursor).into_iter().map(|row| json!({ "value": row })).collect(),
        SqlMode::NextThenArray => json!({ "first": next(cursor), "rest": objects(cursor) }),
        SqlMode::ArrayTwice => {
            json!({ "a": objects(cursor).len(), "b": objects(cursor).len() })
        }
    })
}

fn counters(cursor: &Cursor) -> Json {
    json!({ "rowsRead": cursor.rows_read(), "rowsWritten": cursor.rows_written() })
}

fn next(cursor: &mut Cursor) -> Option<Json> {
    let names = cursor.column_names().to_vec();
    cursor.raw().next().map(|row| object(&names, &row))
}

fn objects(cursor: &mut Cursor) -> Vec<Json> {
    let names = cursor.column_names().to_vec();
    cursor.raw().map(|row| object(&names, &row)).collect()
}

/// Of columns with the same name, an object holds the last.
fn object(names: &[String], row: &[SqlValue]) -> Json {
    let fields = names.iter().zip(row);
    let fields = fields.map(|(name, value)| (translate_back(name), record(value)));
    Json::Object(fields.collect::<Map<_, _>>())
}

fn record(value: &SqlValue) -> Json {
    plain(value).record()
}

/// Every number is read as an `f64`.
fn plain(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        #[expect(clippy::cast_precision_loss, reason = "as JavaScript reads it")]
        SqlValue::Integer(value) => Value::Number(*value as f64),
        SqlValue::Real(value) => Value::Number(*value),
        SqlValue::Text(text) => Value::Text(translate_back(text)),
        SqlValue::Blob(bytes) => Value::Blob(bytes.clone().into()),
    }
}

fn length(value: &SqlValue) -> Json {
    match value {
        SqlValue::Text(text) => json!(text.encode_utf16().count()),
        SqlValue::Blob(bytes) => json!(bytes.len()),
        other => record(other),
    }
}
