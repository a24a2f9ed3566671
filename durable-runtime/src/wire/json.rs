//! JSON in place of a message: named arguments in, a bare value out.
//!
//! For callers who know names and no types, such as a page in a browser. A value is read by
//! serde's rules for JSON and straight into its type, never by way of another format: types that
//! ask whether their format is for people, keys that are numbers and integers of 128 bits are then
//! what `serde_json` makes of them everywhere else.
//!
//! The guarantee: an error names the argument, and what a reply says of an [`Error`](crate::Error)
//! is fit for strangers.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserializer, Serialize, forward_to_deserialize_any};

use super::WireError;
use super::shape::short_name;

/// One argument of a method, and what the caller gave for it.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What was given.
    pub given: Given,
}

/// What a caller gave for an argument.
#[derive(Clone, Debug)]
pub enum Given {
    /// A value, as JSON.
    Json(Box<str>),
    /// Text that may be JSON: if it is no JSON of the argument's type, it is itself the value.
    Text(Box<str>),
    /// Nothing. An `Option` is `None` then, as for a field that is left out.
    Nothing,
}

pub(super) fn read<T: DeserializeOwned>(argument: &Argument) -> Result<T, WireError> {
    let refused = |reason: serde_json::Error| WireError::Argument {
        name: argument.name,
        expected: short_name(std::any::type_name::<T>()),
        reason: reason.to_string(),
    };
    match &argument.given {
        Given::Json(text) => serde_json::from_str(text).map_err(refused),
        Given::Text(text) => serde_json::from_str(text).or_else(|as_json| {
            // By way of a value, which is itself an `Option` or a variant if the type is one.
            let as_text = T::deserialize(serde_json::Value::from(&**text));
            // What is no JSON at all was meant as text.
            as_text.map_err(|as_text| refused(if as_json.is_data() { as_json } else { as_text }))
        }),
        Given::Nothing => T::deserialize(Missing(PhantomData)).map_err(|_: serde_json::Error| {
            let expected = short_name(std::any::type_name::<T>());
            WireError::Missing { name: argument.name, expected }
        }),
    }
}

pub(super) fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(out, value)
}

/// What stands for a field that is left out: `None`, and for other types an error.
struct Missing<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::custom("there is no value"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests;
