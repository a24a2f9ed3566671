//! What clients may not send, byte by byte.

use super::*;

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The first frame that the server sends: its first byte, and its payload.
async fn answer(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let length = stream.read_u8().await.unwrap();
    assert!(length < 126);
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

/// Sends this, and gives the code of the close frame that answers it. The connection ends properly behind it.
async fn code_for(place: &mut Place, bytes: &[u8]) -> u16 {
    let (mut stream, _) = place.by_hand(&upgrade(&[])).await;
    stream.write_all(bytes).await.unwrap();
    let (first, payload) = answer(&mut stream).await;
    assert_eq!(first, 0x88, "{payload:?}");
    // As much again, which nobody reads any more.
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    u16::from_be_bytes([payload[0], payload[1]])
}

#[tokio::test]
async fn what_breaks_the_protocol_has_its_code_and_one_event() {
    let mut place = start_with(|builder| builder.websocket_message_limit(1_000)).await;
    for (what, bytes, code) in [
        ("no mask", vec![0x81, 1, b'x'], 1002),
        ("no UTF-8", frame(0x81, &[0xff]), 1007),
        ("no UTF-8 at the end", frame(0x81, "ü".as_bytes().split_at(1).0), 1007),
        ("no UTF-8 before the end", frame(0x01, &[b'a', 0xc0]), 1007),
        ("too long", frame(0x82, &[0; 1_001]), 1009),
        ("too long together", [frame(0x02, &[0; 900]), frame(0x80, &[0; 101])].concat(), 1009),
        ("an extension", frame(0xc1, b"x"), 1002),
        ("an unknown kind", frame(0x83, b"x"), 1002),
        ("goes on from nothing", frame(0x80, b"x"), 1002),
        ("begins twice", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("a ping in parts", frame(0x09, b"x"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("half a code", frame(0x88, &[3]), 1002),
        ("no code for frames", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a reason that is no text", frame(0x88, &[3, 0xe8, 0xff]), 1007),
    ] {
        assert_eq!(code_for(&mut place, &bytes).await, code, "{what}");
        let error = place.event().await;
        assert!(error.starts_with("error "), "{what}: {error}");
        let close = place.event().await;
        assert!(close.starts_with("1006 ") && close.ends_with(" lost"), "{what}: {close}");
    }
    assert_eq!(place.rest().await, [""; 0]);
}

#[tokio::test]
async fn a_message_may_come_in_parts_with_a_ping_between() {
    let place = start().await;
    let (mut stream, _) = place.by_hand(&upgrade(&[])).await;
    let (first, second) = "grüße".as_bytes().split_at(3);
    let parts =
        [frame(0x01, first), frame(0x89, b"?"), frame(0x00, second), frame(0x80, b"")].concat();
    for byte in parts {
        stream.write_u8(byte).await.unwrap();
    }
    assert_eq!(answer(&mut stream).await, (0x8a, b"?".to_vec()));
    assert_eq!(answer(&mut stream).await, (0x81, "grüße".into()));
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_not_lost() {
    let place = start().await;
    let mut request = upgrade(&[]).into_bytes();
    request.extend(frame(0x81, b"early"));
    let request = String::from_utf8_lossy(&request).into_owned();
    // The mask and the length are no UTF-8, so this is sent in two halves at once.
    let (head, _) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
    let mut stream = TcpStream::connect(place.server.address).await.unwrap();
    stream.write_all(&[head.as_bytes(), &frame(0x81, b"early")].concat()).await.unwrap();
    let mut answered = vec![0; 4_096];
    let mut length = 0;
    while !answered[..length].ends_with(b"early") {
        length += stream.read(&mut answered[length..]).await.unwrap();
    }
    assert!(answered.starts_with(b"HTTP/1.1 101"));
}
