use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::rpc::Access;
use crate::storage::tests::{store_on, turn_on_scratch};
use crate::{Error, ErrorKind};

fn encoded(key: &str, value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    encode(key, value, KV_ENTRY_BYTES_MAX)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(u8),
    Pair(u8, String),
    Fields { a: Option<i64>, b: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    age: Option<u8>,
    tags: Vec<String>,
    shapes: Vec<Shape>,
    numbers: BTreeMap<String, i64>,
}

fn profile() -> Profile {
    Profile {
        name: "Ada".into(),
        age: None,
        tags: vec!["x".into()],
        shapes: vec![
            Shape::Unit,
            Shape::New(1),
            Shape::Pair(2, "p".into()),
            Shape::Fields { a: Some(-1), b: 0.5 },
        ],
        numbers: BTreeMap::from([("n".into(), i64::MIN)]),
    }
}

/// The stored form is a promise: it changes only together with the format byte.
#[test]
fn golden_values() {
    #[derive(Serialize)]
    struct Point {
        x: i64,
        name: Option<&'static str>,
    }
    struct Raw(&'static [u8]);
    impl Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    let stored = |value: &dyn Fn() -> Result<Vec<u8>>| value().unwrap();
    let point = Point { x: -1, name: None };
    assert_eq!(stored(&|| encoded("k", &point)), *b"\x01\x82\xa1x\xff\xa4name\xc0");
    assert_eq!(stored(&|| encoded("k", &5)), [1, 5]);
    assert_eq!(stored(&|| encoded("k", "hi")), *b"\x01\xa2hi");
    assert_eq!(stored(&|| encoded("k", &(true, 1.5))), *b"\x01\x92\xc3\xcb\x3f\xf8\0\0\0\0\0\0");
    assert_eq!(stored(&|| encoded("k", &Raw(&[9]))), [1, 0xc4, 1, 9]);
    assert_eq!(stored(&|| encoded("k", &Shape::Unit)), *b"\x01\xa4Unit");
    assert_eq!(stored(&|| encoded("k", &Shape::New(7))), *b"\x01\x81\xa3New\x07");
}

#[test]
fn values_come_back() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        assert_eq!(kv.get::<i64>("k").unwrap(), None);
        assert!(!kv.delete("k").unwrap());
        assert!(!store.wrote());
        kv.put("k", &profile()).unwrap();
        assert!(store.wrote());
        assert_eq!(kv.get("k").unwrap(), Some(profile()));
        kv.put("k", &u64::MAX).unwrap();
        assert_eq!(kv.get("k").unwrap(), Some(u64::MAX));
        for key in ["", "ü\0x", &"k".repeat(2_048)] {
            kv.put(key, "str").unwrap();
            assert_eq!(kv.get("").unwrap(), Some("str".to_owned()));
        }
        assert!(kv.delete("k").unwrap());
        assert!(!kv.delete("k").unwrap());
        assert_eq!(kv.get::<u64>("k").unwrap(), None);
    });
}

#[test]
fn limits() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        let key = "k".repeat(2_049);
        for error in [
            kv.get::<i64>(&key).unwrap_err(),
            kv.put(&key, &1).unwrap_err(),
            kv.delete(&key).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.message(), "a key has 2049 bytes, over the limit of 2048");
        }
        // Format byte, marker and length take 6 bytes.
        let largest = "x".repeat(KV_ENTRY_BYTES_MAX - 7);
        kv.put("k", &largest).unwrap();
        let error = kv.put("kk", &largest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.message().contains("2097153 bytes, over the limit of 2097152"), "{error}");
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Option<Box<(Nested,)>>);

fn nested(depth: usize) -> Nested {
    (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new((inner,)))))
}

#[test]
fn what_is_too_deep_is_refused_when_it_is_put() {
    let deepest = (0..200).take_while(|&depth| encoded("k", &nested(depth)).is_ok()).count();
    assert!((60..=value::DEPTH_MAX).contains(&deepest), "{deepest}");
    let bytes = encoded("k", &nested(deepest - 1)).unwrap();
    assert_eq!(decode::<Nested>("k", &bytes).unwrap(), nested(deepest - 1));
    assert_eq!(encoded("k", &nested(deepest)).unwrap_err().kind(), ErrorKind::Encoding);
}

