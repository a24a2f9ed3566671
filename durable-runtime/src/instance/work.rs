//! What an object does by itself when its time has come, one step at a time.
//!
//! Guarantees:
//! - A step does the first thing that is due by the object's own word: what was moved or deleted meanwhile is not done. The
//!   dispatcher comes back for the next one, so that what is due in all objects happens in the order of its time.
//! - What takes long (an async handler, the delivery of messages) goes on by itself: meanwhile steps do the rest, and
//!   nothing is begun twice.
//! - What is not the fault of the object's code (one that cannot be activated, a disk that failed, a shutdown) is no failed run.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::activity::waiting;
use crate::call::{CallError, Failure};
use crate::engine::{NEVER, Work};
use crate::instance::events::event;
use crate::instance::pace::Pace;
use crate::instance::{Job, Live, Object};
use crate::storage::alarm::Alarm;
use crate::storage::millis;
use crate::{DurableObject, Result};

/// Receivers that one object serves at the same time. Others wait until one of them is done.
const DELIVERIES_MAX: usize = 256;

/// What became of a wake.
#[derive(Debug)]
pub(crate) enum Woken {
    /// A step was made, or there was nothing to do.
    Done,
    /// It could not be seen to, and is to be tried again.
    Failed(Failure),
    /// There is an alarm, and the class has no handler for it. All else is seen to.
    NoHandler,
    /// The program has no such class.
    NoClass,
}

/// What an object is busy with by itself, and how much it has done lately.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    /// Whether an async `alarm` handler runs.
    pub(crate) runs_alarm: bool,
    /// The receivers to whom messages are on their way.
    pub(crate) delivers_to: HashSet<i64>,
    pace: Pace,
}

/// Something that an object does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alarm(Alarm),
    Timer,
    Messages,
    Expiry,
}

/// Makes one step of an object.
pub(crate) async fn wake<T: DurableObject>(object: Arc<Object<T>>) -> Woken {
    let (sender, made) = oneshot::channel();
    match object.submit(None, || Box::new(Step { sender })) {
        Ok(_) => waiting(made).await.unwrap_or(Woken::Failed(CallError::ShutDown)),
        Err(failure) => Woken::Failed(failure),
    }
}

struct Step {
    sender: oneshot::Sender<Woken>,
}

impl<T: DurableObject> Job<T> for Step {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        let _ = self.sender.send(live.step().unwrap_or_else(Woken::Failed));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Woken::Failed(failure));
    }
}

impl<T: DurableObject> Live<T> {
    fn step(&mut self) -> Result<Woken, Failure> {
        let object = Arc::clone(self.ctx.object());
        let (runs_alarm, delivers_to) = {
            let duties = object.duties.lock();
            (duties.runs_alarm, duties.delivers_to.clone())
        };
        let (now, wake, mut kinds, has_handler) = self.own_turn(|ctx| {
            let (store, mut kinds, mut has_handler) = (ctx.store(), Vec::new(), true);
            let wake = store.wake()?;
            if store.may_have(Work::Alarm)
                && let Some(alarm) = store.alarm()?.filter(|_| !runs_alarm)
            {
                has_handler = T::HANDLERS.alarm.is_some();
                kinds.extend(has_handler.then_some((alarm.due, Kind::Alarm(alarm))));
            }
            if store.may_have(Work::Timers) {
                kinds.extend(store.next_timer()?.map(|due| (due, Kind::Timer)));
            }
            if store.may_have(Work::Messages) && delivers_to.len() < DELIVERIES_MAX {
                kinds.extend(store.next_delivery(&delivers_to)?.map(|due| (due, Kind::Messages)));
            }
            if store.may_have(Work::Expiry) {
                kinds.extend(store.lease()?.map(|lease| (lease.due, Kind::Expiry)));
            }
            Ok((millis(ctx.now()), wake, kinds, has_handler))
        })?;
        // The first of those that are due at the same time, in the order above.
        kinds.sort_by_key(|(due, _)| *due);
        let wakes_itself =
            |(due, kind): &(i64, Kind)| *due <= now && matches!(kind, Kind::Alarm(_) | Kind::Timer);
        let mut rest = None;
        if kinds.first().is_some_and(wakes_itself) {
            rest = self.rest(now);
        }
        if rest.is_some() {
            // What it has to say to others goes all the same.
            kinds.retain(|(_, kind)| *kind == Kind::Messages);
        }
        match kinds.first() {
            Some((due, kind)) if *due <= now => {
                match kind {
                    Kind::Alarm(alarm) => self.begin_alarm(*alarm)?,
                    Kind::Timer => self.run_timer(now)?,
                    Kind::Messages => self.send_out(now)?,
                    Kind::Expiry => self.expire(now, kinds.len() > 1 || !has_handler)?,
                }
                Ok(Woken::Done)
            }
            other => {
                let next = other.map(|(due, _)| *due).into_iter().chain(rest).min();
                if wake.time_ms.is_some_and(|time| time <= now) {
                    self.put_off(next.unwrap_or(NEVER));
                } else if let Some(engine) = object.node().engine() {
                    // The index knew another time than the object.
                    engine.correct_wake(&object.identity().key(), wake);
                }
                Ok(if has_handler { Woken::Done } else { Woken::NoHandler })
            }
        }
    }

    /// Counts a run of the alarm or a timer; until when there is none, if the object wakes itself all the time.
    fn rest(&self, now: i64) -> Option<i64> {
        let object = self.ctx.object();
        let pace = &object.node().settings.pace;
        let rest = object.duties.lock().pace.run(now, pace)?;
        if rest.is_news {
            let (runs, window) = (pace.runs_max, pace.window);
            event!(
                warn,
                object.identity(),
                runs,
                ?window,
                "an object wakes itself all the time, and is slowed down"
            );
        }
        Some(rest.until)
    }

    /// Tells the index what the object waits for, after what it was put off for is done.
    pub(super) fn correct_wake(&mut self) -> Result<(), Failure> {
        let wake = self.own_turn(|ctx| ctx.store().wake())?;
        if let Some(engine) = self.ctx.node().engine() {
            engine.correct_wake(&self.ctx.identity().key(), wake);
        }
        Ok(())
    }

    /// What is due is being done: there is nothing to come back for before this time.
    fn put_off(&self, not_before: i64) {
        if let Some(engine) = self.ctx.node().engine() {
            engine.put_off(&self.ctx.identity().key(), not_before);
        }
    }
}
