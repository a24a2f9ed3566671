//! The wire form of calls: what arguments and replies look like as bytes.
//!
//! A message is one format byte and then the values, one after the other in the order of the method's arguments:
//! - *positional*: bincode 2 (little endian, variable-length integers), only for calls between equal builds.
//! - *named*: MessagePack in which structs and variants carry their names, so that a program with newer types reads what an
//!   older one has written, by serde's own rules. Everything that is stored has this form.
//!
//! With the feature `json` a [`Decoder`] also reads arguments that came as JSON, and the reply is
//! then written as JSON: bare, without a format byte. See [`json`].
//!
//! Who reads a message sees by its first byte which it is. Invariants: a message of another format is refused, bytes left over are an error, a
//! length is never trusted beyond [`MESSAGE_BYTES_MAX`], and a reply has the form of its arguments.

#[cfg(feature = "json")]
pub(crate) mod json;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::for_strangers;

/// The largest message, in bytes: 32 MiB, as on Cloudflare.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The first byte of a message says what follows; another value is another format.
const POSITIONAL: u8 = 1;
const NAMED: u8 = 2;

/// How deep named values may be nested.
const DEPTH_MAX: usize = 128;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>()
}

/// Why bytes could not be made from values, or values from bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The object has no method of this name.
    #[error("no method `{0}`")]
    UnknownMethod(String),
    /// The message starts with a format byte that this build does not know.
    #[error("message format {0:?} is not known to this build (it knows {POSITIONAL} and {NAMED})")]
    UnknownFormat(Option<u8>),
    /// The message is larger than [`MESSAGE_BYTES_MAX`].
    #[error("the message is {bytes} bytes, over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// Size of the message so far.
        bytes: usize,
    },
    /// A value that is not written as its type says, so that only its names tell what it is.
    #[error("has no positional form: {0}")]
    NotPositional(String),
    /// A value that has no form in the message's format.
    #[error("cannot be written: {0}")]
    Encode(String),
    /// Bytes that are not a value of the expected type.
    #[error("cannot be read as `{expected}`: {reason}")]
    Decode {
        /// The Rust type that was expected.
        expected: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A named argument that is not a value of its type.
    #[error("argument `{name}` cannot be read as `{expected}`: {reason}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// The Rust type that was expected, without paths.
        expected: String,
        /// What the decoder says.
        reason: String,
    },
    /// A named argument that was not given, of a type that must be.
    #[error("argument `{name}` is missing, of type `{expected}`")]
    Missing {
        /// The argument's name.
        name: &'static str,
        /// Its Rust type, without paths.
        expected: String,
    },
    /// The message goes on after its last value.
    #[error("{0} bytes are left over: caller and object do not agree on the arguments")]
    LeftOver(usize),
}

/// Writes the values of one message.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    bytes: Vec<u8>,
    /// The value in words, if it is an error.
    text: String,
    /// Whether it is read by somebody who may not know how the object stores its data.
    is_for_stranger: bool,
}

/// What an [`Encoder`] writes.
#[derive(Clone, Copy, Debug)]
enum Form {
    Positional,
    Named,
    #[cfg(feature = "json")]
    Json,
}

impl Encoder {
    /// An empty message in positional form.
    pub fn new() -> Self {
        Encoder::with(Form::Positional, vec![POSITIONAL])
    }

    /// An empty message in named form.
    pub fn named() -> Self {
        Encoder::with(Form::Named, vec![NAMED])
    }

    /// An empty message in positional form, for a method of this shape only.
    pub fn positional(_: &crate::remote::MethodShape) -> Self {
        Encoder::with(Form::Positional, vec![POSITIONAL])
    }

    fn with(form: Form, bytes: Vec<u8>) -> Self {
        Encoder { form, bytes, text: String::new(), is_for_stranger: false }
    }

    /// Appends one value.
    ///
    /// # Errors
    /// When `value` cannot be written in this form, or the message grows over [`MESSAGE_BYTES_MAX`].
    pub fn put<T: Serialize>(&mut self, value: &T) -> Result<(), WireError> {
        if self.is_for_stranger {
            return for_strangers(|| self.put_value(value));
        }
        self.put_value(value)
    }

    fn put_value<T: Serialize>(&mut self, value: &T) -> Result<(), WireError> {
        let out = &mut self.bytes;
        let written = match self.form {
            Form::Positional => bincode::serde::encode_into_std_write(value, out, config())
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Form::Named => put_named(value, out).map_err(|error| error.to_string()),
            #[cfg(feature = "json")]
            Form::Json => json::write(value, out).map_err(|error| error.to_string()),
        };
        written.map_err(WireError::Encode)?;
        match self.bytes.len() {
            bytes if bytes > MESSAGE_BYTES_MAX => Err(WireError::TooLarge { bytes }),
            _ => Ok(()),
        }
    }

    /// Says what the message is about, beside it.
    pub(crate) fn describe(&mut self, text: String) {
        self.text = text;
    }

    /// What the message is about.
    pub(crate) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The finished message.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the values of one message.
#[derive(Debug)]
pub struct Decoder<'a> {
    source: Source<'a>,
    /// Whether the reply is for somebody who may not know how the object stores its data.
    is_of_stranger: bool,
}

