//! Files that become objects, and files that do not.

use std::path::Path;

use durable::ErrorKind;
use durable::testing::TestRuntime;
use proptest::prelude::*;
use rusqlite::Connection;

use super::{Bank, folder, id, start};
use durable::prelude::*;

/// Of what any program may write: the schema after migration 1, with the version that says so.
const FOREIGN: &str =
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, filler BLOB);
    INSERT INTO accounts VALUES (1, 7, NULL), (2, 35, zeroblob(9000)); PRAGMA user_version = 1";

fn make(file: &Path, sql: &str) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

/// Imports a file under a name of its own.
async fn import(rt: &TestRuntime, file: &Path) -> Result<String> {
    let banks = rt.namespace::<Bank>();
    let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
    let imported = banks.import(&id(&banks, &name), file).await;
    assert_eq!(banks.exists(&id(&banks, &name)).unwrap(), imported.is_ok());
    imported.map(|()| name)
}

#[tokio::test]
async fn an_export_becomes_an_object_in_another_directory() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let home = id(&banks, "home");
    let stub = banks.get(&home);
    stub.note("one").await.unwrap();
    stub.tell("friend", "hello").await.unwrap();
    stub.wait_for_everything().await.unwrap();
    let (_folder, file) = folder();
    banks.export(&home, &file).await.unwrap();
    let mut other = start().await;
    let content = std::fs::read(&file).unwrap();
    let name = import(&other, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), content, "the file stays as it is");
    let banks = other.namespace::<Bank>();
    assert_eq!(banks.get_by_name(&name).notes().await.unwrap(), ["one"]);
    assert_eq!(banks.get_by_name(&name).last().await.unwrap().as_deref(), Some("one"));
    assert_eq!(banks.get_by_name(&name).waits_for().await.unwrap(), (false, 0, 0));
    assert_eq!(banks.get_by_name(&name).identity().await.unwrap().1.unwrap(), name);
    banks.get_by_name(&name).note("two").await.unwrap();
    other.crash().await.unwrap();
    let banks = other.namespace::<Bank>();
    assert_eq!(banks.get_by_name(&name).notes().await.unwrap(), ["one", "two"]);
    let again = banks.import(&id(&banks, &name), &file).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn files_of_other_programs() {
    let mut rt = start().await;
    let (folder, _) = folder();
    let mut names = Vec::new();
    for (name, before) in [
        ("plain", ""),
        ("small-pages", "PRAGMA page_size = 1024;"),
        ("large-pages", "PRAGMA page_size = 65536;"),
        ("vacuumed", "PRAGMA page_size = 4096; PRAGMA auto_vacuum = FULL;"),
        ("in-form", "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;"),
        ("statistics", "CREATE TABLE more (id INTEGER PRIMARY KEY AUTOINCREMENT); ANALYZE;"),
        (
            "search",
            "CREATE VIRTUAL TABLE texts USING fts5(text); INSERT INTO texts VALUES ('a b');",
        ),
    ] {
        let file = folder.path().join(format!("{name}.db"));
        drop(make(&file, &format!("{before}{FOREIGN}")));
        names.push(import(&rt, &file).await.unwrap());
    }
    // Its last commits are in its log, and it is not closed.
    let file = folder.path().join("logged.db");
    let open = make(&file, &format!("PRAGMA journal_mode = WAL; {FOREIGN}"));
    open.execute("UPDATE accounts SET amount = amount", []).unwrap();
    assert!(std::fs::metadata(folder.path().join("logged.db-wal")).unwrap().len() > 0);
    names.push(import(&rt, &file).await.unwrap());
    drop(open);
    for round in 0..2 {
        let banks = rt.namespace::<Bank>();
        for name in &names {
            let bank = banks.get_by_name(name);
            assert_eq!(bank.total().await.unwrap(), 42, "{name}");
            // The second migration has run here.
            assert_eq!(bank.notes().await.unwrap().len(), round, "{name}");
            bank.note("new").await.unwrap();
        }
        rt.restart().await.unwrap();
    }
    let report = rt.namespace::<Bank>().list().page().await.unwrap();
    assert_eq!(report.objects.len(), names.len());
}

