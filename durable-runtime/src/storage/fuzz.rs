//! Random SQL with random parameters on one object after the other.
//!
//! Whatever it is, nothing panics, the object answers afterwards, and its database is sound. For longer runs:
//! `DURABLE_FUZZ_SECONDS=60 cargo test -p durable-runtime --release --lib fuzz`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::tests::{NOW, scratch};
use super::*;

const SCHEMA: &str = "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c CHECK (c IS NOT 9)); \
    CREATE TABLE p (x REFERENCES t ON DELETE CASCADE); CREATE VIEW v AS SELECT a, sqrt(b) FROM t; \
    CREATE VIRTUAL TABLE f USING fts5(body); CREATE VIRTUAL TABLE r USING rtree(id, low, high); \
    CREATE TABLE q (x); CREATE TRIGGER g AFTER INSERT ON q BEGIN INSERT INTO q VALUES (NEW.x); END";

/// What statements are made of.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "FROM", "INTO", "VALUES", "SET", "WHERE", "RETURNING",
    "CREATE", "TABLE", "VIRTUAL", "USING", "fts5", "TRIGGER", "INDEX", "VIEW", "DROP", "ALTER", "RENAME", "TO", "ADD",
    "COLUMN", "ON", "AFTER", "BEGIN", "END", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "OR", "IGNORE", "FAIL",
    "ABORT", "PRAGMA", "WITH", "RECURSIVE", "AS", "UNION ALL", "JOIN", "ORDER BY", "LIMIT", "OFFSET", "GROUP BY",
    "EXPLAIN", "QUERY PLAN", "VACUUM", "REINDEX", "ANALYZE", "ATTACH", "DETACH", "STRICT", "TEMP", "MATCH", "LIKE",
    "CASE", "WHEN", "THEN", "CAST", "COLLATE", "NOCASE", "OVER", "CONFLICT", "DO", "NOTHING", "CASCADE", "RAISE",
    "t", "p", "v", "f", "r", "q", "g", "a", "b", "c", "x", "body", "id", "n", "rowid", "sqlite_schema",
    "sqlite_sequence", "f_data", "_durable_kv", "_durable_meta", "main", "temp", "pragma_table_info", "json_each",
    "recursive_triggers", "case_sensitive_like", "ignore_check_constraints", "writable_schema", "journal_mode",
    "user_version", "foreign_keys", "defer_foreign_keys", "integrity_check", "quick_check", "optimize", "page_size",
    "=", "<", "+", "-", "*", "/", "%", "||", "->", "->>", ",", ".", "(", ")", "()", "(*)", ";", ";", "'", "\"", "--", "/*",
    "*/", "?", "?1", "?2", ":a", "@b", "$c", "?99999", "NULL", "0", "1", "2", "-1", "9", "9223372036854775807", "1e999", "''",
    "'text'", "x'00ff'", "'{\"a\":[1]}'", "'rebuild'", "'delete-all'", "sqrt", "abs", "printf", "zeroblob", "randomblob", "hex",
    "count", "sum", "json", "jsonb", "json_extract", "date", "fts5_source_id", "rtreecheck", "load_extension",
    "fts3_tokenizer", "\0", "\u{feff}", "\u{1f600}",
];

/// Statements that work, to be strung together and cut up.
#[rustfmt::skip]
const STATEMENTS: &[&str] = &[
    "INSERT INTO t (b, c) VALUES (?, ?)", "INSERT OR REPLACE INTO t VALUES (?1, ?2, 1)", "UPDATE t SET b = ? WHERE a = ?",
    "INSERT OR ROLLBACK INTO t VALUES (1, 1, 1), (1, 1, 1)", "DELETE FROM t WHERE a > ? RETURNING *", "SELECT * FROM v",
    "INSERT INTO p SELECT a FROM t", "INSERT INTO f VALUES (?)", "INSERT INTO f (f) VALUES ('optimize')", "SELECT * FROM f(?)",
    "INSERT INTO r VALUES (?, 1, 2)", "INSERT INTO q VALUES (1)", "PRAGMA recursive_triggers = 1", "ALTER TABLE t RENAME TO u",
    "ALTER TABLE u RENAME TO t", "DROP TABLE IF EXISTS p", "CREATE INDEX IF NOT EXISTS i ON t (c, abs(b))", "DROP INDEX IF EXISTS i",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "INSERT INTO t (b) SELECT randomblob(100) FROM json_each('[1,2,3]')", "PRAGMA quick_check", "ANALYZE", "REINDEX",
    "PRAGMA defer_foreign_keys = 1", "INSERT INTO p VALUES (12345)", "PRAGMA ignore_check_constraints = 1",
];

