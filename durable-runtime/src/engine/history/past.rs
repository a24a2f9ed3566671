//! Finding and rebuilding what an object was.
//!
//! A state is rebuilt from the last write-back before it: its file then, from the pages that later write-backs have kept and, for
//! pages that none has touched, the file as it is now; and upon it the commits from there on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::file::{Archive, Kind, Place, Reader};
use super::{History, Point};
use crate::engine::overlay::{Image, MIGRATION_BYTES_MAX, PAGE, Page};
use crate::engine::pagestore::{PageStore, Stamp};
use crate::engine::record::decode::PageEntry;
use crate::engine::record::{self, Record, frame};
use crate::id::RawId;
use crate::{Error, ErrorKind, Result};

/// Where SQLite's header says by which journal a file may be read; a write-back that runs says there that it does.
const MARK_AT: usize = 19;
const COMPLETE: u8 = 1;

/// An object as it was.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// The pages that its file may hold otherwise.
    pub(crate) pages: BTreeMap<u32, Page>,
    /// The size of its database in pages.
    pub(crate) size: u32,
}

/// What is kept of one object.
struct Past {
    archives: Vec<Archive>,
    /// The write-backs that lead to the file as it is now, the oldest first.
    write_backs: Vec<Kept>,
    commits: Vec<Step>,
    /// What the file holds; `None`: there is none.
    file: Option<Stamp>,
}

/// A write-back.
#[derive(Clone, Copy)]
struct Kept {
    archive: usize,
    place: Place,
    /// After which mark it was written.
    interval: u64,
    /// The commit of which its pages are; of a file that there was not, the removal before.
    since: Point,
}

/// A commit.
#[derive(Clone, Copy)]
struct Step {
    stamp: Stamp,
    flags: u8,
    /// Where its bytes are.
    archive: usize,
    entry: Place,
    begin: usize,
    length: usize,
}

impl Step {
    fn point(&self) -> Point {
        self.stamp.into()
    }

    fn creates(&self) -> bool {
        self.flags & frame::CREATES != 0
    }

    fn deletes(&self) -> bool {
        self.flags & frame::DELETES != 0
    }
}

/// How to come to a state.
struct Way {
    /// The write-back whose pages to begin with; `None`: the way begins with a creation.
    base: Option<usize>,
    /// Which commits follow.
    steps: std::ops::Range<usize>,
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The object did not exist.
    Deleted,
    NotKept,
}

/// Adds a commit to the body of an entry: flags (u8), epoch (u32), number (u64), length (u32), payload.
pub(super) fn push_commit(
    body: &mut Vec<u8>,
    stamp: Stamp,
    flags: u8,
    payload: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    body.push(flags);
    body.extend_from_slice(&stamp.epoch.to_le_bytes());
    body.extend_from_slice(&stamp.commit.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(payload);
    Ok(())
}

/// The pages in the body of an entry.
pub(super) fn pages_of(body: &[u8]) -> impl Iterator<Item = PageEntry<'_>> {
    let record = record::Head::parse(body).and_then(|(head, rest)| Record::parse(head, 0, rest));
    record.map(|record| record.pages().collect::<Vec<_>>()).unwrap_or_default().into_iter()
}

impl History {
    /// The object as it was after a commit. Its file, which is this store, holds all commits and changes meanwhile no more.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when that cannot be rebuilt, or the object did not exist then.
    pub(crate) fn rebuild(
        &self,
        id: RawId,
        point: Point,
        store: &dyn PageStore,
    ) -> Result<Rebuilt> {
        let past = self.past(id, store)?;
        if past.file.is_some_and(|file| Point::from(file) == point) {
            return Ok(Rebuilt {
                size: store.size().map_err(|error| unreadable(&error))?,
                ..Rebuilt::default()
            });
        }
        let way = past.way(point).map_err(|lost| past.explain(lost, point))?;
        past.follow(id, &way, store)
    }

