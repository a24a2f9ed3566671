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
//!    mixture of states since the last mark: pages that have an entry since then are not read from it again.
//! 4. Entries may repeat, and after a crash they do; of two that say how a page was before the same state, the first one is true.
//! 5. Every entry says between which commits it leads. A chain that does not lead to the commit that the file says it holds is
//!    not followed: files that were removed, put back from a copy, or changed while the history was off.
//!
//! History yields: when it cannot be written, all of it is given up and begins anew, with an error in the log; when the disk is full,
//! its oldest files go first. No commit and no checkpoint fails for it.

mod file;
mod past;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::file::Reach;
use self::file::{Archive, Head, Kind, Place, Writer};
pub(crate) use self::past::Rebuilt;
use super::ObjectKey;
use super::directory::io_error;
use super::files::{Disk, is_full};
use super::pagestore::{PageStore, Stamp};
use super::record::{Commit, Draft, Effects, PAGE_BYTES, Position};
use super::scan;
use crate::Result;
use crate::id::RawId;
use crate::observe::events::note;

const FOLDER: &str = "history";
const SUFFIX: &str = ".history";
/// From this length on the next file is begun.
const FILE_BYTES: u64 = if cfg!(test) { 64 * 1_024 } else { 16 * 1_024 * 1_024 };
/// Commits are gathered, to lie together for each object, up to so many bytes.
const GATHERED_BYTES: usize = 8 * 1_024 * 1_024;
/// Pages in one entry.
const PAGES_AT_ONCE: usize = 256;

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
}

impl Default for HistoryLimits {
    fn default() -> Self {
        HistoryLimits { keep_ms: 30 * 24 * 3_600 * 1_000, bytes: 1_024 * 1_024 * 1_024 }
    }
}

/// What a write-back is about to do to an object's file.
pub(crate) struct WriteBack<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) store: &'a dyn PageStore,
    /// What the file holds, or held when a write-back that failed began.
    pub(crate) from: Stamp,
    /// Its pages; 0: there is none.
    pub(crate) size: u32,
    pub(crate) to: Stamp,
    pub(crate) removes: bool,
    /// Pages that change or are cut off.
    pub(crate) pages: Vec<u32>,
}

/// The history of all objects of a data directory.
#[derive(Debug)]
pub(crate) struct History {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    journal: PathBuf,
    limits: HistoryLimits,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    /// The last file, once something was written to it.
    writer: Option<Writer>,
    /// All files, the oldest first.
    files: Vec<Kept>,
    /// Journal before this position is copied.
    copied: Position,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    path: PathBuf,
    bytes: u64,
    /// Everything in the files before is older.
    begun_ms: i64,
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

impl History {
    /// Opens the history of a data directory; with limits that keep nothing, what there is is removed.
    ///
    /// # Errors
    /// When the folder cannot be read or made.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        data: &Path,
        limits: HistoryLimits,
    ) -> Result<Option<History>> {
        let folder = data.join(FOLDER);
        let paths = || if disk.exists(&folder)? { disk.list(&folder) } else { Ok(Vec::new()) };
        let paths = paths().map_err(|error| io_error("list", &folder, &error))?;
        let mut files = Vec::new();
        for path in paths {
            let Some(number) = number_of(&path) else { continue };
            let archive =
                if limits.keep_ms == 0 { Ok(None) } else { Archive::open(&*disk, &path, number) };
            let archive = archive.map_err(|error| io_error("read", &path, &error))?;
            // One without a head is of a start that died.
            let Some(archive) = archive else {
                disk.remove(&path).map_err(|error| io_error("remove", &path, &error))?;
                continue;
            };
            let bytes = disk.open(&path).and_then(|file| file.len());
            let bytes = bytes.map_err(|error| io_error("read", &path, &error))?;
            files.push(Kept { number, path, bytes, begun_ms: archive.begun_ms });
        }
        if limits.keep_ms == 0 {
            return Ok(None);
        }
        let made = disk.create_dir_all(&folder).and_then(|()| disk.sync_directory(data));
        made.map_err(|error| io_error("create", &folder, &error))?;
        files.sort_unstable_by_key(|file| file.number);
        let journal = data.join("journal");
        let active = Mutex::new(Active { files, ..Active::default() });
        let history = History { disk, folder, journal, limits, active };
        history.go_on().map_err(|error| io_error("read", &history.folder, &error))?;
        Ok(Some(history))
    }

    /// Goes on with the last file, unless its end was torn.
    fn go_on(&self) -> io::Result<()> {
        let mut active = self.active.lock();
        let Some(last) = active.files.last() else { return Ok(()) };
        let Some(archive) = Archive::open(&*self.disk, &last.path, last.number)? else {
            return Ok(());
        };
        if let Some(end) = archive.sound_end()? {
            let writer = Writer::append(&*self.disk, &last.path, end)?;
            active.writer = Some(writer);
        }
        Ok(())
    }