#[test]
fn unreadable_values_name_key_and_types() {
    let stored_and_wanted = |bytes: &[u8]| {
        let error = decode::<Profile>("k\n", bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conversion);
        assert!(error.message().starts_with("key \"k\\n\" holds "), "{error}");
        assert!(error.message().contains("Profile`"), "{error}");
        error.message().to_owned()
    };
    for (value, expected) in [
        (encoded("k", &5), "holds an integer"),
        (encoded("k", "a"), "holds a string"),
        (encoded("k", &[1, 2]), "holds a sequence of 2"),
        (encoded("k", &vec![1; 300]), "holds a sequence of 300"),
        (encoded("k", &BTreeMap::from([("a", 1)])), "holds a map or struct of 1"),
        (encoded("k", &()), "holds nothing"),
        (Ok(vec![9, 0]), "another format"),
        (Ok(vec![]), "another format"),
        (Ok(vec![1]), "not a value"),
        (Ok(vec![1, 0xdd, 0xff, 0xff, 0xff, 0xff]), "a sequence of 4294967295"),
    ] {
        let message = stored_and_wanted(&value.unwrap());
        assert!(message.contains(expected), "{message}");
    }
    let error = decode::<u8>("k", &[1, 5, 5]).unwrap_err();
    assert!(error.message().contains("1 bytes are left over"), "{error}");
}

#[test]
fn what_cannot_be_written() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken on purpose"))
        }
    }
    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::ser::SerializeSeq::end(serializer.serialize_seq(Some(3))?)
        }
    }
    turn_on_scratch(|store| {
        let error = store.kv().put("k", &Broken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encoding);
        assert!(error.message().contains("\"k\"") && error.message().contains("on purpose"));
        assert_eq!(store.kv().put("k", &Liar).unwrap_err().kind(), ErrorKind::Encoding);
        assert!(!store.wrote());
    });
}

#[test]
fn the_table_may_be_gone_again() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    for _ in 0..2 {
        store.begin_turn(Access::Write);
        store.kv().put("k", &1).unwrap();
        assert_eq!(store.kv().get("k").unwrap(), Some(1));
        assert!(store.kv().delete("k").unwrap());
        store.rollback_turn();
        store.begin_turn(Access::Write);
        assert_eq!(store.kv().get::<i64>("k").unwrap(), None);
        assert!(!store.kv().delete("k").unwrap());
        store.rollback_turn();
    }
}

fn keys_of(kv: Kv<'_>, range: impl Into<KvRange>) -> Vec<String> {
    let range = range.into();
    let keys = kv.keys(range.clone()).unwrap().collect::<Result<Vec<_>>>().unwrap();
    let entries = kv.list::<String>(range).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert!(entries.iter().all(|(key, value)| key == value));
    assert_eq!(entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), keys);
    keys
}

#[test]
fn lists() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        assert_eq!(keys_of(kv, ..), [""; 0]);
        let keys = ["", "a", "aa", "ab", "b", "ba", "c"];
        for key in keys {
            kv.put(key, key).unwrap();
        }
        let all = KvRange::new;
        for (range, expected) in [
            (all(), &keys[..]),
            (all().limit(0), &[]),
            (all().limit(3), &["", "a", "aa"]),
            (all().limit(100), &keys),
            (all().reverse().limit(2), &["c", "ba"]),
            (all().start("aa"), &["aa", "ab", "b", "ba", "c"]),
            (all().start("aaa"), &["ab", "b", "ba", "c"]),
            (all().start_after(""), &keys[1..]),
            (all().start_after("ab"), &["b", "ba", "c"]),
            (all().end("b"), &["", "a", "aa", "ab"]),
            (all().start("aa").end("ba"), &["aa", "ab", "b"]),
            (all().start("aa").end("ba").reverse(), &["b", "ab", "aa"]),
            (all().start("b").end("a"), &[]),
            (all().start("b").end("b"), &[]),
            (KvRange::prefix("a"), &["a", "aa", "ab"]),
            (KvRange::prefix("a").start_after("aa"), &["ab"]),
            (KvRange::prefix("a").end("ab"), &["a", "aa"]),
            (KvRange::prefix("a").reverse().limit(2), &["ab", "aa"]),
            (KvRange::prefix("b").start("a"), &["b", "ba"]),
            (KvRange::prefix(""), &keys),
            (KvRange::prefix("zz"), &[]),
        ] {
            assert_eq!(keys_of(kv, range.clone()), expected, "{range:?}");
        }
        assert_eq!(keys_of(kv, "a"..="b"), ["a", "aa", "ab", "b"]);
        let two_starts = all().start("a").start_after("a");
        assert_eq!(kv.list::<i64>(two_starts.clone()).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(kv.keys(two_starts).unwrap_err().kind(), ErrorKind::Invalid);
    });
}

