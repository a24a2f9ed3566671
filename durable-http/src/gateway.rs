//! From a request whose target is known to the object and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use durable_runtime::__private::{Access, Argument, MethodDescription};
use durable_runtime::transport::{PendingSocket, SocketDriver};
use durable_runtime::{Body, CallError, Runtime};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::arguments;
use crate::class::Exposed;
use crate::failure::Failure;
use crate::origin::Origins;
use crate::remote::Arrived;
use crate::target::{Action, Target};
use crate::websocket::{self, Upgrade};

/// What is exposed, and under which limits.
pub(crate) struct Gateway {
    pub(crate) runtime: Runtime,
    pub(crate) classes: Vec<Exposed>,
    pub(crate) body_bytes_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) origins: Origins,
}

/// Answers a request.
pub(crate) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    target: Target,
    request: Request,
) -> Response {
    if let Some(arrived) = request.extensions().get::<Arrived>() {
        let arrived = arrived.clone();
        return gateway.arrived(&arrived).await;
    }
    let answer = match target.action() {
        Action::Fetch => gateway.fetch(&target, request).await,
        Action::Call(method) => gateway.call(&target, method, request).await,
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

impl Gateway {
    fn class(&self, target: &Target) -> Result<&Exposed, Failure> {
        let class = self.classes.iter().find(|exposed| exposed.class.name() == target.class());
        class.ok_or_else(Failure::nothing_here)
    }

    async fn call(
        &self,
        target: &Target,
        name: &str,
        request: Request,
    ) -> Result<Response, Failure> {
        if !self.origins.allow(request.uri(), request.headers()) {
            return Err(Failure::foreign_origin());
        }
        let class = self.class(target)?;
        let method = class.method(name).ok_or_else(Failure::nothing_here)?;
        let arguments = self.arguments(method, request).await?;
        let call = class.class.call(target.object(), method.info, arguments, self.timeout);
        let value = call.map_err(|error| Failure::of_address(&error))?.await;
        let value = value.map_err(Failure::of_call)?;
        Ok(([(CONTENT_TYPE, crate::JSON), (CACHE_CONTROL, crate::NO_STORE)], value).into_response())
    }

    async fn arguments(
        &self,
        method: &MethodDescription,
        request: Request,
    ) -> Result<Vec<Argument>, Failure> {
        let only_reads = method.info.access == Access::ReadOnly;
        match *request.method() {
            Method::POST => {
                let is_json = is_json(request.headers());
                if is_json == Some(false) {
                    return Err(Failure::media_type());
                }
                let body = self.read(request).await?;
                if is_json.is_none() && !body.is_empty() {
                    return Err(Failure::media_type());
                }
                arguments::from_body(method, &body)
            }
            Method::GET | Method::HEAD if only_reads => {
                arguments::from_query(method, request.uri().query().unwrap_or_default())
            }
            _ if only_reads => Err(Failure::verb("GET, HEAD, POST")),
            _ => Err(Failure::verb("POST")),
        }
    }

    /// The whole body.
    async fn read(&self, request: Request) -> Result<Bytes, Failure> {
        let body = Limited::new(request.into_body(), self.body_bytes_max);
        let body = tokio::select! {
            body = body.collect() => body,
            () = self.runtime.limit(self.timeout) => return Err(Failure::slow_body()),
        };
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Failure::too_large(self.body_bytes_max))
            }
            Err(_) => Err(Failure::bad_request("the body has no end")),
        }
    }

    async fn fetch(&self, target: &Target, request: Request) -> Result<Response, Failure> {
        let class = self.class(target)?;
        if !class.fetch {
            return Err(Failure::nothing_here());
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let (mut head, body) = request.into_parts();
        let mut upgrade = None;
        if websocket::is_wanted(&head.headers) {
            // No page is asked before it opens a socket, and the user's cookies come along.
            if !self.origins.allow(&head.uri, &head.headers) {
                return Err(Failure::foreign_origin());
            }
            upgrade = Some(Upgrade::take(&mut head)?);
        }
        head.uri = path_and_query(target.path(), &head.uri)?;
        let went_over = Arc::<AtomicBool>::default();
        let body = self.limited(body, &went_over)?;
        let request = durable_runtime::Request::from_parts(head, body);
        let fetch = class.class.fetch(target.object(), request);
        let answer = tokio::select! {
            answer = fetch.map_err(|error| Failure::of_address(&error))? => answer,
            // A handler that has begun goes on.
            () = self.runtime.limit(self.timeout) => {
                Err(CallError::TimedOut { after: self.timeout, started: true })
            }
        };
        let mut answer =
            answer.map_err(|error| Failure::of_call(error.map(|never| match never {})))?;
        if let Some(driver) = PendingSocket::take(&mut answer) {
            return switch(driver, upgrade, answer.map(AxumBody::new));
        }
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR && went_over.load(Ordering::Relaxed)
        {
            return Err(Failure::too_large(self.body_bytes_max));
        }
        let mut answer = answer.map(AxumBody::new);
        if is_get {
            answer.headers_mut().entry(CACHE_CONTROL).or_insert(crate::NO_STORE);
        }
        Ok(answer)
    }

    /// The body as a stream that breaks where it goes over the limit.
    fn limited(&self, body: AxumBody, went_over: &Arc<AtomicBool>) -> Result<Body, Failure> {
        let bytes_max = self.body_bytes_max;
        let size = http_body::Body::size_hint(&body);
        if size.lower() > bytes_max as u64 {
            return Err(Failure::too_large(bytes_max));
        }
        if size.exact() == Some(0) {
            return Ok(Body::empty());
        }
        let went_over = Arc::clone(went_over);
        let limited = Limited::new(body, bytes_max).map_err(move |error| {
            if error.is::<LengthLimitError>() {
                went_over.store(true, Ordering::Relaxed);
            }
            error
        });
        Ok(Body::new(limited))
    }
}

