//! How a connection is made, and when after one has failed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use durable_runtime::remote::{CALL_FRAME_BYTES_MAX, Failed, PROTOCOL, Progress, Watched};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Headers;
use crate::url::ServerUrl;

/// A connection to a server.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<Watched<TcpStream>>>;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long to wait before the second attempt; each time twice as long, up to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Makes connections to one server.
pub(crate) struct Connector {
    url: Arc<ServerUrl>,
    headers: Headers,
}

impl Connector {
    pub(crate) fn new(url: Arc<ServerUrl>, headers: Headers) -> Self {
        Connector { url, headers }
    }

    /// Tries once; gives why not as calls are told it.
    pub(crate) async fn connect(&self) -> Result<(Socket, Progress), Failed> {
        match tokio::time::timeout(ATTEMPT, self.attempt()).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(Error::Http(refusal))) if refusal.status().is_client_error() => {
                let status = refusal.status();
                let said = refusal.body().as_deref().map(String::from_utf8_lossy);
                let reason = said.filter(|said| !said.is_empty()).map_or_else(
                    || status.canonical_reason().unwrap_or("it says no more").to_owned(),
                    std::borrow::Cow::into_owned,
                );
                Err(Failed::Denied { status: status.as_u16(), reason })
            }
            Ok(Err(error)) => Err(self.failed(&error.to_string())),
            Err(_) => Err(self.failed(&format!("it does not answer within {ATTEMPT:?}"))),
        }
    }

    async fn attempt(&self) -> Result<(Socket, Progress), Error> {
        let mut request = self.url.rpc().into_client_request()?;
        fill(&self.headers, request.headers_mut())
            .map_err(|text| Error::Io(io::Error::other(text)))?;
        let protocol = HeaderValue::from_static(PROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        let config = WebSocketConfig::default()
            .max_message_size(Some(CALL_FRAME_BYTES_MAX))
            .max_frame_size(Some(CALL_FRAME_BYTES_MAX));
        let stream = TcpStream::connect(self.url.place()).await?;
        // Frames are small and written whole: without Nagle's algorithm.
        stream.set_nodelay(true)?;
        let stream = Watched::new(stream);
        let progress = stream.progress();
        let socket = self.handshake(request, stream, config).await?;
        Ok((socket, progress))
    }

    #[cfg(not(feature = "tls"))]
    async fn handshake(
        &self,
        request: Request,
        stream: Watched<TcpStream>,
        config: WebSocketConfig,
    ) -> Result<Socket, Error> {
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(socket)
    }

    #[cfg(feature = "tls")]
    async fn handshake(
        &self,
        request: Request,
        stream: Watched<TcpStream>,
        config: WebSocketConfig,
    ) -> Result<Socket, Error> {
        let connector = if self.url.is_secure() {
            tokio_tungstenite::Connector::Rustls(crate::tls::config()?)
        } else {
            tokio_tungstenite::Connector::Plain
        };
        let (socket, _) = tokio_tungstenite::client_async_tls_with_config(
            request,
            stream,
            Some(config),
            Some(connector),
        )
        .await?;
        Ok(socket)
    }

    fn failed(&self, why: &str) -> Failed {
        Failed::Disconnected { reason: format!("{}: {why}", self.url), sent: false }
    }
}

/// Lets the user's hook fill in headers.
///
/// # Errors
/// When it panics.
pub(crate) fn fill(hook: &Headers, headers: &mut HeaderMap) -> Result<(), &'static str> {
    let filled = catch_unwind(AssertUnwindSafe(|| hook(headers)));
    filled.map_err(|_| "the hook for headers panicked")
}

/// How long to wait between attempts: longer and longer, and never the same for all clients of a server.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The wait before an attempt after a connection: none, if that has served its purpose.
    pub(crate) fn again(&mut self, random: f64) -> Duration {
        match self.failures {
            0 => {
                self.failures = 1;
                Duration::ZERO
            }
            _ => self.next(random),
        }
    }

    /// The wait before the next attempt, after one that failed.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let doubled = DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.5 + random / 2.0)
    }

    /// A connection has served its purpose.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.again(1.0), Duration::ZERO);
        let waits: Vec<_> = (0..10).map(|_| back_off.next(1.0).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(back_off.next(0.0), DELAY_MAX / 2);
        back_off.reset();
        assert_eq!(back_off.again(1.0), Duration::ZERO);
        assert_eq!(back_off.again(0.0), DELAY_MIN / 2);
    }
}
