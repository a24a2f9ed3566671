//! The second form of a file: sorted by object, packed, and with an index.
//!
//! The guarantee: what is found of an object here is what the files held that it was made of, at the places where they had it; a
//! file that is damaged is refused, or gives less, and never anything else.
//!
//! The idea: such a file is written at once, and replaces those it was made of. So heads need not stand with their bodies: all
//! of them are in the index, sorted by object and place, in blocks of one size, and an object is found by bisecting the blocks.
//!
//! Layout, little endian, behind the [file's head](super::file):
//! 1. Bodies, one behind the other. One that is shorter in the file than its length is an LZ4 block.
//! 2. The index: blocks of 4,096 bytes, each with the number of its entries (u32), up to 32 entries, zeros, and in its last four bytes the crc32c of what
//!    is before. An entry has its head as in the first form (96 bytes, with a check of its own), the number of the file (u64) and the offset (u64)
//!    where it was written first, and where its body is here: offset (u64) and length (u32).
//! 3. The *notes*: the heads of marks and of beginnings anew, in order.
//! 4. The *end*, 24 bytes: where the index begins (u64), the number of its blocks (u32) and of the notes (u32), the crc32c of the notes (u32), and
//!    the crc32c of this (u32).

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{
    Archive, Body, Entries, FILE_HEAD_BYTES, FileHead, HEAD_BYTES, Head, Notes, Place, Reach,
    Reader, Writer,
};
use crate::engine::files::{Disk, DiskFile};
use crate::id::RawId;

const BLOCK: usize = 4_096;
const BLOCK_BYTES: u64 = BLOCK as u64;
const BLOCK_ENTRIES: usize = 32;
const ENTRY_BYTES: usize = HEAD_BYTES + 28;
const END_BYTES: usize = 24;

const _: () = assert!(4 + BLOCK_ENTRIES * ENTRY_BYTES + 4 <= BLOCK);

/// What a packed body was; `None` if it is damaged.
pub(super) fn unpack(packed: &[u8], length: u32) -> Option<Vec<u8>> {
    lz4_flex::block::decompress(packed, length as usize).ok()
}

/// Writes a file of this form.
pub(super) struct Packer {
    writer: Writer,
    /// In the order in which they were put.
    places: Vec<Place>,
    notes: Vec<Head>,
}

impl Packer {
    pub(super) fn create(disk: &dyn Disk, path: &Path, head: FileHead) -> io::Result<Packer> {
        let writer = Writer::create(disk, path, head)?;
        Ok(Packer { writer, places: Vec::new(), notes: Vec::new() })
    }

    /// Adds an entry, behind all others of its object.
    pub(super) fn push(&mut self, head: Head, reach: Reach, body: &[u8]) -> io::Result<()> {
        let packed = lz4_flex::block::compress(body);
        let stored = if packed.len() < body.len() { &packed[..] } else { body };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let (at, crc) = (self.writer.len(), crc32c::crc32c(body));
        let body = Body { at, stored: length(stored)?, length: length(body)?, crc };
        self.writer.put(stored)?;
        self.places.push(Place { head, reach, body });
        Ok(())
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes back the entries from there on. Their bodies stay as bytes that nothing leads to.
    pub(super) fn truncate(&mut self, entries: usize) {
        self.places.truncate(entries);
    }

    /// Adds what concerns all objects.
    pub(super) fn note(&mut self, notes: &Notes) {
        self.notes.extend(notes.anew_ms.map(Head::anew));
        self.notes.extend(notes.marks.iter().map(|mark| Head::mark(*mark)));
    }

    /// Writes the index, makes all of it durable, and says how long it is.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let index_at = self.writer.len();
        let blocks = self.places.chunks(BLOCK_ENTRIES);
        let count = |length: usize| u32::try_from(length).map_err(io::Error::other);
        let mut end = index_at.to_le_bytes().to_vec();
        end.extend_from_slice(&count(blocks.len())?.to_le_bytes());
        end.extend_from_slice(&count(self.notes.len())?.to_le_bytes());
        for places in blocks {
            self.writer.put(&block_of(places))?;
        }
        let mut notes = Vec::with_capacity(self.notes.len() * HEAD_BYTES);
        self.notes.iter().for_each(|note| note.encode(&mut notes, 0, 0));
        self.writer.put(&notes)?;
        end.extend_from_slice(&crc32c::crc32c(&notes).to_le_bytes());
        end.extend_from_slice(&crc32c::crc32c(&end).to_le_bytes());
        self.writer.put(&end)?;
        self.writer.sync()?;
        Ok(self.writer.len())
    }
}

