//! The values that a traced type is given: the next one if it refuses the last.

use super::graph::Scalar;

/// Not 0 at first: `NonZeroU32` is more common than a type that takes 0 only.
pub(super) const NUMBERS: [u8; 4] = [1, 0, 2, 10];
pub(super) const FRACTIONS: [f32; 3] = [1.0, 0.0, 0.5];
pub(super) const BOOLEANS: [bool; 2] = [true, false];
pub(super) const LETTERS: [char; 3] = ['a', 'A', '0'];

/// Names, numbers, ids, dates and addresses, as types read them from text.
pub(super) const TEXTS: [&str; 24] = [
    "a",
    "",
    "1",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "00000000-0000-4000-8000-000000000000",
    "00000000000000000000000000000000",
    "2000-01-01T00:00:00Z",
    "2000-01-01",
    "2000-01-01T00:00:00",
    "2000-01-01T00:00:00+00:00[UTC]",
    "00:00:00",
    "PT1S",
    "UTC",
    "127.0.0.1",
    "127.0.0.1:80",
    "::1",
    "http://a.test/",
    "a@a.test",
    "1.0.0",
    "00",
    "en",
    "EUR",
    "A",
    "/a",
];

const ZEROS: [u8; 64] = [0; 64];
/// How many bytes, all 0.
const BYTES: [usize; 7] = [1, 0, 16, 32, 20, 8, 64];

pub(super) fn bytes(sample: usize) -> &'static [u8] {
    &ZEROS[..BYTES[sample % BYTES.len()]]
}

/// How many there are.
pub(super) fn count(scalar: Scalar) -> usize {
    match scalar {
        Scalar::Bool => BOOLEANS.len(),
        Scalar::F32 | Scalar::F64 => FRACTIONS.len(),
        Scalar::Char => LETTERS.len(),
        Scalar::Str => TEXTS.len(),
        Scalar::Bytes => BYTES.len(),
        Scalar::Unit => 1,
        _ => NUMBERS.len(),
    }
}
