use super::*;
use crate::storage::tests::turn_on_scratch;

/// Statements that are refused, and a part of what the error says.
const REFUSED: &[(&str, &str)] = &[
    ("BEGIN", "a turn is one transaction"),
    ("COMMIT", "a turn is one transaction"),
    ("END", "a turn is one transaction"),
    ("ROLLBACK", "return an error to undo"),
    ("SAVEPOINT s", "a turn is one transaction"),
    ("RELEASE s", "a turn is one transaction"),
    ("ATTACH ':memory:' AS other", "call another object"),
    ("ATTACH printf('x') AS other", "call another object"),
    ("DETACH main", "call another object"),
    ("CREATE TEMP TABLE x (a)", "use a table"),
    ("CREATE TABLE temp.x (a)", "use a table"),
    ("CREATE VIEW temp.x AS SELECT 1", "use a table"),
    ("CREATE TRIGGER temp.x AFTER INSERT ON t BEGIN SELECT 1; END", "use a table"),
    ("CREATE VIRTUAL TABLE temp.x USING fts5(a)", "use a table"),
    ("CREATE TABLE TEMP.x AS SELECT 1", "use a table"),
    ("CREATE TEMP VIEW x AS SELECT 1", "use a table"),
    ("CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", "use a table"),
    ("CREATE TABLE _durable_x (a)", "belong to the runtime"),
    ("CREATE TABLE _DURABLE_X (a)", "belong to the runtime"),
    ("CREATE VIEW _durable_x AS SELECT 1", "belong to the runtime"),
    ("CREATE INDEX _durable_x ON t (a)", "belong to the runtime"),
    ("CREATE INDEX x ON _durable_kv (value)", "belong to the runtime"),
    ("CREATE TRIGGER _durable_x AFTER INSERT ON t BEGIN SELECT 1; END", "belong to the runtime"),
    ("CREATE TRIGGER x AFTER INSERT ON _durable_kv BEGIN SELECT 1; END", "belong to the runtime"),
    ("CREATE VIRTUAL TABLE _durable_x USING fts5(a)", "belong to the runtime"),
    ("ALTER TABLE t RENAME TO _durable_x", "belong to the runtime"),
    ("/**/ALTER TABLE t RENAME TO \"_DURABLE_x\"", "belong to the runtime"),
    ("ALTER TABLE _durable_kv ADD COLUMN x", "belong to the runtime"),
    ("DROP TABLE _durable_kv", "belong to the runtime"),
    ("INSERT INTO _durable_kv VALUES ('a', x'')", "belong to the runtime"),
    ("UPDATE _durable_kv SET value = x''", "belong to the runtime"),
    ("DELETE FROM _durable_kv", "belong to the runtime"),
    ("SELECT value FROM _durable_kv", "belong to the runtime"),
    ("SELECT count(*) FROM _durable_kv", "belong to the runtime"),
    ("SELECT * FROM peek", "belong to the runtime"),
    ("INSERT INTO spy VALUES (1)", "belong to the runtime"),
    ("SELECT * FROM stolen", "belong to the runtime"),
    ("SELECT load_extension('x')", "extensions cannot be loaded"),
    ("SELECT sqlite_log(1, 'x')", "SQL reaches nothing outside"),
    ("SELECT * FROM dbstat", "virtual tables of `dbstat`"),
    ("CREATE VIRTUAL TABLE x USING dbstat", "virtual tables of `dbstat`"),
    ("PRAGMA user_version = 7", "add a migration"),
    ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode is not allowed"),
    ("PRAGMA synchronous = OFF", "PRAGMA synchronous is not allowed"),
    ("PRAGMA writable_schema = ON", "PRAGMA writable_schema is not allowed"),
    ("PRAGMA page_size = 512", "can only be read"),
    ("VACUUM", "VACUUM is not needed"),
    ("VACUUM INTO '/tmp/copy'", "VACUUM is not needed"),
    ("PRAGMA incremental_vacuum", "PRAGMA incremental_vacuum is not allowed"),
    ("PRAGMA database_list", "PRAGMA database_list is not allowed"),
    ("PRAGMA unheard_of", "PRAGMA unheard_of is not allowed"),
    ("SELECT * FROM pragma_journal_mode", "PRAGMA journal_mode is not allowed"),
    ("/*durable*/COMMIT", "cannot start with the comment"),
    ("  /*durable*/BEGIN ", "cannot start with the comment"),
];

