use std::path::Path;
use std::time::Duration;

use super::*;
use crate::engine::{
    Catalogue, Directory, JournaledEngine, ObjectIndex, OnDamage, RealDisk, Scratch, WriteLimits,
};
use crate::id::{LocationHint, RawId};

pub(super) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn identity(name: Option<&str>) -> Arc<Identity> {
    let id = RawId::from_name("Counter", None, "home");
    let identity = Identity::new(Arc::from("Counter"), id);
    if let Some(name) = name {
        identity.name.set(Arc::from(name)).unwrap();
    }
    Arc::new(identity)
}

/// A store of the object `home`.
pub(super) fn store_of(engine: Arc<dyn Engine>, schema: &'static [MigrationInfo]) -> Store {
    Store::new(engine, identity(Some("home")), schema)
}

/// A store of the object `home` in a data directory.
pub(super) fn store_on(data: &Path, schema: &'static [MigrationInfo]) -> Store {
    store_of(engine_on(data), schema)
}

/// The engine of a data directory that nobody else has open.
pub(super) fn engine_on(data: &Path) -> Arc<dyn Engine> {
    let directory = Directory::open(data).unwrap();
    let catalogue = Arc::new(Catalogue::open(directory.path()).unwrap());
    Arc::new(
        JournaledEngine::open(
            directory,
            Arc::new(RealDisk),
            Arc::new(|| NOW),
            WriteLimits { checkpoint_distance: u64::MAX, ..WriteLimits::default() },
            OnDamage::Refuse,
            catalogue,
        )
        .unwrap(),
    )
}

/// The file of the object `home`.
pub(super) fn object_file(data: &Path) -> std::path::PathBuf {
    let id = identity(None).id.to_string();
    data.join("objects/+counter").join(&id[2..4]).join(format!("{id}.db"))
}

/// A store that keeps nothing.
pub(super) fn scratch() -> Store {
    Store::new(Arc::new(Scratch), identity(None), &[])
}

/// Runs one writing turn on a store that keeps nothing.
pub(super) fn turn_on_scratch(turn: impl FnOnce(&Store)) {
    let mut store = scratch();
    store.begin_turn(Access::Write);
    turn(&store);
    store.rollback_turn();
}

/// One committed turn.
pub(super) fn write(store: &mut Store, sql: &str) {
    store.begin_turn(Access::Write);
    store.sql().execute_batch(sql).unwrap();
    assert!(store.wrote());
    store.commit_turn(|| NOW).unwrap();
}

fn count(store: &mut Store, table: &str) -> i64 {
    store.begin_turn(Access::ReadOnly);
    let count = store.sql().query_one(&format!("SELECT count(*) FROM {table}"), []).unwrap();
    store.commit_turn(|| NOW).unwrap();
    count
}

#[test]
fn a_turn_is_kept_whole_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    assert!(store.activate(NOW).unwrap().is_empty());
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::Write);
    store.sql().execute("INSERT INTO t VALUES (1)", []).unwrap();
    store.kv().put("k", &1).unwrap();
    store.rollback_turn();
    assert!(!store.wrote());
    assert_eq!(count(&mut store, "t"), 0);
    write(&mut store, "INSERT INTO t VALUES (1)");
    drop(store);
    let mut store = store_on(data.path(), &[]);
    store.activate(NOW).unwrap();
    assert!(store.is_stored());
    assert_eq!(count(&mut store, "t"), 1);
}

#[test]
fn turns_that_do_not_write_leave_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    store.commit_turn(|| NOW).unwrap();
    store.begin_turn(Access::Write);
    assert_eq!(store.kv().get::<i64>("k").unwrap(), None);
    assert_eq!(store.sql().query_one::<i64>("SELECT 1", []).unwrap(), 1);
    assert!(store.sql().execute("INSERT INTO missing VALUES (1)", []).is_err());
    assert!(!store.wrote());
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.is_stored());
    drop(store);
    assert!(!data.path().join("objects").exists());
}

#[test]
fn a_read_only_turn_refuses_writes() {
    let mut store = Store::new(Arc::new(Scratch), identity(None), &[]);
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::ReadOnly);
    for error in [
        store.sql().execute("INSERT INTO t VALUES (1)", []).unwrap_err(),
        store.sql().query_one::<i64>("INSERT INTO t VALUES (1) RETURNING x", []).unwrap_err(),
        store.sql().execute_batch("SELECT 1; CREATE TABLE u (x)").unwrap_err(),
        store.sql().execute("PRAGMA optimize", []).unwrap_err(),
        store.kv().put("k", &1).unwrap_err(),
        store.kv().delete("k").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.message().contains("take `&mut self`"), "{error}");
    }
    assert_eq!(store.doomed(), None);
    assert_eq!(store.sql().query_one::<i64>("SELECT count(*) FROM t", []).unwrap(), 0);
    store.commit_turn(|| NOW).unwrap();
    write(&mut store, "INSERT INTO t VALUES (1)");
}

