//! How sockets end: once, with the right code on both sides.

use super::*;

#[tokio::test]
async fn the_objects_code_arrives_behind_what_was_sent() {
    let mut place = start().await;
    let mut client = place.join("/").await;
    client.send(Said::text("close 4321 so be it")).await.unwrap();
    assert_eq!(text(&mut client).await, "before");
    assert_eq!(closed(&mut client).await, Some((4321, "so be it".to_owned())));
    assert_eq!(place.event().await, "4321 so be it clean", "the client answers with the same");
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn a_close_without_a_code_has_none() {
    let mut place = start().await;
    let mut client = place.join("/").await;
    client.send(Said::text("close")).await.unwrap();
    assert_eq!(closed(&mut client).await, None);
    assert_eq!(place.event().await, "1005  clean");
}

#[tokio::test]
async fn the_clients_code_arrives_and_is_answered() {
    let mut place = start().await;
    let mut client = place.join("/").await;
    client.send(close_frame(4001, "bye")).await.unwrap();
    assert_eq!(closed(&mut client).await, Some((4001, "bye".to_owned())));
    assert_eq!(place.event().await, "4001 bye clean");
    assert_eq!(place.line().count().await.unwrap(), 0);
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn the_object_answers_with_a_code_of_its_own() {
    let mut place = start().await;
    let mut client = place.join("/").await;
    client.send(close_frame(1000, "answer me")).await.unwrap();
    assert_eq!(closed(&mut client).await, Some((4100, "back".to_owned())));
    assert_eq!(place.event().await, "1000 answer me clean");
}

#[tokio::test]
async fn a_client_that_dies_is_1006_once() {
    let mut place = start().await;
    let client = place.join("/").await;
    drop(client);
    let event = place.event().await;
    assert!(event.starts_with("1006 ") && event.ends_with(" lost"), "{event}");
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn a_client_that_dies_as_soon_as_it_is_let_in_is_1006_once() {
    let mut place = start().await;
    for _ in 0..20 {
        let (stream, head) = place.by_hand(&upgrade(&[])).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // With what it was sent unread, so that the connection is reset.
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    for _ in 0..20 {
        assert!(place.event().await.starts_with("1006 "));
    }
    assert_eq!(place.line().count().await.unwrap(), 0);
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn a_client_that_dies_before_it_is_answered_leaves_nothing() {
    let place = start().await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(place.server.address).await.unwrap();
        stream.write_all(upgrade(&[]).as_bytes()).await.unwrap();
        drop(stream);
    }
    // Those that were accepted are lost, and all others never were.
    while place.line().count().await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }
    let events = place.rest().await;
    assert!(events.len() <= 20, "{events:?}");
    assert!(events.iter().all(|event| event.starts_with("1006 ")), "{events:?}");
}

#[tokio::test]
async fn the_end_of_the_server_is_1012() {
    let mut place = start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(place.join("/").await);
    }
    place.server.stop.take().unwrap().send(()).unwrap();
    for client in &mut clients {
        assert_eq!(closed(client).await, Some((1012, "service restart".to_owned())));
    }
    // Upgraded connections keep nobody waiting.
    (&mut place.server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_never_answers_does_not_keep_the_server() {
    let mut place = start().await;
    let (_stream, head) = place.by_hand(&upgrade(&[])).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    place.server.stop.take().unwrap().send(()).unwrap();
    (&mut place.server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_1013() {
    let place = start_with(|builder| builder.websocket_queue_limit(256 * 1024)).await;
    let mut client = place.join("/").await;
    // More than the system's own buffers take.
    let text = "x".repeat(128 * 1024);
    while place.line().open().await.unwrap() > 0 {
        place.line().say(None, text.clone()).await.unwrap();
    }
    assert_eq!(closed(&mut client).await, Some((1013, "too slow".to_owned())));
}
