use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::rpc::Access;
use crate::storage::tests::{store_on, turn_on_scratch};

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
    assert_eq!(stored(&|| encode("k", &point)), *b"\x01\x82\xa1x\xff\xa4name\xc0");
    assert_eq!(stored(&|| encode("k", &5)), [1, 5]);
    assert_eq!(stored(&|| encode("k", "hi")), *b"\x01\xa2hi");
    assert_eq!(stored(&|| encode("k", &(true, 1.5))), *b"\x01\x92\xc3\xcb\x3f\xf8\0\0\0\0\0\0");
    assert_eq!(stored(&|| encode("k", &Raw(&[9]))), [1, 0xc4, 1, 9]);
    assert_eq!(stored(&|| encode("k", &Shape::Unit)), *b"\x01\xa4Unit");
    assert_eq!(stored(&|| encode("k", &Shape::New(7))), *b"\x01\x81\xa3New\x07");
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
        let largest = "x".repeat(ENTRY_BYTES_MAX - 7);
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
    let deepest = (0..200).take_while(|&depth| encode("k", &nested(depth)).is_ok()).count();
    assert!((60..=DEPTH_MAX).contains(&deepest), "{deepest}");
    let bytes = encode("k", &nested(deepest - 1)).unwrap();
    assert_eq!(decode::<Nested>("k", &bytes).unwrap(), nested(deepest - 1));
    assert_eq!(encode("k", &nested(deepest)).unwrap_err().kind(), ErrorKind::Encoding);
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
        (encode("k", &5), "holds an integer"),
        (encode("k", "a"), "holds a string"),
        (encode("k", &[1, 2]), "holds a sequence of 2"),
        (encode("k", &vec![1; 300]), "holds a sequence of 300"),
        (encode("k", &BTreeMap::from([("a", 1)])), "holds a map or struct of 1"),
        (encode("k", &()), "holds nothing"),
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
