//! Each feature of SQL that the docs name, one test each.

use durable::{Result, Runtime, Value};
use durable_outside::Any;

/// What the last statement gives on a new object, as text.
async fn run(sql: &str) -> Result<String> {
    let data = tempfile::tempdir().unwrap();
    let runtime = Runtime::builder(data.path()).register::<Any>().start().await?;
    let rows = runtime.get::<Any>("any").run(sql).await;
    runtime.shutdown().await?;
    let text = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("{bytes:?}"),
    };
    let line = |row: Vec<Value>| row.iter().map(text).collect::<Vec<_>>().join("|");
    let rows = rows.map_err(|error| error.flatten())?;
    Ok(rows.into_iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// The SQL, and what its last statement gives.
macro_rules! features {
    ($($name:ident: $sql:literal => $expected:literal;)+) => {$(
        #[tokio::test]
        async fn $name() {
            assert_eq!(run($sql).await.unwrap(), $expected);
        }
    )+};
}

features! {
    full_text_search:
        "CREATE VIRTUAL TABLE f USING fts5(title, body, tokenize = 'porter');
         INSERT INTO f VALUES ('one', 'the quick brown foxes'), ('two', 'a slow turtle');
         SELECT title, highlight(f, 1, '[', ']'), bm25(f) < 0 FROM f WHERE f MATCH 'fox'"
        => "one|the quick brown [foxes]|1";
    full_text_trigrams:
        "CREATE VIRTUAL TABLE f USING fts5(x, tokenize = 'trigram'); INSERT INTO f VALUES ('abcdef');
         CREATE VIRTUAL TABLE v USING fts5vocab(f, 'row');
         SELECT (SELECT count(*) FROM f WHERE f MATCH 'cde'), (SELECT min(term) FROM v)"
        => "1|abc";
    json:
        "SELECT '{\"a\": [1, 2]}' ->> '$.a[1]', json_group_array(value), json_array_length('[1, 2]')
         FROM json_each('[3, 4]')"
        => "2|[3,4]|2";
    jsonb:
        "SELECT json(jsonb_set(jsonb('{\"a\": 1}'), '$.b', 2)), typeof(jsonb('[]'))"
        => "{\"a\":1,\"b\":2}|blob";
    rtree:
        "CREATE VIRTUAL TABLE r USING rtree(id, low, high); INSERT INTO r VALUES (1, 0, 5), (2, 6, 9);
         SELECT id FROM r WHERE low <= 7 AND high >= 7"
        => "2";
    window_functions:
        "SELECT x, sum(x) OVER (ORDER BY x), row_number() OVER (ORDER BY x DESC)
         FROM (SELECT 1 AS x UNION ALL SELECT 2) ORDER BY x"
        => "1|1|2\n2|3|1";
    upsert_and_returning:
        "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES ('a', 1);
         INSERT INTO t VALUES ('a', 5) ON CONFLICT (k) DO UPDATE SET n = n + excluded.n RETURNING k, n"
        => "a|6";
    strict_tables:
        "CREATE TABLE t (x INTEGER) STRICT; INSERT OR IGNORE INTO t VALUES ('1'); SELECT typeof(x) FROM t"
        => "integer";
    generated_columns:
        "CREATE TABLE t (x, double AS (x * 2) STORED, root AS (sqrt(x)) VIRTUAL);
         INSERT INTO t VALUES (9); SELECT double, root FROM t"
        => "18|3";
    mathematical_functions:
        "SELECT sqrt(2) * sqrt(2) > 1.99, pow(2, 3), ln(exp(2)), round(pi(), 5), ceil(1.5), sqrt(-1)"
        => "1|8|2|3.14159|2|NULL";
    recursive_queries:
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT sum(i) FROM n"
        => "5050";
    triggers_views_and_partial_indexes:
        "CREATE TABLE t (x); CREATE TABLE l (x); CREATE INDEX i ON t (x) WHERE x > 1;
         CREATE VIEW v AS SELECT x FROM t WHERE x > 1;
         CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO l VALUES (NEW.x); END;
         INSERT INTO t VALUES (1), (2); SELECT (SELECT sum(x) FROM l), (SELECT sum(x) FROM v)"
        => "3|2";
    foreign_keys:
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p ON DELETE CASCADE);
         INSERT INTO p VALUES (1); INSERT INTO c VALUES (1); DELETE FROM p; SELECT count(*) FROM c"
        => "0";
    dates: "SELECT date('2024-02-28', '+1 day'), strftime('%Y', 'now') > '2000'" => "2024-02-29|1";
}

#[tokio::test]
async fn strict_tables_refuse_other_types() {
    let error = run("CREATE TABLE t (x INTEGER) STRICT; INSERT INTO t VALUES ('one')").await;
    assert_eq!(error.unwrap_err().kind(), durable::ErrorKind::Constraint);
}
