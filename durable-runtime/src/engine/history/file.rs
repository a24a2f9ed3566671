//! Entries, and the first form of a file: one entry behind the other, only ever appended to.
//!
//! The guarantee: an entry that was synced is read again as it was written; one that was torn is not taken for an
//! entry, and what lies behind a torn head is not looked at.
//!
//! Layout, little endian. A file of either form begins with its *head* of 32 bytes: magic `durHist\n`, version (u32; 1 is this form,
//! 2 the [second](super::sorted)), crc32c of the rest (u32), when it was begun in milliseconds (i64), and the number of the first file that
//! it stands for (u64), which here is its own. Then entries: a head of 96 bytes, and a body.
//!
//! | entry | |
//! |---|---|
//! | u32 | kind: 1 pages before a write-back, 2 commits, 3 mark, 4 begun anew, 5 erasure |
//! | u32 | flags: 1 the write-back removes the object's file; 2 other pages of the state before stand in earlier entries; 4 the object's next entry is of the same write-back |
//! | 32 bytes | object id; zeros for 3 and 4 |
//! | u64, u32, i64 | from: commit number, epoch, time |
//! | u64, u32, i64 | to: the same |
//! | u32 | size of the file in pages, before the write-back |
//! | u32 | length of the body |
//! | u32 | crc32c of the body |
//! | u32 | crc32c of this head |
//!
//! A mark and an erasure reach up to a place: the number of its file and its offset stand where others have number and time of
//! the first commit. The place of an entry is where its head begins.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sorted::{self, Index};
use crate::engine::files::{Disk, DiskFile};
use crate::engine::pagestore::Stamp;
use crate::id::RawId;

const MAGIC: [u8; 8] = *b"durHist\n";

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Appended,
    Sorted,
}
const FILE_HEAD: usize = 32;
pub(super) const FILE_HEAD_BYTES: u64 = FILE_HEAD as u64;
pub(super) const HEAD_BYTES: usize = 96;
const REMOVES: u32 = 1;
const CONTINUES: u32 = 2;
const HAS_MORE: u32 = 4;
/// How much is written, and read, at once.
pub(super) const BUFFER_BYTES: usize = 256 * 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Pages of an object's file as they are before a write-back changes them.
    Before,
    /// Commits of an object, in order.
    Commits,
    /// Every write-back before a place is durable.
    Mark,
    /// What is in the files before was given up, at the time of `from`.
    Anew,
    /// What is kept of an object before a place must not be used any more.
    Erase,
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
    /// Other pages of the state before stand in earlier entries.
    pub(super) continues: bool,
    /// The object's next entry is of the same write-back.
    pub(super) has_more: bool,
}

/// In the place of an object's id.
fn no_object() -> RawId {
    RawId::from_bytes([0; 32])
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
    /// Where it was written first.
    pub(super) reach: Reach,
    pub(super) body: Body,
}

/// Where the body of an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) at: u64,
    /// As it is in the file; less than its length if it is packed.
    pub(super) stored: u32,
    pub(super) length: u32,
    pub(super) crc: u32,
}

/// What a file says of an object, or of all.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Whole write-backs, commits and erasures: sorted by object, and then by place.
    pub(super) places: Vec<Place>,
    pub(super) notes: Notes,
}

/// What a file says that concerns all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// The places that its marks reach up to.
    pub(super) marks: Vec<Reach>,
    /// When what is in the files before was given up.
    pub(super) anew_ms: Option<i64>,
}

impl Notes {
    pub(super) fn add(&mut self, head: &Head) {
        match head.kind {
            Kind::Mark => self.marks.push(head.up_to()),
            Kind::Anew => self.anew_ms = self.anew_ms.max(Some(head.from.time_ms)),
            Kind::Before | Kind::Commits | Kind::Erase => {}
        }
    }
}

impl Head {
    fn plain(kind: Kind, id: RawId) -> Head {
        Head {
            kind,
            id,
            from: Stamp::default(),
            to: Stamp::default(),
            size: 0,
            removes: false,
            continues: false,
            has_more: false,
        }
    }

    /// Before a write-back from this state.
    pub(super) fn before(id: RawId, from: Stamp) -> Head {
        Head { from, ..Head::plain(Kind::Before, id) }
    }

    pub(super) fn commits(id: RawId, from: Stamp, to: Stamp) -> Head {
        Head { from, to, ..Head::plain(Kind::Commits, id) }
    }

    /// Write-backs before this place are durable.
    pub(super) fn mark(up_to: Reach) -> Head {
        Head { from: stamp_of(up_to), ..Head::plain(Kind::Mark, no_object()) }
    }

    /// What was kept before this time was given up.
    pub(super) fn anew(time_ms: i64) -> Head {
        let from = Stamp { time_ms, ..Stamp::default() };
        Head { from, ..Head::plain(Kind::Anew, no_object()) }
    }

    /// What is kept of an object before this place must not be used any more.
    pub(super) fn erase(id: RawId, up_to: Reach) -> Head {
        Head { from: stamp_of(up_to), ..Head::plain(Kind::Erase, id) }
    }

