//! HTTP requests to objects: connections of their own, since bodies are streamed.

use std::sync::Arc;

use durable_runtime::remote::RemoteAddress;
use durable_runtime::{Body, BoxFuture, CallError, Request, Response};
use http::Uri;
use http::header::HOST;
#[cfg(feature = "tls")]
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::Headers;
use crate::url::ServerUrl;

#[cfg(feature = "tls")]
type Connections = HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connections = HttpConnector;

/// Sends requests to the `fetch` handlers of a server's objects.
pub(crate) struct Fetcher {
    url: Arc<ServerUrl>,
    headers: Headers,
    client: Client<Connections, Body>,
}

impl Fetcher {
    pub(crate) fn new(url: Arc<ServerUrl>, headers: Headers) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(connections());
        Fetcher { url, headers, client }
    }

    /// Sends a request.
    pub(crate) fn fetch(
        &self,
        class: &'static str,
        object: &RemoteAddress,
        request: Request,
    ) -> BoxFuture<Result<Response, CallError>> {
        let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
        let uri: Result<Uri, _> = self.url.fetch(class, object, rest).parse();
        let (mut head, body) = request.into_parts();
        // The host that the request names is the object's own affair; this one is the server's.
        head.headers.remove(HOST);
        (self.headers)(&mut head.headers);
        let client = self.client.clone();
        Box::pin(async move {
            let not_sent = |reason: String| CallError::Disconnected { reason, sent: false };
            head.uri = uri.map_err(|error| not_sent(format!("the object has no path: {error}")))?;
            match client.request(Request::from_parts(head, body)).await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(error) => {
                    let sent = !error.is_connect();
                    Err(CallError::Disconnected { reason: error.to_string(), sent })
                }
            }
        })
    }
}

#[cfg(not(feature = "tls"))]
fn connections() -> Connections {
    let mut connections = HttpConnector::new();
    connections.set_nodelay(true);
    connections
}

#[cfg(feature = "tls")]
fn connections() -> Connections {
    let mut connections = HttpConnector::new();
    connections.set_nodelay(true);
    connections.enforce_http(false);
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots();
    builder.https_or_http().enable_http1().wrap_connector(connections)
}
