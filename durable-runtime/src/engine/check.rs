//! Looking a data directory over, without changing it.
//!
//! The guarantee: every byte that a start would rely on is read, and nothing is written. What is checked is
//! the state that the next start would make: each object's file with the journal's newer pages on top, which are
//! put together in memory, one object after the other. The disk is opened for reading only, so even a mistake
//! in here could not change it.
//!
//! One file may be made: `LOCK`, if it is missing. While the check runs nobody else can open the directory.

mod listed;
mod object;
#[cfg(test)]
mod tests;
mod trial;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use self::listed::Listed;
use self::object::Examiner;
pub(crate) use self::trial::{Trial, TrialDatabase};
use super::files::{Disk, ReadOnlyDisk};
use super::journal::{checkpoint, segment};
use super::journaled::quarantine::Quarantine;
use super::journaled::recovery::{Replay, Replayed};
use super::pagestore::{object_at, object_path};
use super::scan::{self, Found, ScanReport, Visitor};
use super::vfs::Vfs;
use super::{Directory, ObjectKey, directory, tune_process};
use crate::{ErrorKind, Result};

/// Looks a data directory over: [`Check`] without more ado.
///
/// It takes as long as reading everything takes, and blocks the thread: call it outside of async code, or with
/// `spawn_blocking`.
///
/// ```
/// let data = tempfile::tempdir()?;
/// # let empty = durable_runtime::check(data.path()).unwrap_err();
/// # assert_eq!(empty.kind(), durable_runtime::ErrorKind::Invalid);
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let runtime = durable_runtime::Runtime::builder(data.path()).start().await.unwrap();
/// # runtime.shutdown().await.unwrap(); });
/// let report = durable_runtime::check(data.path())?;
/// assert!(report.is_sound(), "{report}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Check::run`].
pub fn check(directory: impl AsRef<Path>) -> Result<CheckReport> {
    Check::new(directory).run()
}

/// A check of a data directory, which changes nothing there.
#[must_use = "a check does nothing until it is run"]
pub struct Check {
    directory: PathBuf,
    on_progress: Box<dyn FnMut(CheckProgress) + Send>,
}

/// How far a check is. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckProgress {
    /// The journal is read: so many bytes of so many.
    Journal {
        /// Bytes read.
        done_bytes: u64,
        /// All bytes.
        total_bytes: u64,
    },
    /// The objects are read: so many of so many.
    Objects {
        /// Objects read.
        done: u64,
        /// All objects.
        total: u64,
    },
}

/// What a check found. Its `Display` is a list for people, one problem a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Objects that were looked at.
    pub objects: u64,
    /// Commits in the journal that the files may lack.
    pub commits: u64,
    /// Bytes of these commits in the journal.
    pub journal_bytes: u64,
    /// What is wrong; empty in a sound directory.
    pub problems: Vec<Problem>,
}

/// Something that is wrong in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The object that it concerns, if it is known and only one.
    pub object: Option<ProblemObject>,
    /// Where it was found.
    pub file: PathBuf,
    /// What to decide on.
    pub kind: ProblemKind,
    /// What to read.
    pub text: String,
}

/// Which object a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemObject {
    /// The key of its class: the first name that the class was registered under.
    pub class: String,
    /// Its id, as 64 hex digits.
    pub id: String,
    /// Its name, if it has one and that can be read.
    pub name: Option<String>,
}

/// What kind of problem it is. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Commits in the journal cannot be read, or are missing there.
    JournalDamaged,
    /// Something was written by a newer version of this program, and was not looked at.
    NewerFormat,
    /// The database of an object is not sound.
    DatabaseDamaged,
    /// A row refers to one that is not there.
    ForeignKey,
    /// A file holds another object than its path says.
    WrongIdentity,
    /// The system cannot read a file.
    Unreadable,
    /// A file that is no object's lies among the objects.
    Orphan,
    /// The catalogue of classes is not sound.
    CatalogueDamaged,
    /// An object that was stored has no file.
    Missing,
    /// A file is older than what is known to have been stored: somebody put an old copy there.
    Outdated,
    /// An object lost commits when the journal was damaged, and stays closed until an operator decides.
    Quarantined,
}

impl Check {
    /// A check of this directory.
    pub fn new(directory: impl AsRef<Path>) -> Check {
        Check { directory: directory.as_ref().to_owned(), on_progress: Box::new(|_| {}) }
    }

    /// Says now and then how far the check is, on the thread that runs it.
    pub fn on_progress(mut self, report: impl FnMut(CheckProgress) + Send + 'static) -> Check {
        self.on_progress = Box::new(report);
        self
    }