#[tokio::test]
async fn what_is_no_sound_database_is_refused() {
    let rt = start().await;
    let (folder, _) = folder();
    let refused = async |name: &str, kind: ErrorKind, text: &str| {
        let file = folder.path().join(format!("{name}.db"));
        let error = import(&rt, &file).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.message().contains(text), "{name}: {error}");
    };
    let path = |name: &str| folder.path().join(format!("{name}.db"));
    std::fs::write(path("text"), "this is no database, but a text that is long enough").unwrap();
    refused("text", ErrorKind::Invalid, "no SQLite database").await;
    refused("missing", ErrorKind::Storage, "missing.db").await;
    std::fs::create_dir(path("folder")).unwrap();
    refused("folder", ErrorKind::Invalid, "no file").await;
    #[cfg(target_os = "linux")]
    {
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        refused("pipe", ErrorKind::Invalid, "no file").await;
    }
    drop(make(&path("damaged"), FOREIGN));
    let mut content = std::fs::read(path("damaged")).unwrap();
    let second = content.len() / 2;
    content[second..second + 2_000].fill(0x5a);
    std::fs::write(path("damaged"), &content).unwrap();
    refused("damaged", ErrorKind::Invalid, "").await;
    drop(make(&path("wide"), &format!("PRAGMA encoding = 'UTF-16le'; {FOREIGN}")));
    refused("wide", ErrorKind::Invalid, ".dump").await;
    let orphans = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p);
        PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (5);";
    drop(make(&path("orphans"), &format!("{orphans}{FOREIGN}")));
    refused("orphans", ErrorKind::Constraint, "`c`").await;
    drop(make(&path("newer"), &format!("{FOREIGN}; PRAGMA user_version = 9")));
    refused("newer", ErrorKind::Migration, "schema version 9").await;
    // It says that no migration has run, and the first one cannot.
    drop(make(&path("clash"), &format!("{FOREIGN}; PRAGMA user_version = 0")));
    refused("clash", ErrorKind::Migration, "migration 1 `create` failed").await;
    let copies = rt.namespace::<Bank>().list().page().await.unwrap();
    assert!(copies.objects.is_empty());
}

/// A rollback journal may say which file is to be removed once it was rolled back.
#[tokio::test]
async fn a_journal_removes_no_file() {
    let rt = start().await;
    let (folder, file) = folder();
    let precious = folder.path().join("precious");
    for names_it in [false, true] {
        std::fs::write(&precious, "x").unwrap();
        if !names_it {
            drop(make(&file, FOREIGN));
        }
        let pages = u32::try_from(std::fs::metadata(&file).unwrap().len() / 4_096).unwrap();
        let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
        let mut journal = magic.to_vec();
        for number in [0, 7, pages, 512, 4_096] {
            journal.extend(u32::to_be_bytes(number));
        }
        journal.resize(512, 0);
        if names_it {
            let name = precious.to_str().unwrap().as_bytes();
            journal.extend(u32::to_be_bytes(0x4000_0000 / 4_096 + 1));
            journal.extend(name);
            journal.extend(u32::to_be_bytes(u32::try_from(name.len()).unwrap()));
            journal.extend(u32::to_be_bytes(name.iter().map(|byte| u32::from(*byte)).sum()));
            journal.extend(magic);
        }
        let mut beside = file.clone().into_os_string();
        beside.push("-journal");
        std::fs::write(beside, journal).unwrap();
        let banks = rt.namespace::<Bank>();
        let imported = banks.import(&id(&banks, &format!("{names_it}")), &file).await;
        assert!(precious.exists());
        assert_eq!(
            imported.map_err(|error| error.kind()).err(),
            names_it.then_some(ErrorKind::Invalid)
        );
    }
}

