//! Where the pages of an object lie when they are not in memory.
//!
//! The guarantee: a file that a write-back has not finished says so in its header, and neither SQLite nor
//! this store takes it for a database; only a write-back can finish it. A file that is finished is a plain SQLite
//! database. Reading creates nothing.
//!
//! The mark is ordered against the pages for whoever looks while the system runs or after this process died. After a
//! loss of power the disk may have kept any of the writes since the last sync: then the
//! journal decides, which holds all of them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::ObjectKey;
use super::files::{Disk, DiskFile};
use super::overlay::{Image, PAGE, Snapshot};

/// The byte of a database's header that says by which journal it may be read.
const MARK_AT: usize = 19;
const INCOMPLETE: u8 = 0x80;
const COMPLETE: u8 = 1;

/// Which commit of an object its file holds. It stands in bytes 72 to 92 of the file, which SQLite's header
/// reserves and SQLite ignores: so the numbers go on when the object is opened again, without a row
/// that every commit would have to update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    /// Commits of the object so far.
    pub(crate) commit: u64,
    pub(crate) epoch: u32,
    /// The time of that commit in milliseconds: the next one is not earlier.
    pub(crate) time_ms: i64,
}

const STAMP_AT: usize = 72;
const STAMP_BYTES: usize = 20;

impl Stamp {
    /// Writes it into the file of a database.
    pub(crate) fn write_to(self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(&self.to_bytes(), STAMP_AT as u64)
    }

    fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.commit.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; STAMP_BYTES]) -> Stamp {
        let (commit, rest) = bytes.split_at(8);
        let (epoch, time_ms) = rest.split_at(4);
        let number =
            |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Stamp {
            commit: number(commit),
            epoch: u32::try_from(number(epoch)).unwrap_or(u32::MAX),
            time_ms: number(time_ms).cast_signed(),
        }
    }
}

/// Makes the file of a database a plain one: whole, and without a stamp.
pub(crate) fn clean(file: &dyn DiskFile) -> io::Result<()> {
    file.write_at(&[COMPLETE], MARK_AT as u64)?;
    file.write_at(&[0; STAMP_BYTES], STAMP_AT as u64)
}

/// What the first page of a database says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its size in pages.
    pub(crate) pages: u32,
    /// The number of its last migration, which SQLite keeps as the `user_version`.
    pub(crate) schema_version: u32,
}

const PAGES_AT: usize = 28;
const SCHEMA_VERSION_AT: usize = 60;
/// As much of the first page as it takes.
const HEADER_BYTES: usize = 100;

impl Header {
    /// Reads the first page, or as much of it as SQLite's header takes.
    pub(crate) fn of(page: &[u8]) -> Header {
        let number = |at: usize| {
            let bytes = page.iter().skip(at).take(4);
            bytes.fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        Header { pages: number(PAGES_AT), schema_version: number(SCHEMA_VERSION_AT) }
    }
}

/// The stored pages of one object.
///
/// One write-back at a time; reads may go on meanwhile, of pages that it does not write.
pub(crate) trait PageStore: Send + Sync + fmt::Debug {
    /// Reads a page, counted from 1.
    ///
    /// # Errors
    /// Also when the store ends before that page, or is incomplete.
    fn read(&self, number: u32, image: &mut Image) -> io::Result<()>;

    /// Reads pages one after the other, as the file has them: also from one that a write-back has left incomplete.
    ///
    /// # Errors
    /// Also when the store ends before the last of them.
    fn read_raw(&self, first: u32, pages: &mut [u8]) -> io::Result<()>;

    /// How many pages there are; 0 if nothing was ever written.
    ///
    /// # Errors
    /// Also when the length is not one of a database.
    fn size(&self) -> io::Result<u32>;

    /// Writes pages back. If this fails the store is incomplete, until a later write-back succeeds.
    fn write(&self, snapshot: &Snapshot, stamp: Stamp) -> io::Result<()>;

    /// Which commit the store holds; the default if nothing was ever written.
    fn stamp(&self) -> io::Result<Stamp>;

    /// From now on the store is this file, which is complete and durable, and lies elsewhere until it is
    /// [settled](Self::settle), written to or deleted.
    fn adopt(&self, file: PathBuf);

    /// Moves a file that was adopted to its place. A crash before leaves it where it was.
    fn settle(&self) -> io::Result<()>;

    /// Makes what was written or deleted durable.
    fn sync(&self) -> io::Result<()>;

    /// Removes it all. Not an error if there is nothing.
    fn delete(&self) -> io::Result<()>;

    /// Gives back the file descriptor, until the next use.
    fn release(&self);

