//! How fast one address may write: a bucket of tokens, one object for each address, whichever rooms it writes in.

use std::time::{Duration, SystemTime};

use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// A bucket holds `burst` tokens, and gains one in each `interval`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At least 1.
    pub burst: u32,
    pub interval: Duration,
}

impl Rate {
    /// Takes a token from a bucket that is full at `full_at` if nobody takes any: gives when it is full then, or how long to wait.
    ///
    /// That one time is the whole bucket: each `interval` until then is a token that is missing.
    fn take(self, full_at: SystemTime, now: SystemTime) -> Result<SystemTime, Duration> {
        let full_at = full_at.max(now);
        let missing_time = full_at.duration_since(now).unwrap_or_default();
        let missing_max = self.interval * (self.burst - 1);
        match missing_time.checked_sub(missing_max) {
            None | Some(Duration::ZERO) => Ok(full_at + self.interval),
            Some(wait) => Err(wait),
        }
    }
}

/// What [`Limiter::take`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Token {
    Taken,
    /// None is left; there is one again after this time.
    In(Duration),
}

/// When the bucket is full again.
const FULL_AT: &str = "full at";

/// The tokens of one address.
#[derive(Debug, Default)]
pub struct Limiter;

#[durable_object]
impl Limiter {
    /// Takes a token, if there is one.
    pub fn take(&mut self, ctx: &Context) -> Result<Token> {
        let full_at = ctx.kv().get(FULL_AT)?.unwrap_or(SystemTime::UNIX_EPOCH);
        match ctx.env::<Rate>()?.take(full_at, ctx.now()) {
            Err(wait) => Ok(Token::In(wait)),
            Ok(full_at) => {
                ctx.kv().put(FULL_AT, &full_at)?;
                ctx.ensure_alarm(At(full_at))?;
                // The message that it is taken for has its own flush to wait for. If the power fails, somebody has a token too many.
                ctx.allow_unconfirmed();
                Ok(Token::Taken)
            }
        }
    }

    /// A full bucket is as good as none: the object goes, so that passers-by leave nothing behind.
    fn alarm(&mut self, ctx: &Context<Self>, _: AlarmInfo) -> Result<()> {
        match ctx.kv().get::<SystemTime>(FULL_AT)? {
            Some(full_at) if full_at > ctx.now() => ctx.set_alarm(At(full_at)),
            _ => ctx.delete_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_in_each_interval() {
        let rate = Rate { burst: 3, interval: Duration::from_secs(2) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let mut full_at = SystemTime::UNIX_EPOCH;
        for _ in 0..3 {
            full_at = rate.take(full_at, now).unwrap();
        }
        assert_eq!(full_at, now + Duration::from_secs(6));
        assert_eq!(rate.take(full_at, now), Err(Duration::from_secs(2)));
        let later = now + Duration::from_millis(1_500);
        assert_eq!(rate.take(full_at, later), Err(Duration::from_millis(500)));
        let just_then = now + Duration::from_secs(2);
        assert_eq!(rate.take(full_at, just_then), Ok(now + Duration::from_secs(8)));
    }

    #[test]
    fn a_bucket_of_one_is_a_pause_between_two() {
        let rate = Rate { burst: 1, interval: Duration::from_secs(1) };
        let now = SystemTime::UNIX_EPOCH;
        let full_at = rate.take(now, now).unwrap();
        assert_eq!(rate.take(full_at, now), Err(Duration::from_secs(1)));
        assert!(rate.take(full_at, full_at).is_ok());
    }
}
