//! The HTTP side of a WebSocket: what a request must say, and how it is answered.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::driver::PendingSocket;
use crate::{Body, Error, ErrorKind, Request, Response, Result};

/// A request whose socket was accepted.
#[derive(Clone, Debug)]
struct Accepted;

/// Takes a request for a socket, once.
///
/// # Errors
/// When it is no WebSocket upgrade, or a socket was accepted for it before.
pub(super) fn accept(request: &mut Request) -> Result<()> {
    if let Some(missing) = missing(request) {
        let text = format!("the request is no WebSocket upgrade: {missing}");
        return Err(Error::new(ErrorKind::NoUpgrade, text));
    }
    if request.extensions_mut().insert(Accepted).is_some() {
        let text = "a WebSocket was accepted for this request already";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(())
}

/// What an upgrade must have and this request has not.
fn missing(request: &Request) -> Option<&'static str> {
    let has_word = |name: HeaderName, word: &str| {
        let values = request.headers().get_all(name);
        let mut words =
            values.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|found| found.trim().eq_ignore_ascii_case(word))
    };
    if request.method() != Method::GET {
        Some("its method is not GET")
    } else if !has_word(header::CONNECTION, "upgrade") {
        Some("the header `Connection: Upgrade` is missing")
    } else if !has_word(header::UPGRADE, "websocket") {
        Some("the header `Upgrade: websocket` is missing")
    } else if !has_word(header::SEC_WEBSOCKET_VERSION, "13") {
        Some("the header `Sec-WebSocket-Version: 13` is missing")
    } else if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        Some("the header `Sec-WebSocket-Key` is missing")
    } else {
        None
    }
}

/// The answer. The transport adds `Sec-WebSocket-Accept`, which says that it knows the protocol.
pub(super) fn response(socket: PendingSocket) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.extensions_mut().insert(socket);
    response
}

/// Adds what a client adds to its request.
#[cfg(feature = "testing")]
pub(crate) fn complete(request: &mut Request) {
    let headers = request.headers_mut();
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade() -> http::request::Builder {
        http::Request::builder()
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "x")
    }

    #[test]
    fn an_upgrade_is_taken_once() {
        let mut request = upgrade().body(Body::empty()).unwrap();
        accept(&mut request).unwrap();
        assert!(accept(&mut request).unwrap_err().message().contains("already"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut post = upgrade().method("POST").body(Body::empty()).unwrap();
        assert!(accept(&mut post).unwrap_err().message().contains("GET"));
        for name in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            let mut request = upgrade().body(Body::empty()).unwrap();
            request.headers_mut().remove(name);
            let error = accept(&mut request).unwrap_err();
            assert!(error.message().to_lowercase().contains(name), "{error}");
        }
    }
}