#[test]
fn keys_are_in_the_order_of_their_bytes() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        let keys = [
            "\0",
            "\0\0",
            "A",
            "a",
            "a\0",
            "a\0b",
            "é",
            "\u{ffff}",
            "\u{ffff}x",
            "😀",
            "\u{10ffff}z",
        ];
        for key in keys.iter().rev() {
            kv.put(key, key).unwrap();
        }
        assert_eq!(keys_of(kv, ..), keys);
        assert_eq!(keys_of(kv, KvRange::prefix("a")), ["a", "a\0", "a\0b"]);
        assert_eq!(keys_of(kv, KvRange::prefix("\u{ffff}")), ["\u{ffff}", "\u{ffff}x"]);
        assert_eq!(keys_of(kv, KvRange::prefix("\u{10ffff}")), ["\u{10ffff}z"]);
        assert_eq!(keys_of(kv, KvRange::new().start_after("a").limit(1)), ["a\0"]);
    });
}

/// A list longer than what is read at once, by number and by size.
#[test]
fn long_lists_come_whole_in_both_directions() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        let keys: Vec<_> = (0..1_000).map(|number| format!("{number:04}")).collect();
        for key in &keys {
            kv.put(key, key).unwrap();
        }
        assert_eq!(keys_of(kv, ..), keys);
        assert_eq!(keys_of(kv, KvRange::new().limit(300)), keys[..300]);
        let reversed: Vec<_> = keys.iter().rev().cloned().collect();
        assert_eq!(keys_of(kv, KvRange::new().reverse()), reversed);
        let large = "x".repeat(200_000);
        for key in &keys[..20] {
            kv.put(key, &large).unwrap();
        }
        let entries = kv.list::<String>(.."0020").unwrap().map(Result::unwrap);
        assert!(entries.map(|(key, _)| key).eq(keys[..20].iter().cloned()));
    });
}

#[test]
fn what_a_list_sees_of_writes() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        let keys: Vec<_> = (0..500).map(|number| format!("{number:04}")).collect();
        for key in &keys {
            kv.put(key, key).unwrap();
        }
        // Deleting what was given disturbs nothing.
        let mut seen = Vec::new();
        for key in kv.keys(..).unwrap() {
            let key = key.unwrap();
            assert!(kv.delete(&key).unwrap());
            seen.push(key);
        }
        assert_eq!(seen, keys);
        assert_eq!(keys_of(kv, ..), [""; 0]);

        // What is put far ahead is seen, what is put behind is not.
        kv.put("b", "b").unwrap();
        let mut list = kv.list::<String>(..).unwrap();
        assert_eq!(list.next().unwrap().unwrap().0, "b");
        kv.put_many([("a", "a"), ("c", "c")]).unwrap();
        assert_eq!(list.next().unwrap().unwrap().0, "c");
        assert!(list.next().is_none());
        kv.put("d", "d").unwrap();
        assert!(list.next().is_none(), "it has ended");

        // A list goes on where its entries are undone.
        let mut list = kv.list::<String>("c"..).unwrap();
        let undone: Result<()> = store.transaction(|| {
            kv.delete_many(["a", "b", "c", "d"])?;
            assert!(kv.keys(..)?.next().is_none());
            Err(Error::other("undo"))
        });
        assert!(undone.is_err());
        assert_eq!(list.by_ref().map(|entry| entry.unwrap().0).collect::<Vec<_>>(), ["c", "d"]);
    });
}

