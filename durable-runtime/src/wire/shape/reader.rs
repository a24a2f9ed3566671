//! The deserialiser that a traced type reads from.

use std::fmt;

use serde::Deserializer;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::graph::{Body, NodeId, Scalar};
use super::samples::{self, BOOLEANS, FRACTIONS, LETTERS, NUMBERS, TEXTS};
use super::trace::{Place, Tracer};

/// Why a value could not be read.
#[derive(Debug)]
pub(super) struct Stop(pub(super) String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Stop(reason.to_string())
    }
}

/// Reads one value into a place.
pub(super) struct Reader<'t> {
    pub(super) tracer: &'t mut Tracer,
    pub(super) place: Place,
}

impl Reader<'_> {
    fn sample<S: Copy>(self, scalar: Scalar, samples: &[S]) -> Result<S, Stop> {
        let sample = self.tracer.scalar(self.place, scalar)?;
        Ok(samples[sample % samples.len()])
    }

    /// Parts that stand one after the other: all are to be read, or what follows would be misread.
    fn parts<'de, V: Visitor<'de>>(
        self,
        body: Body,
        name: &'static str,
        members: Vec<&'static str>,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let count = members.len();
        let node = self.tracer.node::<V>(self.place, body, name, members)?;
        self.tracer.inside(|tracer| read_parts(tracer, node, count, visitor))
    }

    fn self_describing<T>(self) -> Result<T, Stop> {
        Err(self.tracer.give_up("it needs a self-describing format"))
    }
}

fn read_parts<'de, V: Visitor<'de>>(
    tracer: &mut Tracer,
    node: NodeId,
    count: usize,
    visitor: V,
) -> Result<V::Value, Stop> {
    let mut parts = Parts { tracer, node, next: 0, count };
    let value = visitor.visit_seq(&mut parts)?;
    if parts.next == count {
        Ok(value)
    } else {
        // Among them are structs with `#[serde(alias)]`: the other names stand in the list of fields.
        Err(tracer.give_up("it has more names than parts, or does not read them all"))
    }
}

macro_rules! scalars {
    ($($deserialize:ident $visit:ident $scalar:ident $samples:ident),*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.$visit(self.sample(Scalar::$scalar, &$samples)?.into())
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Stop;

    scalars! {
        deserialize_bool visit_bool Bool BOOLEANS,
        deserialize_i16 visit_i16 I16 NUMBERS,
        deserialize_i32 visit_i32 I32 NUMBERS,
        deserialize_i64 visit_i64 I64 NUMBERS,
        deserialize_i128 visit_i128 I128 NUMBERS,
        deserialize_u8 visit_u8 U8 NUMBERS,
        deserialize_u16 visit_u16 U16 NUMBERS,
        deserialize_u32 visit_u32 U32 NUMBERS,
        deserialize_u64 visit_u64 U64 NUMBERS,
        deserialize_u128 visit_u128 U128 NUMBERS,
        deserialize_f32 visit_f32 F32 FRACTIONS,
        deserialize_f64 visit_f64 F64 FRACTIONS,
        deserialize_char visit_char Char LETTERS
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_i8(self.sample(Scalar::I8, &NUMBERS)?.cast_signed())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_str(self.sample(Scalar::Str, &TEXTS)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let sample = self.tracer.scalar(self.place, Scalar::Bytes)?;
        visitor.visit_bytes(samples::bytes(sample))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.tracer.scalar(self.place, Scalar::Unit)?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let node = self.tracer.node::<V>(self.place, Body::Option, "", vec![""])?;
        self.tracer.enter(node, |tracer, is_empty| {
            if is_empty {
                visitor.visit_none()
            } else {
                visitor.visit_some(Reader { tracer, place: Place { node, part: 0 } })
            }
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let node = self.tracer.node::<V>(self.place, Body::Seq, "", vec![""])?;
        self.tracer.enter(node, |tracer, is_empty| {
            visitor.visit_seq(&mut Parts { tracer, node, next: 0, count: usize::from(!is_empty) })
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let node = self.tracer.node::<V>(self.place, Body::Map, "", vec!["", ""])?;
        self.tracer.enter(node, |tracer, is_empty| {
            visitor.visit_map(Entries { tracer, node, count: usize::from(!is_empty) })
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.tracer.node::<V>(self.place, Body::Unit, name, Vec::new())?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let node = self.tracer.node::<V>(self.place, Body::Newtype, name, vec![""])?;
        self.tracer.inside(|tracer| {
            visitor.visit_newtype_struct(Reader { tracer, place: Place { node, part: 0 } })
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        let members = self.tracer.unnamed(len)?;
        self.parts(Body::Tuple, "", members, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let members = self.tracer.unnamed(len)?;
        self.parts(Body::Tuple, name, members, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.parts(Body::Struct, name, fields.to_vec(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let node = self.tracer.node::<V>(self.place, Body::Enum, name, variants.to_vec())?;
        self.tracer.enter_variant(node, |tracer, index, variant| {
            visitor.visit_enum(Variant { tracer, index, node: variant })
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.self_describing()
    }

    /// The name of a field, in a map: a struct that is flattened, or holds one that is.
    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.self_describing()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.self_describing()
    }

    /// As positional messages are not.
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Parts that stand one after the other, or the one element of a sequence.
struct Parts<'t> {
    tracer: &'t mut Tracer,
    node: NodeId,
    next: usize,
    count: usize,
}

impl<'de> SeqAccess<'de> for &mut Parts<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        if self.next == self.count {
            return Ok(None);
        }
        let place = Place { node: self.node, part: self.next };
        self.next += 1;
        seed.deserialize(Reader { tracer: self.tracer, place }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count - self.next)
    }
}

/// The entries of a map: one or none.
struct Entries<'t> {
    tracer: &'t mut Tracer,
    node: NodeId,
    count: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        let place = Place { node: self.node, part: 0 };
        seed.deserialize(Reader { tracer: self.tracer, place }).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        let place = Place { node: self.node, part: 1 };
        seed.deserialize(Reader { tracer: self.tracer, place })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count)
    }
}

/// One variant of an enum.
struct Variant<'t> {
    tracer: &'t mut Tracer,
    index: usize,
    node: NodeId,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let index = u32::try_from(self.index).unwrap_or(u32::MAX);
        let index: U32Deserializer<Stop> = index.into_deserializer();
        match seed.deserialize(index) {
            Ok(value) => Ok((value, self)),
            // The other names of `#[serde(alias)]` stand in the list of variants.
            Err(_) => Err(self.tracer.give_up("it has more names than variants")),
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.tracer.variant(self.node, Body::Unit, &[])
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Stop> {
        self.tracer.variant(self.node, Body::Newtype, &[""])?;
        let place = Place { node: self.node, part: 0 };
        seed.deserialize(Reader { tracer: self.tracer, place })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        let members = self.tracer.unnamed(len)?;
        self.tracer.variant(self.node, Body::Tuple, &members)?;
        read_parts(self.tracer, self.node, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.tracer.variant(self.node, Body::Struct, fields)?;
        read_parts(self.tracer, self.node, fields.len(), visitor)
    }
}
