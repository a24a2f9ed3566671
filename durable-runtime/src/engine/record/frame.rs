//! Frames: what a segment consists of.
//!
//! The guarantee: [`parse`] accepts only what [`OpenFrame::close`] finished for exactly this place of this
//! segment; anything else, old content of a recycled file included, is no frame.
//!
//! Layout, little endian. A frame starts at a multiple of 8 bytes.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | mark: the lower half of the segment's salt |
//! | 4 | 4 | length of the body |
//! | 8 | 4 | crc32c of: body, padding, bytes 0 to 8, bytes 12 to 24, [`Place`] |
//! | 12 | 4 | number of the part within its commit, from 0 |
//! | 16 | 4 | where the frame's batch begins: offset in its segment |
//! | 20 | 2 | the same: how many segments before this one |
//! | 22 | 1 | format version: 1, or 2 with the flag *adopts* |
//! | 23 | 1 | flags: 1 last part, 2 end of segment, 4 creates, 8 deletes, 16 restores, 32 adopts |
//! | 24 | | body; then zeros up to a multiple of 8 |
//!
//! A *batch* is what is flushed at once. Every batch is written only after the one before is durable,
//! so a valid frame proves that everything before the beginning of its batch was durable
//! once: this tells damage from a torn end.
//!
//! The mark is unknown to those whose data is stored, so no data can look like many frames and make a search slow.
//!
//! A commit that *adopts* creates its object from a file that lies ready, and holds no pages. A program that does not know that
//! would take the object for an empty one; so such frames have a version that it refuses.
//!
//! A frame with the flag *end of segment* has no body, and the next frame is the first of the next segment.

use super::FORMAT_VERSION;
use crate::{Error, ErrorKind, Result};

pub(crate) const FRAME_HEAD_BYTES: usize = 24;
pub(crate) const FRAME_ALIGN: usize = 8;

pub(crate) const LAST_PART: u8 = 1;
pub(crate) const END_OF_SEGMENT: u8 = 2;
pub(crate) const CREATES: u8 = 4;
pub(crate) const DELETES: u8 = 8;
pub(super) const RESTORES: u8 = 16;
pub(crate) const ADOPTS: u8 = 32;
const FLAGS: u8 = LAST_PART | END_OF_SEGMENT | CREATES | DELETES | RESTORES;
/// The format of frames with the flag `ADOPTS`.
const ADOPTING_VERSION: u8 = 2;

/// Where in the journal: a segment and an offset in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

/// A segment as frames know it: its number and the random number that it got when it was made or recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) salt: u64,
}

impl Place {
    /// How every frame of the segment begins.
    pub(crate) fn mark(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.salt.to_le_bytes();
        [a, b, c, d]
    }
}

/// A frame without its place: everything but batch and checksum.
#[derive(Debug)]
pub(crate) struct OpenFrame {
    bytes: Vec<u8>,
    /// Checksum of the body, so that it need not be computed under the journal's lock.
    body: u32,
}

/// A frame that was found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) part: u32,
    pub(crate) flags: u8,
    /// Where its batch begins.
    pub(crate) batch: Position,
    pub(crate) body: &'a [u8],
    /// With head and padding.
    pub(crate) bytes: usize,
}

