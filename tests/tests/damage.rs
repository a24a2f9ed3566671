//! A journal with a hole: the objects that lost commits stay closed, all others go on, and nothing is lost in silence.

use std::fs;
use std::path::{Path, PathBuf};

use durable::prelude::*;
use durable::{ErrorKind, ProblemKind, check};
use durable_tests::ledger::Ledger;
use durable_tests::{Bed, Form, copy_directory, on_one_thread};

const OBJECTS: usize = 6;
const ROUNDS: i64 = 4;

/// A directory as `kill -9` leaves it, with all commits in the journal.
fn killed() -> tempfile::TempDir {
    let bed = Bed::new(Form::Moved);
    let copy = tempfile::tempdir().unwrap();
    on_one_thread(async {
        let runtime = bed.builder().register::<Ledger>().resident_limit(2).start().await.unwrap();
        for round in 0..ROUNDS {
            for object in 0..OBJECTS {
                runtime.get::<Ledger>(&object.to_string()).enter(round, 9_000).await.unwrap();
            }
        }
        copy_directory(bed.path(), copy.path());
        runtime.shutdown().await.unwrap();
    });
    copy
}

/// Changes the journal in the middle of what is used of it; gives the segment and its new content.
fn damage(data: &Path, bytes: usize) -> (PathBuf, Vec<u8>) {
    let files = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|end| end == "segment"));
    let path = segments.min().unwrap();
    let mut content = fs::read(&path).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap();
    content[used / 2..used / 2 + bytes].iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(&path, &content).unwrap();
    (path, content)
}

/// What the objects hold: `None` for those that are refused, which say why.
async fn audit(runtime: &Runtime) -> Vec<Option<Vec<i64>>> {
    let mut found = Vec::new();
    for object in 0..OBJECTS {
        found.push(match runtime.get::<Ledger>(&object.to_string()).audit().await {
            Ok(numbers) => Some(numbers),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("Ledger") && text.contains("lost commits"), "{text}");
                assert!(text.contains("QUARANTINE"), "{text}");
                None
            }
        });
    }
    found
}

#[test]
fn one_object_loses_commits_and_the_others_go_on() {
    let data = killed();
    let (segment, content) = damage(data.path(), 1);
    assert!(!check(data.path()).unwrap().is_sound());
    let all: Vec<i64> = (0..ROUNDS).collect();
    on_one_thread(async {
        for start in 0..3 {
            let builder = Runtime::builder(data.path()).register::<Ledger>();
            let runtime = builder.start().await.unwrap();
            let mut found = audit(&runtime).await;
            let lost = found.iter().position(Option::is_none).unwrap();
            found.remove(lost);
            for numbers in found {
                let mut expected = all.clone();
                expected.extend(100..100 + start);
                assert_eq!(numbers.unwrap(), expected);
            }
            for object in (0..OBJECTS).filter(|object| *object != lost) {
                let stub = runtime.get::<Ledger>(&object.to_string());
                stub.enter(100 + start, 10).await.unwrap();
            }
            let refused = runtime.get::<Ledger>(&lost.to_string()).enter(100, 10).await;
            assert!(refused.is_err());
            runtime.shutdown().await.unwrap();
            let report = check(data.path()).unwrap();
            let kinds: Vec<_> = report.problems.iter().map(|problem| problem.kind).collect();
            assert_eq!(kinds, [ProblemKind::Quarantined], "{report}");
        }
    });
    let folders = fs::read_dir(data.path().join("journal")).unwrap();
    let folder = folders.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    assert!(fs::read(folder.join(segment.file_name().unwrap())).unwrap() == content);
}

#[test]
fn what_nobody_can_name_has_to_be_accepted() {
    let data = killed();
    let (segment, content) = damage(data.path(), 20_000);
    on_one_thread(async {
        let builder = || Runtime::builder(data.path()).register::<Ledger>();
        let error = builder().start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.message().contains("accept_damage"), "{error}");
        assert!(fs::read(&segment).unwrap() == content, "it was overwritten");
        let runtime = builder().accept_damage(true).start().await.unwrap();
        let found = audit(&runtime).await;
        assert!(found.iter().any(Option::is_none), "{found:?}");
        let all: Vec<i64> = (0..ROUNDS).collect();
        // Each is as it was after some turn.
        assert!(found.iter().flatten().all(|numbers| all.starts_with(numbers)), "{found:?}");
        runtime.shutdown().await.unwrap();
        // Once.
        let runtime = builder().start().await.unwrap();
        assert_eq!(audit(&runtime).await, found);
        runtime.shutdown().await.unwrap();
    });
}
