//! One object in memory: its queue, its live instance, and how it comes and goes.
//!
//! Guarantees:
//! - One [`Object`] per id in a process, for as long as anybody holds it or it has an instance.
//! - At most one [`Live`] instance per object. A cold object is activated on a drain task, never by
//!   a caller; an instance that was dropped because its turn was undone is made anew by whoever runs next.
//! - A closed database before the next one is opened: eviction gives its seat back only after
//!   the instance is gone.

pub(crate) mod drain;
pub(crate) mod mailbox;
pub(crate) mod registry;
pub(crate) mod turn;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::call::{CallError, Failure};
use crate::id::Identity;
use crate::node::Node;
use crate::{Context, DurableObject};

use mailbox::{Closing, Mailbox, Submitted, Ticket};
use registry::{Class, Weight};

/// How often a caller looks again while another one runs and nobody waits. Most turns are over
/// within that time, and queueing costs more.
const CLAIM_ATTEMPTS: usize = 32;

/// A piece of work in an object's queue.
pub(crate) trait Job<T: DurableObject>: Send {
    /// Does it, as whatever turns it needs.
    fn run(self: Box<Self>, live: &mut Live<T>);
    /// Tells whoever waits that it will not be done.
    fn fail(self: Box<Self>, failure: Failure);
}

type JobMailbox<T> = Mailbox<Box<dyn Job<T>>, Box<Live<T>>>;

/// An object as its stubs, handles and the registry share it.
pub(crate) struct Object<T: DurableObject> {
    mailbox: Mutex<JobMailbox<T>>,
    identity: Arc<Identity>,
    class: Arc<Class<T>>,
    node: Arc<Node>,
    /// Whether it was used since eviction last looked.
    used: AtomicBool,
    /// Whether it is in the ring of [`registry::Residents`].
    listed: AtomicBool,
}

/// The instance and all that only a turn may touch.
pub(crate) struct Live<T: DurableObject> {
    /// None before the constructor has run, and after writes were undone.
    instance: Option<T>,
    /// Of its database, as it was after the last turn.
    weight: Weight,
    ctx: Context<T>,
}

/// The answer to a caller who would like to run at once.
pub(crate) enum Claim<T: DurableObject> {
    /// The object is free: run, then [`Object::finish`].
    Run(Box<Live<T>>),
    /// Others are first: [`Object::submit`].
    Wait,
    Refused(Failure),
}

impl<T: DurableObject> Object<T> {
    pub(crate) fn new(identity: Arc<Identity>, class: Arc<Class<T>>, node: Arc<Node>) -> Self {
        let mailbox = Mutex::new(Mailbox::new(node.settings.queue_max));
        Object {
            mailbox,
            identity,
            class,
            node,
            used: AtomicBool::new(true),
            listed: AtomicBool::new(false),
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Takes the instance if nobody else uses it or waits for it.
    pub(crate) fn claim(&self) -> Claim<T> {
        if self.is_shut() {
            return Claim::Refused(CallError::ShutDown);
        }
        // Written only if it changes: all callers share the line that it stands in.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        for _ in 0..CLAIM_ATTEMPTS {
            let mut mailbox = self.mailbox.lock();
            if let Some(live) = mailbox.claim() {
                return Claim::Run(live);
            }
            if !mailbox.is_about_to_rest() {
                return Claim::Wait;
            }
            drop(mailbox);
            std::hint::spin_loop();
        }
        Claim::Wait
    }

    /// Gives the instance back after an inline run.
    pub(crate) fn finish(self: &Arc<Self>, live: Box<Live<T>>) {
        let handed_over = self.mailbox.lock().finish(live);
        match handed_over {
            Some(live) => self.start_draining(Some(live)),
            None => self.rested(),
        }
    }

    /// Puts a job into the queue and sees to it that somebody will run it.
    pub(crate) fn submit(
        self: &Arc<Self>,
        job: impl FnOnce() -> Box<dyn Job<T>>,
    ) -> Result<Ticket, Failure> {
        if self.is_shut() {
            return Err(CallError::ShutDown);
        }
        let mut job = Some(job);
        let submitted = self.mailbox.lock().submit(&mut || job.take().map(|make| make()));
        match submitted {
            Submitted::Queued(ticket) => Ok(ticket),
            Submitted::Drain(ticket, live) => {
                self.start_draining(live);
                Ok(ticket)
            }
            Submitted::Overloaded { queued } => Err(CallError::Overloaded { queued }),
            Submitted::Closed => Err(CallError::ShutDown),
        }
    }

    /// Takes a job back. `true` if it had not begun, and now never will.
    pub(crate) fn cancel(&self, ticket: Ticket) -> bool {
        let job = self.mailbox.lock().cancel(ticket);
        job.is_some()
    }

    /// New work is refused while the runtime shuts down, but not that of handlers which it waits for.
    fn is_shut(&self) -> bool {
        self.node.is_closing() && !self.node.is_in_a_handler()
    }

    /// Drops the instance if nobody uses it. `false` if somebody does.
    ///
    /// The seat is given back only after the database is closed, so that it is never open twice.
    pub(crate) fn evict(self: &Arc<Self>) -> bool {
        let (live, is_cold) = {
            let mut mailbox = self.mailbox.lock();
            (mailbox.take_idle(), mailbox.is_cold())
        };
        let Some(live) = live else { return is_cold };
        live.dismiss();
        if self.mailbox.lock().vacate() {
            self.start_draining(None);
        }
        true
    }

    /// After the instance was put back: a runtime that is gone by now has nobody else to drop it.
    fn rested(self: &Arc<Self>) {
        if self.node.is_abandoned() {
            self.evict();
        }
    }

    /// Whether somebody runs in the object or waits for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.mailbox.lock().is_busy()
    }

    /// Ends the object for good, unless somebody runs in it.
    pub(crate) fn close(&self) -> bool {
        let closing = self.mailbox.lock().close();
        match closing {
            Closing::Closed(live) => {
                if let Some(live) = live {
                    live.dismiss();
                }
                true
            }
            Closing::Busy => false,
        }
    }

    fn start_draining(self: &Arc<Self>, live: Option<Box<Live<T>>>) {
        self.node.spawn(drain::drain(drain::Holder::new(self.clone(), live)));
    }
}

impl<T: DurableObject> Live<T> {
    /// Takes note of how much memory its database takes now.
    fn weigh(&mut self) {
        self.weight.set(self.ctx.store().memory_bytes());
    }

    /// Drops the instance, then closes its database.
    fn dismiss(mut self) {
        turn::dispose(self.instance.take());
    }
}

impl<T: DurableObject> Drop for Object<T> {
    fn drop(&mut self) {
        self.class.forget(self.identity.id);
    }
}

impl<T: DurableObject> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.identity)
    }
}
