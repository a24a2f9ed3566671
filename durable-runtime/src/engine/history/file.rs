//! A file of the history: entries one behind the other, only ever appended to.
//!
//! The guarantee: an entry that was synced is read again as it was written; one that was torn is not taken for an
//! entry, and what lies behind a torn head is not looked at.
//!
//! Layout, little endian. The file begins with its *head*: magic `durHist\n`, version (u32), crc32c of the rest (u32), and when it
//! was begun in milliseconds (i64). Then entries: a head of 96 bytes, and a body.
//!
//! | entry | |
//! |---|---|
//! | u32 | kind: 1 pages before a write-back, 2 commits, 3 mark |
//! | u32 | flags: 1 the write-back removes the object's file |
//! | 32 bytes | object id; zeros for a mark |
//! | u64, u32, i64 | from: commit number, epoch, time |
//! | u64, u32, i64 | to: the same |
//! | u32 | size of the file in pages, before the write-back |
//! | u32 | length of the body |
//! | u32 | crc32c of the body |
//! | u32 | crc32c of this head |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::files::{Disk, DiskFile};
use crate::engine::pagestore::Stamp;
use crate::id::RawId;

const MAGIC: [u8; 8] = *b"durHist\n";
const VERSION: u32 = 1;
const FILE_HEAD_BYTES: usize = 24;
const HEAD_BYTES: usize = 96;
const REMOVES: u32 = 1;
/// How much is written, and read, at once.
const BUFFER_BYTES: usize = 256 * 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Pages of an object's file as they are before a write-back changes them.
    Before,
    /// Commits of an object, in order.
    Commits,
    /// Every write-back before a place is durable: the number of its file and its offset stand where others have
    /// number and time of the first commit.
    Mark,
}

/// What an entry says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) id: RawId,
    /// The state of the file before the write-back, or the first commit.
    pub(super) from: Stamp,
    /// The state that the write-back leaves, or the last commit.
    pub(super) to: Stamp,
    /// Pages of the file before the write-back; 0: there was none.
    pub(super) size: u32,
    pub(super) removes: bool,
}

/// A place in the history: a file, by its number, and an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// Where an entry is, and what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) head: Head,
    body_at: u64,
    length: u32,
    crc: u32,
}

impl Place {
    /// Where its body is.
    pub(super) fn at(&self) -> u64 {
        self.body_at
    }
}

impl Head {
    /// Write-backs before this place are durable.
    pub(super) fn mark(up_to: Reach) -> Head {
        let time_ms = i64::try_from(up_to.offset).unwrap_or(0);
        Head {
            kind: Kind::Mark,
            id: RawId::from_bytes([0; 32]),
            from: Stamp { commit: up_to.file, epoch: 0, time_ms },
            to: Stamp::default(),
            size: 0,
            removes: false,
        }
    }

    /// Up to where a mark reaches.
    pub(super) fn reach(&self) -> Reach {
        Reach { file: self.from.commit, offset: u64::try_from(self.from.time_ms).unwrap_or(0) }
    }

    /// In the place of a write-back of which nothing is known: no chain leads over it.
    pub(super) fn gap(self) -> Head {
        let from = Stamp { commit: u64::MAX, epoch: u32::MAX, time_ms: i64::MAX };
        Head { from, size: 1, ..self }
    }

    fn encode(&self, bytes: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let begin = bytes.len();
        let kind: u32 = match self.kind {
            Kind::Before => 1,
            Kind::Commits => 2,
            Kind::Mark => 3,
        };
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&(if self.removes { REMOVES } else { 0 }).to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        for stamp in [self.from, self.to] {
            bytes.extend_from_slice(&stamp.commit.to_le_bytes());
            bytes.extend_from_slice(&stamp.epoch.to_le_bytes());
            bytes.extend_from_slice(&stamp.time_ms.to_le_bytes());
        }
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[begin..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(bytes.len() - begin, HEAD_BYTES);
        Ok(())
    }

    /// The head at the beginning of these bytes, with the length and the check of its body.
    fn parse(bytes: &[u8]) -> Option<(Head, u32, u32)> {
        let (bytes, crc) = bytes.get(..HEAD_BYTES)?.split_at(HEAD_BYTES - 4);
        if crc32c::crc32c(bytes) != u32::from_le_bytes(*crc.first_chunk()?) {
            return None;
        }
        let mut reader = Reader(bytes);
        let kind = match reader.u32()? {
            1 => Kind::Before,
            2 => Kind::Commits,
            3 => Kind::Mark,
            _ => return None,
        };
        let removes = reader.u32()? & REMOVES != 0;
        let id = RawId::from_bytes(reader.array()?);
        let mut stamp = || {
            Some(Stamp {
                commit: u64::from_le_bytes(reader.array()?),
                epoch: u32::from_le_bytes(reader.array()?),
                time_ms: i64::from_le_bytes(reader.array()?),
            })
        };
        let (from, to) = (stamp()?, stamp()?);
        let size = reader.u32()?;
        let (length, crc) = (reader.u32()?, reader.u32()?);
        Some((Head { kind, id, from, to, size, removes }, length, crc))
    }
}

/// Takes bytes from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(slice)
    }
}