#[tokio::test]
async fn an_export_brings_along_nothing_that_somebody_has_put_there() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let home = id(&banks, "home");
    banks.get(&home).note("one").await.unwrap();
    banks.get(&home).wait_for_everything().await.unwrap();
    let (folder, export) = folder();
    banks.export(&home, &export).await.unwrap();
    let tampered = |name: &str, sql: &str| {
        let file = folder.path().join(format!("{name}.db"));
        std::fs::copy(&export, &file).unwrap();
        drop(make(&file, sql));
        file
    };
    for (name, sql) in [
        ("alarm", "UPDATE _durable_alarm SET due = 1, time = 1"),
        ("another-form", "DROP TABLE _durable_alarm; CREATE TABLE _durable_alarm (x)"),
        ("other-id", "UPDATE _durable_meta SET id = x'00', name = 'admin', created = 1"),
        ("sender", "UPDATE _durable_sender SET epoch = 1"),
        ("wish", "CREATE TABLE _durable_restore (one INTEGER PRIMARY KEY, epoch INTEGER, number INTEGER);
            INSERT INTO _durable_restore VALUES (1, 1, 1)"),
        ("own-trigger", "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes WHERE text = 'x'; END"),
    ] {
        let imported = import(&rt, &tampered(name, sql)).await.unwrap();
        let bank = banks.get_by_name(&imported);
        assert_eq!(bank.waits_for().await.unwrap(), (false, 0, 0), "{name}");
        assert_eq!(bank.identity().await.unwrap().1.as_deref(), Some(name));
        assert_eq!(bank.notes().await.unwrap(), ["one"], "{name}");
    }
    for (name, sql) in [
        (
            "trigger-on-ours",
            "CREATE TRIGGER t AFTER INSERT ON _durable_kv BEGIN DELETE FROM notes; END",
        ),
        (
            "trigger-into-ours",
            "CREATE TRIGGER t AFTER INSERT ON notes BEGIN
            INSERT INTO _durable_kv VALUES ('k', x''); END",
        ),
        ("quoted", "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM \"_DURABLE_KV\"; END"),
        ("trigger-named", "CREATE TRIGGER _durable_t AFTER INSERT ON notes BEGIN SELECT 1; END"),
        ("view", "CREATE VIEW v AS SELECT * FROM _durable_kv"),
        ("view-named", "CREATE VIEW _durable_later AS SELECT 1"),
        ("table-named", "CREATE TABLE _durable_sockets (x)"),
        ("capitals", "CREATE TABLE _Durable_x (x)"),
        ("index", "CREATE INDEX i ON _durable_kv (value)"),
        ("reference", "CREATE TABLE r (k REFERENCES [_durable_kv] (key) ON DELETE CASCADE)"),
        ("kv-form", "DROP TABLE _durable_kv; CREATE TABLE _durable_kv (key, value)"),
        (
            "kv-virtual",
            "DROP TABLE _durable_kv; CREATE VIRTUAL TABLE _durable_kv USING fts5(key, value)",
        ),
        ("content", "CREATE VIRTUAL TABLE f USING fts5(value, content='_durable_kv')"),
        ("module", "CREATE VIRTUAL TABLE f USING fts4(value)"),
        ("module-behind-a-name", "CREATE VIRTUAL TABLE \"f using fts5(x)\" USING fts4(value)"),
        ("other-class", "UPDATE _durable_meta SET class = 'Till'"),
        ("newer-format", "UPDATE _durable_meta SET format = 99"),
        ("no-meta", "DROP TABLE _durable_meta"),
        ("empty-meta", "DELETE FROM _durable_meta"),
    ] {
        let error = import(&rt, &tampered(name, sql)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(error.message().contains("cannot be imported: "), "{name}: {error}");
    }
    for (name, sql) in [
        ("newer", "INSERT INTO _durable_migrations VALUES (3, 'later', 1, 1)"),
        ("changed", "UPDATE _durable_migrations SET checksum = 1 WHERE version = 1"),
    ] {
        let error = import(&rt, &tampered(name, sql)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration, "{name}: {error}");
    }
    assert_eq!(banks.list().page().await.unwrap().objects.len(), 7);
}

/// All that a user can see of a database.
fn content(file: &Path) -> Vec<String> {
    let connection = Connection::open(file).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('_durable_meta', '_durable_migrations')";
    let mut tables = connection.prepare(tables).unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut content = Vec::new();
    for table in tables {
        let mut rows = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
            content.push(format!("{table}: {}", values.collect::<Vec<_>>().join(", ")));
        }
    }
    content.sort();
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn an_import_of_an_export_is_the_same(
        transfers in prop::collection::vec((1..200_i64, 1..200_i64), 0..20),
        notes in prop::collection::vec(".{0,40}", 1..10),
    ) {
        durable_tests::on_one_thread(async move {
            let rt = start().await;
            let banks = rt.namespace::<Bank>();
            let (home, copy) = (id(&banks, "home"), id(&banks, "copy"));
            for (from, to) in transfers {
                banks.get(&home).transfer(from, to).await.unwrap();
            }
            for note in &notes {
                banks.get(&home).note(note).await.unwrap();
            }
            let (folder, first) = folder();
            let second = folder.path().join("second.db");
            banks.export(&home, &first).await.unwrap();
            banks.import(&copy, &first).await.unwrap();
            banks.export(&copy, &second).await.unwrap();
            assert_eq!(content(&first), content(&second));
            assert_eq!(banks.get(&copy).notes().await.unwrap(), notes);
        });
    }
}
