//! What travels over a WebSocket, as users and transports see it.

use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

/// The code of a close frame without one.
pub(crate) const NO_CODE: u16 = 1005;
/// The code of a connection that was lost.
pub(crate) const LOST: u16 = 1006;

/// How long the reason of a close frame may be, in bytes.
const REASON_BYTES_MAX: usize = 123;

/// A WebSocket message. Strings and bytes convert into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// The text, if it is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The bytes of the text, or the binary message.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Message::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Message::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Message::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<&Message> for Message {
    fn from(message: &Message) -> Self {
        message.clone()
    }
}

/// How a WebSocket was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The close code; 1005 if there was none, 1006 if the connection was lost.
    pub code: u16,
    /// The peer's reason; what happened, if the connection was lost.
    pub reason: String,
    /// Whether the close handshake was made.
    pub was_clean: bool,
}

impl Close {
    /// The peer has closed, with this frame.
    pub(crate) fn clean(frame: &CloseFrame) -> Self {
        let CloseFrame { code, reason } = frame;
        Close { code: code.unwrap_or(NO_CODE), reason: reason.clone(), was_clean: true }
    }

    /// The connection broke.
    pub(crate) fn lost(reason: &str) -> Self {
        Close { code: LOST, reason: reason.to_owned(), was_clean: false }
    }
}

/// Why a WebSocket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct SocketError {
    /// What happened.
    pub message: String,
}

/// How far a WebSocket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketState {
    /// Messages go both ways.
    Open,
    /// One side has closed, and the other has not answered yet.
    Closing,
    /// Both sides have closed, or the connection is lost.
    Closed,
}

/// A close frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why, as a number.
    pub code: Option<u16>,
    /// Why, in words.
    pub reason: String,
}

impl CloseFrame {
    /// One that the runtime sends by itself.
    pub(crate) fn of_runtime(code: u16, reason: &str) -> Self {
        CloseFrame { code: Some(code), reason: reason.to_owned() }
    }

    /// The answer to this one.
    pub(crate) fn answer(&self) -> Self {
        CloseFrame::checked(self.code, &self.reason)
            .unwrap_or_else(|_| CloseFrame::of_runtime(1002, "that is no close code"))
    }

    /// One that user code asks for.
    ///
    /// # Errors
    /// For a code that must not be sent, and a reason that is too long or without a code.
    pub(crate) fn checked(code: Option<u16>, reason: &str) -> Result<Self> {
        let refused = |text: String| Err(Error::new(ErrorKind::Invalid, text));
        match code {
            Some(..1000 | 1004..=1006 | 1015 | 5000..) => refused(format!(
                "{} is no close code that can be sent; use 1000, or one from 3000 to 4999",
                code.unwrap_or_default()
            )),
            None if !reason.is_empty() => {
                refused("a WebSocket cannot be closed with a reason and no code".to_owned())
            }
            _ if reason.len() > REASON_BYTES_MAX => refused(format!(
                "the reason of a close has {} bytes, over the limit of {REASON_BYTES_MAX}",
                reason.len()
            )),
            _ => Ok(CloseFrame { code, reason: reason.to_owned() }),
        }
    }
}

/// What a message takes in a queue beside its own bytes, roughly.
const PLACE_BYTES: usize = 64;

/// What a transport writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message: valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, to see whether the peer is still there.
    Ping,
    /// The close frame: nothing is written after it.
    Close(CloseFrame),
}

impl Outgoing {
    /// What it counts for in a queue, in bytes: its place there, too.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Outgoing::Text(bytes) | Outgoing::Binary(bytes) => bytes.len() + PLACE_BYTES,
            Outgoing::Ping | Outgoing::Close(_) => 0,
        }
    }
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Outgoing::Text(text.into()),
            Message::Binary(bytes) => Outgoing::Binary(bytes),
        }
    }
}

/// What a transport has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping, which the transport has answered, or a pong.
    Heartbeat,
    /// The peer's close frame.
    Close(CloseFrame),
    /// What breaks the protocol. The socket is closed with this code: 1002 for most, 1007 for text that is not
    /// UTF-8, 1009 for a message over [`SocketDriver::message_bytes_max`](super::SocketDriver::message_bytes_max).
    Invalid {
        /// The code of the close frame that answers it.
        code: u16,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_that_may_be_sent_are_those_of_the_reference() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 2999, 3000, 4000, 4999] {
            assert!(CloseFrame::checked(Some(code), "why").is_ok(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 5000] {
            let error = CloseFrame::checked(Some(code), "").unwrap_err();
            assert!(error.message().contains(&code.to_string()), "{error}");
        }
    }

    #[test]
    fn a_reason_needs_a_code_and_has_at_most_123_bytes() {
        assert_eq!(CloseFrame::checked(None, ""), Ok(CloseFrame::default()));
        assert!(CloseFrame::checked(None, "why").is_err());
        assert!(CloseFrame::checked(Some(1000), &"r".repeat(123)).is_ok());
        assert!(CloseFrame::checked(Some(1000), &"é".repeat(62)).is_err());
    }
}
