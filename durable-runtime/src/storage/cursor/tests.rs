use std::collections::BTreeMap;

use super::*;
use crate::storage::buffer::Cell;
use crate::storage::tests::turn_on_scratch;

const SCHEMA: &str =
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')";

/// What a query gives on a table of three rows.
fn cursor(query: &str) -> Cursor {
    let mut found = None;
    turn_on_scratch(|store| {
        store.sql().execute_batch(SCHEMA).unwrap();
        found = Some(store.sql().exec(query, []).unwrap());
    });
    found.unwrap()
}

#[test]
fn each_row_is_given_once() {
    let mut rows = cursor("SELECT a, b FROM t");
    assert_eq!(rows.column_names(), ["a", "b"]);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.next_row::<(i64, String)>().unwrap(), Some((1, "x".into())));
    assert_eq!(rows.len(), 2);
    assert_eq!(rows.raw().next().unwrap(), [Value::Integer(2), "y".into()]);
    assert_eq!(rows.all::<(i64, char)>().unwrap(), [(3, 'z')]);
    assert!(rows.is_empty());
    assert_eq!(rows.all::<()>().unwrap(), []);
    assert_eq!(rows.next_row::<()>().unwrap(), None);
    assert_eq!(rows.raw().count(), 0);
}

#[test]
fn one_and_optional() {
    assert_eq!(cursor("SELECT a FROM t WHERE b = 'y'").one::<i64>().unwrap(), 2);
    let mut none = cursor("SELECT a FROM t WHERE a = 9");
    assert_eq!(none.optional::<i64>().unwrap(), None);
    assert_eq!(none.one::<i64>().unwrap_err().kind(), ErrorKind::NoRows);
    let mut many = cursor("SELECT a FROM t");
    assert_eq!(many.one::<i64>().unwrap_err().kind(), ErrorKind::ManyRows);
    assert_eq!(many.optional::<i64>().unwrap_err().kind(), ErrorKind::ManyRows);
    assert_eq!(many.all::<i64>().unwrap(), [1, 2, 3]);
}

#[test]
fn a_row_that_does_not_fit_is_taken_only_by_the_iteration() {
    let query = "SELECT 1 AS v UNION ALL SELECT 'two' UNION ALL SELECT 3";
    let mut rows = cursor(query);
    let error = rows.all::<i64>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conversion);
    assert!(error.message().starts_with("column `v` of row 2 is TEXT"), "{error}");
    assert_eq!(rows.len(), 3);
    let read: Vec<_> = rows.rows::<i64>().map(Result::ok).collect();
    assert_eq!(read, [Some(1), None, Some(3)]);
    let mut text = cursor("SELECT 'one'");
    assert_eq!(text.one::<i64>().unwrap_err().kind(), ErrorKind::Conversion);
    assert_eq!(text.one::<String>().unwrap(), "one");
}

#[test]
fn values_of_every_kind() {
    let query = "SELECT NULL, -1, 2.5, 'ü', x'00ff', CAST(x'ff41' AS TEXT), 1 AS same, 2 AS same";
    let row = cursor(query).raw().next().unwrap();
    let expected = [
        Value::Null,
        Value::Integer(-1),
        Value::Real(2.5),
        Value::Text("ü".into()),
        Value::Blob(vec![0, 255]),
        Value::Text("\u{fffd}A".into()),
        Value::Integer(1),
        Value::Integer(2),
    ];
    assert_eq!(row, expected);
    let read: (Value, Value, Value, Value, Value, Value, Value, Value) =
        cursor(query).one().unwrap();
    let read = [read.0, read.1, read.2, read.3, read.4, read.5, read.6, read.7];
    assert_eq!(read, expected);
    let named: Vec<BTreeMap<String, Value>> = cursor("SELECT a, b FROM t LIMIT 1").all().unwrap();
    assert_eq!(named, [BTreeMap::from([("a".into(), 1.into()), ("b".into(), "x".into())])]);
    assert_eq!(cursor("SELECT x'00'").one::<Value>().unwrap(), Value::Blob(vec![0]));
    assert_eq!(cursor("SELECT NULL").one::<Option<Value>>().unwrap(), None);
    let error = cursor(query).one::<BTreeMap<String, Value>>().unwrap_err();
    assert!(error.message().contains("two columns are called `same`"), "{error}");
}

#[test]
fn a_value_can_be_sent() {
    for value in [Value::Null, 1.into(), 2.5.into(), "text".into(), vec![1_u8].into()] {
        let bytes = bincode::serde::encode_to_vec(&value, bincode::config::standard()).unwrap();
        let (read, _) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert_eq!(value, read);
    }
}

#[test]
fn what_was_read_and_written_is_counted() {
    let counts = |query: &str| {
        let cursor = cursor(query);
        (cursor.rows_read(), cursor.rows_written())
    };
    assert_eq!(counts("SELECT * FROM t"), (3, 0));
    assert_eq!(counts("SELECT * FROM t WHERE a = 2"), (1, 0));
    assert_eq!(counts("SELECT * FROM t WHERE b = 'none'"), (2, 0));
    assert_eq!(counts("UPDATE t SET b = 'w' WHERE a < 3"), (0, 2));
    assert_eq!(counts("INSERT INTO t (b) VALUES ('v'), ('w') RETURNING a"), (2, 2));
    assert_eq!(counts("DELETE FROM t; INSERT INTO t SELECT 1, 2; SELECT a FROM t"), (1, 4));
    let trigger = "CREATE TRIGGER more AFTER DELETE ON t BEGIN DELETE FROM t; END;
        DELETE FROM t WHERE a = 1";
    assert_eq!(counts(trigger).1, 3);
}

#[test]
fn a_cursor_is_independent_of_the_turn() {
    fn is_free<T: Send + 'static>() {}
    is_free::<Cursor>();
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch(SCHEMA).unwrap();
        let mut rows = sql.exec("SELECT a FROM t", []).unwrap();
        sql.exec("DROP TABLE t", []).unwrap();
        assert_eq!(rows.all::<i64>().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn what_is_buffered_is_bounded() {
    let mut names = Vec::new();
    turn_on_scratch(|store| {
        let connection = store.enter().unwrap();
        let mut statement = connection.prepare("SELECT 'four', 1").unwrap();
        let mut rows = statement.raw_query();
        let row = rows.next().unwrap().unwrap();
        let bytes = 2 * size_of::<Cell>() + 4;
        let mut buffer = Buffer::default();
        buffer.push(row, bytes).unwrap();
        names.extend_from_slice(buffer.column_names());
        let error = Buffer::default().push(row, bytes - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.message().contains("`query_each`"), "{error}");
    });
    assert_eq!(names, ["'four'", "1"]);
}
