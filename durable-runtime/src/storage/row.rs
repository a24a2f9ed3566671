//! Reads a row of a query as a Rust value.
//!
//! The guarantee: a value is converted only where nothing is lost or guessed. What does not fit is an
//! error that names the row, the column, its SQL type and the Rust type.

use std::any::type_name;
use std::fmt;

use rusqlite::types::ValueRef;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::cursor::Buffer;
use super::value::{self, Value};
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

/// The value of one column.
#[derive(Clone, Copy)]
struct Cell<'r>(ValueRef<'r>);

impl<'r> Cell<'r> {
    fn mismatch<'de, V: Visitor<'de>>(&self, visitor: &V) -> RowError {
        let found = match self.0 {
            ValueRef::Null => Unexpected::Unit,
            ValueRef::Integer(value) => Unexpected::Signed(value),
            ValueRef::Real(value) => Unexpected::Float(value),
            ValueRef::Text(_) => Unexpected::Other("a string"),
            ValueRef::Blob(_) => Unexpected::Other("bytes"),
        };
        de::Error::invalid_type(found, visitor)
    }

    fn text<V: Visitor<'r>>(&self, visitor: &V) -> Result<&'r str, RowError> {
        match self.0 {
            ValueRef::Text(text) => std::str::from_utf8(text).map_err(RowError::new),
            _ => Err(self.mismatch(visitor)),
        }
    }

    fn blob<V: Visitor<'r>>(&self, visitor: &V) -> Result<&'r [u8], RowError> {
        match self.0 {
            ValueRef::Blob(blob) => Ok(blob),
            _ => Err(self.mismatch(visitor)),
        }
    }
}

macro_rules! as_text {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            let text = self.text(&visitor)?;
            visitor.visit_borrowed_str(text)
        }
    )+};
}

macro_rules! as_blob {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            let blob = self.blob(&visitor)?;
            visitor.visit_borrowed_bytes(blob)
        }
    )+};
}

impl<'de> Deserializer<'de> for Cell<'de> {
    type Error = RowError;

    as_text! { deserialize_char deserialize_str deserialize_string deserialize_identifier }
    as_blob! { deserialize_bytes deserialize_byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Integer(value) => visitor.visit_i64(value),
            ValueRef::Real(value) => visitor.visit_f64(value),
            ValueRef::Text(_) => self.deserialize_str(visitor),
            ValueRef::Blob(blob) => visitor.visit_borrowed_bytes(blob),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            ValueRef::Integer(0) => visitor.visit_bool(false),
            ValueRef::Integer(1) => visitor.visit_bool(true),
            ValueRef::Integer(value) => {
                Err(RowError::new(format_args!("{value} is neither 0 nor 1")))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        let mut bytes = SeqDeserializer::new(self.blob(&visitor)?.iter().copied());
        let value = visitor.visit_seq(&mut bytes)?;
        bytes.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        if name == value::NAME {
            return visitor.visit_enum(self);
        }
        let name: StrDeserializer<'_, RowError> = self.text(&visitor)?.into_deserializer();
        visitor.visit_enum(name)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 unit unit_struct tuple_struct map struct
    }
}

/// A [`Value`] of any kind: the variant is the kind of what is stored.
impl<'de> EnumAccess<'de> for Cell<'de> {
    type Error = RowError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), RowError> {
        let variant = value::variant(self.0).into_deserializer();
        seed.deserialize::<StrDeserializer<'_, RowError>>(variant).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for Cell<'de> {
    type Error = RowError;

    fn unit_variant(self) -> Result<(), RowError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, RowError> {
        match self.0 {
            // What is not UTF-8 can be looked at, too.
            ValueRef::Text(text) => {
                seed.deserialize(String::from_utf8_lossy(text).into_deserializer())
            }
            _ => seed.deserialize(self),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        Err(self.mismatch(&visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        Err(self.mismatch(&visitor))
    }
}

#[cfg(test)]
mod tests;
