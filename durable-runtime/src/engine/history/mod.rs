//! The past of objects: what they were after earlier commits, kept for a time.
//!
//! The guarantee: what is rebuilt of an object at one of its commits is, page by page, what it was then; where that cannot be
//! proven from what is kept, it is refused. Keeping it costs the commits nothing: it is done by the threads that write objects'
//! files and before the journal lets its segments go.
//!
//! The idea: **the present is the base, and the past is how to come back from it.** Two kinds of entries are appended
//! to one file for all objects:
//! - *Before* a write-back changes pages of an object's file, the pages as they are there, and how long the file is. Applied
//!   in reverse, from the file as it is now, they give the object as it was before any write-back.
//! - *Commits* are copied out of the journal before their segments are recycled. Applied to the state before a write-back
//!   they give the object after each commit in between.
//!
//! So no copy of a whole database is ever made, an object that existed before its history began needs no base, and the oldest
//! files can be removed at any time: what is newer does not depend on them.
//!
//! Rules that make it correct:
//! 1. The pages before a write-back are durable before the write-back begins. All objects of a checkpoint share one sync, and so do all
//!    objects that are closed while one such round runs: with a history it is the checkpoint's thread that writes the files of closed objects.
//! 2. A commit is here, durably, before a checkpoint lets its segment go; only commits that are durable in the journal are copied.
//! 3. A *mark* says that all write-backs before a place are durable. After a crash, or a write-back that failed, a file may hold any
//!    mixture of states since the last mark: pages that have an entry since then are not read from it again. Where it cannot be known
//!    which these are, since history began anew or a file of it is gone, none is read: the object's history begins with what recovery writes.
//! 4. Entries may repeat, and after a crash they do; of two that say how a page was before the same state, the first one is true. One that
//!    counts on an earlier one says so, and is worth nothing once that is removed.
//! 5. Every entry says between which commits it leads. A chain that does not lead to the commit that the file says it holds is
//!    not followed: files that were removed, put back from a copy, or changed while the history was off. Nor does it lead over a file of the
//!    history that is missing or damaged.
//! 6. An *erasure* ends what is kept of an object before a place, at once. The place lies before a mark, so rule 3 needs nothing of it.
//!
//! History yields: when it cannot be written, all of it is given up and begins anew, with an error in the log; when the disk is full,
//! its oldest files go first. No commit and no checkpoint fails for it.
//!
//! It lags behind the journal by what was committed since the last checkpoint began, and never by more: copying is a part of every checkpoint,
//! and comes before anything of it that may fail but the journal itself. Whoever looks something up makes a checkpoint first.
//!
//! A file that is not written to any more is rewritten in the background: sorted, packed and with an index ([`sorted`], [`compact`]). A lookup
//! reads a few blocks of each such file, and the heads of the entries of those that are not sorted yet. Opening reads the head of each file (32 bytes), and of
//! the last one the heads of its entries, with the bodies that no mark follows.

mod append;
mod compact;
mod file;
mod past;
mod sorted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::append::Writing;
pub(crate) use self::append::{Pages, WriteBack};
pub(crate) use self::compact::Compactor;
use self::compact::Signal;
pub(crate) use self::file::Reach;
use self::file::{Archive, FILE_HEAD_BYTES, Form, HEAD_BYTES, Head, Kind, Place, Writer};
#[cfg(feature = "admin")]
pub(crate) use self::past::Moments;
pub(crate) use self::past::Rebuilt;
use super::files::Disk;
use super::pagestore::Stamp;
use crate::id::RawId;
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

const FOLDER: &str = "history";
const SUFFIX: &str = ".history";
/// A file that is being sorted.
const SUFFIX_NEW: &str = ".history.new";
/// From this length on the next file is begun.
const FILE_BYTES: u64 = if cfg!(test) { 64 * 1_024 } else { 16 * 1_024 * 1_024 };
/// Of all that is kept for a month, a day is removed at once.
const PARTS_OF_TIME: i64 = 30;

/// A commit of an object, in the order in which they were made: an object that is created anew has a greater epoch, or goes on counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Point {
    pub(crate) epoch: u32,
    pub(crate) commit: u64,
}

impl From<Stamp> for Point {
    fn from(stamp: Stamp) -> Point {
        Point { epoch: stamp.epoch, commit: stamp.commit }
    }
}

