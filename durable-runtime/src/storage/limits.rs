//! What the storage of one object may use up, and the clock that ends a query which runs too long.
//!
//! The guarantee: SQL of a turn that is over its time fails at SQLite's next check. Nothing that the framework
//! does at the end of a turn is ever interrupted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::kv::KeyLimits;
use crate::engine::sqlite::PAGE_BYTES;
use crate::{Error, ErrorKind};

/// SQLite asks for the time each time it has done so many steps: a tenth of a millisecond's work.
const STEPS: i32 = 4_096;

/// The longest text of one statement, in bytes, unless the builder says otherwise.
const SQL_BYTES_MAX: usize = 100_000;

/// What an operator does.
const VISIT: &str = "visit";

/// The limits of every object of a runtime.
#[derive(Clone)]
pub(crate) struct Limits {
    /// How long the SQL of a turn may run.
    pub(crate) turn: Duration,
    /// How long the SQL of one migration may run.
    pub(crate) migration: Duration,
    /// How large the database of an object may get.
    pub(crate) database_bytes: u64,
    /// How long the text of a statement may be.
    pub(crate) sql_bytes: usize,
    pub(crate) keys: KeyLimits,
    /// The time that does not jump, whatever the runtime's clock says.
    pub(crate) clock: fn() -> Instant,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            turn: Duration::from_secs(30),
            migration: Duration::from_mins(15),
            database_bytes: 10_000_000_000,
            sql_bytes: SQL_BYTES_MAX,
            keys: KeyLimits::default(),
            clock: Instant::now,
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("turn", &self.turn)
            .field("migration", &self.migration)
            .field("database_bytes", &self.database_bytes)
            .field("sql_bytes", &self.sql_bytes)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Limits {
    /// SQLite counts pages, and a database has at least one.
    pub(super) fn database_pages(&self) -> u32 {
        u32::try_from(self.database_bytes / PAGE_BYTES).unwrap_or(u32::MAX - 1).max(1)
    }
}

/// Whose SQL runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The framework's own, which nothing interrupts.
    Framework = 0,
    Turn = 1,
    Migration = 2,
    /// An operator's.
    #[cfg(feature = "admin")]
    Visit = 3,
}

/// Knows when the SQL that runs is over its time.
///
/// To begin costs nothing: the time counts from SQLite's first check, a few thousand steps into the work.
#[derive(Debug)]
pub(super) struct Deadline {
    limits: Arc<Limits>,
    work: AtomicU8,
    /// Of the work, to know a new one.
    number: AtomicU64,
    /// How long an operator's SQL may run, in milliseconds.
    #[cfg(feature = "admin")]
    visit_ms: AtomicU64,
}

impl Deadline {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Deadline {
            limits,
            work: AtomicU8::new(0),
            number: AtomicU64::new(0),
            #[cfg(feature = "admin")]
            visit_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn begin(&self, work: Work) {
        // One thread at a time uses a connection.
        self.number.store(self.number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.work.store(work as u8, Ordering::Relaxed);
    }

    /// As [`begin`](Self::begin), for an operator who waits for so long, and not longer than a turn may take.
    #[cfg(feature = "admin")]
    pub(super) fn begin_visit(&self, limit: Duration) {
        let limit = limit.min(self.limits.turn).as_millis();
        self.visit_ms.store(u64::try_from(limit).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.begin(Work::Visit);
    }

    pub(super) fn end(&self) {
        self.work.store(Work::Framework as u8, Ordering::Relaxed);
    }

    /// The limit of the work, its name, and the option that sets it.
    fn limit(&self) -> Option<(Duration, &'static str, &'static str)> {
        match self.work.load(Ordering::Relaxed) {
            work if work == Work::Turn as u8 => Some((self.limits.turn, "turn", "turn_limit")),
            work if work == Work::Migration as u8 => {
                Some((self.limits.migration, "migration", "migration_limit"))
            }
            #[cfg(feature = "admin")]
            work if work == Work::Visit as u8 => {
                let limit = Duration::from_millis(self.visit_ms.load(Ordering::Relaxed));
                Some((limit, VISIT, "turn_limit"))
            }
            _ => None,
        }
    }

    /// Makes a connection ask for the time while it works, and keeps its database small enough.
    pub(super) fn install(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let pages = self.limits.database_pages();
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
        let deadline = Arc::clone(self);
        let mut begun = None;
        connection.progress_handler(STEPS, Some(move || deadline.is_over(&mut begun)))
    }

    /// `begun` is the number of the work that was last seen, and when that was.
    fn is_over(&self, begun: &mut Option<(u64, Instant)>) -> bool {
        let Some((limit, ..)) = self.limit() else { return false };
        let now = (self.limits.clock)();
        let number = self.number.load(Ordering::Relaxed);
        let start = match *begun {
            Some((last, start)) if last == number => start,
            _ => now,
        };
        *begun = Some((number, start));
        now.duration_since(start) >= limit
    }

    /// Names the limit that made a statement fail, if it was one.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> Option<Error> {
        match error.sqlite_error_code()? {
            ErrorCode::OperationInterrupted => {
                let (limit, work, option) = self.limit()?;
                if work == VISIT {
                    let text = format!(
                        "the SQL ran longer than its limit of {limit:?}: ask for less, or allow it more time, \
                         up to the `turn_limit` of the program"
                    );
                    return Some(Error::new(ErrorKind::TimedOut, text));
                }
                Some(Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "the SQL of one {work} ran longer than its limit of {limit:?}: do less in one \
                         {work}, or raise `{option}` of the runtime's builder"
                    ),
                ))
            }
            ErrorCode::DiskFull => Some(Error::new(
                ErrorKind::Limit,
                format!(
                    "the object's database would grow over its limit of {} bytes: delete what is no longer \
                     needed, keep it in several objects, or raise `database_limit` of the runtime's builder",
                    self.limits.database_bytes
                ),
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
