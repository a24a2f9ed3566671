//! The alarm of an object, as its turns see it: one time at which the runtime calls the `alarm` handler.

use std::time::{Duration, SystemTime};

use crate::storage::FailedAlarm;
use crate::storage::alarm::{Alarm, due_at, time_of};
use crate::{Context, Error, ErrorKind, Result};

/// When an alarm, or a timer that runs once, is to run. `SystemTime` and `Duration` convert into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this time; at once, if it has passed.
    At(SystemTime),
    /// So long after [`Context::now`].
    After(Duration),
}

impl From<SystemTime> for When {
    fn from(time: SystemTime) -> Self {
        When::At(time)
    }
}

impl From<Duration> for When {
    fn from(duration: Duration) -> Self {
        When::After(duration)
    }
}

impl When {
    /// The millisecond at which it is, seen from now.
    pub(crate) fn due(self, now: impl FnOnce() -> SystemTime) -> Result<i64> {
        match self {
            When::At(time) => due_at(time),
            When::After(duration) => now().checked_add(duration).map_or_else(
                || {
                    Err(Error::new(
                        ErrorKind::Invalid,
                        "nothing can be set for a time that far away",
                    ))
                },
                due_at,
            ),
        }
    }
}

/// # The alarm
///
/// An object has one alarm: a time at which the runtime wakes it and calls its `alarm` handler. It is a part of the object's
/// storage: set and deleted with the turn, undone with it, kept over restarts, gone after [`delete_all`](Context::delete_all).
///
/// A run that fails (`Err`, a panic, [`abort`](Context::abort), [too long](crate::Builder::alarm_limit)) is tried again after 2, 4,
/// 8, 16, 32 and 64 seconds, up to a quarter longer each; after 7 runs the alarm is given up: see [`failed_alarm`](Context::failed_alarm).
/// A sync handler is one turn, in which the alarm is cleared: its effect happens once. An async one may run again
/// although it has succeeded, if the process ends before that is noted.
///
/// ```
/// use std::time::Duration;
/// use durable_runtime::{After, Context, Result};
///
/// /// Puts off the reminder with every message.
/// fn remind_later(ctx: &Context) -> Result<()> {
///     ctx.set_alarm(After(Duration::from_secs(3600)))
/// }
/// ```
impl Context {
    /// The time the alarm is set for. One that is tried again keeps its time; one that runs at this moment is not set
    /// any more, unless its handler or somebody else has set it anew.
    ///
    /// # Errors
    /// When storage fails.
    pub fn alarm(&self) -> Result<Option<SystemTime>> {
        Ok(self.waiting_alarm()?.map(|alarm| time_of(alarm.time)))
    }

    fn waiting_alarm(&self) -> Result<Option<Alarm>> {
        Ok(self.store().alarm()?.filter(|alarm| !alarm.is_running))
    }

    /// Sets the alarm, in place of the one that is set, and of what is left of its runs: a handler that sets it anew and
    /// then fails is not tried again. Times are rounded up to milliseconds.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the class has no `alarm` handler, [`ErrorKind::Invalid`] for a time before 1970 or
    /// too far away, [`ErrorKind::ReadOnly`] in a read-only method, and when storage fails.
    pub fn set_alarm(&self, when: impl Into<When>) -> Result<()> {
        if !self.has_alarm_handler() {
            let text = format!(
                "class `{}` has no `alarm` handler that could run: add `fn alarm(&mut self, ctx: &Context<Self>, alarm: \
                 AlarmInfo) -> Result<()>`",
                self.class()
            );
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        self.store().set_alarm(when.into().due(|| self.now())?)
    }

    /// Sets the alarm if none is set. Gives whether it did.
    ///
    /// # Errors
    /// As [`set_alarm`](Context::set_alarm).
    pub fn ensure_alarm(&self, when: impl Into<When>) -> Result<bool> {
        if self.waiting_alarm()?.is_some() {
            return Ok(false);
        }
        self.set_alarm(when).map(|()| true)
    }

    /// Deletes the alarm, and what is left of its runs. Gives whether there was one; one whose async handler runs at this
    /// moment counts: it will not be tried again.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`] in a read-only method, and when storage fails.
    pub fn delete_alarm(&self) -> Result<bool> {
        self.store().delete_alarm()
    }

    /// The last alarm that was given up, if none has succeeded since. To run it again, set the alarm.
    ///
    /// # Errors
    /// When storage fails.
    pub fn failed_alarm(&self) -> Result<Option<FailedAlarm>> {
        self.store().failed_alarm()
    }
}
