use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::storage::tests::turn_on_scratch;
use crate::{Error, ErrorKind, Result};

fn query<T: DeserializeOwned>(sql: &str) -> Result<T> {
    let mut found = Err(Error::other("not run"));
    turn_on_scratch(|store| found = store.sql().query_one(sql, []));
    found
}

#[allow(clippy::needless_pass_by_value, reason = "the cases read better")]
fn reads<T: DeserializeOwned + PartialEq + Debug>(sql: &str, expected: T) {
    assert_eq!(query::<T>(sql).unwrap(), expected, "{sql}");
}

fn refuses<T: DeserializeOwned + Debug>(sql: &str, parts: &[&str]) {
    let error = query::<T>(sql).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conversion, "{sql}: {error}");
    for part in parts {
        assert!(error.message().contains(part), "{sql}: {error:?} does not say {part:?}");
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Post {
    id: u64,
    text: String,
    #[serde(default)]
    score: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Blue,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Key(i64);

#[derive(Debug, PartialEq, Deserialize)]
struct Pair(i64, String);

#[derive(Debug, PartialEq, Deserialize)]
struct Outer {
    key: Key,
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}

#[test]
fn by_name() {
    let post = || Post { id: 1, text: "a".into(), score: None };
    reads("SELECT 'a' AS text, 1 AS id, NULL AS score", post());
    reads("SELECT 'a' AS text, 1 AS id, 'x' AS unknown", post());
    reads("SELECT 'a' AS text, 1 AS id, 2.5 AS score", Post { score: Some(2.5), ..post() });
    reads("SELECT 1 AS a, 2 AS b", BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    reads(
        "SELECT 1 AS key, 2 AS b",
        Outer { key: Key(1), rest: BTreeMap::from([("b".to_owned(), 2)]) },
    );
    refuses::<Post>("SELECT 1 AS id", &["row 1 (with `id`)", "Post`", "missing field `text`"]);
    refuses::<BTreeMap<String, i64>>(
        "SELECT 1 AS a, 2 AS a",
        &["two columns are called `a`", "AS"],
    );
    refuses::<Post>(
        "SELECT -1 AS id, 'a' AS text",
        &["column `id` of row 1 is INTEGER and cannot be read as `u64`", "-1"],
    );
}

#[test]
fn by_position() {
    reads("SELECT 1, 'a'", (1_i64, "a".to_owned()));
    reads("SELECT 1, 'a'", Pair(1, "a".into()));
    reads("SELECT 1, 2, 3", vec![1, 2, 3]);
    reads("SELECT 1, 2", [1, 2]);
    reads("SELECT 1", (1,));
    reads("SELECT x'01'", (vec![1_u8],));
    refuses::<(i64, i64)>("SELECT 1 AS a", &["row 1 (with `a`)", "2 columns are needed, not 1"]);
    refuses::<(i64,)>("SELECT 1, 2", &["1 columns are needed, not 2"]);
}

#[test]
fn one_value() {
    reads("SELECT 9007199254740993", 9_007_199_254_740_993_i64);
    reads("SELECT -9223372036854775808", i64::MIN);
    reads("SELECT 255", 255_u8);
    reads("SELECT 9223372036854775807", u64::try_from(i64::MAX).unwrap());
    reads("SELECT -5", -5_i128);
    reads("SELECT 1", true);
    reads("SELECT 0", false);
    reads("SELECT 2", 2.0_f64);
    reads("SELECT 2.5", 2.5_f32);
    reads("SELECT 'ü'", 'ü');
    reads("SELECT 'a' || char(0) || 'b'", "a\0b".to_owned());
    reads("SELECT 'blue'", Colour::Blue);
    reads("SELECT 7", Key(7));
    reads("SELECT NULL", None::<i64>);
    reads("SELECT 7", Some(Key(7)));
    reads("SELECT x'0102'", vec![1_u8, 2]);
    reads("SELECT x''", Vec::<u8>::new());
    reads("SELECT x'0102'", [1_u8, 2]);
    reads("SELECT 1, 2", ());
    reads("SELECT '::1'", std::net::Ipv6Addr::LOCALHOST);
}

#[test]
fn what_does_not_fit() {
    refuses::<i64>("SELECT NULL AS n", &["column `n` of row 1 is NULL", "Option<i64>"]);
    refuses::<u8>("SELECT 256 AS n", &["INTEGER", "`u8`", "256"]);
    refuses::<u64>("SELECT -1", &["`u64`", "-1"]);
    refuses::<i64>("SELECT 1.0", &["REAL", "`i64`"]);
    refuses::<i64>("SELECT '1'", &["TEXT", "`i64`"]);
    refuses::<String>("SELECT 1", &["INTEGER", "String`"]);
    refuses::<String>("SELECT x'61'", &["BLOB", "String`"]);
    refuses::<String>("SELECT CAST(x'ff' AS TEXT)", &["TEXT", "utf-8"]);
    refuses::<Vec<u8>>("SELECT 'a' AS a", &["TEXT", "u8"]);
    refuses::<[u8; 3]>("SELECT x'01020304'", &["BLOB", "[u8; 3]"]);
    refuses::<[u8; 3]>("SELECT x'0102'", &["BLOB", "[u8; 3]"]);
    refuses::<bool>("SELECT 2", &["2 is neither 0 nor 1"]);
    refuses::<bool>("SELECT 'true'", &["TEXT", "`bool`"]);
    refuses::<Colour>("SELECT 'green'", &["unknown variant `green`", "`red`"]);
    refuses::<Colour>("SELECT 0", &["INTEGER"]);
    refuses::<i64>(
        "SELECT 1 AS a, 2 AS b",
        &["row 1 (with `a`, `b`)", "one column is needed, not 2"],
    );
}

#[test]
fn the_row_is_counted() {
    turn_on_scratch(|store| {
        let sql = "SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 'three'";
        let error = store.sql().query_all::<i64>(sql, []).unwrap_err();
        assert!(error.message().starts_with("column `n` of row 3 is TEXT"), "{error}");
    });
}
