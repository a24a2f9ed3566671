//! What handlers take and give.
//!
//! Only `fetch` and `alarm` are called so far; a class with another handler compiles and is refused by
//! [`Builder::start`](crate::Builder::start), so that nobody waits for a call that never comes.

use std::time::SystemTime;

use bytes::Bytes;

use crate::Body;

/// An HTTP request, in process or from the network.
pub type Request = http::Request<Body>;
/// An HTTP response.
pub type Response = http::Response<Body>;

/// What an `alarm` handler is told about the run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlarmInfo {
    /// How many runs of this alarm failed before: 0 at the first run.
    pub retry_count: u32,
    /// Whether an earlier run failed.
    pub is_retry: bool,
    /// The time the alarm was set for.
    pub scheduled_time: SystemTime,
}

/// A WebSocket that its object may sleep under. None can be made yet: sockets come with the network.
#[derive(Debug)]
pub enum WebSocket {}

/// A WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

/// How a WebSocket was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The close code; 1005 if there was none, 1006 if the connection was lost.
    pub code: u16,
    /// The peer's reason.
    pub reason: String,
    /// Whether the close handshake was made.
    pub was_clean: bool,
}

/// Why a WebSocket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct SocketError {
    /// What happened.
    pub message: String,
}
