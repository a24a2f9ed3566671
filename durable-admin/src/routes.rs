//! From a request to an operation and back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use durable_runtime::admin::{
    Admin, Alarms, Bookmarks, CheckObjects, Classes, Delete, Evict, Fire, Fork, List, Operation,
    Restore, Retry, RunSql, Show, Stats, Top, TryMigrations,
};
use durable_runtime::{Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Token;
use crate::files;
use crate::peer::Peer;

/// The longest request, in bytes.
const BODY_BYTES_MAX: usize = 1_024 * 1_024;

/// Who may ask over TCP.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) token: Token,
    pub(crate) address: SocketAddr,
}

/// What a `GET` of the root says.
#[derive(Serialize)]
struct Index {
    version: u32,
    operations: &'static [&'static str],
}

macro_rules! operations {
    ($($operation:ident),+ $(,)?) => {
        const OPERATIONS: &[&str] = &["export", "import", $(<$operation as Operation>::NAME),+];

        fn routes() -> Router<Admin> {
            Router::new()$(.route(&format!("/v1/{}", <$operation as Operation>::NAME), post(perform::<$operation>)))+
        }
    };
}

operations!(
    Alarms,
    Bookmarks,
    CheckObjects,
    Classes,
    Delete,
    Evict,
    Fire,
    Fork,
    List,
    Restore,
    Retry,
    RunSql,
    Show,
    Stats,
    Top,
    TryMigrations,
);

/// The whole API; over TCP for those who have access.
pub(crate) fn router(admin: Admin, access: Option<Access>) -> Router {
    let index = Index { version: 1, operations: OPERATIONS };
    let index = serde_json::to_value(index).unwrap_or_default();
    let router = routes()
        .route("/v1/export", post(files::export))
        .route("/v1/import", post(files::import))
        .route("/v1", get(async move || Json(index)))
        .fallback(async || {
            let text = "there is no such operation: `GET /v1` lists them, and each is a `POST` to `/v1/` and its name";
            refused(&Error::new(ErrorKind::NotFound, text))
        })
        .method_not_allowed_fallback(async || {
            let text = "`GET /v1` lists the operations, and each is a `POST` to `/v1/` and its name";
            rejected(StatusCode::METHOD_NOT_ALLOWED, text.to_owned())
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(admin);
    match access {
        None => router,
        Some(access) => router.layer(middleware::from_fn_with_state(Arc::new(access), admit)),
    }
}

async fn perform<O: Operation>(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let operation = match read::<O>(&headers, body) {
        Ok(operation) => operation,
        Err(response) => return response,
    };
    match admin.perform(operation, &peer.to_string()).await {
        Ok(reply) => Json(reply).into_response(),
        Err(error) => refused(&error),
    }
}

/// A request in JSON.
#[expect(clippy::result_large_err, reason = "it is sent at once")]
pub(crate) fn read<R: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<R, Response> {
    const JSON: &str = "application/json";
    // Without this a page of any site could send it.
    if !has_type(headers, JSON) {
        return Err(wrong_type(JSON));
    }
    let body = body.map_err(|error| rejected(error.status(), error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        let text = format!("the request is not understood: {error}");
        refused(&Error::new(ErrorKind::Invalid, text))
    })
}

pub(crate) fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

/// The answer to what is no request of ours.
pub(crate) fn rejected(status: StatusCode, text: String) -> Response {
    let kind =
        if status == StatusCode::PAYLOAD_TOO_LARGE { ErrorKind::Limit } else { ErrorKind::Invalid };
    (status, Json(Error::new(kind, text))).into_response()
}

pub(crate) fn wrong_type(wanted: &str) -> Response {
    let text = format!("send this request with `Content-Type: {wanted}`");
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, Json(Error::new(ErrorKind::Invalid, text))).into_response()
}

/// Lets through who has the token and means this server.
async fn admit(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match check(request.uri(), request.headers(), &access) {
        Ok(()) => next.run(request).await,
        Err((status, text)) => (status, Json(Error::new(ErrorKind::Denied, text))).into_response(),
    }
}

fn check(
    uri: &Uri,
    headers: &HeaderMap,
    access: &Access,
) -> Result<(), (StatusCode, &'static str)> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_one = headers.get_all(HOST).iter().count() == 1;
    // The address may also be in the request's first line.
    let mut named = header(HOST).into_iter().chain(uri.authority().map(Authority::as_str));
    if !is_one || !named.all(|host| is_meant(host, access.address)) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "the header `Host` does not name this server",
        ));
    }
    let given = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if !given.is_some_and(|given| access.token.is(given)) {
        let text = "this needs the server's token: `Authorization: Bearer <64 hex digits>`";
        return Err((StatusCode::UNAUTHORIZED, text));
    }
    Ok(())
}

/// Whether a `Host` means a server at this address. One that listens everywhere is meant by every address, and by no name but
/// `localhost`: a name may be anybody's, who has it lead here.
fn is_meant(host: &str, address: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    if port != Some(address.port()) {
        return false;
    }
    if name.eq_ignore_ascii_case("localhost") {
        return address.ip().is_loopback() || address.ip().is_unspecified();
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok_and(|ip| ip == address.ip() || address.ip().is_unspecified())
}

pub(crate) fn refused(error: &Error) -> Response {
    let status = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotKept => StatusCode::NOT_FOUND,
        ErrorKind::Invalid
        | ErrorKind::Sql
        | ErrorKind::Refused
        | ErrorKind::ReadOnly
        | ErrorKind::Limit => StatusCode::BAD_REQUEST,
        ErrorKind::Constraint
        | ErrorKind::Exists
        | ErrorKind::Migration
        | ErrorKind::RolledBack => StatusCode::CONFLICT,
        ErrorKind::ShutDown | ErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(error)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_address_or_localhost() {
        let here: SocketAddr = "127.0.0.1:7070".parse().unwrap();
        for host in ["127.0.0.1:7070", "localhost:7070", "LOCALHOST:7070"] {
            assert!(is_meant(host, here), "{host}");
        }
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:7071",
            "10.0.0.1:7070",
            "evil.example:7070",
            "localhost.evil.example:7070",
            "[::1]:7070",
        ] {
            assert!(!is_meant(host, here), "{host}");
        }
        let everywhere: SocketAddr = "[::]:80".parse().unwrap();
        for host in ["[::1]", "[::1]:80", "10.0.0.1", "localhost:80"] {
            assert!(is_meant(host, everywhere), "{host}");
        }
        assert!(!is_meant("evil.example", everywhere));
        assert!(!is_meant("localhost:7070", "10.0.0.1:7070".parse().unwrap()));
    }
}