#[test]
fn a_failed_statement_undoes_itself_alone() {
    let mut store = Store::new(Arc::new(Scratch), identity(None), &[]);
    write(&mut store, "CREATE TABLE t (x UNIQUE)");
    store.begin_turn(Access::Write);
    store.sql().execute("INSERT INTO t VALUES (1)", []).unwrap();
    let error = store.sql().execute("INSERT INTO t VALUES (2), (1)", []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Constraint);
    assert_eq!(store.doomed(), None);
    store.commit_turn(|| NOW).unwrap();
    assert_eq!(count(&mut store, "t"), 1);
}

#[test]
fn what_or_fail_inserted_counts_as_written() {
    let mut store = Store::new(Arc::new(Scratch), identity(None), &[]);
    write(&mut store, "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)");
    store.begin_turn(Access::Write);
    store.sql().execute("INSERT OR FAIL INTO t VALUES (2), (1)", []).unwrap_err();
    assert!(store.wrote());
    store.commit_turn(|| NOW).unwrap();
    assert_eq!(count(&mut store, "t"), 2);
}

#[test]
fn a_transaction_that_sqlite_ends_dooms_the_turn() {
    let schema = "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1); CREATE TABLE trap (x);
        CREATE TRIGGER spring AFTER INSERT ON trap BEGIN SELECT RAISE(ROLLBACK, 'sprung'); END;";
    for (sql, cause) in [
        ("INSERT OR ROLLBACK INTO t VALUES (1)", "UNIQUE constraint failed: t.x"),
        ("INSERT INTO trap VALUES (1)", "sprung"),
    ] {
        let mut store = Store::new(Arc::new(Scratch), identity(None), &[]);
        write(&mut store, schema);
        store.begin_turn(Access::Write);
        store.sql().execute("INSERT INTO t VALUES (2)", []).unwrap();
        let first = store.sql().execute(sql, []).unwrap_err();
        assert_eq!(first.kind(), ErrorKind::Constraint);
        assert_eq!(first.message(), cause);
        for error in [
            store.sql().execute("INSERT INTO t VALUES (3)", []).unwrap_err(),
            store.sql().execute_batch("INSERT INTO t VALUES (3)").unwrap_err(),
            store.sql().database_size().unwrap_err(),
            store.kv().put("k", &1).unwrap_err(),
            store.kv().get::<i64>("k").unwrap_err(),
            store.doomed().unwrap(),
            store.commit_turn(|| NOW).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::RolledBack);
            assert!(error.message().contains(cause), "{error}");
        }
        assert_eq!(store.doomed(), None);
        assert_eq!(count(&mut store, "t"), 1);
    }
}

#[test]
fn a_statement_that_is_left_half_done_dooms_the_turn() {
    let recursion = "CREATE TABLE t (a); CREATE TRIGGER r AFTER INSERT ON t WHEN NEW.a > 0 BEGIN
        INSERT INTO t VALUES (NEW.a - 1); END";
    let mut store = scratch();
    write(&mut store, recursion);
    for (depth, works) in [(999, true), (1_001, false)] {
        store.begin_turn(Access::Write);
        store.sql().execute_batch("PRAGMA recursive_triggers = ON").unwrap();
        let inserted = store.sql().execute("INSERT INTO t VALUES (?)", [depth]);
        assert_eq!(inserted.is_ok(), works, "{depth}");
        let Err(error) = inserted else {
            store.commit_turn(|| NOW).unwrap();
            continue;
        };
        assert_eq!(error.kind(), ErrorKind::Sql);
        assert!(error.message().contains("1,000 times deep"), "{error}");
        assert_eq!(store.commit_turn(|| NOW).unwrap_err().kind(), ErrorKind::RolledBack);
    }
    assert_eq!(count(&mut store, "t"), 1_000);
}

#[test]
fn what_changes_no_row_is_no_write() {
    let mut store = scratch();
    write(&mut store, "CREATE TABLE t (x); CREATE TABLE n (x INTEGER PRIMARY KEY AUTOINCREMENT)");
    for (sql, writes) in [
        ("UPDATE t SET x = 1", false),
        ("/* all */ delete from t WHERE x = 2", false),
        ("DELETE FROM t RETURNING x", false),
        ("SELECT 1", false),
        ("INSERT OR IGNORE INTO n SELECT x FROM t", true),
        ("ANALYZE", true),
        ("CREATE INDEX i ON t (x)", true),
        ("INSERT INTO t VALUES (1)", true),
        ("UPDATE t SET x = 1", true),
    ] {
        store.begin_turn(Access::Write);
        store.sql().execute(sql, []).unwrap();
        assert_eq!(store.wrote(), writes, "{sql}");
        store.commit_turn(|| NOW).unwrap();
    }
}

