//! One value of a row, as `serde` reads it.

use rusqlite::types::ValueRef;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, Unexpected, VariantAccess,
    Visitor,
};

use super::RowError;
use crate::storage::value;

/// The value of one column.
#[derive(Clone, Copy)]
pub(super) struct Cell<'r>(pub(super) ValueRef<'r>);

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
