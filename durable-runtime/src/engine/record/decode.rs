//! Reading records.

use std::sync::Arc;

use super::delta::Delta;
use super::{
    AGAINST_PREVIOUS, AGAINST_ZEROS, CLEARS_WAKE, Effects, HAS_GIVEN_UP, HAS_HINT, HAS_NAME, IMAGE,
    Image, PAGE_BYTES, SETS_WAKE, frame,
};
use crate::engine::{ObjectKey, Wake};
use crate::id::RawId;

/// Whose part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) class: &'a str,
    pub(crate) id: RawId,
    pub(crate) epoch: u32,
    pub(crate) number: u64,
}

/// A commit that was read. What it says was checked as far as that is possible without its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) time_ms: i64,
    pub(crate) database_pages: u32,
    pub(crate) effects: Effects,
    pub(crate) name: Option<&'a str>,
    pub(crate) location_hint: Option<&'a str>,
    pub(crate) wake: Option<Wake>,
    pages: &'a [u8],
}

/// A page of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageEntry<'a> {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) change: PageChange<'a>,
}

/// What a commit made of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageChange<'a> {
    /// This image.
    Image(&'a Image),
    /// An image that differs so from zeros.
    Sparse(Delta<'a>),
    /// An image that differs so from the previous one.
    Delta(Delta<'a>),
}

impl PageChange<'_> {
    /// The image after the commit; `None` when it needs the previous one and there is none.
    pub(crate) fn image(&self, previous: Option<&Image>) -> Option<Image> {
        let (mut image, delta) = match self {
            PageChange::Image(image) => return Some(**image),
            PageChange::Sparse(delta) => ([0; PAGE_BYTES], delta),
            PageChange::Delta(delta) => (*previous?, delta),
        };
        delta.apply(&mut image);
        Some(image)
    }

    /// Whether it can be applied only to the previous image.
    pub(crate) fn needs_previous(&self) -> bool {
        matches!(self, PageChange::Delta(_))
    }
}

impl<'a> Head<'a> {
    /// The head at the beginning of a part, and the part of the payload after it.
    pub(crate) fn parse(body: &'a [u8]) -> Option<(Head<'a>, &'a [u8])> {
        let mut reader = Reader(body);
        let class_bytes = reader.array::<1>()?[0];
        let head = Head {
            class: reader.text(usize::from(class_bytes))?,
            id: RawId::from_bytes(reader.array()?),
            epoch: u32::from_le_bytes(reader.array()?),
            number: u64::from_le_bytes(reader.array()?),
        };
        Some((head, reader.0))
    }

    pub(crate) fn object(&self) -> ObjectKey {
        ObjectKey { class: Arc::from(self.class), id: self.id }
    }
}

impl<'a> Record<'a> {
    /// Reads the joined payload of a commit; `None` if it is none.
    pub(crate) fn parse(head: Head<'a>, flags: u8, payload: &'a [u8]) -> Option<Record<'a>> {
        let mut reader = Reader(payload);
        let time_ms = i64::from_le_bytes(reader.array()?);
        let database_pages = u32::from_le_bytes(reader.array()?);
        let options = reader.array::<1>()?[0];
        let name = if options & HAS_NAME == 0 {
            None
        } else {
            let bytes = u16::from_le_bytes(reader.array()?);
            Some(reader.text(usize::from(bytes))?)
        };
        let location_hint = if options & HAS_HINT == 0 {
            None
        } else {
            let bytes = reader.array::<1>()?[0];
            Some(reader.text(usize::from(bytes))?)
        };
        let has_given_up = options & HAS_GIVEN_UP != 0;
        let wake = match options & !(HAS_NAME | HAS_HINT | HAS_GIVEN_UP) {
            0 if !has_given_up => None,
            SETS_WAKE => {
                let time_ms = Some(i64::from_le_bytes(reader.array()?));
                Some(Wake { time_ms, has_given_up })
            }
            CLEARS_WAKE => Some(Wake { time_ms: None, has_given_up }),
            _ => return None,
        };
        let pages = reader.pages()?;
        let effects = Effects {
            creates: flags & frame::CREATES != 0,
            deletes: flags & frame::DELETES != 0,
            restores: flags & frame::RESTORES != 0,
            adopts: flags & frame::ADOPTS != 0,
        };
        Some(Record { head, time_ms, database_pages, effects, name, location_hint, wake, pages })
    }

    /// The pages, in the order in which they were added.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PageEntry<'a>> {
        let mut reader = Reader(self.pages);
        // All of them were read once before, so the first that cannot be is the end.
        std::iter::from_fn(move || reader.page())
    }
}

/// Takes bytes from the front, never more than there are.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(slice)
    }

    fn text(&mut self, bytes: usize) -> Option<&'a str> {
        std::str::from_utf8(self.slice(bytes)?).ok()
    }

    /// All that is left, if it is exactly the pages that are announced.
    fn pages(&mut self) -> Option<&'a [u8]> {
        let count = u32::from_le_bytes(self.array()?);
        let pages = self.0;
        for _ in 0..count {
            self.page()?;
        }
        self.0.is_empty().then_some(pages)
    }

    fn page(&mut self) -> Option<PageEntry<'a>> {
        let number = u32::from_le_bytes(self.array()?);
        let change = match self.array::<1>()?[0] {
            IMAGE => PageChange::Image(self.slice(PAGE_BYTES)?.try_into().ok()?),
            AGAINST_PREVIOUS => PageChange::Delta(self.delta()?),
            AGAINST_ZEROS => PageChange::Sparse(self.delta()?),
            _ => return None,
        };
        (number > 0).then_some(PageEntry { number, change })
    }

    fn delta(&mut self) -> Option<Delta<'a>> {
        let bytes = u16::from_le_bytes(self.array()?);
        Delta::parse(self.slice(usize::from(bytes))?)
    }
}
