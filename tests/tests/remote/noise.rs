//! Clients that send what is no frame, or too much.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::bed::Server;

/// Frames of a client, as it would send them.
fn frames() -> Vec<Vec<u8>> {
    use durable::remote::{CallFrame, RemoteAddress, ToServer};
    let call = |number, method: &'static str, arguments: &[u8]| {
        ToServer::Call(Box::new(CallFrame {
            number,
            class: "Desk".into(),
            object: RemoteAddress::Name("noise".into()),
            method: method.into(),
            fingerprint: Some(7),
            knows: false,
            timeout: Some(Duration::from_secs(5)),
            gates: Vec::new(),
            names: vec!["by".into()],
            arguments: bytes::Bytes::copy_from_slice(arguments),
        }))
    };
    let frames = [
        call(1, "add", &[2, 5]),
        call(2, "add", &[1, 5]),
        call(3, "echo", &[2, 0x80, 1]),
        call(4, "total", &[2]),
        call(4, "total", &[]),
        ToServer::Cancel(3),
    ];
    frames.iter().map(|frame| frame.encode().unwrap().to_vec()).collect()
}

fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let whole = prop::sample::select(frames());
    let changed = (whole.clone(), any::<prop::sample::Index>(), any::<u8>());
    let changed = changed.prop_map(|(mut frame, at, with)| {
        let at = at.index(frame.len());
        frame[at] = with;
        frame
    });
    let cut = (whole.clone(), any::<prop::sample::Index>());
    let cut = cut.prop_map(|(frame, at)| frame[..at.index(frame.len())].to_vec());
    let random = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec(prop_oneof![whole, changed, cut, random], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a client sends, its connection ends when it ends it, and others are served.
    #[test]
    fn noise_harms_nobody_else(noise in noise()) {
        let mut executor = tokio::runtime::Builder::new_multi_thread();
        let executor = executor.worker_threads(2).enable_all().build().unwrap();
        executor.block_on(async {
            let server = Server::start().await;
            let mut request = server.url().replace("http", "ws").into_client_request().unwrap();
            *request.uri_mut() = format!("{}/rpc", request.uri()).parse().unwrap();
            let protocol = durable::remote::PROTOCOL.parse().unwrap();
            request.headers_mut().insert("sec-websocket-protocol", protocol);
            let (mut socket, _) = connect_async(request).await.unwrap();
            for frame in noise {
                if socket.send(Message::Binary(frame.into())).await.is_err() {
                    break;
                }
            }
            let _ = socket.close(None).await;
            while let Some(Ok(_)) = socket.next().await {}
            assert!(server.desk("other").await.total().await.is_ok());
            server.stop().await;
        });
    }
}
