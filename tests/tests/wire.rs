//! The wire form of calls: what passes, and what is refused by name.

use durable::prelude::*;
use durable_tests::{Form, matrix};
use serde::{Deserialize, Serialize};

/// Needs a self-describing format: by position nobody could tell which it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
}

/// Leaves out what is empty: by position the next would be taken for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    count: u8,
}

/// Has no written form at all.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Secret;

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a secret is not written"))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum ShopError {
    Closed { until: u32 },
}

#[derive(Default)]
struct Shop {
    seen: Vec<String>,
}

#[durable_object]
impl Shop {
    pub fn many(
        &mut self,
        a: u8,
        b: &str,
        c: &[u16],
        d: Option<(i32, String)>,
        e: &String,
    ) -> String {
        self.seen.push(b.to_owned());
        format!("{a} {b} {c:?} {d:?} {e}")
    }

    pub fn business(&mut self, open: bool) -> std::result::Result<u8, ShopError> {
        if open { Ok(1) } else { Err(ShopError::Closed { until: 8 }) }
    }

    pub fn loose(&mut self, value: Loose) -> Loose {
        self.seen.push("loose".into());
        value
    }

    pub fn sparse(&self, value: Sparse) -> std::result::Result<Sparse, Sparse> {
        if value.count == 0 { Err(value) } else { Ok(value) }
    }

    pub fn secret(&mut self, value: Secret) -> Secret {
        self.seen.push("secret".into());
        value
    }

    pub fn seen(&self) -> usize {
        self.seen.len()
    }

    pub fn r#type(&self) -> String {
        "raw".to_owned()
    }
}

matrix! {
    async fn arguments_replies_and_errors_pass(bed) {
        let runtime = bed.builder().register::<Shop>().start().await.unwrap();
        let shop = runtime.get::<Shop>("corner");
        let answer = shop.many(1, "b", &[2, 3], Some((-4, "d".into())), &"e".to_owned()).await.unwrap();
        assert_eq!(answer, r#"1 b [2, 3] Some((-4, "d")) e"#);
        assert_eq!(shop.business(true).await.unwrap(), 1);
        let error = shop.business(false).await.unwrap_err();
        assert_eq!(error, CallError::Application(ShopError::Closed { until: 8 }));
        assert!(!error.is_retryable());
        assert_eq!(shop.seen().await.unwrap(), 1);
        assert_eq!(shop.r#type().await.unwrap(), "raw");
    }

    async fn what_cannot_be_positional_passes_by_its_names(bed) {
        let runtime = bed.builder().register::<Shop>().start().await.unwrap();
        let shop = runtime.get::<Shop>("corner");
        for value in [Loose::Number(1), Loose::Text("a".into())] {
            assert_eq!(shop.loose(value.clone()).await.unwrap(), value);
        }
        for (note, name) in [(None, ""), (Some(7), ""), (None, "a"), (Some(7), "a")] {
            let good = Sparse { note, name: name.into(), count: 7 };
            assert_eq!(shop.sparse(good.clone()).await.unwrap(), good);
            let bad = Sparse { count: 0, ..good };
            let error = shop.sparse(bad.clone()).await.unwrap_err();
            assert_eq!(error, CallError::Application(bad));
        }
    }

    async fn a_type_that_no_wire_form_can_carry_is_named(bed) {
        let runtime = bed.builder().register::<Shop>().start().await.unwrap();
        let shop = runtime.get::<Shop>("corner");
        let answer = shop.secret(Secret).await;
        match bed.form {
            Form::Moved => assert_eq!(answer.unwrap(), Secret),
            Form::Wire => {
                let error = answer.unwrap_err();
                assert!(matches!(&error, CallError::Incompatible { method: "secret", reason } if reason.contains("a secret is not written")), "{error:?}");
                assert_eq!(shop.seen().await.unwrap(), 0, "the method did not run");
            }
        }
    }
}