    /// Looks everything over, on this thread.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] while somebody uses the directory, [`ErrorKind::Invalid`] when it is no data
    /// directory, and [`ErrorKind::Storage`] when it cannot be opened at all. What is wrong inside of it is
    /// in the report and no error.
    pub fn run(mut self) -> Result<CheckReport> {
        tune_process();
        if let Some(version) = directory::newer_format(&self.directory) {
            let file = directory::format_path(&self.directory);
            let text = format!("version {version} is newer than this program: use a newer one");
            let problems = vec![Problem::new(None, file, ProblemKind::NewerFormat, text)];
            return Ok(CheckReport { problems, ..CheckReport::default() });
        }
        let directory = Directory::open_existing(&self.directory)?;
        let mut report = CheckReport::default();
        let (listed, problem) = Listed::open(directory.path());
        report.problems.extend(problem);
        let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk);
        look_over(&disk, directory.path(), listed, &mut *self.on_progress, &mut report)?;
        Ok(report)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("directory", &self.directory).finish_non_exhaustive()
    }
}

type OnProgress<'p> = dyn FnMut(CheckProgress) + 'p;

/// Everything but the format, the lock and the catalogue, which are not the disk's.
fn look_over(
    disk: &Arc<dyn Disk>,
    data: &Path,
    listed: Option<Listed>,
    on_progress: &mut OnProgress<'_>,
    report: &mut CheckReport,
) -> Result<()> {
    let mut reading = Reading { replay: Replay::default(), on_progress };
    let folder = data.join("journal");
    match scan::scan(&**disk, &folder, &mut reading) {
        Ok(found) => take_journal(&folder, &data.join("objects"), &found, report),
        // Without the journal nobody can say what the files are to hold.
        Err(error) => {
            let kind = match error.kind() {
                ErrorKind::Invalid => ProblemKind::NewerFormat,
                _ => ProblemKind::Unreadable,
            };
            report.problems.push(Problem::new(None, folder, kind, error.message().to_owned()));
            return Ok(());
        }
    }
    let quarantine = Quarantine::load(&**disk, &folder).unwrap_or_else(|error| {
        let (kind, text) = (ProblemKind::Unreadable, error.message().to_owned());
        report.problems.push(Problem::new(None, folder.clone(), kind, text));
        Quarantine::default()
    });
    let Reading { replay, on_progress } = reading;
    let root = data.join("objects");
    let vfs = Vfs::register(Arc::new(SystemTime::now))?;
    let examiner = Examiner { disk: Arc::clone(disk), root: root.clone(), vfs, quarantine, listed };
    let mut walk =
        Walk { examiner, replayed: replay.objects, done: 0, total: 0, on_progress, report };
    walk.run(&root);
    Ok(())
}

/// Keeps what the journal has, and tells how far it is.
struct Reading<'p> {
    replay: Replay,
    on_progress: &'p mut OnProgress<'p>,
}

impl Visitor for Reading<'_> {
    fn commit(&mut self, found: &Found<'_>) -> Result<()> {
        self.replay.commit(found)
    }

    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        (self.on_progress)(CheckProgress::Journal { done_bytes, total_bytes });
    }
}

fn take_journal(folder: &Path, root: &Path, found: &ScanReport, report: &mut CheckReport) {
    report.commits = found.commits;
    report.journal_bytes = found.bytes;
    let damaged =
        |object, file, text| Problem::new(object, file, ProblemKind::JournalDamaged, text);
    if found.is_checkpoint_damaged {
        let text = "it does not say where the journal begins".to_owned();
        report.problems.push(damaged(None, checkpoint::path_in(folder), text));
    }
    for damage in &found.damage {
        let file = segment::path_of(folder, damage.from.segment);
        let (from, to) = (damage.from.offset, damage.to.offset);
        let text = if damage.to.segment == damage.from.segment {
            format!("bytes {from} to {to} once were commits and cannot be read")
        } else {
            format!(
                "what once were commits cannot be read, from byte {from} on to byte {to} of segment {}",
                damage.to.segment
            )
        };
        report.problems.push(damaged(None, file, text));
    }
    for affected in &found.affected {
        let text = match affected.missing {
            Some(commit) => format!("the journal has lost commit {commit}"),
            None => "the journal has lost commits".to_owned(),
        };
        let file = object_path(root, &affected.object);
        report.problems.push(damaged(Some(ProblemObject::new(&affected.object)), file, text));
    }
}

/// Goes from object to object.
struct Walk<'p> {
    examiner: Examiner,
    /// What the journal says about those that were not met yet.
    replayed: std::collections::HashMap<ObjectKey, Replayed>,
    done: u64,
    total: u64,
    on_progress: &'p mut OnProgress<'p>,
    report: &'p mut CheckReport,
}

