//! Trying migrations on the data that they will meet.

use std::collections::BTreeMap;
use std::path::Path;

use durable::prelude::*;
use durable::{ErrorKind, check_migrations_on};
use durable_tests::{copy_directory, on_one_thread};

struct Guests;

#[durable_object]
impl Guests {
    fn new(_: &Context) -> Self {
        Guests
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE guests (name TEXT NOT NULL) STRICT")
    }

    pub fn add(&mut self, ctx: &Context, name: &str) -> Result<()> {
        ctx.sql().execute("INSERT INTO guests VALUES (?)", [name]).map(drop)
    }

    pub fn leave(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }
}

/// The next version, under a new name: guests have to be different, and none may be called `panic`.
struct Visitors;

#[durable_object(renamed_from = "Guests")]
impl Visitors {
    fn new(_: &Context) -> Self {
        Visitors
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE guests (name TEXT NOT NULL) STRICT")
    }

    #[migration(2)]
    fn be_unique(db: &mut Migration<'_>) -> Result<()> {
        let panics: u32 = db.query_one("SELECT count(*) FROM guests WHERE name = 'panic'", [])?;
        assert_eq!(panics, 0, "no panic");
        db.execute_batch("CREATE UNIQUE INDEX names ON guests (name)")
    }

    #[migration(3)]
    fn count(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE visits (count INTEGER NOT NULL) STRICT; INSERT INTO visits VALUES (0)",
        )
    }

    pub fn visits(&self, ctx: &Context) -> Result<u32> {
        ctx.sql().query_one("SELECT count FROM visits", [])
    }
}

/// All files under a folder, with what is in them.
fn content(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

#[test]
fn a_rehearsal_says_which_objects_would_fail_and_changes_nothing() {
    on_one_thread(async {
        let (data, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime = Runtime::builder(data.path()).register::<Guests>().start().await.unwrap();
        for (object, guests) in [
            ("sound", &["ada", "bob"][..]),
            ("twins", &["ada", "ada"]),
            ("left", &["eve"]),
            ("panics", &["panic"]),
        ] {
            for guest in guests {
                runtime.get::<Guests>(object).add(guest).await.unwrap();
            }
        }
        let guests = runtime.namespace::<Guests>();
        assert!(guests.evict(&guests.id_from_name("sound").unwrap()).unwrap());
        runtime.get::<Guests>("left").leave().await.unwrap();
        assert_eq!(
            check_migrations_on::<Visitors>(data.path()).unwrap_err().kind(),
            ErrorKind::Locked
        );
        // As a kill leaves it: most of it is in the journal. Then as a shutdown does.
        copy_directory(data.path(), killed.path());
        runtime.shutdown().await.unwrap();
        for data in [killed.path(), data.path()] {
            let before = content(data);
            let report = check_migrations_on::<Visitors>(data).unwrap();
            assert_eq!(content(data), before);
            assert!(!report.is_sound());
            assert!(report.objects.is_sorted_by_key(|object| object.id.clone()));
            let mut found: Vec<_> = report
                .objects
                .iter()
                .map(|object| {
                    assert_eq!((object.from, object.to), (1, 3));
                    let error = object.error.as_ref().map(|error| error.message().to_owned());
                    (object.id.name().unwrap(), error.unwrap_or_default())
                })
                .collect();
            found.sort();
            let [(panics, panicked), sound, (twins, not_unique)] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(*sound, ("sound", String::new()));
            assert!(*panics == "panics" && panicked.contains("no panic"), "{panicked}");
            assert!(
                *twins == "twins" && not_unique.contains("migration 2 `be_unique`"),
                "{not_unique}"
            );
            assert_eq!(report.failures().count(), 2);
            // The program of today has nothing to do.
            let report = check_migrations_on::<Guests>(data).unwrap();
            assert!(report.is_sound() && report.objects.len() == 3, "{report:?}");
        }
        // What was said to go well does.
        let runtime = Runtime::builder(killed.path()).register::<Visitors>().start().await.unwrap();
        assert_eq!(runtime.get::<Visitors>("sound").visits().await.unwrap(), 0);
        runtime.get::<Visitors>("twins").visits().await.unwrap_err();
        runtime.shutdown().await.unwrap();
        // And once it has gone well, yesterday's program is what would fail.
        let error = check_migrations_on::<Guests>(killed.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("renamed_from = \"Visitors\""), "{error}");
    });
}

#[test]
fn a_directory_without_the_class_is_sound() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let error = check_migrations_on::<Guests>(data.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let runtime = Runtime::builder(data.path()).start().await.unwrap();
        runtime.shutdown().await.unwrap();
        let report = check_migrations_on::<Guests>(data.path()).unwrap();
        assert!(report.is_sound() && report.objects.is_empty());
    });
}