fn block_of(places: &[Place]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend_from_slice(&u32::try_from(places.len()).unwrap_or(0).to_le_bytes());
    for Place { head, reach, body } in places {
        head.encode(&mut block, body.length, body.crc);
        for number in [reach.file, reach.offset, body.at] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&body.stored.to_le_bytes());
    }
    block.resize(BLOCK - 4, 0);
    block.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
    block
}

/// The entries of a block; `None` if it is damaged.
fn read_block(block: &[u8]) -> Option<Vec<Place>> {
    let (content, crc) = block.split_at_checked(BLOCK - 4)?;
    if *crc != crc32c::crc32c(content).to_le_bytes() {
        return None;
    }
    let mut reader = Reader(content);
    let count = reader.u32()? as usize;
    (0..count)
        .map(|_| {
            let (head, length, crc) = Head::parse(reader.slice(HEAD_BYTES)?)?;
            let mut number = || reader.array().map(u64::from_le_bytes);
            let reach = Reach { file: number()?, offset: number()? };
            let at = number()?;
            let body = Body { at, stored: reader.u32()?, length, crc };
            Some(Place { head, reach, body })
        })
        .collect()
}

/// Finds entries in a file of this form.
pub(super) struct Index {
    file: Arc<dyn DiskFile>,
    begin: u64,
    blocks: u32,
    notes: Notes,
}

impl Index {
    /// Reads how the file ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when that is damaged.
    pub(super) fn open(archive: &Archive) -> io::Result<Index> {
        let file = Arc::clone(&archive.file);
        let length = file.len()?;
        let mut end = [0; END_BYTES];
        let end_at = length.checked_sub(END_BYTES as u64).ok_or_else(damaged)?;
        read_full(&*file, &mut end, end_at)?;
        let parse = || {
            let (content, crc) = end.split_at(END_BYTES - 4);
            let mut reader = Reader(content);
            let begin = reader.array().map(u64::from_le_bytes)?;
            let numbers = (begin, reader.u32()?, reader.u32()?, reader.u32()?);
            (*crc == crc32c::crc32c(content).to_le_bytes()).then_some(numbers)
        };
        let (begin, blocks, notes, crc) = parse().ok_or_else(damaged)?;
        let notes_at = begin.saturating_add(u64::from(blocks) * BLOCK_BYTES);
        let notes_bytes = u64::from(notes) * HEAD_BYTES as u64;
        if begin < FILE_HEAD_BYTES || notes_at.saturating_add(notes_bytes) != end_at {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(notes_bytes).map_err(|_| damaged())?];
        read_full(&*file, &mut bytes, notes_at)?;
        if crc32c::crc32c(&bytes) != crc {
            return Err(damaged());
        }
        let mut notes = Notes::default();
        for head in bytes.chunks_exact(HEAD_BYTES) {
            notes.add(&Head::parse(head).ok_or_else(damaged)?.0);
        }
        Ok(Index { file, begin, blocks, notes })
    }

    /// What it says of an object, or of all.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when what is read is damaged.
    pub(super) fn entries(self, of: Option<RawId>) -> io::Result<Entries> {
        let mut number = match of {
            Some(id) => self.first_block(id)?,
            None => 0,
        };
        let mut places = Vec::new();
        while number < self.blocks {
            let block = self.block(number)?;
            let is_behind = |last: &Place| of.is_some_and(|id| last.head.id > id);
            let is_last = block.last().is_some_and(is_behind);
            places
                .extend(block.into_iter().filter(|place| of.is_none_or(|id| place.head.id == id)));
            if is_last {
                break;
            }
            number += 1;
        }
        Ok(Entries { places, notes: self.notes })
    }

    /// The first block whose last entry is not of an object before.
    fn first_block(&self, id: RawId) -> io::Result<u32> {
        let (mut begin, mut end) = (0, self.blocks);
        while begin < end {
            let middle = begin + (end - begin) / 2;
            if self.block(middle)?.last().is_some_and(|last| last.head.id < id) {
                begin = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok(begin)
    }

    fn block(&self, number: u32) -> io::Result<Vec<Place>> {
        let mut block = [0; BLOCK];
        read_full(&*self.file, &mut block, self.begin + u64::from(number) * BLOCK_BYTES)?;
        read_block(&block).ok_or_else(damaged)
    }
}

fn read_full(file: &dyn DiskFile, bytes: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_at(bytes, at)? < bytes.len() { Err(damaged()) } else { Ok(()) }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its index is damaged")
}
