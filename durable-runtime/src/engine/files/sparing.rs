//! A disk for a process that may not open many files.
//!
//! The guarantee: when the limit of open files is reached, files of objects are closed until the call can be
//! done, longest open first; whoever uses such a file again opens it again and notices nothing. A call
//! fails for want of files only when none is left that can be closed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::{Disk, DiskFile, FilesystemSync};

/// How many files are closed at once: the next calls will need some, too.
const CLOSED_AT_ONCE: usize = 64;

/// The two sides of one disk.
#[derive(Debug)]
pub(crate) struct Sparing {
    /// Its files stay open: for the journal.
    pub(crate) steady: Arc<dyn Disk>,
    /// Its files may be closed at any time. They must keep their names.
    pub(crate) sparing: Arc<dyn Disk>,
}

impl Sparing {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Sparing {
        let open = Arc::<OpenFiles>::default();
        let steady =
            SparingDisk { disk: Arc::clone(&disk), open: Arc::clone(&open), may_close: false };
        Sparing {
            steady: Arc::new(steady),
            sparing: Arc::new(SparingDisk { disk, open, may_close: true }),
        }
    }
}

#[derive(Debug)]
struct SparingDisk {
    disk: Arc<dyn Disk>,
    open: Arc<OpenFiles>,
    may_close: bool,
}

/// A file that is open or not.
type Slot = Mutex<Option<Arc<dyn DiskFile>>>;

/// The files that may be closed, longest open first.
#[derive(Debug, Default)]
struct OpenFiles(Mutex<VecDeque<Weak<Slot>>>);

impl OpenFiles {
    fn add(&self, slot: &Arc<Slot>) {
        let mut slots = self.0.lock();
        // Those that are gone are thrown out whenever their number may have doubled.
        if slots.len() == slots.capacity() {
            slots.retain(|slot| slot.strong_count() > 0);
        }
        slots.push_back(Arc::downgrade(slot));
    }

    /// Closes some files; `false` if there is none.
    fn close_some(&self) -> bool {
        let mut slots = self.0.lock();
        let mut closed = 0;
        for _ in 0..slots.len() {
            let Some(weak) = slots.pop_front() else { break };
            let Some(slot) = weak.upgrade() else { continue };
            // Not waited for: whoever holds it may be here, too.
            match slot.try_lock() {
                Some(mut file) => closed += usize::from(file.take().is_some()),
                None => slots.push_back(weak),
            }
            if closed == CLOSED_AT_ONCE {
                break;
            }
        }
        closed > 0
    }

    fn retry<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if is_out_of_files(&error) && self.close_some() => {}
                outcome => return outcome,
            }
        }
    }
}

/// Whether the process, or the system, may not open another file.
fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| code == Some(errno.raw_os_error()))
}

impl SparingDisk {
    fn file(
        &self,
        path: &Path,
        open: impl FnMut() -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open.retry(open)?;
        if !self.may_close {
            return Ok(file);
        }
        let slot = Arc::new(Mutex::new(Some(file)));
        self.open.add(&slot);
        let (disk, open) = (Arc::clone(&self.disk), Arc::clone(&self.open));
        Ok(Arc::new(SparingFile { path: path.to_owned(), slot, disk, open }))
    }
}

impl Disk for SparingDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.file(path, || self.disk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.file(path, || self.disk.open(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.open.retry(|| self.disk.list(folder))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.open.retry(|| self.disk.share(from, to))
    }

    fn sync_directory(&self, folder: &Path) -> io::Result<()> {
        self.open.retry(|| self.disk.sync_directory(folder))
    }

    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync> {
        self.open.retry(|| self.disk.sync_filesystem(folder))
    }
}

/// A file that is opened again when it was closed.
#[derive(Debug)]
struct SparingFile {
    path: PathBuf,
    slot: Arc<Slot>,
    disk: Arc<dyn Disk>,
    open: Arc<OpenFiles>,
}

impl SparingFile {
    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        let mut slot = self.slot.lock();
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = slot.insert(self.open.retry(|| self.disk.open(&self.path))?);
        self.open.add(&self.slot);
        Ok(Arc::clone(file))
    }
}

impl DiskFile for SparingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file()?.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::simulated::SimulatedDisk;

    #[test]
    fn more_files_than_may_be_open() {
        let simulated = SimulatedDisk::default();
        simulated.limit_open_files(5);
        let Sparing { steady, sparing } = Sparing::new(Arc::new(simulated));
        let path = |number: usize| PathBuf::from(format!("/{number}"));
        let mut files = Vec::new();
        for number in 0..20 {
            files.push(sparing.create(&path(number)).unwrap());
            files[number].write_at(&[1], 0).unwrap();
        }
        let journal = steady.create(Path::new("/journal")).unwrap();
        for round in 0..3 {
            for file in &files {
                let mut byte = [0];
                file.read_at(&mut byte, 0).unwrap();
                assert_eq!(byte, [round + 1]);
                file.write_at(&[round + 2], 0).unwrap();
                steady.sync_filesystem(Path::new("/")).unwrap();
            }
        }
        // Those of the journal stay, and without others to close there is nothing to do.
        journal.write_at(&[1], 0).unwrap();
        drop(files);
        let steady_files: Vec<_> = (0..9).map(|number| steady.open(&path(number))).collect();
        assert_eq!(steady_files.iter().filter(|file| file.is_ok()).count(), 4);
        assert!(is_out_of_files(steady_files[8].as_ref().unwrap_err()));
    }
}
