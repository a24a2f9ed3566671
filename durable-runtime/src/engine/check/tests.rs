use std::fs;

use super::*;
use crate::engine::journal::segment::SEGMENT_HEAD_BYTES;
use crate::id::RawId;

/// A data directory with an empty journal.
fn directory() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    executor.block_on(async {
        let runtime = crate::Runtime::builder(data.path()).start().await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    data
}

#[test]
fn a_newer_segment_ends_the_check() {
    let data = directory();
    assert!(check(data.path()).unwrap().is_sound());
    let segments = fs::read_dir(data.path().join("journal")).unwrap();
    let segments = segments.map(|entry| entry.unwrap().path());
    let path = segments.filter(|path| segment::number_of(path).is_some()).max().unwrap();
    let mut content = fs::read(&path).unwrap();
    content[8] = 2;
    let crc = crc32c::crc32c(&content[..40]);
    content[40..44].copy_from_slice(&crc.to_le_bytes());
    assert!(content.len() > SEGMENT_HEAD_BYTES as usize);
    fs::write(&path, &content).unwrap();
    let report = check(data.path()).unwrap();
    assert_eq!(report.problems.len(), 1);
    let Problem { kind, text, .. } = &report.problems[0];
    assert_eq!(*kind, ProblemKind::NewerFormat);
    assert!(text.contains("has format version 2") && text.contains(path.to_str().unwrap()));
}

#[test]
fn a_lock_that_is_missing_is_made() {
    let data = directory();
    fs::remove_file(data.path().join("LOCK")).unwrap();
    assert!(check(data.path()).unwrap().is_sound());
}

#[test]
fn a_problem_is_told_in_a_line() {
    let key = ObjectKey { class: "Room".into(), id: RawId::from_name("Room", None, "x") };
    let mut object = ProblemObject::new(&key);
    object.name = Some("two\nlines \u{1b}".to_owned());
    let file = PathBuf::from("/data/file.db");
    let kind = ProblemKind::DatabaseDamaged;
    let problem = Problem::new(Some(object), file, kind, "page 3".to_owned());
    let id = key.id;
    assert_eq!(
        problem.to_string(),
        format!("database damaged: Room \"two\\nlines \\u{{1b}}\" ({id}) in /data/file.db: page 3")
    );
    let report = CheckReport { problems: vec![problem; 2], ..CheckReport::default() };
    assert_eq!(report.to_string().lines().count(), 3);
}
