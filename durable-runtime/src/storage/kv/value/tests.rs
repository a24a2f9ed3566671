//! Every shape that serde knows: it comes back, and its bytes are those of `golden.txt`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::*;

/// The stored form is a promise: a line of this file never changes, since objects hold such bytes.
/// A new shape gets a new line.
const GOLDEN: &str = include_str!("golden.txt");

/// Checks shape after shape, and writes what the golden file should hold.
#[derive(Default)]
struct Shapes {
    found: String,
}

impl Shapes {
    fn check<T>(&mut self, name: &str, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let bytes = encode("k", value, usize::MAX).unwrap();
        assert_eq!(decode::<T>("k", &bytes).as_ref(), Ok(value), "{name}");
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(self.found, "{name} {hex}").unwrap();
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u16);
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u16, String);
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fields {
    a: i32,
    #[serde(rename = "bee")]
    b: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    c: Vec<u8>,
}
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(i64),
    Tuple(u8, String),
    Struct { a: bool },
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    Newtype(Fields),
    Struct { a: u64, b: Vec<External> },
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "with")]
enum Adjacent {
    Unit,
    Newtype(i64),
    Tuple(u8, String),
    Struct { a: bool },
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Signed(i64),
    Text(String),
    Struct { a: Vec<u8> },
    Unit,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    own: u8,
    #[serde(flatten)]
    inner: Fields,
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Borrowed<'a> {
    text: Cow<'a, str>,
    list: Cow<'a, [u16]>,
}
/// Bytes as `serde_bytes` has them.
#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

fn fields() -> Fields {
    Fields { a: -70_000, b: Some(true), c: vec![1, 200] }
}

fn scalars(shapes: &mut Shapes) {
    shapes.check("unit", &());
    shapes.check("true", &true);
    for number in [0_u64, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX] {
        shapes.check(&format!("u64:{number}"), &number);
    }
    for number in [-1_i64, -32, -33, -128, -129, -32_769, -(1 << 31) - 1, i64::MIN, i64::MAX] {
        shapes.check(&format!("i64:{number}"), &number);
    }
    shapes.check("i8:-128", &i8::MIN);
    shapes.check("u8:255", &u8::MAX);
    shapes.check("i128:min", &i128::MIN);
    shapes.check("i128:-1", &-1_i128);
    shapes.check("u128:max", &u128::MAX);
    shapes.check("f32:1.5", &1.5_f32);
    shapes.check("f64:0.1", &0.1_f64);
    shapes.check("f64:-0", &-0.0_f64);
    shapes.check("f64:infinity", &f64::INFINITY);
    shapes.check("char", &'😀');
    shapes.check("string:empty", &String::new());
    shapes.check("string", &"h\u{e9}llo\0".to_owned());
    shapes.check("string:300", &"x".repeat(300));
    shapes.check("bytes", &Bytes(vec![0, 1, 255]));
    shapes.check("bytes:300", &Bytes(vec![7; 300]));
    shapes.check("none", &None::<u8>);
    shapes.check("some", &Some(5_u8));
    shapes.check("duration", &Duration::new(5, 6));
    shapes.check("time", &(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)));
    shapes.check("ip:v4", &"127.0.0.1".parse::<IpAddr>().unwrap());
    shapes.check("ip:v6", &"::1".parse::<IpAddr>().unwrap());
}

