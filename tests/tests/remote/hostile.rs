//! Peers, middlemen, layers and hooks that mean harm or know no better.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::Request as HttpRequest;
use axum::middleware::{Next, from_fn};
use durable::client::Client;
use durable::prelude::*;
use durable::remote::{CallFrame, Failed, Outcome, RemoteAddress, ReplyFrame, ToServer};
use futures_util::{SinkExt, StreamExt, poll};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response as Answer};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_hdr_async, connect_async};

use crate::bed::{Desk, Server};

/// Types of which a stranger could make something endless.
mod endless {
    use durable::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Tree {
        Leaf,
        Node(Box<Tree>),
    }

    #[derive(Default)]
    pub struct Garden;

    #[durable_object]
    impl Garden {
        pub fn plant(&mut self, tree: Tree) -> Tree {
            tree
        }

        pub fn units(&mut self, units: Vec<()>) -> usize {
            units.len()
        }

        pub fn plain(&mut self, number: u32) -> u32 {
            number
        }
    }
}

use endless::{Garden, Tree};

async fn socket(url: &str) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("{}/rpc", url.replace("http", "ws"));
    let mut request = url.into_client_request().unwrap();
    let protocol = durable::remote::PROTOCOL.parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    connect_async(request).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_endless_is_read_without_names() {
    let directory = TempDir::new().unwrap();
    let runtime = Runtime::builder(directory.path()).register::<Garden>().start().await.unwrap();
    let router = durable::http::router(&runtime).expose::<Garden>(durable::http::Expose::All);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router.build().unwrap()).into_future());

    let shape = |method: &str| {
        durable::__private::MethodDescription::of::<Garden>(method).unwrap().shape().fingerprint()
    };
    assert_eq!((shape("plant"), shape("units")), (None, None));
    assert!(shape("plain").is_some());
    // They work all the same.
    let client = Client::connect(&url).await.unwrap();
    let garden = client.namespace::<Garden>().get_by_name("a");
    let tree = Tree::Node(Box::new(Tree::Node(Box::new(Tree::Leaf))));
    assert_eq!(garden.plant(tree.clone()).await, Ok(tree));
    assert_eq!(garden.units(vec![(); 3]).await, Ok(3));

    // Ten million times `Node`, and a list that says it is without end.
    let mut socket = socket(&url).await;
    let deep = |form: u8, number: u8| [vec![form], vec![number; 10_000_000]].concat();
    let units = [1, 253, 255, 255, 255, 255, 255, 255, 255, 255].to_vec();
    let calls = [("plant", deep(1, 1)), ("plant", deep(2, 0x91)), ("units", units)];
    for (number, (method, arguments)) in calls.into_iter().enumerate() {
        let call = ToServer::Call(Box::new(CallFrame {
            number: number as u64,
            class: "Garden".into(),
            object: RemoteAddress::Name("a".into()),
            method: method.into(),
            fingerprint: Some(7),
            knows: true,
            timeout: None,
            gates: Vec::new(),
            names: vec![if method == "plant" { "tree".into() } else { "units".into() }],
            arguments: arguments.into(),
        }));
        socket.send(Frame::Binary(call.encode().unwrap())).await.unwrap();
        let Frame::Binary(reply) = socket.next().await.unwrap().unwrap() else { panic!() };
        let outcome = ReplyFrame::decode(&reply).unwrap().outcome;
        let is_refused =
            matches!(outcome, Outcome::Failed(Failed::OtherShape | Failed::Incompatible { .. }));
        assert!(is_refused, "{outcome:?}");
    }
}

