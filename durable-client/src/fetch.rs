//! HTTP requests to objects: connections of their own, since bodies are streamed.

use std::sync::Arc;
use std::time::Duration;

use durable_runtime::remote::RemoteAddress;
use durable_runtime::{Body, BoxFuture, CallError, Request, Response};
#[cfg(feature = "tls")]
use durable_runtime::{Error, ErrorKind};
use http::header::HOST;
use http::{Uri, Version};
#[cfg(feature = "tls")]
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::Headers;
use crate::connect::fill;
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
    pub(crate) fn new(
        url: Arc<ServerUrl>,
        headers: Headers,
        patience: Duration,
    ) -> durable_runtime::Result<Self> {
        let client = Client::builder(TokioExecutor::new()).build(connections(patience)?);
        Ok(Fetcher { url, headers, client })
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
        let filled = fill(&self.headers, &mut head.headers);
        // The one that the request came by is nothing to the server.
        head.version = Version::HTTP_11;
        let client = self.client.clone();
        Box::pin(async move {
            let not_sent = |reason: String| CallError::Disconnected { reason, sent: false };
            filled.map_err(|text| not_sent(text.to_owned()))?;
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

fn plain(patience: Duration) -> HttpConnector {
    let mut connections = HttpConnector::new();
    connections.set_nodelay(true);
    connections.set_connect_timeout(Some(patience));
    connections
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
fn connections(patience: Duration) -> durable_runtime::Result<Connections> {
    Ok(plain(patience))
}

#[cfg(feature = "tls")]
fn connections(patience: Duration) -> durable_runtime::Result<Connections> {
    let mut connections = plain(patience);
    connections.enforce_http(false);
    let config = crate::tls::config().map_err(|error| Error::new(ErrorKind::Invalid, error))?;
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config((*config).clone());
    Ok(builder.https_or_http().enable_http1().wrap_connector(connections))
}
