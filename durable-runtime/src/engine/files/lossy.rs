//! The operating system's disk, for a process that is to lose its power in a test.
//!
//! The guarantee: after [`cut_power`](LossyDisk::cut_power) every file holds what was synced before and nothing that was
//! written since, and no later call does anything. It is the hardest loss that a disk may suffer by its contract: a real
//! one keeps some of what was not synced. New, renamed and removed files are kept, as they may be.
//!
//! A sync only takes note, and waits for no device: a real loss of power is not what these files have to survive.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile, FilesystemSync, RealDisk};

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Files with changes that are not synced, or that are open.
    files: HashMap<PathBuf, Arc<Unsynced>>,
    is_off: bool,
}

/// What a file was before each change since its last sync. Touched only under the lock of the disk.
#[derive(Debug, Default)]
struct Unsynced(Mutex<Vec<Before>>);

#[derive(Debug)]
enum Before {
    Length(u64),
    Bytes { offset: u64, bytes: Vec<u8> },
}

#[derive(Debug)]
struct LossyFile {
    disk: LossyDisk,
    file: Arc<dyn DiskFile>,
    unsynced: Arc<Unsynced>,
}

impl LossyDisk {
    /// Takes back what was not synced, and does nothing from now on.
    ///
    /// # Errors
    /// When a file cannot be brought back.
    pub(crate) fn cut_power(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.is_off = true;
        for (path, unsynced) in state.files.drain() {
            let changes = std::mem::take(&mut *unsynced.0.lock());
            if changes.is_empty() {
                continue;
            }
            let file = RealDisk.open(&path)?;
            for before in changes.into_iter().rev() {
                match before {
                    Before::Length(length) => file.set_len(length)?,
                    Before::Bytes { offset, bytes } => file.write_at(&bytes, offset)?,
                }
            }
        }
        Ok(())
    }

    /// For as long as the result lives the power stays on.
    fn powered(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.is_off { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }

    fn file(&self, state: &mut State, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let unsynced = Arc::clone(state.files.entry(path.to_owned()).or_default());
        Arc::new(LossyFile { disk: self.clone(), file, unsynced })
    }
}

impl Disk for LossyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.powered()?;
        let file = RealDisk.create(path)?;
        Ok(self.file(&mut state, path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.powered()?;
        let file = RealDisk.open(path)?;
        Ok(self.file(&mut state, path, file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let _on = self.powered()?;
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.powered()?;
        RealDisk.rename(from, to)?;
        let moved = state.files.remove(from);
        state.files.remove(to);
        state.files.extend(moved.map(|unsynced| (to.to_owned(), unsynced)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.powered()?;
        RealDisk.remove(path)?;
        state.files.remove(path);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let _on = self.powered()?;
        RealDisk.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let _on = self.powered()?;
        RealDisk.exists(path)
    }

    fn sync_directory(&self, _folder: &Path) -> io::Result<()> {
        self.powered().map(drop)
    }

    fn sync_filesystem(&self, _folder: &Path) -> io::Result<FilesystemSync> {
        let mut state = self.powered()?;
        // Who is still open has a place of its own, and is found again by the next change.
        state.files.retain(|_, unsynced| {
            unsynced.0.lock().clear();
            Arc::strong_count(unsynced) > 1
        });
        Ok(FilesystemSync::Done)
    }
}

impl DiskFile for LossyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let _on = self.disk.powered()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _on = self.disk.powered()?;
        let length = self.file.len()?;
        let mut before = vec![0; bytes.len()];
        let read = self.file.read_at(&mut before, offset)?;
        before.truncate(read);
        let mut unsynced = self.unsynced.0.lock();
        unsynced.push(Before::Bytes { offset, bytes: before });
        // Taken back after the bytes: what was written beyond the end goes with the length.
        if length < offset + bytes.len() as u64 {
            let at = unsynced.len() - 1;
            unsynced.insert(at, Before::Length(length));
        }
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let _on = self.disk.powered()?;
        let length = self.file.len()?;
        let mut lost = vec![0; usize::try_from(length.saturating_sub(bytes)).unwrap_or(0)];
        let read = self.file.read_at(&mut lost, bytes)?;
        lost.truncate(read);
        let mut unsynced = self.unsynced.0.lock();
        // Backwards: the length first, then what was cut off.
        unsynced.push(Before::Bytes { offset: bytes, bytes: lost });
        unsynced.push(Before::Length(length));
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        let _on = self.disk.powered()?;
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let _on = self.disk.powered()?;
        self.unsynced.0.lock().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }

    #[test]
    fn what_was_synced_stays_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (LossyDisk::default(), folder.path().join("a"));
        let file = disk.create(&path).unwrap();
        file.write_at(b"durable", 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(b"xx", 2).unwrap();
        file.write_at(b"longer than before", 3).unwrap();
        file.set_len(4).unwrap();
        file.write_at(b"z", 9).unwrap();
        file.set_len(20).unwrap();
        assert_eq!(content(&path).len(), 20);
        disk.cut_power().unwrap();
        assert_eq!(content(&path), b"durable");
        file.write_at(b"x", 0).unwrap_err();
        file.sync_data().unwrap_err();
        disk.create(&path).unwrap_err();
        assert_eq!(content(&path), b"durable");
    }

    #[test]
    fn a_file_is_the_same_under_another_name_and_another_handle() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, old, new) =
            (LossyDisk::default(), folder.path().join("old"), folder.path().join("new"));
        let file = disk.create(&old).unwrap();
        file.write_at(b"kept", 0).unwrap();
        disk.rename(&old, &new).unwrap();
        disk.open(&new).unwrap().sync_data().unwrap();
        file.write_at(b"lost", 0).unwrap();
        drop(file);
        disk.cut_power().unwrap();
        assert_eq!(content(&new), b"kept");
    }

    #[test]
    fn syncing_the_file_system_syncs_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (LossyDisk::default(), folder.path().join("a"));
        let file = disk.create(&path).unwrap();
        file.write_at(b"kept", 0).unwrap();
        disk.sync_filesystem(folder.path()).unwrap();
        file.write_at(b"lost", 0).unwrap();
        disk.cut_power().unwrap();
        assert_eq!(content(&path), b"kept");
    }
}
