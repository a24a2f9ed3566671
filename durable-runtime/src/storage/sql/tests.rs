use super::*;
use crate::storage::Value;
use crate::storage::tests::turn_on_scratch;

#[test]
fn rows_changed() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        assert_eq!(sql.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)", []).unwrap(), 0);
        assert_eq!(sql.execute("INSERT INTO t VALUES (1), (2), (3)", []).unwrap(), 3);
        assert_eq!(sql.execute("CREATE TABLE u (x)", []).unwrap(), 0);
        assert_eq!(sql.execute("SELECT * FROM t", []).unwrap(), 0);
        assert_eq!(sql.execute("UPDATE t SET x = x + 10 WHERE x > 1", []).unwrap(), 2);
        assert_eq!(sql.execute("DELETE FROM t WHERE x > 50 RETURNING x", []).unwrap(), 0);
        assert_eq!(sql.execute("DELETE FROM t RETURNING x", []).unwrap(), 3);
    });
}

#[test]
fn one_optional_and_all() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)").unwrap();
        assert_eq!(sql.query_all::<i64>("SELECT x FROM t ORDER BY x DESC", []).unwrap(), [2, 1]);
        let none = "SELECT x FROM t WHERE x = 9";
        assert_eq!(sql.query_optional::<i64>(none, []).unwrap(), None);
        assert_eq!(sql.query_one::<i64>(none, []).unwrap_err().kind(), ErrorKind::NoRows);
        for error in [
            sql.query_one::<i64>("SELECT x FROM t", []).unwrap_err(),
            sql.query_optional::<i64>("SELECT x FROM t", []).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::ManyRows);
        }
    });
}

#[test]
fn a_write_runs_to_its_end_whatever_is_read_of_it() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch(
            "CREATE TABLE p (x INTEGER PRIMARY KEY); CREATE TABLE c (x REFERENCES p);
             INSERT INTO p VALUES (1), (2);",
        )
        .unwrap();
        let insert = "INSERT INTO c VALUES (1), (2) RETURNING x";
        assert_eq!(sql.query_one::<i64>(insert, []).unwrap_err().kind(), ErrorKind::ManyRows);
        let error = sql.query_all::<String>(insert, []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conversion);
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM c", []).unwrap(), 4);
        // The foreign key is checked although only one row was asked for.
        let orphans = "INSERT INTO c VALUES (8), (9) RETURNING x";
        let error = sql.query_one::<i64>(orphans, []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Constraint);
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM c WHERE x > 2", []).unwrap(), 0);
    });
}

#[test]
fn batches() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch("").unwrap();
        sql.execute_batch("-- nothing\n ; ;").unwrap();
        sql.execute_batch("CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1); -- end").unwrap();
        let batch = "INSERT INTO t VALUES (2); INSERT INTO t VALUES (1); INSERT INTO t VALUES (3)";
        assert_eq!(sql.execute_batch(batch).unwrap_err().kind(), ErrorKind::Constraint);
        assert_eq!(sql.query_all::<i64>("SELECT x FROM t", []).unwrap(), [1, 2]);
        let error = sql.execute_batch("INSERT INTO t VALUES (?)").unwrap_err();
        assert_eq!(error.message(), "the statement has 1 parameters and 0 were given");
    });
}

#[test]
fn no_statement_and_several() {
    turn_on_scratch(|store| {
        for empty in ["", "  ", "-- only a comment", ";"] {
            let error = store.sql().execute(empty, []).unwrap_err();
            assert_eq!(error.message(), "the SQL holds no statement", "{empty:?}");
        }
        let error = store.sql().execute("SELECT 1; SELECT 2", []).unwrap_err();
        assert!(error.message().contains("execute_batch"), "{error}");
        store.sql().execute("SELECT 1; -- end", []).unwrap();
    });
}

#[test]
fn limits_of_length() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        let select = |bytes: usize| format!("SELECT 1 /*{}*/", "x".repeat(bytes - 13));
        assert_eq!(sql.query_one::<i64>(&select(100_000), []).unwrap(), 1);
        assert_eq!(sql.exec(&select(100_000), []).unwrap().one::<i64>().unwrap(), 1);
        for error in [
            sql.query_one::<i64>(&select(100_001), []).unwrap_err(),
            sql.exec(&select(100_001), []).unwrap_err(),
            sql.query_each(&select(100_001), [], |_| Ok(ControlFlow::<()>::Break(()))).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit);
            let expected = "a statement has 100001 bytes, over the limit of 100000";
            assert_eq!(error.message(), expected);
        }
        sql.execute_batch(&select(BATCH_BYTES_MAX)).unwrap();
        let error = sql.execute_batch(&select(BATCH_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    });
}