    /// Whether [`rebuild`](Self::rebuild) would find it.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check(&self, id: RawId, point: Point, store: &dyn PageStore) -> Result<()> {
        let past = self.past(id, store)?;
        if past.file.is_some_and(|file| Point::from(file) == point) {
            return Ok(());
        }
        past.way(point).map(|_| ()).map_err(|lost| past.explain(lost, point))
    }

    /// The last commit that was made at a time or before.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when the object did not exist then, or that is too long ago.
    pub(crate) fn find(&self, id: RawId, time_ms: i64, store: &dyn PageStore) -> Result<Point> {
        self.past(id, store)?.find(time_ms)
    }

    fn past(&self, id: RawId, store: &dyn PageStore) -> Result<Past> {
        let read = || {
            let is_there = store.size()? > 0;
            let file = if is_there { Some(store.stamp()?) } else { None };
            self.read_past(id, file)
        };
        read().map_err(|error| unreadable(&error))
    }

    fn read_past(&self, id: RawId, file: Option<Stamp>) -> io::Result<Past> {
        let archives = self.archives()?;
        let (mut write_backs, mut places) = (Vec::new(), Vec::new());
        let mut interval = 0;
        for (archive, it) in archives.iter().enumerate() {
            let mut marked = write_backs.len();
            it.scan(|place| match place.head.kind {
                Kind::Mark => {
                    interval += 1;
                    marked = write_backs.len();
                    let reach = |kept: &&mut Kept| archives[kept.archive].reach(&kept.place);
                    let later = |kept: &&mut Kept| reach(kept) >= place.head.reach();
                    write_backs
                        .iter_mut()
                        .rev()
                        .take_while(later)
                        .for_each(|kept| kept.interval = interval);
                }
                _ if place.head.id != id => {}
                Kind::Before => {
                    write_backs.push(Kept { archive, place, interval, since: Point::default() });
                }
                Kind::Commits => places.push((archive, place)),
            })?;
            // What no mark of the same file follows may be torn: its write-back never began.
            let mut whole = write_backs.split_off(marked);
            let mut failure = None;
            whole.retain(|kept: &Kept| match it.body(&kept.place) {
                Ok(body) => body.is_some(),
                Err(error) => {
                    failure = Some(error);
                    false
                }
            });
            failure.map_or(Ok(()), Err)?;
            write_backs.extend(whole);
        }
        let mut commits = Vec::new();
        for (archive, entry) in places {
            if let Some(body) = archives[archive].body(&entry)? {
                read_steps(archive, entry, &body, &mut commits);
            }
        }
        // Copied twice, they are the same; of two that are not, the later one counts.
        commits.reverse();
        commits.sort_by_key(Step::point);
        commits.dedup_by_key(|step| step.point());
        let write_backs = leading_to(file, write_backs);
        Ok(Past { archives, write_backs, commits, file })
    }
}

fn read_steps(archive: usize, entry: Place, body: &[u8], steps: &mut Vec<Step>) {
    let mut reader = Reader(body);
    let mut next = || {
        let [flags] = reader.array()?;
        let epoch = reader.u32()?;
        let commit = u64::from_le_bytes(reader.array()?);
        let length = usize::try_from(reader.u32()?).ok()?;
        let begin = body.len() - reader.0.len();
        let payload = reader.slice(length)?;
        let time_ms = i64::from_le_bytes(*payload.first_chunk()?);
        let stamp = Stamp { commit, epoch, time_ms };
        Some(Step { stamp, flags, archive, entry, begin, length })
    };
    // Of what was in a file that was adopted there are no pages: the object's history begins with that, and nothing leads over it.
    let all = std::iter::from_fn(&mut next);
    steps.extend(all.filter(|step| step.flags & frame::ADOPTS == 0));
}

/// The end of the chain of write-backs that leads to the file, without a gap.
fn leading_to(file: Option<Stamp>, mut all: Vec<Kept>) -> Vec<Kept> {
    let leads = |last: &Kept| match file {
        Some(file) => !last.place.head.removes && point_of(last.place.head.to) == point_of(file),
        None => last.place.head.removes,
    };
    if !all.last().is_some_and(leads) {
        return Vec::new();
    }
    let first = (1..all.len()).rev().find(|next| !follows(&all[next - 1], &all[*next]));
    let mut chain = all.split_off(first.unwrap_or(0));
    let mut before: Option<Kept> = None;
    for kept in &mut chain {
        let head = kept.place.head;
        kept.since = match before {
            _ if head.size > 0 => point_of(head.from),
            Some(before) if before.place.head.size == 0 && before.interval == kept.interval => {
                before.since
            }
            Some(before) => point_of(before.place.head.to),
            None => Point::default(),
        };
        before = Some(*kept);
    }
    chain
}

