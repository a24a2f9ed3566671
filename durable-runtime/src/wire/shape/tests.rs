//! What types look like, and what of it counts.
#![allow(dead_code, reason = "most types here are only looked at")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::*;
use crate::{Error, ObjectId};

mod difference;

/// The shape of a method that returns a `T`.
fn shape<T: DeserializeOwned>() -> MethodShape {
    MethodShape::new(&[], &[Tracer::add::<T>, Tracer::add_never])
}

fn text<T: DeserializeOwned>() -> String {
    shape::<T>().describe().strip_prefix("() -> ").unwrap().to_owned()
}

/// Why there is no positional form.
fn reason<T: DeserializeOwned>() -> String {
    let shape = shape::<T>();
    assert_eq!(shape.fingerprint(), None, "{}", shape.describe());
    shape.format(Value::Reply).unwrap_err().to_owned()
}

#[derive(Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Deserialize)]
struct Empty {}

#[derive(Deserialize)]
struct Marker;

#[derive(Deserialize)]
struct Meters(f64);

#[derive(Deserialize)]
struct Pair(u8, String);

#[derive(Deserialize)]
struct Short(u8, #[serde(skip)] u8);

#[derive(Deserialize)]
enum Event {
    Opened,
    Moved(Point),
    Swapped(u8, Meters),
    Closed { by: Option<String> },
    Nothing {},
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<u32>,
}

#[derive(Deserialize)]
enum Tree {
    Node(Box<Tree>, Box<Tree>),
    Leaf(u32),
}

#[derive(Deserialize)]
struct Chain {
    value: u8,
    next: Option<Box<Chain>>,
    others: Vec<Chain>,
    by_name: HashMap<String, Chain>,
    deeper: Deeper,
}

/// Seen only by way of a type that is seen again and again.
#[derive(Deserialize)]
enum Deeper {
    No,
    Back(Box<Chain>),
    Yes(Vec<Deepest>),
}

#[derive(Deserialize)]
enum Deepest {
    A,
    B(Option<Deeper>),
    C(Choice),
}

#[derive(Deserialize)]
enum Choice {
    One,
    Two,
    Three { r#type: i8 },
}

#[derive(Deserialize)]
#[serde(rename = "my type")]
struct Renamed {
    #[serde(rename = "String")]
    one: u8,
    #[serde(rename = "a, b: u8")]
    two: u8,
    #[serde(default, rename = "three")]
    defaulted: u16,
    #[serde(skip)]
    skipped: u8,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: u64,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Digits(u64);

impl TryFrom<String> for Digits {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Digits)
    }
}

#[test]
fn every_kind_of_type_has_its_text() {
    let texts = [
        (text::<(bool, i8, i16)>(), "(bool, i8, i16)"),
        (text::<(i32, i64, i128)>(), "(i32, i64, i128)"),
        (text::<(u8, u16, u32)>(), "(u8, u16, u32)"),
        (text::<(u64, u128, f32)>(), "(u64, u128, f32)"),
        (text::<(f64, char, String)>(), "(f64, char, String)"),
        (text::<()>(), "()"),
        (text::<(u8,)>(), "(u8,)"),
        (text::<[u8; 32]>(), "[u8; 32]"),
        (text::<[u8; 0]>(), "()"),
        (text::<std::ffi::CString>(), "bytes"),
        (text::<Option<Option<u8>>>(), "Option<Option<u8>>"),
        (text::<Vec<(String, bool)>>(), "Vec<(String, bool)>"),
        (text::<HashSet<char>>(), "Vec<char>"),
        (text::<BTreeMap<u8, Vec<i64>>>(), "Map<u8, Vec<i64>>"),
        (text::<Box<std::borrow::Cow<'static, str>>>(), "String"),
        (text::<Point>(), "Point { x: f64, y: f64 }"),
        (text::<[Point; 2]>(), "(Point { x: f64, y: f64 }, Point)"),
        (text::<Empty>(), "Empty {}"),
        (text::<Marker>(), "Marker"),
        (text::<PhantomData<u8>>(), "PhantomData"),
        (text::<Meters>(), "Meters(f64)"),
        (text::<Pair>(), "Pair(u8, String)"),
        (text::<Short>(), "Short(u8,)"),
        (
            text::<Event>(),
            "Event { Opened, Moved(Point { x: f64, y: f64 }), Swapped(u8, Meters(f64)), Closed { by: Option<String> }, Nothing {} }",
        ),
        (text::<Result<u8, String>>(), "Result { Ok(u8), Err(String) }"),
        (text::<Duration>(), "Duration { secs: u64, nanos: u32 }"),
        (text::<SystemTime>(), "SystemTime { secs_since_epoch: u64, nanos_since_epoch: u32 }"),
        (text::<std::ops::Range<u8>>(), "Range { start: u8, end: u8 }"),
        (text::<IpAddr>(), "IpAddr { V4([u8; 4]), V6([u8; 16]) }"),
        (text::<NonZeroU32>(), "u32"),
        (text::<Digits>(), "String"),
        (text::<(ObjectId<u8>, u8)>(), "(String, u8)"),
        (text::<Transparent>(), "u64"),
        (text::<Renamed>(), r#""my type" { "String": u8, "a, b: u8": u8, three: u16 }"#),
        (text::<Tree>(), "Tree { Node(Tree, Tree), Leaf(u32) }"),
        (
            text::<Chain>(),
            "Chain { value: u8, next: Option<Chain>, others: Vec<Chain>, by_name: Map<String, Chain>, deeper: Deeper { No, Back(Chain), Yes(Vec<Deepest { A, B(Option<Deeper>), C(Choice { One, Two, Three { type: i8 } }) }>) } }",
        ),
    ];
    for (text, expected) in texts {
        assert_eq!(text, expected);
    }
    assert!(text::<Error>().starts_with("Error { kind: ErrorKind { Sql, Constraint, "));
    assert!(text::<Error>().ends_with(" }, message: String, constraint: Option<Constraint { Unique, NotNull, Check, ForeignKey }> }"));
}

/// Serde knows both by the same name, without their arguments.
#[test]
fn types_of_the_same_name_stay_apart() {
    mod other {
        #[derive(serde::Deserialize)]
        pub(super) struct Point {
            z: u8,
        }

        #[derive(serde::Deserialize)]
        pub(super) enum Choice {
            One,
            Two,
            Three { r#type: i8 },
            Four,
        }
    }
    assert_eq!(
        text::<(Page<u8>, Page<Point>, Page<u8>)>(),
        "(Page { items: Vec<u8>, next: Option<u32> }, Page#2 { items: Vec<Point { x: f64, y: f64 }>, next: Option<u32> }, Page)"
    );
    assert_eq!(text::<(Point, other::Point)>(), "(Point { x: f64, y: f64 }, Point#2 { z: u8 })");
    assert!(
        text::<(Choice, other::Choice)>()
            .ends_with("Choice#2 { One, Two, Three { type: i8 }, Four })")
    );
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Untagged {
    A(u8),
    B(String),
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: u8 },
    B,
}

#[derive(Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: Point,
}

#[derive(Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A(u32),
    B(String),
}

#[derive(Deserialize)]
struct Aliased {
    #[serde(alias = "other")]
    name: u8,
}

#[derive(Deserialize)]
enum AliasedVariant {
    #[serde(alias = "Z")]
    A,
    B,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Nest(Vec<Nest>);

#[derive(Deserialize)]
enum Never {}

/// Takes nothing but one word.
struct Password;

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "sesame" => Ok(Password),
            _ => Err(serde::de::Error::custom("wrong")),
        }
    }
}

struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert_eq!(number, 99);
        Ok(Panics)
    }
}

/// Reads what follows by what came before, which is lost on a trace that reads one value.
struct Moody;

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Moody;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a choice and what it says")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> Result<Moody, A::Error> {
                match parts.next_element()? {
                    Some(Choice::One) => parts.next_element::<u8>().map(drop),
                    _ => parts.next_element::<String>().map(drop),
                }?;
                Ok(Moody)
            }
        }
        deserializer.deserialize_tuple(2, Visitor)
    }
}

/// Never looks into what it is given.
struct Lazy;

impl<'de> Deserialize<'de> for Lazy {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Lazy)
    }
}

/// Makes an error of the tracer's own into a value.
struct Lenient;

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _ = Untagged::deserialize(deserializer);
        Ok(Lenient)
    }
}

#[test]
fn what_cannot_be_positional_says_why() {
    let self_describing = "it needs a self-describing format";
    for (reason, expected) in [
        (reason::<Untagged>(), self_describing),
        (reason::<Tagged>(), self_describing),
        (reason::<Flat>(), self_describing),
        (reason::<serde::de::IgnoredAny>(), self_describing),
        (reason::<Lenient>(), self_describing),
        (reason::<Adjacent>(), self_describing),
        (reason::<Moody>(), "its form depends on its values"),
        (reason::<Aliased>(), "it has more names than parts, or does not read them all"),
        (reason::<AliasedVariant>(), "it has more names than variants"),
        (reason::<Never>(), "it has no value that comes to an end"),
        (reason::<Password>(), "its `Deserialize` refuses sample values: wrong"),
        (reason::<Panics>(), "its `Deserialize` panics"),
        (reason::<Lazy>(), "parts of it cannot be seen"),
    ] {
        assert_eq!(reason, expected);
    }
    // Traced, and still without a text that comes to an end.
    assert_eq!(shape::<Nest>().fingerprint(), None);
    assert_eq!(text::<Nest>(), r#"self_describing "Nest""#);
    assert_eq!(text::<Option<Vec<Flat>>>(), r#"self_describing "Option<Vec<Flat>>""#);
}

#[cfg(feature = "json")]
#[test]
fn json_values_are_never_positional() {
    assert_eq!(reason::<serde_json::Value>(), "it needs a self-describing format");
    assert_eq!(
        reason::<Vec<(u8, serde_json::Map<String, serde_json::Value>)>>(),
        "it needs a self-describing format"
    );
}

fn method() -> MethodShape {
    #[derive(Deserialize)]
    enum ShopError {
        Closed,
        Sold(u32),
    }
    let types: [fn(&mut Tracer); 4] = [
        Tracer::add::<String>,
        Tracer::add::<Vec<Point>>,
        Tracer::add::<Option<u32>>,
        Tracer::add::<ShopError>,
    ];
    MethodShape::new(&["who", "points"], &types)
}

/// A promise to programs of other builds: it never changes.
#[test]
fn golden_fingerprint() {
    let shape = method();
    assert_eq!(
        shape.describe(),
        "(who: String, points: Vec<Point { x: f64, y: f64 }>) -> Option<u32> or ShopError { Closed, Sold(u32) }"
    );
    assert_eq!(shape.fingerprint(), Some(0xf75d_cd6d_4965_bcd3));
    assert_eq!(shape.fingerprint(), method().fingerprint());
}

#[test]
fn one_value_without_a_form_leaves_none_to_the_others() {
    let types: [fn(&mut Tracer); 3] = [Tracer::add::<Flat>, Tracer::add::<u8>, Tracer::add_never];
    let shape = MethodShape::new(&["type"], &types);
    assert_eq!(shape.describe(), r#"(type: self_describing "Flat") -> u8"#);
    assert_eq!(shape.fingerprint(), None);
    assert!(shape.format(Value::Argument(0)).is_err());
    assert!(shape.format(Value::Argument(1)).is_err(), "it has one argument");
    assert!(shape.format(Value::Reply).is_ok());
}

macro_rules! fingerprints {
    ($($name:ident { $($item:item)* })*) => {
        vec![$((stringify!($name), {
            $(#[derive(Deserialize)] $item)*
            shape::<T>().fingerprint().unwrap()
        })),*]
    };
}

#[test]
fn every_change_of_a_type_is_seen() {
    let fingerprints = fingerprints! {
        as_it_was { struct T { a: u32, b: E } enum E { X, Y(u8) } }
        field_renamed { struct T { c: u32, b: E } enum E { X, Y(u8) } }
        fields_reordered { struct T { b: E, a: u32 } enum E { X, Y(u8) } }
        field_added { struct T { a: u32, b: E, c: u8 } enum E { X, Y(u8) } }
        field_removed { struct T { b: E } enum E { X, Y(u8) } }
        field_widened { struct T { a: u64, b: E } enum E { X, Y(u8) } }
        field_optional { struct T { a: Option<u32>, b: E } enum E { X, Y(u8) } }
        variant_renamed { struct T { a: u32, b: E } enum E { Z, Y(u8) } }
        variants_reordered { struct T { a: u32, b: E } enum E { Y(u8), X } }
        variant_added { struct T { a: u32, b: E } enum E { X, Y(u8), Z } }
        variant_changed { struct T { a: u32, b: E } enum E { X, Y { y: u8 } } }
        variant_signed { struct T { a: u32, b: E } enum E { X, Y(i8) } }
        variant_longer { struct T { a: u32, b: E } enum E { X, Y(u8, u8) } }
        type_renamed { struct T { a: u32, b: F } enum F { X, Y(u8) } }
    };
    let seen: HashSet<u64> = fingerprints.iter().map(|(_, fingerprint)| *fingerprint).collect();
    assert_eq!(seen.len(), fingerprints.len(), "{fingerprints:#?}");
}

#[test]
fn arguments_count_with_their_names_and_places() {
    let [a, b, c] = [["from", "to"], ["to", "from"], ["from", "into"]].map(|names| {
        let types: [fn(&mut Tracer); 4] =
            [Tracer::add::<u8>, Tracer::add::<u8>, Tracer::add::<()>, Tracer::add_never];
        MethodShape::new(&names, &types).fingerprint().unwrap()
    });
    assert!(a != b && a != c && b != c);
}

/// As many variants as a catalogue of errors may have, and far more than anybody writes.
#[test]
fn many_variants_are_seen_and_far_too_many_are_refused() {
    struct Many<const N: usize>;
    impl<'de, const N: usize> Deserialize<'de> for Many<N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor<const N: usize>;
            impl<'de, const N: usize> serde::de::Visitor<'de> for Visitor<N> {
                type Value = Many<N>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("one of many")
                }

                fn visit_enum<A: serde::de::EnumAccess<'de>>(
                    self,
                    data: A,
                ) -> Result<Many<N>, A::Error> {
                    let (_, variant) = data.variant::<u32>()?;
                    serde::de::VariantAccess::unit_variant(variant)?;
                    Ok(Many)
                }
            }
            deserializer.deserialize_enum("Many", &["V"; N], Visitor::<N>)
        }
    }
    assert!(shape::<Many<400>>().fingerprint().is_some());
    assert_eq!(reason::<Many<5_000>>(), "it is too large to be traced");
    assert_eq!(reason::<Many<100_000>>(), "it is too large to be traced");
}

type Wide<T> = [[T; 32]; 32];
type Deep<T> = Option<Option<Option<Option<Option<Option<Option<Option<T>>>>>>>>;
type Deeply<T> = Deep<Deep<Deep<Deep<T>>>>;

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    assert_eq!(text::<Wide<u8>>(), "[[u8; 32]; 32]");
    assert_eq!(reason::<Wide<Wide<u8>>>(), "it is too large to be traced");
    assert!(shape::<Deep<Deep<u8>>>().fingerprint().is_some());
    assert_eq!(reason::<Deep<Deeply<Deeply<Deeply<u8>>>>>(), "it is nested too deep to be traced");
}
