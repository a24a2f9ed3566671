//! One line of an access log: who came, when, for which page, and how much was sent.
//!
//! Both usual formats are read; the second only adds fields that are not needed here:
//! ```text
//! common    192.0.2.7 - - [01/Mar/2026:09:30:00 +0100] "GET /docs?p=2 HTTP/1.1" 200 5120
//! combined  192.0.2.7 - - [01/Mar/2026:09:30:00 +0100] "GET / HTTP/1.1" 200 5120 "referrer" "agent"
//! ```
//! Lines are bytes, not text: a program that calls itself by a name in another encoding has
//! visited all the same. Only the page's own name must be UTF-8.

use jiff::Timestamp;
use jiff::fmt::strtime;
use thiserror::Error;

/// The longest name that an object may have, and so the longest page.
const PAGE_BYTES_MAX: usize = 1_024;

/// More than any server sends at once: a larger size is a mistake in the log.
const RESPONSE_BYTES_MAX: i64 = 1 << 50;

/// What a line of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit<'a> {
    /// The path that was asked for, without the query.
    pub page: &'a str,
    /// When, in seconds since 1970 in UTC.
    pub time: i64,
    /// The size of the response; 0 where the log has `-`.
    pub bytes: i64,
}

/// Why a line was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("the line is empty")]
    Empty,
    #[error("the line is too long")]
    TooLong,
    #[error("there is no time in brackets")]
    NoTime,
    #[error("the time is not like 01/Mar/2026:09:30:00 +0100")]
    BadTime,
    #[error("there is no request in quotes, like \"GET / HTTP/1.1\"")]
    NoRequest,
    #[error("the page is not UTF-8")]
    PageNotUtf8,
    #[error("the page has more than {PAGE_BYTES_MAX} bytes")]
    PageTooLong,
    #[error("there is no status of three digits after the request")]
    BadStatus,
    #[error("there is no size of the response, which is a number or `-`")]
    BadSize,
}

/// Reads one line, without its line end.
pub fn parse(line: &[u8]) -> Result<Visit<'_>, Malformed> {
    if line.trim_ascii().is_empty() {
        return Err(Malformed::Empty);
    }
    let (_visitor, rest) = split_once(line, b" [").ok_or(Malformed::NoTime)?;
    let (time, rest) = split_once(rest, b"]").ok_or(Malformed::NoTime)?;
    let rest = rest.strip_prefix(b" \"").ok_or(Malformed::NoRequest)?;
    let (request, rest) = split_at_quote(rest).ok_or(Malformed::NoRequest)?;
    let mut fields = rest.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    check_status(fields.next())?;
    Ok(Visit { page: page(request)?, time: seconds(time)?, bytes: size(fields.next())? })
}

/// What is before and after the first `separator`.
fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

/// What is before and after the first quote that no backslash stands before.
fn split_at_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut is_escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// The path in a request such as `GET /docs?page=2 HTTP/1.1`.
fn page(request: &[u8]) -> Result<&str, Malformed> {
    let (_method, target) = split_once(request, b" ").ok_or(Malformed::NoRequest)?;
    let (target, _version) = split_once(target, b" HTTP/").unwrap_or((target, b""));
    let target = without_host(target);
    let (path, _query) = split_once(target, b"?").unwrap_or((target, b""));
    match str::from_utf8(path) {
        Ok("") => Err(Malformed::NoRequest),
        Ok(page) if page.len() > PAGE_BYTES_MAX => Err(Malformed::PageTooLong),
        Ok(page) => Ok(page),
        Err(_) => Err(Malformed::PageNotUtf8),
    }
}

/// A proxy is asked for `http://host/path`; the page is `/path` there too.
fn without_host(target: &[u8]) -> &[u8] {
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|s| lower.starts_with(s));
    let Some(host) = scheme.and_then(|scheme| target.get(scheme.len()..)) else { return target };
    host.iter().position(|&byte| byte == b'/').map_or(b"/", |slash| &host[slash..])
}

fn seconds(time: &[u8]) -> Result<i64, Malformed> {
    strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
        .and_then(|time| time.to_timestamp())
        .map(Timestamp::as_second)
        .map_err(|_| Malformed::BadTime)
}

fn check_status(field: Option<&[u8]>) -> Result<(), Malformed> {
    let is_status = |digits: &&[u8]| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit);
    field.filter(is_status).map(|_| ()).ok_or(Malformed::BadStatus)
}

