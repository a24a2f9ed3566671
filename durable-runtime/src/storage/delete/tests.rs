use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::fake::Fake;
use crate::object::MigrationInfo;
use crate::rpc::Access;
use crate::storage::Rollback;
use crate::storage::tests::{NOW, object_file, store_of, store_on, turn_on_scratch, write};
use crate::{Error, ErrorKind, Migration};

const fn step(number: u32, apply: fn(&mut Migration<'_>) -> Result<()>) -> MigrationInfo {
    MigrationInfo { number, name: "step", checksum: 7, sql: &[], apply }
}

static SCHEMA: [MigrationInfo; 2] = [
    step(1, |db| db.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")),
    step(2, |db| db.kv().put("from migration", &true)),
];

/// Everything that can be in a database, and hard to get out.
const EVERYTHING: &str = "
    CREATE TABLE \"odd \"\" name\" (id INTEGER PRIMARY KEY AUTOINCREMENT, text UNIQUE);
    INSERT INTO \"odd \"\" name\" (text) VALUES ('a'), ('b');
    CREATE INDEX i ON \"odd \"\" name\" (text) WHERE id > 1;
    CREATE TABLE keyed (a TEXT PRIMARY KEY, b ANY) STRICT, WITHOUT ROWID;
    CREATE VIEW v AS SELECT * FROM keyed;
    CREATE VIEW broken AS SELECT * FROM missing;
    CREATE TRIGGER sour BEFORE DELETE ON keyed BEGIN SELECT RAISE(ABORT, 'no'); END;
    CREATE TRIGGER instead INSTEAD OF INSERT ON v BEGIN SELECT 1; END;
    INSERT INTO keyed VALUES ('a', 1);
    CREATE VIRTUAL TABLE words USING fts5(text);
    INSERT INTO words VALUES ('one two');
    CREATE TABLE content (id INTEGER PRIMARY KEY, text);
    CREATE VIRTUAL TABLE indexed USING fts5(text, content = 'content', content_rowid = 'id');
    CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);
    INSERT INTO boxes VALUES (1, 0, 2);
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent REFERENCES parent ON DELETE RESTRICT);
    CREATE TABLE self (id INTEGER PRIMARY KEY, other REFERENCES self);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1); INSERT INTO self VALUES (1, 1);
    ANALYZE;
    INSERT INTO sqlite_sequence VALUES ('stray', 7);";

fn schema(store: &Store) -> Vec<String> {
    let names = "SELECT name FROM sqlite_schema WHERE name <> 'sqlite_sequence' ORDER BY name";
    store.sql().query_all(names, []).unwrap()
}

/// A stored object with rows and a key.
fn stored(data: &Path, schema: &'static [MigrationInfo]) -> Store {
    let mut store = store_on(data, schema);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    store.sql().execute_batch(EVERYTHING).unwrap();
    store.kv().put("mine", &1).unwrap();
    store.commit_turn(|| NOW).unwrap();
    assert!(store.is_stored() && store.exists());
    store
}

impl Store {
    fn exists(&self) -> bool {
        self.engine.exists(&self.key()).unwrap()
    }
}

#[test]
fn everything_goes_and_the_migrations_run_anew() {
    turn_on_scratch(|store| {
        store.sql().execute_batch(EVERYTHING).unwrap();
        store.kv().put("mine", &1).unwrap();
        store.delete_all(NOW).unwrap();
        assert_eq!(schema(store), [""; 0]);
        let count = "SELECT count(*) FROM sqlite_sequence";
        assert_eq!(store.sql().query_one::<i64>(count, []).unwrap(), 0);
        assert_eq!(store.kv().get::<i64>("mine").unwrap(), None);
        // Twice, and all of it again.
        store.delete_all(NOW).unwrap();
        store.sql().execute_batch(EVERYTHING).unwrap();
        store.delete_all(NOW).unwrap();
        assert_eq!(schema(store), [""; 0]);
    });
    let data = tempfile::tempdir().unwrap();
    let store = stored(data.path(), &SCHEMA);
    store.begin_turn(Access::Write);
    store.sql().execute("UPDATE t SET x = 2", []).unwrap();
    store.delete_all(NOW).unwrap();
    assert_eq!(schema(&store), ["_durable_kv", "_durable_migrations", "t"]);
    assert_eq!(store.sql().query_one::<i64>("SELECT x FROM t", []).unwrap(), 1);
    assert_eq!(store.sql().query_one::<i64>("PRAGMA user_version", []).unwrap(), 2);
    assert_eq!(
        store.kv().keys(..).unwrap().collect::<Result<Vec<_>>>().unwrap(),
        ["from migration"]
    );
}

