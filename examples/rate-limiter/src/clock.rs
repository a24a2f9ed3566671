//! A clock that is set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shows the time that it was set to last. Clones are the same clock.
///
/// A runtime takes any function as its clock, so time can come from a file, or from a test that
/// does not want to wait.
#[derive(Clone, Debug, Default)]
pub struct HandClock {
    micros: Arc<AtomicU64>,
}

impl HandClock {
    /// Sets it to so long after 1970.
    pub fn set(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.store(micros, Ordering::Relaxed);
    }

    /// What it shows.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}
