//! Calls of stubs in other programs: many over one connection.
//!
//! A client opens a WebSocket at `/rpc` and sends a frame for each call. A call passes the user's layers as a request of its own, with its [`Target`](crate::Target)
//! and the headers that the connection was opened with, so whoever decides about calls by JSON decides about these too.
//!
//! Guarantees:
//! - Calls to one object reach it in the order of their frames, however long a layer takes over one of them.
//! - What was not exposed is not there.
//! - What a client sends makes this program hold no more than [`BYTES_MAX`] bytes and [`CALLS_MAX`] calls.

mod calls;
mod connection;

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use durable_runtime::remote::{self, Known, Outcome, PROTOCOL, Watched};
use durable_runtime::{BoxFuture, Error, ErrorKind};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::failure::Failure;
use crate::gateway::Gateway;
use calls::Calls;

/// How many calls of one connection may be unanswered.
pub(crate) const CALLS_MAX: usize = 16 * 1024;

/// How many bytes of one connection may be waiting: arguments of calls that run, and replies that are not written.
pub(crate) const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Clients say every few seconds that they are there; one that has been silent for so long is not.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);

/// Where clients connect to.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) gateway: Arc<Gateway>,
    /// What calls pass: the user's layers, and the gateway behind them. `None` if there are no layers: then the gateway has
    /// the calls at once.
    pub(crate) layered: Option<axum::Router>,
}

/// A call among the extensions of the request that it passes the layers as.
#[derive(Clone)]
pub(crate) struct Arrived(Arc<Mutex<Option<Passing>>>);

struct Passing {
    call: remote::CallFrame,
    /// Lets the next call to the object follow.
    lane: OwnedMutexGuard<()>,
}

/// What came of a call, among the extensions of its response.
#[derive(Clone)]
pub(crate) struct Answered(Arc<Mutex<Option<Answer>>>);

struct Answer {
    known: Option<Known>,
    outcome: Outcome,
}

impl Answered {
    fn new(known: Option<Known>, outcome: Outcome) -> Self {
        Answered(Arc::new(Mutex::new(Some(Answer { known, outcome }))))
    }
}

/// Makes a connection of a request.
pub(crate) async fn connect(State(entrance): State<Entrance>, mut request: Request) -> Response {
    if !entrance.gateway.origins.allow(request.uri(), request.headers()) {
        return Failure::foreign_origin().into_response();
    }
    let speaks = |header: &HeaderValue| {
        header.to_str().is_ok_and(|text| text.split(',').any(|word| word.trim() == PROTOCOL))
    };
    if !request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().any(speaks) {
        let message = format!("clients connect here by a WebSocket of the protocol `{PROTOCOL}`");
        return Failure::bad_request(message).into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let mut response = match create_response(&http::Request::from_parts(head.clone(), ())) {
        Ok(response) => response.map(|()| axum::body::Body::empty()),
        Err(error) => return Failure::bad_request(error.to_string()).into_response(),
    };
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    tokio::spawn(async move {
        let stream = match upgrade.await {
            Ok(stream) => Watched::new(TokioIo::new(stream)),
            Err(error) => return tracing::debug!(reason = %error, "a client did not connect"),
        };
        let progress = stream.progress();
        let frame_bytes_max = remote::CALL_FRAME_BYTES_MAX;
        let config = WebSocketConfig::default()
            .max_message_size(Some(frame_bytes_max))
            .max_frame_size(Some(frame_bytes_max));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let place = entrance.gateway.runtime.connection();
        connection::run(socket, Calls::new(entrance, head), place, progress).await;
    });
    response
}

impl Gateway {
    /// Hands a call on that has passed the layers.
    pub(crate) async fn arrived(&self, arrived: &Arrived) -> Response {
        let Some(Passing { call, lane }) = arrived.0.lock().take() else {
            return Failure::bad_request("a call is made once").into_response();
        };
        let (known, mut made) = self.made(call);
        // With the first poll the object has it, and the next one may follow.
        let first = poll_fn(|task| Poll::Ready(made.as_mut().poll(task))).await;
        drop(lane);
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => made.await,
        };
        let mut response = Response::new(axum::body::Body::empty());
        response.extensions_mut().insert(Answered::new(known, outcome));
        response
    }

    /// Finds the method, and what is to be told about it. The call is made in the first poll.
    fn made(&self, call: remote::CallFrame) -> (Option<Known>, BoxFuture<Outcome>) {
        let class = self.classes.iter().find(|exposed| exposed.class.name() == call.class);
        let found = class.and_then(|class| Some((class, class.method(&call.method)?)));
        let Some((class, method)) = found else {
            return (None, Box::pin(ready(nothing_here())));
        };
        let known = remote::known(method, &call);
        let made = class.class.arrive(method, call, self.timeout);
        let made = made.unwrap_or_else(|error| {
            Box::pin(ready(Outcome::Failed(remote::Failed::NotFound(error))))
        });
        (known, made)
    }
}

fn nothing_here() -> Outcome {
    let error = Error::new(ErrorKind::NotFound, "nothing is exposed under this name");
    Outcome::Failed(remote::Failed::NotFound(error))
}
