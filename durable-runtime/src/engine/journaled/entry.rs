//! One object as the engine holds it: its pages in memory, its file, and how far both are.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::{Mutex, MutexGuard};

use super::Shared;
use super::checkpoint::keep_before;
use super::copy::Copying;
use super::memory::Share;
use crate::Result;
use crate::engine::catalogue::{Row, Unlisted};
use crate::engine::history::{Pages, Unmarked, WriteBack};
use crate::engine::overlay::{Overlay, Snapshot, Template};
use crate::engine::pagestore::{Header, PageStore, Stamp};
use crate::engine::vfs::{ObjectFile, Vfs};
use crate::engine::{About, ObjectKey, Receipt};
use crate::{Error, ErrorKind};

/// An object with a connection, or with pages that its file lacks.
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) file: Arc<ObjectFile>,
    /// Held while a record is appended and its pages are accepted.
    pub(super) state: Mutex<State>,
    /// Held while pages are written to the file.
    writer: Mutex<Writer>,
    /// Changes under the lock of `state`.
    unwritten: Share,
    /// What is new for the list of objects, besides the commit number.
    news: Mutex<Row>,
    /// Where that goes, together with what is written to the file.
    unlisted: Arc<Unlisted>,
}

/// What a write-back has to know.
#[derive(Default)]
pub(super) struct Writer {
    /// What the file held before a write-back that failed, if the last one did.
    unfinished: Option<Unmarked>,
    /// Those who copy the file as it was before.
    copies: Vec<Weak<Copying>>,
}

/// The last commit of an object.
pub(super) struct State {
    pub(super) stamp: Stamp,
    pub(super) latest: Receipt,
    /// Whether the file holds an object that was deleted since: it is to be overwritten or removed.
    is_file_obsolete: bool,
    /// Whether the object was created from a file that is not in its place yet.
    is_file_elsewhere: bool,
    /// How often the object was deleted.
    deletions: u64,
}

impl State {
    /// Takes note that the next commit was appended.
    pub(super) fn committed(&mut self, receipt: &Receipt, time_ms: i64) {
        self.stamp.commit += 1;
        self.latest = receipt.clone();
        self.stamp.time_ms = time_ms;
    }
}

/// What a file lacks.
enum Lag {
    Pages(Snapshot),
    /// It should not be there.
    Removal,
    /// Nothing, but it is not in its place.
    Place,
}

impl Lag {
    fn is_removal(&self) -> bool {
        matches!(self, Lag::Removal)
    }

    /// Every commit changes the first page.
    fn header(&self) -> Option<Header> {
        let Lag::Pages(snapshot) = self else { return None };
        let first = snapshot.pages.iter().find(|(number, _)| *number == 1);
        first.map(|(_, page)| Header::of(&page[..]))
    }
}

