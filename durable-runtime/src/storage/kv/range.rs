//! Which keys a list gives.
//!
//! Every range comes down to one half-open interval of strings, since in the order of UTF-8 bytes each
//! string has a next one (itself and a NUL), and the strings that begin with a prefix lie together.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use super::KeyLimits;
use crate::{Error, ErrorKind, Result};

/// A range of keys, for [`Kv::list`](super::Kv::list) and [`Kv::keys`](super::Kv::keys).
///
/// All bounds hold at the same time. Rust's own ranges of strings do, too, where they say enough.
///
/// ```
/// use durable_runtime::KvRange;
///
/// let page = KvRange::prefix("user/").start_after("user/ada").limit(100);
/// let newest = KvRange::new().end("2027").reverse().limit(1);
/// assert_eq!(KvRange::from("a".."c"), KvRange::new().start("a").end("c"));
/// assert_eq!(KvRange::from(..), KvRange::new());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a range does nothing until it is listed"]
pub struct KvRange {
    start: Option<String>,
    start_after: Option<String>,
    end: Option<String>,
    prefix: Option<String>,
    reverse: bool,
    limit: Option<usize>,
}

impl KvRange {
    /// All keys.
    pub fn new() -> Self {
        KvRange::default()
    }

    /// The keys that begin with `prefix`, to be narrowed further.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        KvRange { prefix: Some(prefix.into()), ..KvRange::default() }
    }

    /// Only keys that begin with `prefix`.
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        KvRange { prefix: Some(prefix.into()), ..self }
    }

    /// Only `key` and greater keys. Not together with [`start_after`](KvRange::start_after).
    pub fn start(self, key: impl Into<String>) -> Self {
        KvRange { start: Some(key.into()), ..self }
    }

    /// Only keys greater than `key`. Not together with [`start`](KvRange::start).
    pub fn start_after(self, key: impl Into<String>) -> Self {
        KvRange { start_after: Some(key.into()), ..self }
    }

    /// Only keys smaller than `key`.
    pub fn end(self, key: impl Into<String>) -> Self {
        KvRange { end: Some(key.into()), ..self }
    }

    /// From the greatest key to the smallest. `start` stays the lower bound and `end` the upper one.
    pub fn reverse(self) -> Self {
        KvRange { reverse: true, ..self }
    }

    /// At most `entries`, the first ones in the order of the list. 0 gives none.
    pub fn limit(self, entries: usize) -> Self {
        KvRange { limit: Some(entries), ..self }
    }

    pub(super) fn is_reversed(&self) -> bool {
        self.reverse
    }

    pub(super) fn entries_max(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    pub(super) fn interval(&self, limits: &KeyLimits) -> Result<Interval> {
        let bounds = [&self.start, &self.start_after, &self.end, &self.prefix];
        bounds.into_iter().flatten().try_for_each(|bound| limits.check_key(bound))?;
        let low = match (&self.start, &self.start_after) {
            (Some(start), Some(after)) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "a range starts at {start:?} and also after {after:?}: give it `start` or \
                         `start_after`, not both"
                    ),
                ));
            }
            (Some(start), None) => start.clone(),
            (None, Some(after)) => next(after.clone()),
            (None, None) => String::new(),
        };
        let prefix = self.prefix.clone().unwrap_or_default();
        let high = [self.end.clone(), beyond(&prefix)].into_iter().flatten().min();
        Ok(Interval { low: low.max(prefix), high })
    }
}

/// The keys from `low` on that are smaller than `high`, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) low: String,
    pub(super) high: Option<String>,
}

/// The smallest string that is greater than `key`.
pub(super) fn next(mut key: String) -> String {
    key.push('\0');
    key
}

/// The smallest string that is greater than all that begin with `prefix`, if there is one.
fn beyond(prefix: &str) -> Option<String> {
    // A prefix of nothing but the greatest character has none beyond it.
    let kept = prefix.trim_end_matches(char::MAX);
    let mut chars = kept.chars();
    let last = chars.next_back()?;
    // UTF-8 is ordered as the code points are; a range of `char` steps over the surrogates.
    let following = (last..=char::MAX).nth(1)?;
    Some(format!("{}{following}", chars.as_str()))
}

impl From<RangeFull> for KvRange {
    fn from(_: RangeFull) -> Self {
        KvRange::new()
    }
}

impl<K: Into<String>> From<Range<K>> for KvRange {
    fn from(range: Range<K>) -> Self {
        KvRange::new().start(range.start).end(range.end)
    }
}

impl<K: Into<String>> From<RangeFrom<K>> for KvRange {
    fn from(range: RangeFrom<K>) -> Self {
        KvRange::new().start(range.start)
    }
}

impl<K: Into<String>> From<RangeTo<K>> for KvRange {
    fn from(range: RangeTo<K>) -> Self {
        KvRange::new().end(range.end)
    }
}

impl<K: Into<String>> From<RangeInclusive<K>> for KvRange {
    fn from(range: RangeInclusive<K>) -> Self {
        let (start, last) = range.into_inner();
        KvRange::new().start(start).end(next(last.into()))
    }
}

impl<K: Into<String>> From<RangeToInclusive<K>> for KvRange {
    fn from(range: RangeToInclusive<K>) -> Self {
        KvRange::new().end(next(range.end.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(range: impl Into<KvRange>) -> (String, Option<String>) {
        let Interval { low, high } = range.into().interval(&KeyLimits::default()).unwrap();
        (low, high)
    }

    fn bounds(low: &str, high: Option<&str>) -> (String, Option<String>) {
        (low.to_owned(), high.map(str::to_owned))
    }

    #[test]
    fn bounds_of_a_prefix() {
        for (prefix, high) in [
            ("", None),
            ("a", Some("b")),
            ("a\u{7f}", Some("a\u{80}")),
            ("\u{7ff}", Some("\u{800}")),
            // The surrogates between them are no characters.
            ("x\u{d7ff}", Some("x\u{e000}")),
            ("\u{ffff}", Some("\u{10000}")),
            ("a\u{10ffff}", Some("b")),
            ("ab\u{10ffff}\u{10ffff}", Some("ac")),
            ("\u{10ffff}", None),
            ("\u{10ffff}\u{10ffff}", None),
        ] {
            assert_eq!(interval(KvRange::prefix(prefix)), bounds(prefix, high), "{prefix:?}");
        }
    }

    #[test]
    fn all_bounds_hold() {
        assert_eq!(interval(..), bounds("", None));
        assert_eq!(interval("a".."c"), bounds("a", Some("c")));
        assert_eq!(interval("a"..="c"), bounds("a", Some("c\0")));
        assert_eq!(interval("a".to_owned()..), bounds("a", None));
        assert_eq!(interval(.."c"), bounds("", Some("c")));
        assert_eq!(interval(..="c"), bounds("", Some("c\0")));
        assert_eq!(interval(KvRange::new().start_after("a")), bounds("a\0", None));
        assert_eq!(interval(KvRange::prefix("b").start("a").end("z")), bounds("b", Some("c")));
        assert_eq!(interval(KvRange::prefix("b").start("bx").end("by")), bounds("bx", Some("by")));
        assert_eq!(interval(KvRange::new().start("b").end("a")), bounds("b", Some("a")));
    }

    #[test]
    fn what_is_no_range() {
        let error =
            KvRange::new().start("a").start_after("b").interval(&KeyLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("not both"), "{error}");
        let error = KvRange::prefix("x".repeat(2_049)).interval(&KeyLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
