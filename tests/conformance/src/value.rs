//! The values of a case: what JavaScript had, as one serde type.
//!
//! A case writes a value as JSON, with objects such as `{"$": "blob", "hex": "00ff"}` for what JSON lacks.
//! [`Value::read`] makes a value of it, [`Value::record`] the JSON that a recording shows of a value.
//! What has no shape of its own here (`undefined`, dates, big integers, sets) stays such a tagged
//! object: it is stored and comes back as that.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

/// The key that marks a tagged object.
const TAG: &str = "$";
/// A recording shows longer strings and blobs as a length and a hash.
const SHOWN_MAX: usize = 300;
/// Stands for half a surrogate pair, which no Rust string can hold.
pub(crate) const LONE_SURROGATE: char = '\u{10fffe}';

/// A JavaScript value. Every number is an `f64`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// An `ArrayBuffer` or one of its views.
    Blob(Bytes),
    /// An array.
    List(Vec<Value>),
    /// A plain object, or a tagged one.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// `undefined`.
    pub(crate) fn undefined() -> Value {
        Value::Object(vec![(TAG.into(), Value::Text("undefined".into()))])
    }

    /// Whether this is `undefined`.
    pub(crate) fn is_undefined(&self) -> bool {
        self.tag() == Some("undefined")
    }

    /// The kind of a tagged object.
    pub(crate) fn tag(&self) -> Option<&str> {
        match self {
            Value::Object(fields) => fields.iter().find_map(|(key, value)| match value {
                Value::Text(tag) if key == TAG => Some(tag.as_str()),
                _ => None,
            }),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of an array; none for anything else.
    pub(crate) fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(Value::bytes).sum(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| key.len() + value.bytes()).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 9,
        }
    }

    /// What a case means by this JSON.
    pub(crate) fn read(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(values) => Value::List(values.iter().map(Value::read).collect()),
            Json::Object(fields) => match fields.get(TAG).and_then(Json::as_str) {
                Some(tag) => read_tagged(tag, fields).unwrap_or_else(|| plain(fields)),
                None => plain(fields),
            },
        }
    }

    /// What a recording shows of this value.
    pub(crate) fn record(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => json!(value),
            Value::Number(number) => record_number(*number),
            Value::Text(text) => record_text(text),
            Value::Blob(bytes) => record_blob(bytes),
            Value::List(values) => values.iter().map(Value::record).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), value.record())).collect()
            }
        }
    }
}

fn plain(fields: &Map<String, Json>) -> Value {
    Value::Object(fields.iter().map(|(key, value)| (key.clone(), Value::read(value))).collect())
}

/// The tags that stand for an ordinary value, and those that spare the file a long one.
fn read_tagged(tag: &str, fields: &Map<String, Json>) -> Option<Value> {
    let text = |key: &str| fields.get(key).and_then(Json::as_str);
    let count = || fields.get("n").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    let value = || fields.get("value").map_or(Value::Null, Value::read);
    let keys = || {
        let prefix = text("prefix").unwrap_or_default().to_owned();
        Some((0..count()?).map(move |index| format!("{prefix}{index:05}")))
    };
    Some(match tag {
        "blob" => Value::Blob(unhex(text("hex")?)?),
        "num" => Value::Number(text("v")?.parse().ok()?),
        "rep" => Value::Text(text("s")?.repeat(count()?)),
        "zeros" => Value::Blob(vec![0; count()?].into()),
        "fill" => Value::List(vec![value(); count()?]),
        "keys" => Value::Object(keys()?.map(|key| (key, value())).collect()),
        "keylist" => Value::List(keys()?.map(Value::Text).collect()),
        "cat" => {
            let parts = fields.get("v")?.as_array()?;
            let parts = parts.iter().map(|part| Some(Value::read(part).text()?.to_owned()));
            Value::Text(parts.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn unhex(digits: &str) -> Option<Bytes> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

fn record_number(number: f64) -> Json {
    let special = match number {
        _ if number.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ if number == 0.0 && number.is_sign_negative() => "-0",
        _ => return json!(number),
    };
    json!({ TAG: "num", "v": special })
}

fn record_text(text: &str) -> Json {
    let chars = text.encode_utf16().count();
    if chars <= SHOWN_MAX {
        return json!(text);
    }
    json!({ TAG: "str", "chars": chars, "bytes": text.len(), "fnv1a": fnv1a(text.as_bytes()) })
}

fn record_blob(bytes: &[u8]) -> Json {
    if bytes.len() > SHOWN_MAX {
        return json!({ TAG: "blob", "len": bytes.len(), "fnv1a": fnv1a(bytes) });
    }
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    let hex: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    json!({ TAG: "blob", "hex": hex })
}

/// The 32-bit FNV-1a hash, as eight hex digits.
fn fnv1a(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(tag @ ("fn" | "sym")) = self.tag() {
            return Err(ser::Error::custom(format_args!(
                "a value of kind `{tag}` cannot be stored"
            )));
        }
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Blob(bytes) => serializer.serialize_bytes(bytes),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Value::Object(fields) => {
                let mut object = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(key, value)| object.serialize_entry(key, value))?;
                object.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Blob(Bytes::copy_from_slice(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            fields.push(field);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_recordings() {
        let long = Value::read(&json!({ TAG: "rep", "s": "k", "n": 2_047 }));
        let recorded = json!({ TAG: "str", "chars": 2_047, "bytes": 2_047, "fnv1a": "13cc522c" });
        assert_eq!(long.record(), recorded);
        let zeros = Value::read(&json!({ TAG: "zeros", "n": 2_097_088 }));
        let recorded = json!({ TAG: "blob", "len": 2_097_088, "fnv1a": "14efd0c5" });
        assert_eq!(zeros.record(), recorded);
    }

    #[test]
    fn what_is_read_is_recorded_alike() {
        for json in [
            json!(null),
            json!([1.5, "two", { "a": true }]),
            json!({ TAG: "blob", "hex": "00ff10" }),
            json!({ TAG: "num", "v": "-0" }),
            json!({ TAG: "num", "v": "NaN" }),
            json!({ TAG: "undefined" }),
            json!({ TAG: "bigint", "v": "12345678901234567890" }),
        ] {
            assert_eq!(Value::read(&json).record(), json);
        }
    }

    #[test]
    fn generators() {
        let cat = json!({ TAG: "cat", "v": ["a", { TAG: "rep", "s": "b", "n": 3 }] });
        assert_eq!(Value::read(&cat), Value::Text("abbb".into()));
        let keys = json!({ TAG: "keylist", "n": 2, "prefix": "k" });
        assert_eq!(Value::read(&keys).record(), json!(["k00000", "k00001"]));
    }
}
