//! Sockets.

use std::time::Duration;

use durable::{
    Body, Context, Error, ErrorKind, Message, Request, Response, SocketState, WebSocket,
};
use serde_json::{Value as Json, json};

use super::{Failure, Outcome, Turn};
use crate::case::{CloseArguments, Offer, SocketAction};
use crate::differences::Rule;
use crate::errors;
use crate::object::Interpreter;
use crate::value::Value;
use crate::world::World;

/// What the reference writes before a value when it serialises it: as many bytes, which count as well.
const HEAD: u8 = 1;

/// How long ago "recent" is at most.
const RECENT: Duration = Duration::from_mins(1);

/// The longest event timeout of the reference, in milliseconds.
const EVENT_TIMEOUT_MAX: f64 = 604_800_000.0;

impl<T: Interpreter> Turn<'_, T> {
    pub(super) fn socket(&mut self, action: &SocketAction) -> Outcome {
        match action {
            SocketAction::Count { tag } => Ok(json!(self.sockets(tag.as_ref()).len())),
            SocketAction::List { tag } => Ok(self.listed(tag.as_ref())),
            SocketAction::State { tag } => Ok(json!(state(&self.first(tag.as_ref())?))),
            SocketAction::Send { tag, data } => {
                self.first(tag.as_ref())?.send(message(data))?;
                Ok(Json::Null)
            }
            SocketAction::Broadcast { tag, data } => {
                let message = message(data);
                Ok(json!(match text(tag.as_ref()) {
                    None => self.ctx.broadcast(message),
                    Some(tag) => self.ctx.broadcast_tagged(&tag, message),
                }))
            }
            SocketAction::Close { tag, args } => self.close(tag.as_ref(), args),
            SocketAction::Attach { tag, value } => {
                attach(&self.first(tag.as_ref())?, value)?;
                Ok(Json::Null)
            }
            SocketAction::Attachment { tag } => attachment(&self.first(tag.as_ref())?),
            SocketAction::AttachUnaccepted { value } => {
                // Nobody sends the response: so there never is a socket.
                let (socket, _response) = self.accept_local(&[])?;
                attach(&socket, value)?;
                attachment(&socket)
            }
            SocketAction::AcceptLocal { tags } => {
                let (socket, response) = self.accept_local(tags)?;
                self.memory.local_sockets.push(response);
                Ok(socket.tags().collect())
            }
            SocketAction::AcceptMany { n } => {
                for _ in 0..*n {
                    let (_, response) = self.accept_local(&[json!("many")])?;
                    self.memory.local_sockets.push(response);
                }
                Ok(json!(n))
            }
            SocketAction::Auto { .. }
            | SocketAction::AutoGet {}
            | SocketAction::AutoTime { .. } => self.auto_response(action),
            SocketAction::Timeout { ms } => self.set_event_timeout(*ms),
            SocketAction::TimeoutGet {} => {
                self.check_event_timeout()?;
                Ok(json!(self.world.event_timeout(&self.ctx.id().to_string())))
            }
        }
    }

    /// Accepts a socket for a client; gives it with the response.
    pub(crate) fn accept(
        &mut self,
        request: &mut Request,
        offer: &Offer,
    ) -> durable::Result<(WebSocket, Response)> {
        let (socket, response) = self.ctx.accept_websocket(request, texts(&offer.tags))?;
        if let Some(value) = &offer.attachment {
            socket.set_attachment(&(HEAD, Value::read(value)))?;
        }
        if offer.is_plain && self.emulates(Rule::SocketsAreSeenTo) {
            self.keep_awake(&socket);
        }
        Ok((socket, response))
    }

    /// There, a socket that does not hibernate is not listed, and keeps its object in memory.
    fn keep_awake(&self, socket: &WebSocket) {
        self.world.unlist(socket.id());
        let (handle, socket) = (self.ctx.handle(), socket.clone());
        self.ctx.wait_until(async move {
            while socket.state() != SocketState::Closed {
                handle.sleep(Duration::from_secs(1)).await;
            }
        });
    }

    fn accept_local(&self, tags: &[Json]) -> Result<(WebSocket, Response), Failure> {
        let accepted = self.ctx.accept_websocket(&mut upgrade(), texts(tags));
        accepted.map_err(|error| refused(&error, "error"))
    }

    fn sockets(&self, tag: Option<&Json>) -> Vec<WebSocket> {
        let mut sockets = match text(tag) {
            None => self.ctx.websockets(),
            Some(tag) => self.ctx.websockets_tagged(&tag),
        };
        sockets.retain(|socket| !self.world.is_unlisted(socket.id()));
        sockets
    }

    /// The tags of each. There, the youngest is the first if all are listed.
    fn listed(&self, tag: Option<&Json>) -> Json {
        let mut sockets = self.sockets(tag);
        if tag.is_none() && sockets.len() > 1 && self.emulates(Rule::SocketsAreSeenTo) {
            sockets.reverse();
        }
        sockets.iter().map(|socket| socket.tags().collect::<Json>()).collect()
    }

    fn first(&self, tag: Option<&Json>) -> Result<WebSocket, Failure> {
        let first = self.sockets(tag).into_iter().next();
        first.ok_or_else(|| Failure::error("type_error", "there is no such socket"))
    }

    fn close(&self, tag: Option<&Json>, arguments: &CloseArguments) -> Outcome {
        let socket = self.first(tag)?;
        // There, a reason alone is an error of its own.
        let kind = if arguments.code().is_some() { "error" } else { "type_error" };
        close(&socket, arguments).map_err(|error| refused(&error, kind))?;
        self.world.object_closes(socket.id());
        Ok(Json::Null)
    }

    fn auto_response(&self, action: &SocketAction) -> Outcome {
        let ctx = self.ctx;
        match action {
            SocketAction::Auto { req, res, clear } => {
                let pair = text(Some(req)).zip(text(Some(res))).filter(|_| !clear);
                let set = ctx.set_websocket_auto_response(borrowed(pair.as_ref()));
                set.map_err(|error| refused(&error, "range_error"))?;
                self.world.set_auto_response(&ctx.id().to_string(), pair);
                Ok(Json::Null)
            }
            SocketAction::AutoTime { tag } => {
                let time = self.first(tag.as_ref())?.auto_responded_at();
                let since = time.map(|time| ctx.now().duration_since(time).unwrap_or_default());
                Ok(since.map_or(Json::Null, |since| {
                    json!({ "isDate": true, "recent": since <= RECENT })
                }))
            }
            _ => Ok(ctx.websocket_auto_response().map_or(Json::Null, |(request, response)| {
                json!({ "req": text_shown(&request), "res": text_shown(&response) })
            })),
        }
    }

    /// Here, handlers of sockets have the limit of all turns.
    fn check_event_timeout(&self) -> Result<(), Failure> {
        if self.emulates(Rule::SocketsAreSeenTo) {
            return Ok(());
        }
        Err(Failure::error(errors::NO_COUNTERPART, "events of sockets have no limit of their own"))
    }

    fn set_event_timeout(&self, millis: Option<f64>) -> Outcome {
        self.check_event_timeout()?;
        match millis {
            Some(millis) if millis < 0.0 => return Err(Failure::error("type_error", "negative")),
            Some(millis) if millis > EVENT_TIMEOUT_MAX => {
                return Err(Failure::error("error", "too long"));
            }
            _ => {}
        }
        let millis = millis.filter(|millis| *millis > 0.0);
        self.world.set_event_timeout(&self.ctx.id().to_string(), millis);
        Ok(Json::Null)
    }
}

