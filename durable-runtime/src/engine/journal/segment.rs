//! Segments: the files that the journal consists of.
//!
//! The guarantee: a file under the name of a segment has its full length on disk and a valid head that was
//! synced before it got the name, so that appending to it changes no metadata. What a recycled file held
//! before is no frame in it, since it has another number and another salt.
//!
//! Head, little endian, in a block of 4,096 bytes of its own:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic `durJrnl\n` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | length of the file |
//! | 16 | 8 | number of the segment |
//! | 24 | 8 | generation: one more with every start of the journal |
//! | 32 | 8 | salt: random, part of the checksum of every frame |
//! | 40 | 4 | crc32c of bytes 0 to 40 |
//!
//! Magic, version and checksum stay where they are in all versions.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::files::{Disk, DiskFile};
use crate::engine::record::FORMAT_VERSION;
use crate::engine::record::frame::Place;
use crate::{Error, ErrorKind, Result};

/// Where the first frame begins.
pub(crate) const SEGMENT_HEAD_BYTES: u32 = 4_096;
const HEAD_FIELDS_BYTES: usize = 44;
const CHECKED_BYTES: usize = 40;
const MAGIC: [u8; 8] = *b"durJrnl\n";
const SUFFIX: &str = ".segment";
/// A file that is being made or recycled.
const SUFFIX_NEW: &str = ".segment.new";
/// How much is written at once when a file is made.
const ZEROS_BYTES: usize = 1_024 * 1_024;

/// What the head of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    /// The length of the file.
    pub(crate) bytes: u32,
}

/// A segment that can be written to.
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({})", self.head.number)
    }
}

impl SegmentHead {
    pub(crate) fn place(&self) -> Place {
        Place { segment: self.number, salt: self.salt }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEAD_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        debug_assert_eq!(bytes.len(), HEAD_FIELDS_BYTES);
        bytes.resize(SEGMENT_HEAD_BYTES as usize, 0);
        bytes
    }

    /// The head at the beginning of a file; `None` if there is none.
    ///
    /// # Errors
    /// When it is of another version.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Option<SegmentHead>> {
        let Some(head) = bytes.first_chunk::<HEAD_FIELDS_BYTES>() else { return Ok(None) };
        let crc = u32_at(head, CHECKED_BYTES);
        if head[..8] != MAGIC || crc32c::crc32c(&head[..CHECKED_BYTES]) != crc {
            return Ok(None);
        }
        let version = u32_at(head, 8);
        if version != u32::from(FORMAT_VERSION) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the journal cannot be read: {} has format version {version} and this program \
                     knows version {FORMAT_VERSION}",
                    path.display()
                ),
            ));
        }
        Ok(Some(SegmentHead {
            bytes: u32_at(head, 12),
            number: u64_at(head, 16),
            generation: u64_at(head, 24),
            salt: u64_at(head, 32),
        }))
    }
}

fn u32_at(bytes: &[u8; HEAD_FIELDS_BYTES], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8; HEAD_FIELDS_BYTES], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |field| u64::from_le_bytes(*field))
}

/// The path of a segment.
pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    // As many digits as the largest number has: names sort as numbers do.
    folder.join(format!("{number:020}{SUFFIX}"))
}

/// The number in the name of a segment; `None` for any other file.
pub(crate) fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Whether the making of this file was interrupted.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX_NEW))
}

/// Makes a segment durably, of an old file of the same length if there is one. What is left after a
/// failure has no segment's name.
pub(super) fn make(
    disk: &dyn Disk,
    folder: &Path,
    head: SegmentHead,
    old: Option<&Path>,
) -> io::Result<Segment> {
    let unfinished = folder.join(format!("{:020}{SUFFIX_NEW}", head.number));
    let made = fill(disk, &unfinished, head, old).and_then(|file| {
        let path = path_of(folder, head.number);
        disk.rename(&unfinished, &path)?;
        disk.sync_directory(folder)?;
        Ok(Segment { head, path, file })
    });
    if made.is_err() {
        // Its space may be what is missing. If it cannot be removed, the next start does it.
        let _ = disk.remove(&unfinished);
    }
    made
}

fn fill(
    disk: &dyn Disk,
    path: &Path,
    head: SegmentHead,
    old: Option<&Path>,
) -> io::Result<Arc<dyn DiskFile>> {
    if let Some(old) = old {
        disk.rename(old, path)?;
    }
    let file = disk.create(path)?;
    if file.len()? != u64::from(head.bytes) {
        file.set_len(0)?;
        write_zeros(&*file, head.bytes)?;
    }
    file.write_at(&head.encode(), 0)?;
    file.sync_data()?;
    Ok(file)
}

/// Really writes them: a file that only has the length would get its blocks while it is appended to.
fn write_zeros(file: &dyn DiskFile, bytes: u32) -> io::Result<()> {
    let end = u64::from(bytes);
    let zeros = vec![0; ZEROS_BYTES.min(bytes as usize)];
    let mut offset = 0;
    while offset < end {
        let length =
            usize::try_from(end - offset).map_or(zeros.len(), |rest| rest.min(zeros.len()));
        file.write_at(&zeros[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SegmentHead = SegmentHead { number: 7, generation: 2, salt: 9, bytes: 65_536 };

    #[test]
    fn golden_head() {
        let bytes = HEAD.encode();
        assert_eq!(&bytes[..8], b"durJrnl\n");
        assert_eq!(bytes[8..16], [1, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(bytes[16..24], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[24..40], [2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..44], GOLDEN_CRC);
        assert_eq!(bytes.len(), 4_096);
        assert_eq!(SegmentHead::parse(&bytes, Path::new("x")).unwrap(), Some(HEAD));
    }

    const GOLDEN_CRC: [u8; 4] = [62, 243, 28, 78];

    #[test]
    fn a_head_with_any_bit_changed_is_none() {
        let good = HEAD.encode();
        for bit in 0..HEAD_FIELDS_BYTES * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHead::parse(&bytes, Path::new("x")).unwrap(), None, "bit {bit}");
        }
    }

    #[test]
    fn names() {
        let path = path_of(Path::new("/j"), 12);
        assert_eq!(path, Path::new("/j/00000000000000000012.segment"));
        assert_eq!(number_of(&path), Some(12));
        assert_eq!(number_of(Path::new("/j/12.segment.new")), None);
        assert!(is_unfinished(Path::new("/j/12.segment.new")));
    }
}
