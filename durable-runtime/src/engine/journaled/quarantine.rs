//! Objects that lost commits when the journal was damaged, and what is kept of it.
//!
//! The guarantee: an object of which it is known that commits are missing is not opened, and nothing of it is
//! overwritten, until an operator says so; and the damaged journal is kept as it was found, byte for byte. Both
//! hold over restarts and crashes, also one in the middle of this.
//!
//! What a hole in the journal hides can be known or not:
//! - *Attributed*: the heads of the lost frames are intact and lead from one to the next, exactly to the end of the hole,
//!   and each names its object with an id that proves itself. Most damage is of this kind, since most bytes of a
//!   record are pages. Then the objects named are all that is lost, and all others go on.
//! - *Not attributed*: the hole may hold commits of any object, also of one that appears nowhere else in the
//!   journal. Commit numbers show a loss only where a later record of the same object was found. To go on would
//!   be to lose acknowledged writes and to say nothing; so the directory is refused, unless the operator accepts
//!   that. Then objects that provably lack a commit are quarantined, and all others go on with what was found of them.
//! - An object is also quarantined when its file and the journal do not fit together: the file is older than the commit
//!   before the first one in the journal, newer than the last one, or a page's image before a change is missing.
//!
//! On disk: `journal/damaged-N/`, N being the segment where redo began, holds a copy of every segment from there on and
//! of `CHECKPOINT`, so it is a journal itself; and `QUARANTINE`, a text with one object a line. The copy is durable
//! before `QUARANTINE` gets its name, and that before the journal begins anew. A crash in between finds the damaged
//! journal where it was, and does the same again. An object leaves the quarantine when its line is removed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::ObjectKey;
use crate::engine::directory::io_error;
use crate::engine::files::Disk;
use crate::engine::journal::{checkpoint, segment};
use crate::engine::pagestore::{escape, unescape};
use crate::engine::scan::{Affected, ScanReport};
use crate::{Error, ErrorKind, Result};

const FOLDER: &str = "damaged-";
const FILE: &str = "QUARANTINE";
const FILE_TEMPORARY: &str = "QUARANTINE.tmp";
const VERSION: &str = "durable quarantine 1";
const COPY_BYTES: usize = 1_024 * 1_024;

/// The objects that are not to be opened.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    pub(crate) objects: HashMap<ObjectKey, Quarantined>,
}

/// Why an object is not to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// The first commit that is missing, if that is known.
    pub(crate) missing: Option<u64>,
    /// Where it says so.
    pub(crate) file: PathBuf,
}

impl Quarantine {
    /// What is in quarantine according to the journal's folder, which need not exist.
    ///
    /// # Errors
    /// When a file cannot be read or understood: it is not to be taken for an empty one.
    pub(crate) fn load(disk: &dyn Disk, journal: &Path) -> Result<Quarantine> {
        let list = || if disk.exists(journal)? { disk.list(journal) } else { Ok(Vec::new()) };
        let paths = list().map_err(|error| io_error("list", journal, &error))?;
        let is_ours = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|it| it.starts_with(FOLDER))
        };
        let mut quarantine = Quarantine::default();
        for folder in paths.into_iter().filter(is_ours) {
            let file = folder.join(FILE);
            let text = read(disk, &file).map_err(|error| io_error("read", &file, &error))?;
            // Without the file the journal was not begun anew, or an operator has let everybody go.
            let Some(text) = text else { continue };
            for lost in parse(&text, &file)? {
                quarantine.add(&lost, &file);
            }
        }
        Ok(quarantine)
    }

    /// Keeps the damaged journal aside, and puts objects into quarantine, durably.
    ///
    /// # Errors
    /// When the disk fails or is full; nothing but the copy is changed then.
    pub(super) fn keep(
        &mut self,
        disk: &dyn Disk,
        journal: &Path,
        found: &ScanReport,
        lost: &[Affected],
    ) -> Result<PathBuf> {
        let folder = journal.join(format!("{FOLDER}{:020}", found.redo.segment));
        let kept = disk.create_dir_all(&folder).and_then(|()| {
            for path in files_to_keep(disk, journal, found)? {
                copy(disk, &path, &folder)?;
            }
            // Both before the file that says that all is here.
            disk.sync_directory(&folder)?;
            disk.sync_directory(journal)?;
            let temporary = folder.join(FILE_TEMPORARY);
            let file = disk.create(&temporary)?;
            file.set_len(0)?;
            file.write_at(describe(found, lost).as_bytes(), 0)?;
            file.sync_data()?;
            disk.rename(&temporary, &folder.join(FILE))?;
            disk.sync_directory(&folder)
        });
        kept.map_err(|error| {
            let kind = if crate::engine::files::is_full(&error) {
                ErrorKind::StorageFull
            } else {
                ErrorKind::Storage
            };
            let text = format!(
                "the journal is damaged and cannot be kept aside in {}: {error}",
                folder.display()
            );
            Error::new(kind, text)
        })?;
        let file = folder.join(FILE);
        for lost in lost {
            self.add(lost, &file);
        }
        Ok(file)
    }

    fn add(&mut self, lost: &Affected, file: &Path) {
        let why = Quarantined { missing: lost.missing, file: file.to_owned() };
        // The first loss counts.
        self.objects.entry(lost.object.clone()).or_insert(why);
    }

    /// Refuses an object that is in quarantine.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]
    pub(crate) fn check(&self, object: &ObjectKey) -> Result<()> {
        match self.objects.get(object) {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Storage, format!("{object} {why}"))),
        }
    }
}

