//! Copies of databases: files beside those of the objects, which no object has, or not yet.
//!
//! The guarantee: a copy is removed when nobody holds it any more, and what a program leaves that dies is removed at the next start.
//! A copy becomes an object whole or not at all.
//!
//! How a copy becomes an object: it is stamped with the commit that it will be, made durable, and named after the object and that
//! commit; then a record of the journal says that the object begins so. Once that is durable the object exists, and the file
//! is moved to its place, by the next write-back or by recovery. So no database goes through the journal, whatever its size,
//! and a file without a record is nobody's.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::check::TrialDatabase;
use super::directory::{io_error, private_file};
use super::files::{Disk, is_full};
use super::history::Point;
use super::overlay::{MIGRATION_BYTES_MAX, Overlay, PAGE};
use super::pagestore::{FilePerObject, Header, PageStore, Stamp};
use super::vfs::{ObjectFile, Vfs, open_connection};
use super::{Absent, Configure, Database, Engine, ObjectKey, Receipt, Wake, read_wake, sqlite};
use crate::id::RawId;
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

const FOLDER: &str = "copies";
const SUFFIX: &str = ".copy";
/// Stands in place of a checkpoint: what is done to a copy is logged nowhere.
const EPOCH: u64 = 1;
/// How much is copied at once.
const CHUNK_BYTES: usize = 1_024 * 1_024;

/// A rollback journal of SQLite begins with it, and also ends with it if it names another one.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Says how far a copy is, in bytes: done, and all.
pub(crate) type OnProgress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// The copies of a data directory.
pub(crate) struct Copies {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    vfs: Arc<Vfs>,
}

/// A database file that is removed when this is dropped, unless it has become something else.
#[derive(Debug)]
pub(crate) struct CopyFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    is_kept: bool,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The commit that the copy holds.
    pub(crate) point: Point,
    pub(crate) header: Header,
}

