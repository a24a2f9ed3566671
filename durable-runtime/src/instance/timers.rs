//! Running the timers of one object.
//!
//! Guarantees:
//! - A run is one turn, which also moves the timer to its next time, or deletes it: its effect happens once, and what the
//!   method says about its own timer comes later and counts.
//! - What runs is what the object itself says is due, at that moment.
//! - A run that failed is counted and tried again. After the last one a timer that runs once is kept as given up; another one goes
//!   on with its next period.
//! - What is not the fault of the object's code (a disk that failed, a shutdown) is no failed run.

use std::time::Duration;

use crate::call::Failure;
use crate::instance::Live;
use crate::instance::events::event;
use crate::instance::failure::{reason_of, spread};
use crate::instance::turn::{ClosureCall, Turned};
use crate::message::Message;
use crate::rpc::{Access, MethodInfo, WireReply};
use crate::schedule::FailedRun;
use crate::storage::millis;
use crate::storage::timers::Timer;
use crate::time::recurrence::{Verdict, after_failure};
use crate::wire::Decoder;
use crate::{Context, DurableObject, Error, ErrorKind, Result};

impl<T: DurableObject> Live<T> {
    /// Runs the first timer that is due at this time.
    pub(super) fn run_timer(&mut self, now: i64) -> Result<(), Failure> {
        let first = self.own_turn(|ctx| ctx.store().first_timer())?;
        let Some(timer) = first.filter(|timer| timer.due.is_some_and(|due| due <= now)) else {
            return Ok(());
        };
        self.ctx.object().meters().timer_runs.increment(1);
        let method = T::METHODS.iter().find(|method| *method.info.name == *timer.call.method);
        let method = method.map(|method| method.info);
        let access = method.map_or(Access::Write, |method| method.access);
        // Whatever the method may do, the turn writes.
        let name = method.map_or("timer", |method| method.name);
        let info = MethodInfo { name, access: Access::Write };
        let (is_own, ran) = (timer.call.receiver == self.ctx.store().key(), timer.clone());
        let closure = move |object: &mut T, ctx: &Context<T>| {
            let call = ran.call.clone();
            pass(ctx, ran)?;
            ctx.store().disregard_writes();
            if is_own {
                ctx.store().with_access(access, || make(object, ctx, &call))
            } else {
                ctx.store().post(&call, millis(ctx.now()), None)
            }
        };
        let Turned { outcome, .. } = self.run(Box::new(ClosureCall { info, closure }));
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.fail_timer(&timer, &reason_of(error)?),
        }
    }

    /// Counts a run that failed, and tells the log.
    fn fail_timer(&mut self, ran: &Timer, reason: &str) -> Result<(), Failure> {
        let next = self.own_turn(|ctx| note_failure(ctx, ran, reason))?;
        let (identity, key, method) = (self.ctx.identity(), &*ran.key, &*ran.call.method);
        let (runs, meters) = (ran.failed + 1, self.ctx.object().meters());
        match next {
            Next::Replaced => {
                event!(
                    warn,
                    identity,
                    key,
                    method,
                    reason,
                    runs,
                    "a timer failed, and was replaced meanwhile"
                );
            }
            Next::Retry(wait) => {
                meters.timer_retries.increment(1);
                event!(warn, identity, key, method, reason, runs, ?wait, "a timer failed");
            }
            Next::GoOn(wait) => {
                meters.timers_given_up.increment(1);
                event!(
                    error,
                    identity,
                    key,
                    method,
                    reason,
                    runs,
                    ?wait,
                    "a run of a timer was given up, and it goes on with its next period"
                );
            }
            Next::GivenUp => {
                meters.timers_given_up.increment(1);
                event!(error, identity, key, method, reason, runs, "a timer was given up");
            }
        }
        Ok(())
    }
}

/// What follows a run that failed.
enum Next {
    /// What was set meanwhile, if anything.
    Replaced,
    Retry(Duration),
    GoOn(Duration),
    GivenUp,
}

/// Moves a timer that runs to its next time, or deletes it.
fn pass(ctx: &Context, timer: Timer) -> Result<()> {
    match timer.rule.next(timer.time, millis(ctx.now()))? {
        Some(next) => ctx.store().put_timer(&Timer { failed_run: None, ..timer.at(next) }),
        None => ctx.store().delete_timer(&timer.key).map(drop),
    }
}

/// Calls a method of the object itself.
fn make<T: DurableObject>(object: &mut T, ctx: &Context<T>, call: &Message) -> Result<()> {
    let dispatched = Decoder::new(&call.arguments)
        .and_then(|mut input| object.dispatch(ctx, &call.method, &mut input));
    match dispatched {
        Ok(WireReply::Ok(_)) => Ok(()),
        Ok(WireReply::Err { text, .. }) => Err(Error::other(text)),
        Err(error) => {
            let text = format!("`{}` cannot be called: {error}", call.method);
            Err(Error::new(ErrorKind::Incompatible, text))
        }
    }
}

/// Counts a run that failed, if its timer is still the one that is set.
fn note_failure<T: DurableObject>(ctx: &Context<T>, ran: &Timer, reason: &str) -> Result<Next> {
    let (store, now, runs) = (ctx.store(), millis(ctx.now()), ran.failed + 1);
    if store.timer(&ran.key)?.as_ref() != Some(ran) {
        return Ok(Next::Replaced);
    }
    // A rhythm that cannot be understood has no next time.
    let next = ran.rule.next(ran.time, now).unwrap_or_default();
    let wait = |until: i64| Duration::from_millis(until.saturating_sub(now).unsigned_abs());
    let random = spread(ctx.identity(), &ran.key, runs);
    let failed_run = Some(FailedRun { time: ctx.now(), runs, reason: reason.to_owned() });
    let ran = Timer { failed: runs, failed_run, ..ran.clone() };
    let (timer, next) = match after_failure(runs, now, next, random) {
        Verdict::Retry(due) => (Timer { due: Some(due), ..ran }, Next::Retry(wait(due))),
        Verdict::GoOn(next) => (ran.at(next), Next::GoOn(wait(next))),
        Verdict::GiveUp => (Timer { due: None, ..ran }, Next::GivenUp),
    };
    store.put_timer(&timer)?;
    Ok(next)
}
