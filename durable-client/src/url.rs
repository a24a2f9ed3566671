//! Where a server is.

use std::fmt;

use durable_runtime::remote::RemoteAddress;
use durable_runtime::{Error, ErrorKind, Result};
use http::Uri;
use http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is spelt with percent signs in a part of a path.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of an object router.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    is_secure: bool,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

impl ServerUrl {
    /// Reads `http://host:port/path`, or the same with `https`, `ws` or `wss`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            let message = format!("{text:?} is not the address of a server: {why}");
            Error::new(ErrorKind::Invalid, message)
        };
        let uri: Uri =
            text.parse().map_err(|error: http::uri::InvalidUri| refused(&error.to_string()))?;
        let is_secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") if cfg!(feature = "tls") => true,
            Some("https" | "wss") => return Err(refused("the feature `tls` is not enabled")),
            _ => return Err(refused("it begins with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("who calls is said by a header, not in the address"));
        }
        if uri.query().is_some() {
            return Err(refused("it ends with a path, without a `?`"));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(ServerUrl { is_secure, authority: authority.clone(), path })
    }

    /// The host and the port.
    pub(crate) fn place(&self) -> (&str, u16) {
        let port = self.authority.port_u16().unwrap_or(if self.is_secure { 443 } else { 80 });
        (self.authority.host().trim_matches(['[', ']']), port)
    }

    /// Whether connections are made secret.
    #[cfg(feature = "tls")]
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Where connections are made.
    pub(crate) fn rpc(&self) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/rpc", self.authority, self.path)
    }

    /// Where an object's `fetch` handler is reached by a request for `rest`, a path with its query.
    pub(crate) fn fetch(&self, class: &str, object: &RemoteAddress, rest: &str) -> String {
        let (kind, object) = object.in_path();
        let class = utf8_percent_encode(class, PATH_PART);
        let object = utf8_percent_encode(&object, PATH_PART);
        format!("{self}/{class}/{kind}/{object}/fetch{rest}")
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = ServerUrl::parse("http://localhost:8080/objects/").unwrap();
        assert_eq!(url.rpc(), "ws://localhost:8080/objects/rpc");
        assert_eq!(url.to_string(), "http://localhost:8080/objects");
        let name = RemoteAddress::Name("a/b é".into());
        let path = url.fetch("Room", &name, "/x?y=1");
        assert_eq!(path, "http://localhost:8080/objects/Room/name/a%2Fb%20%C3%A9/fetch/x?y=1");
        let path = url.fetch("Room", &RemoteAddress::Id([0xab; 32]), "/");
        assert!(path.contains("/id/abab"), "{path}");
        assert_eq!(ServerUrl::parse("ws://[::1]:1").unwrap().rpc(), "ws://[::1]:1/rpc");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (text, why) in [
            ("localhost:8080", "http://"),
            ("", "not the address"),
            ("ftp://a", "http://"),
            ("http://user:secret@a", "header"),
            ("http://a/?x", "`?`"),
            ("http://a b", "not the address"),
        ] {
            let error = ServerUrl::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(why), "{error}");
        }
        let secure = ServerUrl::parse("https://a");
        assert_eq!(secure.is_ok(), cfg!(feature = "tls"));
    }
}
