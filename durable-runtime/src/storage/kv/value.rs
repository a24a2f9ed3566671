//! The stored form of a value: one format byte and MessagePack in which structs carry their field names.
//!
//! The guarantee: bytes that any version of the framework has stored can be read, and bytes that nobody
//! stored are an error: they make a decoder neither recurse nor allocate beyond what they hold.

use std::any::type_name;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// How deep values may be nested.
pub(super) const DEPTH_MAX: usize = 128;
/// First byte of every value; another value is another format.
const FORMAT: u8 = 1;

/// Fails if key and value together have more than `bytes_max` bytes.
pub(super) fn encode(
    key: &str,
    value: &(impl Serialize + ?Sized),
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    let unwritable = |reason: &dyn fmt::Display| {
        Error::new(
            ErrorKind::Encoding,
            format!("the value for key {key:?} cannot be stored: {reason}"),
        )
    };
    append_message(value, &mut bytes).map_err(|reason| unwritable(&reason))?;
    let total = key.len() + bytes.len();
    if total > bytes_max {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("key {key:?} and its value have {total} bytes, over the limit of {bytes_max}"),
        ));
    }
    #[cfg(debug_assertions)]
    read_message::<serde::de::IgnoredAny>(&bytes[1..]).map_err(|reason| unwritable(&reason))?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    let Some((&FORMAT, message)) = bytes.split_first() else {
        let format = format!("format {:?}, this program knows {FORMAT}", bytes.first());
        return Err(unreadable::<T>(key, "a value of another format", &format));
    };
    read_message(message).map_err(|reason| unreadable::<T>(key, &describe(message), &reason))
}

/// Writes one `MessagePack` value, with field names.
pub(crate) fn write_message(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    append_message(value, &mut bytes)?;
    Ok(bytes)
}

fn append_message(value: &(impl Serialize + ?Sized), bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut serializer = rmp_serde::Serializer::new(bytes).with_struct_map();
    serializer.unstable_set_max_depth(DEPTH_MAX);
    value.serialize(&mut serializer).map_err(|error| error.to_string())
}

/// Reads one `MessagePack` value that takes up all the bytes.
pub(crate) fn read_message<T: DeserializeOwned>(message: &[u8]) -> Result<T, String> {
    let mut rest = message;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    match rest.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left over")),
    }
}

pub(super) fn unreadable<T>(key: &str, stored: &str, reason: &str) -> Error {
    let wanted = type_name::<T>();
    Error::new(
        ErrorKind::Conversion,
        format!("key {key:?} holds {stored}, which cannot be read as `{wanted}`: {reason}"),
    )
}

/// What a MessagePack value is, from its first bytes.
fn describe(message: &[u8]) -> String {
    let length = |bytes: usize| {
        let digits = message.get(1..=bytes).unwrap_or_default();
        digits.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte))
    };
    match message.first().copied().unwrap_or(0xc1) {
        0xc0 => "nothing (`None` or `()`)".into(),
        0xc2 | 0xc3 => "a bool".into(),
        0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => "an integer".into(),
        0xca | 0xcb => "a float".into(),
        0xa0..=0xbf | 0xd9..=0xdb => "a string".into(),
        0xc4..=0xc6 => "bytes".into(),
        head @ 0x90..=0x9f => format!("a sequence of {}", head & 0x0f),
        0xdc => format!("a sequence of {}", length(2)),
        0xdd => format!("a sequence of {}", length(4)),
        head @ 0x80..=0x8f => format!("a map or struct of {}", head & 0x0f),
        0xde => format!("a map or struct of {}", length(2)),
        0xdf => format!("a map or struct of {}", length(4)),
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => "what is not a value".into(),
    }
}

#[cfg(test)]
mod tests;
