//! What is in the journal after a stop or a crash.
//!
//! The guarantee: every commit that was durable is found, in order, once and whole, from the redo position to
//! the journal's end; nothing on disk is changed. The end is the first byte that is no frame, unless
//! it is proven that it once was one: then it is *damage*. The commits behind are still found, except
//! those of objects that lack one in between, and the report says which objects these are.
//!
//! The proof is a frame behind it whose batch begins behind it too, since a batch is written only
//! after everything before was durable. Without one it is the torn end of the last batch, which nobody was
//! told to be durable. Damage inside of the last batch cannot be told from that.
//!
//! A damage is *attributed* when it is known whose commits it hides. The heads of lost frames may still be readable,
//! and an id proves itself by its check. When such heads lead from one frame to the next, by their lengths, exactly to
//! where frames are whole again, and no number contradicts the commits that were found, these were all.
//!
//! Whether commits are lost of an object that is met behind a damage for the first time, only its database file can
//! say; and of one that is not met at all, nobody can.

mod log;
mod parts;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use self::log::{Log, Search};
use self::parts::{Joined, Parts};
use super::ObjectKey;
use super::files::Disk;
use super::journal::checkpoint::{self, Stored};
use super::record::frame::END_OF_SEGMENT;
use super::record::{Head, Position, Record};
use crate::Result;
use crate::id::RawId;

/// How many bytes lie between two reports of progress.
const PROGRESS_BYTES: u64 = 1_024 * 1_024;

/// Takes what is found.
pub(crate) trait Visitor {
    /// A commit, in the order of the journal.
    fn commit(&mut self, found: &Found<'_>) -> Result<()>;

    /// How much has been read.
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        let _ = (done_bytes, total_bytes);
    }
}

/// A whole commit.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// Of its first frame.
    #[cfg_attr(not(test), expect(dead_code, reason = "history will ask"))]
    pub(crate) position: Position,
    pub(crate) record: Record<'a>,
}

/// Bytes that once were frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) from: Position,
    /// The first frame behind.
    pub(crate) to: Position,
    /// Whether all that it hides are commits of affected objects.
    pub(crate) is_attributed: bool,
}

/// An object that lacks a commit. Its commits before were given out, those behind were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Affected {
    pub(crate) object: ObjectKey,
    /// The first commit that is missing, if that is known.
    pub(crate) missing: Option<u64>,
    /// The next one that was found, if any.
    pub(crate) found: Option<u64>,
}

/// A file of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldFile {
    pub(crate) path: PathBuf,
    /// Nothing was ever written to it but its head.
    pub(crate) is_spare: bool,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanReport {
    /// Where it began.
    pub(crate) redo: Position,
    /// Where the journal ends.
    pub(crate) end: Position,
    /// How many commits were given out.
    pub(crate) commits: u64,
    /// How many bytes of frames were read.
    pub(crate) bytes: u64,
    /// How many frames of a torn last batch lie behind the end.
    pub(crate) discarded_frames: u64,
    pub(crate) damage: Vec<Damage>,
    pub(crate) affected: Vec<Affected>,
    /// The redo position was lost, so it began with the oldest segment.
    pub(crate) is_checkpoint_damaged: bool,
    pub(crate) checkpoint_sequence: u64,
    /// For the generation to come.
    pub(crate) next_segment: u64,
    pub(crate) next_generation: u64,
    /// All files there are.
    pub(crate) files: Vec<OldFile>,
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing {
            Some(commit) => write!(f, "{} from commit {commit} on", self.object),
            None => write!(f, "{}", self.object),
        }
    }
}

impl ScanReport {
    /// Whether nothing that was durable is missing.
    pub(crate) fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.affected.is_empty() && !self.is_checkpoint_damaged
    }

    /// Whether nothing is missing but commits of the affected objects.
    pub(crate) fn is_attributed(&self) -> bool {
        !self.is_checkpoint_damaged && self.damage.iter().all(|damage| damage.is_attributed)
    }
}

