use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;
use crate::storage::tests::{NOW, store_on, write};

const fn step(
    number: u32,
    name: &'static str,
    apply: fn(&mut Migration<'_>) -> Result<()>,
) -> MigrationInfo {
    MigrationInfo { number, name, checksum: 0xfeed, sql: &[], apply }
}

const CREATE_T: MigrationInfo = step(1, "create_t", |db| db.execute_batch("CREATE TABLE t (x)"));
const FILL_T: MigrationInfo = step(2, "fill_t", |db| {
    assert_eq!(db.version(), 2);
    db.kv().put("k", &1)?;
    db.execute("INSERT INTO t VALUES (?)", [7]).map(|_| ())
});

static ONE: [MigrationInfo; 1] = [CREATE_T];
static TWO: [MigrationInfo; 2] = [CREATE_T, FILL_T];

fn numbers(applied: &[MigrationRun]) -> Vec<u32> {
    applied.iter().map(|migration| migration.number).collect()
}

fn file_count(data: &Path) -> usize {
    std::fs::read_dir(data.join("objects")).map_or(0, Iterator::count)
}

fn refused(data: &Path, schema: &'static [MigrationInfo]) -> String {
    let error = store_on(data, schema).activate(NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
    error.message().to_owned()
}

#[test]
fn missing_ones_run_once_and_in_order() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &ONE);
    assert_eq!(numbers(&store.activate(NOW).unwrap()), [1]);
    write(&mut store, "INSERT INTO t VALUES (1)");
    drop(store);
    assert!(numbers(&store_on(data.path(), &ONE).activate(NOW).unwrap()).is_empty());
    assert_eq!(numbers(&store_on(data.path(), &TWO).activate(NOW).unwrap()), [2]);
    let mut store = store_on(data.path(), &TWO);
    assert!(numbers(&store.activate(NOW).unwrap()).is_empty());
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.sql().query_all::<i64>("SELECT x FROM t", []).unwrap(), [1, 7]);
    assert_eq!(store.sql().query_one::<u32>("PRAGMA user_version", []).unwrap(), 2);
    assert_eq!(store.kv().get("k").unwrap(), Some(1));
    store.rollback_turn();
}

#[test]
fn provisional_ones_leave_nothing_until_the_first_write() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &TWO);
    assert_eq!(numbers(&store.activate(NOW).unwrap()), [1, 2]);
    store.begin_turn(Access::Write);
    assert_eq!(store.sql().query_one::<i64>("SELECT x FROM t", []).unwrap(), 7);
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.is_stored());
    drop(store);
    assert_eq!(file_count(data.path()), 0);

    let mut store = store_on(data.path(), &TWO);
    assert_eq!(numbers(&store.activate(NOW).unwrap()), [1, 2]);
    write(&mut store, "INSERT INTO t VALUES (8)");
    assert!(store.is_stored());
    drop(store);
    assert!(numbers(&store_on(data.path(), &TWO).activate(NOW).unwrap()).is_empty());
}

#[test]
fn one_that_fails_leaves_the_object_as_before() {
    static FAILING: [MigrationInfo; 2] = [
        CREATE_T,
        step(2, "breaks", |db| {
            db.execute("INSERT INTO t VALUES (9)", [])?;
            db.execute_batch("CREATE TABLE half (x)")?;
            Err(Error::other("on purpose"))
        }),
    ];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &ONE);
    store.activate(NOW).unwrap();
    write(&mut store, "INSERT INTO t VALUES (1)");
    drop(store);
    assert_eq!(refused(data.path(), &FAILING), "migration 2 `breaks` failed: on purpose");
    let mut store = store_on(data.path(), &ONE);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.sql().query_all::<i64>("SELECT x FROM t", []).unwrap(), [1]);
    let half = store.sql().execute("SELECT * FROM half", []);
    assert!(half.unwrap_err().message().starts_with("no such table"));
    store.rollback_turn();
}

#[test]
fn a_panic_rolls_back() {
    static PANICS: [MigrationInfo; 1] = [step(1, "panics", |db| {
        db.execute_batch("CREATE TABLE t (x)")?;
        panic!("on purpose")
    })];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &PANICS);
    assert!(catch_unwind(AssertUnwindSafe(|| store.activate(NOW))).is_err());
    store.begin_turn(Access::Write);
    assert!(store.sql().execute("SELECT * FROM t", []).is_err());
    // Foreign keys are enforced again.
    store
        .sql()
        .execute_batch("CREATE TABLE p (x PRIMARY KEY); CREATE TABLE c (p REFERENCES p)")
        .unwrap();
    let error = store.sql().execute("INSERT INTO c VALUES (1)", []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Constraint);
    store.rollback_turn();
}

