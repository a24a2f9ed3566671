//! What members and the room say to each other: JSON in text frames, one object each.
//!
//! Everything that comes from outside is checked here, once: a [`Name`] and a [`Draft`] that exist are fit to be stored and shown.

use std::time::Duration;

use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// The longest name of a member, in characters.
pub const NAME_CHARS_MAX: usize = 40;

/// The longest text of a message, in characters.
pub const TEXT_CHARS_MAX: usize = 2_000;

/// The longest id that a client may give a message, in bytes. A UUID has 36.
const ID_BYTES_MAX: usize = 64;

/// What a frame may have, in bytes: the longest text with each character escaped as JSON may do it, and room for the rest.
pub const FRAME_BYTES_MAX: usize = 12 * TEXT_CHARS_MAX + 1_024;

/// What a member is called: trimmed, neither empty nor too long, on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Unfit;

    fn try_from(name: String) -> Result<Self, Unfit> {
        let name = fit("a name", &name, NAME_CHARS_MAX, |_| false)?;
        Ok(Name(name.to_owned()))
    }
}

/// Why something is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} may have {chars_max} characters")]
    TooLong { what: &'static str, chars_max: usize },
    #[error("{what} may not have control characters")]
    Control { what: &'static str },
    #[error("a frame is text: {{\"type\":\"post\",\"id\":..,\"text\":..}}")]
    Malformed,
    #[error("an id has 1 to {ID_BYTES_MAX} ASCII letters, digits or hyphens")]
    Id,
}

/// The text without white space round it, if it can be stored and shown.
fn fit<'t>(
    what: &'static str,
    text: &'t str,
    chars_max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<&'t str, Unfit> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Unfit::Empty { what });
    }
    if text.chars().count() > chars_max {
        return Err(Unfit::TooLong { what, chars_max });
    }
    let is_shown = |c: char| allowed(c) || !(c.is_control() || turns_text_round(c));
    if text.chars().all(is_shown) { Ok(text) } else { Err(Unfit::Control { what }) }
}

/// Unseen characters that change the direction of what follows, also outside of the text.
fn turns_text_round(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What a member sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum FromMember {
    Post { id: String, text: String },
}

/// A message that a member wants to be stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Draft {
    /// Made by the client, and the same each time it sends the message again: that is how the room knows it.
    pub id: String,
    pub text: String,
}

impl Draft {
    /// Reads a frame. What is wrong with it is told with its id, if it has one.
    pub fn read(frame: &Message) -> Result<Self, (Option<String>, Unfit)> {
        let read = frame.as_text().and_then(|text| serde_json::from_str(text).ok());
        let Some(FromMember::Post { id, text }) = read else {
            return Err((None, Unfit::Malformed));
        };
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(is_id) {
            return Err((None, Unfit::Id));
        }
        match fit("a message", &text, TEXT_CHARS_MAX, |c| matches!(c, '\n' | '\t')) {
            Ok(text) => Ok(Draft { id, text: text.to_owned() }),
            Err(unfit) => Err((Some(id), unfit)),
        }
    }
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// The first message of a room is 1, and there are no gaps.
    pub seq: i64,
    /// See [`Draft::id`].
    pub id: String,
    pub author: String,
    pub text: String,
    /// When it was stored, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What the room sends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToMember {
    /// The first frame: who is here, the new one included, and the newest messages, the oldest of them first.
    Welcome { members: Vec<Name>, posts: Vec<Post> },
    /// A message is stored. It comes to its author like to everybody else.
    Posted { post: Post },
    /// Somebody has come who was not here.
    Joined { name: Name },
    /// Somebody is not here any more.
    Left { name: Name },
    /// A message is not stored: for good, or until it is sent again after a while.
    Refused { id: Option<String>, reason: String, retry_after_ms: Option<u64> },
}