fn text() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(select(WORDS), 1..20).prop_map(|words| words.join(" "));
    let statements =
        prop::collection::vec(select(STATEMENTS), 1..4).prop_map(|statements| statements.join(";"));
    let cut = (select(STATEMENTS), any::<prop::sample::Index>(), select(WORDS)).prop_map(
        |(statement, at, word)| {
            let at = at.index(statement.len());
            format!("{} {word} {}", &statement[..at], &statement[at..])
        },
    );
    let bytes = prop::collection::vec(any::<u8>(), 0..40)
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    prop_oneof![3 => words, 4 => statements, 3 => cut, 1 => bytes]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-3_i64..10).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        ".{0,5}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Value::Blob),
    ]
}

/// Which method runs the text, the text, and its parameters.
fn calls() -> impl Strategy<Value = Vec<(u8, String, Vec<Value>)>> {
    let parameters = prop::collection::vec(value(), 0..3);
    prop::collection::vec((0_u8..6, text(), parameters), 1..12)
}

fn run(store: &Store, method: u8, text: &str, parameters: &[Value]) {
    let sql = store.sql();
    let failed = match method {
        0 => sql.execute(text, parameters).err(),
        1 => sql.query_all::<Vec<Value>>(text, parameters).err(),
        2 => sql.query_optional::<Value>(text, parameters).err(),
        3 => sql.execute_batch(text).err(),
        4 => sql
            .query_each(text, parameters, |row| {
                drop(row.get::<Value>(0)?);
                Ok::<_, Error>(ControlFlow::Break(()))
            })
            .err(),
        _ => sql.exec(text, parameters).map(|mut rows| rows.raw().count()).err(),
    };
    drop(failed.map(|error| error.to_string()));
}

/// Some turns, of which every other one is kept, on an object that is looked at afterwards.
fn survives(calls: &[(u8, String, Vec<Value>)]) {
    let mut store = scratch_in_a_hurry();
    store.begin_turn(Access::Write);
    store.sql().execute_batch(SCHEMA).unwrap();
    store.kv().put("key", &"value").unwrap();
    store.commit_turn(|| NOW).unwrap();
    for (number, turn) in calls.chunks(3).enumerate() {
        let access = if number % 3 == 2 { Access::ReadOnly } else { Access::Write };
        store.begin_turn(access);
        for (method, text, parameters) in turn {
            run(&store, *method, text, parameters);
        }
        if number % 2 == 0 {
            drop(store.commit_turn(|| NOW));
        } else {
            store.rollback_turn();
        }
        store.begin_turn(Access::Write);
        assert_eq!(store.kv().get::<String>("key").unwrap().as_deref(), Some("value"));
        assert_eq!(store.sql().query_one::<i64>("PRAGMA recursive_triggers", []).unwrap(), 0);
        let connection = store.enter().unwrap();
        let ours = store.guard.lift();
        let sound: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        drop(ours);
        store.rollback_turn();
    }
}

fn scratch_in_a_hurry() -> Store {
    let limits = Limits {
        turn: Duration::from_millis(20),
        database_bytes: 4 * 1_024 * 1_024,
        ..Limits::default()
    };
    let mut store = scratch();
    store.deadline = Arc::new(Deadline::new(Arc::new(limits)));
    store
}

#[test]
fn random_sql_harms_nothing() {
    let seconds =
        std::env::var("DURABLE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let start = Instant::now();
    let mut runner = if seconds.is_some() {
        TestRunner::new(Config { failure_persistence: None, ..Config::default() })
    } else {
        // The same every time: a build does not fail by chance.
        let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        )
    };
    loop {
        let outcome = runner.run(&calls(), |calls| {
            survives(&calls);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
        if start.elapsed() >= Duration::from_secs(seconds.unwrap_or_default()) {
            break;
        }
    }
}
