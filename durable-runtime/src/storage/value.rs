//! A value of SQLite's whose type is known only when it is read.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Result as SqliteResult, ToSql};
use serde::{Deserialize, Serialize};

/// The name by which the row deserialiser knows the type.
pub(super) const NAME: &str = "$durable::Value";

/// A value as SQLite stores it, for rows and parameters whose types are not known beforehand.
///
/// It is read like any other type: as the only column of a row, as a field, and in
/// [`Cursor::raw`](crate::Cursor::raw). It can be a parameter, and be sent and stored.
///
/// ```
/// use durable_runtime::{Result, Sql, Value};
///
/// fn copy(sql: Sql<'_>, from: i64, to: i64) -> Result<usize> {
///     let value: Value = sql.query_one("SELECT value FROM cells WHERE id = ?", [from])?;
///     sql.execute("UPDATE cells SET value = ? WHERE id = ?", (value, to))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "$durable::Value")]
pub enum Value {
    /// NULL.
    #[default]
    Null,
    /// An INTEGER.
    Integer(i64),
    /// A REAL. Never NaN, which SQLite stores as NULL.
    Real(f64),
    /// A TEXT. Bytes that are not UTF-8 are read as U+FFFD; `CAST(column AS BLOB)` shows them.
    Text(String),
    /// A BLOB.
    Blob(Vec<u8>),
}

/// The name of the variant that holds such a value.
pub(super) fn variant(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "Null",
        ValueRef::Integer(_) => "Integer",
        ValueRef::Real(_) => "Real",
        ValueRef::Text(_) => "Text",
        ValueRef::Blob(_) => "Blob",
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> SqliteResult<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

macro_rules! from {
    ($($variant:ident: $($type:ty)+;)+) => {$($(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        }
    )+)+};
}

from! {
    Integer: bool i8 i16 i32 i64 u8 u16 u32;
    Real: f32 f64;
    Text: String &str;
    Blob: Vec<u8> &[u8];
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, T::into)
    }
}