/// A middleman's close frame says nothing of what the server has done.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_itself_can_say_that_a_call_was_not_made() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/objects", listener.local_addr().unwrap());
    let to = server.url();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let mut far = socket(&to).await;
        #[allow(clippy::result_large_err, reason = "the library's own signature")]
        let answer = |_: &Upgrade, mut response: Answer| {
            let protocol = durable::remote::PROTOCOL.parse().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let mut near = accept_hdr_async(near, answer).await.unwrap();
        far.send(near.next().await.unwrap().unwrap()).await.unwrap();
        far.next().await.unwrap().unwrap();
        let goodbye = CloseFrame { code: CloseCode::Restart, reason: "a new version".into() };
        near.close(Some(goodbye)).await.unwrap();
    });
    let client = Client::connect(&url).await.unwrap();
    let error = client.namespace::<Desk>().get_by_name("a").add(1).await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected { sent: true, .. }), "{error:?}");
    assert_eq!(server.runtime.namespace::<Desk>().get_by_name("a").total().await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_long_in_ending_is_not_waited_for() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).patience(Duration::from_millis(100));
    let client = builder.connect().await.unwrap();
    let desk = client.namespace::<Desk>().get_by_name("a");
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let mut held = Box::pin(desk.add(1));
    assert!(poll!(&mut held).is_pending());
    assert!(matches!(desk.hidden().await, Err(CallError::NotFound(_))));
    let runtime = server.runtime.clone();
    let ending = tokio::spawn(async move { runtime.shutdown().await });
    // Taken before the shutdown begins, or refused after it.
    let other = client.namespace::<Desk>().get_by_name("b");
    let refused = loop {
        match other.total().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CallError::Disconnected { sent: false, .. }), "{refused:?}");
    server.signals.release.notify_one();
    assert_eq!(held.await, Ok(1));
    ending.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_may_be_endless() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).patience(Duration::MAX);
    let client = builder.connect_lazily().unwrap();
    assert_eq!(client.namespace::<Desk>().get_by_name("a").total().await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_panics_is_a_failed_attempt() {
    let server = Server::start().await;
    let asked = AtomicU32::new(0);
    let builder = Client::builder(&server.url()).headers(move |_| {
        assert!(asked.fetch_add(1, Ordering::Relaxed) > 0, "the token has a line break");
    });
    let client = builder.connect_lazily().unwrap();
    assert_eq!(client.namespace::<Desk>().get_by_name("a").total().await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_panics_takes_no_other_call_with_it() {
    let panics = from_fn(|request: HttpRequest, next: Next| async move {
        assert!(!request.uri().path().contains("unlucky"), "a layer panics");
        next.run(request).await
    });
    let directory = Arc::new(TempDir::new().unwrap());
    let server = Server::with(directory, "127.0.0.1:0", |router| router.layer(panics)).await;
    let client = server.client().await;
    let desk = client.namespace::<Desk>().get_by_name("a");
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let mut held = Box::pin(desk.add(1));
    assert!(poll!(&mut held).is_pending());
    let error = client.namespace::<Desk>().get_by_name("unlucky").total().await.unwrap_err();
    assert!(matches!(error, CallError::Denied { status: 500, .. }), "{error:?}");
    server.signals.release.notify_one();
    assert_eq!(held.await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_came_by_http_2_goes_on_by_http_1() {
    let server = Server::start().await;
    let request = http::Request::post("/x").version(http::Version::HTTP_2);
    let request = request.body(durable::Body::from("x".to_owned())).unwrap();
    let response = server.desk("a").await.fetch(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Calls that a server gives back wait in the order in which they were made, and not in that of its answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_keeps_its_order() {
    let gate = Arc::new(Semaphore::new(0));
    let (in_layer, entered) = (Arc::clone(&gate), Arc::new(Semaphore::new(0)));
    let (signal, count) = (Arc::clone(&entered), AtomicU32::new(0));
    let count = Arc::new(count);
    let slow = from_fn(move |request: HttpRequest, next: Next| {
        let is_first =
            request.uri().path().ends_with("/log") && count.fetch_add(1, Ordering::Relaxed) == 0;
        let (gate, signal) = (Arc::clone(&in_layer), Arc::clone(&signal));
        async move {
            if is_first {
                signal.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
            next.run(request).await
        }
    });
    let directory = Arc::new(TempDir::new().unwrap());
    let server = Server::with(directory, "127.0.0.1:0", |router| router.layer(slow)).await;
    let (address, runtime) = (server.address.to_string(), server.runtime.clone());
    let desk = server.desk("a").await;
    let mut first = Box::pin(desk.log(1));
    assert!(poll!(&mut first).is_pending());
    entered.acquire().await.unwrap().forget();
    let other = server.desk("a").await;
    let stopping = tokio::spawn(server.stop());
    // Another connection is told of the shutdown at the same time as this one.
    while !matches!(poll!(Box::pin(runtime_is_ending(&runtime))), std::task::Poll::Ready(())) {
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(desk.log(2));
    assert!(poll!(&mut second).is_pending());
    gate.add_permits(1);
    let directory = stopping.await.unwrap();
    let _server = Server::with(directory, &address, |router| router).await;
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(other.logged().await.unwrap(), [1, 2]);
}

/// Ready when the runtime has begun to shut down.
async fn runtime_is_ending(runtime: &Runtime) {
    let mut place = runtime.connection();
    std::future::poll_fn(|task| place.poll_ends(task)).await;
}
