//! What is written as its shape says comes back, and nothing else is written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::wire::shape::{MethodShape, Tracer, Value};
use crate::wire::{Decoder, Encoder, WireError};

/// Kept for as long as the tests run, as a method's shape is.
fn shape<T: DeserializeOwned>() -> &'static MethodShape {
    let types: [fn(&mut Tracer); 2] = [Tracer::add::<T>, Tracer::add_never];
    Box::leak(Box::new(MethodShape::new(&[], &types)))
}

fn positional<T: Serialize>(shape: &'static MethodShape, value: &T) -> Result<Vec<u8>, WireError> {
    let mut out = Encoder::positional(shape).of(Value::Reply);
    out.put(value)?;
    Ok(out.finish())
}

fn read<T: DeserializeOwned>(message: &[u8]) -> T {
    let mut input = Decoder::new(message).unwrap();
    let value = input.take().unwrap();
    input.finish().unwrap();
    value
}

/// Why it is not written. In named form it always is, and comes back.
fn refused<T: Serialize + DeserializeOwned>(value: &T) -> String {
    let shape = shape::<T>();
    assert!(shape.fingerprint().is_some(), "it can be traced: {}", shape.describe());
    let message = Encoder::agreed(shape).of(Value::Reply).write(|out| out.put(value)).unwrap();
    assert_eq!(message.finish()[0], 2, "in named form");
    match positional(shape, value) {
        Err(WireError::NotPositional(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skipping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    count: u8,
}

#[allow(dead_code, reason = "it only moves the numbers of those behind it")]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Gap {
    A,
    #[serde(skip)]
    B,
    C(u8),
    D {
        #[serde(default, skip_serializing)]
        x: u8,
        y: u8,
    },
}

/// What is written as the second is read as the third: serde leaves the skipped one out of only one of the counts.
#[allow(dead_code, reason = "it only moves the numbers of those behind it")]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shifted {
    #[serde(skip)]
    A,
    B(u8),
    C(u8),
}

#[derive(Serialize, Deserialize)]
struct Renamed {
    #[serde(rename(serialize = "b"), alias = "b")]
    a: u8,
}

#[derive(Serialize, Deserialize)]
struct RenamedOneWay {
    #[serde(rename(serialize = "b"), default)]
    a: u8,
}

/// Writes something else than it reads.
macro_rules! two_faced {
    ($name:ident reads $type:ty, writes |$serializer:ident| $write:expr) => {
        struct $name;

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                $write
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <$type>::deserialize(from).map(|_| $name)
            }
        }
    };
}

#[derive(Deserialize)]
#[serde(rename = "Swapped")]
struct InOrder {
    _a: u8,
    _b: u8,
}

two_faced!(Wide reads u32, writes |serializer| serializer.serialize_u64(1));
two_faced!(Bare reads Option<u8>, writes |serializer| serializer.serialize_u8(1));
two_faced!(Text reads u8, writes |serializer| serializer.collect_str("1"));
two_faced!(Fewer reads Vec<u8>, writes |serializer| serializer.serialize_seq(Some(1))?.end());
two_faced!(Uncounted reads Vec<u8>, writes |serializer| serializer.serialize_seq(None)?.end());
two_faced!(More reads Vec<u8>, writes |serializer| {
    let mut elements = serializer.serialize_seq(Some(1))?;
    elements.serialize_element(&1_u8)?;
    elements.serialize_element(&2_u8)?;
    elements.end()
});
two_faced!(Swapped reads InOrder, writes |serializer| {
    let mut fields = serializer.serialize_struct("Swapped", 2)?;
    fields.serialize_field("_b", &1_u8)?;
    fields.serialize_field("_a", &2_u8)?;
    fields.end()
});
two_faced!(Cut reads InOrder, writes |serializer| {
    let mut fields = serializer.serialize_struct("Swapped", 2)?;
    fields.serialize_field("_a", &2_u8)?;
    fields.end()
});
// The error is swallowed, and the value looks as if it were whole.
two_faced!(Stubborn reads InOrder, writes |serializer| {
    let mut fields = serializer.serialize_struct("Swapped", 2)?;
    let _ = fields.serialize_field("_a", &300_u16);
    fields.serialize_field("_b", &2_u8)?;
    fields.end()
});

