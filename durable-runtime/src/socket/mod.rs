//! Hibernating WebSockets: sockets that stay open while their object sleeps.
//!
//! The guarantees:
//! - **Nothing leaves before it is durable.** What a turn does to sockets (accepting, sending, closing, attaching) is a part
//!   of it: kept back until its commit, dropped with it, and a frame is written only when the turn is durable.
//! - **Sockets belong to the object, not to its instance.** They outlive evictions and turns that are undone; the next frame wakes the object.
//!   Only a reset drops them: it starts the object over.
//! - **In order.** Frames of one socket are handled one after the other, and the next is read only when the turn of the one before is
//!   over: that is the back-pressure. What is sent is written in the order of its turns.
//! - **Exactly one close event per socket**, whoever closes first and however the connection ends; none when it is the object that
//!   ends: at a reset, and with the process.
//!
//! The parts: [`line`] decides what one socket writes, and which event it raises; [`shared`] is a socket as its users share
//! it; [`set`] has those of one object; [`changes`] keeps what the turn does that runs; [`home`] calls the handlers;
//! [`driver`] is what a transport holds. The runtime knows no network: whoever answers the request
//! takes the driver from the response.

pub(crate) mod changes;
mod context;
mod driver;
pub(crate) mod home;
mod line;
mod message;
mod set;
pub(crate) mod shared;
mod tags;
mod upgrade;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gate::Unconfirmed;
use crate::instance::chain;
use crate::instance::turn::in_a_turn;
use crate::storage::{read_message, write_message};
use crate::{Error, ErrorKind, Result};
use shared::{Held, Shared, closed};

pub use driver::{PendingSocket, SocketDriver};
pub use message::{Close, CloseFrame, Incoming, Message, Outgoing, SocketError, SocketState};
pub(crate) use set::Sockets;
pub use tags::Tags;
#[cfg(feature = "testing")]
pub(crate) use upgrade::complete;

/// Sockets that one object may have: 32,768.
pub const SOCKETS_MAX: usize = 32_768;

/// Tags that one socket may have: 10.
pub const SOCKET_TAGS_MAX: usize = 10;

/// How long a tag may be, in bytes: 256.
pub const SOCKET_TAG_BYTES_MAX: usize = 256;

/// How large an attachment may be as it is kept, in bytes: 16 KiB.
pub const SOCKET_ATTACHMENT_BYTES_MAX: usize = 16 * 1024;

/// How long the request and the response of an automatic answer may be, in bytes: 2 KiB each.
pub const SOCKET_AUTO_RESPONSE_BYTES_MAX: usize = 2 * 1024;

/// How long a peer may be silent, unless [`Builder::websocket_idle_ping`](crate::Builder::websocket_idle_ping) says
/// otherwise: 30 seconds.
pub const SOCKET_IDLE_PING: Duration = Duration::from_secs(30);

/// How long a message from a peer may be, unless
/// [`Builder::websocket_message_limit`](crate::Builder::websocket_message_limit) says otherwise: 32 MiB.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much may wait to be written to one socket, unless
/// [`Builder::websocket_queue_limit`](crate::Builder::websocket_queue_limit) says otherwise: 4 MiB.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A WebSocket of an object, which stays open while the object sleeps.
///
/// Inside a turn, all that is done with it belongs to the turn: it happens when the turn is durable, and never if the turn is undone.
/// In async code it waits for what the handler has not confirmed, as a call does. Cloning gives the same socket;
/// two are equal if they are the same. The guide of the crate `durable` shows a whole object.
#[derive(Clone)]
pub struct WebSocket {
    shared: Arc<Shared>,
    /// Of the handler that it was given to.
    unconfirmed: Option<Arc<Unconfirmed>>,
}