/// Whether nothing is missing between two write-backs.
fn follows(before: &Kept, next: &Kept) -> bool {
    let (first, second) = (before.place.head, next.place.head);
    if second.size == 0 {
        // The file was not there: it was removed, or was not there before and nobody knows how far that came.
        return first.removes || (first.size == 0 && before.interval == next.interval);
    }
    point_of(second.from) <= point_of(first.to)
}

fn point_of(stamp: Stamp) -> Point {
    stamp.into()
}

impl Past {
    /// How to come to the state after a commit.
    fn way(&self, point: Point) -> std::result::Result<Way, Lost> {
        let spanning = self
            .write_backs
            .iter()
            .filter(|kept| kept.since <= point && point < point_of(kept.place.head.to));
        // Of several the one that reaches back furthest; and of all that begin with the same state the first: see rule 4.
        let since = spanning.map(|kept| kept.since).min();
        let base = self.write_backs.iter().position(|kept| Some(kept.since) == since);
        let Some(base) = base else { return Err(Lost::NotKept) };
        let kept = &self.write_backs[base];
        let is_there = kept.place.head.size > 0;
        if is_there && kept.since == point {
            return Ok(Way { base: Some(base), steps: 0..0 });
        }
        let begin = self.commits.partition_point(|step| step.point() <= kept.since);
        let end = self.commits.partition_point(|step| step.point() <= point);
        let steps = &self.commits[begin..end];
        if steps.last().is_none_or(|last| last.point() != point) {
            return Err(Lost::NotKept);
        }
        if steps.last().is_some_and(Step::deletes) {
            return Err(Lost::Deleted);
        }
        // A creation stands by itself.
        let creation = steps.iter().rposition(Step::creates);
        let (base, begin) = match creation {
            Some(creation) => (None, begin + creation),
            None if is_there => (Some(base), begin),
            None => return Err(Lost::NotKept),
        };
        let mut last = if base.is_some() { kept.since } else { self.commits[begin].point() };
        for step in &self.commits[begin..end] {
            let is_next = last.epoch == step.stamp.epoch && last.commit + 1 == step.stamp.commit;
            if !is_next && !step.creates() {
                return Err(Lost::NotKept);
            }
            last = step.point();
        }
        Ok(Way { base, steps: begin..end })
    }

    fn follow(&self, id: RawId, way: &Way, store: &dyn PageStore) -> Result<Rebuilt> {
        let mut rebuilt = Rebuilt::default();
        if let Some(base) = way.base {
            rebuilt.size = self.write_backs[base].place.head.size;
            for kept in &self.write_backs[base..] {
                let body = self.archives[kept.archive]
                    .body(&kept.place)
                    .map_err(|error| unreadable(&error))?;
                let Some(body) = body else { return Err(damaged(&self.archives[kept.archive])) };
                for entry in pages_of(&body).filter(|entry| entry.number <= rebuilt.size) {
                    if let Some(image) = entry.change.image(None) {
                        rebuilt.pages.entry(entry.number).or_insert_with(|| Arc::new(image));
                    }
                }
                rebuilt.check_size()?;
            }
        }
        let mut read: Option<(usize, u64, Vec<u8>)> = None;
        for step in &self.commits[way.steps.clone()] {
            let archive = &self.archives[step.archive];
            let place = (step.archive, step.entry.at());
            if read.as_ref().is_none_or(|(archive, at, _)| (*archive, *at) != place) {
                let body = archive.body(&step.entry).map_err(|error| unreadable(&error))?;
                read = Some((place.0, place.1, body.ok_or_else(|| damaged(archive))?));
            }
            let bytes =
                read.as_ref().and_then(|(.., body)| body.get(step.begin..step.begin + step.length));
            let head =
                record::Head { class: "", id, epoch: step.stamp.epoch, number: step.stamp.commit };
            let record = bytes.and_then(|bytes| Record::parse(head, step.flags, bytes));
            rebuilt.apply(&record.ok_or_else(|| damaged(archive))?, store)?;
            rebuilt.check_size()?;
        }
        if let Some(first) = rebuilt.pages.get_mut(&1) {
            Arc::make_mut(first)[MARK_AT] = COMPLETE;
        }
        Ok(rebuilt)
    }

