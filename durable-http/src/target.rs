//! What a path names: an object of a class, and what is wanted of it.
//!
//! ```text
//! /{class}/name/{name}/{method}            a call
//! /{class}/id/{64 hex digits}/{method}
//! /{class}/name/{name}/fetch{/rest}        a request to the object's `fetch` handler
//! /{class}/id/{64 hex digits}/fetch{/rest}
//! ```
//!
//! The two cannot collide: `fetch` is a handler and never the name of a method.
//!
//! The guarantee: each part is percent-decoded exactly once and after the path was split, so a name may hold
//! slashes, dots and anything else, and no name reaches another object by its spelling.

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::failure::Failure;

/// What a request is about. Every request that passes a [layer](crate::ObjectRouter::layer) has one among its
/// extensions; as an extractor it gives the same.
///
/// It says what the path asks for, not that there is such a class, object or method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    class: String,
    object: Address,
    action: Action,
    rest: String,
}

/// How a path names an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By its name.
    Name(String),
    /// By its id, as it stands in the path. An object that has a name can be reached by its id too: who decides by
    /// names has to refuse ids, or to know them.
    Id(String),
}

/// What is wanted of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// That its `fetch` handler answers the request.
    Fetch,
    /// A call of the method with this name.
    Call(String),
}

impl Target {
    /// The class name.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The object.
    pub fn object(&self) -> &Address {
        &self.object
    }

    /// What is wanted of it.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The path that the object's `fetch` handler sees: what follows `fetch`, as it was sent, and `/` if there is
    /// nothing. Of a call, `/`.
    pub fn path(&self) -> &str {
        &self.rest
    }

    /// A call of a method.
    pub(crate) fn of_call(class: &str, object: Address, method: &str) -> Self {
        let (class, action) = (class.to_owned(), Action::Call(method.to_owned()));
        Target { class, object, action, rest: "/".to_owned() }
    }

    /// Reads a path, without the part under which the router is nested.
    pub(crate) fn parse(path: &str) -> Result<Self, Failure> {
        let mut parts = path.strip_prefix('/').unwrap_or(path).splitn(5, '/');
        let mut next = || parts.next().ok_or_else(Failure::nothing_here);
        let (class, kind, object, action) = (decoded(next()?)?, next()?, next()?, next()?);
        let rest = parts.next();
        let object = match kind {
            "name" => Address::Name(decoded(object)?),
            "id" => Address::Id(decoded(object)?),
            _ => return Err(Failure::nothing_here()),
        };
        let action = match (action, rest) {
            ("fetch", _) => Action::Fetch,
            (method, None) if !method.is_empty() => Action::Call(decoded(method)?),
            _ => return Err(Failure::nothing_here()),
        };
        let rest = format!("/{}", rest.unwrap_or_default());
        Ok(Target { class, object, action, rest })
    }
}

impl<S: Sync> FromRequestParts<S> for Target {
    type Rejection = http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // It is only missing where the router's own layers are not round the request.
        parts.extensions.get::<Target>().cloned().ok_or(http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A part of a path or a query without its percent signs. What is not well formed is refused rather than guessed
/// at: two spellings must not lead to one object unless both are spellings of its name.
pub(crate) fn decoded(part: &str) -> Result<String, Failure> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = part.as_bytes();
    let signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    let mut escapes = signs.map(|(place, _)| (bytes.get(place + 1), bytes.get(place + 2)));
    let text = percent_decode_str(part).decode_utf8();
    match text {
        Ok(text) if escapes.all(|(high, low)| is_digit(high) && is_digit(low)) => Ok(text.into()),
        _ => Err(Failure::bad_request(format!("{part:?} is not UTF-8 with percent signs"))),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn named(path: &str) -> (String, String, Action, String) {
        let target = Target::parse(path).unwrap();
        let Address::Name(name) = target.object else { panic!("{path} has an id") };
        (target.class, name, target.action, target.rest)
    }

    fn call(method: &str) -> Action {
        Action::Call(method.to_owned())
    }

    #[test]
    fn calls_and_requests_are_told_apart() {
        let room =
            |action, rest: &str| ("Room".to_owned(), "a".to_owned(), action, rest.to_owned());
        assert_eq!(named("/Room/name/a/post"), room(call("post"), "/"));
        assert_eq!(named("/Room/name/a/fetch"), room(Action::Fetch, "/"));
        assert_eq!(named("/Room/name/a/fetch/"), room(Action::Fetch, "/"));
        assert_eq!(named("/Room/name/a/fetch/x//y%2Fz/"), room(Action::Fetch, "/x//y%2Fz/"));
        assert_eq!(named("/Room/name/a/fetch//x"), room(Action::Fetch, "//x"));
        assert_eq!(named("/Room/name/a/fetched"), room(call("fetched"), "/"));
        // Decoded it is still the name of a method, which no method has.
        assert_eq!(named("/Room/name/a/%66etch"), room(call("fetch"), "/"));
    }

    #[test]
    fn parts_are_decoded_exactly_once() {
        for (spelt, name) in [
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("..", ".."),
            ("%2e%2E", ".."),
            ("", ""),
            ("%00", "\0"),
            ("gr%C3%BC%C3%9Fe%20%F0%9F%91%8B", "grüße 👋"),
            ("a+b", "a+b"),
            ("a;b=c:d@e,f", "a;b=c:d@e,f"),
        ] {
            assert_eq!(named(&format!("/Room/name/{spelt}/post")).1, name);
        }
        assert_eq!(named("/a%20room/name/b/post").0, "a room");
    }

    proptest! {
        /// However a name is spelt, it comes out as it was, and the path after `fetch` too.
        #[test]
        fn any_name_comes_through(name: String, rest in "(/[^?#]*)?", class in ".+") {
            let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path = format!("/{}/name/{}/fetch{rest}", part(&class), part(&name));
            let seen = if rest.is_empty() { "/".to_owned() } else { rest };
            prop_assert_eq!(named(&path), (class, name, Action::Fetch, seen));
        }

        /// Whatever is sent, it is read or refused.
        #[test]
        fn any_path_is_read_or_refused(path in "(/|%|name|id|fetch|[a-z%0-9.]|.){0,40}") {
            if let Err(failure) = Target::parse(&path) {
                prop_assert!([400, 404].contains(&failure.status()));
            }
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for path in
            ["/Room/name/%/post", "/Room/name/%f/post", "/Room/name/%zz/post", "/Room/name/%ff/p"]
        {
            assert_eq!(Target::parse(path).unwrap_err().status(), 400, "{path}");
        }
        for path in [
            "",
            "/",
            "/Room",
            "/Room/",
            "/Room/name",
            "/Room/name/a",
            "/Room/name/a/",
            "/Room/name/a/post/",
            "/Room/name/a/post/b",
            "/Room/nick/a/post",
            "/Room/Name/a/post",
            "//Room/name/a/post",
            "/Room/n%61me/a/post",
        ] {
            assert_eq!(Target::parse(path).unwrap_err().status(), 404, "{path}");
        }
    }
}
