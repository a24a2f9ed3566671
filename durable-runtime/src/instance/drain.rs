//! The drain task: activates a cold object and runs the jobs that have gathered, in order, until none waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::activity::{self, Activity, Work};
use crate::call::{CallError, Failure};
use crate::instance::events::{event, note};
use crate::instance::mailbox::Next;
use crate::instance::{Live, Object};
use crate::{Context, DurableObject};

/// Turns that a drain task runs before it lets other tasks on its thread go first.
const TURNS_BEFORE_YIELD: usize = 32;

/// Whoever uses the instance. Dropped before its work is done (a panic, or the executor is gone), it
/// resets the object, which tells all who wait, and gives the seat back.
pub(crate) struct Holder<T: DurableObject> {
    object: Arc<Object<T>>,
    live: Option<Box<Live<T>>>,
    done: bool,
    _work: Option<Work>,
}

impl<T: DurableObject> Holder<T> {
    pub(crate) fn new(object: Arc<Object<T>>, live: Option<Box<Live<T>>>) -> Self {
        let work = object.node.settings.harness.activity.as_ref().map(Activity::begin);
        Holder { object, live, done: false, _work: work }
    }

    /// Takes the instance away from a runtime that gives every turn a fresh one, unless something still needs it.
    fn outlive(&mut self) {
        let Some(live) = self.live.as_mut() else { return };
        if self.object.is_outlived.swap(false, Ordering::Acquire) && !self.object.is_pinned() {
            live.refresh();
        }
    }

    /// Runs inline, on the caller's task.
    pub(crate) fn run<R>(mut self, work: impl FnOnce(&mut Live<T>) -> R) -> Option<R> {
        let value = work(self.live.as_mut()?);
        let live = self.live.take()?;
        self.done = true;
        self.object.finish(live);
        Some(value)
    }
}

impl<T: DurableObject> Drop for Holder<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Some(live) = self.live.take() {
            live.dismiss();
        }
        self.object.set_resident(false);
        loop {
            self.object.reset(&Arc::from("its work was given up"));
            if !self.object.mailbox.lock().vacate() {
                return;
            }
        }
    }
}

/// Tells whoever waits for a job that it will not be done. Dropping it is user code.
pub(super) fn fail_job<T: DurableObject>(job: Box<dyn super::Job<T>>, failure: Failure) {
    if let Err(message) = super::turn::guarded(|| job.fail(failure)) {
        note!(error, reason = message, "dropping a call panicked");
    }
}

pub(super) async fn drain<T: DurableObject>(mut holder: Holder<T>) {
    activity::describe(|| format!("a turn of {}", holder.object.label()));
    if holder.live.is_none() {
        holder.live = activate_or_fail_all(&holder.object);
    }
    let mut failure = None;
    loop {
        for _ in 0..TURNS_BEFORE_YIELD {
            holder.outlive();
            let Some(live) = holder.live.take() else {
                holder.done = true;
                return;
            };
            // The guard must be gone before the job runs: a job may submit another one.
            let next = match failure {
                None => {
                    let mut mailbox = holder.object.mailbox.lock();
                    let is_visit = mailbox.front().is_some_and(|job| job.needs_no_instance());
                    mailbox.next(live, |live| is_visit || live.is_ready())
                }
                Some(_) => holder.object.mailbox.lock().give_out(live),
            };
            match next {
                Next::Run(job, held) => {
                    let live = holder.live.insert(held);
                    match failure.take() {
                        None => job.run(live),
                        Some(_) if job.needs_no_instance() => job.run(live),
                        Some(failure) => fail_job(job, failure),
                    }
                }
                // Not by the job itself: the constructor may close the gate, which the job then has to wait for.
                Next::Prepare(held) => failure = holder.live.insert(held).make_ready().err(),
                Next::Rest => {
                    holder.done = true;
                    return holder.object.rested();
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Activates the object, or tells all who wait why not. More may arrive while it fails: those are
/// tried again, since what failed may have been repaired.
fn activate_or_fail_all<T: DurableObject>(object: &Arc<Object<T>>) -> Option<Box<Live<T>>> {
    loop {
        if !run_cold(object) {
            return None;
        }
        let failure = match activate(object) {
            Ok(live) => return Some(live),
            Err(failure) => failure,
        };
        let jobs = object.mailbox.lock().give_up();
        for job in jobs {
            match unready(object).filter(|_| job.needs_no_instance()) {
                Some(mut live) => job.run(&mut live),
                None => fail_job(job, failure.clone()),
            }
        }
        if !object.mailbox.lock().vacate() {
            return None;
        }
    }
}

/// Runs the jobs that come first and need no instance. `false` if nothing waits behind them: the object is cold again.
fn run_cold<T: DurableObject>(object: &Arc<Object<T>>) -> bool {
    loop {
        let job = {
            let mut mailbox = object.mailbox.lock();
            match mailbox.front() {
                Some(job) if job.needs_no_instance() => mailbox.take_front(),
                _ => return true,
            }
        };
        match (job, unready(object)) {
            (Some(job), Some(mut live)) => job.run(&mut live),
            (Some(job), None) => fail_job(job, CallError::ShutDown),
            (None, _) => {}
        }
        if !object.mailbox.lock().vacate() {
            return false;
        }
    }
}

fn activate<T: DurableObject>(object: &Arc<Object<T>>) -> Result<Box<Live<T>>, Failure> {
    let mut live = unready(object).ok_or(CallError::ShutDown)?;
    live.make_ready()?;
    live.weigh();
    object.meters().activations.increment(1);
    event!(debug, object.identity, "an object was activated");
    object.node.admit(object.clone());
    Ok(live)
}

/// A place for an instance; none if the runtime is gone.
fn unready<T: DurableObject>(object: &Arc<Object<T>>) -> Option<Box<Live<T>>> {
    let ctx = Context::new(object.clone(), object.node.engine()?);
    let (weight, session) = (object.node.residents.weight(), object.session());
    let resident = object.meters().resident();
    Some(Box::new(Live { instance: None, weight, session, ctx, _resident: resident }))
}