impl Entry {
    /// An object as its store has it; `first` is where one that is created now begins to count.
    pub(super) fn open(
        key: ObjectKey,
        vfs: &Arc<Vfs>,
        store: Arc<dyn PageStore>,
        template: &Template,
        first: Stamp,
        unwritten: Share,
        unlisted: &Arc<Unlisted>,
    ) -> Result<Entry> {
        let stamp = store.stamp().map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot read the file of {key}: {error}"))
        })?;
        let file = Arc::new(ObjectFile::open(vfs, store, template)?);
        let stamp = if file.overlay().is_stored() { stamp } else { first };
        let state = State {
            stamp,
            latest: Receipt::durable(),
            is_file_obsolete: false,
            is_file_elsewhere: false,
            deletions: 0,
        };
        Ok(Entry {
            key,
            file,
            state: Mutex::new(state),
            writer: Mutex::default(),
            unwritten,
            news: Mutex::default(),
            unlisted: Arc::clone(unlisted),
        })
    }

    /// Whether a commit was ever logged.
    pub(super) fn is_stored(&self) -> bool {
        self.file.overlay().is_stored()
    }

    /// Remembers what a commit says of the object, for the list of objects.
    pub(super) fn note_news(&self, about: About, created_ms: Option<i64>) {
        if created_ms.is_none() && about == About::default() {
            return;
        }
        let mut news = self.news.lock();
        news.about.merge(about);
        news.created_ms = created_ms.or(news.created_ms);
    }

    /// What is known here for the list of objects.
    pub(super) fn row(&self) -> Row {
        let state = self.state.lock();
        let overlay = self.file.overlay();
        let header = overlay.first_page().map(|page| Header::of(&page[..]));
        let deleted = !overlay.is_stored();
        let news = self.news.lock().clone();
        Row { stamp: state.stamp, header: header.or(news.header), deleted, ..news }
    }

    /// Whether the file lacks something that is committed.
    pub(super) fn lags(&self) -> bool {
        self.lag(&self.state.lock()).is_some()
    }

    fn lag(&self, state: &State) -> Option<Lag> {
        let overlay = self.file.overlay();
        let removal = || (state.is_file_obsolete && !overlay.is_stored()).then_some(Lag::Removal);
        let place = || state.is_file_elsewhere.then_some(Lag::Place);
        overlay.snapshot().map(Lag::Pages).or_else(removal).or_else(place)
    }

    /// Keeps whoever writes to the file, or begins with one of its own, away.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] when the object exists, and [`ErrorKind::Storage`] when the file of one that was deleted is still there.
    pub(super) fn lock_vacant(&self) -> Result<(MutexGuard<'_, Writer>, Stamp)> {
        let writer = self.writer.lock();
        let stamp = {
            let state = self.state.lock();
            if self.is_stored() {
                return Err(self.exists());
            }
            if writer.unfinished.is_some() || self.lag(&state).is_some() {
                let text =
                    format!("the file of {}, which was deleted, cannot be removed", self.key);
                return Err(Error::new(ErrorKind::Storage, text));
            }
            state.stamp
        };
        Ok((writer, stamp))
    }

    pub(super) fn exists(&self) -> Error {
        Error::new(ErrorKind::Exists, format!("{} exists already", self.key))
    }

    /// Takes note that the object's creation from a file is logged, whose header this is.
    pub(super) fn adopted(&self, state: &mut State, file: PathBuf, header: Header) {
        self.file.store().adopt(file);
        *self.file.overlay() = Overlay::of_file(header.pages);
        self.news.lock().header = Some(header);
        state.is_file_elsewhere = true;
        self.account(state);
    }

    /// Takes note that the object's deletion is logged.
    pub(super) fn deleted(&self, state: &mut State, template: &Template) {
        self.file.overlay().reset(template);
        state.is_file_obsolete = true;
        state.deletions += 1;
        self.account(state);
    }

    /// Counts what the file lacks, after that has changed.
    pub(super) fn account(&self, state: &State) {
        let overlay = self.file.overlay();
        // No write-back takes the pages of an object that was never stored.
        let pages = if overlay.is_stored() { overlay.committed_bytes() } else { 0 };
        let lags = pages > 0 || state.is_file_obsolete || state.is_file_elsewhere;
        self.unwritten.set(lags.then_some(pages));
    }

    /// Takes what the file lacks, up to the last commit, and waits until that is durable. Until it is written, or given up,
    /// nobody else writes to the file. `None` if it lacks nothing.
    ///
    /// # Errors
    /// When the journal fails, or the file cannot be looked at.
    pub(super) fn begin_write_back(&self, keeps_history: bool) -> Result<Option<WritingBack<'_>>> {
        self.begin_with(self.writer.lock(), keeps_history).map(Begun::lagging)
    }

    /// The same, and `None` too while somebody else writes.
    ///
    /// # Errors
    /// As [`begin_write_back`](Self::begin_write_back).
    pub(super) fn try_begin_write_back(
        &self,
        keeps_history: bool,
    ) -> Result<Option<WritingBack<'_>>> {
        self.writer
            .try_lock()
            .map_or(Ok(None), |writer| self.begin_with(writer, keeps_history).map(Begun::lagging))
    }

    /// Brings the file up to the last commit, and lets nobody write to it until the result is dropped.
    ///
    /// # Errors
    /// When the journal or the file fails.
    pub(super) fn hold(&self, shared: &Shared) -> Result<MutexGuard<'_, Writer>> {
        match self.begin_with(self.writer.lock(), shared.history.is_some())? {
            Begun::Nothing(writer) => Ok(writer),
            Begun::Lagging(write_back) => {
                keep_before(shared, std::slice::from_ref(&write_back));
                write_back.write_and_hold(&shared.unsynced)
            }
        }
    }

    /// Keeps write-backs away for a moment.
    pub(super) fn pause(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    fn begin_with<'a>(
        &'a self,
        writer: MutexGuard<'a, Writer>,
        keeps_history: bool,
    ) -> Result<Begun<'a>> {
        let (lag, stamp, latest, deletions) = {
            let state = self.state.lock();
            let Some(lag) = self.lag(&state) else { return Ok(Begun::Nothing(writer)) };
            (lag, state.stamp, state.latest.clone(), state.deletions)
        };
        wait(latest)?;
        let (mut from, mut size) = (Stamp::default(), 0);
        if keeps_history {
            let store = self.file.store();
            let looked = match &writer.unfinished {
                Some(before) => Ok((before.from, before.size)),
                None => store.size().and_then(|size| Ok((store.stamp()?, size))),
            };
            (from, size) = looked.map_err(|error| self.failed("read", &error))?;
        }
        Ok(Begun::Lagging(WritingBack { entry: self, writer, lag, stamp, deletions, from, size }))
    }

    /// Looks at the file while nobody writes to it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it lacks commits.
    pub(super) fn at_rest<R>(&self, look: impl FnOnce(&dyn PageStore) -> Result<R>) -> Result<R> {
        let writer = self.writer.lock();
        if writer.unfinished.is_some() || self.lags() {
            let text = format!("the file of {} lacks commits and cannot be written", self.key);
            return Err(Error::new(ErrorKind::Storage, text));
        }
        look(&**self.file.store())
    }

    pub(super) fn failed(&self, verb: &str, error: &std::io::Error) -> Error {
        let place = self.file.store().place();
        let text = format!("cannot {verb} the file of {}, {}: {error}", self.key, place.display());
        Error::new(ErrorKind::Storage, text)
    }

    /// Gives back the file descriptor.
    pub(super) fn release(&self) {
        self.file.store().release();
    }
}

