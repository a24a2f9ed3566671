//! The difference between two images of a page, as it stands in records.
//!
//! The guarantee: what [`push_delta`] wrote, applied by [`Delta::apply`] to the image it was made against,
//! gives exactly the other image. Decoding never reads or writes outside of its bytes or of a page.
//!
//! The layout is a list of ranges in ascending order that do not overlap: offset (u16), length
//! (u16), that many bytes. A page of mostly zeros is stored the same way, against a page of zeros.

use super::{Image, PAGE_BYTES};

/// What a range costs besides its bytes.
const RANGE_HEAD_BYTES: usize = 4;
/// Ranges with fewer equal bytes between them become one.
const GAP_BYTES_MIN: usize = 8;
/// Pages are compared in such blocks first, since most of a page is the same.
const BLOCK_BYTES: usize = 64;
const WORD_BYTES: usize = 8;

/// A checked difference: all its ranges are in order and within a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delta<'a> {
    ranges: &'a [u8],
}

/// Appends the difference and says so; leaves `out` as it was if that would take more than `bytes_max`.
pub(crate) fn push_delta(
    out: &mut Vec<u8>,
    before: &Image,
    after: &Image,
    bytes_max: usize,
) -> bool {
    let begin = out.len();
    let fits = changed_ranges(before, after, |start, end| {
        if out.len() - begin + RANGE_HEAD_BYTES + (end - start) > bytes_max {
            return false;
        }
        push_u16(out, start);
        push_u16(out, end - start);
        out.extend_from_slice(&after[start..end]);
        true
    });
    if !fits {
        out.truncate(begin);
    }
    fits
}

/// At most a page's size, so it always fits.
fn push_u16(out: &mut Vec<u8>, value: usize) {
    debug_assert!(value <= PAGE_BYTES);
    out.extend_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes());
}

/// Calls `range` with the start and end of each range that differs, as long as it returns true.
fn changed_ranges(
    before: &Image,
    after: &Image,
    mut range: impl FnMut(usize, usize) -> bool,
) -> bool {
    let mut open: Option<(usize, usize)> = None;
    let blocks = before.chunks_exact(BLOCK_BYTES).zip(after.chunks_exact(BLOCK_BYTES));
    for (block, (old, new)) in blocks.enumerate() {
        if old == new {
            continue;
        }
        let words = old.chunks_exact(WORD_BYTES).zip(new.chunks_exact(WORD_BYTES));
        for (word, (old, new)) in words.enumerate() {
            let changed = word_of(old) ^ word_of(new);
            if changed == 0 {
                continue;
            }
            let at = block * BLOCK_BYTES + word * WORD_BYTES;
            let start = at + changed.trailing_zeros() as usize / 8;
            let end = at + WORD_BYTES - changed.leading_zeros() as usize / 8;
            open = match open {
                Some((first, last)) if start - last < GAP_BYTES_MIN => Some((first, end)),
                Some((first, last)) if !range(first, last) => return false,
                _ => Some((start, end)),
            };
        }
    }
    open.is_none_or(|(start, end)| range(start, end))
}

/// The word whose lowest byte comes first.
fn word_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

impl<'a> Delta<'a> {
    /// Checks that all ranges lie in order within a page.
    pub(super) fn parse(ranges: &'a [u8]) -> Option<Delta<'a>> {
        let mut rest = ranges;
        let mut done = 0;
        while !rest.is_empty() {
            let (offset, bytes, after) = split_range(rest)?;
            if bytes.is_empty() || offset < done || offset + bytes.len() > PAGE_BYTES {
                return None;
            }
            done = offset + bytes.len();
            rest = after;
        }
        Some(Delta { ranges })
    }

    /// Turns the image that the difference was made against into the one after it.
    pub(crate) fn apply(&self, image: &mut Image) {
        let mut rest = self.ranges;
        while let Some((offset, bytes, after)) = split_range(rest) {
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
            rest = after;
        }
    }
}

fn split_range(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (offset, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (range, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((usize::from(u16::from_le_bytes(*offset)), range, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::simulated::Random;

    fn between(before: &Image, after: &Image) -> Option<Vec<u8>> {
        let mut out = vec![7];
        let fits = push_delta(&mut out, before, after, PAGE_BYTES / 2);
        assert!(fits || out == [7], "left something behind");
        fits.then(|| out.split_off(1))
    }

    #[test]
    fn golden_ranges() {
        let before = [0; PAGE_BYTES];
        let mut after = before;
        assert!(between(&before, &after).unwrap().is_empty());
        after[1] = 5;
        after[9] = 6; // seven equal bytes between them: one range
        after[18] = 7; // eight: another range
        after[4_095] = 8;
        assert_eq!(
            between(&before, &after).unwrap(),
            [1, 0, 9, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 18, 0, 1, 0, 7, 0xff, 0x0f, 1, 0, 8]
        );
    }

    #[test]
    fn too_large_is_none() {
        let before = [0; PAGE_BYTES];
        let mut after = before;
        after[..2_044].fill(1);
        assert_eq!(between(&before, &after).unwrap().len(), 2_048);
        after[2_044] = 1;
        assert_eq!(between(&before, &after), None);
        assert_eq!(between(&before, &[1; PAGE_BYTES]), None);
    }

    #[test]
    fn apply_gives_the_other_image() {
        let mut random = Random(1);
        for round in 0..2_000 {
            let mut before = [0; PAGE_BYTES];
            before.fill_with(|| u8::from(random.chance(50)));
            let mut after = before;
            for _ in 0..random.below(12) {
                let start = random.below(PAGE_BYTES);
                let end = (start + 1 + random.below(40)).min(PAGE_BYTES);
                after[start..end].fill_with(|| u8::from(random.chance(50)));
            }
            let bytes = between(&before, &after).unwrap();
            let mut image = before;
            Delta::parse(&bytes).unwrap().apply(&mut image);
            assert!(image == after, "round {round}");
        }
    }

    #[test]
    fn ranges_outside_of_the_page_are_refused() {
        for bad in [
            &[0, 0, 0, 0][..],               // empty
            &[0, 0, 2, 0, 1],                // shorter than it says
            &[0xff, 0x0f, 2, 0, 1, 1],       // beyond the page
            &[0xff, 0xff, 1, 0, 1],          // outside
            &[4, 0, 1, 0, 1, 4, 0, 1, 0, 1], // twice the same place
            &[0, 0, 1, 0, 1, 9],             // a rest
        ] {
            assert_eq!(Delta::parse(bad), None, "{bad:?}");
        }
    }
}
