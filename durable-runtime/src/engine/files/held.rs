//! A disk on which the flushes of the journal end when the test says so, and how it says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile, FilesystemSync, RealDisk};

/// The disk of the operating system, but for the syncs of the journal's files. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldDisk(Arc<Hold>);

#[derive(Debug, Default)]
struct Hold {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    flushes: Flushes,
    /// How many syncs are held back right now.
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flushes {
    #[default]
    Pass,
    Wait,
    Fail,
}

impl HeldDisk {
    /// Holds all flushes back from now on.
    pub(crate) fn hold(&self) {
        self.set(Flushes::Wait);
    }

    /// Lets them end well.
    pub(crate) fn release(&self) {
        self.set(Flushes::Pass);
    }

    /// Lets them fail.
    pub(crate) fn fail(&self) {
        self.set(Flushes::Fail);
    }

    /// Whether a flush is held back right now.
    pub(crate) fn holds_one(&self) -> bool {
        self.0.state.lock().waiting > 0
    }

    fn set(&self, flushes: Flushes) {
        self.0.state.lock().flushes = flushes;
        self.0.changed.notify_all();
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.waiting += 1;
        while state.flushes == Flushes::Wait {
            self.0.changed.wait(&mut state);
        }
        state.waiting -= 1;
        match state.flushes {
            Flushes::Fail => Err(io::Error::other("the device is gone")),
            Flushes::Pass | Flushes::Wait => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        // Not by the name of a segment: it gets that when it is finished.
        let folder = path.parent().and_then(Path::file_name);
        if folder.is_some_and(|folder| folder == "journal") {
            return Arc::new(HeldFile { disk: self.clone(), file });
        }
        file
    }
}

impl Disk for HeldDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path).map(|file| self.wrap(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.wrap(path, file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn sync_directory(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_directory(folder)
    }

    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync> {
        RealDisk.sync_filesystem(folder)
    }
}

#[derive(Debug)]
struct HeldFile {
    disk: HeldDisk,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for HeldFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.flush()?;
        self.file.sync_data()
    }
}