/// What became of the wish to begin a write-back.
enum Begun<'a> {
    /// The file lacks nothing.
    Nothing(MutexGuard<'a, Writer>),
    Lagging(WritingBack<'a>),
}

impl<'a> Begun<'a> {
    fn lagging(self) -> Option<WritingBack<'a>> {
        match self {
            Begun::Nothing(_) => None,
            Begun::Lagging(write_back) => Some(write_back),
        }
    }
}

impl Writer {
    /// Lets somebody copy the file as it is now, whatever is written to it meanwhile.
    pub(super) fn add_copy(&mut self, copy: &Arc<Copying>) {
        self.copies.push(Arc::downgrade(copy));
    }

    /// Lets those who copy the file have pages that are about to change.
    fn set_aside(
        &mut self,
        store: &dyn PageStore,
        written: &mut dyn Iterator<Item = u32>,
        size: u32,
    ) {
        self.copies.retain(|copy| copy.strong_count() > 0);
        if self.copies.is_empty() {
            return;
        }
        let pages = store.size();
        let pages =
            pages.map(|before| Pages::touched(before, written, size, None).numbers().to_vec());
        for copy in self.copies.iter().filter_map(Weak::upgrade) {
            copy.set_aside(store, &pages);
        }
    }
}

/// A write-back that has begun.
pub(super) struct WritingBack<'a> {
    entry: &'a Entry,
    writer: MutexGuard<'a, Writer>,
    lag: Lag,
    stamp: Stamp,
    deletions: u64,
    /// What the file holds, if a history is kept.
    from: Stamp,
    size: u32,
}

