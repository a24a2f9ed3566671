//! Asking a running program: HTTP over its socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_runtime::admin::{Exported, Imported, Operation, StateAt};
use durable_runtime::{Error, ErrorKind, Result};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::files::{NewFile, Sent};
use crate::progress::Progress;

const JSON: &str = "application/json";
const FILE_TYPE: &str = "application/vnd.sqlite3";

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
        let token = token.trim();
        if token.len() != 64 || !token.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid(format!(
                "{} holds no token, which is 64 hex digits",
                token_file.display()
            )));
        }
        Ok(Client::Tcp { authority, token: token.to_owned() })
    }

    /// Asks for an operation.
    pub(crate) async fn call<O: Operation>(&self, operation: &O) -> Result<O::Reply> {
        let path = format!("/v1/{}", O::NAME);
        let answer = self.send(&path, JSON, json_body(operation)?).await?;
        let body = answer.into_body().collect().await.map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| unreadable(&error))
    }

    /// Has an object sent, and writes it to a file that is not there yet.
    pub(crate) async fn export(
        &self,
        object: &str,
        at: StateAt,
        path: &Path,
        bar: &Progress,
    ) -> Result<Exported> {
        let target = NewFile::create(path)?;
        let request = serde_json::json!({ "object": object, "at": at });
        let answer = self.send("/v1/export", JSON, json_body(&request)?).await?;
        let said = answer.headers().get("durable-exported").and_then(|said| said.to_str().ok());
        let exported = said.and_then(|said| serde_json::from_str::<Exported>(said).ok());
        let exported = exported.ok_or_else(|| unreadable(&"it does not say what it holds"))?;
        let (mut body, mut done) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreadable(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            target.write(&data)?;
            done += data.len() as u64;
            bar.show("bytes", done, exported.bytes);
        }
        if done != exported.bytes {
            return Err(unreadable(&"it broke off"));
        }
        target.keep()?;
        Ok(exported)
    }

    /// Sends a file, to become an object.
    pub(crate) async fn import(
        &self,
        object: &str,
        path: &Path,
        bar: Progress,
    ) -> Result<Imported> {
        let file = Sent::open(path, bar)?;
        let query = format!("/v1/import?object={}", encoded(object));
        let answer = self.send(&query, FILE_TYPE, BodyExt::boxed(file)).await?;
        let body = answer.into_body().collect().await.map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| unreadable(&error))
    }

    /// Sends a request; the answer, if it is a good one.
    async fn send(
        &self,
        path: &str,
        kind: &str,
        body: BoxBody<Bytes, io::Error>,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, self.host())
            .header(CONTENT_TYPE, kind);
        let request = match self {
            Client::Unix(_) => request,
            Client::Tcp { token, .. } => request.header(AUTHORIZATION, format!("Bearer {token}")),
        };
        let request = request.body(body).map_err(|error| Error::new(ErrorKind::Invalid, error))?;
        let answer = match self {
            Client::Unix(path) => self.exchange(UnixStream::connect(path), request).await?,
            Client::Tcp { authority, .. } => {
                self.exchange(TcpStream::connect(authority), request).await?
            }
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| unreadable(&error))?;
        Err(serde_json::from_slice::<Error>(&body.to_bytes())
            .unwrap_or_else(|_| unreadable(&status)))
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
        connect: impl Future<Output = io::Result<S>>,
        request: Request<BoxBody<Bytes, io::Error>>,
    ) -> Result<Response<Incoming>> {
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

fn json_body(value: &impl Serialize) -> Result<BoxBody<Bytes, io::Error>> {
    let text = serde_json::to_vec(value).map_err(|error| Error::new(ErrorKind::Encoding, error))?;
    Ok(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed())
}

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Disconnected, format!("the program's answer cannot be read: {why}"))
}

/// Text as a part of a query.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
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
