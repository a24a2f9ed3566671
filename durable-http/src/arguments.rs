//! From a JSON object or a query to the arguments of a method.
//!
//! Names are matched here; what a value must be, its own type says when the call runs. Nothing is passed over in silence:
//! an argument that the method does not have, or that is given twice, is an error.

use std::fmt;

use durable_runtime::__private::{Argument, Given, MethodDescription};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::target::decoded;

/// Reads the body of a call. An empty one has no arguments.
pub(crate) fn from_body(method: &MethodDescription, body: &[u8]) -> Result<Vec<Argument>, Failure> {
    if body.trim_ascii().is_empty() {
        return in_order(method, Vec::new());
    }
    let Members(members) = serde_json::from_slice(body).map_err(|error| {
        Failure::arguments(format!("the body is no JSON object of the arguments: {error}"))
    })?;
    let json = |(name, value): (String, Box<RawValue>)| (name, Given::Json(value.into()));
    in_order(method, members.into_iter().map(json).collect())
}

/// Reads the query of a call: `name=value&…`, with percent signs and `+` for a space, as a form is sent.
pub(crate) fn from_query(
    method: &MethodDescription,
    query: &str,
) -> Result<Vec<Argument>, Failure> {
    let plain = |part: &str| decoded(&part.replace('+', " "));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((plain(name)?, Given::Text(plain(value)?.into())))
    });
    in_order(method, pairs.collect::<Result<_, _>>()?)
}

/// The arguments in the method's order.
fn in_order(
    method: &MethodDescription,
    mut given: Vec<(String, Given)>,
) -> Result<Vec<Argument>, Failure> {
    let mut arguments = Vec::with_capacity(method.arguments.len());
    for argument in method.arguments {
        let place = given.iter().position(|(name, _)| name == argument.name);
        let value = place.map_or(Given::Nothing, |place| given.swap_remove(place).1);
        arguments.push(Argument { name: argument.name, given: value });
    }
    match given.first() {
        None => Ok(arguments),
        Some((name, _)) if arguments.iter().any(|argument| argument.name == name) => {
            Err(Failure::arguments(format!("argument `{name}` is given twice")))
        }
        Some((name, _)) => Err(Failure::arguments(unknown(method, name))),
    }
}

fn unknown(method: &MethodDescription, name: &str) -> String {
    let known: Vec<_> = method.arguments.iter().map(|known| format!("`{}`", known.name)).collect();
    let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("`{}` has no argument `{name}`; it takes {takes}", method.info.name)
}

/// The members of a JSON object as they stand there, in their order and with repetitions.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of named arguments")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use durable_runtime::__private::{Access, ArgumentDescription, MethodInfo, ShapeCell};
    use durable_runtime::__private::{TypeSchema, trace_never};
    use proptest::prelude::*;

    use super::*;

    const fn argument(name: &'static str) -> ArgumentDescription {
        ArgumentDescription {
            name,
            is_optional: false,
            schema: TypeSchema::NONE,
            trace: trace_never,
        }
    }

    const POST: MethodDescription = MethodDescription {
        info: MethodInfo { name: "post", access: Access::Write },
        docs: &[],
        arguments: &[argument("text"), argument("likes")],
        reply: TypeSchema::NONE,
        error: TypeSchema::NONE,
        trace_reply: trace_never,
        trace_error: trace_never,
        shape_cell: || {
            static CELL: ShapeCell = ShapeCell::new();
            &CELL
        },
    };

    fn shown(arguments: Result<Vec<Argument>, Failure>) -> String {
        match arguments {
            Err(failure) => format!("{} {}", failure.status(), failure.message()),
            Ok(arguments) => {
                let value = |argument: Argument| match argument.given {
                    Given::Json(json) => format!("{}:{json}", argument.name),
                    Given::Text(text) => format!("{}={text}", argument.name),
                    Given::Nothing => format!("{}-", argument.name),
                };
                arguments.into_iter().map(value).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn a_body_is_read_by_names() {
        for (body, read) in [
            (r#"{"likes": 1, "text": "a"}"#, r#"text:"a" likes:1"#),
            (r#"{"text": {"deep" : [1]}}"#, r#"text:{"deep" : [1]} likes-"#),
            (r#"{"te\u0078t": null}"#, "text:null likes-"),
            (
                r#"{"likes": 340282366920938463463374607431768211455}"#,
                "text- likes:340282366920938463463374607431768211455",
            ),
            ("", "text- likes-"),
            (" \n", "text- likes-"),
            ("{}", "text- likes-"),
        ] {
            assert_eq!(shown(from_body(&POST, body.as_bytes())), read, "{body}");
        }
        let deep = format!("{{\"text\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(from_body(&POST, deep.as_bytes()).is_ok(), "its type refuses it");
    }

    #[test]
    fn a_query_is_read_by_names() {
        for (query, read) in [
            ("text=a&likes=1", "text=a likes=1"),
            ("likes=%31&text=a+b%2Bc%26d%3De", "text=a b+c&d=e likes=1"),
            ("text", "text= likes-"),
            ("&&text=a=b&", "text=a=b likes-"),
            ("", "text- likes-"),
        ] {
            assert_eq!(shown(from_query(&POST, query)), read, "{query}");
        }
    }

    proptest! {
        /// Whatever is sent, it is read or refused, and what is read stands for every argument.
        #[test]
        fn anything_is_read_or_refused(body: Vec<u8>, json in "[{}\\[\\]\",:a-z0-9 text]{0,40}", query: String) {
            let readings = [
                from_body(&POST, &body),
                from_body(&POST, json.as_bytes()),
                from_query(&POST, &json),
                from_query(&POST, &query),
            ];
            for reading in readings {
                match reading {
                    Ok(arguments) => prop_assert_eq!(arguments.len(), POST.arguments.len()),
                    Err(failure) => prop_assert_eq!(failure.status(), 400),
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let body = |body: &str| shown(from_body(&POST, body.as_bytes()));
        let unknown = "400 `post` has no argument `txt`; it takes `text`, `likes`";
        assert_eq!(body(r#"{"txt": 1}"#), unknown);
        assert_eq!(shown(from_query(&POST, "text=a&txt=b")), unknown);
        assert_eq!(body(r#"{"text": 1, "text": 2}"#), "400 argument `text` is given twice");
        assert_eq!(shown(from_query(&POST, "text=1&text=2")), "400 argument `text` is given twice");
        for no_object in ["[]", "1", "null", "{", r#"{"text"}"#, "{} x", "\u{feff}{}"] {
            assert!(body(no_object).starts_with("400 the body is no JSON object"), "{no_object}");
        }
        assert!(shown(from_body(&POST, b"{\"text\": \"\xff\"}")).starts_with("400"));
        assert!(shown(from_query(&POST, "text=%ff")).starts_with("400"));
    }
}