#[test]
fn limits_of_values() {
    const VALUE: usize = 8 * 1_024 * 1_024;
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x)").unwrap();
        let insert = "INSERT INTO t (x) VALUES (?)";
        sql.execute(insert, [vec![0_u8; VALUE]]).unwrap();
        assert_eq!(sql.query_one::<Vec<u8>>("SELECT x FROM t", []).unwrap().len(), VALUE);
        assert_eq!(sql.query_one::<usize>("SELECT length(zeroblob(?))", [VALUE]).unwrap(), VALUE);
        // A row has room for a little more.
        for error in [
            sql.execute(insert, [vec![0_u8; VALUE + 35]]).unwrap_err(),
            sql.execute("SELECT ?", ["x".repeat(VALUE + 35)]).unwrap_err(),
            sql.execute("SELECT zeroblob(?)", [VALUE + 35]).unwrap_err(),
            sql.execute("SELECT printf('%*d', 2000000000, 1)", []).unwrap_err(),
            sql.execute("SELECT group_concat(hex(x)) FROM t", []).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
            assert!(error.message().contains("8 MiB"), "{error}");
        }
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM t", []).unwrap(), 1);
    });
}

#[test]
fn size_counts_pages_in_use() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch("CREATE TABLE t (x)").unwrap();
        let small = sql.database_size().unwrap();
        sql.execute("INSERT INTO t VALUES (zeroblob(100000))", []).unwrap();
        assert!(sql.database_size().unwrap() >= small + 90_000);
        sql.execute("DELETE FROM t", []).unwrap();
        assert_eq!(sql.database_size().unwrap(), small);
    });
}

#[test]
fn exec_runs_several_statements() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        let script = "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); SELECT a FROM t";
        assert_eq!(sql.exec(script, []).unwrap().all::<i64>().unwrap(), [1, 2]);
        let script = "CREATE TABLE l (a); CREATE TRIGGER r AFTER INSERT ON t BEGIN
            INSERT INTO l VALUES ('a;b'); INSERT INTO l VALUES (NEW.a); END; INSERT INTO t VALUES (?)";
        assert!(sql.exec(script, [7]).unwrap().is_empty());
        let mut rows = sql.exec("SELECT a FROM l;\n", []).unwrap();
        assert_eq!(rows.all::<Value>().unwrap(), ["a;b".into(), Value::Integer(7)]);
        let mut rows = sql.exec("SELECT 1 AS x; SELECT ';' AS y; SELECT 3 AS z ;", ()).unwrap();
        assert_eq!(rows.column_names(), ["z"]);
        assert_eq!(rows.one::<i64>().unwrap(), 3);
        let mut rows = sql.exec("SELECT 1; -- why;\n /* ; */ SELECT ?1 || ?1;", ["a"]).unwrap();
        assert_eq!(rows.one::<String>().unwrap(), "aa");
    });
}

#[test]
fn exec_keeps_what_was_done_before_a_failure() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        for (script, kind) in [
            ("CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1); bogus", ErrorKind::Sql),
            ("INSERT INTO t VALUES (2); INSERT INTO t VALUES (2); SELECT 1", ErrorKind::Constraint),
            ("INSERT INTO t VALUES (3); COMMIT; INSERT INTO t VALUES (9)", ErrorKind::Refused),
            ("INSERT INTO t VALUES (4); ALTER TABLE t RENAME TO _durable_t", ErrorKind::Refused),
            ("INSERT INTO t VALUES (5); -- end\n", ErrorKind::Sql),
            ("INSERT INTO t VALUES (6);; ", ErrorKind::Sql),
        ] {
            let error = sql.exec(script, []).unwrap_err();
            assert_eq!(error.kind(), kind, "{script}: {error}");
        }
        assert_eq!(sql.query_all::<i64>("SELECT a FROM t", []).unwrap(), [1, 2, 3, 4, 5, 6]);
        for script in [
            "INSERT INTO t VALUES (?); SELECT a FROM t",
            "SELECT ?; bogus",
            "SELECT 1; SELECT ?; SELECT 2",
        ] {
            let error = sql.exec(script, [8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Sql);
            assert!(error.message().starts_with("only the last statement can have"), "{error}");
        }
        for empty in ["", " ", ";", "-- nothing", "/* c */", "\u{feff}", "\u{feff};;"] {
            let error = sql.exec(empty, []).unwrap_err();
            assert_eq!(error.message(), "the SQL holds no statement", "{empty:?}");
        }
        let mut rows = sql.exec("\u{feff}; ;SELECT 1;;SELECT 2", []).unwrap();
        assert_eq!(rows.one::<i64>().unwrap(), 2);
        let error = sql.exec("SELECT 1; SELECT ?", []).unwrap_err();
        assert_eq!(error.message(), "the statement has 1 parameters and 0 were given");
    });
}