impl WebSocket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        WebSocket { shared, unconfirmed: None }
    }

    /// The same socket for a handler: what it sends waits for what the handler does not confirm.
    pub(crate) fn remembering(self, unconfirmed: &Arc<Unconfirmed>) -> Self {
        WebSocket { unconfirmed: Some(Arc::clone(unconfirmed)), ..self }
    }

    /// A number that no other socket in this process has, now or later. Younger sockets have greater ones.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The tags that it was accepted with, in the order in which they were given, each once.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.shared.tags.iter().map(|tag| &**tag)
    }

    /// Whether it has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.shared.has_tag(tag)
    }

    /// How far it is. A turn that has closed it sees that at once.
    pub fn state(&self) -> SocketState {
        let closes = changes::in_turn(|changes| changes.has_closed(self.shared.id));
        match self.shared.state() {
            SocketState::Open if closes == Some(true) => SocketState::Closing,
            // The peer has closed already.
            SocketState::Closing if closes == Some(true) && !self.shared.closed_by_us() => {
                SocketState::Closed
            }
            state => state,
        }
    }

    /// When a message was last answered without the object: see
    /// [`set_websocket_auto_response`](crate::Context::set_websocket_auto_response). `None` if none was.
    pub fn auto_responded_at(&self) -> Option<SystemTime> {
        self.shared.auto_responded()
    }

    /// Sends a message: text (`&str`, `String`), bytes (`Bytes`, `Vec<u8>`, `&[u8]`), or a [`Message`].
    ///
    /// It is written in order after all that was sent before, as soon as the turn is durable. Whether it arrives is not known: a peer that is
    /// gone is no error. One that reads too slowly is closed with 1013, once more than
    /// [`Builder::websocket_queue_limit`](crate::Builder::websocket_queue_limit) waits for it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the object has closed the socket.
    pub fn send(&self, message: impl Into<Message>) -> Result<()> {
        let frame = Outgoing::from(message.into());
        if self.shared.closed_by_us() {
            return Err(closed());
        }
        let in_turn = changes::put(frame, |changes, frame| {
            if changes.has_closed(self.shared.id) {
                return Err(closed());
            }
            changes.send(&self.shared, frame);
            Ok(())
        });
        in_turn.unwrap_or_else(|frame| self.shared.send(self.held()?, frame))
    }

    /// Closes the socket, after all that was sent before: with a code and a reason, or `None` and `""`. A socket that is closed already stays
    /// as it is.
    ///
    /// The close event follows when the peer has answered, or the connection is gone; it is dropped after ten seconds without an answer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a code other than 1000 to 1003 and 1007 to 4999 without 1015, and for a reason of more than 123
    /// bytes, or without a code.
    pub fn close(&self, code: impl Into<Option<u16>>, reason: &str) -> Result<()> {
        let frame = CloseFrame::checked(code.into(), reason)?;
        if self.shared.closed_by_us() {
            return Ok(());
        }
        let in_turn = changes::put(frame, |changes, frame| {
            if !changes.has_closed(self.shared.id) {
                changes.close(&self.shared, frame);
            }
        });
        if let Err(frame) = in_turn {
            self.shared.close(self.held()?, frame);
        }
        Ok(())
    }

    /// What was attached to the socket, if anything was.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`] when it cannot be read as a `V`.
    pub fn attachment<V: DeserializeOwned>(&self) -> Result<Option<V>> {
        let changed = changes::in_turn(|changes| changes.attachment(self.shared.id)).flatten();
        let Some(bytes) = changed.or_else(|| self.shared.attachment()) else { return Ok(None) };
        read_message(&bytes).map(Some).map_err(|reason| {
            let wanted = std::any::type_name::<V>();
            let text = format!("the socket's attachment cannot be read as `{wanted}`: {reason}");
            Error::new(ErrorKind::Conversion, text)
        })
    }

    /// Attaches a value to the socket, in place of what was attached before: who is at the other end, say. It is kept as
    /// long as the socket, also while the object sleeps, and goes with it.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when it has more than 16 KiB as `MessagePack`, [`ErrorKind::Encoding`] when it cannot be written as that.
    pub fn set_attachment(&self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let bytes = write_message(value).map_err(|reason| {
            Error::new(ErrorKind::Encoding, format!("the value cannot be attached: {reason}"))
        })?;
        if bytes.len() > SOCKET_ATTACHMENT_BYTES_MAX {
            let text = format!(
                "the attachment has {} bytes, over the limit of {SOCKET_ATTACHMENT_BYTES_MAX}; keep the value in the database, and attach its key",
                bytes.len()
            );
            return Err(Error::new(ErrorKind::Limit, text));
        }
        let bytes = bytes.into_boxed_slice();
        let in_turn = changes::put(bytes, |changes, bytes| changes.attach(&self.shared, bytes));
        if let Err(bytes) = in_turn {
            self.shared.set_attachment(bytes);
        }
        Ok(())
    }

    /// What an output must wait for that no turn makes.
    fn held(&self) -> Result<Held> {
        if in_a_turn() {
            // The code of a destructor, after its turn: nobody knows what it has seen.
            return Err(Error::new(
                ErrorKind::Invalid,
                "nothing can be sent while an instance is dropped",
            ));
        }
        let here = chain::unconfirmed_here();
        let remembered = self
            .unconfirmed
            .as_ref()
            .filter(|remembered| here.as_ref().is_none_or(|here| !Arc::ptr_eq(here, remembered)));
        let handlers = here.iter().chain(remembered);
        let barriers: Vec<_> = handlers.filter_map(|handler| handler.barrier()).collect();
        Ok(if barriers.is_empty() { Held::No } else { Held::Handler(barriers) })
    }
}

impl PartialEq for WebSocket {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for WebSocket {}

impl Hash for WebSocket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("id", &self.id())
            .field("tags", &self.shared.tags)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
