//! The clients of sockets.

use std::collections::HashMap;
use std::time::Duration;

use durable::testing::TestSocket;
use durable::{Body, Close, Error, Message, Request, Result};
use serde_json::{Value as Json, json};

use super::steps::Run;
use crate::case::{ClientStep, CloseArguments, Offer};
use crate::differences::Rule;
use crate::errors;
use crate::turn::sockets;
use crate::value::Value;

/// How long a client waits for a pong.
const PONG_TIME_MAX: Duration = Duration::from_secs(1);

/// The longest text that a recording of a client shows.
const SHOWN_CHARS_MAX: usize = 300;

/// The clients of a run, by what the case calls them.
pub(super) type Clients = HashMap<String, Client>;

/// A client of a socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: TestSocket,
    /// The number under which it has asked for it.
    number: usize,
    has_closed: bool,
}

impl Client {
    /// Whether the connection is there.
    pub(super) fn is_open(&self) -> bool {
        !self.socket.is_closed()
    }
}

impl Run<'_> {
    pub(super) async fn client(&mut self, name: &str, step: &ClientStep) -> Result<Json> {
        if let ClientStep::Open { object, offer } = step {
            return self.open(name, object, offer).await;
        }
        let missing = || Error::other(format_args!("there is no client {name:?}"));
        let client = self.clients.get_mut(name).ok_or_else(missing)?;
        match step {
            ClientStep::Send(data) => client.socket.send(sockets::message(data)),
            ClientStep::Close(arguments) => client.close(arguments),
            ClientStep::Terminate => client.socket.terminate(),
            _ => {}
        }
        let client = &self.clients[name];
        let result = match step {
            ClientStep::Receive { count, timeout } => {
                self.receive(client, *count, *timeout).await?
            }
            ClientStep::Closed(timeout) => self.closed(client, *timeout).await?,
            ClientStep::Ping(payload) => self.ping(client, payload).await?,
            _ => Json::Null,
        };
        self.stage.runtime.settle().await?;
        Ok(result)
    }

    async fn open(&mut self, name: &str, object: &str, offer: &Offer) -> Result<Json> {
        let (number, progress) = self.stage.world.offer(offer);
        let request = http::Request::builder().uri(format!("/sockets/{number}"));
        let request: Request = request.body(Body::empty()).map_err(Error::other)?;
        let stub = self.namespace().get(&self.id(object)?);
        let connected = self.stage.runtime.connect(&stub, request).await;
        self.stage.runtime.settle().await?;
        match (connected, progress.threw()) {
            (Ok(socket), _) => {
                let client = Client { socket, number, has_closed: false };
                self.clients.insert(name.to_owned(), client);
                Ok(json!({ "status": 101 }))
            }
            (Err(_), Some(threw)) => Ok(json!({ "status": 500, "error": threw })),
            (Err(error), None) => Ok(json!({ "error": errors::record(&error) })),
        }
    }

    async fn receive(&self, client: &Client, count: usize, timeout: u64) -> Result<Json> {
        let mut messages = Vec::new();
        let received = async {
            while messages.len() < count
                && let Ok(message) = client.socket.recv().await
            {
                messages.push(shown(message));
            }
        };
        self.with_time(received, Duration::from_millis(timeout)).await?;
        let missing = count - messages.len();
        if missing == 0 {
            return Ok(json!({ "messages": messages }));
        }
        Ok(json!({ "messages": messages, "missing": missing }))
    }

    async fn closed(&self, client: &Client, timeout: u64) -> Result<Json> {
        let closed = client.socket.closed();
        let Some(Ok(close)) = self.with_time(closed, Duration::from_millis(timeout)).await? else {
            return Ok(json!({ "no_close": true }));
        };
        let Close { code, reason, was_clean, .. } = close;
        Ok(if was_clean && !self.is_silenced(client) {
            json!({ "close_frame": { "code": code, "reason": reason } })
        } else if code == 1006 {
            json!({ "dropped": code })
        } else {
            // A frame that this client takes for a broken one is not reported.
            json!({ "no_close": true })
        })
    }

    /// Whether the object's runtime has answered where that of the reference leaves it to the object.
    fn is_silenced(&self, client: &Client) -> bool {
        client.has_closed
            && !self.stage.world.has_object_closed(client.number)
            && self.stage.world.emulates(Rule::SocketsAreSeenTo)
    }

    async fn ping(&self, client: &Client, payload: &Json) -> Result<Json> {
        let pong = self.with_time(client.socket.ping(), PONG_TIME_MAX).await?;
        Ok(match pong {
            Some(Ok(())) => json!({ "pong": payload }),
            _ => json!({ "no_pong": true }),
        })
    }
}

impl Client {
    fn close(&mut self, arguments: &CloseArguments) {
        self.has_closed = true;
        self.socket.close(sockets::code(arguments), &arguments.reason());
    }
}

fn shown(message: Message) -> Json {
    match message {
        Message::Text(text) => {
            let chars = text.encode_utf16().count();
            if chars <= SHOWN_CHARS_MAX {
                json!(text)
            } else {
                json!({ "$": "str", "chars": chars })
            }
        }
        Message::Binary(bytes) => Value::Blob(bytes).record(),
    }
}
