//! The segments as they lie on disk, and the frames in them.

use std::io;
use std::path::{Path, PathBuf};

use super::OldFile;
use crate::Result;
use crate::engine::directory::io_error;
use crate::engine::files::Disk;
use crate::engine::journal::segment::{self, SEGMENT_HEAD_BYTES, SegmentHead};
use crate::engine::record::Position;
use crate::engine::record::frame::{self, FRAME_ALIGN, Frame};

/// Gives frames by their position. Holds one segment in memory.
#[derive(Debug)]
pub(super) struct Log<'d> {
    disk: &'d dyn Disk,
    /// By number.
    segments: Vec<Entry>,
    /// Files whose making was interrupted.
    unfinished: Vec<PathBuf>,
    loaded: Option<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    path: PathBuf,
    bytes: u64,
    /// `None`: it cannot be read, or belongs to another number.
    head: Option<SegmentHead>,
}

/// What lies behind a position where there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// There was a frame once. It goes on here.
    Damage { resume: Position },
    /// The generation ends here; so many frames of its last batch lie behind.
    End { discarded: u64, next_generation: Option<Position> },
}

impl<'d> Log<'d> {
    pub(super) fn open(disk: &'d dyn Disk, folder: &Path) -> Result<Log<'d>> {
        let list = || if disk.exists(folder)? { disk.list(folder) } else { Ok(Vec::new()) };
        let paths = list().map_err(|error| io_error("list", folder, &error))?;
        let (unfinished, paths): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| segment::is_unfinished(path));
        let mut segments = Vec::new();
        for path in paths {
            let Some(number) = segment::number_of(&path) else { continue };
            let (bytes, start) =
                read_start(disk, &path).map_err(|error| io_error("read", &path, &error))?;
            let head = SegmentHead::parse(&start, &path)?.filter(|head| head.number == number);
            segments.push(Entry { number, path, bytes, head });
        }
        segments.sort_unstable_by_key(|entry| entry.number);
        Ok(Log { disk, segments, unfinished, loaded: None })
    }

    /// Where the oldest segment that can be read begins.
    pub(super) fn first(&self) -> Position {
        let first = self.segments.iter().find(|entry| entry.head.is_some());
        first.map_or_else(Position::default, |entry| begin_of(entry.number))
    }

    pub(super) fn next_segment(&self) -> u64 {
        self.segments.last().map_or(1, |entry| entry.number.saturating_add(1))
    }

    pub(super) fn next_generation(&self) -> u64 {
        let heads = self.segments.iter().filter_map(|entry| entry.head);
        heads.map(|head| head.generation).max().map_or(1, |last| last.saturating_add(1))
    }

    pub(super) fn bytes_from(&self, redo: Position) -> u64 {
        let later = self.segments.iter().filter(|entry| entry.number >= redo.segment);
        later.map(|entry| entry.bytes).sum::<u64>().saturating_sub(u64::from(redo.offset))
    }

    /// All files. Those behind the segment `end` were never written to.
    pub(super) fn files(&self, end: Option<u64>) -> Vec<OldFile> {
        let segments = self.segments.iter().map(|entry| OldFile {
            path: entry.path.clone(),
            is_spare: end.is_some_and(|end| entry.number > end),
        });
        let unfinished = self.unfinished.iter().cloned();
        segments.chain(unfinished.map(|path| OldFile { path, is_spare: false })).collect()
    }