/// The folder of all copies.
pub(super) fn folder_of(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// Where the file lies with which an object begins at this commit.
pub(super) fn path_of(folder: &Path, id: RawId, stamp: Stamp) -> PathBuf {
    folder.join(format!("{id}-{:08x}-{:016x}.db", stamp.epoch, stamp.commit))
}

/// Removes copies that nobody claims, or moves them to another folder.
///
/// # Errors
/// When a folder cannot be read or written.
pub(super) fn clear(
    disk: &dyn Disk,
    folder: &Path,
    claimed: &HashSet<PathBuf>,
    aside: Option<&Path>,
) -> Result<()> {
    let list = || if disk.exists(folder)? { disk.list(folder) } else { Ok(Vec::new()) };
    let files = list().map_err(|error| io_error("list", folder, &error))?;
    let mut moved = false;
    for path in files.into_iter().filter(|path| !claimed.contains(path)) {
        // Without its record nobody can say whether a file that an object begins with is one.
        let name = path.file_name().filter(|_| path.extension().is_some_and(|it| it == "db"));
        if let (Some(aside), Some(name)) = (aside, name) {
            let renamed = disk.rename(&path, &aside.join(name));
            renamed.map_err(|error| io_error("move", &path, &error))?;
            moved = true;
        } else if let Err(error) = disk.remove(&path) {
            // It is nobody's, and may be somebody else's.
            note!(warn, file = %path.display(), reason = %error, "what a copy has left could not be removed");
        }
    }
    // The next start finds a sound journal, and would remove what came back.
    for folder in aside.into_iter().chain([folder]).filter(|_| moved) {
        disk.sync_directory(folder).map_err(|error| io_error("sync", folder, &error))?;
    }
    Ok(())
}

impl Copies {
    pub(super) fn new(disk: Arc<dyn Disk>, data: &Path, vfs: Arc<Vfs>) -> Copies {
        Copies { disk, folder: folder_of(data), vfs }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A name for a copy; there is no such file.
    ///
    /// # Errors
    /// When the folder of copies cannot be made.
    pub(crate) fn new_file(&self) -> Result<CopyFile> {
        // Of the process: a copy that outlives its runtime removes its own file, and not one of the next runtime's.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let made = self.disk.create_dir_all(&self.folder);
        made.map_err(|error| io_error("create", &self.folder, &error))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(self.file_at(self.folder.join(format!("{number}{SUFFIX}"))))
    }

    /// A copy that lies elsewhere.
    fn file_at(&self, path: PathBuf) -> CopyFile {
        CopyFile { disk: Arc::clone(&self.disk), path, is_kept: false }
    }

    /// A copy that lies elsewhere, whose file is made. `None` if there is something of that name.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn make_at(&self, path: PathBuf) -> Result<Option<CopyFile>> {
        match private_file().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(Some(self.file_at(path))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(failed("write", &path, &error)),
        }
    }

    /// A private copy of a file from outside, and what SQLite has beside it: its log, or its rollback journal.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is no file, and when one cannot be read or written.
    pub(crate) fn take_in(&self, from: &Path) -> Result<(CopyFile, Vec<CopyFile>)> {
        let unreadable = |error: &io::Error| io_error("read", from, error);
        let copy = self.new_file()?;
        // Before it is opened: a pipe would wait for somebody who writes.
        if !std::fs::metadata(from).map_err(|error| unreadable(&error))?.is_file() {
            return Err(Error::new(ErrorKind::Invalid, format!("{} is no file", from.display())));
        }
        let file = std::fs::File::open(from).map_err(|error| unreadable(&error))?;
        let mut beside = Vec::new();
        copy_in(file, &copy.path).map_err(|error| failed("write", &copy.path, &error))?;
        for suffix in ["-wal", "-journal"] {
            let (from, to) = (with_suffix(from, suffix), with_suffix(&copy.path, suffix));
            // Removed in any case: SQLite may make them.
            beside.push(self.file_at(to.clone()));
            match std::fs::File::open(&from) {
                Ok(file) => copy_in(file, &to).map_err(|error| failed("write", &to, &error))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("read", &from, &error)),
            }
        }
        beside.push(self.file_at(with_suffix(&copy.path, "-shm")));
        let journal = with_suffix(&copy.path, "-journal");
        if names_another(&journal).map_err(|error| unreadable(&error))? {
            let text = format!(
                "the journal of {} names another file, which SQLite would remove: open it once with the program that wrote it",
                from.display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok((copy, beside))
    }

    /// A name beside a copy, for one that takes its place.
    pub(crate) fn successor(&self, copy: &CopyFile) -> CopyFile {
        self.file_at(with_suffix(&copy.path, "-new"))
    }

    /// Copies a copy, durably.
    ///
    /// # Errors
    /// [`ErrorKind::StorageFull`] and [`ErrorKind::Storage`] when that fails.
    pub(crate) fn duplicate(&self, from: &Path, to: &CopyFile) -> Result<()> {
        let copy = || {
            let target = self.disk.create(&to.path)?;
            if !self.disk.share(from, &to.path)? {
                let source = self.disk.open(from)?;
                let mut buffer = vec![0; CHUNK_BYTES];
                let mut offset = 0;
                loop {
                    let bytes = source.read_at(&mut buffer, offset)?;
                    if bytes == 0 {
                        break;
                    }
                    target.write_at(&buffer[..bytes], offset)?;
                    offset += bytes as u64;
                }
            }
            target.sync_data()
        };
        copy().map_err(|error| failed("write", &to.path, &error))
    }

    /// What a copy says of itself.
    ///
    /// # Errors
    /// When it cannot be read, or is no database of this engine's form.
    pub(crate) fn header(&self, copy: &CopyFile) -> Result<Header> {
        let store = self.store(copy);
        let read = || Ok((store.size()?, store.header()?.unwrap_or_default()));
        let (pages, header) = read().map_err(|error| failed("read", &copy.path, &error))?;
        Ok(Header { pages, ..header })
    }

    /// Changes a copy, durably, and gives when it would want to be woken if it were an object.
    ///
    /// # Errors
    /// Those of `amend`, and when the copy cannot be read or written.
    pub(crate) fn amend(
        &self,
        copy: &CopyFile,
        configure: &Configure,
        amend: &mut dyn FnMut(&Connection) -> Result<()>,
    ) -> Result<Wake> {
        let (store, file) = self.open(copy)?;
        file.overlay().set_limit(MIGRATION_BYTES_MAX);
        let wake = {
            let connection = open_connection(&file, configure)?;
            let mut run = || {
                sqlite::run(&connection, "/*durable*/BEGIN")?;
                amend(&connection)?;
                let wake = read_wake(&connection, &mut Absent::default()).map_err(sqlite::error)?;
                sqlite::run(&connection, "/*durable*/COMMIT")?;
                Ok(wake)
            };
            run().map_err(|error: Error| file.take_failure().unwrap_or(error))?
        };
        file.overlay().accept(EPOCH);
        let snapshot = file.overlay().snapshot();
        let write = || {
            if let Some(snapshot) = &snapshot {
                store.write(snapshot, Stamp::default())?;
            }
            self.disk.open(&copy.path)?.sync_data()
        };
        write().map_err(|error| failed("write", &copy.path, &error))?;
        Ok(wake)
    }

    /// An engine in which every object is this copy. What is written there is gone with it.
    pub(crate) fn trial(self: &Arc<Self>, copy: &CopyFile) -> Arc<dyn Engine> {
        Arc::new(CopyTrial { copies: Arc::clone(self), path: copy.path.clone() })
    }

    fn store(&self, copy: &CopyFile) -> Arc<FilePerObject> {
        self.store_at(&copy.path)
    }

    fn store_at(&self, path: &Path) -> Arc<FilePerObject> {
        let root = path.parent().unwrap_or(&self.folder);
        Arc::new(FilePerObject::at(Arc::clone(&self.disk), root, path.to_owned()))
    }

    fn open(&self, copy: &CopyFile) -> Result<(Arc<FilePerObject>, Arc<ObjectFile>)> {
        let store = self.store(copy);
        let size = store.size().map_err(|error| failed("read", &copy.path, &error))?;
        let overlay = Overlay::of_file(size);
        let file = ObjectFile::with_overlay(&self.vfs, Arc::clone(&store) as _, overlay);
        Ok((store, Arc::new(file)))
    }
}

/// The system copies, and lets the two share their bytes if it can.
fn copy_in(mut from: std::fs::File, to: &Path) -> io::Result<()> {
    let mut to = private_file().write(true).truncate(true).open(to)?;
    io::copy(&mut from, &mut to).map(|_| ())
}

/// Whether a rollback journal, if it is there, ends with the name of a journal of several databases, as the last eight bytes say.
/// When SQLite has rolled back it removes that file, whatever it is.
fn names_another(journal: &Path) -> io::Result<bool> {
    let mut file = match std::fs::File::open(journal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut end = [0; JOURNAL_MAGIC.len()];
    if file.metadata()?.len() < end.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    Ok(end == JOURNAL_MAGIC)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Of a file that is no object's.
pub(super) fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    if is_full(error) {
        let text = format!("cannot {verb} {}: {error}", path.display());
        return Error::new(ErrorKind::StorageFull, text);
    }
    io_error(verb, path, error)
}

impl CopyFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the copy what an object begins with at this commit: stamped, durable, and under its name.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn settle(mut self, folder: &Path, id: RawId, stamp: Stamp) -> Result<CopyFile> {
        let path = path_of(folder, id, stamp);
        let mut settle = || {
            let file = self.disk.open(&self.path)?;
            stamp.write_to(&*file)?;
            file.sync_data()?;
            drop(file);
            self.disk.rename(&self.path, &path)?;
            self.path.clone_from(&path);
            self.disk.sync_directory(folder)?;
            match folder.parent() {
                Some(data) => self.disk.sync_directory(data),
                None => Ok(()),
            }
        };
        settle().map_err(|error| failed("write", &path, &error))?;
        Ok(self)
    }

    /// Gives the file another name, under which it stays. One that is there is not overwritten.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when there is a file of that name, and when the disk fails.
    pub(crate) fn publish(self, path: &Path) -> Result<()> {
        let exists =
            || Error::new(ErrorKind::Exists, format!("{} is there already", path.display()));
        match std::fs::hard_link(&self.path, path) {
            // The other name goes with `self`.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            // Not all file systems have such links.
            Err(_) => {
                let is_there =
                    self.disk.exists(path).map_err(|error| io_error("find", path, &error))?;
                if is_there {
                    return Err(exists());
                }
                let renamed = self.disk.rename(&self.path, path);
                renamed.map_err(|error| failed("write", path, &error))?;
            }
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        self.disk.sync_directory(folder).map_err(|error| io_error("sync", folder, &error))
    }

    /// The file is not to be removed: an object has it, or may have.
    pub(super) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for CopyFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                note!(warn, file = %self.path.display(), reason = %error, "a copy could not be removed; the next start does that");
            }
            _ => {}
        }
    }
}

