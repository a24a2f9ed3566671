use super::*;
use crate::Result;
use crate::engine::Scratch;
use crate::id::{Identity, RawId};
use crate::object::MigrationInfo;
use crate::rpc::Access;
use crate::storage::Store;
use crate::storage::tests::{NOW, write};

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

fn store(limits: Limits, schema: &'static [MigrationInfo]) -> Store {
    let id = RawId::from_name("Counter", None, "home");
    let identity = Identity::new(Arc::from("Counter"), id);
    Store::limited(Arc::new(Scratch), Arc::new(identity), schema, Arc::new(limits))
}

/// A store whose turns have no time at all.
fn hurried() -> Store {
    store(Limits { turn: Duration::ZERO, ..Limits::default() }, &[])
}

#[test]
fn an_endless_query_ends() {
    let mut store = hurried();
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::Write);
    store.sql().execute("INSERT INTO t VALUES (1)", []).unwrap();
    for error in [
        store.sql().query_one::<i64>(ENDLESS, []).unwrap_err(),
        store.sql().exec(ENDLESS, []).unwrap_err(),
        store.sql().execute_batch(ENDLESS).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.message().contains("limit of 0ns"), "{error}");
        assert!(error.message().contains("`turn_limit`"), "{error}");
    }
    // What only read has undone nothing, and the commit is not interrupted.
    assert_eq!(store.doomed(), None);
    store.commit_turn(|| NOW).unwrap();
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.sql().query_one::<i64>("SELECT count(*) FROM t", []).unwrap(), 1);
    store.commit_turn(|| NOW).unwrap();
}

#[test]
fn an_endless_write_dooms_the_turn() {
    let mut store = hurried();
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::Write);
    let error = store.sql().execute(&format!("INSERT INTO t {ENDLESS}"), []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let error = store.commit_turn(|| NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    assert!(error.message().contains("`turn_limit`"), "{error}");
    write(&mut store, "INSERT INTO t VALUES (1)");
}

#[test]
fn a_turn_has_its_time_for_itself() {
    thread_local! {
        static NOW: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
    }
    /// Each look at the clock takes a second.
    fn clock() -> Instant {
        let now = NOW.get().unwrap_or_else(Instant::now) + Duration::from_secs(1);
        NOW.set(Some(now));
        now
    }
    let deadline = Deadline::new(Arc::new(Limits { clock, ..Limits::default() }));
    let mut begun = None;
    let mut seconds = || (0..100).take_while(|_| !deadline.is_over(&mut begun)).count();
    assert_eq!(seconds(), 100);
    for _ in 0..2 {
        deadline.begin(Work::Turn);
        assert_eq!(seconds(), 30);
    }
    assert_eq!(seconds(), 0);
    deadline.begin(Work::Migration);
    assert_eq!(seconds(), 100);
    deadline.end();
    assert_eq!(seconds(), 100);
}

fn endless(db: &mut crate::Migration<'_>) -> Result<()> {
    db.query_one::<i64>(ENDLESS, []).map(drop)
}

#[test]
fn an_endless_migration_fails() {
    const SCHEMA: [MigrationInfo; 1] =
        [MigrationInfo { number: 1, name: "endless", checksum: 0, sql: &[], apply: endless }];
    let limits = Limits { migration: Duration::ZERO, ..Limits::default() };
    let error = store(limits, &SCHEMA).activate(NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration);
    assert!(error.message().contains("`migration_limit`"), "{error}");
}

#[test]
fn a_database_has_a_limit() {
    let limits = Limits { database_bytes: 64 * 4_096, ..Limits::default() };
    let mut store = store(limits, &[]);
    write(&mut store, "CREATE TABLE t (x)");
    store.begin_turn(Access::Write);
    let sql = store.sql();
    // One page for each row, beside those of the tables and one that says where pages are.
    let room = 64 - sql.database_size().unwrap() / 4_096;
    let insert = "INSERT INTO t VALUES (zeroblob(3000))";
    for _ in 0..room - 1 {
        sql.execute(insert, []).unwrap();
    }
    assert_eq!(sql.database_size().unwrap(), 63 * 4_096);
    sql.execute(insert, []).unwrap();
    assert_eq!(sql.database_size().unwrap(), 64 * 4_096);
    let error = sql.execute(insert, []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("over its limit of 262144 bytes"), "{error}");
    assert!(error.message().contains("`database_limit`"), "{error}");
    store.rollback_turn();
    write(&mut store, "INSERT INTO t VALUES (1)");
}

#[test]
fn the_limits_of_text_keys_and_values_are_the_builders() {
    let keys = KeyLimits { key_bytes: 3, entry_bytes: 10, batch_keys: 2 };
    let mut store = store(Limits { sql_bytes: 12, keys, ..Limits::default() }, &[]);
    store.begin_turn(Access::Write);
    let refused = |result: Result<()>, text: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.message().contains(text), "{error}");
    };
    store.sql().query_one::<i64>("SELECT 12345", []).unwrap();
    let longer = store.sql().query_one::<i64>("SELECT 123456", []);
    refused(longer.map(drop), "has 13 bytes, over the limit of 12");
    store.kv().put("abc", "12345").unwrap();
    refused(store.kv().put("abc", "123456"), "have 11 bytes, over the limit of 10");
    refused(store.kv().put("abcd", &1), "has 4 bytes, over the limit of 3");
    let long = store.kv().list::<u8>(crate::KvRange::prefix("abcd"));
    refused(long.map(drop), "has 4 bytes, over the limit of 3");
    store.kv().get_many::<u8>(["a", "b"]).unwrap();
    refused(store.kv().get_many::<u8>(["a", "b", "c"]).map(drop), "more than 2 keys");
    assert_eq!(store.kv().get::<String>("abc").unwrap().as_deref(), Some("12345"));
    store.commit_turn(|| NOW).unwrap();
}