#[test]
fn an_update_of_nothing_stores_nothing() {
    const SCHEMA: [MigrationInfo; 1] = [MigrationInfo {
        number: 1,
        name: "create",
        checksum: 0,
        sql: &[],
        apply: |db| db.execute_batch("CREATE TABLE t (x)"),
    }];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &SCHEMA);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    store.sql().execute("UPDATE t SET x = 1", []).unwrap();
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.is_stored());
    write(&mut store, "INSERT INTO t VALUES (1)");
    assert!(store.is_stored());
}

/// A type that nobody can read.
#[derive(Debug)]
struct Explosive;

impl<'de> serde::Deserialize<'de> for Explosive {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("read")
    }
}

#[test]
fn a_panic_in_a_reader_loses_no_write() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut store = scratch();
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::Write);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let insert = "INSERT INTO t VALUES (1), (2) RETURNING x";
        drop(store.sql().query_all::<Explosive>(insert, []));
    }));
    assert!(caught.is_err());
    assert!(store.wrote());
    store.commit_turn(|| NOW).unwrap();
    assert_eq!(count(&mut store, "t"), 2);
}

#[test]
fn a_deferred_constraint_fails_the_commit() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    write(&mut store, "CREATE TABLE p (x PRIMARY KEY); CREATE TABLE c (p REFERENCES p)");
    store.begin_turn(Access::Write);
    store.sql().execute_batch("PRAGMA defer_foreign_keys = ON; INSERT INTO c VALUES (1)").unwrap();
    let error = store.commit_turn(|| NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Constraint);
    assert_eq!(count(&mut store, "c"), 0);
    store.begin_turn(Access::Write);
    let error = store.sql().execute("INSERT INTO c VALUES (1)", []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Constraint);
    store.rollback_turn();
}

#[test]
fn storage_outside_a_turn_is_an_error() {
    let mut store = Store::new(Arc::new(Scratch), identity(None), &[]);
    assert_eq!(store.kv().put("k", &1).unwrap_err().kind(), ErrorKind::Refused);
    write(&mut store, "CREATE TABLE t (x)");
    assert_eq!(store.sql().execute("SELECT 1", []).unwrap_err().kind(), ErrorKind::Refused);
    store.rollback_turn();
    store.commit_turn(|| NOW).unwrap();
}

#[test]
fn an_object_says_who_it_is() {
    let data = tempfile::tempdir().unwrap();
    let engine = || engine_on(data.path());
    let mut store = Store::new(engine(), identity(None), &[]);
    store.begin_turn(Access::Write);
    store.kv().put("k", &1).unwrap();
    let created = NOW + Duration::from_millis(1_234);
    store.commit_turn(|| created).unwrap();
    drop(store);

    // A name that is learnt later is kept from the next write on.
    let known = identity(Some("home"));
    let mut store = Store::new(engine(), Arc::clone(&known), &[]);
    store.activate(NOW).unwrap();
    known.location_hint.set(LocationHint::Apac).unwrap();
    store.begin_turn(Access::Write);
    store.kv().put("k", &2).unwrap();
    store.commit_turn(|| NOW).unwrap();
    drop(store);

    let found = identity(None);
    let mut store = Store::new(engine(), Arc::clone(&found), &[]);
    store.activate(NOW).unwrap();
    assert_eq!(found.name.get().map(|name| &**name), Some("home"));
    assert_eq!(found.location_hint.get(), Some(&LocationHint::Apac));
    let connection = store.database().unwrap().connection();
    let _ours = store.guard.lift();
    let created: (i64, i64) = connection
        .query_row("SELECT created, format FROM _durable_meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(created, (1_234, 1));
}

#[test]
fn a_file_of_another_object_is_refused() {
    for (sql, expected) in [
        ("UPDATE _durable_meta SET format = 2", "has format 2, and this program knows 1"),
        (
            "UPDATE _durable_meta SET format = 1, class = 'Other'",
            "holds an object of class `Other`",
        ),
        ("DELETE FROM _durable_meta", "does not say whose it is"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut store = store_on(data.path(), &[]);
        write(&mut store, "CREATE TABLE t (x)");
        drop(store);
        Connection::open(object_file(data.path())).unwrap().execute_batch(sql).unwrap();
        let error = store_on(data.path(), &[]).activate(NOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.message().contains(expected), "{error}");
    }
}

/// The framework's tables are a promise: they change only together with a format number.
#[test]
fn golden_tables() {
    const SCHEMA: [MigrationInfo; 1] =
        [MigrationInfo { number: 1, name: "none", checksum: 0, sql: &[], apply: |_| Ok(()) }];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &SCHEMA);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    store.kv().put("k", &1).unwrap();
    store.commit_turn(|| NOW).unwrap();
    store.begin_turn(Access::ReadOnly);
    let tables = store.sql().query_all::<String>("SELECT sql FROM sqlite_schema ORDER BY name", []);
    assert_eq!(
        tables.unwrap(),
        [
            "CREATE TABLE _durable_kv (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, \
             WITHOUT ROWID",
            "CREATE TABLE _durable_meta (class TEXT NOT NULL, id BLOB NOT NULL, name TEXT, created \
             INTEGER NOT NULL, location_hint TEXT, format INTEGER NOT NULL) STRICT",
            "CREATE TABLE _durable_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, \
             checksum INTEGER NOT NULL, applied_at INTEGER NOT NULL) STRICT",
        ]
    );
    store.rollback_turn();
}

#[test]
fn a_store_may_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Store>();
    is_send::<Receipt>();
}

