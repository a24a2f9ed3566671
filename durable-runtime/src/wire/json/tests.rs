use std::collections::BTreeMap;

use super::*;
use crate::wire::Decoder;
use crate::{Error, ErrorKind};

fn read_one<T: DeserializeOwned>(given: Given) -> Result<T, WireError> {
    read(&Argument { name: "value", given })
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, WireError> {
    read_one(Given::Json(text.into()))
}

fn text<T: DeserializeOwned>(text: &str) -> Result<T, WireError> {
    read_one(Given::Text(text.into()))
}

fn said<T: std::fmt::Debug>(read: Result<T, WireError>) -> String {
    read.unwrap_err().to_string()
}

#[test]
fn what_is_not_given_is_none_or_missing() {
    assert_eq!(read_one::<Option<u8>>(Given::Nothing), Ok(None));
    assert_eq!(
        said(read_one::<BTreeMap<String, u8>>(Given::Nothing)),
        "argument `value` is missing, of type `BTreeMap<String, u8>`"
    );
    // Types for which JSON has `null` are not left out for that.
    assert!(matches!(read_one::<()>(Given::Nothing), Err(WireError::Missing { .. })));
    let any = read_one::<serde_json::Value>(Given::Nothing);
    assert!(matches!(any, Err(WireError::Missing { .. })), "{any:?}");
}

#[test]
fn text_is_json_of_its_type_or_itself() {
    assert_eq!(text("5"), Ok(5_u8));
    assert_eq!(text("5"), Ok("5".to_owned()));
    assert_eq!(text("\"5\""), Ok("5".to_owned()));
    assert_eq!(text("a"), Ok(Some("a".to_owned())));
    assert_eq!(text("null"), Ok(None::<String>));
    assert_eq!(text("a"), Ok(serde_json::Value::from("a")));
    let reason = "invalid type: string \"x\", expected u8";
    assert_eq!(said(text::<u8>("x")), format!("argument `value` cannot be read as `u8`: {reason}"));
    assert!(said(text::<u8>("256")).contains("invalid value: integer `256`"));
}

#[test]
fn a_value_ends_where_its_text_does() {
    assert!(json::<u8>("1 2").is_err());
    assert!(json::<u8>("").is_err());
    assert_eq!(json(" 1 "), Ok(1_u8));
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(said(json::<serde_json::Value>(&deep)).contains("recursion limit"));
}

#[test]
fn arguments_are_taken_in_order_and_the_reply_is_bare() {
    let arguments = [
        Argument { name: "a", given: Given::Json("[1]".into()) },
        Argument { name: "b", given: Given::Text("x".into()) },
    ];
    let mut input = Decoder::json(&arguments);
    assert_eq!(input.take(), Ok([1_u8]));
    assert_eq!(input.take(), Ok("x".to_owned()));
    assert!(matches!(input.take::<u8>(), Err(WireError::Decode { .. })));
    let mut output = input.finish().unwrap();
    output.put(&(1, "a")).unwrap();
    assert_eq!(output.finish(), b"[1,\"a\"]");
}

#[test]
fn strangers_are_told_the_kind_and_what_the_user_said() {
    let write = |error: Error| {
        let mut reply = Decoder::json(&[]).finish().unwrap();
        reply.put(&Some(error)).unwrap();
        String::from_utf8(reply.finish()).unwrap()
    };
    let sql = Error::new(ErrorKind::Sql, "no such table: secret");
    assert!(!write(sql.clone()).contains("secret"));
    assert!(write(sql.clone()).contains(r#""kind":"Sql""#));
    assert!(write(Error::other("the shop is closed")).contains("the shop is closed"));
    // Only for them.
    assert!(serde_json::to_string(&sql).unwrap().contains("secret"));
}

#[test]
fn names_of_types_have_no_paths() {
    for (full, short) in [
        ("i64", "i64"),
        ("alloc::string::String", "String"),
        (
            "core::option::Option<alloc::vec::Vec<(u8, my_crate::a::Note)>>",
            "Option<Vec<(u8, Note)>>",
        ),
        ("[core::primitive::u8; 4]", "[u8; 4]"),
    ] {
        assert_eq!(short_name(full), short);
    }
}
