//! Connections that break, and servers that come and go.

use std::sync::Arc;
use std::time::Duration;

use durable::client::Client;
use durable::{CallError, ErrorKind};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::bed::{Desk, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_on_its_way_is_told_that_its_outcome_is_unknown() {
    // A server that takes the connection and the call, and dies.
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let client = Client::connect(&format!("http://{}/objects", proxy.address)).await.unwrap();
    let desk = client.namespace::<Desk>().get_by_name("a");
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let mut call = Box::pin(desk.add(1));
    assert!(futures_util::poll!(&mut call).is_pending());
    assert!(matches!(desk.hidden().await, Err(CallError::NotFound(_))));
    proxy.cut();
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected { sent: true, .. }), "{error:?}");
    assert!(!error.is_retryable());
    // The next one finds a new connection by itself.
    server.signals.release.notify_one();
    desk.nothing().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_server_that_comes_back() {
    let server = Server::start().await;
    let address = server.address.to_string();
    let desk = server.desk("a").await;
    desk.add(1).await.unwrap();
    let directory = server.stop().await;
    let mut call = Box::pin(desk.total());
    assert!(futures_util::poll!(&mut call).is_pending());
    let _server = Server::with(directory, &address, |router| router).await;
    assert_eq!(call.await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_server_fails_and_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let builder = || Client::builder(&url).patience(Duration::from_millis(50));
    let error = builder().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.message().contains(&url), "{error}");
    let desk = builder().connect_lazily().unwrap().namespace::<Desk>().get_by_name("a");
    let error = desk.total().await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected { sent: false, .. }), "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_of_objects_refuses() {
    let server = Server::start().await;
    let error = Client::connect(&format!("http://{}/elsewhere", server.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.message().contains("404"), "{error}");
    let error = Client::connect("127.0.0.1:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_shut_down_says_so_and_ends_the_connection() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).patience(Duration::from_millis(100));
    let desk = builder.connect().await.unwrap().namespace::<Desk>().get_by_name("a");
    desk.add(1).await.unwrap();
    server.runtime.shutdown().await.unwrap();
    let error = desk.total().await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected { sent: false, .. }), "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn one_thread_is_enough_for_both_ends() {
    let server = Server::with(Arc::new(TempDir::new().unwrap()), "127.0.0.1:0", |r| r).await;
    let desk = server.desk("a").await;
    assert_eq!(desk.add(1).await, Ok(1));
}

/// Passes bytes on until it is told to cut all connections.
struct Proxy {
    address: std::net::SocketAddr,
    cut: tokio::sync::watch::Sender<u32>,
}

impl Proxy {
    async fn start(to: std::net::SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy { address, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}