    /// Up to where a mark or an erasure reaches.
    pub(super) fn up_to(&self) -> Reach {
        Reach { file: self.from.commit, offset: u64::try_from(self.from.time_ms).unwrap_or(0) }
    }

    /// In the place of a write-back of which nothing is known: no chain leads over it.
    pub(super) fn gap(self) -> Head {
        let from = Stamp { commit: u64::MAX, epoch: u32::MAX, time_ms: i64::MAX };
        Head { from, size: 1, continues: false, has_more: false, ..self }
    }

    /// Whether it is such a one.
    pub(super) fn is_gap(&self) -> bool {
        self.kind == Kind::Before && self.from.commit == u64::MAX
    }

    /// Appends the head of a body with this length and check.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>, length: u32, crc: u32) {
        let begin = bytes.len();
        let kind: u32 = match self.kind {
            Kind::Before => 1,
            Kind::Commits => 2,
            Kind::Mark => 3,
            Kind::Anew => 4,
            Kind::Erase => 5,
        };
        let flags =
            [(self.removes, REMOVES), (self.continues, CONTINUES), (self.has_more, HAS_MORE)];
        let flags: u32 = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        for stamp in [self.from, self.to] {
            bytes.extend_from_slice(&stamp.commit.to_le_bytes());
            bytes.extend_from_slice(&stamp.epoch.to_le_bytes());
            bytes.extend_from_slice(&stamp.time_ms.to_le_bytes());
        }
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[begin..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(bytes.len() - begin, HEAD_BYTES);
    }

    /// The head at the beginning of these bytes, with the length and the check of its body.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Head, u32, u32)> {
        let (bytes, crc) = bytes.get(..HEAD_BYTES)?.split_at(HEAD_BYTES - 4);
        if crc32c::crc32c(bytes) != u32::from_le_bytes(*crc.first_chunk()?) {
            return None;
        }
        let mut reader = Reader(bytes);
        let kind = match reader.u32()? {
            1 => Kind::Before,
            2 => Kind::Commits,
            3 => Kind::Mark,
            4 => Kind::Anew,
            5 => Kind::Erase,
            _ => return None,
        };
        let flags = reader.u32()?;
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
        let has = |flag| flags & flag != 0;
        let (removes, continues, has_more) = (has(REMOVES), has(CONTINUES), has(HAS_MORE));
        Some((Head { kind, id, from, to, size, removes, continues, has_more }, length, crc))
    }
}

fn stamp_of(place: Reach) -> Stamp {
    let time_ms = i64::try_from(place.offset).unwrap_or(0);
    Stamp { commit: place.file, epoch: 0, time_ms }
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

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) form: Form,
    pub(super) begun_ms: i64,
    /// The first file that it stands for.
    pub(super) first: u64,
}

