//! One object in memory: its queue, its live instance, and how it comes and goes.
//!
//! Guarantees:
//! - One [`Object`] per id in a process, for as long as anybody holds it or it has an instance.
//! - At most one [`Live`] instance per object. A cold object is activated on a drain task, never by
//!   a caller; an instance that was dropped because its turn was undone is made anew by whoever runs next.
//! - A closed database before the next one is opened: eviction gives its seat back only after
//!   the instance is gone.
//! - After a reset nothing of before goes on: no turn commits, no handler is polled, nobody waits, and
//!   no socket stays connected.

pub(crate) mod adopt;
pub(crate) mod alarm;
pub(crate) mod chain;
pub(crate) mod delete;
pub(crate) mod drain;
mod expiry;
mod failure;
pub(crate) mod gate;
pub(crate) mod idle;
pub(crate) mod mailbox;
#[cfg(feature = "admin")]
pub(crate) mod operate;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod pace;
mod ready;
pub(crate) mod registry;
mod restore;
pub(crate) mod session;
pub(crate) mod tasks;
pub(crate) mod timers;
pub(crate) mod turn;
pub(crate) mod visit;
pub(crate) mod watch;
pub(crate) mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::call::{CallError, Failure};
use crate::id::Identity;
use crate::node::Node;
pub(crate) use crate::observe::events;
use crate::observe::meters::{ClassMeters, ResidentMeter};
use crate::socket::Sockets;
use crate::storage::alarm::time_of;
use crate::storage::{Store, millis};
use crate::{Context, DurableObject};

use events::event;
use mailbox::{Closing, GateId, Mailbox, Submitted, Ticket};
use registry::{Class, Weight};
use session::Session;
use work::Duties;

/// How often a caller looks again while another one runs and nobody waits. Most turns are over
/// within that time, and queueing costs more.
const CLAIM_ATTEMPTS: usize = 32;

/// How long the end of something that was begun waits for a place in a queue that is full.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// A piece of work in an object's queue.
pub(crate) trait Job<T: DurableObject>: Send {
    /// Does it, as whatever turns it needs.
    fn run(self: Box<Self>, live: &mut Live<T>);
    /// Tells whoever waits that it will not be done.
    fn fail(self: Box<Self>, failure: Failure);
    /// Whether it runs without an instance, and so also in an object that cannot be made ready: one that is not in memory
    /// stays so.
    fn needs_no_instance(&self) -> bool {
        false
    }
}

type JobMailbox<T> = Mailbox<Box<dyn Job<T>>, Box<Live<T>>>;

/// An object as its stubs, handles and the registry share it.
pub(crate) struct Object<T: DurableObject> {
    mailbox: Mutex<JobMailbox<T>>,
    /// Changed only under the lock of the mailbox.
    session: Mutex<Arc<Session>>,
    /// Calls that wait for their turn or at the output gate.
    unanswered: AtomicUsize,
    identity: Arc<Identity>,
    class: Arc<Class<T>>,
    node: Arc<Node>,
    /// Whether it was used since eviction last looked.
    used: AtomicBool,
    /// When that was found so, in milliseconds since 1970; 0 before it was ever in memory.
    last_use_ms: AtomicI64,
    /// Whether the next turn needs a fresh instance, unless something pins the one that is there.
    is_outlived: AtomicBool,
    /// What it does by itself.
    pub(crate) duties: Mutex<Duties>,
    /// Those that are open, whether or not it has an instance.
    pub(crate) sockets: Sockets,
    /// Whether it is in the ring of [`registry::Residents`].
    listed: AtomicBool,
    /// Whether it is in memory, as far as operators are concerned: who only looks at it does not bring it there.
    is_resident: AtomicBool,
    /// Turns that were run. Only whoever runs one writes it.
    turns: AtomicU64,
    /// Memory of its database, in bytes, as it was after the last turn.
    bytes: AtomicUsize,
}

/// The instance and all that only a turn may touch.
pub(crate) struct Live<T: DurableObject> {
    /// None before the constructor has run, and after writes were undone.
    instance: Option<T>,
    /// Of which the instance is.
    session: Arc<Session>,
    /// Of its database, as it was after the last turn.
    weight: Weight,
    ctx: Context<T>,
    _resident: ResidentMeter,
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
            session: Mutex::default(),
            unanswered: AtomicUsize::new(0),
            identity,
            class,
            node,
            used: AtomicBool::new(true),
            last_use_ms: AtomicI64::new(0),
            is_outlived: AtomicBool::new(false),
            duties: Mutex::default(),
            sockets: Sockets::default(),
            listed: AtomicBool::new(false),
            is_resident: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What is counted of its class.
    pub(crate) fn meters(&self) -> &ClassMeters {
        &self.class.meters
    }

