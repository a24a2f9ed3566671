//! The timers of an object, as its turns see them: calls that the runtime makes later, once or again and again.

use std::time::{Duration, SystemTime};

use crate::alarm::When;
use crate::engine::ObjectKey;
use crate::storage::alarm::time_of;
use crate::storage::millis;
use crate::storage::timers::Timer;
use crate::time::recurrence::{CronRule, Rule};
use crate::{Call, Context, DurableObject, Error, ErrorKind, ObjectId, Result};

/// The longest key of a timer, in bytes.
pub const TIMER_KEY_BYTES_MAX: usize = 1_024;

/// When a timer runs, see [`Context::schedule`]: made from [`At`](crate::At), [`After`](crate::After), [`Every`], [`Cron`], [`CronIn`],
/// a `SystemTime` or a `Duration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Once(When),
    Every(Duration),
    Cron(CronRule),
}

/// Again and again, for the first time one such period from [`Context::now`]. At least a millisecond; rounded up to milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Duration);

/// Whenever the time in UTC matches this cron expression: see [`CronIn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron<'a>(pub &'a str);

/// Whenever the time in a time zone matches a cron expression: `CronIn("0 9 * * MON-FRI", "Europe/Berlin")`.
///
/// The fields are minute, hour, day of the month, month and day of the week (0 and 7 are Sunday); a field before them is the second,
/// and one after all of them the year. Also understood are `@daily` and its like, `L` for the last day, `W` for the nearest weekday,
/// `FRI#2` for the second Friday. The zone is one of the IANA database: the system's, or else the one this program was built with.
///
/// Where the clock is put forward, an expression with one fixed time a day that is skipped runs right after the gap; others skip
/// what is not there. Where it is put back, one with one fixed time a day runs at the first of the two; others run at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronIn<'a>(pub &'a str, pub &'a str);

impl<W: Into<When>> From<W> for Recurrence {
    fn from(when: W) -> Self {
        Recurrence(Kind::Once(when.into()))
    }
}

impl From<Every> for Recurrence {
    fn from(Every(period): Every) -> Self {
        Recurrence(Kind::Every(period))
    }
}

impl From<Cron<'_>> for Recurrence {
    fn from(Cron(expression): Cron<'_>) -> Self {
        Recurrence(Kind::Cron(CronRule { expression: expression.into(), zone: None }))
    }
}

impl From<CronIn<'_>> for Recurrence {
    fn from(CronIn(expression, zone): CronIn<'_>) -> Self {
        Recurrence(Kind::Cron(CronRule { expression: expression.into(), zone: Some(zone.into()) }))
    }
}

impl Recurrence {
    /// The rhythm and its first time, seen from now.
    fn plan(self, now: SystemTime) -> Result<(Rule, i64)> {
        let from_now = |duration| When::After(duration).due(|| now);
        let rule = match self.0 {
            Kind::Once(when) => return Ok((Rule::Once, when.due(|| now)?)),
            Kind::Every(Duration::ZERO) => {
                let text = "a timer cannot run every 0 seconds: give `Every` a period of at least a millisecond";
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            Kind::Every(period) => {
                let whole = period.as_nanos().div_ceil(Duration::from_millis(1).as_nanos());
                let every = i64::try_from(whole).unwrap_or(i64::MAX);
                return Ok((Rule::Every(every), from_now(period)?));
            }
            Kind::Cron(cron) => Rule::Cron(cron),
        };
        let first = rule.next(0, millis(now))?.ok_or_else(|| {
            let text = format!("`{rule}` matches no time to come: nothing would ever run");
            Error::new(ErrorKind::Invalid, text)
        })?;
        Ok((rule, first))
    }

    fn is_relative(&self) -> bool {
        matches!(self.0, Kind::Once(When::After(_)))
    }
}

/// A timer of an object: see [`Context::schedules`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// The key it was set under.
    pub key: String,
    /// The method it calls.
    pub method: String,
    /// Whose method that is, if it is another object's.
    pub receiver: Option<Receiver>,
    /// How it recurs, in words: `once`, `every 90s`, `cron 0 9 * * * in Europe/Berlin`.
    pub recurrence: String,
    /// When it runs next, or is tried again. `None` once it was given up.
    pub next_run: Option<SystemTime>,
    /// The last run that failed, if none has succeeded since.
    pub last_failure: Option<FailedRun>,
    /// Whether all its runs failed, and it is kept for somebody to look at. One that recurs goes on instead, unless this program does
    /// not know its time zone any more.
    pub is_given_up: bool,
}

