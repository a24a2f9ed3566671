use std::sync::Arc;

use super::decode::PageEntry;
use super::frame::{Frame, LAST_PART, Place, parse};
use super::*;
use crate::engine::files::simulated::Random;
use crate::id::RawId;

const PLACE: Place = Place { segment: 3, salt: 0x1122_3344_5566_7789 };
const BATCH: Position = Position { segment: 2, offset: 4_096 };
const AT: u32 = 5_000;

fn object() -> ObjectKey {
    ObjectKey { class: Arc::from("Room"), id: RawId::from_bytes([0xab; 32]) }
}

fn commit(object: &ObjectKey) -> Commit<'_> {
    Commit {
        object,
        epoch: 1,
        number: 2,
        time_ms: 3,
        database_pages: 4,
        effects: Effects { creates: true, ..Effects::default() },
        name: Some("lobby"),
        location_hint: Some("weur"),
        wake: Some(Some(5).into()),
    }
}

fn close(frames: Vec<OpenFrame>) -> Vec<Vec<u8>> {
    frames.into_iter().map(|frame| frame.close(PLACE, AT, BATCH)).collect()
}

/// A record of one part, with pages of all forms.
fn sample() -> Vec<u8> {
    let object = object();
    let mut draft = Draft::new(&commit(&object)).unwrap();
    let mut image = [0; PAGE_BYTES];
    image[7] = 9;
    draft.page(1, None, &image);
    draft.page(2, Some(&[0; PAGE_BYTES]), &image);
    draft.page(3, Some(&image), &[1; PAGE_BYTES]);
    close(draft.finish(1 << 20).unwrap()).remove(0)
}

fn open(bytes: &[u8]) -> Option<(Frame<'_>, Record<'_>)> {
    let frame = parse(bytes, PLACE, AT).ok()??;
    let (head, payload) = Head::parse(frame.body)?;
    Some((frame, Record::parse(head, frame.flags, payload)?))
}

