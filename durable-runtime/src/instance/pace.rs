//! How often an object may wake itself: a guard against one that does so for ever.
//!
//! The guarantee: an object runs its alarm and timers at most so often within a window of time; what is due beyond that waits,
//! and is not lost. Plain data over times that are given.

use std::time::Duration;

/// The longest wait, in windows.
const WAIT_WINDOWS_MAX: u32 = 64;

/// How many runs are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaceLimit {
    pub(crate) runs_max: u32,
    pub(crate) window: Duration,
}

impl Default for PaceLimit {
    fn default() -> Self {
        PaceLimit { runs_max: 10_000, window: Duration::from_secs(10) }
    }
}

/// The runs of one object in the window of now.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begin: i64,
    runs: u32,
    /// Windows in a row that were full.
    full: u32,
    /// Nothing runs before this time.
    until: Option<i64>,
}

/// A wait that is put on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) until: i64,
    /// Whether it begins now.
    pub(crate) is_news: bool,
}

impl Pace {
    /// One more run at this time in milliseconds, or how long it has to wait.
    pub(crate) fn run(&mut self, now: i64, limit: &PaceLimit) -> Option<Rest> {
        let window = i64::try_from(limit.window.as_millis()).unwrap_or(i64::MAX);
        // Not before its begin: a clock that was set back begins anew.
        let is_running = (self.begin..self.begin.saturating_add(window)).contains(&now);
        match self.until {
            Some(until) if (self.begin..until).contains(&now) => {
                return Some(Rest { until, is_news: false });
            }
            Some(until) if (until..until.saturating_add(window)).contains(&now) => {
                *self = Pace { begin: now, full: self.full, ..Pace::default() };
            }
            None if is_running => {}
            _ => *self = Pace { begin: now, ..Pace::default() },
        }
        if self.runs < limit.runs_max {
            self.runs += 1;
            return None;
        }
        let windows = 1_i64 << self.full.min(WAIT_WINDOWS_MAX.ilog2());
        self.full += 1;
        let until = now.saturating_add(window.saturating_mul(windows));
        self.until = Some(until);
        Some(Rest { until, is_news: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: PaceLimit = PaceLimit { runs_max: 3, window: Duration::from_millis(10) };

    #[test]
    fn who_keeps_the_pace_never_waits() {
        let mut pace = Pace::default();
        assert!((0..1_000).all(|run| pace.run(run * 4, &LIMIT).is_none()));
    }

    #[test]
    fn who_does_not_waits_longer_and_longer_and_is_reported_once_each_time() {
        let mut pace = Pace::default();
        let mut now = 1_000_000;
        for wait in [10, 20, 40, 80, 160, 320, 640, 640, 640] {
            assert!((0..3).all(|_| pace.run(now, &LIMIT).is_none()));
            let until = now + wait;
            assert_eq!(pace.run(now, &LIMIT), Some(Rest { until, is_news: true }));
            assert_eq!(pace.run(until - 1, &LIMIT), Some(Rest { until, is_news: false }));
            now = until;
        }
        // Quiet for a window: all is as in the beginning.
        now += 10;
        assert!((0..3).all(|_| pace.run(now, &LIMIT).is_none()));
        assert_eq!(pace.run(now, &LIMIT), Some(Rest { until: now + 10, is_news: true }));
    }

    #[test]
    fn a_clock_that_goes_back_begins_anew() {
        let mut pace = Pace::default();
        assert!((0..3).all(|_| pace.run(100, &LIMIT).is_none()));
        assert!((0..3).all(|_| pace.run(50, &LIMIT).is_none()));
        assert!(pace.run(50, &LIMIT).is_some());
    }
}
