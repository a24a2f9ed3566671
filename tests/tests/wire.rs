//! The wire form of calls: what passes, and what is refused by name.

use durable::prelude::*;
use durable_tests::{Form, matrix};
use serde::{Deserialize, Serialize};

/// Needs a self-describing format, which the wire form is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
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

    async fn a_type_that_the_wire_form_cannot_carry_is_named(bed) {
        let runtime = bed.builder().register::<Shop>().start().await.unwrap();
        let shop = runtime.get::<Shop>("corner");
        let answer = shop.loose(Loose::Number(1)).await;
        match bed.form {
            Form::Moved => assert_eq!(answer.unwrap(), Loose::Number(1)),
            Form::Wire => {
                let error = answer.unwrap_err();
                assert!(matches!(&error, CallError::Incompatible { method: "loose", reason } if reason.contains("Loose")), "{error:?}");
                assert_eq!(shop.seen().await.unwrap(), 0, "the method did not run");
            }
        }
    }
}
