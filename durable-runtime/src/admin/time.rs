//! Times as operators write and read them.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::storage::alarm::time_of;
use crate::storage::millis;
use crate::{Error, ErrorKind, Result};

/// A time, to the millisecond: as text by RFC 3339, `2026-11-21T16:05:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// So many milliseconds after 1970 began in UTC.
    pub fn from_millis(millis: i64) -> Moment {
        Moment(millis)
    }

    /// Milliseconds since 1970 began in UTC.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The time as the standard library has it.
    pub fn time(self) -> SystemTime {
        time_of(self.0)
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Moment(millis(time))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Before the year -9999 or after 9999: an alarm may be set for it.
            Err(_) => write!(f, "{} ms after 1970", self.0),
        }
    }
}

impl FromStr for Moment {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] when the text is no time.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(millis) =
            text.strip_suffix(" ms after 1970").and_then(|digits| digits.parse().ok())
        {
            return Ok(Moment(millis));
        }
        let time = text.parse::<Timestamp>().map_err(|_| {
            let text = format!(
                "{text:?} is no time: write it with its offset, as in 2026-11-21T16:05:00Z"
            );
            Error::new(ErrorKind::Invalid, text)
        })?;
        Ok(Moment(time.as_millisecond()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