#[test]
fn exec_writes_whether_it_is_read_or_not() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.exec("CREATE TABLE t (a)", []).unwrap();
        sql.exec("INSERT INTO t VALUES (1), (2) RETURNING a", []).unwrap();
        let mut rows = sql.exec("INSERT INTO t VALUES (3), (4) RETURNING a", []).unwrap();
        assert_eq!(rows.one::<i64>().unwrap_err().kind(), ErrorKind::ManyRows);
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM t", []).unwrap(), 4);
        // The columns are those of now, also of a statement from the cache.
        assert_eq!(sql.exec("SELECT * FROM t WHERE a < 0", []).unwrap().column_names(), ["a"]);
        sql.exec("ALTER TABLE t ADD COLUMN b", []).unwrap();
        assert_eq!(sql.exec("SELECT * FROM t WHERE a < 0", []).unwrap().column_names(), ["a", "b"]);
    });
}

#[test]
fn query_each_borrows_and_stops() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch(
            "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')",
        )
        .unwrap();
        let mut seen = String::new();
        sql.query_each("SELECT a, b FROM t", [], |row| -> Result<_> {
            let text: &str = row.get("b")?;
            assert_eq!(row.read::<(i64, &str)>()?, (row.get(0)?, text));
            assert!(row.column_names().eq(["a", "b"]));
            seen.push_str(text);
            Ok(if text == "y" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        assert_eq!(seen, "xy");
        sql.query_each("SELECT x'0102'", [], |row| -> Result<_> {
            assert_eq!(row.get::<&[u8]>(0)?, [1, 2]);
            for error in [row.get::<()>(1).unwrap_err(), row.get::<()>("none").unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Conversion);
                assert!(error.message().contains("has no column"), "{error}");
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    });
}

#[test]
fn query_each_passes_errors_and_ends_what_it_writes() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Stop,
        Theirs(ErrorKind),
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Mine::Theirs(error.kind())
        }
    }
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch(
            "CREATE TABLE p (x INTEGER PRIMARY KEY); CREATE TABLE c (x REFERENCES p)",
        )
        .unwrap();
        let insert = "INSERT INTO p VALUES (1), (2), (3) RETURNING x";
        assert_eq!(sql.query_each(insert, [], |_| Err(Mine::Stop)), Err(Mine::Stop));
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM p", []).unwrap(), 3);
        let orphan = "INSERT INTO c VALUES (8), (9) RETURNING x";
        let constraint = Err(Mine::Theirs(ErrorKind::Constraint));
        assert_eq!(sql.query_each(orphan, [], |_| Ok(ControlFlow::Break(()))), constraint);
        assert_eq!(sql.query_each(orphan, [], |_| Err(Mine::Stop)), constraint);
        assert_eq!(sql.query_one::<i64>("SELECT count(*) FROM c", []).unwrap(), 0);
        let bad = sql.query_each("bogus", [], |_| Ok::<_, Mine>(ControlFlow::Break(())));
        assert_eq!(bad, Err(Mine::Theirs(ErrorKind::Sql)));
        // The storage can be used meanwhile, also by the same statement.
        let mut found = 0;
        sql.query_each("SELECT x FROM p", [], |_| -> Result<_> {
            sql.query_each("SELECT x FROM p", [], |row| -> Result<_> {
                found += sql.query_one::<i64>("SELECT ?", [row.get::<i64>("x")?])?;
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(found, 18);
    });
}