const ALLOWED: &[&str] = &[
    "CREATE TABLE x (_durable_column)",
    "SELECT 1 AS _durable_alias",
    "ALTER TABLE t RENAME TO x",
    "ALTER TABLE t ADD COLUMN x",
    "ALTER TABLE t ADD COLUMN _durable_x",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "CREATE VIRTUAL TABLE x USING rtree(id, low, high)",
    "SELECT name FROM sqlite_schema",
    "SELECT name FROM sqlite_temp_schema",
    "PRAGMA table_info(t)",
    "SELECT * FROM pragma_table_info('t')",
    "PRAGMA user_version",
    "PRAGMA page_size",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA defer_foreign_keys = ON",
    "PRAGMA optimize",
    "PRAGMA quick_check",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN SELECT * FROM t",
    "SELECT \"hello\"",
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
];

const SETUP: &str = "CREATE TABLE t (a); CREATE TABLE spied (a);
    CREATE TABLE spy (a);
    CREATE TRIGGER leak AFTER INSERT ON spy BEGIN INSERT INTO _durable_kv VALUES ('k', x''); END;
    CREATE VIEW peek AS SELECT value FROM _durable_kv;
    CREATE VIRTUAL TABLE stolen USING fts5(value, content = '_durable_kv', content_rowid = 'key');";

#[test]
fn what_is_refused() {
    for (sql, expected) in REFUSED {
        turn_on_scratch(|store| {
            store.kv().put("k", &1).unwrap();
            store.sql().execute_batch(SETUP).unwrap();
            for result in [
                store.sql().execute(sql, []),
                store.sql().execute(sql, []),
                store.sql().query_all::<()>(sql, []).map(|rows| rows.len()),
            ] {
                let error = result.expect_err(sql);
                assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
                assert!(error.message().contains(expected), "{sql}: {error}");
            }
            if !sql.contains(OURS) {
                let error = store.sql().execute_batch(sql).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
            }
            assert_eq!(store.doomed(), None, "{sql}");
            assert_eq!(store.kv().get("k").unwrap(), Some(1), "{sql}");
        });
    }
}

#[test]
fn no_foreign_key_refers_to_a_table_of_the_framework() {
    for sql in [
        "CREATE TABLE child (x REFERENCES _durable_kv(value))",
        "CREATE TABLE child (x, FOREIGN KEY (x) REFERENCES /*/ ours */ \"_Durable_kv\" ON DELETE CASCADE)",
        "CREATE TABLE IF NOT EXISTS child (x REFERENCES -- ours\n\t[_durable_alarm](slot))",
        "ALTER TABLE t ADD COLUMN x REFERENCES`_durable_kv`(value)",
    ] {
        turn_on_scratch(|store| {
            store.kv().put("k", &1).unwrap();
            store.sql().execute_batch("CREATE TABLE t (a)").unwrap();
            for refused in
                [store.sql().execute(sql, []).map(drop), store.sql().execute_batch(sql).map(drop)]
            {
                assert_eq!(refused.expect_err(sql).kind(), ErrorKind::Refused, "{sql}");
            }
            assert!(store.kv().delete("k").unwrap(), "{sql}");
            let plain = "CREATE TABLE c (_durable_x PRIMARY KEY, y REFERENCES c(_durable_x))";
            store.sql().execute_batch(plain).unwrap();
        });
    }
}

#[test]
fn what_is_allowed() {
    for sql in ALLOWED {
        turn_on_scratch(|store| {
            store.kv().put("k", &1).unwrap();
            store.sql().execute_batch("CREATE TABLE t (a)").unwrap();
            if let Err(error) = store.sql().execute_batch(sql) {
                panic!("{sql}: {error}");
            }
        });
    }
}

