use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::ErrorKind;
use crate::rpc::Access;
use crate::storage::tests::{NOW, store_on, turn_on_scratch, write};

/// Writes `x` to the table and to the keys.
fn put(store: &Store, x: i64) -> Result<()> {
    store.sql().execute("INSERT INTO t VALUES (?)", [x])?;
    store.kv().put(&x.to_string(), &x)
}

/// What both hold; they must agree.
fn written(store: &Store) -> Vec<i64> {
    let rows = store.sql().query_all::<i64>("SELECT x FROM t ORDER BY x", []).unwrap();
    let keys = store.kv().list::<i64>(..).unwrap().map(|entry| entry.unwrap().1);
    assert_eq!(keys.collect::<Vec<_>>(), rows);
    rows
}

fn with_table(turn: impl FnOnce(&Store)) {
    turn_on_scratch(|store| {
        store.sql().execute_batch("CREATE TABLE t (x UNIQUE)").unwrap();
        turn(store);
    });
}

fn failure() -> Error {
    Error::other("on purpose")
}

#[test]
fn ok_keeps_and_err_undoes_its_own_level() {
    with_table(|store| {
        put(store, 1).unwrap();
        let outer: Result<&str> = store.transaction(|| {
            put(store, 2)?;
            let inner: Result<()> = store.transaction(|| {
                put(store, 3)?;
                Err(failure())
            });
            assert_eq!(inner.unwrap_err(), failure());
            assert_eq!(written(store), [1, 2]);
            store.transaction(|| put(store, 4))?;
            Ok("value")
        });
        assert_eq!(outer.unwrap(), "value");
        assert_eq!(written(store), [1, 2, 4]);
        let undone: Result<()> = store.transaction(|| {
            store.transaction(|| put(store, 5))?;
            Err(failure())
        });
        assert_eq!(undone.unwrap_err(), failure());
        assert_eq!(written(store), [1, 2, 4]);
    });
}

#[test]
fn rollback_undoes_and_gives_a_value() {
    with_table(|store| {
        let count = store.transaction(|| {
            put(store, 1).unwrap();
            Rollback(written(store).len())
        });
        assert_eq!(count.unwrap(), 1);
        assert_eq!(written(store), [0_i64; 0]);
    });
}

#[test]
fn a_panic_that_is_caught_outside_undoes() {
    with_table(|store| {
        put(store, 1).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            store.transaction(|| -> Result<()> {
                store.transaction(|| put(store, 2))?;
                std::panic::panic_any("on purpose");
            })
        }));
        assert!(caught.is_err());
        assert_eq!(written(store), [1]);
        store.transaction(|| put(store, 2)).unwrap();
        assert_eq!(written(store), [1, 2]);
    });
}

#[test]
fn an_error_of_another_type_takes_in_ours() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Own,
        Storage(ErrorKind),
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Mine::Storage(error.kind())
        }
    }
    with_table(|store| {
        let own = store.transaction(|| Err::<(), _>(Mine::Own));
        assert_eq!(own, Err(Mine::Own));
        let ours = store.transaction(|| {
            put(store, 1)?;
            put(store, 1)?;
            Ok::<_, Mine>(())
        });
        assert_eq!(ours, Err(Mine::Storage(ErrorKind::Constraint)));
        assert_eq!(written(store), [0_i64; 0]);
    });
}

#[test]
fn what_is_undone_is_not_committed_and_still_counts_as_written() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    store.begin_turn(Access::Write);
    store.transaction(|| Rollback(store.kv().put("k", &1))).unwrap().unwrap();
    assert!(store.wrote());
    store.commit_turn(|| NOW).unwrap();
    assert!(!store.is_stored());

    // Written before the level: there is something to commit all the same.
    store.begin_turn(Access::Write);
    store.kv().put("k", &1).unwrap();
    store.transaction(|| Rollback(store.kv().put("k", &2))).unwrap().unwrap();
    store.commit_turn(|| NOW).unwrap();
    assert!(store.is_stored());
    store.begin_turn(Access::ReadOnly);
    assert_eq!(store.kv().get("k").unwrap(), Some(1));
    store.rollback_turn();
}

