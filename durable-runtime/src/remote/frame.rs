//! What goes over the connection: one frame in each binary message of a WebSocket.
//!
//! A frame is a head in bincode and then, to its end, the arguments or the reply as they are. Nothing in a frame is believed:
//! a head takes [`HEAD_BYTES_MAX`] at most, and lengths are checked before anything is made of them.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::failed::Failed;
use crate::id::RawId;
use crate::wire::MESSAGE_BYTES_MAX;

/// The WebSocket subprotocol. Another number is another form of the frames.
pub const PROTOCOL: &str = "durable.rpc.1";

/// The code of the close frame by which a server says that it takes no more calls, and has answered all that it has taken. One that
/// nobody else uses: proxies close with the codes of the standard.
pub const LEAVING: u16 = 4012;

/// The most that a head takes, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The largest frame, in bytes.
pub const CALL_FRAME_BYTES_MAX: usize = HEAD_BYTES_MAX + MESSAGE_BYTES_MAX;

/// How many gates go along: the innermost.
pub const GATES_MAX: usize = 32;

/// How many arguments a method has at most.
const NAMES_MAX: usize = 16;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<HEAD_BYTES_MAX>()
}

/// Why a frame cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FrameError(String);

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RemoteAddress {
    /// By its name.
    Name(String),
    /// By its id.
    Id([u8; 32]),
}

impl RemoteAddress {
    /// How a path names it: `name` or `id`, and which.
    pub fn in_path(&self) -> (&'static str, String) {
        match self {
            RemoteAddress::Name(name) => ("name", name.clone()),
            RemoteAddress::Id(id) => ("id", RawId::from_bytes(*id).to_string()),
        }
    }
}

/// A closed gate that waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateLink {
    /// The process in which it is.
    pub process: u64,
    /// Its number there.
    pub number: u64,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ToServer {
    /// Make this call.
    Call(Box<CallFrame>),
    /// The call with this number is not to be made, if it has not begun; nobody waits for its reply.
    Cancel(u64),
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallFrame {
    /// Its number on this connection.
    pub number: u64,
    /// The class name.
    pub class: Cow<'static, str>,
    /// The object.
    pub object: RemoteAddress,
    /// The method's name.
    pub method: Cow<'static, str>,
    /// The fingerprint of the method's shape, as the client has it.
    pub fingerprint: Option<u64>,
    /// Whether the client need not be told about the method.
    pub knows: bool,
    /// How long its caller waits.
    pub timeout: Option<Duration>,
    /// The gates that wait for it, the innermost first.
    pub gates: Vec<GateLink>,
    /// The names of the arguments, in their order, if the message is to be read by names.
    pub names: Vec<Cow<'static, str>>,
    /// A message with the arguments.
    pub arguments: Bytes,
}

/// What a server says of one of its methods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whether its shape is the one that the client has.
    pub agrees: bool,
    /// If not, its shape in words.
    pub shape: Option<String>,
}

/// What a server sends: how a call has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyFrame {
    /// The number of the call.
    pub number: u64,
    /// What the client does not know yet.
    pub known: Option<Known>,
    /// How it has ended.
    pub outcome: Outcome,
}

/// How a call has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The method's value, as a message.
    Value(Bytes),
    /// The method's own error, as a message.
    Error(Bytes),
    /// It gave neither.
    Failed(Failed),
}

#[derive(Serialize, Deserialize)]
enum ClientHead<'a> {
    Call {
        number: u64,
        class: Cow<'a, str>,
        object: Cow<'a, RemoteAddress>,
        method: Cow<'a, str>,
        fingerprint: Option<u64>,
        knows: bool,
        timeout_ms: Option<u64>,
        gates: Cow<'a, [GateLink]>,
        names: Cow<'a, [Cow<'static, str>]>,
    },
    Cancel(u64),
}

#[derive(Serialize, Deserialize)]
struct ServerHead<'a> {
    number: u64,
    known: Option<Cow<'a, Known>>,
    outcome: OutcomeHead<'a>,
}

#[derive(Serialize, Deserialize)]
enum OutcomeHead<'a> {
    Value,
    Error,
    Failed(Cow<'a, Failed>),
}

