//! Reads a row of a query as a Rust value.
//!
//! The guarantee: a value is converted only where nothing is lost or guessed. What does not fit is an
//! error that names the row, the column, its SQL type and the Rust type.

mod cell;

use std::any::type_name;
use std::fmt;

use rusqlite::types::ValueRef;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use self::cell::Cell;
use super::buffer::Buffer;
use super::value::Value;
use crate::{Error, ErrorKind, Result};

/// Where the columns of a row are.
#[derive(Clone, Copy)]
pub(super) enum Source<'r> {
    /// In the statement that runs.
    Live(&'r rusqlite::Row<'r>),
    /// In a buffer, at this row counted from 0.
    Buffered(&'r Buffer, usize),
}

/// All columns of a row.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r> {
    pub(super) source: Source<'r>,
    /// Counted from 1, for errors.
    pub(super) number: usize,
    /// Whether it is the first row that is read: all rows of a query have the same columns.
    pub(super) first: bool,
}

impl<'r> Columns<'r> {
    /// A row of a statement that runs.
    pub(super) fn live(row: &'r rusqlite::Row<'r>, number: usize) -> Self {
        Columns { source: Source::Live(row), number, first: number == 1 }
    }

    /// Reads the whole row.
    pub(super) fn read_row<T: Deserialize<'r>>(self) -> Result<T> {
        T::deserialize(self).map_err(|error| {
            let message = if error.placed {
                error.message
            } else {
                let wanted = type_name::<T>();
                format!("{} cannot be read as `{wanted}`: {}", self.describe(), error.message)
            };
            Error::new(ErrorKind::Conversion, message)
        })
    }

    /// Reads one column.
    pub(super) fn read_column<T: Deserialize<'r>>(self, index: usize) -> Result<T> {
        self.with_value(index, |cell| T::deserialize(cell))
            .map_err(|error| Error::new(ErrorKind::Conversion, error.message))
    }

    /// The columns as they are.
    pub(super) fn values(self) -> Vec<Value> {
        (0..self.count()).map(|index| Value::from(self.value(index))).collect()
    }
}

/// An error on its way up, which gets its place once.
#[derive(Debug)]
pub(super) struct RowError {
    message: String,
    placed: bool,
}

impl RowError {
    fn new(message: impl fmt::Display) -> Self {
        RowError { message: message.to_string(), placed: false }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RowError {}

impl de::Error for RowError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        RowError::new(message)
    }
}

impl<'r> Columns<'r> {
    pub(super) fn count(&self) -> usize {
        match self.source {
            Source::Live(row) => row.as_ref().column_count(),
            Source::Buffered(buffer, _) => buffer.column_names().len(),
        }
    }

    pub(super) fn name(&self, index: usize) -> &'r str {
        match self.source {
            Source::Live(row) => row.as_ref().column_name(index).unwrap_or("?"),
            Source::Buffered(buffer, _) => {
                buffer.column_names().get(index).map_or("?", String::as_str)
            }
        }
    }

    /// A column that is there.
    fn value(&self, index: usize) -> ValueRef<'r> {
        match self.source {
            Source::Live(row) => row.get_ref(index).unwrap_or(ValueRef::Null),
            Source::Buffered(buffer, row) => buffer.value(row, index),
        }
    }

    pub(super) fn describe(&self) -> String {
        let names = (0..self.count()).map(|index| format!("`{}`", self.name(index)));
        format!("row {} (with {})", self.number, names.collect::<Vec<_>>().join(", "))
    }

    /// Reads one column; an error from inside gets its place here.
    fn read<S: DeserializeSeed<'r>>(&self, index: usize, seed: S) -> Result<S::Value, RowError> {
        self.with_value(index, |value| seed.deserialize(value))
    }

    fn with_value<R>(
        &self,
        index: usize,
        read: impl FnOnce(Cell<'r>) -> Result<R, RowError>,
    ) -> Result<R, RowError> {
        let value = self.value(index);
        read(Cell(value)).map_err(|error| {
            if error.placed {
                return error;
            }
            let (name, number) = (self.name(index), self.number);
            let (stored, wanted) = (value.data_type(), type_name::<R>());
            let reason = match value {
                ValueRef::Null => format!("NULL needs `Option<{wanted}>`"),
                _ => error.message,
            };
            let stored = stored.to_string().to_uppercase();
            let message = format!(
                "column `{name}` of row {number} is {stored} and cannot be read as `{wanted}`: {reason}"
            );
            RowError { message, placed: true }
        })
    }

    /// The only column, for a type that is one value.
    fn only<R>(&self, read: impl FnOnce(Cell<'r>) -> Result<R, RowError>) -> Result<R, RowError> {
        match self.count() {
            1 => self.with_value(0, read),
            count => Err(RowError::new(format_args!("one column is needed, not {count}"))),
        }
    }

    fn is_blob(&self) -> bool {
        self.count() == 1 && matches!(self.value(0), ValueRef::Blob(_))
    }

    fn by_name<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.first {
            self.check_names()?;
        }
        visitor.visit_map(Fields { columns: self, next: 0 })
    }

    fn check_names(&self) -> Result<(), RowError> {
        let count = self.count();
        let twice =
            (1..count).find(|&one| (0..one).any(|other| self.name(one) == self.name(other)));
        match twice {
            None => Ok(()),
            Some(index) => Err(RowError::new(format_args!(
                "two columns are called `{}`: give one another name with AS",
                self.name(index)
            ))),
        }
    }

    fn by_position<V: Visitor<'r>>(self, wanted: usize, visitor: V) -> Result<V::Value, RowError> {
        let count = self.count();
        if wanted != count {
            return Err(RowError::new(format_args!("{wanted} columns are needed, not {count}")));
        }
        visitor.visit_seq(Fields { columns: self, next: 0 })
    }
}

/// The columns, one after the other.
struct Fields<'r> {
    columns: Columns<'r>,
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, RowError> {
        if self.next == self.columns.count() {
            return Ok(None);
        }
        let name: StrDeserializer<'_, RowError> = self.columns.name(self.next).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RowError> {
        self.next += 1;
        self.columns.read(self.next - 1, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.columns.count() - self.next)
    }
}

impl<'de> SeqAccess<'de> for Fields<'de> {
    type Error = RowError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, RowError> {
        if self.next == self.columns.count() {
            return Ok(None);
        }
        self.next += 1;
        self.columns.read(self.next - 1, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.columns.count() - self.next)
    }
}

macro_rules! only_column {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            self.only(|value| value.$method(visitor))
        }
    )+};
}

impl<'de> Deserializer<'de> for Columns<'de> {
    type Error = RowError;

    only_column! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.by_name(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.by_name(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.by_name(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.is_blob() {
            return self.only(|value| value.deserialize_seq(visitor));
        }
        self.by_position(self.count(), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        if self.is_blob() && length != 1 {
            return self.only(|value| value.deserialize_tuple(length, visitor));
        }
        self.by_position(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.count() {
            1 if self.value(0) == ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.only(|value| value.deserialize_enum(name, variants, visitor))
    }

    /// `()` stands for a row whose content does not matter.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests;
