//! Running the alarm of one object.
//!
//! Guarantees:
//! - A sync handler runs as one turn that also clears the alarm: its effect happens once. An async one runs until it
//!   has succeeded, since its alarm is cleared only then: its effect happens at least once.
//! - What runs is what the object itself says is due, at that moment: an alarm that was moved or deleted does not run.
//! - A run that failed is counted and tried again, unless the alarm was set anew or deleted meanwhile: then that counts.
//!   After the last run the alarm is given up, and kept as [`FailedAlarm`](crate::FailedAlarm).
//! - What is not the handler's fault (an object that cannot be activated, a disk that failed, a shutdown) is no failed run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Span;

use crate::activity::{self, waiting};
use crate::call::{CallError, Failure};
use crate::engine::Receipt;
use crate::gate::Unconfirmed;
use crate::handlers::AlarmInfo;
use crate::instance::chain::{self, Link};
use crate::instance::events::event;
use crate::instance::failure::{reason_of, spread};
use crate::instance::session::{Session, SessionPin};
use crate::instance::tasks::{Ended, attend};
use crate::instance::turn::{ClosureCall, Turned, dispose};
use crate::instance::{Job, Live, Object};
use crate::object::Handler;
use crate::observe::turns;
use crate::rpc::{Access, MethodInfo};
use crate::storage::alarm::{Alarm, time_of};
use crate::storage::{Store, millis};
use crate::time::retry;
use crate::{BoxFuture, Context, DurableObject, Error, Handle, Result};

const INFO: MethodInfo = MethodInfo { name: "alarm", access: Access::Write };

/// An async handler that is to run.
struct Run {
    alarm: Alarm,
    handler: BoxFuture<Result<()>>,
    unconfirmed: Arc<Unconfirmed>,
    /// Says when the alarm itself is durable: nothing may be done for one that could be lost.
    receipt: Receipt,
    session: Arc<Session>,
    pin: SessionPin,
}

impl<T: DurableObject> Live<T> {
    /// Runs an alarm that is due, or begins to.
    pub(super) fn begin_alarm(&mut self, alarm: Alarm) -> Result<(), Failure> {
        self.ctx.object().meters().alarm_runs.increment(1);
        let info = AlarmInfo {
            retry_count: alarm.failed,
            is_retry: alarm.failed > 0,
            scheduled_time: time_of(alarm.time),
        };
        match T::HANDLERS.alarm {
            Some(Handler::Sync(handler)) => self.run_alarm(alarm, handler, info),
            Some(Handler::Async(handler)) => self.start_alarm(alarm, handler, info),
            None => Ok(()),
        }
    }

    /// A whole run, as one turn; if it fails, another one counts that.
    fn run_alarm(
        &mut self,
        alarm: Alarm,
        handler: fn(&mut T, &Context<T>, (AlarmInfo,)) -> Result<()>,
        info: AlarmInfo,
    ) -> Result<(), Failure> {
        let closure = move |object: &mut T, ctx: &Context<T>| {
            ctx.store().delete_alarm()?;
            ctx.store().disregard_writes();
            handler(object, ctx, (info,))?;
            ctx.store().forget_failed_alarm()
        };
        let ran: Turned<(), Error> = self.run(Box::new(ClosureCall { info: INFO, closure }));
        match ran.outcome {
            Ok(()) => Ok(()),
            Err(error) => {
                let reason = reason_of(error)?;
                self.end_alarm(alarm, Some(&reason))
            }
        }
    }

    /// Marks the alarm as running, and makes the handler.
    fn start_alarm(
        &mut self,
        alarm: Alarm,
        handler: fn(Handle<T>, (AlarmInfo,)) -> BoxFuture<Result<()>>,
        info: AlarmInfo,
    ) -> Result<(), Failure> {
        let running = Alarm { is_running: true, ..alarm };
        let unconfirmed = Arc::<Unconfirmed>::default();
        let remembered = Arc::clone(&unconfirmed);
        let closure = move |_: &mut T, ctx: &Context<T>| {
            ctx.store().put_alarm(running)?;
            let handler = handler(ctx.handle().remembering(&remembered), (info,));
            Ok(turns::handler(ctx.identity(), INFO.name, &Span::none(), handler))
        };
        let Turned { outcome, receipt } = self.run(Box::new(ClosureCall { info: INFO, closure }));
        match outcome {
            Ok(handler) => {
                let session = Arc::clone(&self.session);
                let (pin, duty) = (session.pin(), Duty::begin(Arc::clone(self.ctx.object())));
                let run = Run { alarm: running, handler, unconfirmed, receipt, session, pin };
                self.ctx.node().spawn(run.attend(duty));
                Ok(())
            }
            Err(error) => {
                let reason = reason_of(error)?;
                // The mark is undone: what is set is as it was found, after a crash marked as running.
                self.end_alarm(alarm, Some(&reason))
            }
        }
    }