impl CallFrame {
    /// The frame as bytes.
    ///
    /// # Errors
    /// When a name is too long for a frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
        let head = ClientHead::Call {
            number: self.number,
            class: Cow::Borrowed(&self.class),
            object: Cow::Borrowed(&self.object),
            method: Cow::Borrowed(&self.method),
            fingerprint: self.fingerprint,
            knows: self.knows,
            timeout_ms: self.timeout.and_then(milliseconds),
            gates: Cow::Borrowed(&self.gates),
            names: Cow::Borrowed(&self.names),
        };
        join(&head, &self.arguments)
    }
}

impl ToServer {
    /// The frame as bytes.
    ///
    /// # Errors
    /// When a name is too long for a frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        match self {
            ToServer::Cancel(number) => join(&ClientHead::Cancel(*number), &[]),
            ToServer::Call(call) => call.encode(),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(frame: &Bytes) -> Result<Self, FrameError> {
        let (head, rest) = split::<ClientHead<'_>>(frame)?;
        Ok(match head {
            ClientHead::Cancel(number) => ToServer::Cancel(number),
            ClientHead::Call {
                number,
                class,
                object,
                method,
                fingerprint,
                knows,
                timeout_ms,
                gates,
                names,
            } if gates.len() <= GATES_MAX && names.len() <= NAMES_MAX => {
                ToServer::Call(Box::new(CallFrame {
                    number,
                    class: Cow::Owned(class.into_owned()),
                    object: object.into_owned(),
                    method: Cow::Owned(method.into_owned()),
                    fingerprint,
                    knows,
                    timeout: timeout_ms.map(Duration::from_millis),
                    gates: gates.into_owned(),
                    names: names.into_owned(),
                    // A copy: a slice would keep all that was read together with it.
                    arguments: Bytes::copy_from_slice(&rest),
                }))
            }
            ClientHead::Call { .. } => {
                let text = "a call has more gates or arguments than there can be";
                return Err(FrameError(text.to_owned()));
            }
        })
    }
}

impl ReplyFrame {
    /// The frame as bytes.
    ///
    /// # Errors
    /// When what is said in it is too long for a frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let (outcome, rest): (_, &[u8]) = match &self.outcome {
            Outcome::Value(message) => (OutcomeHead::Value, message),
            Outcome::Error(message) => (OutcomeHead::Error, message),
            Outcome::Failed(failed) => (OutcomeHead::Failed(Cow::Borrowed(failed)), &[]),
        };
        let known = self.known.as_ref().map(Cow::Borrowed);
        join(&ServerHead { number: self.number, known, outcome }, rest)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(frame: &Bytes) -> Result<Self, FrameError> {
        let (head, rest) = split::<ServerHead<'_>>(frame)?;
        let outcome = match head.outcome {
            OutcomeHead::Value => Outcome::Value(rest),
            OutcomeHead::Error => Outcome::Error(rest),
            OutcomeHead::Failed(failed) => Outcome::Failed(failed.into_owned()),
        };
        Ok(ReplyFrame { number: head.number, known: head.known.map(Cow::into_owned), outcome })
    }
}

fn join<H: Serialize>(head: &H, rest: &[u8]) -> Result<Bytes, FrameError> {
    let frame = BytesMut::with_capacity(128 + rest.len());
    let mut writer = frame.writer();
    let written = crate::error::for_strangers(|| {
        bincode::serde::encode_into_std_write(head, &mut writer, config())
    });
    let bytes = written.map_err(|error| FrameError(error.to_string()))?;
    if bytes > HEAD_BYTES_MAX {
        return Err(FrameError(format!(
            "the head of a frame has {bytes} bytes, over {HEAD_BYTES_MAX}"
        )));
    }
    let mut frame = writer.into_inner();
    frame.put_slice(rest);
    Ok(frame.freeze())
}

fn split<H: for<'de> Deserialize<'de>>(frame: &Bytes) -> Result<(H, Bytes), FrameError> {
    let (head, used) = bincode::serde::decode_from_slice(frame, config())
        .map_err(|error| FrameError(error.to_string()))?;
    Ok((head, frame.slice(used..)))
}

#[cfg(test)]
mod tests;
