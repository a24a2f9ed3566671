//! Upgrades and frames that are nearly right, cut into pieces of any size.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

/// What one client sends, and in pieces of which sizes.
#[derive(Clone, Debug)]
struct Noise {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = vec(any::<u8>(), 0..60);
    let first =
        prop_oneof![Just(0x81_u8), Just(0x82), Just(0x01), Just(0x80), Just(0x89), Just(0x88)];
    let frame = (first, any::<[u8; 4]>(), payload).prop_map(|(first, mask, payload)| {
        let length = 0x80 | u8::try_from(payload.len()).unwrap();
        [&[first, length], &mask[..], &payload].concat()
    });
    prop_oneof![
        3 => vec(frame, 0..10).prop_map(|frames| frames.concat()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

fn noise() -> impl Strategy<Value = Noise> {
    // Mostly in the frames: of the heads that are spoiled few remain upgrades.
    let spoiled = vec((any::<Index>(), any::<u8>()), 0..3);
    let head_spoiled = prop_oneof![4 => Just(Vec::new()), 1 => spoiled.clone()];
    let parts = (head_spoiled, frames(), spoiled, vec(1..200_usize, 1..5));
    parts.prop_map(|(head_spoiled, mut frames, spoiled, sizes)| {
        let mut bytes = upgrade(&[]).into_bytes();
        for (index, byte) in head_spoiled {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        for (index, byte) in spoiled {
            if !frames.is_empty() {
                let index = index.index(frames.len());
                frames[index] = byte;
            }
        }
        bytes.extend(frames);
        Noise { bytes, sizes }
    })
}

/// Sends it, and gives what the server says until it ends the connection.
async fn send(place: &Place, noise: Noise) -> Vec<u8> {
    let stream = TcpStream::connect(place.server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        // A connection that is reset has ended, too.
        let _ = reads.read_to_end(&mut answer).await;
        answer
    });
    let mut rest = &noise.bytes[..];
    for size in noise.sizes.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*size));
        if piece.is_empty() || writes.write_all(piece).await.is_err() {
            break;
        }
        rest = after;
    }
    let _ = writes.shutdown().await;
    reading.await.unwrap()
}

#[tokio::test]
async fn whatever_clients_send_each_socket_ends_once_and_the_server_stays() {
    let place = start_with(|builder| builder.websocket_message_limit(100)).await;
    let mut random = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..300 {
        let noise = noise().new_tree(&mut random).unwrap().current();
        let answer = send(&place, noise).await;
        accepted += usize::from(answer.starts_with(b"HTTP/1.1 101"));
    }
    assert!(accepted > 200, "only {accepted} have become sockets");
    while place.line().count().await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }
    let mut client = place.join("/").await;
    client.send(Said::text("still here")).await.unwrap();
    assert_eq!(text(&mut client).await, "still here");
    client.close(None).await.unwrap();
    assert_eq!(closed(&mut client).await, None);
    let events = place.rest().await;
    let ends = events.iter().filter(|event| !event.starts_with("error ")).count();
    assert_eq!(ends, accepted + 1, "each has ended once");
}