#[test]
fn tables_that_are_made_and_undone() {
    turn_on_scratch(|store| {
        for _ in 0..3 {
            let undone: Result<()> = store.transaction(|| {
                store.sql().execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")?;
                store.kv().put("k", &1)?;
                assert_eq!(store.kv().list::<i64>(..)?.count(), 1);
                Err(failure())
            });
            assert_eq!(undone.unwrap_err(), failure());
            assert_eq!(store.kv().get::<i64>("k").unwrap(), None);
            assert_eq!(store.kv().list::<i64>(..).unwrap().count(), 0);
            assert_eq!(store.kv().keys(..).unwrap().count(), 0);
            assert!(!store.kv().delete("k").unwrap());
            let gone = store.sql().execute("INSERT INTO t VALUES (1)", []).unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::Sql);
        }
        store.kv().put("k", &2).unwrap();
        assert_eq!(store.kv().get("k").unwrap(), Some(2));
    });
}

#[test]
fn a_read_only_turn_may_group_reads() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    write(&mut store, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    store.begin_turn(Access::ReadOnly);
    let count = store.transaction(|| store.sql().query_one::<i64>("SELECT count(*) FROM t", []));
    assert_eq!(count.unwrap(), 1);
    let error = store.transaction(|| store.kv().put("k", &1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(!store.wrote());
    store.commit_turn(|| NOW).unwrap();
}

#[test]
fn a_transaction_that_sqlite_ends_is_told_by_every_level() {
    with_table(|store| {
        let outer: Result<i64> = store.transaction(|| {
            put(store, 1)?;
            let inner: Result<()> = store.transaction(|| {
                let sql = "INSERT OR ROLLBACK INTO t VALUES (1)";
                let error = store.sql().execute(sql, []).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Constraint);
                Ok(())
            });
            assert_eq!(inner.unwrap_err().kind(), ErrorKind::RolledBack);
            Ok(1)
        });
        assert_eq!(outer.unwrap_err().kind(), ErrorKind::RolledBack);
        let error = store.transaction(|| Rollback(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RolledBack);
        assert!(error.message().contains("UNIQUE constraint failed: t.x"), "{error}");
    });
}

#[test]
fn levels_may_be_many() {
    fn dive(store: &Store, depth: i64) -> Result<()> {
        if depth == 0 {
            return Ok(());
        }
        store
            .transaction(|| {
                put(store, depth)?;
                let below = store.transaction(|| dive(store, depth - 1));
                if depth % 50 == 0 { Err(failure()) } else { below }
            })
            .or_else(|error| if depth % 50 == 0 { Ok(()) } else { Err(error) })
    }
    with_table(|store| {
        dive(store, 230).unwrap();
        assert_eq!(written(store), (201..=230).collect::<Vec<_>>());
    });
}

#[test]
fn a_transaction_outside_a_turn_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let store = store_on(data.path(), &[]);
    let mut ran = false;
    let outcome: Result<()> = store.transaction(|| {
        ran = true;
        Ok(())
    });
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Refused);
    assert!(!ran);
}

mod random;

#[test]
fn none_begins_while_a_statement_writes() {
    turn_on_scratch(|store| {
        store.sql().execute_batch("CREATE TABLE t (x)").unwrap();
        let insert = "INSERT INTO t VALUES (1), (2) RETURNING x";
        let each = |_: crate::Row<'_>| -> Result<_> {
            let error = store.transaction(|| store.kv().put("a", &1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(error.message().contains("`query_all`"), "{error}");
            store.kv().put_many([("a", 1)]).unwrap_err();
            store.kv().put("b", &1)?;
            Ok(std::ops::ControlFlow::Continue(()))
        };
        store.sql().query_each(insert, [], each).unwrap();
        assert_eq!(store.kv().keys(..).unwrap().collect::<Result<Vec<_>>>().unwrap(), ["b"]);
        assert_eq!(store.sql().query_one::<i64>("SELECT count(*) FROM t", []).unwrap(), 2);
    });
}
