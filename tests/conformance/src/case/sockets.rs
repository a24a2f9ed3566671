//! What cases do with WebSockets: as a client, inside the object, and in its handlers.

use serde::Deserialize;
use serde_json::Value as Json;

use super::Ops;
use crate::value::Value;

/// What a client does.
#[derive(Clone, Debug)]
pub enum ClientStep {
    /// Asks the object for a socket.
    Open {
        /// Which object of the case.
        object: String,
        /// How it is accepted.
        offer: Offer,
    },
    /// Sends a message.
    Send(Json),
    /// Waits for messages.
    Receive {
        /// For so many.
        count: usize,
        /// So many milliseconds.
        timeout: u64,
    },
    /// Closes.
    Close(CloseArguments),
    /// Drops the connection.
    Terminate,
    /// Waits for the end of the connection, so many milliseconds.
    Closed(u64),
    /// Sends a ping with this in it, and waits for the pong.
    Ping(Json),
}

/// A code and a reason, as JavaScript takes them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct CloseArguments(Vec<Json>);

impl CloseArguments {
    /// The code, if there is one: any number, or the digits of one.
    pub(crate) fn code(&self) -> Option<f64> {
        match Value::read(self.0.first()?) {
            Value::Number(code) => Some(code),
            Value::Text(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn reason(&self) -> String {
        let reason = self.0.get(1).map(Value::read);
        reason.as_ref().and_then(Value::text).unwrap_or_default().to_owned()
    }
}

/// How an object accepts a socket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Offer {
    /// With these tags.
    pub(crate) tags: Vec<Json>,
    /// With this attached.
    pub(crate) attachment: Option<Json>,
    /// As one that does not hibernate.
    #[serde(rename = "plainAccept")]
    pub(crate) is_plain: bool,
}

/// What an object's handlers of sockets do by themselves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SocketScript {
    /// Sends each message back.
    pub(crate) echo: bool,
    /// Closes with this when the client has.
    pub(crate) close_back: Option<CloseArguments>,
    /// Sends a message when the client has closed.
    pub(crate) send_in_close: bool,
    /// Throws when the client has closed.
    pub(crate) throw_in_close: bool,
}

/// An operation on sockets. Without a tag it is about all of them, or about the first.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op")]
pub enum SocketAction {
    #[serde(rename = "ws.count")]
    Count { tag: Option<Json> },
    #[serde(rename = "ws.list")]
    List { tag: Option<Json> },
    #[serde(rename = "ws.state")]
    State { tag: Option<Json> },
    #[serde(rename = "ws.send")]
    Send { tag: Option<Json>, data: Json },
    #[serde(rename = "ws.broadcast")]
    Broadcast { tag: Option<Json>, data: Json },
    #[serde(rename = "ws.close")]
    Close {
        tag: Option<Json>,
        #[serde(default)]
        args: CloseArguments,
    },
    #[serde(rename = "ws.attach")]
    Attach {
        tag: Option<Json>,
        #[serde(default = "super::undefined")]
        value: Json,
    },
    #[serde(rename = "ws.attachment")]
    Attachment { tag: Option<Json> },
    /// To a socket that is not accepted yet.
    #[serde(rename = "ws.attachUnaccepted")]
    AttachUnaccepted { value: Json },
    /// The client's end is the object's, too.
    #[serde(rename = "ws.acceptLocal")]
    AcceptLocal {
        #[serde(default)]
        tags: Vec<Json>,
    },
    #[serde(rename = "ws.acceptMany")]
    AcceptMany { n: usize },
    #[serde(rename = "ws.auto")]
    Auto {
        #[serde(default)]
        req: Json,
        #[serde(default)]
        res: Json,
        #[serde(default)]
        clear: bool,
    },
    #[serde(rename = "ws.auto.get")]
    AutoGet {},
    #[serde(rename = "ws.auto.ts")]
    AutoTime { tag: Option<Json> },
    #[serde(rename = "ws.timeout")]
    Timeout { ms: Option<f64> },
    #[serde(rename = "ws.timeout.get")]
    TimeoutGet {},
}

/// The operations that a message consists of, if it does: `{"ops": [..]}`.
pub(crate) fn ops_in(message: &str) -> Option<Ops> {
    let json: Json = serde_json::from_str(message).ok()?;
    Ops::deserialize(json.get("ops")?).ok()
}

pub(super) fn read_step(json: &Json) -> Option<ClientStep> {
    const RECEIVE_MILLIS: u64 = 2_000;
    const CLOSED_MILLIS: u64 = 1_000;
    let number = |key: &str| json.get(key).and_then(Json::as_u64);
    let is_true = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or_default();
    let timeout = |default| number("timeout").unwrap_or(default);
    if let Some(object) = json.get("open") {
        let offer = json.get("o").map_or(Ok(Offer::default()), Offer::deserialize).ok()?;
        return Some(ClientStep::Open { object: object.as_str()?.to_owned(), offer });
    }
    if let Some(data) = json.get("send") {
        return Some(ClientStep::Send(data.clone()));
    }
    if let Some(count) = number("recv") {
        let count = usize::try_from(count).ok()?;
        return Some(ClientStep::Receive { count, timeout: timeout(RECEIVE_MILLIS) });
    }
    if let Some(close) = json.get("close") {
        return CloseArguments::deserialize(close).ok().map(ClientStep::Close);
    }
    if is_true("terminate") {
        return Some(ClientStep::Terminate);
    }
    if is_true("closed") {
        return Some(ClientStep::Closed(timeout(CLOSED_MILLIS)));
    }
    json.get("ping").cloned().map(ClientStep::Ping)
}