    /// The journal begins here: what lies before is copied, or was never to be.
    pub(crate) fn set_copied(&self, position: Position) {
        self.active.lock().copied = position;
    }

    /// Copies the commits of the journal up to a position, which are durable, and makes the copies durable.
    pub(crate) fn copy_commits(&self, to: Position, now_ms: i64) {
        let from = self.active.lock().copied;
        self.write(now_ms, &mut |writer| {
            let mut gathered = Gathered::default();
            scan::read(&*self.disk, &self.journal, from, to, |head, flags, payload| {
                gathered.add(writer, head, flags, payload)
            })?;
            gathered.write(writer)?;
            writer.sync()
        });
        self.active.lock().copied = to;
    }

    /// Keeps the pages that write-backs are about to change, and makes them durable.
    pub(crate) fn before(&self, write_backs: &[WriteBack<'_>], now_ms: i64) {
        if write_backs.is_empty() {
            return;
        }
        self.write(now_ms, &mut |writer| {
            for write_back in write_backs {
                write_back.push(writer)?;
            }
            writer.sync()
        });
    }

    /// How far it is: what was kept before lies before.
    pub(crate) fn reach(&self) -> Reach {
        let active = self.active.lock();
        let file = active.files.last().map_or(0, |last| last.number);
        match &active.writer {
            Some(writer) => Reach { file, offset: writer.len() },
            None => Reach { file: file + 1, offset: 0 },
        }
    }

    /// All write-backs of what was kept before are durable. Begins another file if this one is long enough, and removes what is too old or too much.
    pub(crate) fn mark(&self, up_to: Reach, now_ms: i64) {
        self.write(now_ms, &mut |writer| {
            writer.push(&Head::mark(up_to), &[])?;
            writer.sync()
        });
        let mut active = self.active.lock();
        // Of all that is kept for a month, a day is removed at once.
        let age_max = self.limits.keep_ms / 30;
        let is_old = |last: &Kept| now_ms.saturating_sub(last.begun_ms) > age_max;
        if active.files.last().is_some_and(|last| last.bytes > FILE_BYTES || is_old(last)) {
            active.writer = None;
        }
        self.retire(&mut active, now_ms);
    }

    /// Removes files, the oldest first, that hold nothing young enough or are too many bytes. Never the one that is written to.
    fn retire(&self, active: &mut Active, now_ms: i64) {
        let oldest_ms = now_ms.saturating_sub(self.limits.keep_ms);
        loop {
            let bytes: u64 = active.files.iter().map(|file| file.bytes).sum();
            let is_past = match &active.files[..] {
                [_, next, ..] => next.begun_ms < oldest_ms || bytes > self.limits.bytes,
                [_] => active.writer.is_none() && bytes > self.limits.bytes,
                [] => false,
            };
            if !is_past || self.remove_oldest(active).is_err() {
                return;
            }
        }
    }

    fn remove_oldest(&self, active: &mut Active) -> io::Result<()> {
        let Some(oldest) = active.files.first() else { return Ok(()) };
        match self.disk.remove(&oldest.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        active.files.remove(0);
        Ok(())
    }

    /// Writes something. When that fails, all history is given up; when the disk is full, the oldest first.
    fn write(&self, now_ms: i64, write: &mut dyn FnMut(&mut Writer) -> io::Result<()>) {
        let mut active = self.active.lock();
        loop {
            let Err(error) = self.try_write(&mut active, now_ms, write) else { return };
            // What it ends with may be torn.
            active.writer = None;
            if is_full(&error) && active.files.len() > 1 && self.remove_oldest(&mut active).is_ok()
            {
                note!(
                    warn,
                    "the disk is full: the oldest part of the objects' history was removed"
                );
                continue;
            }
            note!(error, reason = %error, "the objects' history could not be written, and begins anew");
            while !active.files.is_empty() {
                if let Err(error) = self.remove_oldest(&mut active) {
                    note!(error, reason = %error, "a file of the objects' history could not be removed");
                    active.files.remove(0);
                }
            }
            return;
        }
    }

    fn try_write(
        &self,
        active: &mut Active,
        now_ms: i64,
        write: &mut dyn FnMut(&mut Writer) -> io::Result<()>,
    ) -> io::Result<()> {
        if active.writer.is_none() {
            let number = active.files.last().map_or(1, |last| last.number + 1);
            let path = path_of(&self.folder, number);
            let begun_ms = active.files.last().map_or(now_ms, |last| now_ms.max(last.begun_ms));
            active.files.push(Kept { number, path: path.clone(), bytes: 0, begun_ms });
            let mut writer = Writer::create(&*self.disk, &path, begun_ms)?;
            writer.sync()?;
            self.disk.sync_directory(&self.folder)?;
            active.writer = Some(writer);
        }
        let Active { writer: Some(writer), files, .. } = active else { return Ok(()) };
        let written = write(writer);
        if let Some(last) = files.last_mut() {
            last.bytes = writer.len();
        }
        written
    }

    /// All files, the oldest first, as they are now.
    fn archives(&self) -> io::Result<Vec<Archive>> {
        let files = |file: &Kept| (file.path.clone(), file.number);
        let files: Vec<_> = self.active.lock().files.iter().map(files).collect();
        let mut archives = Vec::with_capacity(files.len());
        for (path, number) in files {
            match Archive::open(&*self.disk, &path, number) {
                Ok(archive) => archives.extend(archive),
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(archives)
    }

    /// What was written since the last mark, by object: pages whose state before cannot be read from their files any more.
    pub(crate) fn unmarked(&self) -> io::Result<HashMap<RawId, Unmarked>> {
        let archives = self.archives()?;
        let mut entries: Vec<(usize, Place)> = Vec::new();
        for (index, archive) in archives.iter().enumerate() {
            archive.scan(|place| match place.head.kind {
                Kind::Mark => entries
                    .retain(|(index, open)| archives[*index].reach(open) >= place.head.reach()),
                Kind::Before => entries.push((index, place)),
                Kind::Commits => {}
            })?;
        }
        let (mut unmarked, mut removed) = (HashMap::new(), HashMap::new());
        for (index, place) in entries {
            let Some(body) = archives[index].body(&place)? else { continue };
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
        Ok(unmarked)
    }
}

impl WriteBack<'_> {
    /// The pages of a file of this size that a write-back of these pages changes or cuts off.
    pub(crate) fn touched(
        size: u32,
        written: impl Iterator<Item = u32>,
        size_after: u32,
        known: Option<&BTreeSet<u32>>,
    ) -> Vec<u32> {
        let within = written.filter(|number| *number <= size.min(size_after));
        let all = within.chain(size_after.saturating_add(1)..=size);
        all.filter(|number| known.is_none_or(|known| !known.contains(number))).collect()
    }

    fn push(&self, writer: &mut Writer) -> io::Result<()> {
        let head = Head {
            kind: Kind::Before,
            id: self.key.id,
            from: self.from,
            to: self.to,
            size: self.size,
            removes: self.removes,
        };
        let mut image = [0; PAGE_BYTES];
        let mut rest = &self.pages[..];
        // One entry at least, also of a file that is made or only gets longer.
        loop {
            let (pages, later) = rest.split_at(rest.len().min(PAGES_AT_ONCE));
            let draft = Draft::new(&Commit {
                object: self.key,
                epoch: self.from.epoch,
                number: self.from.commit,
                time_ms: self.from.time_ms,
                database_pages: self.size,
                effects: Effects::default(),
                name: None,
                location_hint: None,
                wake: None,
            });
            let mut draft = draft.map_err(io::Error::other)?;
            for number in pages {
                if let Err(error) = self.store.read(*number, &mut image) {
                    note!(warn, class = %self.key.class, id = %self.key.id, reason = %error, "an object's history begins anew: its file cannot be read");
                    return writer.push(&head.gap(), &[]);
                }
                draft.page(*number, None, &image);
            }
            writer.push(&head, &draft.into_body())?;
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Commits in the order of the journal, sorted by object.
#[derive(Default)]
struct Gathered {
    objects: BTreeMap<RawId, (Stamp, Stamp, Vec<u8>)>,
    bytes: usize,
}

impl Gathered {
    fn add(
        &mut self,
        writer: &mut Writer,
        head: super::record::Head<'_>,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let time_ms = payload.first_chunk().map_or(0, |time| i64::from_le_bytes(*time));
        let stamp = Stamp { commit: head.number, epoch: head.epoch, time_ms };
        let object = self.objects.entry(head.id).or_insert_with(|| (stamp, stamp, Vec::new()));
        object.1 = stamp;
        let before = object.2.len();
        past::push_commit(&mut object.2, stamp, flags, payload)?;
        self.bytes += object.2.len() - before;
        if self.bytes > GATHERED_BYTES { self.write(writer) } else { Ok(()) }
    }

    fn write(&mut self, writer: &mut Writer) -> io::Result<()> {
        self.bytes = 0;
        for (id, (from, to, body)) in std::mem::take(&mut self.objects) {
            let head = Head { kind: Kind::Commits, id, from, to, size: 0, removes: false };
            writer.push(&head, &body)?;
        }
        Ok(())
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{SUFFIX}"))
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}
