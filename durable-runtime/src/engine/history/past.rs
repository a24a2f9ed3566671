//! Finding and rebuilding what an object was.
//!
//! A state is rebuilt from the last write-back before it: its file then, from the pages that later write-backs have kept and, for
//! pages that none has touched, the file as it is now; and upon it the commits from there on.

mod moments;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

#[cfg(feature = "admin")]
pub(crate) use self::moments::Moments;
use super::file::{Archive, Kind, Place, Reader};
use super::{Found, History, Point};
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
    /// Where those stand, each with its archive.
    entries: Vec<(usize, Place)>,
    /// What the file holds; `None`: there is none.
    file: Option<Stamp>,
    /// When all history before was given up.
    anew_ms: Option<i64>,
}

/// A write-back.
#[derive(Clone, Copy)]
struct Kept {
    archive: usize,
    place: Place,
    /// After how many marks it was written.
    interval: usize,
    /// The commit of which its pages are; of a file that there was not, the removal before.
    since: Point,
}

/// A commit.
#[derive(Clone, Copy)]
struct Step {
    stamp: Stamp,
    flags: u8,
    /// In which of the entries it is, and where in its body the payload is.
    entry: usize,
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
        let Found { archives, places, marks, anew_ms } = self.look_up(id)?;
        let (mut write_backs, mut entries) = (Vec::new(), Vec::new());
        for (archive, place) in places {
            if place.head.kind == Kind::Commits {
                entries.push((archive, place));
                continue;
            }
            let interval = marks.partition_point(|mark| *mark <= place.reach);
            write_backs.push(Kept { archive, place, interval, since: Point::default() });
        }
        let mut commits = Vec::new();
        for (entry, (archive, place)) in entries.iter().enumerate() {
            if let Some(body) = archives[*archive].body(place)? {
                // Of what was in a file that was adopted there are no pages: the object's history begins with that, and nothing
                // leads over it.
                let steps = Steps::of(&body).filter(|step| step.flags & frame::ADOPTS == 0);
                commits.extend(steps.map(|step| Step { entry, ..step }));
            }
        }
        // Copied twice, they are the same; of two that are not, the later one counts.
        commits.reverse();
        commits.sort_by_key(Step::point);
        commits.dedup_by_key(|step| step.point());
        let write_backs = leading_to(file, write_backs);
        Ok(Past { archives, write_backs, commits, entries, file, anew_ms })
    }
}

/// The commits in the body of an entry.
struct Steps<'a> {
    body: &'a [u8],
    rest: Reader<'a>,
}

impl<'a> Steps<'a> {
    fn of(body: &'a [u8]) -> Steps<'a> {
        Steps { body, rest: Reader(body) }
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let [flags] = self.rest.array()?;
        let epoch = self.rest.u32()?;
        let commit = u64::from_le_bytes(self.rest.array()?);
        let length = usize::try_from(self.rest.u32()?).ok()?;
        let begin = self.body.len() - self.rest.0.len();
        let payload = self.rest.slice(length)?;
        let time_ms = i64::from_le_bytes(*payload.first_chunk()?);
        let stamp = Stamp { commit, epoch, time_ms };
        Some(Step { stamp, flags, entry: 0, begin, length })
    }
}

/// The commits in the body of an entry: of each its stamp and its bytes, with what stands before the payload. `None` if that is not all of the body.
pub(super) fn commits_of(body: &[u8]) -> Option<Vec<(Stamp, &[u8])>> {
    let mut end = 0;
    let mut commits = Vec::new();
    for step in Steps::of(body) {
        let begin = std::mem::replace(&mut end, step.begin + step.length);
        commits.push((step.stamp, body.get(begin..end)?));
    }
    (end == body.len()).then_some(commits)
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
    // What counts on entries that are gone is worth nothing.
    let whole = chain.iter().position(|kept| !kept.place.head.continues);
    chain.drain(..whole.unwrap_or(chain.len()));
    let (mut before, mut made): (Option<Kept>, Option<Kept>) = (None, None);
    for kept in &mut chain {
        let head = kept.place.head;
        kept.since = match before {
            _ if head.size > 0 => point_of(head.from),
            // It says again that there was no file at the last mark.
            Some(before)
                if !before.place.head.removes
                    && made.is_some_and(|made| made.interval == kept.interval) =>
            {
                made.map_or(Point::default(), |made| made.since)
            }
            Some(before) => point_of(before.place.head.to),
            None => Point::default(),
        };
        before = Some(*kept);
        if head.size == 0 {
            made = before;
        }
    }
    chain
}

/// Whether nothing is missing between two write-backs.
fn follows(before: &Kept, next: &Kept) -> bool {
    let (first, second) = (before.place.head, next.place.head);
    if second.size == 0 {
        // The file was not there: it was removed, or was not there at the last mark, and nobody knows how far what was written
        // since has come.
        return first.removes || before.interval == next.interval;
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
        let mut read: Option<(usize, Vec<u8>)> = None;
        for step in &self.commits[way.steps.clone()] {
            let (archive, place) = &self.entries[step.entry];
            let archive = &self.archives[*archive];
            if read.as_ref().is_none_or(|(entry, _)| *entry != step.entry) {
                let body = archive.body(place).map_err(|error| unreadable(&error))?;
                read = Some((step.entry, body.ok_or_else(|| damaged(archive))?));
            }
            let bytes =
                read.as_ref().and_then(|(_, body)| body.get(step.begin..step.begin + step.length));
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

fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the object's history cannot be read: {error}"))
}

fn damaged(archive: &Archive) -> Error {
    let text = format!("{} is damaged: that moment of the object is lost", archive.path.display());
    Error::new(ErrorKind::NotKept, text)
}