#[test]
fn golden_record() {
    let bytes = sample();
    let (head, body) = bytes.split_at(24);
    assert_eq!(head[..4], [0x89, 0x77, 0x66, 0x55], "mark");
    assert_eq!(u32::from_le_bytes([head[4], head[5], head[6], head[7]]), 4_211);
    assert_eq!(head[12..24], [0, 0, 0, 0, 0, 16, 0, 0, 1, 0, 1, 5]);
    assert_eq!(body[..5], *b"\x04Room");
    assert_eq!(body[5..37], [0xab; 32]);
    assert_eq!(body[37..49], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(body[49..61], [3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(body[61..74], *b"\x07\x05\0lobby\x04weur");
    assert_eq!(body[74..86], [5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(body[86..98], [1, 0, 0, 0, 2, 5, 0, 7, 0, 1, 0, 9], "zeros but for one byte");
    assert_eq!(body[98..110], [2, 0, 0, 0, 1, 5, 0, 7, 0, 1, 0, 9], "a delta");
    assert_eq!(body[110..115], [3, 0, 0, 0, 0], "an image");
    assert_eq!(body[115..4_211], [1; PAGE_BYTES]);
    assert_eq!(bytes.len() % 8, 0);
}

/// It is refused by programs that would take it for the creation of an empty object.
#[test]
fn golden_record_that_adopts() {
    let object = object();
    let effects = Effects { creates: true, adopts: true, ..Effects::default() };
    let draft = Draft::new(&Commit { effects, ..commit(&object) }).unwrap();
    let bytes = close(draft.finish(1 << 20).unwrap()).remove(0);
    assert_eq!(bytes[12..24], [0, 0, 0, 0, 0, 16, 0, 0, 1, 0, 2, 37]);
    assert_eq!(bytes[24 + 82..24 + 86], [0; 4], "no pages");
    assert_eq!(open(&bytes).unwrap().1.effects, effects);
    // Neither version goes with the other's flags.
    for (version, effects) in [(1, effects), (2, Effects { creates: true, ..Effects::default() })] {
        let draft = Draft::new(&Commit { effects, ..commit(&object) }).unwrap();
        let frame = draft.finish(1 << 20).unwrap().remove(0).with_version(version);
        assert!(parse(&frame.close(PLACE, AT, BATCH), PLACE, AT).unwrap().is_none());
    }
}

#[test]
fn a_record_gives_back_what_went_in() {
    let bytes = sample();
    let (frame, record) = open(&bytes).unwrap();
    assert_eq!((frame.batch, frame.part, frame.bytes), (BATCH, 0, bytes.len()));
    assert_eq!(record.head.object(), object());
    assert_eq!((record.head.epoch, record.head.number), (1, 2));
    assert_eq!((record.time_ms, record.database_pages), (3, 4));
    assert_eq!(record.effects, Effects { creates: true, ..Effects::default() });
    assert_eq!((record.name, record.location_hint), (Some("lobby"), Some("weur")));
    assert_eq!(record.wake, Some(Some(5).into()));
    let pages: Vec<PageEntry<'_>> = record.pages().collect();
    let mut image = [0; PAGE_BYTES];
    image[7] = 9;
    assert_eq!(pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(pages[0].change.image(None), Some(image));
    assert!(pages[1].change.needs_previous() && pages[1].change.image(None).is_none());
    assert_eq!(pages[1].change.image(Some(&[0; PAGE_BYTES])), Some(image));
    assert_eq!(pages[2].change.image(None), Some([1; PAGE_BYTES]));
}

#[test]
fn what_an_object_waits_for_comes_back() {
    let given_up = |time_ms| Some(Wake { time_ms, has_given_up: true });
    for wake in [None, Some(None.into()), Some(Some(-7).into()), given_up(None), given_up(Some(9))]
    {
        let object = object();
        let draft = Draft::new(&Commit { wake, ..commit(&object) }).unwrap();
        let frames = close(draft.finish(1 << 20).unwrap());
        assert_eq!(open(&frames[0]).unwrap().1.wake, wake);
    }
}

#[test]
fn a_frame_counts_only_in_its_place_and_unchanged() {
    let bytes = sample();
    assert!(parse(&bytes, Place { segment: 4, ..PLACE }, AT).unwrap().is_none());
    assert!(parse(&bytes, Place { salt: 7, ..PLACE }, AT).unwrap().is_none());
    assert!(parse(&bytes, PLACE, AT + 8).unwrap().is_none());
    for byte in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[byte] ^= 1 << (byte % 8);
        assert_eq!(parse(&changed, PLACE, AT).unwrap(), None, "byte {byte}");
        assert_eq!(parse(&bytes[..byte], PLACE, AT).unwrap(), None, "cut at {byte}");
    }
}

#[test]
fn a_large_record_is_cut_into_parts() {
    let object = object();
    let mut draft = Draft::new(&commit(&object)).unwrap();
    let mut random = Random(3);
    let images: Vec<Image> =
        (0..9).map(|_| std::array::from_fn(|_| random.next().to_le_bytes()[0])).collect();
    for (number, image) in (1..).zip(&images) {
        draft.page(number, None, image);
    }
    let frames = close(draft.finish(4_096).unwrap());
    assert!(frames.len() > 9 && frames.iter().all(|frame| frame.len() <= 4_096));
    let mut payload = Vec::new();
    for (part, bytes) in (0..).zip(&frames) {
        let frame = parse(bytes, PLACE, AT).unwrap().unwrap();
        assert_eq!(frame.part, part);
        assert_eq!(frame.flags & LAST_PART != 0, part as usize + 1 == frames.len());
        payload.extend_from_slice(Head::parse(frame.body).unwrap().1);
    }
    let first = parse(&frames[0], PLACE, AT).unwrap().unwrap();
    let (head, _) = Head::parse(first.body).unwrap();
    let record = Record::parse(head, first.flags, &payload).unwrap();
    let found: Vec<Image> = record.pages().map(|page| page.change.image(None).unwrap()).collect();
    assert!(found == images);
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let sample = sample();
    let body = &sample[24..];
    let mut random = Random(5);
    for _ in 0..20_000 {
        let mut bytes = if random.chance(80) { body.to_vec() } else { vec![0; random.below(300)] };
        // Mostly near the front, where the lengths are.
        let near = bytes.len().min(130);
        for _ in 0..random.below(6) * usize::from(near > 0) {
            let at = if random.chance(90) { random.below(near) } else { random.below(bytes.len()) };
            bytes[at] = random.next().to_le_bytes()[0];
        }
        if random.chance(30) {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        let Some((head, payload)) = Head::parse(&bytes) else { continue };
        let Some(record) = Record::parse(head, 0, payload) else { continue };
        let mut image = [0; PAGE_BYTES];
        for page in record.pages() {
            image = page.change.image(Some(&image)).unwrap();
        }
    }
}

#[test]
fn a_newer_version_is_an_error_and_not_the_end() {
    let object = object();
    let draft = Draft::new(&commit(&object)).unwrap();
    let frame = draft.finish(4_096).unwrap().remove(0);
    let bytes = frame.with_version(3).close(PLACE, AT, BATCH);
    let error = parse(&bytes, PLACE, AT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("format version 3"), "{error}");
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let object = object();
    let name = "n".repeat(70_000);
    let error = Draft::new(&Commit { name: Some(&name), ..commit(&object) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}
