//! Random keys and values, and random bytes where a value should be.
//!
//! `DURABLE_FUZZ_SECONDS=60 cargo test --release -p durable-runtime --lib random_values` is the long form.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::*;
use crate::storage::tests::turn_on_scratch;

/// A value of every shape that there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Nothing,
    Flag(bool),
    Small(i64),
    Large(u64),
    Real(f64),
    Letter(char),
    Text(String),
    Maybe(Option<u8>),
    Pair(Box<Tree>, i32),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Named { left: Box<Tree>, right: Option<String> },
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Nothing),
        any::<bool>().prop_map(Tree::Flag),
        any::<i64>().prop_map(Tree::Small),
        any::<u64>().prop_map(Tree::Large),
        prop::num::f64::NORMAL.prop_map(Tree::Real),
        any::<char>().prop_map(Tree::Letter),
        any::<String>().prop_map(Tree::Text),
        any::<Option<u8>>().prop_map(Tree::Maybe),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            (inner.clone(), any::<i32>()).prop_map(|(tree, n)| Tree::Pair(Box::new(tree), n)),
            vec(inner.clone(), 0..6).prop_map(Tree::List),
            btree_map(any::<String>(), inner.clone(), 0..6).prop_map(Tree::Map),
            (inner, any::<Option<String>>())
                .prop_map(|(tree, right)| Tree::Named { left: Box::new(tree), right }),
        ]
    })
}

/// Whatever is stored, reading it as something else gives a value or an error.
fn read_as_others(kv: Kv<'_>, key: &str) {
    let _ = kv.get::<u8>(key);
    let _ = kv.get::<f64>(key);
    let _ = kv.get::<String>(key);
    let _ = kv.get::<Option<Vec<i64>>>(key);
    let _ = kv.get::<BTreeMap<String, String>>(key);
    let _ = kv.get::<IgnoredAny>(key);
}

#[test]
fn random_values() {
    let long = std::env::var("DURABLE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let (begin, time) = (Instant::now(), Duration::from_secs(long.unwrap_or(0)));
    let entries = vec((any::<String>(), tree()), 1..6);
    let input = (entries, vec(any::<u8>(), 0..64));
    loop {
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        let ran = TestRunner::new(config).run(&input, |(entries, bytes)| {
            turn_on_scratch(|store| {
                let kv = store.kv();
                let model: BTreeMap<_, _> = entries.iter().cloned().collect();
                for (key, value) in &entries {
                    kv.put(key, value).unwrap();
                    assert_eq!(kv.get::<Tree>(key).unwrap().as_ref(), Some(value));
                    read_as_others(kv, key);
                }
                let listed: Result<BTreeMap<String, Tree>> = kv.list(..).unwrap().collect();
                assert_eq!(listed.unwrap(), model);
            });
            // What nobody has written is an error or a value, and no more than that.
            let _ = decode::<Tree>("k", &bytes);
            let _ = decode::<BTreeMap<String, Vec<u64>>>("k", &bytes);
            let mut marked = vec![1];
            marked.extend(&bytes);
            let _ = decode::<Tree>("k", &marked);
            let _ = decode::<Vec<String>>("k", &marked);
            let _ = decode::<IgnoredAny>("k", &marked);
            Ok(())
        });
        if let Err(failed) = ran {
            panic!("{failed}");
        }
        if begin.elapsed() >= time {
            return;
        }
    }
}