impl std::fmt::Display for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost commits ")?;
        if let Some(missing) = self.missing {
            write!(f, "from number {missing} on ")?;
        }
        write!(
            f,
            "when the journal was damaged, and stays closed: put its file back from a copy, or take its line out \
             of {} to go on with the file as it is, and start again",
            self.file.display()
        )
    }
}

/// Every file that redo would need. Files that were never written to are left out where that is known.
fn files_to_keep(disk: &dyn Disk, journal: &Path, found: &ScanReport) -> io::Result<Vec<PathBuf>> {
    let is_needed = |path: &PathBuf| {
        segment::number_of(path).is_some_and(|number| number >= found.redo.segment)
    };
    let used = found.files.iter().filter(|file| !file.is_spare);
    let mut files: Vec<PathBuf> = used.map(|file| file.path.clone()).filter(is_needed).collect();
    let checkpoint = checkpoint::path_in(journal);
    if disk.exists(&checkpoint)? {
        files.push(checkpoint);
    }
    Ok(files)
}

/// Copies a file into a folder and makes its content durable.
fn copy(disk: &dyn Disk, from: &Path, folder: &Path) -> io::Result<()> {
    let Some(name) = from.file_name() else { return Ok(()) };
    let (from, to) = (disk.open(from)?, disk.create(&folder.join(name))?);
    // A copy that was interrupted may be there.
    to.set_len(0)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let bytes = from.read_at(&mut buffer, offset)?;
        if bytes == 0 {
            return to.sync_data();
        }
        to.write_at(&buffer[..bytes], offset)?;
        offset += bytes as u64;
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<String>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn describe(found: &ScanReport, lost: &[Affected]) -> String {
    let mut text = format!(
        "{VERSION}\n\
         # The journal was damaged. This folder holds it as it was found.\n\
         # The objects below lack commits and stay closed: id, first commit that is missing, class key.\n\
         # To open one, put its file back from a copy, or accept the loss; then remove its line and start again.\n"
    );
    for damage in &found.damage {
        let (from, to) = (damage.from, damage.to);
        // A string takes everything.
        let _ = writeln!(
            text,
            "# Lost: from byte {} of segment {} to byte {} of segment {}{}",
            from.offset,
            from.segment,
            to.offset,
            to.segment,
            if damage.is_attributed { "" } else { ", of objects that are not known" }
        );
    }
    for Affected { object, missing, .. } in lost {
        let missing = missing.map_or_else(|| "?".to_owned(), |missing| missing.to_string());
        let _ = writeln!(text, "{} {missing} {}", object.id, escape(&object.class));
    }
    text
}

fn parse(text: &str, file: &Path) -> Result<Vec<Affected>> {
    let refused = |why: &str| {
        Error::new(ErrorKind::Invalid, format!("{} cannot be read: {why}", file.display()))
    };
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Err(refused("it is of another version than this program knows"));
    }
    let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| parse_line(line).ok_or_else(|| refused(&format!("the line {line:?}"))))
        .collect()
}

fn parse_line(line: &str) -> Option<Affected> {
    let mut words = line.split_whitespace();
    let (id, missing, class) = (words.next()?, words.next()?, words.next()?);
    let missing = if missing == "?" { None } else { Some(missing.parse().ok()?) };
    let object = ObjectKey { class: unescape(class)?.into(), id: id.parse().ok()? };
    let is_whole = words.next().is_none() && object.id.belongs_to(&object.class);
    is_whole.then_some(Affected { object, missing, found: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scan::testing::object;

    #[test]
    fn what_is_described_is_read_again() {
        let lost = |number, missing| Affected { object: object(number), missing, found: None };
        let all = [lost(1, Some(7)), lost(2, None)];
        let text = describe(&ScanReport::default(), &all);
        assert_eq!(parse(&text, Path::new("Q")).unwrap(), all);
        // As an operator leaves it.
        let edited = text.lines().filter(|line| !line.ends_with("7 +room")).collect::<Vec<_>>();
        assert_eq!(parse(&edited.join("\r\n"), Path::new("Q")).unwrap(), all[1..]);
    }

    #[test]
    fn what_cannot_be_understood_is_not_nothing() {
        let good = describe(&ScanReport::default(), &[]);
        let id = object(1).id;
        for line in ["x", &format!("{id} 7"), &format!("{id} 7 other"), &format!("{id} x +room")] {
            let error = parse(&format!("{good}{line}\n"), Path::new("/j/Q")).unwrap_err();
            assert!(error.message().contains("/j/Q"), "{error}");
        }
        assert!(parse("", Path::new("Q")).is_err());
        assert!(parse("durable quarantine 2\n", Path::new("Q")).is_err());
    }
}
