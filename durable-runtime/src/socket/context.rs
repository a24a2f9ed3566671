//! Sockets as a turn sees them.

use std::sync::Arc;

use super::changes::Setting;
use super::set::AutoResponse;
use super::shared::Shared;
use super::{
    Message, Outgoing, PendingSocket, SOCKET_AUTO_RESPONSE_BYTES_MAX, SOCKETS_MAX, SocketState,
    Tags, WebSocket, changes, tags, upgrade,
};
use crate::{Context, Error, ErrorKind, Request, Response, Result};

/// # WebSockets
///
/// Sockets belong to the object: they stay open while it sleeps, and a frame wakes it. All that a turn does with them is a part of the turn.
///
/// ```
/// use durable_runtime::{Context, Message, Request, Response, Result};
///
/// /// In `fetch`.
/// fn join(ctx: &Context, mut request: Request) -> Result<Response> {
///     let (socket, response) = ctx.accept_websocket(&mut request, ["member"])?;
///     socket.set_attachment(&"Ann")?;
///     Ok(response)
/// }
///
/// /// In `websocket_message`.
/// fn say(ctx: &Context, message: &Message) {
///     ctx.broadcast_tagged("member", message);
/// }
/// ```
impl Context {
    /// Accepts a WebSocket: gives it, and the response with which `fetch` answers the request. Whoever calls `fetch` over a network
    /// speaks WebSocket from then on; the socket's messages come to `websocket_message`.
    ///
    /// If the turn is undone there is no socket. If the response is not sent, the connection counts as lost.
    ///
    /// # Errors
    /// [`ErrorKind::NoUpgrade`] for a request that is no WebSocket upgrade: a handler that returns it answers with status 426.
    /// [`ErrorKind::Invalid`] for one that was accepted before,
    /// [`ErrorKind::Limit`] for more than 10 tags, a tag of more than 256 bytes, and a socket beyond the 32,768th.
    pub fn accept_websocket(
        &self,
        request: &mut Request,
        tags: impl Tags,
    ) -> Result<(WebSocket, Response)> {
        let tags = tags::checked(tags)?;
        let accepted = changes::in_turn(|changes| changes.accepted.len()).unwrap_or(0);
        if self.home().sockets().count() + accepted >= SOCKETS_MAX {
            let text = format!("the object has {SOCKETS_MAX} WebSockets, and may not have more");
            return Err(Error::new(ErrorKind::Limit, text));
        }
        upgrade::accept(request)?;
        let shared = Arc::new(Shared::new(tags, &**self.home()));
        changes::in_turn(|changes| changes.accepted.push(Arc::clone(&shared)));
        let pending = PendingSocket::new(Arc::clone(&shared), Arc::clone(self.home()));
        Ok((WebSocket::new(shared), upgrade::response(pending)))
    }

    /// The object's sockets, from the oldest to the youngest: also those that are being closed, until their close event is handled.
    pub fn websockets(&self) -> Vec<WebSocket> {
        self.sockets(None).map(WebSocket::new).collect()
    }

    /// The sockets that were accepted with this tag, from the oldest to the youngest. See [`websockets`](Context::websockets).
    pub fn websockets_tagged(&self, tag: &str) -> Vec<WebSocket> {
        self.sockets(Some(tag)).map(WebSocket::new).collect()
    }

    /// Sends a message to all sockets that are open, and says to how many. It is in memory once, however many there are.
    pub fn broadcast(&self, message: impl Into<Message>) -> usize {
        self.send_to_all(None, message.into())
    }

    /// Sends a message to all open sockets with this tag, and says to how many.
    pub fn broadcast_tagged(&self, tag: &str, message: impl Into<Message>) -> usize {
        self.send_to_all(Some(tag), message.into())
    }

    /// Has a text that clients send answered without waking the object, on all its sockets: `Some(("ping", "pong"))`. `None` ends that.
    ///
    /// It holds for as long as the object is in memory or has sockets; so set it in the constructor.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when either has more than 2 KiB.
    pub fn set_websocket_auto_response<'a>(
        &self,
        pair: impl Into<Option<(&'a str, &'a str)>>,
    ) -> Result<()> {
        let pair = pair.into();
        for (what, text) in
            pair.iter().flat_map(|(request, answer)| [("request", request), ("response", answer)])
        {
            if text.len() > SOCKET_AUTO_RESPONSE_BYTES_MAX {
                let text = format!(
                    "the {what} of an automatic answer has {} bytes, over the limit of {SOCKET_AUTO_RESPONSE_BYTES_MAX}",
                    text.len()
                );
                return Err(Error::new(ErrorKind::Limit, text));
            }
        }
        let auto_response = pair.map(|(request, response)| {
            Arc::new(AutoResponse { request: request.into(), response: response.to_owned().into() })
        });
        changes::in_turn(|changes| changes.auto_response = Setting::To(auto_response));
        Ok(())
    }

    /// The text that is answered by itself, and its answer, if there is one.
    pub fn websocket_auto_response(&self) -> Option<(String, String)> {
        let known = match changes::in_turn(|changes| changes.auto_response.clone()) {
            Some(Setting::To(changed)) => changed,
            Some(Setting::Unchanged) | None => self.home().sockets().auto_response(),
        }?;
        let response = String::from_utf8_lossy(&known.response).into_owned();
        Some((known.request.to_string(), response))
    }

    /// Those that are there, and those that this turn has accepted.
    fn sockets(&self, tag: Option<&str>) -> impl Iterator<Item = Arc<Shared>> {
        let accepted = changes::in_turn(|changes| changes.accepted.clone()).unwrap_or_default();
        let wanted = move |socket: &Arc<Shared>| tag.is_none_or(|tag| socket.has_tag(tag));
        self.home().sockets().list(tag).into_iter().chain(accepted.into_iter().filter(wanted))
    }

    fn send_to_all(&self, tag: Option<&str>, message: Message) -> usize {
        let frame = Outgoing::from(message);
        let mut count = 0;
        for socket in self.sockets(tag).filter(|socket| socket.state() == SocketState::Open) {
            changes::in_turn(|changes| {
                if !changes.has_closed(socket.id) {
                    changes.send(&socket, frame.clone());
                    count += 1;
                }
            });
        }
        count
    }
}
