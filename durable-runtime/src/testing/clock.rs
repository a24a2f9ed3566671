//! The clock of a test.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::time::{Clock, Time};

/// A time that stands still until a test moves it.
#[derive(Clone, Debug)]
pub(super) struct TestClock {
    now: Arc<Mutex<SystemTime>>,
}

impl TestClock {
    pub(super) fn new(start: SystemTime) -> Self {
        TestClock { now: Arc::new(Mutex::new(start)) }
    }

    pub(super) fn now(&self) -> SystemTime {
        *self.now.lock()
    }

    /// Never goes back.
    pub(super) fn move_to(&self, time: SystemTime) {
        let mut now = self.now.lock();
        *now = time.max(*now);
    }

    pub(super) fn as_clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// Real time, which no setting of the system's clock makes longer or shorter.
pub(super) fn real_time() -> Time {
    let start = Instant::now();
    let clock = move || SystemTime::UNIX_EPOCH + start.elapsed();
    Time::new(Arc::new(clock))
}

/// The first of January 2030: round, and in nobody's past.
pub(super) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(525_960)
}
