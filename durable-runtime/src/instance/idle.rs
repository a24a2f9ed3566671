//! Evicting objects that nobody has used for a while.
//!
//! The guarantee: an object is evicted not before the limit has passed since its last event, and, unless
//! somebody uses it, at most a quarter of the limit after that. A call pays nothing for it beyond setting the flag that it
//! sets anyway, and while nothing is in memory there is no timer.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::node::Node;

/// Sweeps within one limit.
const SWEEPS: u32 = 4;

/// What a sweep finds out about an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays; nobody has used it since then.
    Stays(SystemTime),
    Goes,
}

/// Judges an object at `now`: whether it `was_used` since the sweep before, and since when that one and others
/// found it unused. A use counts as one at the end of its interval, so nothing goes too early.
pub(super) fn judge(
    was_used: bool,
    unused_since: Option<SystemTime>,
    now: SystemTime,
    limit: Duration,
) -> Verdict {
    match unused_since {
        // A clock that was set back starts the count anew.
        Some(since) if !was_used && since <= now => {
            let unused = now.duration_since(since).unwrap_or_default();
            if unused >= limit { Verdict::Goes } else { Verdict::Stays(since) }
        }
        _ => Verdict::Stays(now),
    }
}

/// Sweeps until nothing is in memory.
pub(crate) async fn sweep(node: Weak<Node>, limit: Duration) {
    loop {
        let Some(sleep) = node.upgrade().map(|node| node.settings.time.sleep(limit / SWEEPS))
        else {
            return;
        };
        sleep.await;
        let Some(node) = node.upgrade() else { return };
        if !sweep_once(&node, limit).await {
            return;
        }
    }
}

/// `false` when nothing was left, and the next object that comes into memory must start a new sweeper.
async fn sweep_once(node: &Arc<Node>, limit: Duration) -> bool {
    let now = node.settings.time.now_or_system();
    for _ in 0..node.residents.count() {
        if node.residents.sweep_next(now, limit) {
            // Closing a database may have kept this thread for a while.
            tokio::task::yield_now().await;
        }
    }
    node.residents.goes_on_sweeping()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn nobody_goes_before_the_limit() {
        assert_eq!(judge(false, None, at(100), LIMIT), Verdict::Stays(at(100)));
        assert_eq!(judge(false, Some(at(100)), at(109), LIMIT), Verdict::Stays(at(100)));
        assert_eq!(judge(false, Some(at(100)), at(110), LIMIT), Verdict::Goes);
    }

    #[test]
    fn a_use_starts_the_count_anew() {
        assert_eq!(judge(true, Some(at(100)), at(110), LIMIT), Verdict::Stays(at(110)));
    }

    #[test]
    fn a_clock_that_went_back_starts_the_count_anew() {
        assert_eq!(judge(false, Some(at(100)), at(50), LIMIT), Verdict::Stays(at(50)));
        assert_eq!(judge(false, Some(at(50)), at(60), LIMIT), Verdict::Goes);
    }

    #[test]
    fn whoever_is_not_used_goes_within_a_quarter_after_the_limit() {
        for last_use in 0..10_000 {
            let last_use = SystemTime::UNIX_EPOCH + Duration::from_millis(last_use);
            let (mut now, mut since, mut used) = (at(0), None, false);
            let mut pending = true;
            let gone = loop {
                now += LIMIT / SWEEPS;
                if pending && last_use <= now {
                    (pending, used) = (false, true);
                }
                match judge(std::mem::take(&mut used), since, now, LIMIT) {
                    Verdict::Stays(unused) => since = Some(unused),
                    Verdict::Goes => break now,
                }
            };
            let after = gone.duration_since(last_use).unwrap();
            assert!(after >= LIMIT && after <= LIMIT + LIMIT / SWEEPS, "{last_use:?}: {after:?}");
        }
    }
}
