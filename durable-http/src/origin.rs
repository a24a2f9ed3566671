//! Which pages may call: a browser says in `Origin` whose page sends a request.
//!
//! Without this, any page that a user has open could call objects with that user's cookies, or reach a server that
//! only their machine can. Who sends no `Origin` is no page of another's and is let in: `curl`, another service.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// The pages that may call.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origins {
    /// Those of the host that the request is for.
    #[default]
    SameHost,
    /// Those, and these: `https://app.example`.
    Also(Vec<String>),
    /// All.
    Any,
}

impl Origins {
    /// Whether a request with these headers may call.
    pub(crate) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        match self {
            Origins::Any => true,
            Origins::Also(listed) if listed.iter().any(|o| o.eq_ignore_ascii_case(origin)) => true,
            _ => is_same_host(origin, uri, headers),
        }
    }
}

fn is_same_host(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(Authority::as_str));
    let both = place(authority, default_port).zip(host.and_then(|host| place(host, default_port)));
    both.is_some_and(|(origin, host)| origin == host)
}

/// Host and port, so that two spellings of one place are equal.
fn place(authority: &str, default_port: u16) -> Option<(String, u16)> {
    let authority: Authority = authority.parse().ok()?;
    let port = authority.port_u16().unwrap_or(default_port);
    Some((authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &Origins, origin: &[&str], host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        for origin in origin {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        origins.allow(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn pages_of_the_same_host_may_call() {
        let same = Origins::SameHost;
        for (origin, host) in [
            ("https://a.example", "a.example"),
            ("https://a.example", "A.example:443"),
            ("http://a.example:80", "a.example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(allows(&same, &[origin], host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://b.example", "a.example"),
            ("https://a.example.evil.example", "a.example"),
            ("https://evil-a.example", "a.example"),
            ("http://a.example", "a.example:443"),
            ("http://a.example:8080", "a.example:8081"),
            ("null", "a.example"),
            ("", "a.example"),
            ("file://", "a.example"),
            ("a.example", "a.example"),
            ("chrome-extension://a.example", "a.example"),
        ] {
            assert!(!allows(&same, &[origin], host), "{origin} {host}");
        }
        assert!(allows(&same, &[], "a.example"));
        assert!(!allows(&same, &["http://a.example", "http://a.example"], "a.example"));
    }

    #[test]
    fn others_may_if_they_are_listed() {
        let also = Origins::Also(vec!["https://app.example".to_owned()]);
        assert!(allows(&also, &["https://app.example"], "a.example"));
        assert!(allows(&also, &["https://a.example"], "a.example"));
        assert!(!allows(&also, &["http://app.example"], "a.example"));
        assert!(!allows(&also, &["https://app.example:8443"], "a.example"));
        assert!(allows(&Origins::Any, &["null"], "a.example"));
    }

    #[test]
    fn http_2_has_the_host_in_its_uri() {
        let uri = Uri::from_static("https://a.example/Room");
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, "https://a.example".parse().unwrap());
        assert!(Origins::SameHost.allow(&uri, &headers));
        headers.insert(ORIGIN, "https://b.example".parse().unwrap());
        assert!(!Origins::SameHost.allow(&uri, &headers));
    }
}
