//! Rewriting files that are not written to any more: sorted, packed, and without what must not or need not be kept.
//!
//! The guarantee: what a lookup finds is the same before and after, except for what was erased; and a crash at any step leaves
//! the files of before or the file that replaces them.
//!
//! The steps: the new file is written under another name and synced; it takes the name of the last of those it was made of, and the
//! folder is synced; the others are removed. It says from which number on it stands for files, so whoever still finds one of the others
//! lets it be.
//!
//! What is left out:
//! - what was erased, by an erasure in one of these files or the one that this is done for;
//! - a commit that is there already, with the same number and the same checksum;
//! - a write-back that says the same as the one before it: between the same commits, of no other pages.
//!
//! Small neighbours that are sorted already are taken along, if they are not larger than what is to be sorted anyway: so the number of files stays small, and
//! no file is rewritten more often than its size doubles.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::file::{Archive, FileHead, Form, Head, Kind, Notes, Place, Reach};
use super::sorted::Packer;
use super::{
    FILE_BYTES, History, Kept, PARTS_OF_TIME, Point, SUFFIX_NEW, State, past, path_of, tell_damaged,
};
use crate::id::RawId;
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

/// Commits of an object are joined up to so many bytes.
const JOINED_BYTES: usize = 256 * 1_024;

/// The thread that rewrites files.
pub(crate) struct Compactor {
    history: Arc<History>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that there may be something to do.
#[derive(Debug, Default)]
pub(super) struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    is_wanted: bool,
    is_ending: bool,
}

impl Compactor {
    pub(crate) fn start(history: Arc<History>) -> Result<Compactor> {
        let for_thread = Arc::clone(&history);
        let thread = std::thread::Builder::new()
            .name("durable-history".to_owned())
            .spawn(move || run(&for_thread))
            .map_err(|error| {
                Error::new(ErrorKind::Storage, format!("cannot start a thread: {error}"))
            })?;
        Ok(Compactor { history, thread: Some(thread) })
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.history.signal.wanted.lock().is_ending = true;
        self.history.signal.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            note!(error, "the thread of the objects' history has panicked");
        }
    }
}

fn run(history: &History) {
    give_way();
    let mut worked = Duration::ZERO;
    // It rests as long as it has worked.
    while history.signal.rest(worked) {
        let begun = Instant::now();
        let has_worked = history.compact_next();
        worked = begun.elapsed();
        if !has_worked && !history.signal.wait() {
            return;
        }
    }
}

/// Lets the other threads go first. Where a thread has no rank of its own, nothing is done.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

impl Signal {
    pub(super) fn want(&self) {
        self.wanted.lock().is_wanted = true;
        self.changed.notify_all();
    }

    /// Waits until there may be something to do; `false` at the end.
    fn wait(&self) -> bool {
        let mut wanted = self.wanted.lock();
        while !wanted.is_wanted && !wanted.is_ending {
            self.changed.wait(&mut wanted);
        }
        wanted.is_wanted = false;
        !wanted.is_ending
    }

    /// Waits for a time; `false` at the end.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut wanted = self.wanted.lock();
        while !wanted.is_ending && Instant::now() < until {
            self.changed.wait_until(&mut wanted, until);
        }
        !wanted.is_ending
    }
}

/// The files to be rewritten next, the oldest first: one that is to be sorted, and small neighbours before it.
pub(super) fn next_files(files: &[Kept], age_max: i64) -> Option<&[Kept]> {
    let last = files.iter().position(|file| file.state == State::Finished)?;
    let (mut first, mut bytes) = (last, files[last].bytes);
    while let Some(before) = first.checked_sub(1).map(|before| &files[before]) {
        let is_small = before.bytes <= bytes && bytes + before.bytes <= FILE_BYTES;
        let is_next = before.number + 1 == files[first].first;
        let age = files[last].begun_ms.saturating_sub(before.begun_ms);
        if before.state != State::Sorted || !is_small || !is_next || age > age_max {
            break;
        }
        first -= 1;
        bytes += before.bytes;
    }
    files.get(first..=last)
}

impl History {
    /// Rewrites what is to be rewritten next; `false` if there is nothing.
    pub(crate) fn compact_next(&self) -> bool {
        let _one = self.compacting.lock();
        let age_max = self.limits.keep_ms / PARTS_OF_TIME;
        let files = next_files(&self.files.lock(), age_max).map(<[Kept]>::to_vec);
        let Some(files) = files else { return false };
        if let Err(error) = self.compact(&files, None) {
            note!(warn, reason = %error, "a file of the objects' history could not be sorted, and stays as it is");
            let number = files.last().map(|last| last.number);
            let mut files = self.files.lock();
            if let Some(file) = files.iter_mut().find(|file| Some(file.number) == number) {
                file.state = State::Left;
            }
        }
        true
    }