impl<'a> WritingBack<'a> {
    pub(super) fn key(&self) -> &ObjectKey {
        &self.entry.key
    }

    /// What it changes in the file, besides what is kept already; nothing if only its place.
    pub(super) fn change(&self) -> Option<WriteBack<'_>> {
        let known = self.writer.unfinished.as_ref().map(|before| &before.pages);
        let pages = match &self.lag {
            Lag::Place => return None,
            Lag::Pages(snapshot) => {
                let written = snapshot.pages.iter().map(|(number, _)| *number);
                Pages::touched(self.size, written, snapshot.size, known)
            }
            Lag::Removal => Pages::touched(self.size, std::iter::empty(), 0, known),
        };
        Some(WriteBack {
            key: &self.entry.key,
            store: &**self.entry.file.store(),
            from: self.from,
            size: self.size,
            to: self.stamp,
            removes: self.lag.is_removal(),
            pages,
        })
    }

    /// Brings the file up to that commit. What was written is `unsynced`
    /// before its pages leave memory: a checkpoint that finds nothing left to write must find it there.
    ///
    /// # Errors
    /// When the file fails. The pages stay in memory.
    pub(super) fn write(self, unsynced: &Mutex<Vec<Arc<dyn PageStore>>>) -> Result<()> {
        self.write_and_hold(unsynced).map(drop)
    }

    /// The same, and nobody else writes to the file until the result is dropped.
    fn write_and_hold(
        mut self,
        unsynced: &Mutex<Vec<Arc<dyn PageStore>>>,
    ) -> Result<MutexGuard<'a, Writer>> {
        let entry = self.entry;
        let store = entry.file.store();
        let (verb, done) = match &self.lag {
            Lag::Pages(snapshot) => {
                let written = &mut snapshot.pages.iter().map(|(number, _)| *number);
                self.writer.set_aside(&**store, written, snapshot.size);
                ("write", store.write(snapshot, self.stamp))
            }
            Lag::Removal => {
                self.writer.set_aside(&**store, &mut std::iter::empty(), 0);
                ("remove", store.delete())
            }
            Lag::Place => ("rename", store.settle()),
        };
        if let Err(error) = done {
            if let Some(change) = self.change() {
                let pages = change.pages;
                let (from, to, size) = (self.from, self.stamp, self.size);
                let before = || Unmarked { from, to, size, pages: BTreeSet::default() };
                let before = self.writer.unfinished.get_or_insert_with(before);
                before.pages.extend(pages.numbers());
            }
            return Err(entry.failed(verb, &error));
        }
        self.writer.unfinished = None;
        unsynced.lock().push(Arc::clone(store));
        {
            // Under the lock: whoever looks for news finds them here or there.
            let mut news = entry.news.lock();
            let (header, deleted) = (self.lag.header().or(news.header), self.lag.is_removal());
            let row = Row { stamp: self.stamp, header, deleted, ..news.clone() };
            entry.unlisted.note(&entry.key, row);
            *news = Row::default();
        }
        let mut state = entry.state.lock();
        state.is_file_elsewhere = false;
        match &self.lag {
            Lag::Removal => state.is_file_obsolete = false,
            Lag::Pages(snapshot) if state.deletions == self.deletions => {
                state.is_file_obsolete = false;
                entry.file.overlay().written_back(snapshot);
            }
            // Pages of an object that was deleted meanwhile.
            Lag::Pages(_) | Lag::Place => {}
        }
        entry.account(&state);
        drop(state);
        Ok(self.writer)
    }
}

/// Waits on this thread until a commit is durable.
pub(super) fn wait(mut receipt: Receipt) -> Result<()> {
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut task = Context::from_waker(&waker);
    loop {
        match receipt.poll_durable(&mut task) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
