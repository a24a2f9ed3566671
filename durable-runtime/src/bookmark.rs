//! A moment in the history of one object, as a text that users keep.
//!
//! The guarantee: bookmarks of one object compare, as values and as texts, in the order of their commits, also over
//! restores, deletions and a creation anew. A text that was mistyped, or that belongs to another object, is refused and
//! never taken for another moment.
//!
//! Form: `EEEEEEEE-NNNNNNNNNNNNNNNN-CCCCCCCC`, small hex digits of fixed width: epoch and number of the commit, and a check
//! over both and the object's id. The epoch comes first, since an object that is created anew after a restart of
//! the program may count from 1 again, and has a greater epoch then.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::Point;
use crate::id::RawId;
use crate::storage::Wish;
use crate::{Error, ErrorKind, Result};

/// The length of the text.
const TEXT_BYTES: usize = 34;

/// A moment in the history of one object: its state after one commit.
///
/// From [`Context::current_bookmark`](crate::Context::current_bookmark) and its neighbours. It is a text of 34 characters
/// ([`Display`](fmt::Display), [`FromStr`], serde); of two bookmarks of an object the later one is the greater, also
/// as text. It means something to its own object only, in the data directory that it is from.
///
/// ```
/// use durable_runtime::Bookmark;
///
/// let text = "00000001-000000000000002a-5b0c9f31";
/// let bookmark: Bookmark = text.parse()?;
/// assert_eq!(bookmark.to_string(), text);
/// assert!("yesterday".parse::<Bookmark>().is_err());
/// # Ok::<(), durable_runtime::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bookmark {
    point: Point,
    check: u32,
}

impl Bookmark {
    pub(crate) fn new(object: RawId, point: Point) -> Bookmark {
        Bookmark { point, check: check_of(object, point) }
    }

    /// The commit, if the bookmark is of this object.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is of another one, or mistyped.
    pub(crate) fn point_of(&self, object: RawId) -> Result<Point> {
        if self.check == check_of(object, self.point) {
            return Ok(self.point);
        }
        let text =
            format!("{self} is no bookmark of this object: it is of another one, or mistyped");
        Err(Error::new(ErrorKind::Invalid, text))
    }
}

/// What an object is to be made: what it was at a bookmark. A `&Bookmark` will do where nothing else is to be said.
///
/// ```
/// use durable_runtime::{Bookmark, Context, Error, Restore, Result};
///
/// fn go_back(ctx: &Context, bookmark: Bookmark) -> Result<Error> {
///     ctx.restore_on_next_session(Restore::to(&bookmark).fire_overdue())?;
///     Ok(ctx.abort("restored"))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    bookmark: Bookmark,
    fires_overdue: bool,
}

impl Restore {
    /// To the state at this bookmark.
    pub fn to(bookmark: &Bookmark) -> Restore {
        Restore { bookmark: *bookmark, fires_overdue: false }
    }

    /// Lets what was due between then and now run at once, as after a time in which the program did not run: the alarm, timers, and messages
    /// for a time. Without it they are skipped, since most of them have had their effect before the restore, and would have it twice.
    #[must_use]
    pub fn fire_overdue(self) -> Restore {
        Restore { fires_overdue: true, ..self }
    }

    /// The same, if the bookmark is of this object.
    pub(crate) fn wish_of(&self, object: RawId) -> Result<Wish> {
        let point = self.bookmark.point_of(object)?;
        Ok(Wish { point, fires_overdue: self.fires_overdue })
    }
}

impl From<&Bookmark> for Restore {
    fn from(bookmark: &Bookmark) -> Restore {
        Restore::to(bookmark)
    }
}

fn check_of(object: RawId, point: Point) -> u32 {
    let crc = crc32c::crc32c(object.as_bytes());
    let crc = crc32c::crc32c_append(crc, &point.epoch.to_le_bytes());
    crc32c::crc32c_append(crc, &point.commit.to_le_bytes())
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { epoch, commit } = self.point;
        write!(f, "{epoch:08x}-{commit:016x}-{:08x}", self.check)
    }
}

impl fmt::Debug for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bookmark({self})")
    }
}

impl FromStr for Bookmark {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] when the text is none of a bookmark.
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            // Only what is written again in the same way: order as text would not hold otherwise.
            let is_plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
            if text.len() != TEXT_BYTES || !text.bytes().all(is_plain) {
                return None;
            }
            let mut parts = text.split('-');
            let (epoch, commit, check) = (parts.next()?, parts.next()?, parts.next()?);
            if (epoch.len(), commit.len(), check.len()) != (8, 16, 8) || parts.next().is_some() {
                return None;
            }
            Some(Bookmark {
                point: Point {
                    epoch: u32::from_str_radix(epoch, 16).ok()?,
                    commit: u64::from_str_radix(commit, 16).ok()?,
                },
                check: u32::from_str_radix(check, 16).ok()?,
            })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(2 * TEXT_BYTES).collect();
            Error::new(ErrorKind::Invalid, format!("{shown:?} is no bookmark"))
        })
    }
}

impl Serialize for Bookmark {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bookmark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(name: &str) -> RawId {
        RawId::from_name("Room", None, name)
    }

    fn points() -> impl Strategy<Value = Point> {
        (any::<u32>(), any::<u64>()).prop_map(|(epoch, commit)| Point { epoch, commit })
    }

    proptest! {
        #[test]
        fn a_text_gives_back_its_bookmark(point in points()) {
            let bookmark = Bookmark::new(object("a"), point);
            let text = bookmark.to_string();
            prop_assert_eq!(text.len(), TEXT_BYTES);
            prop_assert_eq!(text.parse::<Bookmark>().unwrap(), bookmark);
            prop_assert_eq!(bookmark.point_of(object("a")).unwrap(), point);
            prop_assert_eq!(bookmark.point_of(object("b")).unwrap_err().kind(), ErrorKind::Invalid);
        }

        #[test]
        fn texts_are_in_the_order_of_commits(a in points(), b in points()) {
            let (first, second) = (Bookmark::new(object("a"), a), Bookmark::new(object("a"), b));
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(first.to_string().cmp(&second.to_string()), a.cmp(&b));
        }

        #[test]
        fn a_mistyped_digit_is_noticed(point in points(), at in 0..TEXT_BYTES, digit in 0..16_u32) {
            let bookmark = Bookmark::new(object("a"), point);
            let mut text = bookmark.to_string().into_bytes();
            let digit = char::from_digit(digit, 16).unwrap();
            prop_assume!(text[at] != digit as u8);
            text[at] = digit as u8;
            let read = String::from_utf8(text).unwrap().parse::<Bookmark>();
            let found = read.and_then(|bookmark| bookmark.point_of(object("a")));
            prop_assert_eq!(found.unwrap_err().kind(), ErrorKind::Invalid);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            if let Ok(bookmark) = text.parse::<Bookmark>() {
                prop_assert_eq!(bookmark.to_string(), text);
            }
        }
    }

    #[test]
    fn capital_digits_and_other_forms_are_refused() {
        let good = Bookmark::new(object("a"), Point { epoch: 10, commit: 11 }).to_string();
        for bad in [good.to_uppercase(), format!("+{}", &good[1..]), good.replace('-', "_")] {
            assert!(bad.parse::<Bookmark>().is_err(), "{bad}");
        }
    }
}
