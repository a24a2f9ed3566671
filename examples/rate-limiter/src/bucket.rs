//! A bucket of tokens: pure arithmetic, without a clock or storage.
//!
//! The guarantee: the arithmetic is exact. Tokens are counted in parts: with a plan of `refill` tokens
//! in `per` microseconds, a token has `per` parts, and each microsecond adds `refill` of them. So
//! nothing is ever rounded, and it makes no difference how often somebody looked in between.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// How full a bucket is, and when it was that full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// In parts of tokens.
    pub level: u64,
    /// How many parts a token has.
    pub parts: u64,
    /// In microseconds since 1970.
    pub time: u64,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It may; so many whole tokens are left.
    Allowed { remaining: u32 },
    /// It may not, and nothing was taken. The same request is allowed after this time, if nobody
    /// else takes tokens until then.
    Denied { retry_after: Duration },
}

impl Bucket {
    /// A bucket that holds all it can.
    pub fn full(plan: Plan, time: u64) -> Self {
        let parts = plan.per_micros();
        Bucket { level: u64::from(plan.burst()) * parts, parts, time }
    }

    /// The same tokens in the bucket of another plan. What does not fit is lost.
    pub fn under(self, plan: Plan) -> Self {
        let full = Bucket::full(plan, self.time);
        let level = u128::from(self.level) * u128::from(full.parts) / u128::from(self.parts.max(1));
        Bucket {
            level: u64::try_from(level).map_or(full.level, |level| level.min(full.level)),
            ..full
        }
    }

    /// The bucket at another time.
    ///
    /// A clock that was set back adds nothing and takes nothing, and the bucket fills again from
    /// there. Waiting for the clock to come back would lock the key out for as long as the jump.
    pub fn at(self, time: u64, plan: Plan) -> Self {
        let gained = time.saturating_sub(self.time).saturating_mul(plan.refill().into());
        let level = self.level.saturating_add(gained).min(Bucket::full(plan, time).level);
        Bucket { level, time, ..self }
    }

    /// Takes tokens, if there are so many: the bucket afterwards, and the decision.
    pub fn take(self, tokens: NonZeroU32, plan: Plan) -> (Self, Decision) {
        let wanted = u64::from(tokens.get()) * self.parts;
        if let Some(level) = self.level.checked_sub(wanted) {
            let bucket = Bucket { level, ..self };
            return (bucket, Decision::Allowed { remaining: bucket.tokens() });
        }
        let micros = (wanted - self.level).div_ceil(plan.refill().into());
        (self, Decision::Denied { retry_after: Duration::from_micros(micros) })
    }

    /// How many whole tokens there are.
    pub fn tokens(self) -> u32 {
        u32::try_from(self.level / self.parts.max(1)).unwrap_or(u32::MAX)
    }
}

/// In microseconds since 1970; a time before is 0.
pub fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_may_be_looked_at_as_often_as_one_likes() {
        let plan = plan("5+3/7ms"); // a token takes 2,333 and a third microseconds
        let start = Bucket { level: 0, ..Bucket::full(plan, 0) };
        let once = start.at(6_999, plan);
        let often = (1..=6_999).fold(start, |bucket, time| bucket.at(time, plan));
        assert_eq!(once, often);
        assert_eq!((once.tokens(), often.at(7_000, plan).tokens()), (2, 3));
    }

    #[test]
    fn the_largest_plan_does_not_overflow() {
        let plan = plan("1000000+1000000/1d");
        let bucket = Bucket::full(plan, 0).at(u64::MAX, plan);
        assert_eq!(bucket.tokens(), 1_000_000);
        assert!(i64::try_from(bucket.level).is_ok(), "it is stored as an `i64`");
    }

    #[test]
    fn another_plan_keeps_the_tokens_that_fit() {
        let bucket = Bucket::full(plan("10+1/1s"), 0);
        assert_eq!(bucket.under(plan("20+1/3h")).tokens(), 10);
        assert_eq!(bucket.under(plan("4+1/1ms")), Bucket::full(plan("4+1/1ms"), 0));
    }
}
