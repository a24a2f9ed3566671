use crate::storage::Value;
use crate::storage::tests::turn_on_scratch;

/// Each function, and what the `sqlite3` shell says.
const CASES: &[(&str, f64)] = &[
    ("acos(0.5)", std::f64::consts::FRAC_PI_3),
    ("acosh(2)", 1.316_957_896_924_816_7),
    ("asin(0.5)", std::f64::consts::FRAC_PI_6),
    ("asinh(1)", 0.881_373_587_019_543),
    ("atan(1)", std::f64::consts::FRAC_PI_4),
    ("atan2(1, -1)", 2.356_194_490_192_345),
    ("atanh(0.5)", 0.549_306_144_334_054_8),
    ("ceil(1.2)", 2.0),
    ("ceiling(-1.2)", -1.0),
    ("cos(0)", 1.0),
    ("cosh(1)", 1.543_080_634_815_243_7),
    ("degrees(pi())", 180.0),
    ("exp(1)", std::f64::consts::E),
    ("floor(-1.2)", -2.0),
    ("ln(3)", 1.098_612_288_668_109_8),
    ("log(100)", 2.0),
    ("log(2, 8)", 3.0),
    ("log10(1000)", 3.0),
    ("log2(8)", 3.0),
    ("mod(11, 3.5)", 0.5),
    ("mod(-7, 3)", -1.0),
    ("pi()", std::f64::consts::PI),
    ("pow(2, 3)", 8.0),
    ("power(2, -1)", 0.5),
    ("radians(180)", std::f64::consts::PI),
    ("sin(1)", 0.841_470_984_807_896_5),
    ("sinh(1)", 1.175_201_193_643_801_4),
    ("sqrt(2)", std::f64::consts::SQRT_2),
    ("sqrt(' 2.25 ')", 1.5),
    ("tan(1)", 1.557_407_724_654_902_3),
    ("tanh(1)", 0.761_594_155_955_764_9),
    ("trunc(-1.7)", -1.0),
];

#[test]
fn every_function() {
    turn_on_scratch(|store| {
        for (call, expected) in CASES {
            let found: f64 = store.sql().query_one(&format!("SELECT {call}"), []).unwrap();
            assert!((found - expected).abs() <= 2e-15 * expected.abs(), "{call}: {found}");
        }
    });
}

#[test]
fn what_is_no_number_is_null() {
    turn_on_scratch(|store| {
        for call in [
            "sqrt(-1)",
            "acos(2)",
            "ln(0)",
            "log(-1)",
            "log(1, 5)",
            "log(0, 5)",
            "log(2, 0)",
            "mod(1, 0)",
            "sqrt(NULL)",
            "pow(NULL, 1)",
            "pow(1, NULL)",
            "sqrt('two')",
            "sqrt('inf')",
            "sqrt('2x')",
            "sqrt('')",
            "sqrt(x'32')",
            "floor('nan')",
            "ceil(NULL)",
        ] {
            let found: Value = store.sql().query_one(&format!("SELECT {call}"), []).unwrap();
            assert_eq!(found, Value::Null, "{call}");
        }
    });
}

#[test]
fn integers_are_rounded_to_themselves() {
    turn_on_scratch(|store| {
        let query = "SELECT ceil(9007199254740993), floor('-3'), trunc(7)";
        let found: (i64, i64, i64) = store.sql().query_one(query, []).unwrap();
        assert_eq!(found, (9_007_199_254_740_993, -3, 7));
    });
}

#[test]
fn they_are_there_whatever_misses_them_first() {
    let insert = "INSERT INTO t (x) VALUES (4)";
    for schema in [
        "CREATE TABLE t (x, y AS (sqrt(x)))",
        "CREATE TABLE t (x CHECK (sqrt(x) = 2))",
        "CREATE TABLE t (x); CREATE INDEX i ON t (sqrt(x))",
        "CREATE TABLE t (x); CREATE VIEW v AS SELECT sqrt(x) FROM t; SELECT * FROM v",
    ] {
        turn_on_scratch(|store| {
            store.sql().exec(schema, []).unwrap();
            assert_eq!(store.sql().execute(insert, []).unwrap(), 1, "{schema}");
        });
    }
    // Also of a statement that was prepared before there was such a need.
    turn_on_scratch(|store| {
        let sql = store.sql();
        sql.execute_batch("CREATE TABLE t (x); CREATE TABLE l (x)").unwrap();
        sql.execute(insert, []).unwrap();
        let trigger =
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO l VALUES (sqrt(NEW.x)); END";
        sql.execute(trigger, []).unwrap();
        sql.execute(insert, []).unwrap();
        assert_eq!(sql.query_one::<Value>("SELECT x FROM l", []).unwrap(), Value::Real(2.0));
        let error = sql.execute("SELECT no_such_thing(1)", []).unwrap_err();
        assert_eq!(error.message(), "no such function: no_such_thing (at byte 7 of the statement)");
    });
}