/// Reads the journal in a folder, which need not exist, and gives every commit to the visitor.
///
/// # Errors
/// [`ErrorKind::Storage`](crate::ErrorKind::Storage) when a file cannot be read,
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when something is of a newer version, and what the
/// visitor returns.
pub(crate) fn scan(
    disk: &dyn Disk,
    folder: &Path,
    visitor: &mut dyn Visitor,
) -> Result<ScanReport> {
    let stored = checkpoint::read(disk, folder)?;
    let mut log = Log::open(disk, folder)?;
    let mut report = ScanReport {
        next_segment: log.next_segment(),
        next_generation: log.next_generation(),
        ..ScanReport::default()
    };
    report.redo = match stored {
        Stored::At(slot) => {
            report.checkpoint_sequence = slot.sequence;
            // Segments behind it may be lost; their numbers are not to be given again.
            report.next_segment = report.next_segment.max(slot.redo.segment.saturating_add(1));
            if !log.is_readable(slot.redo.segment) {
                report.damage.push(Damage {
                    from: slot.redo,
                    to: log::begin_of(slot.redo.segment.saturating_add(1)),
                    is_attributed: false,
                });
            }
            slot.redo
        }
        Stored::Nothing => log.first(),
        Stored::Damaged => {
            report.is_checkpoint_damaged = true;
            log.first()
        }
    };
    let mut scan = Scan {
        report,
        visitor,
        parts: Parts::default(),
        objects: HashMap::new(),
        total: 0,
        done: 0,
        shown: 0,
    };
    scan.run(&mut log)?;
    let mut report = scan.report;
    let is_clean = report.is_sound() && report.discarded_frames == 0;
    report.files = log.files(is_clean.then_some(report.end.segment));
    Ok(report)
}

/// Takes a commit: its head, flags and payload.
pub(crate) type Receiver<'a> = &'a mut dyn FnMut(Head<'_>, u8, &[u8]) -> io::Result<()>;

/// Gives every commit that is whole between two positions, in the order of the journal: its head, flags and payload. What is damaged is left out.
///
/// # Errors
/// When a file cannot be read, and what the receiver returns.
pub(crate) fn read(
    disk: &dyn Disk,
    folder: &Path,
    from: Position,
    to: Position,
    each: Receiver<'_>,
) -> io::Result<()> {
    if from >= to {
        return Ok(());
    }
    let mut log = Log::open(disk, folder).map_err(io::Error::other)?;
    let mut parts = Parts::default();
    let mut at = from;
    while at < to {
        if let Some(frame) = log.frame(at).map_err(io::Error::other)? {
            if frame.flags & END_OF_SEGMENT != 0 {
                at = log::begin_of(at.segment.saturating_add(1));
                continue;
            }
            let bytes = u32::try_from(frame.bytes).unwrap_or(0);
            if let Joined::Commit { head, flags, payload, .. } = parts.push(at, &frame) {
                each(head, flags, &payload)?;
            }
            at.offset += bytes;
            continue;
        }
        parts.interrupt();
        at = match log.search(at).map_err(io::Error::other)? {
            Search::Damage { resume } => resume,
            Search::End { next_generation: Some(next), .. } => next,
            Search::End { .. } => break,
        };
    }
    Ok(())
}

struct Scan<'v> {
    report: ScanReport,
    visitor: &'v mut dyn Visitor,
    parts: Parts,
    objects: HashMap<RawId, Last>,
    total: u64,
    done: u64,
    /// What of `done` was reported.
    shown: u64,
}

/// The last commit of an object.
struct Last {
    number: u64,
    is_affected: bool,
}