    /// Where it is now.
    fn place(&self) -> PathBuf;
}

/// An object in a file of its own.
#[derive(Debug)]
pub(crate) struct FilePerObject {
    disk: Arc<dyn Disk>,
    /// The folder of all objects.
    root: PathBuf,
    path: PathBuf,
    /// Where the file still lies, if it was adopted.
    adopted: Mutex<Option<PathBuf>>,
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    /// Held by whoever writes. It says whether folders are to be synced.
    writer: Mutex<Writer>,
    /// Whether the mark in the file is of this store, which knows what is missing.
    marked: AtomicBool,
}

#[derive(Debug, Default)]
struct Writer {
    /// Not as long as this store has not done it: whoever made the file may have died before.
    is_name_synced: bool,
}

impl FilePerObject {
    /// The file of an object under the folder of all objects.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path, object: &ObjectKey) -> FilePerObject {
        FilePerObject::at(disk, root, object_path(root, object))
    }

    /// A database file that is no object's.
    pub(crate) fn at(disk: Arc<dyn Disk>, root: &Path, path: PathBuf) -> FilePerObject {
        FilePerObject {
            disk,
            root: root.to_owned(),
            path,
            adopted: Mutex::default(),
            file: Mutex::default(),
            writer: Mutex::default(),
            marked: AtomicBool::new(false),
        }
    }

    /// The same file, of which its user has in memory whatever an interrupted write-back left undone.
    pub(crate) fn mended(self) -> FilePerObject {
        self.marked.store(true, Ordering::Release);
        self
    }

    /// What the database says of itself; none if nothing was ever written.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn header(&self) -> io::Result<Option<Header>> {
        let file = match self.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0)?;
        Ok((read == HEADER_BYTES).then(|| Header::of(&bytes)))
    }

    fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        Ok(Arc::clone(file.insert(self.disk.open(&self.place())?)))
    }

    fn open_or_create(&self, writer: &mut Writer) -> io::Result<Arc<dyn DiskFile>> {
        match self.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        writer.is_name_synced = false;
        self.disk.create_dir_all(self.path.parent().unwrap_or(&self.root))?;
        let created = self.disk.create(&self.path)?;
        Ok(Arc::clone(self.file.lock().insert(created)))
    }

    /// A folder that is not there has no names to make durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        match self.disk.sync_directory(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }

    /// Reads the first page when it carries the mark. Waits for the write-back that may have set it.
    fn read_marked(&self, image: &mut Image) -> io::Result<()> {
        let _writer = self.writer.lock();
        read_full(&*self.open()?, image, 1)?;
        if image[MARK_AT] == INCOMPLETE {
            if !self.marked.load(Ordering::Acquire) {
                return Err(invalid("a write-back of the object's file was interrupted"));
            }
            image[MARK_AT] = COMPLETE;
        }
        Ok(())
    }
}

impl PageStore for FilePerObject {
    fn read(&self, number: u32, image: &mut Image) -> io::Result<()> {
        let marked = self.marked.load(Ordering::Acquire);
        match read_full(&*self.open()?, image, number) {
            // It had been closed, and has got its place meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                read_full(&*self.open()?, image, number)?;
            }
            read => read?,
        }
        if number != 1 || image[MARK_AT] != INCOMPLETE {
            return Ok(());
        }
        if marked {
            image[MARK_AT] = COMPLETE;
            return Ok(());
        }
        self.read_marked(image)
    }

    fn read_raw(&self, first: u32, pages: &mut [u8]) -> io::Result<()> {
        if self.open()?.read_at(pages, offset(first))? < pages.len() {
            return Err(invalid("the object's file is shorter than it was"));
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u32> {
        let len = match self.open() {
            Ok(file) => file.len()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        // A file is made by a write-back only. Taken for nothing, its object would begin anew.
        if len == 0 {
            return Err(invalid("the object's file is empty"));
        }
        if len % PAGE as u64 != 0 {
            return Err(invalid(format!("the object's file has a length of {len} bytes")));
        }
        u32::try_from(len / PAGE as u64).map_err(invalid)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let file = match self.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stamp::default()),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; STAMP_BYTES];
        match file.read_at(&mut bytes, STAMP_AT as u64)? {
            STAMP_BYTES => Ok(Stamp::from_bytes(bytes)),
            _ => Ok(Stamp::default()),
        }
    }

    fn write(&self, snapshot: &Snapshot, stamp: Stamp) -> io::Result<()> {
        self.settle()?;
        let mut writer = self.writer.lock();
        let file = self.open_or_create(&mut writer)?;
        self.marked.store(true, Ordering::Release);
        file.write_at(&[INCOMPLETE], MARK_AT as u64)?;
        write_marked(&*file, snapshot, stamp)?;
        self.marked.store(false, Ordering::Release);
        Ok(())
    }

    fn adopt(&self, file: PathBuf) {
        let _writer = self.writer.lock();
        *self.adopted.lock() = Some(file);
        self.file.lock().take();
    }

    fn settle(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        let Some(adopted) = self.adopted.lock().clone() else { return Ok(()) };
        self.disk.create_dir_all(self.path.parent().unwrap_or(&self.root))?;
        // Whoever opens it meanwhile waits, and finds it under its new name.
        let mut file = self.file.lock();
        self.disk.rename(&adopted, &self.path)?;
        *self.adopted.lock() = None;
        file.take();
        writer.is_name_synced = false;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        match self.open() {
            Ok(file) => file.sync_data()?,
            // It was deleted, and the folder is to say so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !writer.is_name_synced {
            let folders = self.path.ancestors().skip(1);
            for folder in folders.take_while(|folder| folder.starts_with(&self.root)) {
                self.sync_folder(folder)?;
            }
            if let Some(parent) = self.root.parent() {
                self.disk.sync_directory(parent)?;
            }
            writer.is_name_synced = true;
        }
        Ok(())
    }

    fn delete(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        self.file.lock().take();
        writer.is_name_synced = false;
        self.marked.store(false, Ordering::Release);
        match self.disk.remove(&self.place()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                *self.adopted.lock() = None;
                Ok(())
            }
        }
    }

    fn release(&self) {
        self.file.lock().take();
    }

    fn place(&self) -> PathBuf {
        self.adopted.lock().clone().unwrap_or_else(|| self.path.clone())
    }
}

