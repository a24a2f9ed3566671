//! A server to ask, in this process or over a socket.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use durable::Body;
use durable::http::{Expose, ObjectRouter, router};
use durable::prelude::*;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status and the kind of the error.
    pub fn failure(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert!(json["error"]["message"].is_string(), "{json}");
        (self.status.as_u16(), json["error"]["kind"].as_str().unwrap().to_owned())
    }

    /// The message of the error.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// Asks the router without a network between.
pub async fn ask(app: &Router, request: http::Request<impl Into<Body>>) -> Answer {
    let request = request.map(|body| axum::body::Body::new(body.into()));
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// A call with JSON.
pub async fn post(app: &Router, path: &str, json: &str) -> Answer {
    ask(app, json_request(path, json)).await
}

pub fn json_request(path: &str, json: &str) -> http::Request<String> {
    let request = http::Request::post(path).header("content-type", "application/json");
    request.body(json.to_owned()).unwrap()
}

pub async fn get(app: &Router, path: &str) -> Answer {
    ask(app, http::Request::get(path).body(Body::empty()).unwrap()).await
}

/// The router for one class, with all of it exposed.
pub fn all<T: DurableObject>(runtime: &Runtime) -> ObjectRouter {
    router(runtime).expose::<T>(Expose::All)
}

/// A server on a socket.
pub struct Server {
    pub address: SocketAddr,
    pub stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start(runtime: &Runtime, app: Router) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let until = async move {
            let _ = stopped.await;
        };
        let serve = durable::http::serve(runtime, listener, app).until(until);
        Server { address, stop: Some(stop), task: tokio::spawn(serve.into_future()) }
    }

    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub type HttpClient = Client<HttpConnector, axum::body::Body>;

pub fn client() -> HttpClient {
    Client::builder(hyper_util::rt::TokioExecutor::new()).build_http()
}

pub async fn whole(
    response: http::Response<impl http_body::Body<Data = Bytes, Error: std::fmt::Debug>>,
) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}
