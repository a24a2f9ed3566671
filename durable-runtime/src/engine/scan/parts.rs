//! Joins the parts of commits.

use std::borrow::Cow;

use crate::engine::record::frame::{Frame, LAST_PART};
use crate::engine::record::{Head, PAYLOAD_BYTES_MAX, Position};

/// The parts of one commit so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// None: the next part must be a first one.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    position: Position,
    head: Vec<u8>,
    next: u32,
    payload: Vec<u8>,
}

/// What became of a part.
#[derive(Debug)]
pub(super) enum Joined<'a> {
    /// More are to come.
    Nothing,
    /// It was the last one.
    Commit { position: Position, head: Head<'a>, flags: u8, payload: Cow<'a, [u8]> },
    /// The parts before it are missing.
    Orphan(Head<'a>),
    /// It does not even say whose it is.
    Nonsense,
}

impl Parts {
    /// Forgets the commit that is not whole; gives its head, if there was one.
    pub(super) fn interrupt(&mut self) -> Option<Vec<u8>> {
        self.open.take().map(|open| open.head)
    }

    pub(super) fn push<'a>(&mut self, position: Position, frame: &Frame<'a>) -> Joined<'a> {
        let Some((head, payload)) = Head::parse(frame.body) else { return Joined::Nonsense };
        let is_last = frame.flags & LAST_PART != 0;
        let head_bytes = &frame.body[..frame.body.len() - payload.len()];
        match (self.open.take(), frame.part) {
            (_, 0) if is_last => {
                let payload = Cow::Borrowed(payload);
                return Joined::Commit { position, head, flags: frame.flags, payload };
            }
            (_, 0) => {
                let (head, payload) = (head_bytes.to_vec(), payload.to_vec());
                self.open = Some(Open { position, head, next: 1, payload });
            }
            (Some(mut open), part) if open.accepts(part, head_bytes, payload) => {
                open.next += 1;
                open.payload.extend_from_slice(payload);
                if is_last {
                    let (position, payload) = (open.position, Cow::Owned(open.payload));
                    return Joined::Commit { position, head, flags: frame.flags, payload };
                }
                self.open = Some(open);
            }
            _ => return Joined::Orphan(head),
        }
        Joined::Nothing
    }
}

impl Open {
    fn accepts(&self, part: u32, head: &[u8], payload: &[u8]) -> bool {
        part == self.next
            && head == self.head
            && self.payload.len() + payload.len() <= PAYLOAD_BYTES_MAX
    }
}