impl OpenFrame {
    /// Makes a frame of a body that begins at [`FRAME_HEAD_BYTES`] of `bytes`.
    pub(super) fn new(mut bytes: Vec<u8>, part: u32, flags: u8) -> OpenFrame {
        let length = u32::try_from(bytes.len() - FRAME_HEAD_BYTES).unwrap_or(u32::MAX);
        bytes.resize(bytes.len().next_multiple_of(FRAME_ALIGN), 0);
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&part.to_le_bytes());
        bytes[22] = if flags & ADOPTS == 0 { FORMAT_VERSION } else { ADOPTING_VERSION };
        bytes[23] = flags;
        let body = crc32c::crc32c(&bytes[FRAME_HEAD_BYTES..]);
        OpenFrame { bytes, body }
    }

    /// The frame that ends a segment.
    pub(crate) fn end_of_segment() -> OpenFrame {
        OpenFrame::new(vec![0; FRAME_HEAD_BYTES], 0, END_OF_SEGMENT)
    }

    #[cfg(test)]
    pub(crate) fn with_version(mut self, version: u8) -> OpenFrame {
        self.bytes[22] = version;
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished frame.
    pub(crate) fn close(mut self, place: Place, offset: u32, batch: Position) -> Vec<u8> {
        // Further back than can be said: an earlier beginning claims less, so it is safe.
        let (back, begin) = match u16::try_from(place.segment - batch.segment) {
            Ok(back) => (back, batch.offset),
            Err(_) => (u16::MAX, 0),
        };
        self.bytes[..4].copy_from_slice(&place.mark());
        self.bytes[16..20].copy_from_slice(&begin.to_le_bytes());
        self.bytes[20..22].copy_from_slice(&back.to_le_bytes());
        let crc = checksum(self.body, &self.bytes, place, offset);
        self.bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        debug_assert!(parse_any_version(&self.bytes, place, offset).is_some());
        self.bytes
    }
}

fn checksum(body: u32, head: &[u8], place: Place, offset: u32) -> u32 {
    let mut rest = [0; 40];
    rest[..8].copy_from_slice(&head[..8]);
    rest[8..20].copy_from_slice(&head[12..FRAME_HEAD_BYTES]);
    rest[20..28].copy_from_slice(&place.segment.to_le_bytes());
    rest[28..36].copy_from_slice(&place.salt.to_le_bytes());
    rest[36..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(body, &rest)
}

/// The frame at the beginning of `bytes`, which are the segment from `offset` on; `None` if there is none.
///
/// # Errors
/// When there is one of a newer version.
pub(crate) fn parse(bytes: &[u8], place: Place, offset: u32) -> Result<Option<Frame<'_>>> {
    let Some(frame) = parse_any_version(bytes, place, offset) else { return Ok(None) };
    match bytes[22] {
        FORMAT_VERSION if frame.flags & !FLAGS == 0 => Ok(Some(frame)),
        ADOPTING_VERSION if frame.flags & !FLAGS == ADOPTS => Ok(Some(frame)),
        FORMAT_VERSION | ADOPTING_VERSION => Ok(None),
        version => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "a record has format version {version} and this program knows versions up to {ADOPTING_VERSION}"
            ),
        )),
    }
}

/// All versions agree on the head, the checksum and where the body lies.
fn parse_any_version(bytes: &[u8], place: Place, offset: u32) -> Option<Frame<'_>> {
    let head: &[u8; FRAME_HEAD_BYTES] = bytes.first_chunk()?;
    if head[..4] != place.mark() {
        return None;
    }
    let length = usize::try_from(u32_at(head, 4)).ok()?;
    let padded = length.checked_next_multiple_of(FRAME_ALIGN)?;
    let body = bytes[FRAME_HEAD_BYTES..].get(..padded)?;
    if checksum(crc32c::crc32c(body), head, place, offset) != u32_at(head, 8) {
        return None;
    }
    let back = u64::from(u16::from_le_bytes([head[20], head[21]]));
    Some(Frame {
        part: u32_at(head, 12),
        flags: head[23],
        batch: Position { segment: place.segment.checked_sub(back)?, offset: u32_at(head, 16) },
        body: &body[..length],
        bytes: FRAME_HEAD_BYTES + padded,
    })
}

fn u32_at(head: &[u8; FRAME_HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// What a damaged frame may have been: its length, if its head looks like one of this place, and where its
/// body would be. Nothing but a check of what the body says can tell whether that is right.
pub(crate) fn guess(bytes: &[u8], place: Place) -> (Option<usize>, &[u8]) {
    let body = bytes.get(FRAME_HEAD_BYTES..).unwrap_or_default();
    let length = bytes.first_chunk().filter(|head| head[..4] == place.mark()).and_then(|head| {
        let length = usize::try_from(u32_at(head, 4)).ok()?;
        length.checked_next_multiple_of(FRAME_ALIGN)?.checked_add(FRAME_HEAD_BYTES)
    });
    (length, body)
}
