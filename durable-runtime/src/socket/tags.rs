//! The tags of a socket.

use super::{SOCKET_TAG_BYTES_MAX, SOCKET_TAGS_MAX};
use crate::{Error, ErrorKind, Result};

/// Tags for [`Context::accept_websocket`](crate::Context::accept_websocket): `["room", "admin"]`, `[]`, `[&*name]`, a `Vec` or slice of
/// strings.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the tags of a WebSocket",
    note = "help: write `[\"a\", \"b\"]`, `[&*tag]`, `[]`, or give a `Vec<String>`"
)]
pub trait Tags {
    #[doc(hidden)]
    fn each(self) -> impl Iterator<Item = impl AsRef<str>>;
}

// No array of another type beside it: `[]` would have none.
impl<const N: usize> Tags for [&str; N] {
    fn each(self) -> impl Iterator<Item = impl AsRef<str>> {
        self.into_iter()
    }
}

impl Tags for &[&str] {
    fn each(self) -> impl Iterator<Item = impl AsRef<str>> {
        self.iter()
    }
}

impl Tags for &[String] {
    fn each(self) -> impl Iterator<Item = impl AsRef<str>> {
        self.iter()
    }
}

impl Tags for Vec<&str> {
    fn each(self) -> impl Iterator<Item = impl AsRef<str>> {
        self.into_iter()
    }
}

impl Tags for Vec<String> {
    fn each(self) -> impl Iterator<Item = impl AsRef<str>> {
        self.into_iter()
    }
}

/// The tags as they are kept: each once, in the order in which they first came.
///
/// # Errors
/// When there are too many, or one is too long.
pub(super) fn checked(tags: impl Tags) -> Result<Box<[Box<str>]>> {
    let over = |text: String| Err(Error::new(ErrorKind::Limit, text));
    let (mut given, mut kept) = (0, Vec::<Box<str>>::new());
    for tag in tags.each() {
        given += 1;
        let tag = tag.as_ref();
        let bytes = tag.len();
        if bytes > SOCKET_TAG_BYTES_MAX {
            return over(format!(
                "a tag of a WebSocket has {bytes} bytes, over the limit of {SOCKET_TAG_BYTES_MAX}"
            ));
        }
        if !kept.iter().any(|known| **known == *tag) {
            kept.push(tag.into());
        }
    }
    if given > SOCKET_TAGS_MAX {
        return over(format!(
            "a WebSocket is given {given} tags, over the limit of {SOCKET_TAGS_MAX}"
        ));
    }
    Ok(kept.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_in_its_order() {
        let tags = checked(["b", "a", "b", ""]).unwrap();
        assert_eq!(&*tags, ["b".into(), "a".into(), "".into()]);
        assert_eq!(checked([]).unwrap().len(), 0);
    }

    #[test]
    fn one_that_comes_again_counts() {
        assert!(checked(vec!["same"; 10]).is_ok());
        assert!(checked(vec!["same"; 11]).unwrap_err().message().contains("11 tags"));
    }

    #[test]
    fn ten_of_256_bytes_are_the_limit() {
        let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        assert_eq!(checked(&many[..10]).unwrap().len(), 10);
        assert!(checked(many).unwrap_err().message().contains("11 tags"));
        assert!(checked([&*"é".repeat(128)]).is_ok());
        assert!(checked([&*"é".repeat(129)]).unwrap_err().message().contains("258 bytes"));
    }
}
