//! `durable::check` finds what is wrong in a data directory, and changes nothing there.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use durable::{Check, CheckProgress, CheckReport, ErrorKind, ProblemKind, Runtime, check};
use durable_tests::ledger::Ledger;
use durable_tests::{Bed, Form, copy_directory, on_one_thread};

const OBJECTS: u64 = 6;

/// A runtime with some ledgers, of which few stay in memory.
async fn runtime_with_ledgers(bed: &Bed) -> Runtime {
    let builder = bed.builder().register::<Ledger>().resident_limit(2);
    let runtime = builder.start().await.unwrap();
    for round in 0..4 {
        for object in 0..OBJECTS {
            runtime.get::<Ledger>(&format!("ledger {object}")).enter(round, 9_000).await.unwrap();
        }
    }
    runtime
}

/// A directory after a good end.
fn closed() -> Bed {
    let bed = Bed::new(Form::Moved);
    on_one_thread(async { runtime_with_ledgers(&bed).await.shutdown().await.unwrap() });
    bed
}

/// A directory as `kill -9` leaves it: whatever was acknowledged is in the journal, and few files are up to date.
fn killed() -> tempfile::TempDir {
    let bed = Bed::new(Form::Moved);
    let copy = tempfile::tempdir().unwrap();
    on_one_thread(async {
        let runtime = runtime_with_ledgers(&bed).await;
        copy_directory(bed.path(), copy.path());
        runtime.shutdown().await.unwrap();
    });
    copy
}

/// Every file with its length and a hash of its bytes.
fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(fingerprint(&path));
            continue;
        }
        let content = fs::read(&path).unwrap();
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        files.insert(path, (content.len(), hasher.finish()));
    }
    files
}

/// Checks a directory, and that the check leaves no trace.
fn check_unchanged(data: &Path) -> CheckReport {
    let before = fingerprint(data);
    let report = check(data).unwrap();
    assert_eq!(fingerprint(data), before);
    report
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

fn kinds(report: &CheckReport) -> Vec<ProblemKind> {
    report.problems.iter().map(|problem| problem.kind).collect()
}

/// The journal's first segment, and how much of it is used.
fn first_segment(data: &Path) -> (PathBuf, usize) {
    let files = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let path = files.filter(|path| path.extension().is_some_and(|end| end == "segment")).min();
    let path = path.unwrap();
    let used = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    (path, used)
}

#[test]
fn a_killed_program_leaves_a_sound_directory() {
    let data = killed();
    let report = check_unchanged(data.path());
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.objects, report.commits), (OBJECTS, 4 * OBJECTS));
    assert!(report.journal_bytes > 4 * OBJECTS * 9_000 / 100, "{report}");
    assert_eq!(
        report.to_string(),
        format!("sound: 6 objects, 24 commits in {} bytes of journal", report.journal_bytes)
    );
}

#[test]
fn so_does_one_that_ended_well() {
    let bed = closed();
    let report = check_unchanged(bed.path());
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.objects, OBJECTS);
}

#[test]
fn a_directory_in_use_and_one_that_is_none_are_refused() {
    let bed = Bed::new(Form::Moved);
    on_one_thread(async {
        let runtime = runtime_with_ledgers(&bed).await;
        assert_eq!(check(bed.path()).unwrap_err().kind(), ErrorKind::Locked);
        runtime.shutdown().await.unwrap();
    });
    let nothing = tempfile::tempdir().unwrap();
    let missing = nothing.path().join("data");
    assert_eq!(check(&missing).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!missing.exists());
}

#[test]
fn it_says_how_far_it_is() {
    let data = killed();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let run =
        Check::new(data.path()).on_progress(move |progress| sink.lock().unwrap().push(progress));
    run.run().unwrap();
    let seen = seen.lock().unwrap();
    assert!(matches!(seen.first(), Some(CheckProgress::Journal { .. })), "{seen:?}");
    let end = CheckProgress::Objects { done: OBJECTS, total: OBJECTS };
    assert_eq!(seen.last(), Some(&end));
}

#[test]
fn a_flipped_bit_in_the_journal() {
    let data = killed();
    let (path, used) = first_segment(data.path());
    change(&path, |content| content[used / 2] ^= 1);
    let report = check_unchanged(data.path());
    assert!(kinds(&report).contains(&ProblemKind::JournalDamaged), "{report}");
    assert!(report.problems.iter().any(|problem| problem.file == path), "{report}");
}

