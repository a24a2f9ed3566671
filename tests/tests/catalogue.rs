//! The catalogue is a cache: without it nothing is lost.

use std::fs;

use durable::prelude::*;
use durable::{Check, ProblemKind};
use durable_tests::ledger::Ledger;
use durable_tests::{Bed, Form, copy_directory, on_one_thread};

/// The same objects under a new name.
#[derive(Debug, Default)]
struct Journal;

#[durable_object(renamed_from = "Ledger")]
impl Journal {
    pub fn count(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT count(*) FROM entries", [])
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE entries (number INTEGER NOT NULL, padding BLOB);
             CREATE TABLE sums (total INTEGER NOT NULL);
             INSERT INTO sums VALUES (0)",
        )
    }
}

#[test]
fn a_lost_catalogue_is_made_anew() {
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        for object in ["a", "b", "c"] {
            runtime.get::<Ledger>(object).enter(7, 10).await.unwrap();
        }
        let killed = tempfile::tempdir().unwrap();
        copy_directory(bed.path(), killed.path());
        runtime.shutdown().await.unwrap();
        for data in [bed.path(), killed.path()] {
            fs::remove_file(data.join("catalogue.db")).unwrap();
            let start = || Runtime::builder(data);
            let runtime = start().register::<Ledger>().start().await.unwrap();
            assert_eq!(runtime.get::<Ledger>("b").audit().await.unwrap(), [7]);
            runtime.shutdown().await.unwrap();
            let connection = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
            let names: Vec<String> = connection
                .prepare("SELECT name FROM objects WHERE commit_number > 0 ORDER BY name")
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            assert_eq!(names, ["a", "b", "c"]);
            drop(connection);
            // The class has its objects also if it was renamed meanwhile.
            fs::remove_file(data.join("catalogue.db")).unwrap();
            let runtime = start().register::<Journal>().start().await.unwrap();
            assert_eq!(runtime.get::<Journal>("c").count().await.unwrap(), 1);
            runtime.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_check_misses_the_files_that_the_catalogue_knows() {
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        for object in ["a", "b"] {
            runtime.get::<Ledger>(object).enter(7, 10).await.unwrap();
        }
        runtime.shutdown().await.unwrap();
        let old = tempfile::tempdir().unwrap();
        copy_directory(bed.path(), old.path());
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        runtime.get::<Ledger>("a").enter(8, 10).await.unwrap();
        runtime.get::<Ledger>("b").enter(8, 10).await.unwrap();
        runtime.shutdown().await.unwrap();
        let files = bed.object_files();
        assert!(Check::new(bed.path()).run().unwrap().is_sound());
        fs::remove_file(&files[0]).unwrap();
        fs::copy(old.path().join(files[1].strip_prefix(bed.path()).unwrap()), &files[1]).unwrap();
        let report = Check::new(bed.path()).run().unwrap();
        let mut found: Vec<_> =
            report.problems.iter().map(|it| (it.kind, it.file.clone())).collect();
        found.sort_by_key(|(kind, _)| *kind == ProblemKind::Outdated);
        let paths: Vec<_> = found.iter().map(|(_, path)| path.file_name()).collect();
        assert_eq!(paths, [files[0].file_name(), files[1].file_name()]);
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [ProblemKind::Missing, ProblemKind::Outdated], "{report}");
    });
}
