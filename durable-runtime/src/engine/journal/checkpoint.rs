//! The file `CHECKPOINT`: where redo starts.
//!
//! The guarantee: [`read`] gives the position of the last [`write`](CheckpointFile::write) that returned, or
//! of a later one that did not. Two slots are written in turn, so a torn write costs only itself.
//!
//! A slot, little endian, at 0 and at 4,096: magic `durChkp\n`, format version (u32), offset (u32), segment
//! (u64), sequence number (u64), crc32c of these 32 bytes. The slot with the higher sequence number counts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::directory::io_error;
use crate::engine::files::{Disk, DiskFile};
use crate::engine::record::{FORMAT_VERSION, Position};
use crate::{Error, ErrorKind, Result};

const FILE_NAME: &str = "CHECKPOINT";
const MAGIC: [u8; 8] = *b"durChkp\n";
const SLOT_BYTES: usize = 4_096;
const CHECKED_BYTES: usize = 32;
const FIELDS_BYTES: usize = 36;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// There is no file, or it was never written to.
    Nothing,
    /// Redo starts here.
    At(Slot),
    /// There was something, and it cannot be read any more.
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) sequence: u64,
    pub(crate) redo: Position,
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    sequence: u64,
}

impl CheckpointFile {
    /// Opens the file, which is made if there is none. `sequence` is what is stored, or 0.
    pub(super) fn open(disk: &dyn Disk, folder: &Path, sequence: u64) -> Result<CheckpointFile> {
        let path = path_in(folder);
        let file = disk.create(&path).map_err(|error| io_error("create", &path, &error))?;
        let prepared = file.len().and_then(|length| match length {
            length if length == 2 * SLOT_BYTES as u64 => Ok(()),
            _ => file.set_len(2 * SLOT_BYTES as u64).and_then(|()| file.sync_data()),
        });
        prepared
            .and_then(|()| disk.sync_directory(folder))
            .map_err(|error| io_error("write", &path, &error))?;
        Ok(CheckpointFile { path, file, sequence })
    }

    /// Stores a position durably. If this fails, the one before still counts, or this one does.
    pub(super) fn write(&mut self, redo: Position) -> Result<()> {
        let sequence = self.sequence + 1;
        let slot = Slot { sequence, redo }.encode();
        let offset = (sequence % 2) * SLOT_BYTES as u64;
        let written = self.file.write_at(&slot, offset).and_then(|()| self.file.sync_data());
        written.map_err(|error| io_error("write", &self.path, &error))?;
        self.sequence = sequence;
        Ok(())
    }
}

impl Slot {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIELDS_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        bytes.extend_from_slice(&self.redo.offset.to_le_bytes());
        bytes.extend_from_slice(&self.redo.segment.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Option<Slot>> {
        let Some(fields) = bytes.first_chunk::<FIELDS_BYTES>() else { return Ok(None) };
        let u32_at = |at: usize| fields[at..].first_chunk().map_or(0, |v| u32::from_le_bytes(*v));
        let u64_at = |at: usize| fields[at..].first_chunk().map_or(0, |v| u64::from_le_bytes(*v));
        if fields[..8] != MAGIC || crc32c::crc32c(&fields[..CHECKED_BYTES]) != u32_at(CHECKED_BYTES)
        {
            return Ok(None);
        }
        let version = u32_at(8);
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
        let redo = Position { segment: u64_at(16), offset: u32_at(12) };
        Ok(Some(Slot { sequence: u64_at(24), redo }))
    }
}

/// Where the file is.
pub(crate) fn path_in(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// What the file says.
///
/// # Errors
/// When it cannot be read or is of another version.
pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Stored> {
    let path = path_in(folder);
    let read = || -> io::Result<Option<Vec<u8>>> {
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        disk.open(&path)?.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    };
    let bytes = read().map_err(|error| io_error("read", &path, &error))?;
    let Some(bytes) = bytes else { return Ok(Stored::Nothing) };
    let (first, second) = bytes.split_at(SLOT_BYTES);
    let slots = [Slot::parse(first, &path)?, Slot::parse(second, &path)?];
    let latest = slots.into_iter().flatten().max_by_key(|slot| slot.sequence);
    Ok(match latest {
        Some(slot) => Stored::At(slot),
        None if bytes.iter().all(|byte| *byte == 0) => Stored::Nothing,
        None => Stored::Damaged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::simulated::{Fault, SimulatedDisk};

    const FOLDER: &str = "/j";

    fn at(segment: u64) -> Position {
        Position { segment, offset: 4_096 }
    }

    fn with_file() -> (SimulatedDisk, CheckpointFile) {
        let disk = SimulatedDisk::default();
        disk.create_dir_all(Path::new(FOLDER)).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let file = CheckpointFile::open(&disk, Path::new(FOLDER), 0).unwrap();
        (disk, file)
    }

    #[test]
    fn the_last_one_counts() {
        let (disk, mut file) = with_file();
        assert_eq!(read(&disk, Path::new(FOLDER)).unwrap(), Stored::Nothing);
        for segment in 1..6 {
            file.write(at(segment)).unwrap();
            let slot = Slot { sequence: segment, redo: at(segment) };
            assert_eq!(read(&disk, Path::new(FOLDER)).unwrap(), Stored::At(slot));
        }
    }

    #[test]
    fn an_interrupted_write_costs_only_itself() {
        for call in 1..=2 {
            for seed in 0..50 {
                let (disk, mut file) = with_file();
                file.write(at(1)).unwrap();
                file.write(at(2)).unwrap();
                disk.inject_any(call, if seed % 2 == 0 { Fault::Crash } else { Fault::Short });
                file.write(at(3)).unwrap_err();
                disk.power_loss(seed);
                let Stored::At(slot) = read(&disk, Path::new(FOLDER)).unwrap() else { panic!() };
                assert!(slot.redo == at(2) || slot.redo == at(3), "{slot:?}");
            }
        }
    }

    #[test]
    fn damage_is_told_from_nothing() {
        let (disk, mut file) = with_file();
        file.write(at(1)).unwrap();
        let path = Path::new(FOLDER).join(FILE_NAME);
        let mut content = disk.content(&path).unwrap();
        content[SLOT_BYTES + 20] ^= 1;
        disk.overwrite(&path, &content).unwrap();
        assert_eq!(read(&disk, Path::new(FOLDER)).unwrap(), Stored::Damaged);
    }
}