#[test]
fn a_damaged_page_concerns_its_object() {
    let bed = closed();
    let file =
        bed.object_files().into_iter().find(|file| fs::metadata(file).unwrap().len() > 40_000);
    let file = file.unwrap();
    change(&file, |content| content[4 * 4_096..5 * 4_096].fill(0x5a));
    let report = check_unchanged(bed.path());
    assert!(kinds(&report).contains(&ProblemKind::DatabaseDamaged), "{report}");
    for problem in &report.problems {
        assert_eq!(problem.file.file_name(), file.file_name(), "{report}");
        let object = problem.object.as_ref().unwrap();
        assert_eq!(object.class, "Ledger");
        assert!(file.to_str().unwrap().contains(&object.id));
        assert!(object.name.as_ref().unwrap().starts_with("ledger "), "{report}");
    }
}

#[test]
fn a_half_written_file_that_the_journal_cannot_mend() {
    let bed = closed();
    let file = &bed.object_files()[0];
    change(file, |content| content[19] = 0x80);
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::DatabaseDamaged], "{report}");
    assert!(report.problems[0].text.contains("write-back"), "{report}");
}

#[test]
fn a_lost_file_whose_later_commits_are_in_the_journal() {
    let bed = closed();
    let copy = tempfile::tempdir().unwrap();
    on_one_thread(async {
        let runtime = runtime_with_ledgers(&bed).await;
        copy_directory(bed.path(), copy.path());
        runtime.shutdown().await.unwrap();
    });
    assert!(check(copy.path()).unwrap().is_sound());
    let file = bed.object_files()[0].strip_prefix(bed.path()).unwrap().to_owned();
    fs::remove_file(copy.path().join(file)).unwrap();
    let report = check_unchanged(copy.path());
    assert_eq!(kinds(&report), [ProblemKind::JournalDamaged], "{report}");
    assert!(report.problems[0].text.starts_with("commit 1 is missing"), "{report}");
}

#[test]
fn a_newer_directory_is_not_looked_at() {
    let bed = closed();
    fs::write(bed.path().join("FORMAT"), "durable 2\n").unwrap();
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::NewerFormat]);
    assert_eq!((report.problems[0].file.clone(), report.objects), (bed.path().join("FORMAT"), 0));
}

#[test]
fn files_that_are_no_objects() {
    let bed = closed();
    let file = bed.object_files()[0].clone();
    let strangers = [
        bed.path().join("objects/notes.txt"),
        bed.path().join("objects/+ledger/notes.txt"),
        file.with_extension("bak"),
        bed.path().join("objects/+ledger/00").join(file.file_name().unwrap()),
    ];
    fs::create_dir_all(bed.path().join("objects/+ledger/00")).unwrap();
    for stranger in &strangers {
        fs::copy(&file, stranger).unwrap();
    }
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::Orphan; 4], "{report}");
    assert!(strangers.iter().all(|path| report.problems.iter().any(|it| it.file == *path)));
    assert_eq!(report.objects, OBJECTS);
}

#[test]
fn the_file_of_another_object() {
    let bed = closed();
    let files = bed.object_files();
    fs::copy(&files[0], &files[1]).unwrap();
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::WrongIdentity], "{report}");
    assert_eq!(report.problems[0].file.file_name(), files[1].file_name());
}

#[test]
fn a_row_that_refers_to_nothing() {
    let bed = closed();
    let file = &bed.object_files()[0];
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF; CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE children (id INTEGER PRIMARY KEY, parent REFERENCES parents);
             INSERT INTO children VALUES (3, 77)",
        )
        .unwrap();
    drop(connection);
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::ForeignKey], "{report}");
    let text = "row 3 of \"children\" refers to a row of \"parents\" that is not there";
    assert_eq!(report.problems[0].text, text);
}

#[test]
fn a_damaged_catalogue() {
    let bed = closed();
    change(&bed.path().join("catalogue.db"), |content| content[4_096..].fill(0x5a));
    let report = check_unchanged(bed.path());
    assert_eq!(kinds(&report), [ProblemKind::CatalogueDamaged], "{report}");
}