#[test]
fn a_list_goes_on_after_an_entry_that_it_cannot_read() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        kv.put("a", &1).unwrap();
        kv.put("b", "two").unwrap();
        kv.put("c", &3).unwrap();
        let mut list = kv.list::<i64>(..).unwrap();
        assert_eq!(list.next().unwrap().unwrap(), ("a".to_owned(), 1));
        let error = list.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conversion);
        assert!(error.message().starts_with("key \"b\" holds a string"), "{error}");
        assert_eq!(list.next().unwrap().unwrap(), ("c".to_owned(), 3));
        assert!(list.next().is_none());
    });
}

#[test]
fn many_at_once() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        assert_eq!(kv.get_many::<i64>(["a", "b"]).unwrap(), BTreeMap::new());
        assert_eq!(kv.delete_many(["a", "b"]).unwrap(), 0);
        assert!(!store.wrote());
        kv.put_many(BTreeMap::from([("b", 2), ("a", 1)])).unwrap();
        kv.put_many([("c".to_owned(), 3), ("c".to_owned(), 4)]).unwrap();
        let found = kv.get_many::<i64>(["c", "a", "a", "missing"]).unwrap();
        assert_eq!(found, BTreeMap::from([("a".into(), 1), ("c".into(), 4)]));
        let keys: Vec<String> = found.into_keys().collect();
        assert_eq!(kv.delete_many(&keys).unwrap(), 2);
        assert_eq!(kv.delete_many(["b", "b", "missing"]).unwrap(), 1);
        assert_eq!(kv.keys(..).unwrap().count(), 0);
    });
}

#[test]
fn a_batch_that_fails_writes_nothing() {
    struct Picky(i64);
    impl Serialize for Picky {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 < 0 {
                return Err(serde::ser::Error::custom("negative"));
            }
            serializer.serialize_i64(self.0)
        }
    }
    turn_on_scratch(|store| {
        let kv = store.kv();
        let error = kv.put_many([("a", Picky(1)), ("b", Picky(-1))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encoding);
        assert!(error.message().contains("\"b\"") && error.message().contains("negative"));
        let long = "k".repeat(KV_KEY_BYTES_MAX + 1);
        let key = long.as_str();
        for error in [
            kv.put_many([("a", 1), (key, 2)]).unwrap_err(),
            kv.delete_many(["a", key]).unwrap_err(),
            kv.get_many::<i64>(["a", key]).unwrap_err(),
            kv.list::<i64>(key..).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.message(), "a key has 2049 bytes, over the limit of 2048");
        }
        assert!(!store.wrote());
        assert_eq!(kv.keys(..).unwrap().count(), 0);
    });
}

#[test]
fn the_limit_of_a_batch() {
    turn_on_scratch(|store| {
        let kv = store.kv();
        let keys: Vec<_> = (0..=KV_BATCH_KEYS_MAX).map(|number| number.to_string()).collect();
        let most = &keys[..KV_BATCH_KEYS_MAX];
        for error in [
            kv.put_many(keys.iter().map(|key| (key, 1))).unwrap_err(),
            kv.get_many::<i64>(&keys).unwrap_err(),
            kv.delete_many(&keys).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.message().contains("more than 128 keys"), "{error}");
        }
        assert!(!store.wrote());
        kv.put_many(most.iter().map(|key| (key, 1))).unwrap();
        assert_eq!(kv.get_many::<i64>(most).unwrap().len(), 128);
        assert_eq!(kv.delete_many(most).unwrap(), 128);
    });
}

#[test]
fn a_read_only_turn_refuses_batches() {
    let data = tempfile::tempdir().unwrap();
    let mut store = store_on(data.path(), &[]);
    store.begin_turn(Access::ReadOnly);
    let kv = store.kv();
    for error in [kv.put_many([("a", 1)]).unwrap_err(), kv.delete_many(["a"]).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
    }
    assert_eq!(kv.get_many::<i64>(["a"]).unwrap().len() + kv.keys(..).unwrap().count(), 0);
    store.rollback_turn();
}