    /// The frame at a position, if there is one.
    pub(super) fn frame(&mut self, at: Position) -> Result<Option<Frame<'_>>> {
        let Some(head) = self.head(at.segment) else { return Ok(None) };
        let path = self.entry(at.segment).map(|entry| entry.path.clone()).unwrap_or_default();
        let bytes = self.load(at.segment)?;
        let rest = bytes.get(at.offset as usize..).unwrap_or_default();
        frame::parse(rest, head.place(), at.offset).map_err(|error| error.context(path.display()))
    }

    /// What a damaged frame may have been: where the next one would be, if that can be said, and its body.
    pub(super) fn guess(&mut self, at: Position) -> Result<(Option<Position>, &[u8])> {
        let place = self.head(at.segment).map(|head| head.place());
        let bytes = self.load(at.segment)?.get(at.offset as usize..).unwrap_or_default();
        let Some(place) = place else { return Ok((None, bytes)) };
        let (length, body) = frame::guess(bytes, place);
        let length = length.and_then(|length| u32::try_from(length).ok());
        let next = length.and_then(|length| at.offset.checked_add(length));
        Ok((next.map(|offset| Position { offset, ..at }), body))
    }

    /// Finds out whether there was a frame once where there is none now.
    pub(super) fn search(&mut self, at: Position) -> Result<Search> {
        let generation = self.generation_at(at.segment);
        let later = self.segments.iter().filter(|entry| entry.number >= at.segment);
        let later: Vec<(u64, Option<SegmentHead>)> =
            later.map(|entry| (entry.number, entry.head)).collect();
        let mut first = None;
        let mut discarded = 0;
        for (number, head) in later {
            let Some(head) = head else { continue };
            if generation.is_some_and(|generation| head.generation > generation) {
                let next_generation = Some(begin_of(number));
                return Ok(Search::End { discarded, next_generation });
            }
            let mut offset = SEGMENT_HEAD_BYTES;
            if number == at.segment {
                offset = at.offset.max(SEGMENT_HEAD_BYTES).saturating_add(1);
            }
            while let Some((found, bytes, batch)) = self.next_frame(&head, offset)? {
                let position = Position { segment: number, offset: found };
                let resume = *first.get_or_insert(position);
                if batch > at {
                    return Ok(Search::Damage { resume });
                }
                discarded += 1;
                offset = found + bytes;
            }
        }
        Ok(Search::End { discarded, next_generation: None })
    }

    /// The first frame at or behind an offset of a segment: where it is, its length and its batch.
    fn next_frame(
        &mut self,
        head: &SegmentHead,
        offset: u32,
    ) -> Result<Option<(u32, u32, Position)>> {
        let place = head.place();
        let bytes = self.load(head.number)?;
        let mut at = (offset as usize).next_multiple_of(FRAME_ALIGN);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            if rest.starts_with(&place.mark())
                && let Some(frame) = frame::parse(rest, place, offset)?
            {
                let bytes = u32::try_from(frame.bytes).unwrap_or(u32::MAX);
                return Ok(Some((offset, bytes, frame.batch)));
            }
            at += FRAME_ALIGN;
        }
        Ok(None)
    }

    /// The generation of a segment, or of the nearest one that can be read if it cannot.
    fn generation_at(&self, number: u64) -> Option<u64> {
        let readable = || self.segments.iter().filter_map(|entry| entry.head);
        let before = readable().rfind(|head| head.number <= number);
        before.or_else(|| readable().next()).map(|head| head.generation)
    }

    /// Whether there is a segment of this number with a valid head.
    pub(super) fn is_readable(&self, number: u64) -> bool {
        self.head(number).is_some()
    }

    fn head(&self, number: u64) -> Option<SegmentHead> {
        self.entry(number).and_then(|entry| entry.head)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        let index = self.segments.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.segments.get(index)
    }

    /// The content of a segment's file; nothing if there is none.
    fn load(&mut self, number: u64) -> Result<&[u8]> {
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            self.loaded = None;
            let content = match self.entry(number) {
                Some(entry) => read_all(self.disk, entry)
                    .map_err(|error| io_error("read", &entry.path, &error))?,
                None => Vec::new(),
            };
            self.loaded = Some((number, content));
        }
        Ok(self.loaded.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}

/// Where the first frame of a segment is.
pub(super) fn begin_of(segment: u64) -> Position {
    Position { segment, offset: SEGMENT_HEAD_BYTES }
}

fn read_start(disk: &dyn Disk, path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let file = disk.open(path)?;
    let mut start = vec![0; SEGMENT_HEAD_BYTES as usize];
    let length = file.read_at(&mut start, 0)?;
    start.truncate(length);
    Ok((file.len()?, start))
}

/// Not more than a segment can be long, whatever the file's length says.
fn read_all(disk: &dyn Disk, entry: &Entry) -> io::Result<Vec<u8>> {
    let bytes = entry.head.map_or(entry.bytes, |head| entry.bytes.min(u64::from(head.bytes)));
    let length = usize::try_from(bytes.min(u64::from(u32::MAX))).unwrap_or(0);
    let mut content = vec![0; length];
    let read = disk.open(&entry.path)?.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(content)
}
