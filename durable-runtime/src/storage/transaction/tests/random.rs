//! Random turns with random transactions in them, against a model: a stack of maps.
//!
//! `DURABLE_FUZZ_SECONDS=600 cargo test --release -p durable-runtime --lib random_turns` is the long form.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::KvRange;
use crate::id::{Identity, RawId};
use crate::object::MigrationInfo;
use crate::storage::tests::engine_on;

static SCHEMA: [MigrationInfo; 1] = [MigrationInfo {
    number: 1,
    name: "create",
    checksum: 1,
    sql: &[],
    apply: |db| db.execute_batch("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER)"),
}];

/// Parts of keys: what is next to a border in UTF-8, or might be taken for something else.
const PARTS: [&str; 12] = [
    "a",
    "b",
    "\0",
    "\u{7f}",
    "\u{80}",
    "é",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ffff}",
    "😀",
    "\u{10ffff}",
    "%_'\"",
];

#[derive(Clone, Debug)]
enum Op {
    Put(String, i64),
    PutMany(Vec<(String, i64)>),
    Delete(String),
    DeleteMany(Vec<String>),
    Insert(String, i64),
    DropRows,
    /// A statement that fails.
    Fail,
    DeleteAll,
    Nest(Vec<Op>, End),
    List(Range),
}

/// How a level, or a turn, ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Ok,
    Err,
    Rollback,
    Panic,
}

#[derive(Clone, Debug)]
struct Range {
    start: Option<(String, bool)>,
    end: Option<String>,
    prefix: Option<String>,
    reverse: bool,
    limit: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    keys: BTreeMap<String, i64>,
    rows: BTreeMap<String, i64>,
}

fn key() -> impl Strategy<Value = String> {
    vec(select(&PARTS[..]), 0..3).prop_map(|parts| parts.concat())
}

