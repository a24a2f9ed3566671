//! Writes a value in positional form only as far as it is what its shape says.
//!
//! A positional format has no place for a field that is left out: `#[serde(skip_serializing_if)]`
//! writes fewer bytes, and a reader takes the next field for it. So whatever a value writes passes through here,
//! and is compared with the form that its type was seen to *read*.
//!
//! The guarantee: what is written without an error has the same fields, variants and elements, in the same
//! order and of the same kinds, as the shape; the first that has not is an error.

use std::cell::RefCell;
use std::fmt::Display;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::shape::{Body, Format, Graph, Node, Scalar};

/// A value to be checked while it is written, whatever it is written to.
pub(super) struct Checked<'a, T: ?Sized> {
    pub(super) value: &'a T,
    pub(super) check: Check<'a>,
}

/// What a value is checked against.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
    pub(super) graph: &'a Graph,
    pub(super) format: Option<Format>,
    /// The first thing that was otherwise. Not the error alone: a `Serialize` may swallow that.
    pub(super) deviation: &'a RefCell<Option<String>>,
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Strict { inner, check: self.check })
    }
}

impl<'a> Check<'a> {
    fn deviates<E: Error>(&self, what: impl Display) -> E {
        let error = E::custom(&what);
        self.deviation.borrow_mut().get_or_insert_with(|| what.to_string());
        error
    }

    fn scalar<E: Error>(&self, scalar: Scalar) -> Result<(), E> {
        if self.format == Some(Format::Scalar(scalar)) {
            return Ok(());
        }
        Err(self.deviates(format_args!("it writes `{}` and does not read that", scalar.text())))
    }

    fn node<E: Error>(&self, body: Body, what: &str) -> Result<&'a Node, E> {
        if let Some(Format::Node(node)) = self.format {
            let node = self.graph.node(node);
            if node.body == body {
                return Ok(node);
            }
        }
        Err(self.deviates(format_args!("it writes {what} and does not read that")))
    }

    fn parts<E: Error>(&self, body: Body, what: &str, count: usize) -> Result<&'a Node, E> {
        let node = self.node(body, what)?;
        self.count(node, count)?;
        Ok(node)
    }

    fn count<E: Error>(&self, node: &Node, count: usize) -> Result<(), E> {
        let expected = node.parts.len();
        if count == expected {
            return Ok(());
        }
        let name = node.name;
        Err(self.deviates(format_args!("`{name}` reads {expected} parts and writes {count}")))
    }

    fn variant<E: Error>(
        &self,
        index: u32,
        name: &str,
        body: Body,
        count: usize,
    ) -> Result<&'a Node, E> {
        let node = self.node::<E>(Body::Enum, "an enum")?;
        let part = usize::try_from(index).ok().and_then(|index| node.parts.get(index));
        let variant = part.filter(|part| part.name == name).and_then(|part| part.format);
        if let Some(Format::Node(variant)) = variant {
            let variant = self.graph.node(variant);
            if variant.body == body {
                self.count(variant, count)?;
                return Ok(variant);
            }
        }
        let of = node.name;
        Err(self.deviates(format_args!("variant `{name}` of `{of}` is not read as it is written")))
    }

    fn of(self, node: &Node, part: usize) -> Self {
        Check { format: node.parts.get(part).and_then(|part| part.format), ..self }
    }
}

/// The serialiser that a value is shown, before the one that writes.
struct Strict<'a, S> {
    inner: S,
    check: Check<'a>,
}