fn size(field: Option<&[u8]>) -> Result<i64, Malformed> {
    match field {
        Some(b"-") => Ok(0),
        Some(digits) => str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .filter(|size| (0..=RESPONSE_BYTES_MAX).contains(size))
            .ok_or(Malformed::BadSize),
        None => Err(Malformed::BadSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 March 2026, 08:30:00 UTC.
    const MORNING: i64 = 1_772_353_800;

    /// A line with this request, in the common format.
    fn line(request: &str) -> String {
        format!("192.0.2.7 - - [01/Mar/2026:09:30:00 +0100] \"{request}\" 200 5120")
    }

    #[test]
    fn reads_both_formats_and_their_corners() {
        let time = "[01/Mar/2026:09:30:00 +0100]";
        let cases: [(&str, &str, i64); 9] = [
            ("192.0.2.7 - - TIME \"GET / HTTP/1.1\" 200 5120", "/", 5120),
            ("192.0.2.7 - - TIME \"GET / HTTP/1.1\" 200 5120 \"-\" \"Mozilla/5.0\"", "/", 5120),
            ("2001:db8::7 - ann TIME \"HEAD /docs HTTP/2.0\" 304 -", "/docs", 0),
            ("::1 - ann lee TIME \"POST /form HTTP/1.1\" 302 0 \"-\" \"-\"", "/form", 0),
            ("host.example - - TIME \"GET /a HTTP/1.1\" 200 7 \"-\" \"a \\\"b\\\" c\"", "/a", 7),
            ("h - - TIME \"GET /a HTTP/1.1\" 200 7 \"-\" \"never closed", "/a", 7),
            ("www.example:443 h - - TIME \"GET /a HTTP/1.1\" 200 7", "/a", 7),
            ("h - - TIME \"GET /a HTTP/1.1\" 200 7\r", "/a", 7),
            ("h - - TIME \"GET /a\" 200  7 ", "/a", 7),
        ];
        for (line, page, bytes) in cases {
            let line = line.replace("TIME", time);
            let visit = Visit { page, time: MORNING, bytes };
            assert_eq!(parse(line.as_bytes()), Ok(visit), "{line}");
        }
    }

    #[test]
    fn the_page_is_the_path_of_the_request() {
        let cases = [
            ("GET /docs?page=2 HTTP/1.1", "/docs"),
            ("GET /?a=/b?c HTTP/1.1", "/"),
            ("GET /a b HTTP/1.1", "/a b"),
            ("GET /a%20b HTTP/1.1", "/a%20b"),
            (r#"GET /say\"hi\" HTTP/1.1"#, r#"/say\"hi\""#),
            (r"GET /ends\\ HTTP/1.1", r"/ends\\"),
            ("GET /käse HTTP/1.1", "/käse"),
            ("GET http://www.example/docs?x HTTP/1.1", "/docs"),
            ("GET HTTPS://www.example HTTP/1.1", "/"),
            ("OPTIONS * HTTP/1.1", "*"),
        ];
        for (request, page) in cases {
            assert_eq!(parse(line(request).as_bytes()).map(|visit| visit.page), Ok(page));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        let long = line(&format!("GET /{} HTTP/1.1", "a".repeat(PAGE_BYTES_MAX)));
        let cases = [
            ("", Malformed::Empty),
            (" \t\r", Malformed::Empty),
            ("hello", Malformed::NoTime),
            ("h - - 01/Mar/2026 \"GET / HTTP/1.1\" 200 1", Malformed::NoTime),
            ("h - - [01/Mar/2026:09:30:00 +0100", Malformed::NoTime),
            ("h - - [01/Mrz/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200 1", Malformed::BadTime),
            ("h - - [31/Feb/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200 1", Malformed::BadTime),
            ("h - - [01/Mar/2026:09:30:00] \"GET / HTTP/1.1\" 200 1", Malformed::BadTime),
            ("h - - [01/Mar/2026:09:30:00 +0100]", Malformed::NoRequest),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"-\" 408 0", Malformed::NoRequest),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTT", Malformed::NoRequest),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET ?q HTTP/1.1\" 200 1", Malformed::NoRequest),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTTP/1.1\"", Malformed::BadStatus),
            (
                "h - - [01/Mar/2026:09:30:00 +0100] \"GET /\"a\" HTTP/1.1\" 200 1",
                Malformed::BadStatus,
            ),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200", Malformed::BadSize),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200 -1", Malformed::BadSize),
            ("h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200 1k", Malformed::BadSize),
            (&long, Malformed::PageTooLong),
        ];
        for (line, wrong) in cases {
            assert_eq!(parse(line.as_bytes()), Err(wrong), "{line}");
        }
    }

    #[test]
    fn only_the_page_must_be_utf8() {
        let agent = b"h - - [01/Mar/2026:09:30:00 +0100] \"GET / HTTP/1.1\" 200 1 \"-\" \"\xfc\"";
        assert_eq!(parse(agent).map(|visit| visit.page), Ok("/"));
        let page = b"h - - [01/Mar/2026:09:30:00 +0100] \"GET /\xfc HTTP/1.1\" 200 1";
        assert_eq!(parse(page), Err(Malformed::PageNotUtf8));
    }
}