/// The object that a timer calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receiver {
    /// Its class, by the first name that the class was stored under.
    pub class: String,
    /// Its id, with its name if that is known.
    pub id: ObjectId<()>,
}

/// A run of a timer that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedRun {
    /// When it had failed.
    pub time: SystemTime,
    /// How many runs in a row had failed by then, of the 7 that there are.
    pub runs: u32,
    /// What it failed with; of a long text the first 1,024 bytes.
    pub reason: String,
}

/// # Timers
///
/// A timer is a call that the runtime makes later, once or again and again, whether or not the object is in memory. There may be as
/// many as one likes, each under a key. They are a part of the object's storage: set and deleted with the turn, undone with it,
/// kept over restarts, gone after [`delete_all`](Context::delete_all).
///
/// ```
/// use std::time::Duration;
/// use durable_runtime::{Call, Context, Cron, CronIn, DurableObject, Every, Result};
///
/// /// `remind(ctx, ctx.this().send_reminder(7))`
/// fn remind<T: DurableObject>(ctx: &Context, call: Call<T, (), durable_runtime::Error>) -> Result<()> {
///     ctx.schedule("reminder", ctx.now() + Duration::from_hours(24), call)
/// }
///
/// fn clean_up<T: DurableObject>(ctx: &Context, call: Call<T, ()>) -> Result<()> {
///     ctx.schedule("clean up", Every(Duration::from_mins(10)), call)
/// }
///
/// fn report<T: DurableObject>(ctx: &Context, call: Call<T, u64>) -> Result<()> {
///     ctx.schedule("report", CronIn("0 9 * * MON-FRI", "Europe/Berlin"), call)
/// }
///
/// fn next_report(ctx: &Context) -> Result<Option<std::time::SystemTime>> {
///     let schedules = ctx.schedules()?;
///     let report = schedules.into_iter().find(|schedule| schedule.key == "report");
///     Ok(report.and_then(|report| report.next_run))
/// }
/// ```
///
/// A run is one turn, in which the timer is deleted or moved to its next time: its effect happens once. So the method may set or delete
/// its own key, and that counts; and since turns of an object do not overlap, neither do runs. What was missed while the
/// program was down, or a run took long, is one run, at once; then the rhythm goes on as before.
///
/// A run that fails (`Err`, a panic, [`abort`](Context::abort), a method or arguments that the program does not know any more) is tried again
/// after 2, 4, 8, 16, 32 and 64 seconds, up to a quarter longer each, but no later than its next period, which it stands in for then.
/// After 7 runs a timer that runs once is given up, and stays in [`schedules`](Context::schedules); another one goes on with its next period.
impl Context {
    /// Sets the timer of this key: a call of a business method, which is not made now but then. Arguments are stored at once. The
    /// [timeout](Call::timeout) of the call does not count.
    ///
    /// A timer that has the key already is replaced. But the same [`Every`], [`Cron`] or [`CronIn`] keeps its next time, and so does the same
    /// [`At`](crate::At), whether its runs have failed or not; so a constructor may set its timers at each activation, which costs a read.
    /// [`After`](crate::After) counts anew each time. A time that has passed runs at once.
    ///
    /// A call of a method with `&self` may not write when it runs, as always. A call of another object becomes a message when the timer is
    /// due, as [`send`](Context::send) makes one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key that is empty or longer than 1,024 bytes, a cron expression that means nothing or never matches, an
    /// unknown time zone, a period of zero, a time before 1970 or too far away, and a call of another runtime;
    /// [`ErrorKind::Encoding`] for arguments that cannot be stored, [`ErrorKind::Limit`] for more than 8 MiB of them,
    /// [`ErrorKind::ReadOnly`] in a read-only method, and when storage fails.
    pub fn schedule<T, R, E>(
        &self,
        key: &str,
        when: impl Into<Recurrence>,
        call: Call<T, R, E>,
    ) -> Result<()>
    where
        T: DurableObject,
        R: Send + 'static,
        E: Send + 'static,
    {
        self.store().check_may_write()?;
        check_key(key)?;
        let call = call.into_message(self.node())?;
        let recurrence = when.into();
        let is_relative = recurrence.is_relative();
        let (rule, time) = recurrence.plan(self.now())?;
        let key = key.to_owned();
        let new = Timer { key, rule, time, due: Some(time), failed: 0, call, failed_run: None };
        let set = if is_relative { None } else { self.store().timer(&new.key)? };
        match renew(set, new) {
            Some(timer) => self.store().put_timer(&timer),
            None => Ok(()),
        }
    }

