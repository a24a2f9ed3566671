//! Stored values as JSON.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};
use serde_json::{Map, Number, Value as Json};

use crate::Value;
use crate::storage::read_message;

/// How deep a value is shown.
const DEPTH_MAX: usize = 48;

/// A value of an SQL row: a plain JSON value where there is one of that type, and else one that says what it is.
#[derive(Clone, Debug, PartialEq, Serialize, DeserializeDerive)]
#[serde(untagged)]
pub enum Cell {
    /// NULL.
    Null,
    /// An INTEGER.
    Integer(i64),
    /// A REAL.
    Real(f64),
    /// A TEXT.
    Text(String),
    /// A BLOB: `{"blob": "00ff"}`.
    Blob {
        /// Its bytes, as hex digits.
        blob: String,
    },
    /// A REAL that JSON does not have: `{"real": "inf"}` or `{"real": "-inf"}`.
    Infinite {
        /// Which.
        real: String,
    },
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Cell::Null,
            Value::Integer(value) => Cell::Integer(value),
            Value::Real(value) if value.is_finite() => Cell::Real(value),
            Value::Real(value) => Cell::Infinite { real: value.to_string() },
            Value::Text(text) => Cell::Text(text),
            Value::Blob(bytes) => Cell::Blob { blob: hex(&bytes) },
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A stored value in JSON, as far as that has such a thing: bytes become `{"bytes": "00ff"}`, and keys that are no texts the text
/// of their JSON.
pub(super) fn shown(stored: &[u8]) -> Result<Json, String> {
    match stored.split_first() {
        Some((1, message)) => read_message::<Shown>(message).map(|shown| shown.0),
        format => Err(format!(
            "it has format {:?}, which this program does not know",
            format.map(|(first, _)| first)
        )),
    }
}

struct Shown(Json);

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level(0).deserialize(deserializer).map(Shown)
    }
}

/// How deep the value is that is read.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    /// What is below, or a sign that there is something.
    fn deeper(self, value: Json) -> Json {
        if self.0 < DEPTH_MAX { value } else { Json::String("…".to_owned()) }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or_else(|| Json::String(value.to_string()), Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Json, E> {
        Ok(Json::Object(Map::from_iter([("bytes".to_owned(), Json::String(hex(value)))])))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Level(self.0 + 1))? {
            list.push(item);
        }
        Ok(self.deeper(Json::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Level(self.0 + 1))? {
            let key = match key {
                Json::String(key) => key,
                other => other.to_string(),
            };
            map.insert(key, entries.next_value_seed(Level(self.0 + 1))?);
        }
        Ok(self.deeper(Json::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::storage::write_message;

    fn stored(value: &impl Serialize) -> Vec<u8> {
        [vec![1], write_message(value).unwrap()].concat()
    }

    #[test]
    fn stored_values_become_json() {
        #[derive(Serialize)]
        struct Post {
            text: &'static str,
            likes: Option<u64>,
            by: BTreeMap<i32, bool>,
        }
        let post = Post { text: "hi", likes: None, by: BTreeMap::from([(-1, true)]) };
        let expected = json!({ "text": "hi", "likes": null, "by": { "-1": true } });
        assert_eq!(shown(&stored(&post)).unwrap(), expected);
        assert_eq!(shown(&stored(&u64::MAX)).unwrap(), json!(u64::MAX));
        assert_eq!(shown(&stored(&f64::NAN)).unwrap(), json!("NaN"));
        assert_eq!(shown(&[1, 0xc4, 2, 0, 0xff]).unwrap(), json!({ "bytes": "00ff" }));
    }

    #[test]
    fn what_is_no_value_says_so() {
        assert!(shown(&[]).is_err());
        assert!(shown(&[2, 1]).is_err());
        assert!(shown(&[1, 0xc1]).is_err());
    }

    #[test]
    fn deep_values_are_shown_as_far_as_json_readers_go() {
        let mut message = vec![1];
        message.extend([0x91; 120]);
        message.push(1);
        let text = shown(&message).unwrap().to_string();
        assert!(serde_json::from_str::<Json>(&text).is_ok());
        assert!(text.contains('…'));
    }

    #[test]
    fn cells_come_back_as_they_were() {
        for value in [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(1.0),
            Value::Real(f64::INFINITY),
            Value::Text("null".into()),
            Value::Blob(vec![0, 255]),
        ] {
            let cell = Cell::from(value);
            let text = serde_json::to_string(&cell).unwrap();
            assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell, "{text}");
        }
    }
}
