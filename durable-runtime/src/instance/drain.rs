//! The drain task: activates a cold object and runs the jobs that have gathered, in order, until none waits.

use std::sync::Arc;

use crate::call::{CallError, Failure};
use crate::instance::mailbox::Next;
use crate::instance::{Live, Object};
use crate::{Context, DurableObject};

/// Turns that a drain task runs before it lets other tasks on its thread go first.
const TURNS_BEFORE_YIELD: usize = 32;

pub(super) async fn drain<T: DurableObject>(object: Arc<Object<T>>, live: Option<Box<Live<T>>>) {
    let Some(mut live) = live.or_else(|| activate_or_fail_all(&object)) else { return };
    loop {
        for _ in 0..TURNS_BEFORE_YIELD {
            // The guard must be gone before the job runs: a job may submit another one.
            let next = object.mailbox.lock().next(live);
            match next {
                Next::Run(job, held) => {
                    live = held;
                    job.run(&mut live);
                }
                Next::Rest => return object.rested(),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Activates the object, or tells all who wait why not. More may arrive while it fails: those are
/// tried again, since what failed may have been repaired.
fn activate_or_fail_all<T: DurableObject>(object: &Arc<Object<T>>) -> Option<Box<Live<T>>> {
    loop {
        let failure = match activate(object) {
            Ok(live) => return Some(live),
            Err(failure) => failure,
        };
        tracing::error!(object = %object.identity, %failure, "an object could not be activated");
        let jobs = object.mailbox.lock().abandon();
        for job in jobs {
            job.fail(failure.clone());
        }
        if !object.mailbox.lock().vacate() {
            return None;
        }
    }
}

fn activate<T: DurableObject>(object: &Arc<Object<T>>) -> Result<Box<Live<T>>, Failure> {
    let engine = object.node.engine().ok_or(CallError::ShutDown)?;
    let ctx = Context::new(object.clone(), engine);
    let mut live = Box::new(Live { instance: None, activated: false, ctx });
    live.make_ready()?;
    object.node.residents.admit(object.clone());
    Ok(live)
}