    fn find(&self, time_ms: i64) -> Result<Point> {
        let made = |stamp: &Stamp| stamp.time_ms <= time_ms;
        let last = self.commits.iter().rfind(|step| made(&step.stamp));
        let file = self.file.filter(made).map(Point::from);
        let is_there = |kept: &&Kept| kept.place.head.size > 0;
        let boundaries = self.write_backs.iter().filter(is_there).map(|kept| kept.place.head.from);
        let boundary = boundaries.filter(made).map(Point::from).max().max(file);
        let point = last.map(Step::point).max(boundary);
        let Some(point) = point else { return Err(self.too_early()) };
        if file == Some(point) {
            return Ok(point);
        }
        match (self.way(point), boundary) {
            (Ok(_), _) => Ok(point),
            (Err(Lost::NotKept), Some(boundary)) if boundary < point => Ok(boundary),
            (Err(why), _) => Err(self.explain(why, point)),
        }
    }

    /// The time of the first state that can be rebuilt.
    fn oldest_ms(&self) -> Option<i64> {
        let boundaries = self.write_backs.iter().filter(|kept| kept.place.head.size > 0);
        let boundary = boundaries.map(|kept| kept.place.head.from.time_ms).min();
        let creations = self.commits.iter().filter(|step| step.creates());
        let creation = creations
            .filter(|step| self.way(step.point()).is_ok())
            .map(|step| step.stamp.time_ms)
            .min();
        let file = self.file.map(|file| file.time_ms);
        [boundary, creation, file].into_iter().flatten().min()
    }

    fn too_early(&self) -> Error {
        let text = match self.oldest_ms() {
            Some(oldest) => format!(
                "the object did not exist at that time, or it is too long ago: its history goes back to {}",
                time(oldest)
            ),
            None => "the object did not exist at that time".to_owned(),
        };
        Error::new(ErrorKind::NotKept, text)
    }

    fn explain(&self, lost: Lost, point: Point) -> Error {
        if lost == Lost::Deleted {
            return Error::new(ErrorKind::NotKept, "the object did not exist at that moment");
        }
        let text = match self.oldest_ms() {
            Some(oldest) => format!(
                "commit {} of the object is not kept: its history goes back to {}",
                point.commit,
                time(oldest)
            ),
            None => format!("commit {} of the object is not kept", point.commit),
        };
        Error::new(ErrorKind::NotKept, text)
    }
}

impl Rebuilt {
    fn apply(&mut self, record: &Record<'_>, store: &dyn PageStore) -> Result<()> {
        if record.effects.creates || record.effects.deletes {
            self.pages.clear();
            self.size = 0;
        }
        for entry in record.pages() {
            let stored = match self.pages.get(&entry.number) {
                None if entry.number <= self.size && entry.change.needs_previous() => {
                    let mut image: Image = [0; PAGE];
                    store.read(entry.number, &mut image).map_err(|error| unreadable(&error))?;
                    Some(Arc::new(image))
                }
                held => held.map(Arc::clone),
            };
            let image = entry.change.image(stored.as_deref()).ok_or_else(|| {
                let text = format!("the image of page {} before a change is missing", entry.number);
                Error::new(ErrorKind::NotKept, text)
            })?;
            self.pages.insert(entry.number, Arc::new(image));
        }
        self.size = record.database_pages;
        self.pages.split_off(&self.size.saturating_add(1));
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        if self.pages.len() * PAGE <= MIGRATION_BYTES_MAX {
            return Ok(());
        }
        let text = format!(
            "the object differs by more than {} MiB from what it was then",
            MIGRATION_BYTES_MAX / (1_024 * 1_024)
        );
        Err(Error::new(ErrorKind::Limit, text))
    }
}

/// A time as people read it.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the object's history cannot be read: {error}"))
}

fn damaged(archive: &Archive) -> Error {
    let text = format!("{} is damaged: that moment of the object is lost", archive.path.display());
    Error::new(ErrorKind::NotKept, text)
}
