use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 2_000;

/// A client's frame: a first byte, a mask and a payload.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | short.to_be_bytes()[1]),
        Ok(long) => {
            bytes.push(0xfe);
            bytes.extend(long.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0xff);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What these bytes say, where they arrive in pieces of these sizes, one after the other and over again.
fn decoded(bytes: &[u8], sizes: &[usize]) -> Vec<Event> {
    let mut decoder = Decoder::new(BYTES_MAX);
    let (mut events, mut rest, mut sizes) = (Vec::new(), bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        decoder.feed(piece);
        rest = after;
        while let Some(event) = decoder.next() {
            let is_last =
                matches!(event, Event::Incoming(Incoming::Close(_) | Incoming::Invalid { .. }));
            events.push(event);
            if is_last {
                return events;
            }
        }
        let kept = decoder.message.as_ref().map_or(0, |message| message.bytes.capacity());
        assert!(kept <= 2 * BYTES_MAX, "{kept} bytes of a message");
        assert!(decoder.buffer.len() < 14 + 125, "{} bytes wait", decoder.buffer.len());
    }
    if decoder.frame.is_none() && decoder.buffer.is_empty() {
        assert_eq!(decoder.buffer.capacity(), 0, "a silent socket keeps nothing");
    }
    events
}

fn code(bytes: &[u8]) -> u16 {
    match &decoded(bytes, &[usize::MAX])[..] {
        [Event::Incoming(Incoming::Invalid { code, .. })] => *code,
        other => panic!("{other:?}"),
    }
}

/// Something that a client may say.
#[derive(Clone, Debug)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        "\\PC{0,400}".prop_map(Said::Text),
        vec(any::<u8>(), 0..400).prop_map(Said::Binary),
        vec(any::<u8>(), 0..126).prop_map(Said::Ping),
        vec(any::<u8>(), 0..126).prop_map(Said::Pong),
    ]
}

/// What was said as frames: a message in parts of at most this size.
fn frames(said: &Said, part_bytes: usize, mask: [u8; 4]) -> Vec<u8> {
    let (first, payload) = match said {
        Said::Text(text) => (0x1, text.as_bytes()),
        Said::Binary(bytes) => (0x2, &bytes[..]),
        Said::Ping(bytes) => return frame(0x89, mask, bytes),
        Said::Pong(bytes) => return frame(0x8a, mask, bytes),
    };
    let mut parts: Vec<_> = payload.chunks(part_bytes).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    let part = |(index, part): (usize, &&[u8])| {
        let opcode = if index == 0 { first } else { 0 };
        frame(opcode | if index == last { 0x80 } else { 0 }, mask, part)
    };
    parts.iter().enumerate().flat_map(part).collect()
}

fn event(said: Said) -> Event {
    match said {
        Said::Text(text) => Event::Incoming(Incoming::Message(Message::Text(text))),
        Said::Binary(bytes) => Event::Incoming(Incoming::Message(Message::Binary(bytes.into()))),
        Said::Ping(bytes) => Event::Ping(bytes.into()),
        Said::Pong(_) => Event::Incoming(Incoming::Heartbeat),
    }
}

proptest! {
    /// However messages are cut into frames, and frames into pieces, they come out as they were said.
    #[test]
    fn what_is_said_comes_out(
        all in vec(said(), 0..6),
        part_bytes in 1..300_usize,
        mask: [u8; 4],
        sizes in vec(1..200_usize, 1..5),
    ) {
        let bytes: Vec<_> = all.iter().flat_map(|said| frames(said, part_bytes, mask)).collect();
        let expected: Vec<_> = all.into_iter().map(event).collect();
        prop_assert_eq!(decoded(&bytes, &sizes), expected);
    }

    /// Whatever arrives, it is read or refused, and how it is cut into pieces makes no difference.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600), sizes in vec(1..50_usize, 1..5)) {
        prop_assert_eq!(decoded(&bytes, &sizes), decoded(&bytes, &[1]));
    }

    /// The same for what is nearly right.
    #[test]
    fn spoiled_frames_are_read_or_refused(
        all in vec(said(), 1..6),
        part_bytes in 1..300_usize,
        spoiled in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        sizes in vec(1..200_usize, 1..5),
    ) {
        let mut bytes: Vec<_> =
            all.iter().flat_map(|said| frames(said, part_bytes, [1, 2, 3, 4])).collect();
        for (index, byte) in spoiled {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        prop_assert_eq!(decoded(&bytes, &sizes), decoded(&bytes, &[1]));
    }
}

#[test]
fn lengths_have_their_shortest_form() {
    let head = |length: &[u8]| [&[0x82], length, &[0; 4]].concat();
    assert_eq!(code(&head(&[0xfe, 0, 125])), 1002);
    assert_eq!(code(&head(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff])), 1002);
    assert!(decoded(&head(&[0xfe, 0, 126]), &[1]).is_empty(), "it waits for its payload");
}

#[test]
fn a_message_that_is_too_long_is_refused_by_its_header() {
    let long = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for length in [65_536, u64::MAX / 2, u64::MAX] {
        assert_eq!(code(&long(length)), 1009, "{length}");
    }
    let limit = frame(0x82, [0; 4], &[7; BYTES_MAX]);
    assert_eq!(decoded(&limit, &[1_000]), [event(Said::Binary(vec![7; BYTES_MAX]))]);
    assert_eq!(code(&frame(0x82, [0; 4], &[7; BYTES_MAX + 1])), 1009);
}

#[test]
fn parts_without_end_are_refused_at_the_limit() {
    let mut decoder = Decoder::new(BYTES_MAX);
    decoder.feed(&frame(0x02, [0; 4], b"a"));
    for _ in 1..BYTES_MAX {
        // Those that are empty add nothing.
        decoder.feed(&frame(0x00, [0; 4], b""));
        decoder.feed(&frame(0x00, [0; 4], b"a"));
        assert_eq!(decoder.next(), None);
    }
    decoder.feed(&frame(0x00, [0; 4], b"a"));
    let refused = decoder.next();
    assert!(
        matches!(refused, Some(Event::Incoming(Incoming::Invalid { code: 1009, .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_text_that_goes_wrong_is_refused_before_its_end() {
    let mut decoder = Decoder::new(BYTES_MAX);
    let text = frame(0x81, [9; 4], &[b"fine".as_slice(), &[0xff], &[b'x'; 100]].concat());
    decoder.feed(&text[..20]);
    let refused = decoder.next();
    assert!(
        matches!(refused, Some(Event::Incoming(Incoming::Invalid { code: 1007, .. }))),
        "{refused:?}"
    );
}

#[test]
fn close_frames_have_a_code_that_may_be_sent() {
    let closed = |payload: &[u8]| decoded(&frame(0x88, [5; 4], payload), &[usize::MAX]).remove(0);
    assert_eq!(closed(&[]), Event::Incoming(Incoming::Close(CloseFrame::default())));
    for code in [1000, 1003, 1007, 1014, 3000, 4999_u16] {
        let payload = [&code.to_be_bytes()[..], "grüße".as_bytes()].concat();
        let frame = CloseFrame { code: Some(code), reason: "grüße".to_owned() };
        assert_eq!(closed(&payload), Event::Incoming(Incoming::Close(frame)));
    }
    for wrong in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535_u16] {
        assert_eq!(code(&frame(0x88, [5; 4], &wrong.to_be_bytes())), 1002, "{wrong}");
    }
}