/// See [`Copies::trial`].
struct CopyTrial {
    copies: Arc<Copies>,
    path: PathBuf,
}

impl Engine for CopyTrial {
    fn open(&self, _: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        let store = self.copies.store_at(&self.path);
        let size = store.size().map_err(|error| failed("read", &self.path, &error))?;
        let vfs = &self.copies.vfs;
        let file = ObjectFile::with_overlay(vfs, store, Overlay::of_file(size));
        Ok(Box::new(TrialDatabase::open(Arc::new(file), &configure)?))
    }

    fn exists(&self, _: &ObjectKey) -> Result<bool> {
        Ok(true)
    }

    fn failed(&self) -> Receipt {
        Receipt::never()
    }

    fn files_per_object(&self) -> usize {
        1
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Copies({})", self.folder.display())
    }
}

/// How many bytes that many pages are.
pub(super) fn bytes_of(pages: u32) -> u64 {
    u64::from(pages) * PAGE as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::RealDisk;
    use crate::engine::files::simulated::SimulatedDisk;

    #[test]
    fn what_cannot_be_removed_keeps_nobody_from_starting() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(data.path().join("1/2")).unwrap();
        std::fs::write(data.path().join("3.copy"), "x").unwrap();
        clear(&RealDisk, data.path(), &HashSet::new(), None).unwrap();
        assert_eq!(RealDisk.list(data.path()).unwrap(), [data.path().join("1")]);
    }

    #[test]
    fn what_was_set_aside_stays_there() {
        for loss in 0..8 {
            let disk = SimulatedDisk::default();
            let [copies, aside] = ["/copies", "/aside"].map(Path::new);
            for folder in [copies, aside] {
                disk.create_dir_all(folder).unwrap();
            }
            disk.sync_directory(Path::new("/")).unwrap();
            disk.create(&copies.join("1.db")).unwrap();
            disk.sync_directory(copies).unwrap();
            clear(&disk, copies, &HashSet::new(), Some(aside)).unwrap();
            disk.power_loss(loss);
            assert!(disk.exists(&aside.join("1.db")).unwrap(), "{loss}");
        }
    }
}