impl ToMember {
    pub fn refused((id, unfit): (Option<String>, Unfit)) -> Self {
        ToMember::Refused { id, reason: unfit.to_string(), retry_after_ms: None }
    }

    pub fn too_fast(id: String, wait: Duration) -> Self {
        // Rounded up: whoever comes at that time is let in.
        let wait_ms = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let reason = "too many messages at once".to_owned();
        ToMember::Refused { id: Some(id), reason, retry_after_ms: Some(wait_ms) }
    }

    /// The frame that says it.
    pub fn frame(&self) -> Result<String> {
        serde_json::to_string(self).map_err(durable::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<String, Unfit> {
        Name::try_from(text.to_owned()).map(|name| name.0)
    }

    fn read(text: &str) -> Result<Draft, (Option<String>, Unfit)> {
        let frame = serde_json::json!({ "type": "post", "id": "a-1", "text": text });
        Draft::read(&Message::Text(frame.to_string()))
    }

    #[test]
    fn names_are_trimmed_and_checked() {
        assert_eq!(name("  Ann Lee\n").as_deref(), Ok("Ann Lee"));
        assert_eq!(name(" \t "), Err(Unfit::Empty { what: "a name" }));
        let longest = "é".repeat(NAME_CHARS_MAX);
        assert_eq!(name(&longest).as_ref(), Ok(&longest));
        let too_long = Unfit::TooLong { what: "a name", chars_max: NAME_CHARS_MAX };
        assert_eq!(name(&format!("{longest}é")), Err(too_long));
        for bad in ["a\nb", "a\u{0}b", "a\u{202E}b", "a\u{2066}b"] {
            assert_eq!(name(bad), Err(Unfit::Control { what: "a name" }), "{bad:?}");
        }
    }

    #[test]
    fn texts_may_have_lines_and_end_somewhere() {
        assert_eq!(read(" one\n\ttwo \n").map(|draft| draft.text), Ok("one\n\ttwo".into()));
        let told = |text: &str| read(text).map_err(|(id, unfit)| (id.unwrap(), unfit)).unwrap_err();
        assert_eq!(told(" \n"), ("a-1".into(), Unfit::Empty { what: "a message" }));
        assert_eq!(told("a\u{7}"), ("a-1".into(), Unfit::Control { what: "a message" }));
        let longest = "x".repeat(TEXT_CHARS_MAX);
        assert_eq!(read(&longest).map(|draft| draft.text).as_ref(), Ok(&longest));
        assert!(matches!(told(&format!("{longest}x")).1, Unfit::TooLong { .. }));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for frame in [
            "",
            "hello",
            "{}",
            r#"{"type":"welcome"}"#,
            r#"{"type":"post","id":1,"text":"a"}"#,
            r#"{"type":"post","id":"1","text":"a","author":"ann"}"#,
        ] {
            let refused = Draft::read(&Message::Text(frame.into()));
            assert_eq!(refused, Err((None, Unfit::Malformed)), "{frame}");
        }
        assert_eq!(Draft::read(&Message::from(vec![1])), Err((None, Unfit::Malformed)));
        for id in ["", "a b", "é", &"1".repeat(ID_BYTES_MAX + 1)] {
            let frame = serde_json::json!({ "type": "post", "id": id, "text": "a" });
            let refused = Draft::read(&Message::Text(frame.to_string()));
            assert_eq!(refused, Err((None, Unfit::Id)), "{id}");
        }
    }

    #[test]
    fn the_longest_text_fits_into_a_frame_however_it_is_written() {
        // The longest way to write a character: one beyond the first 65,536, as two escapes.
        let escaped = "\\ud83d\\ude00".repeat(TEXT_CHARS_MAX);
        let frame = format!(r#"{{"type":"post","id":"{}","text":"{escaped}"}}"#, "1".repeat(36));
        assert!(frame.len() <= FRAME_BYTES_MAX);
        assert!(Draft::read(&Message::Text(frame)).is_ok());
    }
}
