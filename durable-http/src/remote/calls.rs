//! The calls of one connection, as requests that pass the layers.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use durable_runtime::BoxFuture;
use durable_runtime::remote::{CallFrame, Failed, Outcome, RemoteAddress, ReplyFrame};
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Limited};
use parking_lot::Mutex;
use percent_encoding::utf8_percent_encode;
use tower::Service;

use super::{Answer, Answered, Arrived, Entrance, Passing};
use crate::PATH_PART;
use crate::target::{Address, Target};

/// What calls say they are, to layers that ask.
const CALL: HeaderValue = HeaderValue::from_static("application/vnd.durable.call");

/// How much of what a layer says is passed on, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// How many objects are remembered that no call is on its way to.
const LANES_KEPT: usize = 1024;

/// One after the other on their way through the layers.
type Lane = Arc<tokio::sync::Mutex<()>>;

/// Makes the calls of one connection.
pub(crate) struct Calls {
    entrance: Entrance,
    /// What all its calls say: the headers of the connection, and what layers outside have found out about it.
    head: Parts,
    lanes: HashMap<(String, RemoteAddress), Lane>,
}

impl Calls {
    pub(crate) fn new(entrance: Entrance, mut head: Parts) -> Self {
        head.headers = of_each_call(&head.headers);
        head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        Calls { entrance, head, lanes: HashMap::new() }
    }

    /// Sends a call on its way. It goes on when the result is polled.
    pub(crate) fn make(&mut self, call: CallFrame) -> BoxFuture<ReplyFrame> {
        let number = call.number;
        let Some(routes) = &self.entrance.layered else {
            let (known, made) = self.entrance.gateway.made(call);
            return Box::pin(async move { ReplyFrame { number, known, outcome: made.await } });
        };
        let mut routes = routes.clone();
        let request = self.request(&call);
        let lane = self.lane((call.class.to_string(), call.object.clone()));
        Box::pin(async move {
            let mut request = match request {
                Ok(request) => request,
                Err(error) => return refused(number, &error),
            };
            let lane = lane.lock_owned().await;
            let passing = Arc::new(Mutex::new(Some(Passing { call, lane })));
            request.extensions_mut().insert(Arrived(Arc::clone(&passing)));
            // A layer is somebody else's code; it takes no other call with it.
            let passed = async move { routes.as_service().call(request).await };
            let passed = AssertUnwindSafe(passed).catch_unwind().await;
            // A layer that keeps the request keeps the next ones no longer.
            let is_handed_on = passing.lock().take().is_none();
            let response = passed.map_or_else(
                |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                |Ok(response)| response,
            );
            let (known, outcome) = read(response, is_handed_on).await;
            ReplyFrame { number, known, outcome }
        })
    }

    fn lane(&mut self, object: (String, RemoteAddress)) -> Lane {
        if self.lanes.len() > LANES_KEPT {
            self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(self.lanes.entry(object).or_default())
    }

    fn request(&self, call: &CallFrame) -> Result<http::Request<Body>, http::Error> {
        let (kind, object) = call.object.in_path();
        let part = utf8_percent_encode(&object, PATH_PART);
        let class = utf8_percent_encode(&call.class, PATH_PART);
        let path =
            format!("/{class}/{kind}/{part}/{}", utf8_percent_encode(&call.method, PATH_PART));
        let uri = Uri::builder().path_and_query(path).build()?;
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.head.headers);
        request.extensions_mut().clone_from(&self.head.extensions);
        let object = match call.object {
            RemoteAddress::Name(_) => Address::Name(object),
            RemoteAddress::Id(_) => Address::Id(object),
        };
        let target = Target::of_call(&call.class, object, &call.method);
        request.extensions_mut().insert(target);
        Ok(request)
    }
}

/// The headers of a connection without those that make it one.
fn of_each_call(headers: &HeaderMap) -> HeaderMap {
    let of_connection = |name: &HeaderName| {
        [CONNECTION, UPGRADE, CONTENT_LENGTH].contains(name)
            || name.as_str().starts_with("sec-websocket-")
    };
    let kept = headers.iter().filter(|(name, _)| !of_connection(name));
    let mut kept: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    kept.insert(CONTENT_TYPE, CALL);
    kept
}

fn refused(number: u64, error: &http::Error) -> ReplyFrame {
    let reason = format!("the object has no path: {error}");
    let outcome = Outcome::Failed(Failed::Incompatible { reason });
    ReplyFrame { number, known: None, outcome }
}

/// What came of the request of a call.
async fn read(
    mut response: Response,
    is_handed_on: bool,
) -> (Option<durable_runtime::remote::Known>, Outcome) {
    let answered = response.extensions_mut().remove::<Answered>();
    if let Some(Answer { known, outcome }) = answered.and_then(|answered| answered.0.lock().take())
    {
        return (known, outcome);
    }
    let status = response.status();
    if is_handed_on {
        let reason = format!("a layer of the server put status {status} in the place of the reply");
        return (None, Outcome::Failed(Failed::Disconnected { reason, sent: true }));
    }
    let said = Limited::new(response.into_body(), REASON_BYTES_MAX).collect().await;
    let said = said.map(Collected::to_bytes).unwrap_or_default();
    let reason = match std::str::from_utf8(&said) {
        Ok(text) if !text.is_empty() => text.to_owned(),
        _ => status.canonical_reason().unwrap_or("it says no more").to_owned(),
    };
    (None, Outcome::Failed(Failed::Denied { status: status.as_u16(), reason }))
}