/// How much past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryLimits {
    /// For how long, in milliseconds; 0: none is kept.
    pub(crate) keep_ms: i64,
    /// How much of the disk it may take.
    pub(crate) bytes: u64,
}

impl HistoryLimits {
    /// No history.
    pub(crate) const OFF: HistoryLimits = HistoryLimits { keep_ms: 0, bytes: 0 };

    /// Nothing is ever removed.
    pub(crate) const ALL: HistoryLimits = HistoryLimits { keep_ms: i64::MAX, bytes: u64::MAX };
}

impl Default for HistoryLimits {
    fn default() -> Self {
        HistoryLimits { keep_ms: 30 * 24 * 3_600 * 1_000, bytes: 1_024 * 1_024 * 1_024 }
    }
}

/// The history of all objects of a data directory.
#[derive(Debug)]
pub(crate) struct History {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    journal: PathBuf,
    limits: HistoryLimits,
    /// Held by whoever appends, also while he syncs.
    writing: Mutex<Writing>,
    /// All files, the oldest first. Held for moments, and taken last.
    files: Mutex<Vec<Kept>>,
    /// The objects that the next checkpoint is to erase.
    erasures: Mutex<Vec<RawId>>,
    /// Held by whoever rewrites files. One at a time.
    compacting: Mutex<()>,
    signal: Signal,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// It stands for the files from this number on.
    first: u64,
    number: u64,
    path: PathBuf,
    bytes: u64,
    /// Everything in the files before is older.
    begun_ms: i64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is written to.
    Open,
    /// It is to be sorted.
    Finished,
    Sorted,
    /// Sorting it failed, and is not tried again by this process.
    Left,
}

/// The write-backs of an object since the last mark.
#[derive(Debug)]
pub(crate) struct Unmarked {
    pub(crate) from: Stamp,
    /// Where the last of them leads.
    pub(crate) to: Stamp,
    pub(crate) size: u32,
    pub(crate) pages: BTreeSet<u32>,
}

/// What is kept of an object.
#[derive(Debug, Default)]
struct Found {
    archives: Vec<Archive>,
    /// With the archive of each. Those of a kind are in order.
    places: Vec<(usize, Place)>,
    /// All marks, in order.
    marks: Vec<Reach>,
    /// When what was kept before was given up.
    anew_ms: Option<i64>,
}

