//! Records: one commit of one object, as it stands in the journal.
//!
//! The guarantee: what a [`Draft`] took is what the [`Record`] gives back, and no bytes whatever make the
//! decoder panic, read outside of them or allocate more than they are long.
//!
//! A record is cut into *parts* of limited size, each in one [`frame`]; almost every record is one part.
//! It counts only when its last part is there. Each part begins with the *head*, which says whose it is; the rests
//! of all parts, joined, are the *payload*. Layout, little endian:
//!
//! | head | |
//! |---|---|
//! | u8, bytes | length and text of the class key |
//! | 32 bytes | object id |
//! | u32 | epoch |
//! | u64 | commit number, per object, one more than the last |
//!
//! | payload | |
//! |---|---|
//! | i64 | time in milliseconds |
//! | u32 | size of the database in pages |
//! | u8 | what follows: 1 name, 2 location hint, 4 the time to wake it is set, 8 it is cleared; 16, with one of these: it has work that was given up |
//! | u16, bytes | name, if it follows |
//! | u8, bytes | location hint, if it follows |
//! | i64 | when to wake it, in milliseconds, if it is set |
//! | u32 | number of page entries |
//! | | page entries |
//!
//! | page entry | |
//! |---|---|
//! | u32 | page number, from 1 |
//! | u8 | form: 0 image, 1 delta against the previous image, 2 image as delta against zeros |
//! | 4,096 bytes | the image (form 0) |
//! | u16, bytes | length and ranges of the [`delta`] (forms 1 and 2) |
//!
//! Whether a commit creates, deletes or restores its object is in the flags of its frames; and whether it creates it from a
//! file that lies ready: see [`copies`](super::copies).

pub(crate) mod decode;
pub(crate) mod delta;
pub(crate) mod frame;
#[cfg(test)]
mod tests;

use delta::push_delta;

pub(crate) use decode::{Head, Record};
pub(crate) use frame::{OpenFrame, Position};

use super::{ObjectKey, Wake};
use crate::{Error, ErrorKind, Result};

/// The size of a page.
pub(crate) const PAGE_BYTES: usize = 4_096;
/// The bytes of a page.
pub(crate) type Image = [u8; PAGE_BYTES];

/// The format of all frames but those that adopt a file.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// The largest payload: a migration that changes 1 GiB of pages fits.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_280 * 1_024 * 1_024;
/// The largest delta: beyond half a page the image is as good and stands by itself.
const DELTA_BYTES_MAX: usize = PAGE_BYTES / 2;
/// The largest form of an image as a delta against zeros.
const SPARSE_BYTES_MAX: usize = PAGE_BYTES * 3 / 4;

const HAS_NAME: u8 = 1;
const HAS_HINT: u8 = 2;
const SETS_WAKE: u8 = 4;
const CLEARS_WAKE: u8 = 8;
const HAS_GIVEN_UP: u8 = 16;

const IMAGE: u8 = 0;
const AGAINST_PREVIOUS: u8 = 1;
const AGAINST_ZEROS: u8 = 2;

/// What a commit does to its object as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "flags, as they stand in the frame")]
pub(crate) struct Effects {
    pub(crate) creates: bool,
    pub(crate) deletes: bool,
    pub(crate) restores: bool,
    /// It creates the object, from a file.
    pub(crate) adopts: bool,
}

/// What is known of a commit besides its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    pub(crate) object: &'a ObjectKey,
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    pub(crate) time_ms: i64,
    pub(crate) database_pages: u32,
    pub(crate) effects: Effects,
    /// On creation, if they are known.
    pub(crate) name: Option<&'a str>,
    pub(crate) location_hint: Option<&'a str>,
    /// What the object waits for from now on, if that may have changed.
    pub(crate) wake: Option<Wake>,
}

/// A record that is being made. Pages go straight into its bytes.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Space for the head of the first frame, the head, the payload.
    bytes: Vec<u8>,
    payload_at: usize,
    count_at: usize,
    pages: u32,
    number: u64,
    flags: u8,
}

impl Draft {
    /// Begins a record.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when a text is longer than its field.
    pub(crate) fn new(commit: &Commit<'_>) -> Result<Draft> {
        let mut bytes = Vec::with_capacity(256);
        bytes.resize(frame::FRAME_HEAD_BYTES, 0);
        let class = commit.object.class.as_bytes();
        bytes.push(length("class key", class.len())?);
        bytes.extend_from_slice(class);
        bytes.extend_from_slice(commit.object.id.as_bytes());
        bytes.extend_from_slice(&commit.epoch.to_le_bytes());
        bytes.extend_from_slice(&commit.number.to_le_bytes());
        let payload_at = bytes.len();
        bytes.extend_from_slice(&commit.time_ms.to_le_bytes());
        bytes.extend_from_slice(&commit.database_pages.to_le_bytes());
        push_options(&mut bytes, commit)?;
        let count_at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        let flags = [
            (commit.effects.creates, frame::CREATES),
            (commit.effects.deletes, frame::DELETES),
            (commit.effects.restores, frame::RESTORES),
            (commit.effects.adopts, frame::ADOPTS),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |sum, (_, bit)| sum | bit);
        Ok(Draft { bytes, payload_at, count_at, pages: 0, number: commit.number, flags })
    }