fn range() -> impl Strategy<Value = Range> {
    let start = prop::option::of((key(), any::<bool>()));
    let (end, prefix) = (prop::option::of(key()), prop::option::of(key()));
    (start, end, prefix, any::<bool>(), prop::option::of(0..5_usize)).prop_map(
        |(start, end, prefix, reverse, limit)| Range { start, end, prefix, reverse, limit },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let number = -9_i64..9;
    let leaf = prop_oneof![
        5 => (key(), number.clone()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => vec((key(), number.clone()), 0..4).prop_map(Op::PutMany),
        2 => key().prop_map(Op::Delete),
        1 => vec(key(), 0..4).prop_map(Op::DeleteMany),
        4 => (key(), number).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => Just(Op::DropRows),
        1 => Just(Op::Fail),
        1 => Just(Op::DeleteAll),
        3 => range().prop_map(Op::List),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        (vec(inner, 0..6), end()).prop_map(|(ops, end)| Op::Nest(ops, end))
    })
}

fn end() -> impl Strategy<Value = End> {
    select(&[End::Ok, End::Ok, End::Err, End::Rollback, End::Panic][..])
}

impl Range {
    fn build(&self) -> KvRange {
        let mut range = KvRange::new();
        match &self.start {
            Some((start, true)) => range = range.start(start),
            Some((start, false)) => range = range.start_after(start),
            None => {}
        }
        if let Some(end) = &self.end {
            range = range.end(end);
        }
        if let Some(prefix) = &self.prefix {
            range = range.with_prefix(prefix);
        }
        if let Some(limit) = self.limit {
            range = range.limit(limit);
        }
        if self.reverse { range.reverse() } else { range }
    }

    fn of(&self, model: &Model) -> Vec<(String, i64)> {
        let in_range = |key: &str| {
            self.start.as_ref().is_none_or(|(start, is_in)| {
                key > start.as_str() || (*is_in && key == start.as_str())
            }) && self.end.as_ref().is_none_or(|end| key < end.as_str())
                && self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
        };
        let mut found: Vec<_> = model.keys.clone().into_iter().collect();
        found.retain(|(key, _)| in_range(key));
        if self.reverse {
            found.reverse();
        }
        found.truncate(self.limit.unwrap_or(usize::MAX));
        found
    }
}

fn run(store: &Store, ops: &[Op], model: &mut Model) {
    let kv = store.kv();
    for op in ops {
        match op {
            Op::Put(key, value) => {
                kv.put(key, value).unwrap();
                model.keys.insert(key.clone(), *value);
            }
            Op::PutMany(entries) => {
                kv.put_many(entries.iter().map(|(key, value)| (key, value))).unwrap();
                model.keys.extend(entries.iter().cloned());
            }
            Op::Delete(key) => {
                assert_eq!(kv.delete(key).unwrap(), model.keys.remove(key).is_some());
            }
            Op::DeleteMany(keys) => {
                let known = keys.iter().filter(|key| model.keys.remove(*key).is_some()).count();
                assert_eq!(kv.delete_many(keys).unwrap(), known);
            }
            Op::Insert(key, value) => {
                let sql =
                    "INSERT INTO t VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
                store.sql().execute(sql, (key, value)).unwrap();
                model.rows.insert(key.clone(), *value);
            }
            Op::DropRows => {
                store.sql().execute("DELETE FROM t WHERE v < 0", []).unwrap();
                model.rows.retain(|_, value| *value >= 0);
            }
            Op::Fail => {
                let sql = "INSERT INTO t VALUES ('new', 1), ('new', 2)";
                store.sql().execute(&format!("{sql}, ('new', 3)"), []).unwrap_err();
            }
            Op::DeleteAll => {
                store.delete_all(NOW).unwrap();
                *model = Model::default();
            }
            Op::Nest(ops, end) => nest(store, ops, *end, model),
            Op::List(range) => {
                let found = kv.list::<i64>(range.build()).unwrap();
                assert_eq!(found.collect::<Result<Vec<_>>>().unwrap(), range.of(model));
            }
        }
    }
}

fn nest(store: &Store, ops: &[Op], end: End, model: &mut Model) {
    let before = model.clone();
    let level = AssertUnwindSafe(|| match end {
        End::Ok => store.transaction(|| {
            run(store, ops, model);
            Ok::<_, Error>(1)
        }),
        End::Err => store.transaction(|| {
            run(store, ops, model);
            Err(failure())
        }),
        End::Rollback => store.transaction(|| {
            run(store, ops, model);
            Rollback(1)
        }),
        End::Panic => store.transaction(|| -> Result<i32> {
            run(store, ops, model);
            // Not `panic!`, which would print.
            resume_unwind(Box::new(Deliberate))
        }),
    });
    match (catch_unwind(level), end) {
        (Ok(Ok(1)), End::Ok | End::Rollback) | (Ok(Err(_)), End::Err) => {}
        (Err(payload), End::Panic) if payload.is::<Deliberate>() => {}
        (Err(payload), _) => resume_unwind(payload),
        (ended, _) => panic!("a level ended with {ended:?} and not with {end:?}"),
    }
    if end != End::Ok {
        *model = before;
    }
    assert_eq!(&contents(store), model);
}

struct Deliberate;

fn contents(store: &Store) -> Model {
    let rows = store.sql().query_all::<(String, i64)>("SELECT k, v FROM t", []).unwrap();
    let keys = store.kv().list::<i64>(..).unwrap().collect::<Result<_>>().unwrap();
    Model { keys, rows: rows.into_iter().collect() }
}

/// Runs turns on an object that is opened anew in between, and compares it with the model.
fn turns(open: impl Fn() -> Store, program: &[(Vec<Op>, bool)]) {
    let mut model = Model::default();
    let mut store = open();
    for (number, (ops, commits)) in program.iter().enumerate() {
        if !store.is_active() {
            store.activate(NOW).unwrap();
        }
        let mut after = model.clone();
        store.begin_turn(Access::Write);
        run(&store, ops, &mut after);
        if *commits {
            store.commit_turn(|| NOW).unwrap();
            model = after;
        } else {
            store.rollback_turn();
        }
        if number % 2 == 1 {
            drop(store);
            store = open();
        }
        if !store.is_active() {
            store.activate(NOW).unwrap();
        }
        store.begin_turn(Access::ReadOnly);
        assert_eq!(contents(&store), model);
        store.commit_turn(|| NOW).unwrap();
    }
}

#[test]
fn random_turns() {
    let seconds = std::env::var("DURABLE_FUZZ_SECONDS");
    let seconds = seconds.ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let start = Instant::now();
    let data = tempfile::tempdir().unwrap();
    let engine = engine_on(data.path());
    let cases = Cell::new(0);
    let program = vec((vec(op(), 0..8), prop::bool::weighted(0.8)), 1..4);
    loop {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let ran = runner.run(&program, |program| {
            // Each on an object of its own.
            cases.set(cases.get() + 1);
            let id = RawId::from_name("Counter", None, &cases.get().to_string());
            let open = || {
                let identity = Identity::new(Arc::from("Counter"), id);
                Store::new(engine.clone(), Arc::new(identity), &SCHEMA)
            };
            turns(open, &program);
            Ok::<_, TestCaseError>(())
        });
        if let Err(failed) = ran {
            panic!("{failed}");
        }
        if start.elapsed().as_secs() >= seconds {
            return;
        }
    }
}
