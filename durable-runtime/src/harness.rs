//! What a test kit changes in a runtime; nothing by default.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::activity::Activity;
use crate::engine::{Disk, RealDisk};
use crate::{Error, ErrorKind, Result};

/// How a runtime under test differs from any other.
#[derive(Clone, Debug)]
pub(crate) struct Harness {
    pub(crate) disk: Arc<dyn Disk>,
    /// Whether somebody moves the clock and wakes who waits for it.
    pub(crate) moves_time: bool,
    /// Counts who is at work.
    pub(crate) activity: Option<Arc<Activity>>,
    /// Whether an object is evicted after each turn.
    pub(crate) evicts_between_turns: bool,
    pub(crate) randomness: Arc<Randomness>,
}

impl Default for Harness {
    fn default() -> Self {
        Harness {
            disk: Arc::new(RealDisk),
            moves_time: false,
            activity: None,
            evicts_between_turns: false,
            randomness: Arc::default(),
        }
    }
}

/// Where the runtime's random numbers come from.
#[derive(Debug, Default)]
pub(crate) enum Randomness {
    /// The operating system.
    #[default]
    System,
    /// A sequence that a seed repeats (`SplitMix64`).
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "for the test kit"))]
    Seeded(Mutex<u64>),
}

impl Randomness {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        match self {
            Randomness::System => getrandom::fill(bytes).map_err(|error| {
                let text = format!("the operating system has no random numbers: {error}");
                Error::new(ErrorKind::Storage, text)
            }),
            Randomness::Seeded(state) => {
                let mut state = state.lock();
                for chunk in bytes.chunks_mut(8) {
                    let number = next(&mut state).to_le_bytes();
                    chunk.copy_from_slice(&number[..chunk.len()]);
                }
                Ok(())
            }
        }
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