impl FileHead {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let version: u32 = match self.form {
            Form::Appended => 1,
            Form::Sorted => 2,
        };
        let rest = [self.begun_ms.to_le_bytes(), self.first.to_le_bytes()].concat();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
    }

    /// The head of a file; `None` if it has none.
    fn read(file: &dyn DiskFile) -> io::Result<Option<FileHead>> {
        let mut bytes = [0; FILE_HEAD];
        if file.read_at(&mut bytes, 0)? < bytes.len() {
            return Ok(None);
        }
        let parse = || {
            let mut reader = Reader(&bytes);
            let (magic, version, crc) = (reader.array::<8>()?, reader.u32()?, reader.u32()?);
            if magic != MAGIC || crc != crc32c::crc32c(reader.0) {
                return None;
            }
            let begun_ms = i64::from_le_bytes(reader.array()?);
            let first = u64::from_le_bytes(reader.array()?);
            Some((version, begun_ms, first))
        };
        let Some((version, begun_ms, first)) = parse() else { return Ok(None) };
        let form = match version {
            1 => Form::Appended,
            2 => Form::Sorted,
            _ => {
                let text = format!("format version {version}, and this program knows 1 and 2");
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        Ok(Some(FileHead { form, begun_ms, first }))
    }
}

/// Appends to a file.
#[derive(Debug)]
pub(super) struct Writer {
    file: Arc<dyn DiskFile>,
    /// What is written.
    written: u64,
    buffer: Vec<u8>,
    is_synced: bool,
}

impl Writer {
    /// Makes a file, whose name is durable with the first sync of the folder.
    pub(super) fn create(disk: &dyn Disk, path: &Path, head: FileHead) -> io::Result<Writer> {
        let file = disk.create(path)?;
        file.set_len(0)?;
        let mut buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        head.encode(&mut buffer);
        Ok(Writer { file, written: 0, buffer, is_synced: false })
    }

    /// Goes on behind the last entry.
    pub(super) fn append(disk: &dyn Disk, path: &Path, end: u64) -> io::Result<Writer> {
        // What is there may never have been synced.
        Ok(Writer { file: disk.open(path)?, written: end, buffer: Vec::new(), is_synced: false })
    }

    pub(super) fn push(&mut self, head: &Head, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        head.encode(&mut self.buffer, length, crc32c::crc32c(body));
        self.put(body)
    }

    /// Appends bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_synced = false;
        if self.buffer.len() + bytes.len() < 2 * BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) };
        }
        // What is long is not copied first.
        self.flush()?;
        self.file.write_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives the system everything, so that others read it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes everything durable that is not.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.is_synced {
            return Ok(());
        }
        self.flush()?;
        self.file.sync_data()?;
        self.is_synced = true;
        Ok(())
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
    pub(super) number: u64,
    pub(super) head: FileHead,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Archive {
    /// Opens a file; `None` if it has no head.
    pub(super) fn open(disk: &dyn Disk, path: &Path, number: u64) -> io::Result<Option<Archive>> {
        let file = disk.open(path)?;
        let head = FileHead::read(&*file)?;
        Ok(head.map(|head| Archive { path: path.to_owned(), number, head, file }))
    }

    /// What it says of an object, or of all.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is damaged so that nobody can say.
    pub(super) fn entries(&self, of: Option<RawId>) -> io::Result<Entries> {
        if self.head.form == Form::Sorted {
            return Index::open(self)?.entries(of);
        }
        let mut entries = Entries::default();
        let mut marked = 0;
        self.scan(|place| match place.head.kind {
            Kind::Mark | Kind::Anew => {
                entries.notes.add(&place.head);
                marked = entries.places.len();
            }
            _ if of.is_none_or(|id| place.head.id == id) => entries.places.push(place),
            Kind::Before | Kind::Commits | Kind::Erase => {}
        })?;
        // A mark is written after all before it was synced. What no mark follows may be torn: its write-back never began.
        for place in entries.places.split_off(marked) {
            if place.head.kind != Kind::Before || self.body(&place)?.is_some() {
                entries.places.push(place);
            }
        }
        entries.places.sort_by_key(|place| (place.head.id, place.reach));
        entries.places = whole(entries.places);
        Ok(entries)
    }

    /// Gives all entries, in order. Returns where the last one ends.
    fn scan(&self, mut each: impl FnMut(Place)) -> io::Result<u64> {
        let length = usize::try_from(self.file.len()?).unwrap_or(usize::MAX);
        let mut buffer = vec![0; BUFFER_BYTES.min(length)];
        // Which part of the file is in the buffer.
        let (mut begin, mut end) = (0, 0);
        let mut at = FILE_HEAD_BYTES;
        loop {
            if at < begin || at + HEAD_BYTES as u64 > end {
                begin = at;
                end = at + self.file.read_at(&mut buffer, at)? as u64;
            }
            let index = usize::try_from(at - begin).unwrap_or(usize::MAX);
            let filled = usize::try_from(end - begin).unwrap_or(0);
            let bytes = buffer.get(index..filled).unwrap_or_default();
            let Some((head, length, crc)) = Head::parse(bytes) else { return Ok(at) };
            let reach = Reach { file: self.number, offset: at };
            let body = Body { at: at + HEAD_BYTES as u64, stored: length, length, crc };
            each(Place { head, reach, body });
            at = body.at + u64::from(length);
        }
    }

    /// The body of an entry; `None` if it is not whole.
    pub(super) fn body(&self, place: &Place) -> io::Result<Option<Vec<u8>>> {
        let Some(stored) = self.stored(place)? else { return Ok(None) };
        let Body { stored: packed, length, crc, .. } = place.body;
        let body = if packed < length { sorted::unpack(&stored, length) } else { Some(stored) };
        Ok(body.filter(|body| body.len() == length as usize && crc32c::crc32c(body) == crc))
    }

    /// The body of an entry as it is in the file, unchecked; `None` if the file ends before it.
    fn stored(&self, place: &Place) -> io::Result<Option<Vec<u8>>> {
        let available = self.file.len()?.saturating_sub(place.body.at);
        if u64::from(place.body.stored) > available {
            return Ok(None);
        }
        let mut stored = vec![0; place.body.stored as usize];
        let read = self.file.read_at(&mut stored, place.body.at)?;
        Ok((read == stored.len()).then_some(stored))
    }

    /// Where the last entry ends, if all that no mark follows are whole and nothing lies behind.
    pub(super) fn sound_end(&self) -> io::Result<Option<u64>> {
        let mut unmarked = Vec::new();
        let end = self.scan(|place| match place.head.kind {
            Kind::Mark => unmarked.clear(),
            _ => unmarked.push(place),
        })?;
        for place in &unmarked {
            if self.body(place)?.is_none() {
                return Ok(None);
            }
        }
        Ok((self.file.len()? == end).then_some(end))
    }
}

/// Leaves out write-backs of which not all parts are there: they never began, or a part is damaged. Sorted by object and place.
fn whole(places: Vec<Place>) -> Vec<Place> {
    let mut kept = Vec::with_capacity(places.len());
    let mut parts: Vec<Place> = Vec::new();
    for place in places {
        let is_next = |last: &Place| {
            let (last, next) = (last.head, place.head);
            (last.kind, last.id, last.from, last.to) == (next.kind, next.id, next.from, next.to)
        };
        if !parts.last().is_some_and(is_next) {
            parts.clear();
        }
        parts.push(place);
        if !place.head.has_more {
            kept.append(&mut parts);
        }
    }
    kept
}