    /// What a reset that comes now would end.
    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.lock().clone()
    }

    /// Takes the instance if it is made and nobody else uses it or waits for it.
    pub(crate) fn claim(&self, pass: Option<GateId>) -> Claim<T> {
        if self.is_shut() {
            return Claim::Refused(CallError::ShutDown);
        }
        if let Err(failure) = self.check_load(pass) {
            return Claim::Refused(failure);
        }
        // Written only if it changes: all callers share the line that it stands in.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        for _ in 0..CLAIM_ATTEMPTS {
            let mut mailbox = self.mailbox.lock();
            if let Some(live) = mailbox.claim(pass, |live| live.is_ready() && !self.is_outlived()) {
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

    /// It was in use not later than now.
    fn note_use(&self, now: SystemTime) {
        self.last_use_ms.store(millis(now), Ordering::Relaxed);
    }

    /// When it was last in use, if it ever was in memory: somebody who has used it since the last look may do so right now.
    pub(crate) fn last_use(&self, now: SystemTime) -> Option<SystemTime> {
        let noted = self.last_use_ms.load(Ordering::Relaxed);
        let used = if self.used.load(Ordering::Relaxed) { now } else { time_of(noted) };
        (noted != 0).then_some(used)
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
        pass: Option<GateId>,
        job: impl FnOnce() -> Box<dyn Job<T>>,
    ) -> Result<Ticket, Failure> {
        let mut job = Some(job);
        self.submit_from(pass, &mut || job.take().map(|make| make()))
    }

    /// Puts a job into the queue, and waits while that is full.
    pub(crate) async fn submit_patiently(
        self: &Arc<Self>,
        job: Box<dyn Job<T>>,
    ) -> Result<Ticket, Failure> {
        let mut job = Some(job);
        loop {
            match self.submit_from(None, &mut || job.take()) {
                Err(CallError::Overloaded { .. }) => {}
                submitted => return submitted,
            }
            self.node.settings.time.sleep(QUEUE_WAIT).await;
        }
    }

    /// `job` is asked for at most once, and not if it is refused.
    fn submit_from(
        self: &Arc<Self>,
        pass: Option<GateId>,
        job: &mut dyn FnMut() -> Option<Box<dyn Job<T>>>,
    ) -> Result<Ticket, Failure> {
        if self.is_shut() {
            return Err(CallError::ShutDown);
        }
        self.check_load(pass)?;
        let submitted = {
            let mut mailbox = self.mailbox.lock();
            if let Some(cycle) = chain::cycle(mailbox.gates_before(pass)) {
                return Err(CallError::Deadlock(cycle));
            }
            mailbox.submit(pass, job)
        };
        match submitted {
            Submitted::Queued(ticket) => Ok(ticket),
            Submitted::Drain(ticket, live) => {
                self.start_draining(live);
                Ok(ticket)
            }
            Submitted::Overloaded { queued } => Err(self.overloaded(queued)),
            Submitted::Closed => Err(CallError::ShutDown),
        }
    }

    /// Refuses a call when too many have no answer yet. Who holds a gate has priority: others wait for it.
    fn check_load(&self, pass: Option<GateId>) -> Result<(), Failure> {
        let queued = self.unanswered.load(Ordering::Relaxed);
        if queued >= self.node.settings.queue_max && pass.is_none() {
            return Err(self.overloaded(queued));
        }
        Ok(())
    }

    fn overloaded(&self, queued: usize) -> Failure {
        self.meters().overloaded.increment(1);
        event!(debug, self.identity, queued, "an object is overloaded");
        CallError::Overloaded { queued }
    }

    /// A call waits, from now until [`answered`](Self::answered).
    pub(crate) fn waits(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
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

    /// Closes the gate for whoever runs in the object; not if its session is over.
    pub(crate) fn close_gate(&self, session: &Session) -> Option<GateId> {
        let mut mailbox = self.mailbox.lock();
        if session.is_over() {
            return None;
        }
        let id = GateId::unique();
        mailbox.close_gate(id);
        Some(id)
    }

    pub(crate) fn open_gate(self: &Arc<Self>, id: GateId) {
        let handed_over = self.mailbox.lock().open_gate(id);
        match handed_over {
            Some(live) => self.start_draining(Some(live)),
            None => self.rested(),
        }
    }

    /// Starts over: drops what is not committed, the instance, handlers, background futures, gates and the connections
    /// of sockets, and tells all who wait.
    pub(crate) fn reset(self: &Arc<Self>, reason: &Arc<str>) {
        self.end_session(&self.session(), reason);
    }

    /// Resets the object, unless it was since this session.
    pub(crate) fn end_session(self: &Arc<Self>, session: &Arc<Session>, reason: &Arc<str>) {
        self.start_over(session, reason, || {
            self.meters().resets.increment(1);
            event!(warn, self.identity, reason = &**reason, "an object was reset");
        });
    }

    /// The same, and `tell`s of it if it was not reset meanwhile.
    fn start_over(
        self: &Arc<Self>,
        session: &Arc<Session>,
        reason: &Arc<str>,
        tell: impl FnOnce(),
    ) {
        let ((jobs, idle), sockets) = {
            let mut mailbox = self.mailbox.lock();
            if session.is_over() {
                return;
            }
            session.over.set(reason);
            *self.session.lock() = Arc::default();
            // At a shutdown they are closed instead. Under the lock, since the next session may have sockets of its own.
            let sockets = self.node.cut.reason().is_none().then(|| self.sockets.take_all());
            (mailbox.reset(), sockets)
        };
        drop(sockets);
        tell();
        session.over.wake();
        if let Some(mut live) = idle {
            turn::dispose(live.instance.take());
            self.finish(live);
        }
        let failure = match self.node.cut.reason() {
            Some(_) => CallError::ShutDown,
            None => CallError::Reset { reason: reason.to_string(), started: false },
        };
        for job in jobs {
            drain::fail_job(job, failure.clone());
        }
    }

    /// Drops the instance if nobody uses it and nothing is pending that needs it. `false` if so.
    pub(crate) fn evict(self: &Arc<Self>) -> bool {
        let (live, is_cold) = {
            let mut mailbox = self.mailbox.lock();
            // Under the lock, since it is turns that pin.
            let live = if self.is_pinned() { None } else { mailbox.take_idle() };
            (live, mailbox.is_cold())
        };
        let Some(live) = live else { return is_cold };
        self.vacate(*live);
        true
    }

    /// The object in words, such as `Room "a"`.
    pub(crate) fn label(&self) -> String {
        chain::label(T::CLASS, &self.identity)
    }

    /// For what pinned the object and is over: if a test wants a fresh instance for every turn, the next one
    /// makes one.
    pub(crate) fn outlived(&self) {
        if self.node.settings.harness.evicts_between_turns {
            self.is_outlived.store(true, Ordering::Release);
        }
    }

    fn is_outlived(&self) -> bool {
        self.is_outlived.load(Ordering::Acquire)
    }

    fn set_resident(&self, is_resident: bool) {
        self.is_resident.store(is_resident, Ordering::Relaxed);
    }

    /// Whether a handler, a background future or a gate is pending.
    pub(crate) fn is_pinned(&self) -> bool {
        self.session.lock().is_pinned()
    }

    /// Drops an instance for good. The seat is given back only after the database is closed, so that it is
    /// never open twice.
    fn vacate(self: &Arc<Self>, live: Live<T>) {
        live.dismiss();
        self.set_resident(false);
        self.meters().evictions.increment(1);
        event!(debug, self.identity, "an object was evicted");
        if self.mailbox.lock().vacate() {
            self.start_draining(None);
        }
    }

    /// After the instance was put back: a runtime that is gone by now has nobody else to drop it.
    fn rested(self: &Arc<Self>) {
        if !self.node.is_abandoned() {
            return;
        }
        let idle = self.mailbox.lock().take_idle();
        if let Some(live) = idle {
            self.vacate(*live);
        }
    }

    /// Whether somebody runs in the object or waits for it, or its gate is closed.
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
    /// Whether there is an instance that may be used.
    pub(crate) fn is_ready(&self) -> bool {
        self.instance.is_some() && !self.session.is_over()
    }

    pub(crate) fn store(&self) -> &Store {
        self.ctx.store()
    }

    /// Takes note of how much memory its database takes now.
    fn weigh(&mut self) {
        let bytes = self.ctx.store().memory_bytes();
        self.weight.set(bytes);
        self.ctx.object().bytes.store(bytes, Ordering::Relaxed);
    }

    /// Drops the instance and closes its database, and stays: what an eviction does, for who goes on at once.
    fn refresh(&mut self) {
        turn::dispose(self.instance.take());
        self.ctx.reset_store();
    }

    /// Drops the instance, then closes its database.
    fn dismiss(mut self) {
        turn::dispose(self.instance.take());
        let now = self.ctx.node().settings.time.now_or_system();
        if let Some(time) = self.ctx.object().last_use(now) {
            self.ctx.store().note_use(time);
        }
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
