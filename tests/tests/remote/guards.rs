//! Who may call what.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use durable::client::Client;
use durable::http::{Action, Address, Target};
use durable::{CallError, ErrorKind};
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderValue, StatusCode};
use tempfile::TempDir;

use crate::bed::{Desk, Server};

/// Lets in who has the token, and nobody to the desk `private`.
async fn guard(target: Target, request: Request, next: Next) -> Response {
    let token = request.headers().get(AUTHORIZATION);
    if token != Some(&HeaderValue::from_static("Bearer sesame")) {
        return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
    }
    let is_call = matches!(target.action(), Action::Call(method) if method == "total");
    assert!(request.uri().path().starts_with("/Desk/name/"), "{}", request.uri());
    if is_call && target.object() == &Address::Name("private".into()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

async fn guarded() -> Server {
    let directory = Arc::new(TempDir::new().unwrap());
    Server::with(directory, "127.0.0.1:0", |router| router.layer(from_fn(guard))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_decides_about_each_call() {
    let server = guarded().await;
    let stranger = server.desk("a").await;
    let denied = CallError::Denied { status: 401, reason: "who are you?".into() };
    assert_eq!(stranger.total().await, Err(denied));
    let builder = Client::builder(&server.url());
    let friend = builder.header(AUTHORIZATION, HeaderValue::from_static("Bearer sesame"));
    let friend = friend.connect().await.unwrap().namespace::<Desk>();
    assert_eq!(friend.get_by_name("a").add(1).await, Ok(1));
    let denied = CallError::Denied { status: 403, reason: "Forbidden".into() };
    assert_eq!(friend.get_by_name("private").total().await, Err(denied));
    assert_eq!(friend.get_by_name("private").add(1).await, Ok(1));
}

/// One that makes the call and then keeps its reply to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_replaces_a_reply_leaves_the_outcome_unknown() {
    let swallow = from_fn(|request: Request, next: Next| async move {
        let _ = next.run(request).await;
        StatusCode::BAD_GATEWAY.into_response()
    });
    let directory = Arc::new(TempDir::new().unwrap());
    let server = Server::with(directory, "127.0.0.1:0", |router| router.layer(swallow)).await;
    let error = server.desk("a").await.add(1).await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected { sent: true, .. }), "{error:?}");
    let here = server.runtime.namespace::<Desk>().get_by_name("a");
    assert_eq!(here.total().await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_host_does_not_connect() {
    let server = Server::start().await;
    let page = |origin: String| {
        let origin = HeaderValue::try_from(origin).unwrap();
        Client::builder(&server.url()).header(ORIGIN, origin).connect()
    };
    let error = page("http://evil.example".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.message().contains("403"), "{error}");
    page(format!("http://{}", server.address)).await.unwrap();
}