#[test]
fn a_statement_of_ours_is_not_lent_to_users() {
    turn_on_scratch(|store| {
        store.kv().put("k", &1).unwrap();
        let connection = store.enter().unwrap();
        // The cache knows the text, and would give it to anybody.
        assert!(connection.prepare_cached("/*durable*/BEGIN").is_ok());
        let error = store.sql().execute("/*durable*/BEGIN", []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    });
}

#[test]
fn foreign_keys_are_on_and_the_schema_is_not_trusted() {
    turn_on_scratch(|store| {
        let sql = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)";
        store.sql().execute_batch(sql).unwrap();
        let error = store.sql().execute("INSERT INTO c VALUES (1)", []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Constraint);
        let error = store.sql().execute("DELETE FROM sqlite_schema", []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Sql, "{error}");
    });
}

/// Settings that change how the connection works, and what a query gives then and otherwise.
const SETTINGS_SHOWN: &[(&str, &str)] = &[
    ("PRAGMA case_sensitive_like = ON", "SELECT 'a' NOT LIKE 'A'"),
    (
        "PRAGMA ignore_check_constraints = ON",
        "SELECT ignore_check_constraints FROM pragma_ignore_check_constraints",
    ),
    ("PRAGMA legacy_alter_table(1)", "SELECT legacy_alter_table FROM pragma_legacy_alter_table"),
    (
        "PRAGMA main.recursive_triggers = yes",
        "SELECT recursive_triggers FROM pragma_recursive_triggers",
    ),
    (
        "PRAGMA reverse_unordered_selects = true",
        "SELECT reverse_unordered_selects FROM pragma_reverse_unordered_selects",
    ),
];

#[test]
fn settings_end_with_their_turn() {
    use crate::rpc::Access;
    use crate::storage::tests::{NOW, scratch};
    let mut store = scratch();
    for (set, show) in SETTINGS_SHOWN {
        let shown =
            |store: &crate::storage::Store| store.sql().query_one::<bool>(show, []).unwrap();
        // The second time the statement would come from the cache.
        for access in [Access::Write, Access::ReadOnly, Access::Write] {
            store.begin_turn(access);
            assert!(!shown(&store), "{set}");
            store.sql().execute(set, []).unwrap();
            assert!(shown(&store), "{set}");
            if access == Access::Write {
                store.kv().put("k", &1).unwrap();
                store.commit_turn(|| NOW).unwrap();
            } else {
                store.rollback_turn();
            }
        }
        store.begin_turn(Access::ReadOnly);
        assert!(!shown(&store), "{set}");
        store.rollback_turn();
    }
}

#[test]
fn a_setting_sets_each_time() {
    turn_on_scratch(|store| {
        for expected in [false, true, false, true] {
            let set = if expected { "ON" } else { "OFF" };
            store.sql().execute(&format!("PRAGMA case_sensitive_like = {set}"), []).unwrap();
            let found: bool = store.sql().query_one("SELECT 'a' NOT LIKE 'A'", []).unwrap();
            assert_eq!(found, expected);
        }
    });
}

#[test]
fn constraints_can_be_deferred_in_every_turn() {
    use crate::rpc::Access;
    use crate::storage::tests::{NOW, scratch, write};
    let mut store = scratch();
    write(&mut store, "CREATE TABLE p (x PRIMARY KEY); CREATE TABLE c (p REFERENCES p)");
    for n in [1, 2] {
        store.begin_turn(Access::Write);
        store.sql().execute("PRAGMA defer_foreign_keys = ON", []).unwrap();
        store.sql().execute("INSERT INTO c VALUES (?)", [n]).unwrap();
        store.sql().execute("INSERT INTO p VALUES (?)", [n]).unwrap();
        store.commit_turn(|| NOW).unwrap();
    }
}

#[test]
fn foreign_keys_cannot_be_switched_off() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch(
            "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)",
        )
        .unwrap();
        sql.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        assert_eq!(sql.query_one::<i64>("PRAGMA foreign_keys", []).unwrap(), 1);
        assert!(sql.execute("INSERT INTO c VALUES (1)", []).is_err());
    });
}

/// A pointer could be had, and set, by the function that `fts3` finds its tokenizers with.
#[test]
fn no_pointer_is_given_or_taken() {
    turn_on_scratch(|store| {
        let sql = store.sql();
        let error = sql.execute("SELECT fts3_tokenizer(?)", ["simple"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let pointer = vec![0_u8; 8];
        let error = sql.execute("SELECT fts3_tokenizer(?, ?)", ("mine", pointer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    });
}