    /// Notes the end of a run, and tells the log how one has failed.
    fn end_alarm(&mut self, ran: Alarm, reason: Option<&str>) -> Result<(), Failure> {
        let next = self.own_turn(|ctx| match reason {
            None => note_success(ctx.store(), ran),
            Some(reason) => note_failure(ctx, ran, reason),
        })?;
        let (identity, runs) = (self.ctx.identity(), ran.failed + 1);
        match next {
            Next::Nothing => {}
            Next::Replaced => {
                event!(warn, identity, reason, runs, "an alarm failed, and was replaced meanwhile");
            }
            Next::Retry(wait) => {
                self.ctx.object().meters().alarm_retries.increment(1);
                event!(warn, identity, reason, runs, ?wait, "an alarm failed");
            }
            Next::GivenUp => {
                self.ctx.object().meters().alarms_given_up.increment(1);
                event!(error, identity, reason, runs, "an alarm was given up");
            }
        }
        Ok(())
    }
}

/// What follows a run.
enum Next {
    Nothing,
    /// What was set meanwhile, if anything.
    Replaced,
    Retry(Duration),
    GivenUp,
}

/// Clears the alarm that has run, if it is still the one that is set.
fn note_success(store: &Store, ran: Alarm) -> Result<Next> {
    if store.alarm()? == Some(ran) {
        store.delete_alarm()?;
    }
    store.forget_failed_alarm()?;
    Ok(Next::Nothing)
}

/// Counts a run that failed, if its alarm is still the one that is set.
fn note_failure<T: DurableObject>(ctx: &Context<T>, ran: Alarm, reason: &str) -> Result<Next> {
    let (store, now, failed) = (ctx.store(), millis(ctx.now()), ran.failed + 1);
    if store.alarm()? != Some(ran) {
        return Ok(Next::Replaced);
    }
    let Some(wait) = retry::wait(failed, spread(ctx.identity(), "", failed)) else {
        store.give_up_alarm(Alarm { failed, ..ran }, now, reason)?;
        return Ok(Next::GivenUp);
    };
    let due = now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    store.put_alarm(Alarm { due, failed, is_running: false, ..ran })?;
    Ok(Next::Retry(wait))
}

/// An alarm handler is at work, until this is dropped.
struct Duty<T: DurableObject>(Arc<Object<T>>);

impl<T: DurableObject> Duty<T> {
    fn begin(object: Arc<Object<T>>) -> Self {
        object.duties.lock().runs_alarm = true;
        Duty(object)
    }
}

impl<T: DurableObject> Drop for Duty<T> {
    fn drop(&mut self) {
        self.0.duties.lock().runs_alarm = false;
    }
}

impl Run {
    /// Runs the handler, from its start to the note about its end.
    async fn attend<T: DurableObject>(self, duty: Duty<T>) {
        let object = Arc::clone(&duty.0);
        activity::describe(|| format!("`alarm` of {}", object.label()));
        if let Err(failure) = self.run(duty).await {
            object.node().could_not_wake(&object.identity().key(), failure);
        }
    }

    async fn run<T: DurableObject>(mut self, duty: Duty<T>) -> Result<(), Failure> {
        if let Err(error) = self.receipt.wait().await {
            dispose(self.handler);
            return Err(CallError::StorageFailed(error));
        }
        let object = Arc::clone(&duty.0);
        let node = object.node();
        let limit = node.settings.alarm_limit;
        let link = || Link::new(&object, None, Arc::clone(&self.unconfirmed));
        let attended = attend(&mut self.handler, &self.session, node, limit);
        let ended = chain::scope(link(), attended).await;
        dispose(self.handler);
        let reason = match ended {
            Ended::Done(Ok(())) => None,
            Ended::Done(Err(error)) => Some(error.to_string()),
            Ended::Panicked(message) => Some(format!("it panicked: {message}")),
            Ended::OverLimit => Some(format!("it ran for longer than {limit:?}")),
            Ended::Reset(_) if node.cut.reason().is_some() => return Err(CallError::ShutDown),
            Ended::Reset(reason) => Some(format!("the object was reset: {reason}")),
            Ended::ShutDown => return Err(CallError::ShutDown),
        };
        // As a part of the handler, which a shutdown waits for.
        let noted = chain::scope(link(), note_end(duty, self.alarm, reason)).await;
        drop(self.pin);
        object.outlived();
        noted
    }
}

/// Has its turn to note how a run has ended.
async fn note_end<T: DurableObject>(
    duty: Duty<T>,
    alarm: Alarm,
    reason: Option<String>,
) -> Result<(), Failure> {
    let object = Arc::clone(&duty.0);
    let (sender, noted) = oneshot::channel();
    let end = Box::new(End { duty, alarm, reason, sender });
    object.submit_patiently(end).await?;
    waiting(noted).await.unwrap_or(Err(CallError::ShutDown))
}

/// Notes the end of an async run.
struct End<T: DurableObject> {
    duty: Duty<T>,
    alarm: Alarm,
    reason: Option<String>,
    sender: oneshot::Sender<Result<(), Failure>>,
}

impl<T: DurableObject> Job<T> for End<T> {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        drop(self.duty);
        let noted = live.end_alarm(self.alarm, self.reason.as_deref());
        let _ = self.sender.send(noted.and_then(|()| live.correct_wake()));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }
}
