//! Why a request got no answer of the object's: a status, and a JSON body that says so.
//!
//! The table of statuses is in the documentation of the crate; the function [`Failure::of_call`] is that table.
//!
//! The guarantee: a reply holds our own text or what the object's author chose to return. SQL, paths and the messages
//! of panics go to the log.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use durable_runtime::__private::{Refusal, WireError};
use durable_runtime::{CallError, Error};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

/// What to wait before the next attempt, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A reply that is an error.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: Description,
    /// For 405: the verbs that will do.
    allow: Option<&'static str>,
}

/// `{"error": …}`
#[derive(Debug, Serialize)]
struct Description {
    kind: &'static str,
    message: Cow<'static, str>,
    /// Whether the same request may be sent again, because this one surely had no effect.
    retryable: bool,
    /// What the method itself returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let error = Description { kind, message: message.into(), retryable: false, value: None };
        Failure { status, error, allow: None }
    }

    /// No class, object or method of that name, or none that is exposed: which of them is not said.
    pub(crate) fn nothing_here() -> Self {
        Self::not_found("nothing is exposed under this path")
    }

    fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Arguments that do not fit the method.
    pub(crate) fn arguments(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "arguments", message)
    }

    pub(crate) fn foreign_origin() -> Self {
        let message = "a page of this origin may not call";
        Self::new(StatusCode::FORBIDDEN, "origin", message)
    }

    /// A WebSocket is asked for on a connection that cannot become one.
    pub(crate) fn no_upgrade() -> Self {
        let message = "this connection cannot become a WebSocket: that takes HTTP/1.1";
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade", message)
    }

    /// An object has accepted a WebSocket that nobody asked for.
    pub(crate) fn unwanted_upgrade() -> Self {
        let message = "the object has accepted a WebSocket, and the request asked for none";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "upgrade", message)
    }

    pub(crate) fn verb(allow: &'static str) -> Self {
        let failure = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "verb",
            format!("the method is called with {allow}"),
        );
        Failure { allow: Some(allow), ..failure }
    }

    pub(crate) fn media_type() -> Self {
        let message = "a call needs `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message)
    }

    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "the body took too long to arrive")
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("the body is over {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// A name or an id that no object can have.
    pub(crate) fn of_address(error: &Error) -> Self {
        Self::not_found(error.message().to_owned())
    }

    /// What a call gave instead of a value.
    pub(crate) fn of_call(error: CallError<Refusal>) -> Self {
        let error = match error {
            CallError::Application(Refusal::Application(value)) => return Self::of_method(value),
            CallError::Application(Refusal::Wire(error)) => return Self::of_wire(&error),
            error => error,
        };
        let retryable = error.is_retryable();
        // Without the user's own error, which has been dealt with.
        let error = error.map(|_| ());
        let (status, kind, message) = Self::row(&error);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(reason = ?error, "a request got no answer");
        } else {
            tracing::debug!(reason = ?error, "a request got no answer");
        }
        let mut failure = Self::new(status, kind, message);
        failure.error.retryable = retryable;
        failure
    }

    /// One row of the table for each error of the runtime's.
    fn row(error: &CallError<()>) -> (StatusCode, &'static str, Cow<'static, str>) {
        let shown = |said: &dyn std::fmt::Display| Cow::from(said.to_string());
        match error {
            CallError::Overloaded { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "the object is overloaded".into())
            }
            CallError::TimedOut { started: true, .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "timed_out",
                "no answer in time; the outcome is unknown".into(),
            ),
            CallError::TimedOut { started: false, .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "timed_out",
                "no answer in time; nothing was done and nothing will be".into(),
            ),
            CallError::Panicked { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "panicked", "the object panicked".into())
            }
            CallError::RolledBack(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "rolled_back",
                "the turn was rolled back".into(),
            ),
            CallError::Activation(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "activation",
                "the object could not be activated".into(),
            ),
            CallError::StorageFailed(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "storage_failed",
                "the object's storage failed; the outcome is unknown".into(),
            ),
            CallError::Incompatible { reason, .. } => {
                (StatusCode::BAD_REQUEST, "incompatible", shown(reason))
            }
            CallError::NotFound(error) => (StatusCode::NOT_FOUND, "not_found", shown(error)),
            CallError::Deadlock(_) => {
                (StatusCode::LOOP_DETECTED, "deadlock", "the call would wait for itself".into())
            }
            CallError::Reset { started: false, .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "reset",
                "the object was reset before it answered".into(),
            ),
            CallError::Reset { started: true, .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "reset",
                "the object was reset before it answered; the outcome is unknown".into(),
            ),
            CallError::ShutDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "shut_down", "the server shuts down".into())
            }
            CallError::Disconnected { .. } => {
                (StatusCode::BAD_GATEWAY, "disconnected", "another server cannot be reached".into())
            }
            CallError::Denied { .. } => {
                (StatusCode::BAD_GATEWAY, "denied", "another server refused the call".into())
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "other", "the call failed".into()),
        }
    }

    /// The method's own error, which is for the caller.
    fn of_method(value: Vec<u8>) -> Self {
        let value = String::from_utf8(value).ok().and_then(|text| RawValue::from_string(text).ok());
        let message = "the method returned an error";
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "application", message);
        failure.error.value = value;
        failure
    }

    fn of_wire(error: &WireError) -> Self {
        match error {
            WireError::Argument { .. } | WireError::Missing { .. } => {
                Self::arguments(error.to_string())
            }
            WireError::TooLarge { .. } | WireError::Encode(_) => {
                tracing::error!(reason = %error, "a reply has no form in JSON");
                let message = "the reply has no form in JSON, or is too large; nothing was done";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "reply", message)
            }
            _ => Self::new(StatusCode::BAD_REQUEST, "incompatible", error.to_string()),
        }
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.error.message
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Description,
        }
        // Only text and JSON that was checked before: it cannot fail.
        let retryable = self.error.retryable;
        let body = serde_json::to_vec(&Body { error: self.error }).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, crate::JSON);
        headers.insert(CACHE_CONTROL, crate::NO_STORE);
        if retryable && self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use durable_runtime::ErrorKind;

    use super::*;

    /// Every error of the runtime's that a call can give, with its row of the table.
    #[test]
    fn the_table() {
        let secret = || Error::new(ErrorKind::Sql, "secret");
        let after = Duration::from_secs(1);
        let reason = "secret".to_owned();
        let reset = |started| CallError::Reset { reason: "secret".into(), started };
        for (error, status, kind, retryable) in [
            (CallError::Overloaded { queued: 7 }, 503, "overloaded", true),
            (CallError::TimedOut { after, started: false }, 504, "timed_out", true),
            (CallError::TimedOut { after, started: true }, 504, "timed_out", false),
            (CallError::Panicked { method: "a", message: reason.clone() }, 500, "panicked", false),
            (CallError::RolledBack(secret()), 500, "rolled_back", false),
            (CallError::Activation(secret()), 500, "activation", true),
            (CallError::StorageFailed(secret()), 500, "storage_failed", false),
            (
                CallError::Incompatible { method: "a", reason: "b".into() },
                400,
                "incompatible",
                false,
            ),
            (CallError::NotFound(Error::new(ErrorKind::NotFound, "b")), 404, "not_found", false),
            (CallError::Deadlock(reason), 508, "deadlock", false),
            (reset(false), 503, "reset", true),
            (reset(true), 500, "reset", false),
            (CallError::ShutDown, 503, "shut_down", false),
        ] {
            let said = format!("{error:?}");
            let failure = Failure::of_call(error);
            assert_eq!(failure.status(), status, "{said}");
            assert_eq!(failure.error.kind, kind, "{said}");
            assert_eq!(failure.error.retryable, retryable, "{said}");
            assert!(!failure.message().contains("secret"), "{said}: {}", failure.message());
            let waits = failure.into_response().headers().contains_key(RETRY_AFTER);
            assert_eq!(waits, retryable && status == 503, "{said}");
        }
    }
}
