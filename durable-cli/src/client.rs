//! Asking a running program: HTTP over its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_runtime::admin::Operation;
use durable_runtime::{Error, ErrorKind, Result};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long a program may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A program that serves the admin API.
#[derive(Clone)]
pub(crate) enum Client {
    Unix(PathBuf),
    Tcp {
        /// Host and port.
        authority: String,
        token: String,
    },
}

impl Client {
    /// The program at a URL, for who has the token of a file.
    pub(crate) fn tcp(url: &str, token_file: &Path) -> Result<Client> {
        let invalid = |text: String| Error::new(ErrorKind::Invalid, text);
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            invalid(format!("{url:?} does not begin with `http://`, and nothing else is spoken: let something encrypt it"))
        })?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err(invalid(format!("{url:?} is to have a host and a port, and nothing else")));
        }
        let authority =
            if has_port(authority) { authority.to_owned() } else { format!("{authority}:80") };
        let token = std::fs::read_to_string(token_file).map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot read {}: {error}", token_file.display()))
        })?;
        Ok(Client::Tcp { authority, token: token.trim().to_owned() })
    }

    /// Asks for an operation.
    pub(crate) async fn call<O: Operation>(&self, operation: &O) -> Result<O::Reply> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Disconnected,
                format!("the program's answer cannot be read: {error}"),
            )
        };
        let body = serde_json::to_vec(operation)
            .map_err(|error| Error::new(ErrorKind::Encoding, error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/{}", O::NAME))
            .header(HOST, self.host())
            .header(CONTENT_TYPE, "application/json");
        let request = match self {
            Client::Unix(_) => request,
            Client::Tcp { token, .. } => request.header(AUTHORIZATION, format!("Bearer {token}")),
        };
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Error::new(ErrorKind::Invalid, error))?;
        let answer = match self {
            Client::Unix(path) => self.exchange(UnixStream::connect(path), request).await?,
            Client::Tcp { authority, .. } => {
                self.exchange(TcpStream::connect(authority), request).await?
            }
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| broken(&error))?.to_bytes();
        if head.status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| broken(&error));
        }
        match serde_json::from_slice::<Error>(&body) {
            Ok(error) => Err(error),
            Err(_) => Err(broken(&head.status)),
        }
    }

    fn host(&self) -> &str {
        match self {
            Client::Unix(_) => "localhost",
            Client::Tcp { authority, .. } => authority,
        }
    }

    /// Whether somebody listens.
    pub(crate) async fn is_there(&self) -> bool {
        match self {
            Client::Unix(path) => UnixStream::connect(path).await.is_ok(),
            Client::Tcp { authority, .. } => TcpStream::connect(authority).await.is_ok(),
        }
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        connect: impl Future<Output = std::io::Result<S>>,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Disconnected, format!("cannot ask {self}: {error}"))
        };
        let stream = tokio::time::timeout(CONNECT_WAIT, connect).await;
        let stream =
            stream.map_err(|_| failed(&"it does not answer"))?.map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| failed(&error))
    }
}

fn has_port(authority: &str) -> bool {
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()))
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Client::Unix(path) => write!(f, "{}", path.display()),
            Client::Tcp { authority, .. } => write!(f, "http://{authority}"),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({self})")
    }
}