/// What a [`Decoder`] reads.
#[derive(Debug)]
enum Source<'a> {
    Positional(&'a [u8]),
    Named(&'a [u8]),
    #[cfg(feature = "json")]
    Json(std::slice::Iter<'a, json::Argument>),
}

impl<'a> Decoder<'a> {
    /// Opens a message and checks its format.
    ///
    /// # Errors
    /// When the message is empty, too large or of another format.
    pub fn new(message: &'a [u8]) -> Result<Self, WireError> {
        match message {
            _ if message.len() > MESSAGE_BYTES_MAX => {
                Err(WireError::TooLarge { bytes: message.len() })
            }
            [POSITIONAL, rest @ ..] => Ok(Decoder::of(Source::Positional(rest))),
            [NAMED, rest @ ..] => Ok(Decoder::of(Source::Named(rest))),
            other => Err(WireError::UnknownFormat(other.first().copied())),
        }
    }

    /// Opens arguments that came as JSON: all that the method has, in its order.
    #[cfg(feature = "json")]
    pub fn json(arguments: &'a [json::Argument]) -> Self {
        Decoder::of(Source::Json(arguments.iter())).of_stranger()
    }

    fn of(source: Source<'a>) -> Self {
        Decoder { source, is_of_stranger: false }
    }

    /// The same message, from somebody who is not told how the object stores its data.
    #[must_use]
    pub fn of_stranger(self) -> Self {
        Decoder { is_of_stranger: true, ..self }
    }

    /// Takes the next value.
    ///
    /// # Errors
    /// When the bytes are not a `T`.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<T, WireError> {
        let decode = |reason| WireError::Decode { expected: std::any::type_name::<T>(), reason };
        let (rest, taken) = match &mut self.source {
            Source::Positional(rest) => {
                let taken = bincode::serde::decode_from_slice(rest, config());
                (rest, taken.map_err(|error| error.to_string()))
            }
            Source::Named(rest) => {
                let taken = take_named(rest);
                (rest, taken.map_err(|error| error.to_string()))
            }
            #[cfg(feature = "json")]
            Source::Json(arguments) => {
                let none = || decode("there are no more arguments".to_owned());
                return json::read(arguments.next().ok_or_else(none)?);
            }
        };
        let (value, used) = taken.map_err(decode)?;
        *rest = &rest[used..];
        Ok(value)
    }

    /// Ends the message, and begins the reply to it in the same form.
    ///
    /// # Errors
    /// When bytes are left over.
    pub fn finish(&mut self) -> Result<Encoder, WireError> {
        match &self.source {
            Source::Positional(rest) | Source::Named(rest) if !rest.is_empty() => {
                Err(WireError::LeftOver(rest.len()))
            }
            Source::Positional(_) => Ok(Encoder::new()),
            Source::Named(_) => Ok(Encoder::named()),
            #[cfg(feature = "json")]
            Source::Json(_) => Ok(Encoder::with(Form::Json, Vec::new())),
        }
        .map(|reply| Encoder { is_for_stranger: self.is_of_stranger, ..reply })
    }
}

fn put_named<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    serializer.unstable_set_max_depth(DEPTH_MAX);
    value.serialize(&mut serializer)
}

/// The value, and how many bytes it takes.
fn take_named<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), rmp_serde::decode::Error> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer)?;
    Ok((value, bytes.len() - rest.len()))
}

/// Whether a message can only be read by a method of the same shape.
pub(crate) fn is_positional(message: &[u8]) -> bool {
    message.first() == Some(&POSITIONAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Vec<u8> {
        let mut out = Encoder::new();
        out.put(&5_i64).unwrap();
        out.put(&"hi").unwrap();
        out.finish()
    }

    /// The stored form is a promise: it changes only together with the format byte.
    #[test]
    fn golden_message() {
        assert_eq!(message(), [1, 10, 2, b'h', b'i']);
        let mut out = Encoder::named();
        out.put(&5_i64).unwrap();
        out.put(&Point { x: 1, y: 2 }).unwrap();
        assert_eq!(out.finish(), [2, 5, 0x82, 0xa1, b'x', 1, 0xa1, b'y', 2]);
    }

    #[derive(serde::Serialize)]
    struct Point {
        x: u8,
        y: u8,
    }

    /// What a later program makes of the same thing.
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct NewPoint {
        #[serde(default)]
        z: u8,
        y: u8,
    }

    #[test]
    fn a_named_value_is_read_by_a_later_type() {
        let mut out = Encoder::named();
        out.put(&Point { x: 1, y: 2 }).unwrap();
        out.put(&"next").unwrap();
        let message = out.finish();
        let mut input = Decoder::new(&message).unwrap();
        assert_eq!(input.take::<NewPoint>(), Ok(NewPoint { z: 0, y: 2 }));
        assert_eq!(input.take::<String>().as_deref(), Ok("next"));
        input.finish().unwrap();
    }

    #[test]
    fn values_come_back_in_order() {
        let message = message();
        let mut input = Decoder::new(&message).unwrap();
        assert_eq!(input.take::<i64>(), Ok(5));
        assert_eq!(input.take::<String>().as_deref(), Ok("hi"));
        input.finish().unwrap();
    }

    #[test]
    fn leftovers_foreign_formats_and_garbage_are_errors() {
        let message = message();
        let mut input = Decoder::new(&message).unwrap();
        input.take::<i64>().unwrap();
        assert_eq!(input.finish().unwrap_err(), WireError::LeftOver(3));
        assert_eq!(Decoder::new(&[]).unwrap_err(), WireError::UnknownFormat(None));
        assert_eq!(Decoder::new(&[9, 0]).unwrap_err(), WireError::UnknownFormat(Some(9)));
        // A length of 2^40 bytes is refused before anything is allocated.
        let huge = [1, 253, 0, 0, 0, 0, 0, 1, 0, 0];
        assert!(Decoder::new(&huge).unwrap().take::<String>().is_err());
    }
}