/// Answers a request whose socket the object has accepted.
fn switch(
    driver: SocketDriver,
    upgrade: Option<Upgrade>,
    mut answer: Response,
) -> Result<Response, Failure> {
    // With another status the object has changed its mind: dropping the driver says that the connection is lost.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        upgrade.ok_or_else(Failure::unwanted_upgrade)?.run(driver, &mut answer);
    }
    Ok(answer)
}

/// Whether the body says that it is JSON, if it says anything.
fn is_json(headers: &HeaderMap) -> Option<bool> {
    let header = headers.get(CONTENT_TYPE)?;
    let media_type = header.to_str().ok().and_then(|text| text.split(';').next());
    Some(media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json")))
}

fn path_and_query(path: &str, uri: &Uri) -> Result<Uri, Failure> {
    let text = match uri.query() {
        None => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let uri = Uri::builder().path_and_query(text).build();
    uri.map_err(|_| Failure::bad_request("the path after `fetch` is not well formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json() {
        let said = |text: &str| {
            let headers = [(CONTENT_TYPE, text.parse().unwrap())].into_iter().collect();
            is_json(&headers)
        };
        assert_eq!(is_json(&HeaderMap::new()), None);
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/json ;a"] {
            assert_eq!(said(json), Some(true), "{json}");
        }
        for other in ["text/plain", "", "application/jsonp", "text/plain;application/json", "é"] {
            assert_eq!(said(other), Some(false), "{other}");
        }
    }

    #[test]
    fn the_rest_of_a_path_is_passed_as_it_was_sent() {
        let uri = Uri::from_static("/x?a=%20b&c");
        assert_eq!(path_and_query("/", &uri).unwrap(), "/?a=%20b&c");
        assert_eq!(path_and_query("//y/..%2F", &uri).unwrap().path(), "//y/..%2F");
    }
}