macro_rules! scalars {
    ($($serialize:ident $type:ty, $scalar:ident);*) => {$(
        fn $serialize(self, value: $type) -> Result<S::Ok, S::Error> {
            self.check.scalar::<S::Error>(Scalar::$scalar)?;
            self.inner.$serialize(value)
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Strict<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Sequence<'a, S::SerializeSeq>;
    type SerializeTuple = Parts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'a, S::SerializeTupleVariant>;
    type SerializeMap = Sequence<'a, S::SerializeMap>;
    type SerializeStruct = Parts<'a, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'a, S::SerializeStructVariant>;

    scalars! {
        serialize_bool bool, Bool;
        serialize_i8 i8, I8;
        serialize_i16 i16, I16;
        serialize_i32 i32, I32;
        serialize_i64 i64, I64;
        serialize_i128 i128, I128;
        serialize_u8 u8, U8;
        serialize_u16 u16, U16;
        serialize_u32 u32, U32;
        serialize_u64 u64, U64;
        serialize_u128 u128, U128;
        serialize_f32 f32, F32;
        serialize_f64 f64, F64;
        serialize_char char, Char;
        serialize_str &str, Str;
        serialize_bytes &[u8], Bytes
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.check.scalar::<S::Error>(Scalar::Unit)?;
        self.inner.serialize_unit()
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.check.node::<S::Error>(Body::Option, "an `Option`")?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let node = self.check.node::<S::Error>(Body::Option, "an `Option`")?;
        self.inner.serialize_some(&Checked { value, check: self.check.of(node, 0) })
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.check.node::<S::Error>(Body::Unit, "a unit struct")?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let node = self.check.node::<S::Error>(Body::Newtype, "a newtype")?;
        self.inner.serialize_newtype_struct(name, &Checked { value, check: self.check.of(node, 0) })
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.check.variant::<S::Error>(index, variant, Body::Unit, 0)?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let node = self.check.variant::<S::Error>(index, variant, Body::Newtype, 1)?;
        let value = Checked { value, check: self.check.of(node, 0) };
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let node = self.check.node::<S::Error>(Body::Seq, "a sequence")?;
        Sequence::new(self.check, node, len, || self.inner.serialize_seq(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let node = self.check.node::<S::Error>(Body::Map, "a map")?;
        Sequence::new(self.check, node, len, || self.inner.serialize_map(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let node = self.check.parts::<S::Error>(Body::Tuple, "a tuple", len)?;
        Ok(Parts::new(self.check, node, self.inner.serialize_tuple(len)?))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let node = self.check.parts::<S::Error>(Body::Tuple, "a tuple", len)?;
        Ok(Parts::new(self.check, node, self.inner.serialize_tuple_struct(name, len)?))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let node = self.check.variant::<S::Error>(index, variant, Body::Tuple, len)?;
        let inner = self.inner.serialize_tuple_variant(name, index, variant, len)?;
        Ok(Parts::new(self.check, node, inner))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let node = self.check.parts::<S::Error>(Body::Struct, "a struct", len)?;
        Ok(Parts::new(self.check, node, self.inner.serialize_struct(name, len)?))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let node = self.check.variant::<S::Error>(index, variant, Body::Struct, len)?;
        let inner = self.inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(Parts::new(self.check, node, inner))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.check.scalar::<S::Error>(Scalar::Str)?;
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A sequence or a map: it says how many there will be, and keeps to it.
struct Sequence<'a, C> {
    inner: C,
    check: Check<'a>,
    node: &'a Node,
    left: usize,
}

impl<'a, C> Sequence<'a, C> {
    fn new<E: Error>(
        check: Check<'a>,
        node: &'a Node,
        len: Option<usize>,
        inner: impl FnOnce() -> Result<C, E>,
    ) -> Result<Self, E> {
        let Some(left) = len else {
            return Err(check.deviates("it does not say how many elements it writes"));
        };
        Ok(Sequence { inner: inner()?, check, node, left })
    }

    /// The next value, which is the element of a sequence, or a key or value of a map.
    fn part<'v, T: ?Sized>(&self, part: usize, value: &'v T) -> Checked<'v, T>
    where
        'a: 'v,
    {
        Checked { value, check: self.check.of(self.node, part) }
    }

    fn count<E: Error>(&mut self) -> Result<(), E> {
        let left = self.left.checked_sub(1);
        self.left =
            left.ok_or_else(|| self.check.deviates("it writes more elements than it says"))?;
        Ok(())
    }

    fn end<E: Error>(self) -> Result<C, E> {
        if self.left > 0 {
            return Err(self.check.deviates("it writes fewer elements than it says"));
        }
        Ok(self.inner)
    }
}

impl<C: SerializeSeq> SerializeSeq for Sequence<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.count::<C::Error>()?;
        let value = self.part(0, value);
        self.inner.serialize_element(&value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.end::<C::Error>()?.end()
    }
}

impl<C: SerializeMap> SerializeMap for Sequence<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.count::<C::Error>()?;
        let key = self.part(0, key);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let value = self.part(1, value);
        self.inner.serialize_value(&value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.end::<C::Error>()?.end()
    }
}

/// The parts of a tuple, a struct or a variant.
struct Parts<'a, C> {
    inner: C,
    check: Check<'a>,
    node: &'a Node,
    next: usize,
}

impl<'a, C> Parts<'a, C> {
    fn new(check: Check<'a>, node: &'a Node, inner: C) -> Self {
        Parts { inner, check, node, next: 0 }
    }

    /// The next part, which has this name.
    fn part<'v, T: ?Sized, E: Error>(
        &mut self,
        name: &str,
        value: &'v T,
    ) -> Result<Checked<'v, T>, E>
    where
        'a: 'v,
    {
        match self.node.parts.get(self.next) {
            Some(part) if part.name == name => {
                self.next += 1;
                Ok(Checked { value, check: Check { format: part.format, ..self.check } })
            }
            _ => Err(self.unread(name)),
        }
    }

    fn unread<E: Error>(&self, name: &str) -> E {
        let of = self.node.name;
        self.check.deviates(format_args!("field `{name}` of `{of}` is not read in this place"))
    }

    fn end<E: Error>(self) -> Result<C, E> {
        self.check.count(self.node, self.next)?;
        Ok(self.inner)
    }
}

macro_rules! unnamed {
    ($($trait:ident $serialize:ident),*) => {$(
        impl<C: $trait> $trait for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let value = self.part::<T, C::Error>("", value)?;
                self.inner.$serialize(&value)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.end::<C::Error>()?.end()
            }
        }
    )*};
}

unnamed! {
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
}

macro_rules! named {
    ($($trait:ident),*) => {$(
        impl<C: $trait> $trait for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let value = self.part::<T, C::Error>(name, value)?;
                self.inner.serialize_field(name, &value)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.end::<C::Error>()?.end()
            }
        }
    )*};
}

named!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests;