    /// Deletes the timer of this key, and what is left of its runs. Gives whether there was one; one that runs at this moment
    /// and does so once is not there any more.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`] in a read-only method, and when storage fails.
    pub fn unschedule(&self, key: &str) -> Result<bool> {
        self.store().delete_timer(key)
    }

    /// All timers, the next one first, and those that were given up last.
    ///
    /// # Errors
    /// When storage fails.
    pub fn schedules(&self) -> Result<Vec<Schedule>> {
        let own_key = self.store().key();
        let timers = self.store().timers()?.into_iter();
        Ok(timers.map(|timer| describe(timer, &own_key)).collect())
    }
}

fn check_key(key: &str) -> Result<()> {
    if (1..=TIMER_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let text = format!(
        "the key of a timer has 1 to {TIMER_KEY_BYTES_MAX} bytes, and this one has {}: keep what is long in an argument of the call",
        key.len()
    );
    Err(Error::new(ErrorKind::Invalid, text))
}

/// What is to be written to set a timer, if anything, where another one may have its key.
fn renew(set: Option<Timer>, new: Timer) -> Option<Timer> {
    let same_rhythm =
        |set: &Timer| set.rule == new.rule && (set.rule != Rule::Once || set.time == new.time);
    match set.filter(same_rhythm) {
        Some(set)
            if set.call.is_same(&new.call) && (set.due.is_some() || set.rule == Rule::Once) =>
        {
            None
        }
        Some(set) if set.due.is_some() => Some(Timer { call: new.call, ..set }),
        // What was given up was another call, or could not be understood.
        _ => Some(new),
    }
}

fn describe(timer: Timer, own_key: &ObjectKey) -> Schedule {
    let Timer { key, rule, due, call, failed_run, .. } = timer;
    let receiver = (call.receiver != *own_key).then(|| Receiver {
        class: (*call.receiver.class).to_owned(),
        id: ObjectId::new(call.receiver.id, call.name),
    });
    Schedule {
        key,
        method: (*call.method).to_owned(),
        receiver,
        recurrence: rule.to_string(),
        next_run: due.map(time_of),
        last_failure: failed_run,
        is_given_up: due.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RawId;
    use crate::message::Message;

    fn timer(rule: Rule, time: i64, method: &str) -> Timer {
        let id = RawId::from_name("Room", None, "lobby");
        let receiver = ObjectKey { class: "Room".into(), id };
        let call = Message { receiver, name: None, method: method.into(), arguments: vec![2] };
        let (key, due) = ("key".into(), Some(time));
        Timer { key, rule, time, due, failed: 0, call, failed_run: None }
    }

    #[test]
    fn the_same_timer_is_not_written_again_whatever_became_of_it() {
        for rule in [Rule::Once, Rule::Every(5)] {
            let time = if rule == Rule::Once { 10 } else { 25 };
            let mut new = timer(rule.clone(), 10, "greet");
            new.call.name = Some("lobby".into());
            let set = Timer { due: Some(30), failed: 3, ..timer(rule, time, "greet") };
            assert_eq!(renew(Some(set), new), None);
        }
        let given_up = Timer { due: None, failed: 7, ..timer(Rule::Once, 10, "greet") };
        assert_eq!(renew(Some(given_up), timer(Rule::Once, 10, "greet")), None);
    }

    #[test]
    fn the_same_rhythm_keeps_its_time_and_takes_the_call() {
        let set = Timer { due: Some(30), failed: 3, ..timer(Rule::Every(5), 25, "greet") };
        let new = timer(Rule::Every(5), 10, "part");
        let written = renew(Some(set.clone()), new.clone()).unwrap();
        assert_eq!(written, Timer { call: new.call, ..set });
    }

    #[test]
    fn all_else_begins_anew() {
        let given_up = |rule| Timer { due: None, failed: 7, ..timer(rule, 10, "greet") };
        for (set, new) in [
            (timer(Rule::Once, 11, "greet"), timer(Rule::Once, 10, "greet")),
            (timer(Rule::Every(5), 10, "greet"), timer(Rule::Every(6), 10, "greet")),
            (timer(Rule::Once, 10, "greet"), timer(Rule::Every(5), 10, "greet")),
            (given_up(Rule::Once), timer(Rule::Once, 10, "part")),
            (given_up(Rule::Every(5)), timer(Rule::Every(5), 10, "greet")),
        ] {
            assert_eq!(renew(Some(set), new.clone()), Some(new));
        }
        let new = timer(Rule::Once, 10, "greet");
        assert_eq!(renew(None, new.clone()), Some(new));
    }
}
