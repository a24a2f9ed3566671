//! Appending to the history: what checkpoints, evictions and recovery keep.
//!
//! A checkpoint syncs once, before its write-backs begin. Its commits, copied before, are made durable by the same sync, and its mark
//! by that of the next one: a mark that is lost only makes recovery trust fewer pages of the files. The first one of a process is synced itself,
//! so that there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::file::{FileHead, Form, Head, Reach, Writer};
use super::{FILE_BYTES, History, Kept, PARTS_OF_TIME, State, past, path_of};
use crate::engine::ObjectKey;
use crate::engine::files::is_full;
use crate::engine::pagestore::{PageStore, Stamp};
use crate::engine::record::{self, Commit, Draft, Effects, PAGE_BYTES, Position};
use crate::engine::scan;
use crate::id::RawId;
use crate::observe::events::note;

/// Commits are gathered, to lie together for each object, up to so many bytes.
const GATHERED_BYTES: usize = 8 * 1_024 * 1_024;
/// Pages in one entry.
const PAGES_AT_ONCE: usize = 256;

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
    pub(crate) pages: Pages,
}

/// The pages that are kept before a write-back.
pub(crate) enum Pages {
    /// All that change.
    All(Vec<u32>),
    /// Others that change are kept already.
    Rest(Vec<u32>),
    /// Nobody can say what the file holds.
    Unknown,
}

/// Where entries go.
#[derive(Debug)]
pub(super) struct Writing {
    /// The last file, once something was written to it.
    writer: Option<Writer>,
    /// Of the next file. Numbers leave none out: see [`History::look_up`].
    next: u64,
    /// Journal before this position is copied.
    copied: Position,
    /// When what was kept before was given up, until a file says so.
    anew_ms: Option<i64>,
    /// Whether this process has made a mark durable. The first one is what later ones may be lost against.
    has_mark: bool,
}

impl Writing {
    /// Behind the file of this number.
    pub(super) fn after(number: u64) -> Writing {
        let copied = Position::default();
        Writing { writer: None, next: number + 1, copied, anew_ms: None, has_mark: false }
    }

    /// In the last file.
    pub(super) fn go_on(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }
}

impl History {
    /// The journal begins here: what lies before is copied, or was never to be.
    pub(crate) fn set_copied(&self, position: Position) {
        self.writing.lock().copied = position;
    }

    /// Copies the commits of the journal up to a position, which are durable. The copies are durable before the next [mark](Self::mark).
    pub(crate) fn copy_commits(&self, to: Position, now_ms: i64) {
        let from = self.writing.lock().copied;
        if from < to {
            self.write(now_ms, &mut |writer| {
                let mut gathered = Gathered::default();
                scan::read(&*self.disk, &self.journal, from, to, |head, flags, payload| {
                    gathered.add(writer, head, flags, payload)
                })?;
                gathered.write(writer)?;
                // A disk that is full shows here.
                writer.flush()
            });
        }
        self.writing.lock().copied = to;
    }