fn compounds(shapes: &mut Shapes) {
    shapes.check("unit_struct", &Unit);
    shapes.check("newtype_struct", &Newtype(300));
    shapes.check("tuple_struct", &Pair(1, "p".into()));
    shapes.check("struct", &fields());
    shapes.check("struct:skipped", &Fields { a: 0, b: None, c: vec![] });
    shapes.check("tuple", &(1_u8, "two".to_owned(), 3.5_f32));
    shapes.check("array", &[1_i16, -1, 0]);
    shapes.check("vec:empty", &Vec::<u64>::new());
    shapes.check("vec:u8", &vec![0_u8, 127, 128, 255]);
    shapes.check("vec:20", &vec![3_u32; 20]);
    shapes.check("vec:nested", &vec![vec![Some(1)], vec![None]]);
    shapes.check("set", &BTreeSet::from(['a', 'b']));
    shapes.check("map:string", &BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    shapes.check("map:u64", &BTreeMap::from([(u64::MAX, false), (0, true)]));
    shapes.check("map:i128", &BTreeMap::from([(-5_i128, None::<u8>)]));
    shapes.check("map:tuple", &BTreeMap::from([((1_u8, 'x'), vec![1])]));
    shapes.check("map:enum", &BTreeMap::from([(External::Unit, 1), (External::Newtype(2), 3)]));
    shapes.check("result", &Err::<u8, String>("no".into()));
    shapes.check("range", &(1..5));
    shapes.check("box", &Some(Box::new(Newtype(1))));
}

fn enums(shapes: &mut Shapes) {
    let list = vec![
        External::Unit,
        External::Newtype(-5),
        External::Tuple(1, "t".into()),
        External::Struct { a: true },
    ];
    shapes.check("enum:external", &list);
    shapes.check("enum:internal:unit", &Internal::Unit);
    shapes.check("enum:internal:newtype", &Internal::Newtype(fields()));
    shapes.check("enum:internal:struct", &Internal::Struct { a: u64::MAX, b: list });
    shapes.check("enum:adjacent:unit", &Adjacent::Unit);
    shapes.check("enum:adjacent:newtype", &Adjacent::Newtype(9));
    shapes.check("enum:adjacent:tuple", &Adjacent::Tuple(1, "t".into()));
    shapes.check("enum:adjacent:struct", &Adjacent::Struct { a: false });
    shapes.check("enum:untagged:number", &Untagged::Number(u64::MAX));
    shapes.check("enum:untagged:signed", &Untagged::Signed(-1));
    shapes.check("enum:untagged:text", &Untagged::Text("t".into()));
    shapes.check("enum:untagged:struct", &Untagged::Struct { a: vec![1, 255] });
    shapes.check("enum:untagged:unit", &Untagged::Unit);
    let rest = BTreeMap::from([("x".to_owned(), 1), ("y".to_owned(), -1)]);
    shapes.check("flatten", &Flattened { own: 1, inner: fields(), rest });
    let (text, list) = (Cow::Borrowed("lent"), Cow::Borrowed(&[1, 2][..]));
    shapes.check("cow", &Borrowed { text, list });
}

#[test]
fn every_shape_comes_back_and_its_bytes_never_change() {
    let mut shapes = Shapes::default();
    scalars(&mut shapes);
    compounds(&mut shapes);
    enums(&mut shapes);
    assert_eq!(shapes.found, GOLDEN, "{}", shapes.found);
}

#[test]
fn a_float_keeps_its_bits() {
    for bits in [f32::NAN.to_bits(), 0x7fa0_1234, (-0.0_f32).to_bits()] {
        let bytes = encode("k", &f32::from_bits(bits), usize::MAX).unwrap();
        assert_eq!(bytes[1..], [&[0xca][..], &bits.to_be_bytes()].concat());
        // Quiet or signalling, it is a NaN; some processors set the quiet bit.
        let read = decode::<f32>("k", &bytes).unwrap();
        assert_eq!(read.is_nan(), f32::from_bits(bits).is_nan());
    }
    let bytes = encode("k", &f64::NAN, usize::MAX).unwrap();
    assert!(decode::<f64>("k", &bytes).unwrap().is_nan());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum More {
    First,
    Struct { b: Option<u8>, a: bool },
    Unit,
}

fn seven() -> u64 {
    7
}

#[test]
fn fields_may_be_added_removed_and_moved() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
        age: u8,
        gone: Vec<External>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        added: Option<String>,
        #[serde(default = "seven")]
        counted: u64,
        age: u64,
        name: String,
    }
    let gone = vec![External::Struct { a: true }, External::Unit];
    let old = encode("k", &Old { name: "Ada".into(), age: 36, gone }, usize::MAX).unwrap();
    let new = New { added: None, counted: 7, age: 36, name: "Ada".into() };
    assert_eq!(decode::<New>("k", &old), Ok(new));
    let stored = encode("k", &[External::Unit, External::Struct { a: true }], usize::MAX).unwrap();
    let read = decode::<[More; 2]>("k", &stored);
    assert_eq!(read, Ok([More::Unit, More::Struct { b: None, a: true }]));
    // Without a default an added field is an error that names it.
    let error =
        decode::<Old>("k", &encode("k", &BTreeMap::from([("age", 1)]), usize::MAX).unwrap());
    assert!(error.unwrap_err().message().contains("missing field `name`"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Wide {
    Number(i128),
}

/// Those that the documentation of `Kv` lists.
#[test]
fn shapes_that_come_back_as_others_or_not_at_all() {
    let back = |bytes: Result<Vec<u8>>| bytes.unwrap();
    let nothing = back(encode("k", &Some(None::<u8>), usize::MAX));
    assert_eq!(decode::<Option<Option<u8>>>("k", &nothing), Ok(None));
    let nothing = back(encode("k", &Some(()), usize::MAX));
    assert_eq!(decode::<Option<()>>("k", &nothing), Ok(None));
    let wide = back(encode("k", &Wide::Number(5), usize::MAX));
    let error = decode::<Wide>("k", &wide).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conversion);
}

#[derive(Debug, Deserialize)]
struct Deep(#[expect(dead_code, reason = "never made")] Vec<Deep>);

fn hostile<T: DeserializeOwned + Debug>(message: &[u8]) {
    let error = decode::<T>("k", &[&[FORMAT], message].concat()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conversion);
}

#[test]
fn hostile_bytes_cost_neither_memory_nor_stack() {
    const HUGE: [u8; 4] = [0xff; 4];
    for marker in [0xc6_u8, 0xc9, 0xdb, 0xdd, 0xdf] {
        let message = [&[marker][..], &HUGE, &[1, 2, 3]].concat();
        hostile::<Vec<u64>>(&message);
        hostile::<Vec<[u64; 32]>>(&message);
        hostile::<Vec<()>>(&message);
        hostile::<String>(&message);
        hostile::<Bytes>(&message);
        hostile::<BTreeMap<String, String>>(&message);
        hostile::<Untagged>(&message);
        hostile::<Internal>(&message);
        hostile::<IgnoredAny>(&message);
    }
    for marker in [0x91_u8, 0x81] {
        hostile::<Deep>(&vec![marker; 1_000_000]);
        hostile::<Untagged>(&vec![marker; 1_000_000]);
        hostile::<IgnoredAny>(&vec![marker; 1_000_000]);
    }
}
