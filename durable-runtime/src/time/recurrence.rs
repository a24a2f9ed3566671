//! When a timer runs again: plain decisions over times that are given, in milliseconds since 1970.
//!
//! Guarantees:
//! - The next time is after now and in the rhythm, and no time of the rhythm lies between: periods that were missed are one run.
//! - A retry comes no later than the next time of the rhythm, and stands in for that one then. A run that was tried for the
//!   last time ends a timer that runs once, and never one that runs again and again.
//!
//! Cron expressions and their days of 23 and 25 hours are the matter of `croner`, time zones that of `jiff`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::retry;
use crate::{Error, ErrorKind, Result};

/// The rhythm of a timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Once,
    /// So many milliseconds, at least one, after the last regular time.
    Every(i64),
    Cron(CronRule),
}

/// A cron expression, and the time zone that it is read in, if not UTC. Whether both mean anything is seen when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CronRule {
    pub(crate) expression: String,
    pub(crate) zone: Option<String>,
}

impl Rule {
    /// The first regular time after `now`, seen from the last one; `None` if there is no more.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an expression or a time zone that means nothing.
    pub(crate) fn next(&self, last: i64, now: i64) -> Result<Option<i64>> {
        match self {
            Rule::Once => Ok(None),
            Rule::Every(period) => Ok(next_beat(*period, last, now)),
            Rule::Cron(cron) => cron.next(now.max(last)),
        }
    }
}

fn next_beat(period: i64, last: i64, now: i64) -> Option<i64> {
    let missed = now.saturating_sub(last).max(0).checked_div(period)?;
    last.checked_add(period.checked_mul(missed.checked_add(1)?)?)
}

impl CronRule {
    fn next(&self, now: i64) -> Result<Option<i64>> {
        let (cron, zone) = (self.parse()?, self.find_zone()?);
        // Whole seconds, since those are what it matches.
        let Ok(now) = Timestamp::from_second(now.div_euclid(1_000)) else { return Ok(None) };
        // It fails only where its years end.
        let next = cron.find_next_occurrence(&now.to_zoned(zone), false).ok();
        Ok(next.map(|next| next.timestamp().as_millisecond()))
    }

    fn parse(&self) -> Result<Cron> {
        let CronRule { expression, .. } = self;
        Cron::from_str(expression).map_err(|error| {
            let text = format!(
                "the cron expression {expression:?} cannot be read ({error}): write minute, hour, day of the month, month and \
                 day of the week, such as \"0 9 * * MON-FRI\", and the second before them if need be"
            );
            Error::new(ErrorKind::Invalid, text)
        })
    }

    fn find_zone(&self) -> Result<TimeZone> {
        let Some(name) = &self.zone else { return Ok(TimeZone::UTC) };
        // A system may have some zones and not all.
        TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).map_err(|_| {
            let text = format!(
                "there is no time zone {name:?}: name one of the IANA database, such as \"Europe/Berlin\""
            );
            Error::new(ErrorKind::Invalid, text)
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Once => f.write_str("once"),
            Rule::Every(millis) => {
                write!(f, "every {:?}", Duration::from_millis(millis.unsigned_abs()))
            }
            Rule::Cron(CronRule { expression, zone: None }) => write!(f, "cron {expression}"),
            Rule::Cron(CronRule { expression, zone: Some(zone) }) => {
                write!(f, "cron {expression} in {zone}")
            }
        }
    }
}

/// What follows a run that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is tried again at this time.
    Retry(i64),
    /// It was tried for the last time; the next one of the rhythm is at this time.
    GoOn(i64),
    /// It was tried for the last time, and there is no other.
    GiveUp,
}

/// Decides it, after so many runs that failed. `next` is the next regular time after `now`, `random` any number.
pub(crate) fn after_failure(failed: u32, now: i64, next: Option<i64>, random: u64) -> Verdict {
    match (retry::wait(failed, random), next) {
        (Some(wait), next) => {
            let due = now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
            Verdict::Retry(next.map_or(due, |next| next.min(due)))
        }
        (None, Some(next)) => Verdict::GoOn(next),
        (None, None) => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests;
