//! Which requests become sockets, and what the others are answered.

use super::*;
use crate::bed::{client, get, whole};

async fn refused(place: &Place, request: &str) -> u16 {
    let (_, head) = place.by_hand(request).await;
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_handshake_is_that_of_the_standard() {
    let place = start().await;
    let (_, head) = place.by_hand(&upgrade(&[("Host", "a.example")])).await;
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(!head.contains("extensions"), "{head}");
}

#[tokio::test]
async fn the_object_chooses_the_subprotocol() {
    let place = start().await;
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(place.url("/"));
    let headers = request.as_mut().unwrap().headers_mut();
    headers.insert("sec-websocket-protocol", "chat.v2, chat".parse().unwrap());
    let (_, response) = connect_async(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v2");
}

#[tokio::test]
async fn a_page_of_another_origin_gets_403_before_the_object_sees_it() {
    let place = start().await;
    let tells = upgrade(&[("Origin", "https://elsewhere.example")]).replace("/join", "/tells");
    assert_eq!(refused(&place, &tells).await, 403);
    let own = upgrade(&[("Origin", "https://a.example")]).replace("/join", "/tells");
    assert_eq!(refused(&place, &own).await, 101);
    assert_eq!(place.rest().await[0], "the handler ran", "once");
}

#[tokio::test]
async fn what_is_no_upgrade_gets_426() {
    let place = start().await;
    for name in ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        assert_eq!(refused(&place, &upgrade(&[(name, "")])).await, 426, "without {name}");
    }
    assert_eq!(refused(&place, &upgrade(&[("Sec-WebSocket-Version", "12")])).await, 426);
    assert_eq!(refused(&place, &upgrade(&[]).replace("GET", "POST")).await, 426);
    assert_eq!(refused(&place, &upgrade(&[]).replace("HTTP/1.1", "HTTP/1.0")).await, 426);
    let (_, head) = place.by_hand(&upgrade(&[("Upgrade", "")])).await;
    let head = head.to_lowercase();
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-version: 13\r\n"), "{head}");
    assert_eq!(place.line().count().await.unwrap(), 0);
    assert_eq!(place.rest().await, [""; 0]);
}

/// As HTTP/2 does: its requests have no connection of their own.
#[tokio::test]
async fn a_request_without_a_connection_gets_426_and_the_object_does_not_see_it() {
    let place = start().await;
    let app = router(&place.runtime).expose::<Line>(Expose::Fetch).build().unwrap();
    let request = http::Request::get("/Line/name/a/fetch/tells")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty());
    let answer = crate::bed::ask(&app, request.unwrap()).await;
    assert_eq!(answer.failure(), (426, "upgrade".to_owned()));
    assert_eq!(answer.headers["upgrade"], "websocket");
    assert_eq!(get(&app, "/Line/name/a/fetch/join").await.status, 426);
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn an_object_that_does_not_accept_answers_as_it_likes() {
    let place = start().await;
    let page = upgrade(&[]).replace("/join", "/page");
    let (mut stream, head) = place.by_hand(&page).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // The connection stays what it was.
    let mut body = [0; 6];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"a page");
    stream.write_all(page.as_bytes()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn an_object_that_changes_its_mind_has_lost_the_connection() {
    let mut place = start().await;
    let changed = upgrade(&[]).replace("/join", "/changed");
    let (_still_open, head) = place.by_hand(&changed).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(place.event().await.starts_with("1006 "));
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn a_class_that_is_not_exposed_is_not_found() {
    let place = start().await;
    let request = upgrade(&[]).replace("/Line/", "/Other/");
    assert_eq!(refused(&place, &request).await, 404);
}

#[tokio::test]
async fn a_socket_creates_no_object() {
    let place = start().await;
    let lines = place.runtime.namespace::<Line>();
    let id = lines.id_from_name("a").unwrap();
    let mut socket = place.join("/").await;
    socket.send(Said::text("hello")).await.unwrap();
    assert_eq!(text(&mut socket).await, "hello");
    assert!(!lines.exists(&id).unwrap(), "nothing was written");
    socket.send(Said::text("stored x")).await.unwrap();
    assert_eq!(text(&mut socket).await, "x");
    assert!(lines.exists(&id).unwrap());
}

#[tokio::test]
async fn requests_go_on_beside_sockets() {
    let place = start().await;
    let _socket = place.join("/").await;
    let uri = place.server.uri("/Line/name/a/fetch/page");
    let request = http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
    let answer = whole(client().request(request).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "a page"));
}