#[test]
fn without_a_later_write_the_object_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    assert!(store.wrote());
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists() && !store.is_active());

    // It goes on as one that was never written.
    assert_eq!(store.activate(NOW).unwrap().len(), 2);
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.sql().query_one::<i64>("SELECT x FROM t", []).unwrap(), 1);
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists());
    write(&mut store, "UPDATE t SET x = 3");
    assert!(store.exists());
    drop(store);
    let mut store = store_on(data.path(), &SCHEMA);
    assert!(store.activate(NOW).unwrap().is_empty());
    store.begin_turn(Access::Write);
    assert_eq!(store.sql().query_one::<i64>("SELECT x FROM t", []).unwrap(), 3);
    store.delete_all(NOW).unwrap();
    store.commit_turn(|| NOW).unwrap();
    drop(store);
    assert!(!object_file(data.path()).exists());
    assert!(!store_on(data.path(), &SCHEMA).exists());
}

#[test]
fn a_statement_that_changes_nothing_makes_no_new_object() {
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    assert_eq!(store.sql().execute("DELETE FROM t WHERE x = 99", []).unwrap(), 0);
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists());

    // Nor does one after a write that was undone.
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    let undone = store.transaction(|| {
        store.kv().put("k", &1)?;
        Err::<(), _>(Error::other("on purpose"))
    });
    undone.unwrap_err();
    assert_eq!(store.sql().execute("UPDATE t SET x = 5 WHERE x = 99", []).unwrap(), 0);
    assert!(store.wrote(), "what was undone stays known");
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists());
}

#[test]
fn what_is_written_afterwards_is_a_new_object() {
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    store.kv().put("new", &2).unwrap();
    let created = NOW + Duration::from_millis(77);
    store.commit_turn(|| created).unwrap();
    assert!(store.exists() && store.is_active());
    drop(store);
    let mut store = store_on(data.path(), &SCHEMA);
    assert!(store.activate(NOW).unwrap().is_empty());
    store.begin_turn(Access::ReadOnly);
    assert_eq!(schema(&store), ["_durable_kv", "_durable_meta", "_durable_migrations", "t"]);
    assert_eq!(store.kv().get("new").unwrap(), Some(2));
    let connection = store.enter().unwrap();
    let _ours = store.guard.lift();
    let found: (i64, String) = connection
        .query_row("SELECT created, name FROM _durable_meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(found, (77, "home".to_owned()));
}

#[test]
fn it_is_undone_with_the_turn_and_with_a_transaction() {
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    store.begin_turn(Access::Write);
    let before = schema(&store);
    store.delete_all(NOW).unwrap();
    store.rollback_turn();

    store.begin_turn(Access::Write);
    store.transaction(|| Rollback(store.delete_all(NOW))).unwrap().unwrap();
    assert_eq!(schema(&store), before);
    assert_eq!(store.kv().get("mine").unwrap(), Some(1));
    store.commit_turn(|| NOW).unwrap();
    assert!(store.exists());

    // Written afterwards, and that is undone: the deletion stands alone.
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    store.transaction(|| Rollback(store.kv().put("new", &2))).unwrap().unwrap();
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists());
}

