//! What the tests of the engine share: random numbers, and a disk that fails when it is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::files::{Disk, DiskFile, FilesystemSync, RealDisk};

/// The same numbers for the same seed.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(limit.max(1))).unwrap()
    }
}

/// The real disk, on which the n-th operation from now fails, or panics.
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Operations until the fault; below zero there is none.
    pub(super) reads: AtomicI64,
    pub(super) writes: AtomicI64,
    pub(super) panics: AtomicI64,
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(super) fn new() -> (FaultyDisk, Arc<Faults>) {
        let faults = Arc::<Faults>::default();
        faults.clear();
        (FaultyDisk { faults: Arc::clone(&faults) }, faults)
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { file, faults: Arc::clone(&self.faults) })
    }
}

impl Faults {
    pub(super) fn clear(&self) {
        for fault in [&self.reads, &self.writes, &self.panics] {
            fault.store(-1, Ordering::SeqCst);
        }
    }

    pub(super) fn fail_read(&self, at: i64) {
        self.reads.store(at, Ordering::SeqCst);
    }

    pub(super) fn panic_at(&self, at: i64) {
        self.panics.store(at, Ordering::SeqCst);
    }

    fn pass(fault: &AtomicI64) -> io::Result<()> {
        match fault.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::Error::other("injected")),
            _ => Ok(()),
        }
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(Faults::pass(&self.faults.panics).is_ok(), "injected panic");
        Faults::pass(&self.faults.reads)?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        Faults::pass(&self.faults.writes)?;
        self.file.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Faults::pass(&self.faults.writes)?;
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Faults::pass(&self.faults.reads)?;
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        Faults::pass(&self.faults.writes)?;
        self.file.sync_data()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.wrap(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Faults::pass(&self.faults.writes)?;
        RealDisk.create(path).map(|file| self.wrap(file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        Faults::pass(&self.faults.writes)?;
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }

    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync> {
        RealDisk.sync_filesystem(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}