impl Scan<'_> {
    fn run(&mut self, log: &mut Log<'_>) -> Result<()> {
        self.total = log.bytes_from(self.report.redo);
        let mut at = self.report.redo;
        loop {
            if let Some(frame) = log.frame(at)? {
                self.done += frame.bytes as u64;
                self.report.bytes = self.done;
                if frame.flags & END_OF_SEGMENT != 0 {
                    at = log::begin_of(at.segment.saturating_add(1));
                    continue;
                }
                let behind =
                    Position { offset: at.offset + u32::try_from(frame.bytes).unwrap_or(0), ..at };
                let joined = self.parts.push(at, &frame);
                self.take(&joined)?;
                if matches!(joined, Joined::Nonsense) {
                    let damage = Damage { from: at, to: behind, is_attributed: false };
                    self.report.damage.push(damage);
                }
                at = behind;
                self.show_progress();
                continue;
            }
            let interrupted = self.parts.interrupt();
            self.report.end = at;
            match log.search(at)? {
                Search::Damage { resume } => {
                    if let Some((head, _)) = interrupted.as_deref().and_then(Head::parse) {
                        self.affect(&head, Some(head.number), None);
                    }
                    let is_attributed = self.name_lost(log, at, resume)?;
                    self.report.damage.push(Damage { from: at, to: resume, is_attributed });
                    at = resume;
                }
                Search::End { discarded, next_generation } => {
                    self.report.discarded_frames += discarded;
                    let Some(next) = next_generation else { break };
                    at = next;
                }
            }
        }
        self.visitor.progress(self.total, self.total);
        Ok(())
    }

    fn show_progress(&mut self) {
        if self.done - self.shown >= PROGRESS_BYTES {
            self.shown = self.done;
            self.visitor.progress(self.done.min(self.total), self.total);
        }
    }

    fn take(&mut self, joined: &Joined<'_>) -> Result<()> {
        match joined {
            Joined::Nothing | Joined::Nonsense => Ok(()),
            Joined::Orphan(head) => {
                self.affect(head, Some(head.number), None);
                Ok(())
            }
            Joined::Commit { position, head, flags, payload } => {
                if let Some(record) = Record::parse(*head, *flags, payload) {
                    return self.commit(*position, record);
                }
                self.affect(head, Some(head.number), None);
                Ok(())
            }
        }
    }

    fn commit(&mut self, position: Position, record: Record<'_>) -> Result<()> {
        let Head { id, number, .. } = record.head;
        match self.objects.get_mut(&id) {
            Some(last) if last.is_affected => {
                // Found after all, so what was taken for a lost commit of this object was something else.
                if number <= last.number {
                    self.report.damage.iter_mut().for_each(|damage| damage.is_attributed = false);
                }
                last.number = last.number.max(number);
                return Ok(());
            }
            // A creation needs none of the commits before it.
            Some(last) if record.effects.creates && number > last.number => last.number = number,
            Some(last) if last.number.checked_add(1) == Some(number) => last.number = number,
            Some(last) => {
                let missing = last.number.saturating_add(1);
                self.affect(&record.head, Some(missing), Some(number));
                return Ok(());
            }
            None => {
                self.objects.insert(id, Last { number, is_affected: false });
            }
        }
        self.report.commits += 1;
        self.visitor.commit(&Found { position, record })
    }

    fn affect(&mut self, head: &Head<'_>, missing: Option<u64>, found: Option<u64>) {
        let last = self.objects.entry(head.id).or_insert(Last { number: 0, is_affected: false });
        last.number = last.number.max(head.number);
        if !last.is_affected {
            last.is_affected = true;
            self.report.affected.push(Affected { object: head.object(), missing, found });
        }
    }

    /// Names the objects whose commits a damage hides, as far as the heads of its frames can still be read. Says
    /// whether these are all.
    fn name_lost(&mut self, log: &mut Log<'_>, from: Position, to: Position) -> Result<bool> {
        let mut at = from;
        loop {
            let (next, body) = log.guess(at)?;
            let head = Head::parse(body).map(|(head, _)| head);
            let Some(head) = head.filter(|head| head.id.belongs_to(head.class)) else {
                return Ok(false);
            };
            let is_in_order = self.lose(&head);
            match next {
                Some(next) if next == to => return Ok(is_in_order),
                Some(next) if is_in_order && next < to => at = next,
                _ => return Ok(false),
            }
        }
    }

    /// A damaged frame says that it was a commit of this object. Whether that fits to what was found of it.
    fn lose(&mut self, head: &Head<'_>) -> bool {
        let (is_in_order, missing) = match self.objects.get(&head.id) {
            // A further part of the same commit.
            Some(last) if last.is_affected && last.number == head.number => (true, None),
            Some(last) => {
                let missing = last.number.saturating_add(1);
                (missing == head.number, Some(missing))
            }
            // The number may be among what is damaged.
            None => (true, None),
        };
        self.affect(head, missing, None);
        is_in_order
    }
}
