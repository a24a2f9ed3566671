//! What passes through JSON, type by type: arguments and replies are what `serde_json` makes of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use durable::ObjectId;
use durable::prelude::*;
use durable_tests::{Bed, Form};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bed::{all, get, post};

#[derive(Debug, Serialize, Deserialize)]
enum External {
    Unit,
    New(u8),
    Pair(u8, String),
    Struct { a: Option<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Internal {
    Circle { radius: f64 },
    Empty,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A(u8),
    B,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    Pair { a: u8, b: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Strict {
    #[serde(rename = "colour")]
    color: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Wrapped(u64);

#[derive(Debug, Serialize, Deserialize)]
struct Marker;

/// Writes itself otherwise for people than for machines.
#[derive(Debug)]
struct Readable(u8);

impl Serialize for Readable {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&format!("#{}", self.0))
        } else {
            serializer.serialize_u8(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text[1..].parse().map(Readable).map_err(serde::de::Error::custom)
        } else {
            u8::deserialize(deserializer).map(Readable)
        }
    }
}

macro_rules! mirror {
    ($($name:ident: $type:ty),+ $(,)?) => {
        #[derive(Default)]
        struct Mirror;

        #[durable_object]
        impl Mirror {
            $(pub fn $name(&self, value: $type) -> $type { value })+
        }

        /// What `serde_json` itself makes of the same text.
        fn reference(method: &str, text: &str) -> std::result::Result<String, String> {
            match method {
                $(stringify!($name) => {
                    let value = serde_json::from_str::<$type>(text).map_err(|error| error.to_string())?;
                    serde_json::to_string(&value).map_err(|error| error.to_string())
                })+
                _ => panic!("no method {method}"),
            }
        }
    };
}

mirror! {
    boolean: bool,
    unsigned_8: u8,
    signed_64: i64,
    unsigned_64: u64,
    signed_128: i128,
    unsigned_128: u128,
    single: f32,
    double: f64,
    character: char,
    text: String,
    unit: (),
    tuple: (u8, String, Option<bool>),
    array: [u8; 3],
    list: Vec<i32>,
    bytes: bytes_as_json::Buffer,
    option: Option<u8>,
    nested_option: Option<Option<u8>>,
    map: BTreeMap<String, u8>,
    keys_of_numbers: BTreeMap<i64, String>,
    keys_of_characters: BTreeMap<char, u8>,
    keys_of_variants: BTreeMap<Side, u8>,
    external: External,
    internal: Internal,
    adjacent: Adjacent,
    untagged: Loose,
    flattened: Flat,
    strict: Strict,
    newtype: Wrapped,
    marker: Marker,
    readable: Readable,
    address: IpAddr,
    path: PathBuf,
    duration: Duration,
    time: SystemTime,
    value: Value,
    object_id: ObjectId<Mirror>,
    result: Outcome,
    error: durable::Error,
    boxed: Box<[Box<str>]>,
}

/// Not split by the stub, for it is not named like one.
type Outcome = Vec<std::result::Result<u8, String>>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Side {
    Left,
    Right,
}

/// What `serde_bytes` is: bytes as serde's own type for them.
mod bytes_as_json {
    #[derive(Debug)]
    pub struct Buffer(Vec<u8>);

    impl serde::Serialize for Buffer {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    impl<'de> serde::Deserialize<'de> for Buffer {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Vec::deserialize(deserializer).map(Buffer)
        }
    }
}

const SHAPES: &[(&str, &[&str])] = &[
    ("boolean", &["true", "1", "\"true\""]),
    ("unsigned_8", &["0", "255", "256", "-1", "1.0", "1e2"]),
    ("signed_64", &["-9223372036854775808", "9223372036854775807", "9223372036854775808"]),
    ("unsigned_64", &["18446744073709551615", "9007199254740993", "18446744073709551616", "-0"]),
    ("signed_128", &["-170141183460469231731687303715884105728", "1"]),
    ("unsigned_128", &["340282366920938463463374607431768211455", "-1"]),
    ("single", &["0.1", "1", "1e40", "-0.0"]),
    ("double", &["0.1", "1", "1e308", "1e309", "NaN", "null"]),
    ("character", &["\"ü\"", "\"👋\"", "\"ab\"", "\"\"", "97"]),
    ("text", &["\"\"", "\"a\\u0000\\n\\ud83d\\udc4b\"", "\"\\ud83d\"", "5", "null"]),
    ("unit", &["null", "{}", "[]"]),
    ("tuple", &["[1, \"a\", null]", "[1, \"a\", true]", "[1]", "[1, \"a\", true, 2]"]),
    ("array", &["[1, 2, 3]", "[1, 2]"]),
    ("list", &["[]", "[1, -2]", "{}", "[1, \"2\"]"]),
    ("bytes", &["[0, 255]", "[256]", "\"ab\""]),
    ("option", &["null", "5", "[5]"]),
    ("nested_option", &["null", "5"]),
    ("map", &["{}", "{\"a\": 1, \"ü\": 2}", "{\"a\": 1, \"a\": 2}", "[]"]),
    ("keys_of_numbers", &["{\"-1\": \"a\", \"2\": \"b\"}", "{\"x\": \"a\"}", "{\"1.5\": \"a\"}"]),
    ("keys_of_characters", &["{\"ü\": 1}", "{\"ab\": 1}"]),
    ("keys_of_variants", &["{\"Left\": 1, \"Right\": 2}", "{\"Up\": 1}"]),
    (
        "external",
        &[
            "\"Unit\"",
            "{\"New\": 1}",
            "{\"Pair\": [1, \"a\"]}",
            "{\"Struct\": {}}",
            "{\"Struct\": {\"a\": 1}}",
            "{\"Unit\": null}",
            "\"Other\"",
            "0",
        ],
    ),
    (
        "internal",
        &[
            "{\"type\": \"circle\", \"radius\": 1}",
            "{\"radius\": 1, \"type\": \"circle\"}",
            "{\"type\": \"empty\"}",
            "{\"type\": \"Circle\"}",
        ],
    ),
    ("adjacent", &["{\"t\": \"A\", \"c\": 1}", "{\"c\": 1, \"t\": \"A\"}", "{\"t\": \"B\"}"]),
    ("untagged", &["5", "\"5\"", "{\"a\": 1, \"b\": 2}", "true"]),
    ("flattened", &["{\"id\": 1, \"x\": {\"y\": [1, null]}, \"z\": 1.5}", "{\"x\": 1}"]),
    ("strict", &["{}", "{\"colour\": \"red\", \"size\": null}", "{\"color\": \"red\"}"]),
    ("newtype", &["7", "[7]"]),
    ("marker", &["null", "{}"]),
    ("readable", &["\"#7\"", "7"]),
    ("address", &["\"127.0.0.1\"", "\"::1\"", "[127, 0, 0, 1]", "\"x\""]),
    ("path", &["\"/a/b\"", "5"]),
    ("duration", &["{\"secs\": 1, \"nanos\": 5}", "1.5"]),
    ("time", &["{\"secs_since_epoch\": 1, \"nanos_since_epoch\": 5}"]),
    ("value", &["null", "{\"b\": [1, 2.5, \"x\"], \"a\": {}}", "18446744073709551615", "1e400"]),
    (
        "object_id",
        &["\"00454f095611bec73fd3dfd1bf54425a1eb2c328db3264b1acba01aed3352a62\"", "\"12\""],
    ),
    ("result", &["[{\"Ok\": 1}, {\"Err\": \"x\"}]"]),
    (
        "error",
        &[
            "{\"kind\": \"Other\", \"message\": \"x\", \"constraint\": null}",
            "{\"kind\": \"Other\", \"message\": \"x\"}",
        ],
    ),
    ("boxed", &["[\"a\", \"b\"]"]),
];

#[tokio::test]
async fn every_shape_is_what_serde_json_makes_of_it() {
    let bed = Bed::new(Form::Moved);
    let runtime = bed.builder().register::<Mirror>().start().await.unwrap();
    let app = all::<Mirror>(&runtime).build().unwrap();
    let mut passed = 0;
    for &(method, texts) in SHAPES {
        for text in texts {
            let arguments = format!("{{\"value\": {text}}}");
            let answer = post(&app, &format!("/Mirror/name/a/{method}"), &arguments).await;
            match reference(method, text) {
                Ok(reply) => {
                    assert_eq!(
                        (answer.status.as_u16(), answer.text()),
                        (200, &*reply),
                        "{method} {text}"
                    );
                    passed += 1;
                }
                Err(reason) => {
                    assert_eq!(answer.status, 400, "{method} {text} {answer:?}");
                    // Text that is no JSON at all is refused before its type is asked.
                    let message = answer.message();
                    let is_json =
                        serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
                    assert!(
                        !is_json || message.contains(&reason),
                        "{method} {text}: {message}, not {reason}"
                    );
                }
            }
        }
    }
    assert!(passed > 60, "{passed}");
    let described: Vec<_> = Mirror::METHODS.iter().map(|method| method.info.name).collect();
    assert_eq!(described, SHAPES.iter().map(|shape| shape.0).collect::<Vec<_>>(), "none forgotten");
}

/// The same values in a query: JSON if it is JSON of the type, else text.
#[tokio::test]
async fn shapes_in_a_query() {
    let bed = Bed::new(Form::Moved);
    let runtime = bed.builder().register::<Mirror>().start().await.unwrap();
    let app = all::<Mirror>(&runtime).build().unwrap();
    for (method, query, reply) in [
        ("boolean", "true", json!(true)),
        ("signed_128", "-170141183460469231731687303715884105728", json!(i128::MIN as f64)),
        ("character", "a", json!("a")),
        ("character", "5", json!("5")),
        ("text", "5", json!("5")),
        ("text", "%225%22", json!("5")),
        ("text", "true", json!("true")),
        ("option", "", Value::Null),
        ("option", "5", json!(5)),
        ("option", "null", Value::Null),
        ("list", "[1,2]", json!([1, 2])),
        ("map", "%7B%22a%22:1%7D", json!({"a": 1})),
        ("external", "Unit", json!("Unit")),
        ("external", "%7B%22New%22:1%7D", json!({"New": 1})),
        ("untagged", "5", json!(5)),
        ("untagged", "five", json!("five")),
        ("address", "::1", json!("::1")),
        ("readable", "%237", json!("#7")),
        ("value", "5", json!(5)),
        ("value", "five", json!("five")),
        ("unit", "null", Value::Null),
    ] {
        let answer = get(&app, &format!("/Mirror/name/a/{method}?value={query}")).await;
        match (method, query) {
            // Nothing is no number.
            ("option", "") => assert_eq!(answer.status, 400),
            // Too large for this test's own reading of it.
            ("signed_128", text) => assert_eq!(answer.text(), text),
            _ => assert_eq!(answer.json(), reply, "{method} {query}"),
        }
    }
}