/// What the catalogue says of the object `home`.
fn listed(data: &Path) -> Option<(Option<String>, u64)> {
    let key = ObjectKey { class: Arc::from("Counter"), id: identity(None).id };
    let row = Catalogue::open(data).unwrap().find(&key).unwrap()?.row;
    assert!(!row.deleted && row.created_ms.is_some());
    Some((row.about.name.map(|name| name.to_string()), row.stamp.commit))
}

#[test]
fn the_catalogue_lists_an_object_with_its_name() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    write(&mut store, "CREATE TABLE a (x)");
    write(&mut store, "CREATE TABLE b (x)");
    drop(store);
    assert_eq!(listed(data.path()), Some((Some("home".to_owned()), 2)));
    // A name that becomes known later.
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::new(engine_on(data.path()), identity(None), &[]);
    write(&mut store, "CREATE TABLE a (x)");
    drop(store);
    assert_eq!(listed(data.path()), Some((None, 1)));
    let mut store = store_on(data.path(), &[]);
    store.activate(NOW).unwrap();
    write(&mut store, "CREATE TABLE b (x)");
    drop(store);
    assert_eq!(listed(data.path()), Some((Some("home".to_owned()), 2)));
}

#[test]
fn a_catalogue_that_was_lost_is_made_anew() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    write(&mut store, "CREATE TABLE a (x)");
    drop(store);
    let path = data.path().join("catalogue.db");
    let losses: [fn(&Path); 2] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch("DELETE FROM objects; DELETE FROM classes").unwrap();
        },
    ];
    for lose in losses {
        lose(&path);
        drop(engine_on(data.path()));
        assert_eq!(listed(data.path()), Some((Some("home".to_owned()), 1)));
        // The class has its key again, also under a new name.
        let catalogue = Catalogue::open(data.path()).unwrap();
        assert_eq!(&*catalogue.resolve("Tally", &["Counter"]).unwrap(), "Counter");
    }
    std::fs::write(&path, "no database at all, but long enough to be one".repeat(100)).unwrap();
    let error = Catalogue::open(data.path()).unwrap_err();
    assert!(error.message().contains("move it away"), "{error}");
}

const fn unchecked(number: u32) -> MigrationInfo {
    let apply = |db: &mut Migration<'_>| {
        db.execute_batch("PRAGMA ignore_check_constraints = ON; CREATE TABLE t (x CHECK (x > 0))")
    };
    MigrationInfo { number, name: "unchecked", checksum: 7, sql: &[], apply }
}

/// What a migration has set, the next migrations and turns do not find.
#[test]
fn settings_of_a_migration_end_with_it() {
    static SCHEMA: [MigrationInfo; 1] = [unchecked(1)];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &SCHEMA);
    store.activate(NOW).unwrap();
    let insert = "INSERT INTO t VALUES (-1)";
    let is_checked = |store: &Store| {
        store.sql().execute(insert, []).is_err_and(|error| error.kind() == ErrorKind::Constraint)
    };
    store.begin_turn(Access::Write);
    assert!(is_checked(&store), "after the activation");
    store.delete_all(NOW).unwrap();
    assert!(is_checked(&store), "after everything was deleted");
    store.rollback_turn();
}
