//! What a key may do: how much at once, and how much in the long run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most tokens in a plan. With it and [`PER_MAX`], no sum in a bucket overflows an `i64`.
const TOKENS_MAX: u32 = 1_000_000;

/// The longest time in a plan: a day.
const PER_MAX: Duration = Duration::from_hours(24);

/// A bucket holds up to `burst` tokens, and gains `refill` of them in each time `per`.
///
/// In any window of time `w`, at most `burst + refill * w / per` tokens are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    burst: u32,
    refill: u32,
    per_micros: u64,
}

/// Why something is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    #[error("a plan looks like 10+5/1s: a burst of 10, and 5 more in each second")]
    Malformed,
    #[error("{what} must be from 1 to {TOKENS_MAX}, and is {tokens}")]
    Tokens { what: &'static str, tokens: u64 },
    #[error("a time looks like 500ms, 1s, 2m, 1h or 1d")]
    MalformedTime,
    #[error("the time of a plan must be from 1ms to 1d")]
    Time,
}

impl Plan {
    /// Bounds: 1 to 1,000,000 tokens for both numbers, and one millisecond to a day.
    pub fn new(burst: u32, refill: u32, per: Duration) -> Result<Self, BadPlan> {
        for (what, tokens) in [("the burst", burst), ("the refill", refill)] {
            if !(1..=TOKENS_MAX).contains(&tokens) {
                return Err(BadPlan::Tokens { what, tokens: tokens.into() });
            }
        }
        if !(Duration::from_millis(1)..=PER_MAX).contains(&per) {
            return Err(BadPlan::Time);
        }
        let per_micros = u64::try_from(per.as_micros()).map_err(|_| BadPlan::Time)?;
        Ok(Plan { burst, refill, per_micros })
    }

    /// The most tokens at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// What comes back in each [time](Plan::per_micros).
    pub fn refill(self) -> u32 {
        self.refill
    }

    /// The time in which `refill` tokens come back, in microseconds.
    pub fn per_micros(self) -> u64 {
        self.per_micros
    }
}

impl FromStr for Plan {
    type Err = BadPlan;

    /// Reads `10+5/1s`.
    fn from_str(text: &str) -> Result<Self, BadPlan> {
        let (burst, rate) = text.split_once('+').ok_or(BadPlan::Malformed)?;
        let (refill, per) = rate.split_once('/').ok_or(BadPlan::Malformed)?;
        let tokens = |text: &str| text.parse().map_err(|_| BadPlan::Malformed);
        Plan::new(tokens(burst)?, tokens(refill)?, duration(per)?)
    }
}

fn duration(text: &str) -> Result<Duration, BadPlan> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadPlan::MalformedTime)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| BadPlan::MalformedTime)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(BadPlan::MalformedTime),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or(BadPlan::Time)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.per_micros / 1_000;
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let (size, unit) =
            units.into_iter().find(|(size, _)| millis.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(f, "{}+{}/{}{unit}", self.burst, self.refill, millis / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_and_written() {
        for text in ["10+5/1s", "1+1/1d", "1000000+1000000/1ms", "3+2/90s", "3+2/1500ms", "1+1/2h"]
        {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_plan_is_told() {
        let why = |text: &str| text.parse::<Plan>().unwrap_err();
        for text in ["", "10", "10+5", "5/1s", "+5/1s", "10+/1s", "-1+5/1s", "1+1.5/1s"] {
            assert_eq!(why(text), BadPlan::Malformed, "{text}");
        }
        for text in ["1+1/", "1+1/s", "1+1/1", "1+1/1w", "1+1/1 s", "1+1/-1s"] {
            assert_eq!(why(text), BadPlan::MalformedTime, "{text}");
        }
        for text in ["1+1/0s", "1+1/86401s", "1+1/2d", "1+1/18446744073709551615d"] {
            assert_eq!(why(text), BadPlan::Time, "{text}");
        }
        assert_eq!(why("0+1/1s"), BadPlan::Tokens { what: "the burst", tokens: 0 });
        assert_eq!(why("1+1000001/1s"), BadPlan::Tokens { what: "the refill", tokens: 1_000_001 });
    }
}
