//! When what failed is tried again: one rule for alarms, timers and the like.
//!
//! Borrowed from the reference: 7 runs, with 2, 4, 8, 16, 32 and 64 seconds between them, each longer by up to a quarter
//! at random, so that what failed together is not tried again together.

use std::time::Duration;

/// Runs of one piece of work, the first included.
pub(crate) const RUNS_MAX: u32 = 7;

/// The wait before the next run, after so many that failed; `None` if there is none any more. `random` is any number.
pub(crate) fn wait(failed: u32, random: u64) -> Option<Duration> {
    if failed == 0 || failed >= RUNS_MAX {
        return None;
    }
    Some(with_jitter(Duration::from_secs(1 << failed), random))
}

/// A wait that is longer by up to a quarter.
pub(crate) fn with_jitter(wait: Duration, random: u64) -> Duration {
    // Thousandths of a quarter.
    let share = u32::try_from(random % 1_001).unwrap_or_default();
    wait + wait / 4 * share / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_waits_that_double_and_then_an_end() {
        let waits: Vec<_> =
            (0..=8).map(|failed| wait(failed, 0).map(|wait| wait.as_secs())).collect();
        assert_eq!(
            waits,
            [None, Some(2), Some(4), Some(8), Some(16), Some(32), Some(64), None, None]
        );
    }

    #[test]
    fn the_random_part_is_at_most_a_quarter() {
        for random in [0, 1, 500, 1_000, 1_001, u64::MAX] {
            for failed in 1..RUNS_MAX {
                let least = Duration::from_secs(1 << failed);
                let wait = wait(failed, random).unwrap();
                assert!(least <= wait && wait <= least * 5 / 4, "{failed} {random}: {wait:?}");
            }
        }
        assert_eq!(wait(6, 1_000), Some(Duration::from_secs(80)));
    }
}