    /// Keeps the pages that write-backs are about to change, and makes them durable.
    pub(crate) fn before(&self, write_backs: &[WriteBack<'_>], now_ms: i64) {
        if write_backs.is_empty() {
            return;
        }
        self.write(now_ms, &mut |writer| {
            for write_back in write_backs {
                write_back.push(writer, self.limits.bytes)?;
            }
            writer.sync()
        });
    }

    /// Makes everything durable. A sync of the file system that fails may lose what is not, and later entries would lie behind the hole: so this comes
    /// before such a one.
    pub(crate) fn sync(&self, now_ms: i64) {
        if self.writing.lock().writer.is_some() {
            self.write(now_ms, &mut Writer::sync);
        }
    }

    /// How far it is: what was kept before lies before.
    pub(crate) fn reach(&self) -> Reach {
        let writing = self.writing.lock();
        match &writing.writer {
            Some(writer) => Reach { file: writing.next - 1, offset: writer.len() },
            None => Reach { file: writing.next, offset: 0 },
        }
    }

    /// All write-backs of what was kept before are durable. Begins another file if this one is long enough, and removes what is too old or too much.
    pub(crate) fn mark(&self, up_to: Reach, now_ms: i64) {
        let has_mark = self.writing.lock().has_mark;
        self.write(now_ms, &mut |writer| {
            writer.sync()?;
            writer.push(&Head::mark(up_to), &[])?;
            if has_mark { writer.flush() } else { writer.sync() }
        });
        let age_max = self.limits.keep_ms / PARTS_OF_TIME;
        let is_old = |last: &Kept| now_ms.saturating_sub(last.begun_ms) > age_max;
        let mut writing = self.writing.lock();
        writing.has_mark = writing.anew_ms.is_none();
        let last = self.files.lock().last().cloned();
        if last.is_some_and(|last| last.bytes > FILE_BYTES || is_old(&last)) {
            if let Some(writer) = &mut writing.writer {
                // For its last mark, which nothing else makes durable; without it nothing is wrong.
                let _ = writer.sync();
            }
            self.finish_file(&mut writing);
        }
        drop(writing);
        self.retire(now_ms);
    }

    /// Lets the next checkpoint erase an object.
    pub(crate) fn wish_erasure(&self, id: RawId) {
        self.erasures.lock().push(id);
    }

    /// Whom a checkpoint that begins now is to erase.
    pub(crate) fn wished_erasures(&self) -> Vec<RawId> {
        self.erasures.lock().clone()
    }

    /// What is kept of these objects, which were [wished](Self::wished_erasures), before a place, which lies before a mark, must not be used
    /// any more, durably. It is to be [wiped out](Self::wipe): so the file ends here.
    pub(crate) fn erase(&self, ids: &[RawId], up_to: Reach, now_ms: i64) {
        if ids.is_empty() {
            return;
        }
        self.write(now_ms, &mut |writer| {
            ids.iter().try_for_each(|id| writer.push(&Head::erase(*id, up_to), &[]))?;
            writer.sync()
        });
        self.finish_file(&mut self.writing.lock());
        // Those that were wished since, also for the same objects, come with the next checkpoint.
        let mut erasures = self.erasures.lock();
        let done = ids.len().min(erasures.len());
        erasures.drain(..done);
    }

    /// Writes something. When that fails, all history is given up; when the disk is full, the oldest first.
    pub(super) fn write(&self, now_ms: i64, write: &mut dyn FnMut(&mut Writer) -> io::Result<()>) {
        let mut writing = self.writing.lock();
        loop {
            let Err(error) = self.try_write(&mut writing, now_ms, write) else { return };
            // What it ends with may be torn.
            self.finish_file(&mut writing);
            let mut files = self.files.lock();
            if is_full(&error) && files.len() > 1 && self.remove_oldest(&mut files).is_ok() {
                note!(
                    warn,
                    "the disk is full: the oldest part of the objects' history was removed"
                );
                continue;
            }
            note!(error, reason = %error, "the objects' history could not be written, and begins anew");
            (writing.anew_ms, writing.has_mark) = (Some(now_ms), false);
            for file in files.drain(..) {
                if let Err(error) = self.give_up(&file.path) {
                    note!(error, reason = %error, "a file of the objects' history could not be removed");
                }
            }
            // Files that came back after a loss of power would not know what is written from now on.
            if let Err(error) = self.disk.sync_directory(&self.folder) {
                note!(error, reason = %error, "the folder of the objects' history could not be synced");
            }
            return;
        }
    }

    fn try_write(
        &self,
        writing: &mut Writing,
        now_ms: i64,
        write: &mut dyn FnMut(&mut Writer) -> io::Result<()>,
    ) -> io::Result<()> {
        if writing.writer.is_none() {
            self.begin_file(writing, now_ms)?;
        }
        let Some(writer) = &mut writing.writer else { return Ok(()) };
        let written = write(writer);
        if let Some(last) = self.files.lock().last_mut() {
            last.bytes = writer.len();
        }
        written
    }

    fn begin_file(&self, writing: &mut Writing, now_ms: i64) -> io::Result<()> {
        let number = writing.next;
        let path = path_of(&self.folder, number);
        let begun_ms = self.files.lock().last().map_or(now_ms, |last| now_ms.max(last.begun_ms));
        let head = FileHead { form: Form::Appended, begun_ms, first: number };
        let mut writer = Writer::create(&*self.disk, &path, head)?;
        if let Some(time_ms) = writing.anew_ms {
            writer.push(&Head::anew(time_ms), &[])?;
        }
        writer.sync()?;
        self.disk.sync_directory(&self.folder)?;
        let (bytes, state) = (writer.len(), State::Open);
        self.files.lock().push(Kept { first: number, number, path, bytes, begun_ms, state });
        (writing.writer, writing.next, writing.anew_ms) = (Some(writer), number + 1, None);
        Ok(())
    }

    /// The last file is not written to any more.
    pub(super) fn finish_file(&self, writing: &mut Writing) {
        if writing.writer.take().is_none() {
            return;
        }
        if let Some(last) = self.files.lock().last_mut() {
            last.state = State::Finished;
        }
        self.signal.want();
    }
}

impl Pages {
    /// The pages of a file of this size that a write-back of these pages changes or cuts off.
    pub(crate) fn touched(
        size: u32,
        written: impl Iterator<Item = u32>,
        size_after: u32,
        known: Option<&BTreeSet<u32>>,
    ) -> Pages {
        let within = written.filter(|number| *number <= size.min(size_after));
        let all = within.chain(size_after.saturating_add(1)..=size);
        // A file that was not there has no pages to be missed.
        match known.filter(|known| size > 0 && !known.is_empty()) {
            None => Pages::All(all.collect()),
            Some(known) => Pages::Rest(all.filter(|number| !known.contains(number)).collect()),
        }
    }

    pub(crate) fn numbers(&self) -> &[u32] {
        match self {
            Pages::All(numbers) | Pages::Rest(numbers) => numbers,
            Pages::Unknown => &[],
        }
    }
}

impl WriteBack<'_> {
    /// One that takes more than so many bytes would be removed at once, with all before.
    fn push(&self, writer: &mut Writer, bytes_max: u64) -> io::Result<()> {
        let head = Head {
            to: self.to,
            size: self.size,
            removes: self.removes,
            continues: matches!(self.pages, Pages::Rest(_)),
            ..Head::before(self.key.id, self.from)
        };
        let bytes = (self.pages.numbers().len() * PAGE_BYTES) as u64;
        if matches!(self.pages, Pages::Unknown) || bytes > bytes_max {
            return writer.push(&head.gap(), &[]);
        }
        let mut image = [0; PAGE_BYTES];
        let mut rest = self.pages.numbers();
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
            rest = later;
            let head = Head { has_more: !rest.is_empty(), ..head };
            writer.push(&head, draft.body())?;
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
        head: record::Head<'_>,
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
            writer.push(&Head::commits(id, from, to), &body)?;
        }
        Ok(())
    }
}
