//! Hibernating WebSockets over HTTP/1.1: the upgrade of a connection, and the task that runs it afterwards.
//!
//! The runtime decides what a socket does; here bytes become frames. `decode` reads them, and `wire` moves them.
//!
//! The guarantee: a socket that an object has accepted ends exactly once, whether its connection is upgraded or not. Its driver says so when
//! it is dropped.

mod decode;
mod wire;

use axum::response::Response;
use durable_runtime::transport::SocketDriver;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;

use crate::failure::Failure;

/// Whether the client wants a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

/// A connection that can become a WebSocket.
pub(crate) struct Upgrade {
    connection: OnUpgrade,
    /// The answer to the client's key, if it has sent one.
    accept: Option<HeaderValue>,
}

impl Upgrade {
    /// Takes the connection out of the request: it is nothing for the object.
    pub(crate) fn take(head: &mut Parts) -> Result<Self, Failure> {
        let connection = head.extensions.remove().ok_or_else(Failure::no_upgrade)?;
        let accept =
            head.headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
        let accept = accept.and_then(|accept| accept.parse().ok());
        Ok(Upgrade { connection, accept })
    }

    /// Has the socket run on the connection, once this response has been sent.
    pub(crate) fn run(self, driver: SocketDriver, response: &mut Response) {
        if let Some(accept) = self.accept {
            response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        tokio::spawn(run(driver, self.connection));
    }
}

async fn run(driver: SocketDriver, connection: OnUpgrade) {
    let upgraded = tokio::select! {
        upgraded = connection => upgraded,
        // A layer keeps the response back, say.
        () = driver.ended() => return,
    };
    match upgraded {
        Ok(connection) => {
            let bytes_max = driver.message_bytes_max();
            let (reader, writer) = wire::split(TokioIo::new(connection), bytes_max);
            driver.run(reader, writer).await;
        }
        Err(error) => {
            tracing::debug!(reason = %error, "a connection did not become a WebSocket");
            driver.closed("the connection was lost before it became a WebSocket");
        }
    }
}