#[test]
fn what_deviates_is_refused_and_falls_back_to_names() {
    let whole = Skipping { note: Some("a".to_owned()), count: 1 };
    let bytes = positional(shape::<Skipping>(), &whole).unwrap();
    assert_eq!(bytes, [1, 1, 1, b'a', 1]);
    assert_eq!(read::<Skipping>(&bytes), whole);
    let part = Skipping { note: None, count: 1 };
    let fallen = Encoder::agreed(shape::<Skipping>()).of(Value::Reply);
    let fallen = fallen.write(|out| out.put(&part)).unwrap().finish();
    assert_eq!(read::<Skipping>(&fallen), part);

    for (refused, expected) in [
        (refused(&part), "`Skipping` reads 2 parts and writes 1"),
        (refused(&Shifted::B(1)), "variant `B` of `Shifted` is not read as it is written"),
        (refused(&Gap::C(1)), "variant `C` of `Gap` is not read as it is written"),
        (refused(&Gap::D { x: 0, y: 0 }), "variant `D` of `Gap` is not read as it is written"),
        (
            refused(&RenamedOneWay { a: 1 }),
            "field `b` of `RenamedOneWay` is not read in this place",
        ),
        (refused(&Wide), "it writes `u64` and does not read that"),
        (refused(&Bare), "it writes `u8` and does not read that"),
        (refused(&Text), "it writes `String` and does not read that"),
        (refused(&Uncounted), "it does not say how many elements it writes"),
        (refused(&Swapped), "field `_b` of `Swapped` is not read in this place"),
    ] {
        assert_eq!(refused, expected);
    }
    // Named form would misread these too.
    for (value, expected) in [
        (positional(shape::<Fewer>(), &Fewer), "it writes fewer elements than it says"),
        (positional(shape::<More>(), &More), "it writes more elements than it says"),
        (positional(shape::<Cut>(), &Cut), "`Swapped` reads 2 parts and writes 1"),
        (positional(shape::<Stubborn>(), &Stubborn), "it writes `u16` and does not read that"),
    ] {
        assert_eq!(value, Err(WireError::NotPositional(expected.to_owned())));
    }
    assert!(shape::<Renamed>().fingerprint().is_none(), "another name to read it by");
}

#[test]
fn a_value_without_a_place_in_the_shape_is_refused() {
    let mut out = Encoder::positional(shape::<u8>());
    assert!(matches!(out.put(&1_u8), Err(WireError::NotPositional(_))), "it has no argument");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item<T> {
    id: u64,
    tags: Vec<String>,
    value: T,
    place: Option<(i8, f32)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Number(i128),
    Pair(u16, char),
    Named { name: String, inside: Box<Option<Shape>> },
    Many(BTreeMap<String, Vec<Shape>>),
    Item(Box<Item<bool>>),
}

fn item<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Item<T>> {
    let place = proptest::option::of((any::<i8>(), -1e3_f32..1e3));
    let tags = proptest::collection::vec(".{0,5}", 0..4);
    (any::<u64>(), tags, value, place).prop_map(|(id, tags, value, place)| Item {
        id,
        tags,
        value,
        place,
    })
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        any::<i128>().prop_map(Shape::Number),
        any::<(u16, char)>().prop_map(|(number, letter)| Shape::Pair(number, letter)),
        item(any::<bool>()).prop_map(|item| Shape::Item(Box::new(item))),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let many = proptest::collection::btree_map(
            ".{0,3}",
            proptest::collection::vec(inner.clone(), 0..3),
            0..3,
        );
        prop_oneof![
            ("[a-z]{0,8}", proptest::option::of(inner))
                .prop_map(|(name, inside)| Shape::Named { name, inside: Box::new(inside) }),
            many.prop_map(Shape::Many),
        ]
    })
}

/// Some of its fields are left out, each by another rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Patchy {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<u8>,
    #[serde(skip)]
    cache: u8,
    gap: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Box<Patchy>>,
}

proptest! {
    #[test]
    fn what_is_written_comes_back(shapes in proptest::collection::vec(item(any_shape()), 0..3)) {
        let bytes = positional(shape::<Vec<Item<Shape>>>(), &shapes).unwrap();
        prop_assert_eq!(read::<Vec<Item<Shape>>>(&bytes), shapes);
    }

    /// Never a wrong value: what loses a field is refused, and by names nothing is lost.
    #[test]
    fn a_patchy_value_comes_back_in_one_form_or_the_other(
        (name, tags, gap) in ("a{0,1}", proptest::collection::vec(any::<u8>(), 0..2), any::<u16>()),
        has_last in any::<bool>(),
    ) {
        let last = Patchy { name: "b".into(), tags: vec![1], cache: 0, gap, last: None };
        let value = Patchy { name, tags, cache: 0, gap, last: has_last.then(|| Box::new(last)) };
        prop_assert!(positional(shape::<Patchy>(), &value).is_err(), "the innermost has no last");
        let written = Encoder::agreed(shape::<Patchy>()).of(Value::Reply).write(|out| out.put(&value)).unwrap();
        prop_assert_eq!(read::<Patchy>(&written.finish()), value);
    }
}