fn write_marked(file: &dyn DiskFile, snapshot: &Snapshot, stamp: Stamp) -> io::Result<()> {
    let first = snapshot.pages.iter().find(|(number, _)| *number == 1);
    let len = u64::from(snapshot.size) * PAGE as u64;
    let len_before = file.len()?;
    if first.is_none() && len_before < PAGE as u64 {
        return Err(invalid("the first page of a new file is missing"));
    }
    if len_before != len {
        file.set_len(len)?;
    }
    for (number, page) in snapshot.pages.iter().filter(|(number, _)| *number != 1) {
        file.write_at(&page[..], offset(*number))?;
    }
    match first {
        Some((_, page)) if page[MARK_AT] != INCOMPLETE => {
            let mut stamped = **page;
            stamped[STAMP_AT..STAMP_AT + STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
            file.write_at(&stamped, 0)
        }
        Some(_) => Err(invalid("the first page carries the mark of an incomplete file")),
        None => {
            file.write_at(&stamp.to_bytes(), STAMP_AT as u64)?;
            file.write_at(&[COMPLETE], MARK_AT as u64)
        }
    }
}

fn offset(number: u32) -> u64 {
    u64::from(number.saturating_sub(1)) * PAGE as u64
}

fn read_full(file: &dyn DiskFile, image: &mut Image, number: u32) -> io::Result<()> {
    if file.read_at(image, offset(number))? < PAGE {
        let text = format!("the object's file ends before page {number}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(())
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Where the file of an object is, under the folder of all objects.
pub(super) fn object_path(root: &Path, object: &ObjectKey) -> PathBuf {
    let id = object.id.to_string();
    // Not the first byte, which is the jurisdiction and the same for most.
    let shard = &id[2..4];
    root.join(escape(&object.class)).join(shard).join(format!("{id}.db"))
}

/// A class key as a folder name, also on file systems that ignore case: a capital letter is `+` and the
/// small one, and every byte but `a-z 0-9 _ -` is `%` and two hex digits.
pub(super) fn escape(class: &str) -> String {
    class.bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'A'..=b'Z' => name.extend(['+', char::from(byte.to_ascii_lowercase())]),
            _ => name.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
        name
    })
}

/// Whose file this is, by its path under the folder of all objects; `None` if it is no object's.
pub(super) fn object_at(root: &Path, path: &Path) -> Option<ObjectKey> {
    let id = path.file_name()?.to_str()?.strip_suffix(".db")?.parse().ok()?;
    let class = unescape(path.parent()?.parent()?.file_name()?.to_str()?)?;
    let key = ObjectKey { class: class.into(), id };
    (key.id.belongs_to(&key.class) && object_path(root, &key) == path).then_some(key)
}

/// The class key of a folder.
pub(super) fn unescape(folder: &str) -> Option<String> {
    let mut class = Vec::new();
    let mut rest = folder.bytes();
    while let Some(byte) = rest.next() {
        class.push(match byte {
            b'+' => rest.next()?.to_ascii_uppercase(),
            b'%' => {
                let digits =
                    [rest.next()?, rest.next()?].map(|ascii| char::from(ascii).to_digit(16));
                u8::try_from(digits[0]? << 4 | digits[1]?).ok()?
            }
            other => other,
        });
    }
    let class = String::from_utf8(class).ok()?;
    (escape(&class) == folder).then_some(class)
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('?')
}

#[cfg(test)]
mod tests;
