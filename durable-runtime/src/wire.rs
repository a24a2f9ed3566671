//! The wire form of calls: what arguments and replies look like as bytes.
//!
//! A message is one format byte and then the values, one after the other in the order of the method's arguments:
//! - *positional*: bincode 2 (little endian, variable-length integers), only where both sides agree on the method's
//!   [shape], and only what keeps to it: see [`strict`].
//! - *named*: MessagePack in which structs and variants carry their names, so that a program with newer types reads what an
//!   older one has written, by serde's own rules. Everything that is stored has this form.
//!
//! With the feature `json` a [`Decoder`] also reads arguments that came as JSON, and the reply is
//! then written as JSON: bare, without a format byte. See [`json`].
//!
//! Who reads a message sees by its first byte which it is. Invariants: a message of another format is refused, bytes left over are an error, a
//! length is never trusted beyond [`MESSAGE_BYTES_MAX`], and a reply has the form of its arguments, or the named one where
//! it cannot be positional.

#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod shape;
mod strict;

use std::cell::RefCell;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::for_strangers;
use shape::{MethodShape, Value};
use strict::{Check, Checked};

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
    /// A value that a reader would misread in positional form: the named form is the way out.
    #[error("cannot be written without names: {0}")]
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
    /// An argument that the caller does not have, of a type that must be given.
    #[error("the caller has no argument `{0}`, which the method needs")]
    Lacks(String),
    /// An argument that the method does not have.
    #[error("the method has no argument `{0}`")]
    Unexpected(String),
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
    Positional {
        shape: &'static MethodShape,
        /// What comes next.
        next: Value,
    },
    Named,
    #[cfg(feature = "json")]
    Json,
}

impl Encoder {
    /// An empty message in positional form, for the arguments of a method of this shape. It takes
    /// only what keeps to the shape: on [`WireError::NotPositional`] the message must be begun again in
    /// [named](Self::named) form, as [`write`](Self::write) does.
    pub fn positional(shape: &'static MethodShape) -> Self {
        let form = Form::Positional { shape, next: Value::Argument(0) };
        Encoder::with(form, vec![POSITIONAL])
    }

    /// An empty message in named form.
    pub fn named() -> Self {
        Encoder::with(Form::Named, vec![NAMED])
    }

    fn with(form: Form, bytes: Vec<u8>) -> Self {
        Encoder { form, bytes, text: String::new(), is_for_stranger: false }
    }

    /// An empty message in the best form for a caller of the same shape.
    pub fn agreed(shape: &'static MethodShape) -> Self {
        if shape.fingerprint().is_some() { Self::positional(shape) } else { Self::named() }
    }

    /// Writes a whole message: in named form if it cannot be positional.
    ///
    /// # Errors
    /// When a value cannot be written in either form.
    pub fn write(
        mut self,
        values: impl Fn(&mut Self) -> Result<(), WireError>,
    ) -> Result<Self, WireError> {
        match values(&mut self) {
            Err(WireError::NotPositional(_)) => {
                let mut named = Encoder { is_for_stranger: self.is_for_stranger, ..Self::named() };
                values(&mut named)?;
                Ok(named)
            }
            written => written.map(|()| self),
        }
    }

    /// Makes it a message that holds this value.
    pub(crate) fn of(mut self, value: Value) -> Self {
        if let Form::Positional { next, .. } = &mut self.form {
            *next = value;
        }
        self
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
        let written = match &mut self.form {
            Form::Positional { shape, next } => {
                let value = (*next, value);
                if let Value::Argument(place) = next {
                    *place += 1;
                }
                put_positional(shape, value, out)?;
                Ok(())
            }
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

/// Reads the values of one message.
#[derive(Debug)]
pub struct Decoder<'a> {
    source: Source<'a>,
    /// Whether the reply is for somebody who may not know how the object stores its data.
    is_of_stranger: bool,
    /// What the reply may be written by.
    shape: Option<&'static MethodShape>,
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
            [POSITIONAL, rest @ ..] => Ok(Self::from(Source::Positional(rest))),
            [NAMED, rest @ ..] => Ok(Self::from(Source::Named(rest))),
            other => Err(WireError::UnknownFormat(other.first().copied())),
        }
    }

    /// Says that the caller has a method of the same shape, so that the reply to a positional message may be positional.
    #[must_use]
    pub fn agreed(mut self, shape: &'static MethodShape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Opens arguments that came as JSON: all that the method has, in its order.
    #[cfg(feature = "json")]
    pub fn json(arguments: &'a [json::Argument]) -> Self {
        Self::from(Source::Json(arguments.iter())).of_stranger()
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

    /// Ends the message, and begins the reply to it in the same form: a positional one if the caller is known
    /// to [agree](Self::agreed) on the shape.
    ///
    /// # Errors
    /// When bytes are left over.
    pub fn finish(&mut self) -> Result<Encoder, WireError> {
        match &self.source {
            Source::Positional(rest) | Source::Named(rest) if !rest.is_empty() => {
                Err(WireError::LeftOver(rest.len()))
            }
            Source::Positional(_) => Ok(self.shape.map_or_else(Encoder::named, Encoder::agreed)),
            Source::Named(_) => Ok(Encoder::named()),
            #[cfg(feature = "json")]
            Source::Json(_) => Ok(Encoder::with(Form::Json, Vec::new())),
        }
        .map(|reply| Encoder { is_for_stranger: self.is_of_stranger, ..reply })
    }
}

impl<'a> From<Source<'a>> for Decoder<'a> {
    fn from(source: Source<'a>) -> Self {
        Decoder { source, shape: None, is_of_stranger: false }
    }
}

fn put_positional<T: Serialize>(
    shape: &MethodShape,
    (place, value): (Value, &T),
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let format =
        shape.format(place).map_err(|reason| WireError::NotPositional(reason.to_owned()))?;
    let deviation = RefCell::default();
    let check = Check { graph: shape.graph(), format: Some(format), deviation: &deviation };
    let written = bincode::serde::encode_into_std_write(Checked { value, check }, out, config());
    match (deviation.into_inner(), written) {
        (Some(deviation), _) => Err(WireError::NotPositional(deviation)),
        (None, Err(error)) => Err(WireError::Encode(error.to_string())),
        (None, Ok(_)) => Ok(()),
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

/// What stands for `None` in named form.
pub(crate) const NAMED_NONE: u8 = 0xc0;

/// The values of a message in named form, one by one.
///
/// # Errors
/// When there are not `count` of them.
pub(crate) fn split_named(message: &[u8], count: usize) -> Result<Vec<&[u8]>, WireError> {
    let decode = |reason| WireError::Decode { expected: "a message by names", reason };
    let [NAMED, rest @ ..] = message else {
        return Err(WireError::UnknownFormat(message.first().copied()));
    };
    let (mut rest, mut values) = (rest, Vec::new());
    for _ in 0..count {
        let (_, used) =
            take_named::<serde::de::IgnoredAny>(rest).map_err(|error| decode(error.to_string()))?;
        let (value, after) = rest.split_at(used);
        values.push(value);
        rest = after;
    }
    if rest.is_empty() { Ok(values) } else { Err(WireError::LeftOver(rest.len())) }
}

/// Whether a message can only be read by a method of the same shape.
pub(crate) fn is_positional(message: &[u8]) -> bool {
    message.first() == Some(&POSITIONAL)
}

#[cfg(test)]
mod tests;
