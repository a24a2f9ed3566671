//! Requests: read from lines, or made up.

use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;

/// Somebody wants to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When, since the start of the recording; none is now.
    pub time: Option<Duration>,
    pub key: String,
    pub tokens: NonZeroU32,
}

/// Why a line is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("there is no key")]
    NoKey,
    #[error("the time is not a number of seconds, like 12.5")]
    BadTime,
    #[error("the number of tokens is not a whole number from 1 on")]
    BadTokens,
    #[error("there is more than a key and a number of tokens")]
    TooLong,
}

/// The longest time in a recording: ten years. Beyond that it is a slip of the pen.
const SECONDS_MAX: f64 = 10.0 * 366.0 * 86_400.0;

/// Reads `KEY [TOKENS]`, with `SECONDS` before it if the recording has times.
pub fn parse(line: &str, timed: bool) -> Result<Request, Malformed> {
    let mut words = line.split_whitespace();
    let time = if timed { Some(parse_time(words.next().unwrap_or_default())?) } else { None };
    let key = words.next().ok_or(Malformed::NoKey)?.to_owned();
    let tokens = match words.next() {
        Some(tokens) => tokens.parse().map_err(|_| Malformed::BadTokens)?,
        None => NonZeroU32::MIN,
    };
    if words.next().is_some() {
        return Err(Malformed::TooLong);
    }
    Ok(Request { time, key, tokens })
}

fn parse_time(text: &str) -> Result<Duration, Malformed> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(Malformed::BadTime),
    }
}

/// Requests of random keys: some often, most seldom.
pub fn random(keys: u32, seed: u64) -> impl Iterator<Item = Request> {
    let mut rng = Rng::with_seed(seed);
    std::iter::repeat_with(move || {
        // The smaller of two is more often small.
        let number = rng.u32(1..=keys).min(rng.u32(1..=keys));
        Request { time: None, key: format!("key-{number}"), tokens: NonZeroU32::MIN }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let request = |time, key: &str, tokens| Request {
            time,
            key: key.into(),
            tokens: NonZeroU32::new(tokens).unwrap(),
        };
        assert_eq!(parse(" 10.0.0.1 ", false), Ok(request(None, "10.0.0.1", 1)));
        let time = Some(Duration::from_millis(300));
        assert_eq!(parse("0.3\talice 5", true), Ok(request(time, "alice", 5)));
    }

    #[test]
    fn other_lines_are_told() {
        let cases = [
            ("", false, Malformed::NoKey),
            ("1", true, Malformed::NoKey),
            ("", true, Malformed::BadTime),
            ("-1 a", true, Malformed::BadTime),
            ("NaN a", true, Malformed::BadTime),
            ("1e99 a", true, Malformed::BadTime),
            ("a 0", false, Malformed::BadTokens),
            ("a -1", false, Malformed::BadTokens),
            ("a 1 b", false, Malformed::TooLong),
        ];
        for (line, timed, why) in cases {
            assert_eq!(parse(line, timed), Err(why), "{line:?}");
        }
    }
}