#[test]
fn one_whose_transaction_is_gone_fails() {
    static ROLLS_BACK: [MigrationInfo; 1] = [step(1, "rolls_back", |db| {
        db.execute_batch("CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)")?;
        let _ = db.execute("INSERT OR ROLLBACK INTO t VALUES (1)", []);
        Ok(())
    })];
    let data = tempfile::tempdir().unwrap();
    let message = refused(data.path(), &ROLLS_BACK);
    assert!(message.contains("UNIQUE constraint failed"), "{message}");
}

#[test]
fn a_newer_database_is_refused_unchanged() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &TWO);
    store.activate(NOW).unwrap();
    write(&mut store, "INSERT INTO t VALUES (1)");
    drop(store);
    let message = refused(data.path(), &ONE);
    assert!(
        message.contains("schema version 2 and this program knows versions up to 1"),
        "{message}"
    );
    let message = refused(data.path(), &[]);
    assert!(
        message.contains("schema version 2 and this program knows versions up to 0"),
        "{message}"
    );
    assert!(numbers(&store_on(data.path(), &TWO).activate(NOW).unwrap()).is_empty());
}

#[test]
fn an_edited_one_is_refused() {
    static EDITED: [MigrationInfo; 1] =
        [MigrationInfo { sql: &["CREATE TABLE t (y)"], ..CREATE_T }];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &ONE);
    store.activate(NOW).unwrap();
    write(&mut store, "INSERT INTO t VALUES (1)");
    drop(store);
    let message = refused(data.path(), &EDITED);
    let (old, new) = (stored_checksum(&ONE[0]), stored_checksum(&EDITED[0]));
    assert!(message.contains("migration 1 `create_t` was changed"), "{message}");
    assert!(message.contains(&format!("{old:016x} and is {new:016x}")), "{message}");
    assert!(message.contains("add migration 2"), "{message}");
}

#[test]
fn foreign_keys_are_off_inside_and_checked_at_the_end() {
    const TABLES: MigrationInfo = step(1, "tables", |db| {
        db.execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent REFERENCES parent ON DELETE CASCADE);
             INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);",
        )
    });
    static REBUILT: [MigrationInfo; 2] = [
        TABLES,
        step(2, "rebuild", |db| {
            db.execute_batch(
                "CREATE TABLE fresh (id INTEGER PRIMARY KEY, x); INSERT INTO fresh (id) SELECT id FROM parent;
                 DROP TABLE parent; ALTER TABLE fresh RENAME TO parent;",
            )
        }),
    ];
    static ORPHANED: [MigrationInfo; 2] =
        [TABLES, step(2, "forget", |db| db.execute("DELETE FROM parent", []).map(|_| ()))];
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &REBUILT);
    store.activate(NOW).unwrap();
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.sql().query_one::<i64>("SELECT count(*) FROM child", []).unwrap(), 1);
    store.rollback_turn();
    drop(store);
    let message = refused(data.path(), &ORPHANED);
    assert_eq!(
        message,
        "migration 2 `forget` failed: row 1 of table `child` refers to a row of table `parent` that does \
         not exist"
    );
}

#[test]
fn check_migrations_runs_all_of_them() {
    static MISPLACED: [MigrationInfo; 1] = [FILL_T];
    static BROKEN: [MigrationInfo; 1] = [step(1, "typo", |db| db.execute_batch("CREATE TABEL t"))];
    check_migrations(&TWO, "Counter").unwrap();
    check_migrations(&[], "Counter").unwrap();
    let error = check_migrations(&BROKEN, "Counter").unwrap_err();
    let expected = "class `Counter`: migration 1 `typo` failed: near \"TABEL\": syntax error";
    assert!(error.message().starts_with(expected), "{error}");
    let error = check_migrations(&MISPLACED, "Counter").unwrap_err();
    assert!(error.message().contains("migration 2 `fill_t` stands where migration 1"), "{error}");
}

/// A changed checksum would refuse every stored object.
#[test]
fn golden_checksums() {
    let of = |checksum, sql| stored_checksum(&MigrationInfo { checksum, sql, ..CREATE_T });
    assert_eq!(of(0, &[]), GOLDEN_NONE);
    assert_eq!(of(0xfeed, &["SELECT 1", ""]), GOLDEN_TWO);
    assert_ne!(of(0, &["ab", "c"]), of(0, &["a", "bc"]));
}

const GOLDEN_NONE: u64 = 12_161_962_213_042_174_405;
const GOLDEN_TWO: u64 = 3_072_861_274_031_914_885;