    /// Adds a page: as its difference to `previous` if that is given and small, else as its image.
    /// Without `previous` the entry stands by itself.
    pub(crate) fn page(&mut self, number: u32, previous: Option<&Image>, image: &Image) {
        debug_assert!(number > 0, "pages are numbered from 1");
        self.pages += 1;
        self.bytes.extend_from_slice(&number.to_le_bytes());
        let delta = previous
            .is_some_and(|previous| self.delta(AGAINST_PREVIOUS, previous, image, DELTA_BYTES_MAX));
        if !delta && !self.delta(AGAINST_ZEROS, &[0; PAGE_BYTES], image, SPARSE_BYTES_MAX) {
            self.bytes.push(IMAGE);
            self.bytes.extend_from_slice(image);
        }
    }

    fn delta(&mut self, form: u8, before: &Image, after: &Image, bytes_max: usize) -> bool {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[form, 0, 0]);
        if !push_delta(&mut self.bytes, before, after, bytes_max) {
            self.bytes.truncate(begin);
            return false;
        }
        let length = u16::try_from(self.bytes.len() - begin - 3).unwrap_or(u16::MAX);
        self.bytes[begin + 1..begin + 3].copy_from_slice(&length.to_le_bytes());
        true
    }

    /// The commit's number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes of payload there are so far.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.payload_at
    }

    /// The head and the payload, for a place other than the journal.
    pub(crate) fn body(&mut self) -> &[u8] {
        self.bytes[self.count_at..self.count_at + 4].copy_from_slice(&self.pages.to_le_bytes());
        &self.bytes[frame::FRAME_HEAD_BYTES..]
    }

    /// The frames, none of them longer than `frame_bytes_max`.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the record is larger than any may be.
    pub(crate) fn finish(mut self, frame_bytes_max: usize) -> Result<Vec<OpenFrame>> {
        if self.payload_bytes() > PAYLOAD_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "a commit of {} bytes: {PAYLOAD_BYTES_MAX} are the most",
                    self.payload_bytes()
                ),
            ));
        }
        self.bytes[self.count_at..self.count_at + 4].copy_from_slice(&self.pages.to_le_bytes());
        if self.bytes.len().next_multiple_of(frame::FRAME_ALIGN) <= frame_bytes_max {
            return Ok(vec![OpenFrame::new(self.bytes, 0, self.flags | frame::LAST_PART)]);
        }
        let (head, payload) = self.bytes.split_at(self.payload_at);
        let chunk_bytes = (frame_bytes_max - head.len()) / frame::FRAME_ALIGN * frame::FRAME_ALIGN
            - frame::FRAME_ALIGN;
        let count = payload.len().div_ceil(chunk_bytes);
        let frames = (0..).zip(payload.chunks(chunk_bytes)).map(|(part, chunk)| {
            let last = if part as usize + 1 == count { frame::LAST_PART } else { 0 };
            OpenFrame::new([head, chunk].concat(), part, self.flags | last)
        });
        Ok(frames.collect())
    }
}

fn push_options(bytes: &mut Vec<u8>, commit: &Commit<'_>) -> Result<()> {
    let wake_bits = commit.wake.map_or(0, |wake| {
        let set_or_cleared = wake.time_ms.map_or(CLEARS_WAKE, |_| SETS_WAKE);
        set_or_cleared | if wake.has_given_up { HAS_GIVEN_UP } else { 0 }
    });
    let name_bit = commit.name.map_or(0, |_| HAS_NAME);
    let hint_bit = commit.location_hint.map_or(0, |_| HAS_HINT);
    bytes.push(name_bit | hint_bit | wake_bits);
    if let Some(name) = commit.name {
        let length: u16 = length("name", name.len())?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    if let Some(hint) = commit.location_hint {
        bytes.push(length("location hint", hint.len())?);
        bytes.extend_from_slice(hint.as_bytes());
    }
    if let Some(time_ms) = commit.wake.and_then(|wake| wake.time_ms) {
        bytes.extend_from_slice(&time_ms.to_le_bytes());
    }
    Ok(())
}

fn length<N: TryFrom<usize>>(what: &str, bytes: usize) -> Result<N> {
    N::try_from(bytes)
        .map_err(|_| Error::new(ErrorKind::Limit, format!("a {what} of {bytes} bytes is too long")))
}
