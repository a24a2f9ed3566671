//! Messages in both directions.

use super::*;

#[tokio::test]
async fn texts_and_bytes_come_back_as_they_were_sent() {
    let place = start().await;
    let mut client = place.join("/greeted").await;
    assert_eq!(text(&mut client).await, "welcome");
    let long = "ü".repeat(300_000);
    for said in ["", "hello", "grüße 👋", &long] {
        client.send(Said::text(said)).await.unwrap();
        assert_eq!(text(&mut client).await, said);
    }
    for length in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let bytes: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
        client.send(Said::binary(bytes.clone())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Said::binary(bytes));
    }
}

#[tokio::test]
async fn a_thousand_messages_at_once_come_back_in_order() {
    let place = start().await;
    let (mut sink, stream) = place.join("/").await.split();
    let sending = tokio::spawn(async move {
        for number in 0..1_000 {
            sink.feed(Said::text(number.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    let answers: Vec<_> = stream.take(1_000).map(Result::unwrap).collect().await;
    let expected: Vec<_> = (0..1_000).map(|number| Said::text(number.to_string())).collect();
    assert_eq!(answers, expected);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_broadcast_reaches_all_or_those_with_a_tag() {
    let place = start().await;
    let (mut ann, mut bob) = (place.join("/?r,ann").await, place.join("/?bob").await);
    assert_eq!(place.line().say(Some("r".to_owned()), "some".to_owned()).await.unwrap(), 1);
    assert_eq!(place.line().say(None, "all".to_owned()).await.unwrap(), 2);
    assert_eq!((text(&mut ann).await, text(&mut ann).await), ("some".into(), "all".into()));
    assert_eq!(text(&mut bob).await, "all");
}

#[tokio::test]
async fn a_socket_outlives_the_instance_and_wakes_the_next() {
    let mut place = start().await;
    let mut client = place.join("/").await;
    for seen in ["1", "2"] {
        client.send(Said::text("seen")).await.unwrap();
        assert_eq!(text(&mut client).await, seen);
    }
    let lines = place.runtime.namespace::<Line>();
    let id = lines.id_from_name("a").unwrap();
    while !lines.evict(&id).unwrap() {
        tokio::task::yield_now().await;
    }
    client.send(Said::text("seen")).await.unwrap();
    assert_eq!(text(&mut client).await, "1", "another instance");
    while !lines.evict(&id).unwrap() {
        tokio::task::yield_now().await;
    }
    client.send(close_frame(4001, "bye")).await.unwrap();
    assert_eq!(place.event().await, "4001 bye clean");
}

#[tokio::test]
async fn a_ping_is_answered_with_its_own_bytes() {
    let place = start().await;
    let mut client = place.join("/").await;
    client.send(Said::Ping("are you there?".into())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Pong("are you there?".into()));
    client.send(Said::Pong("nobody asked".into())).await.unwrap();
    client.send(Said::text("still here")).await.unwrap();
    assert_eq!(text(&mut client).await, "still here");
}

#[tokio::test]
async fn hundreds_of_sockets_on_many_objects_talk_at_once() {
    let place = start().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..200 {
        let url = format!("ws://{}/Line/name/{}/fetch", place.server.address, number % 20);
        clients.spawn(async move {
            let (mut client, _) = connect_async(url).await.unwrap();
            for round in 0..10 {
                let said = format!("stored {number} {round}");
                client.send(Said::text(&said)).await.unwrap();
                assert_eq!(text(&mut client).await, &said["stored ".len()..]);
            }
            client.close(None).await.unwrap();
            assert_eq!(closed(&mut client).await, None);
        });
    }
    clients.join_all().await;
    let events = place.rest().await;
    assert_eq!(events, vec!["1005  clean"; 200]);
}