impl History {
    /// Opens the history of a data directory; with limits that keep nothing, what there is is removed. Where its files cannot be used, all of
    /// them are set aside, and the history begins anew: what is not written on must not be taken for the past later.
    ///
    /// # Errors
    /// When a file is of a newer version; and when files that cannot be used cannot be set aside, or nobody asked for more than a look.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        data: &Path,
        limits: HistoryLimits,
    ) -> Result<Option<History>> {
        let failed = |error: io::Error| Error::new(ErrorKind::Storage, error);
        match History::try_open(Arc::clone(&disk), data, limits) {
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported || limits == HistoryLimits::ALL =>
            {
                Err(failed(error))
            }
            Err(error) => {
                let Ok(aside) = set_aside(&*disk, data) else { return Err(failed(error)) };
                note!(error, reason = %error, aside = %aside.display(), "the objects' history cannot be used: it was set aside, and begins anew");
                History::try_open(disk, data, limits).map_err(failed)
            }
            opened => opened.map_err(failed),
        }
    }

    fn try_open(
        disk: Arc<dyn Disk>,
        data: &Path,
        limits: HistoryLimits,
    ) -> io::Result<Option<History>> {
        let folder = data.join(FOLDER);
        let list = || if disk.exists(&folder)? { disk.list(&folder) } else { Ok(Vec::new()) };
        let paths = list().map_err(|error| naming("list", &folder, &error))?;
        let mut files: Vec<Kept> = Vec::new();
        for path in paths {
            let kept = if is_unfinished(&path) || limits.keep_ms == 0 {
                Ok(None)
            } else {
                Kept::read(&*disk, &path)
            };
            match kept.map_err(|error| naming("read", &path, &error))? {
                Some(kept) => files.push(kept),
                // One without a head is of a start that died.
                None if is_unfinished(&path) || number_of(&path).is_some() => {
                    disk.remove(&path).map_err(|error| naming("remove", &path, &error))?;
                }
                None => {}
            }
        }
        if limits.keep_ms == 0 {
            if disk.exists(&folder)? {
                disk.sync_directory(&folder)?;
            }
            return Ok(None);
        }
        let made = disk.create_dir_all(&folder).and_then(|()| disk.sync_directory(data));
        made.map_err(|error| naming("create", &folder, &error))?;
        files.sort_unstable_by_key(|file| file.number);
        for covered in take_covered(&mut files) {
            let removed = disk.remove(&covered.path);
            removed.map_err(|error| naming("remove", &covered.path, &error))?;
        }
        let history = History {
            disk,
            journal: data.join("journal"),
            limits,
            writing: Mutex::new(Writing::after(files.last().map_or(0, |last| last.number))),
            files: Mutex::new(files),
            erasures: Mutex::default(),
            compacting: Mutex::default(),
            signal: Signal::default(),
            folder,
        };
        history.go_on().map_err(|error| naming("read", &history.folder, &error))?;
        Ok(Some(history))
    }

    /// Goes on with the last file, unless it is sorted or its end was torn.
    fn go_on(&self) -> io::Result<()> {
        let mut files = self.files.lock();
        let Some(last) = files.last_mut().filter(|last| last.state == State::Finished) else {
            return Ok(());
        };
        let Some(archive) = Archive::open(&*self.disk, &last.path, last.number)? else {
            return Ok(());
        };
        if let Some(end) = archive.sound_end()? {
            self.writing.lock().go_on(Writer::append(&*self.disk, &last.path, end)?);
            last.state = State::Open;
        }
        Ok(())
    }

    /// Removes files, the oldest first, that hold nothing young enough or are too many bytes. Never the one that is written to.
    fn retire(&self, now_ms: i64) {
        let oldest_ms = now_ms.saturating_sub(self.limits.keep_ms);
        let mut files = self.files.lock();
        loop {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            let is_past = match &files[..] {
                [_, next, ..] => next.begun_ms < oldest_ms || bytes > self.limits.bytes,
                [last] => last.state != State::Open && bytes > self.limits.bytes,
                [] => false,
            };
            if !is_past || self.remove_oldest(&mut files).is_err() {
                return;
            }
        }
    }

    fn remove_oldest(&self, files: &mut Vec<Kept>) -> io::Result<()> {
        let Some(oldest) = files.first() else { return Ok(()) };
        self.remove(&oldest.path)?;
        files.remove(0);
        Ok(())
    }

    /// Removes a file that must not be found again: without a head it is none.
    fn give_up(&self, path: &Path) -> io::Result<()> {
        self.remove(path).or_else(|error| {
            let file = self.disk.open(path)?;
            file.set_len(0)?;
            file.sync_data().map_err(|_| error)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All files, the oldest first, as they are now.
    fn archives(&self) -> io::Result<Vec<Archive>> {
        let files = |file: &Kept| (file.path.clone(), file.number);
        let files: Vec<_> = self.files.lock().iter().map(files).collect();
        let mut archives: Vec<Archive> = Vec::with_capacity(files.len());
        for (path, number) in files {
            match Archive::open(&*self.disk, &path, number) {
                Ok(archive) => {
                    let Some(archive) = archive else { continue };
                    // Meanwhile it may have come to stand for some before.
                    archives.retain(|before| before.number < archive.head.first);
                    archives.push(archive);
                }
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(archives)
    }

    /// All that is kept of an object, and must be followed.
    fn look_up(&self, id: RawId) -> io::Result<Found> {
        let mut found = Found { archives: self.archives()?, ..Found::default() };
        let mut next = None;
        for (index, archive) in found.archives.iter().enumerate() {
            // What a missing file said nobody knows.
            if next.is_some_and(|next| next != archive.head.first) {
                found.places.clear();
            }
            next = Some(archive.number + 1);
            let entries = match archive.entries(Some(id)) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tell_damaged(archive, &error);
                    found.places.clear();
                    continue;
                }
                entries => entries?,
            };
            if entries.notes.anew_ms.is_some() {
                found.places.clear();
                found.anew_ms = entries.notes.anew_ms;
            }
            found.marks.extend(entries.notes.marks);
            for place in entries.places {
                match place.head.kind {
                    Kind::Erase => {
                        found.places.retain(|(_, kept)| kept.reach >= place.head.up_to());
                    }
                    _ => found.places.push((index, place)),
                }
            }
        }
        found.marks.sort_unstable();
        Ok(found)
    }

    /// What was written since the last mark, by object: pages whose state before cannot be read from their files any more. `None` where
    /// that cannot be known.
    pub(crate) fn unmarked(&self) -> io::Result<Option<HashMap<RawId, Unmarked>>> {
        let files = self.files.lock().clone();
        let mut durable: Option<Reach> = None;
        let mut entries: Vec<(Archive, Vec<Place>)> = Vec::new();
        // As far back as the last mark reaches, which is hardly ever further than the last file.
        for file in files.iter().rev() {
            let is_next = entries.last().is_none_or(|(next, _)| next.head.first == file.number + 1);
            let archive = Archive::open(&*self.disk, &file.path, file.number)?;
            let Some(archive) = archive.filter(|_| is_next) else { return Ok(None) };
            let found = match archive.entries(None) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tell_damaged(&archive, &error);
                    return Ok(None);
                }
                found => found?,
            };
            durable = durable.max(found.notes.marks.into_iter().max());
            let first = archive.head.first;
            entries.push((archive, found.places));
            if let Some(durable) = durable.filter(|durable| durable.file >= first) {
                return unmarked_since(durable, &entries).map(Some);
            }
            // What was written before is in none of them.
            if found.notes.anew_ms.is_some() {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// What was written from a place on. The latest file is the first one.
fn unmarked_since(
    durable: Reach,
    entries: &[(Archive, Vec<Place>)],
) -> io::Result<HashMap<RawId, Unmarked>> {
    let mut unmarked: HashMap<RawId, Unmarked> = HashMap::new();
    let mut removed: HashMap<RawId, Point> = HashMap::new();
    for (archive, places) in entries.iter().rev() {
        let is_open = |place: &&Place| place.head.kind == Kind::Before && place.reach >= durable;
        for place in places.iter().filter(is_open) {
            let Some(body) = archive.body(place)? else { continue };
            let Head { id, from, to, size, removes, .. } = place.head;
            // After a removal there is no file; if there is one all the same, it was adopted.
            if removed.remove(&id).is_some_and(|at| size > 0 && Point::from(from) > at) {
                unmarked.remove(&id);
            }
            if removes {
                removed.insert(id, Point::from(to));
            }
            let known = unmarked.entry(id).or_insert_with(|| Unmarked {
                from,
                to,
                size,
                pages: BTreeSet::new(),
            });
            known.to = to;
            known.pages.extend(past::pages_of(&body).map(|entry| entry.number));
        }
    }
    Ok(unmarked)
}

impl Kept {
    /// A file as it is found; `None` if it is none, or has no head.
    fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Kept>> {
        let Some(number) = number_of(path) else { return Ok(None) };
        let Some(archive) = Archive::open(disk, path, number)? else {
            // Nothing is written behind a head that is not durable, but what a file begins with.
            let is_begun = disk.open(path)?.len()? > FILE_HEAD_BYTES + HEAD_BYTES as u64;
            return if is_begun { Err(headless()) } else { Ok(None) };
        };
        let state = match archive.head.form {
            Form::Appended => State::Finished,
            Form::Sorted => State::Sorted,
        };
        let (first, begun_ms) = (archive.head.first, archive.head.begun_ms);
        let bytes = archive.file.len()?;
        Ok(Some(Kept { first, number, path: path.to_owned(), bytes, begun_ms, state }))
    }
}

fn headless() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its head is damaged")
}

/// Takes out the files that others stand for: those were made of them, and the end of it was interrupted.
fn take_covered(files: &mut Vec<Kept>) -> Vec<Kept> {
    let mut first = u64::MAX;
    let mut covered = Vec::new();
    for index in (0..files.len()).rev() {
        if files[index].number >= first {
            covered.push(files.remove(index));
        } else {
            first = files[index].first;
        }
    }
    covered
}

/// Gives the folder another name, under which nothing is looked for. Says which.
fn set_aside(disk: &dyn Disk, data: &Path) -> io::Result<PathBuf> {
    let folder = data.join(FOLDER);
    for number in 1_u32.. {
        let aside = data.join(format!("{FOLDER}-unusable-{number}"));
        if !disk.exists(&aside)? {
            disk.rename(&folder, &aside)?;
            disk.sync_directory(data)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn naming(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}

fn tell_damaged(archive: &Archive, error: &io::Error) {
    let path = archive.path.display();
    note!(error, %path, reason = %error, "a file of the objects' history is damaged: what is older is lost");
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{SUFFIX}"))
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX_NEW))
}