/// There, what is answered without the object is known for as long as the process runs.
pub(crate) fn keep_auto_response<T: Interpreter>(
    ctx: &Context<T>,
    world: &World,
) -> durable::Result<()> {
    let pair = world.auto_response(&ctx.id().to_string());
    if pair.is_some()
        && ctx.websocket_auto_response().is_none()
        && world.emulates(Rule::SocketsAreSeenTo)
    {
        ctx.set_websocket_auto_response(borrowed(pair.as_ref()))?;
    }
    Ok(())
}

fn borrowed(pair: Option<&(String, String)>) -> Option<(&str, &str)> {
    pair.map(|(request, response)| (&**request, &**response))
}

/// Closes a socket as a case says.
pub(crate) fn close(socket: &WebSocket, arguments: &CloseArguments) -> durable::Result<()> {
    socket.close(code(arguments), &arguments.reason())
}

/// The code, or the nearest that there is.
pub(crate) fn code(arguments: &CloseArguments) -> Option<u16> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the nearest")]
    arguments.code().map(|code| code as u16)
}

/// As JavaScript counts them.
pub(crate) fn state(socket: &WebSocket) -> u8 {
    match socket.state() {
        SocketState::Open => 1,
        SocketState::Closing => 2,
        _ => 3,
    }
}

fn attach(socket: &WebSocket, value: &Json) -> Result<(), Failure> {
    let attached = socket.set_attachment(&(HEAD, Value::read(value)));
    attached.map_err(|error| refused(&error, "error"))
}

fn attachment(socket: &WebSocket) -> Outcome {
    let attached = socket.attachment::<(u8, Value)>()?;
    Ok(attached.map_or(Json::Null, |(_, value)| value.record()))
}

fn refused(error: &Error, kind: &str) -> Failure {
    Failure::Error(refusal(error, kind))
}

/// What an error is recorded as by which a socket refuses something: the reference has its own kinds for that.
pub(crate) fn refusal(error: &Error, kind: &str) -> Json {
    match error.kind() {
        ErrorKind::Limit | ErrorKind::Invalid => errors::error_of(kind, error.message()),
        _ => errors::record(error),
    }
}

/// What a case sends.
pub(crate) fn message(data: &Json) -> Message {
    match Value::read(data) {
        Value::Blob(bytes) => Message::Binary(bytes),
        Value::Text(text) => Message::Text(text),
        other => Message::Text(other.record().to_string()),
    }
}

fn text_shown(text: &str) -> Json {
    Value::Text(text.to_owned()).record()
}

fn text(json: Option<&Json>) -> Option<String> {
    json.map(Value::read)?.text().map(str::to_owned)
}

fn texts(list: &[Json]) -> Vec<String> {
    list.iter().filter_map(|json| text(Some(json))).collect()
}

/// A request for a socket, from the object itself.
fn upgrade() -> Request {
    let mut request = Request::new(Body::empty());
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    request
}