impl Walk<'_> {
    fn run(&mut self, root: &Path) {
        self.missing(root);
        let shards = self.shards(root);
        for shard in &shards {
            for path in self.list(shard) {
                self.file(root, path);
            }
        }
        // Those that were created after the last checkpoint have no file yet.
        for (key, replayed) in std::mem::take(&mut self.replayed) {
            self.total = self.total.max(self.done + 1);
            self.object(&key, Some(replayed));
        }
        (self.on_progress)(CheckProgress::Objects { done: self.done, total: self.done });
    }

    /// Finds the objects that are listed and have no file, nor anything in the journal.
    fn missing(&mut self, root: &Path) {
        let Walk { examiner, replayed, report, .. } = self;
        let Some(listed) = &examiner.listed else { return };
        let visited = listed.for_each(|key| {
            let path = object_path(root, &key);
            let is_found = replayed.contains_key(&key)
                || examiner.quarantine.objects.contains_key(&key)
                || examiner.disk.exists(&path).unwrap_or(true);
            if !is_found {
                let object = Some(ProblemObject::new(&key));
                let text = "the catalogue knows the object, and its file is not there".to_owned();
                report.problems.push(Problem::new(object, path, ProblemKind::Missing, text));
            }
        });
        if let Err(error) = visited {
            let (kind, text) = (ProblemKind::CatalogueDamaged, error.to_string());
            report.problems.push(Problem::new(
                None,
                root.with_file_name("catalogue.db"),
                kind,
                text,
            ));
        }
    }

    /// The folders with files, which are counted.
    fn shards(&mut self, root: &Path) -> Vec<PathBuf> {
        if matches!(self.examiner.disk.exists(root), Ok(false)) {
            return Vec::new();
        }
        let mut shards = Vec::new();
        for class in self.list(root) {
            shards.extend(self.list(&class));
        }
        for shard in &shards {
            let files = self.examiner.disk.list(shard).map_or(0, |files| files.len());
            self.total += files as u64;
        }
        shards
    }

    /// What is in a folder; what is no folder is a problem.
    fn list(&mut self, folder: &Path) -> Vec<PathBuf> {
        self.examiner.disk.list(folder).unwrap_or_else(|error| {
            let (kind, text) = match error.kind() {
                io::ErrorKind::NotADirectory => (ProblemKind::Orphan, NO_OBJECT.to_owned()),
                _ => (ProblemKind::Unreadable, error.to_string()),
            };
            self.report.problems.push(Problem::new(None, folder.to_owned(), kind, text));
            Vec::new()
        })
    }

    fn file(&mut self, root: &Path, path: PathBuf) {
        let Some(key) = object_at(root, &path) else {
            let problem = Problem::new(None, path, ProblemKind::Orphan, NO_OBJECT.to_owned());
            self.report.problems.push(problem);
            return;
        };
        let replayed = self.replayed.remove(&key);
        self.object(&key, replayed);
    }

    fn object(&mut self, key: &ObjectKey, replayed: Option<Replayed>) {
        // Of a deleted object a file may be left, which the next start removes.
        if !replayed.as_ref().is_some_and(|replayed| replayed.is_deleted) {
            self.report.problems.extend(self.examiner.examine(key, replayed));
            self.report.objects += 1;
        }
        self.done += 1;
        (self.on_progress)(CheckProgress::Objects { done: self.done, total: self.total });
    }
}

const NO_OBJECT: &str = "no object has this file";

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Problem {
    fn new(
        object: Option<ProblemObject>,
        file: PathBuf,
        kind: ProblemKind,
        text: String,
    ) -> Problem {
        Problem { object, file, kind, text }
    }
}

impl ProblemObject {
    fn new(key: &ObjectKey) -> ProblemObject {
        ProblemObject { class: key.class.to_string(), id: key.id.to_string(), name: None }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            0 => f.write_str("sound")?,
            1 => f.write_str("1 problem")?,
            problems => write!(f, "{problems} problems")?,
        }
        let CheckReport { objects, commits, journal_bytes, .. } = self;
        write!(f, ": {objects} objects, {commits} commits in {journal_bytes} bytes of journal")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind)?;
        if let Some(object) = &self.object {
            write!(f, "{object} in ")?;
        }
        write!(f, "{}: {}", self.file.display(), self.text)
    }
}

impl fmt::Display for ProblemObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            // Escaped: a name may hold what a terminal obeys.
            Some(name) => write!(f, "{} {name:?} ({})", self.class.escape_debug(), self.id),
            None => write!(f, "{} {}", self.class.escape_debug(), self.id),
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProblemKind::JournalDamaged => "journal damaged",
            ProblemKind::NewerFormat => "newer format",
            ProblemKind::DatabaseDamaged => "database damaged",
            ProblemKind::ForeignKey => "foreign key violated",
            ProblemKind::WrongIdentity => "wrong identity",
            ProblemKind::Unreadable => "unreadable",
            ProblemKind::Orphan => "orphan",
            ProblemKind::CatalogueDamaged => "catalogue damaged",
            ProblemKind::Missing => "file missing",
            ProblemKind::Outdated => "file outdated",
            ProblemKind::Quarantined => "in quarantine",
        })
    }
}