    /// Overwrites what was [erased](Self::erase) of an object, in all files.
    ///
    /// # Errors
    /// When a file cannot be read or rewritten: part of it may still be there.
    pub(crate) fn wipe(&self, id: RawId) -> io::Result<()> {
        let _one = self.compacting.lock();
        let mut erased = Reach::default();
        let mut holding = Vec::new();
        for archive in self.archives()? {
            let (number, is_sorted) = (archive.number, archive.head.form == Form::Sorted);
            match archive.entries(Some(id)) {
                Ok(entries) => {
                    let (erasures, places): (Vec<Place>, Vec<Place>) =
                        entries.places.iter().partition(|place| place.head.kind == Kind::Erase);
                    let up_to = erasures.iter().map(|place| place.head.up_to()).max();
                    erased = erased.max(up_to.unwrap_or_default());
                    let first = places.iter().map(|place| place.reach).min();
                    // One that is not sorted may hold torn entries, too.
                    holding.push((number, if is_sorted { first } else { Some(Reach::default()) }));
                }
                // Nothing leads to what it holds, and nothing may be left of it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tell_damaged(&archive, &error);
                    self.files.lock().retain(|file| file.number != number);
                    self.remove(&archive.path)?;
                }
                Err(error) => return Err(error),
            }
        }
        for (number, first) in holding {
            if first.is_none_or(|first| first >= erased) {
                continue;
            }
            let is_it = |file: &&Kept| file.number == number && file.state != State::Open;
            let file = self.files.lock().iter().find(is_it).cloned();
            if let Some(file) = file {
                self.compact(&[file], Some((id, erased)))?;
            }
        }
        self.disk.sync_directory(&self.folder)
    }

    /// Rewrites neighbouring files into one. Also without what an object had before a place.
    fn compact(&self, files: &[Kept], erased: Option<(RawId, Reach)>) -> io::Result<()> {
        let [others @ .., last] = files else { return Ok(()) };
        let new = path_of(&self.folder, last.number).with_extension(&SUFFIX_NEW[1..]);
        let replaced = self
            .rewrite(files, erased, &new)
            .and_then(|bytes| self.replace(files, last, bytes, &new));
        match replaced {
            Ok(true) => {
                self.disk.sync_directory(&self.folder)?;
                others.iter().try_for_each(|file| self.remove(&file.path))
            }
            // They are not kept any more.
            Ok(false) => self.remove(&new),
            Err(error) => {
                // At the next start, if not now.
                let _ = self.remove(&new);
                // Unless somebody else has removed one.
                let kept = self.files.lock();
                let is_kept = |file: &Kept| kept.iter().any(|kept| kept.number == file.number);
                if files.iter().all(is_kept) { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Puts a new file in the place of others, if all of them are still kept.
    fn replace(&self, files: &[Kept], last: &Kept, bytes: u64, new: &Path) -> io::Result<bool> {
        let first = files.first().unwrap_or(last);
        let mut kept = self.files.lock();
        let Some(begin) = kept.iter().position(|file| file.number == first.number) else {
            return Ok(false);
        };
        let range = begin..begin + files.len();
        let numbers = |files: &[Kept]| files.iter().map(|file| file.number).collect::<Vec<_>>();
        if kept.get(range.clone()).map(numbers) != Some(numbers(files)) {
            return Ok(false);
        }
        self.disk.rename(new, &last.path)?;
        let (first, begun_ms) = (first.first, first.begun_ms);
        let state = State::Sorted;
        kept.splice(range, [Kept { first, bytes, begun_ms, state, ..last.clone() }]);
        Ok(true)
    }

    /// Writes a file that stands for others; says how long it is.
    fn rewrite(
        &self,
        files: &[Kept],
        erased: Option<(RawId, Reach)>,
        new: &Path,
    ) -> io::Result<u64> {
        let (first, begun_ms) = files.first().map_or((0, 0), |file| (file.first, file.begun_ms));
        let mut contents = Contents::read(self, files)?;
        let head = FileHead { form: Form::Sorted, begun_ms, first };
        let mut packer = Packer::create(&*self.disk, new, head)?;
        contents.places.sort_by_key(|(_, place)| (place.head.id, place.reach));
        for object in contents.places.chunk_by(|a, b| a.1.head.id == b.1.head.id) {
            let kept = unerased(object, erased);
            pack_write_backs(&mut packer, &contents.archives, &kept)?;
            pack_commits(&mut packer, &contents.archives, &kept)?;
        }
        packer.note(&contents.notes);
        packer.finish()
    }
}

/// What files hold, together.
struct Contents {
    archives: Vec<Archive>,
    places: Vec<(usize, Place)>,
    notes: Notes,
}

impl Contents {
    fn read(history: &History, files: &[Kept]) -> io::Result<Contents> {
        let mut contents =
            Contents { archives: Vec::new(), places: Vec::new(), notes: Notes::default() };
        for (index, file) in files.iter().enumerate() {
            let archive = Archive::open(&*history.disk, &file.path, file.number)?;
            let archive = archive.ok_or(io::ErrorKind::InvalidData)?;
            let entries = archive.entries(None)?;
            if entries.notes.anew_ms.is_some() {
                contents.places.clear();
                contents.notes.anew_ms = entries.notes.anew_ms;
            }
            contents.notes.marks.extend(entries.notes.marks);
            contents.places.extend(entries.places.into_iter().map(|place| (index, place)));
            contents.archives.push(archive);
        }
        Ok(contents)
    }
}

/// The entries of an object without what was erased.
fn unerased(object: &[(usize, Place)], erased: Option<(RawId, Reach)>) -> Vec<(usize, Place)> {
    let here = object.iter().filter(|(_, place)| place.head.kind == Kind::Erase);
    let here = here.map(|(_, place)| place.head.up_to()).max();
    let id = object.first().map(|(_, place)| place.head.id);
    let other = erased.filter(|(of, _)| Some(*of) == id).map(|(_, up_to)| up_to);
    let up_to = here.max(other).unwrap_or_default();
    let is_kept = |(_, place): &&(usize, Place)| match place.head.kind {
        Kind::Erase => Some(place.head.up_to()) == here,
        _ => place.reach >= up_to,
    };
    object.iter().filter(is_kept).copied().collect()
}

/// Packs what is not commits, in order. A write-back of which a part is damaged becomes a gap, which no chain leads over.
fn pack_write_backs(
    packer: &mut Packer,
    archives: &[Archive],
    places: &[(usize, Place)],
) -> io::Result<()> {
    let others: Vec<_> =
        places.iter().filter(|(_, place)| place.head.kind != Kind::Commits).collect();
    // The pages of write-backs that say the same, if the last one was of one part.
    let mut said: Option<(Head, HashSet<u32>)> = None;
    for parts in others.chunk_by(|a, _| a.1.head.has_more) {
        let begin = packer.len();
        let mut is_whole = true;
        for (archive, place) in parts {
            let Some(body) = archives[*archive].body(place)? else {
                is_whole = false;
                break;
            };
            let pages = || past::pages_of(&body).map(|entry| entry.number);
            match &mut said {
                Some((head, known)) if parts.len() == 1 && says_the_same(head, &place.head) => {
                    if pages().all(|number| known.contains(&number)) {
                        continue;
                    }
                    known.extend(pages());
                }
                _ => said = (parts.len() == 1).then(|| (place.head, pages().collect())),
            }
            packer.push(place.head, place.reach, &body)?;
        }
        if let (false, Some((_, last))) = (is_whole, parts.last()) {
            packer.truncate(begin);
            said = None;
            packer.push(last.head.gap(), last.reach, &[])?;
        }
    }
    Ok(())
}

/// Whether two write-backs that follow each other are of the same state, and lead to the same.
fn says_the_same(a: &Head, b: &Head) -> bool {
    let of = |head: &Head| (head.kind, head.from, head.to, head.size, head.removes);
    a.kind == Kind::Before && a.size > 0 && of(a) == of(b)
}

/// Packs commits, joined, each of them once.
fn pack_commits(
    packer: &mut Packer,
    archives: &[Archive],
    places: &[(usize, Place)],
) -> io::Result<()> {
    let mut known: HashMap<Point, u32> = HashMap::new();
    let mut joined: Option<(Head, Reach, Vec<u8>)> = None;
    for (archive, place) in places.iter().filter(|(_, place)| place.head.kind == Kind::Commits) {
        // Of one that is not whole, the journal has the rest; or it is damaged, and missed by whoever follows the commits.
        let Some(body) = archives[*archive].body(place)? else { continue };
        let Some(commits) = past::commits_of(&body) else {
            packer.push(place.head, place.reach, &body)?;
            continue;
        };
        for (stamp, bytes) in commits {
            let crc = crc32c::crc32c(bytes);
            if known.insert(stamp.into(), crc) == Some(crc) {
                continue;
            }
            let (head, _, all) = joined.get_or_insert_with(|| {
                (Head::commits(place.head.id, stamp, stamp), place.reach, Vec::new())
            });
            head.to = stamp;
            all.extend_from_slice(bytes);
            if all.len() > JOINED_BYTES
                && let Some((head, reach, all)) = joined.take()
            {
                packer.push(head, reach, &all)?;
            }
        }
    }
    joined.map_or(Ok(()), |(head, reach, all)| packer.push(head, reach, &all))
}