#[test]
fn a_migration_that_fails_undoes_it() {
    static FAILING: [MigrationInfo; 1] = [step(1, |db| {
        db.execute_batch("CREATE TABLE t (x)")?;
        Err(Error::other("on purpose"))
    })];
    turn_on_scratch(|store| {
        store.sql().execute_batch("CREATE TABLE kept (x)").unwrap();
        let error = store.transaction(|| {
            store.drop_everything()?;
            let failing = Store::new(store.engine.clone(), store.identity.clone(), &FAILING);
            failing.begin_turn(Access::Write);
            failing.delete_all(NOW)
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(error.message().contains("migration 1 `step` failed: on purpose"), "{error}");
        assert_eq!(schema(store), ["kept"]);
    });
}

#[test]
fn foreign_keys_are_enforced_again_and_leave_nothing_pending() {
    const PENDING: &str = "PRAGMA defer_foreign_keys = ON;
        INSERT INTO child VALUES (8); DELETE FROM parent; INSERT INTO self VALUES (5, 9);";
    const LATE: &str = "CREATE TABLE p (id PRIMARY KEY);
        CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER t AFTER DELETE ON c BEGIN SELECT RAISE(ABORT, 'no'); END;
        INSERT INTO c VALUES (1), (2);";
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    for (pending, is_deferred) in [
        ("INSERT INTO self VALUES (2, 1)", false),
        (PENDING, true),
        (LATE, false),
        (&format!("{LATE}{PENDING}"), true),
    ] {
        store.begin_turn(Access::Write);
        store.delete_all(NOW).unwrap();
        store.sql().execute_batch(EVERYTHING).unwrap();
        store.sql().execute_batch(pending).unwrap();
        store.delete_all(NOW).unwrap();
        store.sql().execute_batch("CREATE TABLE p (id PRIMARY KEY)").unwrap();
        store.sql().execute_batch("CREATE TABLE c (p REFERENCES p)").unwrap();
        // Put off only if the turn has asked for it.
        let orphan =
            store.transaction(|| Rollback(store.sql().execute("INSERT INTO c VALUES (1)", [])));
        assert_eq!(orphan.unwrap().is_ok(), is_deferred);
        store.commit_turn(|| NOW).unwrap();
    }
    // An undone deletion brings what was pending back.
    store.begin_turn(Access::Write);
    store.sql().execute_batch("PRAGMA defer_foreign_keys = ON; INSERT INTO c VALUES (1)").unwrap();
    store.transaction(|| Rollback(store.delete_all(NOW))).unwrap().unwrap();
    assert_eq!(store.commit_turn(|| NOW).unwrap_err().kind(), ErrorKind::Constraint);
}

#[test]
fn only_a_turn_that_may_write_may_delete() {
    let data = tempfile::tempdir().unwrap();
    let mut store = stored(data.path(), &SCHEMA);
    assert_eq!(store.delete_all(NOW).unwrap_err().kind(), ErrorKind::Refused);
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.delete_all(NOW).unwrap_err().kind(), ErrorKind::ReadOnly);
    store.commit_turn(|| NOW).unwrap();
    assert!(store.exists());
}

#[test]
fn an_object_that_was_never_written_stays_so() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &SCHEMA);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::Write);
    store.kv().put("k", &1).unwrap();
    store.delete_all(NOW).unwrap();
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.exists());
    store.activate(NOW).unwrap();
    write(&mut store, "INSERT INTO t VALUES (2)");
    assert!(store.exists());
}

/// More than a turn may change.
#[test]
fn a_large_object_goes_in_one_turn() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    write(
        &mut store,
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, x, p REFERENCES p)",
    );
    for _ in 0..3 {
        let fill =
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            INSERT INTO c (x) SELECT zeroblob(30000) FROM n";
        write(&mut store, fill);
    }
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    store.kv().put("k", &1).unwrap();
    assert!(store.sql().database_size().unwrap() < 1_024 * 1_024);
    store.commit_turn(|| NOW).unwrap();
    assert!(store.exists());
}

/// Whoever finds nothing was told of the deletion, which a crash may still undo.
#[test]
fn a_deletion_that_is_not_durable_is_not_told_after_an_eviction() {
    let engine = Arc::new(Fake::default());
    let open = || store_of(Arc::clone(&engine) as _, &[]);
    let mut store = open();
    write(&mut store, "CREATE TABLE t (x)");
    engine.flush();
    store.begin_turn(Access::Write);
    store.delete_all(NOW).unwrap();
    store.commit_turn(|| NOW).unwrap();
    drop(store);
    let mut store = open();
    store.activate(NOW).unwrap();
    store.begin_turn(Access::ReadOnly);
    store.sql().query_one::<i64>("SELECT t.x FROM t", []).unwrap_err();
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.receipt().is_durable());
    engine.flush();
    assert!(store.receipt().is_durable());
}