/// Appends to a file.
#[derive(Debug)]
pub(super) struct Writer {
    file: Arc<dyn DiskFile>,
    /// What is written.
    written: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Makes a file, whose name is durable with the first sync of the folder.
    pub(super) fn create(disk: &dyn Disk, path: &Path, begun_ms: i64) -> io::Result<Writer> {
        let file = disk.create(path)?;
        file.set_len(0)?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.extend_from_slice(&crc32c::crc32c(&begun_ms.to_le_bytes()).to_le_bytes());
        buffer.extend_from_slice(&begun_ms.to_le_bytes());
        Ok(Writer { file, written: 0, buffer })
    }

    /// Goes on behind the last entry.
    pub(super) fn append(disk: &dyn Disk, path: &Path, end: u64) -> io::Result<Writer> {
        Ok(Writer { file: disk.open(path)?, written: end, buffer: Vec::new() })
    }

    pub(super) fn push(&mut self, head: &Head, body: &[u8]) -> io::Result<()> {
        head.encode(&mut self.buffer, body)?;
        self.buffer.extend_from_slice(body);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    /// How long the file is.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
}

/// A file to read from.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    number: u64,
    file: Arc<dyn DiskFile>,
    pub(super) begun_ms: i64,
}

impl Archive {
    /// Opens a file; `None` if it has no head.
    pub(super) fn open(disk: &dyn Disk, path: &Path, number: u64) -> io::Result<Option<Archive>> {
        let file = disk.open(path)?;
        let mut head = [0; FILE_HEAD_BYTES];
        if file.read_at(&mut head, 0)? < head.len() {
            return Ok(None);
        }
        let mut reader = Reader(&head);
        let parsed = (reader.array::<8>(), reader.u32(), reader.u32(), reader.array::<8>());
        let (Some(MAGIC), Some(VERSION), Some(crc), Some(begun)) = parsed else { return Ok(None) };
        if crc != crc32c::crc32c(&begun) {
            return Ok(None);
        }
        let begun_ms = i64::from_le_bytes(begun);
        Ok(Some(Archive { path: path.to_owned(), number, file, begun_ms }))
    }

    /// Gives the heads of all entries, in order. Returns where the last one ends.
    pub(super) fn scan(&self, mut each: impl FnMut(Place)) -> io::Result<u64> {
        let mut buffer = vec![0; BUFFER_BYTES];
        // Which part of the file is in the buffer.
        let (mut begin, mut end) = (0, 0);
        let mut at = FILE_HEAD_BYTES as u64;
        loop {
            if at < begin || at + HEAD_BYTES as u64 > end {
                begin = at;
                end = at + self.file.read_at(&mut buffer, at)? as u64;
            }
            let index = usize::try_from(at - begin).unwrap_or(usize::MAX);
            let filled = usize::try_from(end - begin).unwrap_or(0);
            let bytes = buffer.get(index..filled).unwrap_or_default();
            let Some((head, length, crc)) = Head::parse(bytes) else { return Ok(at) };
            let body_at = at + HEAD_BYTES as u64;
            each(Place { head, body_at, length, crc });
            at = body_at + u64::from(length);
        }
    }

    /// Where an entry is.
    pub(super) fn reach(&self, place: &Place) -> Reach {
        Reach { file: self.number, offset: place.body_at }
    }

    /// The body of an entry; `None` if it is not whole.
    pub(super) fn body(&self, place: &Place) -> io::Result<Option<Vec<u8>>> {
        let available = self.file.len()?.saturating_sub(place.body_at);
        if u64::from(place.length) > available {
            return Ok(None);
        }
        let mut body = vec![0; place.length as usize];
        let read = self.file.read_at(&mut body, place.body_at)?;
        let is_whole = read == body.len() && crc32c::crc32c(&body) == place.crc;
        Ok(is_whole.then_some(body))
    }

    /// Where the last entry ends, if all of them are whole and nothing lies behind.
    pub(super) fn sound_end(&self) -> io::Result<Option<u64>> {
        let mut places = Vec::new();
        let end = self.scan(|place| places.push(place))?;
        for place in &places {
            if self.body(place)?.is_none() {
                return Ok(None);
            }
        }
        Ok((self.file.len()? == end).then_some(end))
    }
}
