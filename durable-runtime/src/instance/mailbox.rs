//! Who may run in an object, and who comes next: a plain state machine, without threads or time.
//!
//! Guarantees:
//! - At most one party holds the live instance (`L`): an inline caller or the drain task.
//! - Jobs run in the order in which they were submitted. An inline caller runs only when the
//!   queue is empty.
//! - While a gate is closed only jobs that carry its pass run; all others wait behind it and keep their
//!   order. Gates nest: the one closed last decides.
//! - A job that may run always has somebody who will run it: whoever holds the instance, or a
//!   drain task that [`Mailbox::submit`], [`Mailbox::finish`] or [`Mailbox::open_gate`] told the caller to
//!   start. The submitter itself need never be polled again.
//!
//! Each event is a method, whose answer says what the caller has to do. The tests put all of them together as one
//! function from an event to what follows, and hold that against a simpler model over long random histories.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a queued job, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Names a closed gate, in the whole process; whoever has it may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GateId(u64);

impl GateId {
    /// One that no other gate has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        GateId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The gate that had this number when it went out of the process.
    pub(crate) fn from_number(number: u64) -> Self {
        GateId(number)
    }
}

#[derive(Debug)]
enum Seat<L> {
    /// No instance in memory.
    Cold,
    /// An instance that nobody uses: then nobody waits who may run.
    Idle(L),
    /// Somebody runs, activates or evicts the instance.
    Taken,
    /// Shut down: nobody runs and nothing will.
    Closed,
}

/// Jobs that wait, in the order of their tickets.
type Queue<J> = VecDeque<(Ticket, J)>;

/// A closed gate, and the jobs that may pass it.
#[derive(Debug)]
struct Gate<J> {
    id: GateId,
    jobs: Queue<J>,
}

/// The queue of one object, for jobs `J` that run on a live instance `L`.
#[derive(Debug)]
pub(crate) struct Mailbox<J, L> {
    seat: Seat<L>,
    /// Ordinary jobs: they run while no gate is closed.
    jobs: Queue<J>,
    /// The closed gates, the one that was closed last at the end. Mostly none.
    gates: Vec<Gate<J>>,
    submitted: u64,
    queue_max: usize,
}

/// What became of a submitted job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Submitted<L> {
    /// Somebody who runs already will come to it.
    Queued(Ticket),
    /// It is in the queue, and the caller must start a drain task: with the instance, or with
    /// none, to activate the object.
    Drain(Ticket, Option<L>),
    /// The queue is full.
    Overloaded {
        /// How many jobs wait.
        queued: usize,
    },
    /// The object is shut down.
    Closed,
}

/// What the holder of the instance does after a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<J, L> {
    /// Run this job.
    Run(J, L),
    /// A job waits: make the instance ready, and ask again.
    Prepare(L),
    /// Nothing waits; the instance was put back.
    Rest,
}

impl<J, L> Mailbox<J, L> {
    pub(crate) fn new(queue_max: usize) -> Self {
        let (jobs, gates) = (VecDeque::new(), Vec::new());
        Mailbox { seat: Seat::Cold, jobs, gates, submitted: 0, queue_max }
    }

    /// Takes the instance for a job that runs at once, if the job may run, nobody waits before it and the
    /// instance `is_ready`.
    pub(crate) fn claim(
        &mut self,
        pass: Option<GateId>,
        is_ready: impl FnOnce(&L) -> bool,
    ) -> Option<L> {
        if self.level(pass) != self.gates.len() {
            return None;
        }
        match &self.seat {
            Seat::Idle(live) if is_ready(live) => {
                debug_assert!(!self.has_next(), "who waits and may run has somebody");
                self.take_seat()
            }
            _ => None,
        }
    }

    /// Puts a job at the end of its queue.
    ///
    /// `job` is called at most once; a job that is refused stays with the caller, whose code its
    /// drop may run: not under a lock.
    pub(crate) fn submit(
        &mut self,
        pass: Option<GateId>,
        job: &mut dyn FnMut() -> Option<J>,
    ) -> Submitted<L> {
        if matches!(self.seat, Seat::Closed) {
            return Submitted::Closed;
        }
        let level = self.level(pass);
        let ticket = Ticket(self.submitted);
        let queue_max = self.queue_max;
        let queue = self.queue(level);
        if queue.len() >= queue_max {
            return Submitted::Overloaded { queued: queue.len() };
        }
        let Some(job) = job() else { return Submitted::Closed };
        queue.push_back((ticket, job));
        self.submitted += 1;
        if level != self.gates.len() {
            return Submitted::Queued(ticket);
        }
        match std::mem::replace(&mut self.seat, Seat::Taken) {
            Seat::Cold => Submitted::Drain(ticket, None),
            Seat::Idle(live) => Submitted::Drain(ticket, Some(live)),
            Seat::Taken | Seat::Closed => Submitted::Queued(ticket),
        }
    }

    /// Ends an inline run. `Some` means that jobs have gathered: the caller must hand the
    /// instance to a drain task.
    pub(crate) fn finish(&mut self, live: L) -> Option<L> {
        if self.has_next() {
            return Some(live);
        }
        self.seat = Seat::Idle(live);
        None
    }

    /// Whether a job waits that may run.
    pub(crate) fn has_next(&self) -> bool {
        !self.gates.last().map_or(&self.jobs, |gate| &gate.jobs).is_empty()
    }

    /// The job that is next, if one waits that may run.
    pub(crate) fn front(&self) -> Option<&J> {
        self.gates.last().map_or(&self.jobs, |gate| &gate.jobs).front().map(|(_, job)| job)
    }

    /// Takes out the job that is next, for whoever has the seat without an instance.
    pub(crate) fn take_front(&mut self) -> Option<J> {
        self.queue(self.gates.len()).pop_front().map(|(_, job)| job)
    }

    /// What the drain task does next. No job is given out to an instance that is not ready, also not one that
    /// came since the task has last looked.
    pub(crate) fn next(&mut self, live: L, is_ready: impl FnOnce(&L) -> bool) -> Next<J, L> {
        if self.has_next() && !is_ready(&live) {
            return Next::Prepare(live);
        }
        self.give_out(live)
    }

    /// As [`next`](Self::next), for a job that is to be told why the instance cannot be made ready.
    pub(crate) fn give_out(&mut self, live: L) -> Next<J, L> {
        if let Some((_, job)) = self.queue(self.gates.len()).pop_front() {
            return Next::Run(job, live);
        }
        self.seat = Seat::Idle(live);
        Next::Rest
    }

    /// Takes a job back, if it has not begun.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<J> {
        (0..=self.gates.len()).find_map(|level| {
            let queue = self.queue(level);
            let index = queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
            queue.remove(index).map(|(_, job)| job)
        })
    }

    /// Closes a gate, on behalf of whoever holds the instance.
    pub(crate) fn close_gate(&mut self, id: GateId) {
        self.gates.push(Gate { id, jobs: VecDeque::new() });
    }

    /// Opens a gate, if it is still closed. Jobs that had its pass and have not begun wait with the others
    /// from now on. `Some` means that jobs may run now: the caller must start a drain task.
    pub(crate) fn open_gate(&mut self, id: GateId) -> Option<L> {
        let index = self.gates.iter().position(|gate| gate.id == id)?;
        let gate = self.gates.remove(index);
        if !gate.jobs.is_empty() {
            self.jobs.extend(gate.jobs);
            self.jobs.make_contiguous().sort_unstable_by_key(|(ticket, _)| *ticket);
        }
        if self.has_next() { self.take_seat() } else { None }
    }

    /// The closed gates that a job with this pass would wait for.
    pub(crate) fn gates_before(&self, pass: Option<GateId>) -> impl Iterator<Item = GateId> {
        self.gates[self.level(pass)..].iter().map(|gate| gate.id)
    }

    /// Starts over: takes out all jobs and opens all gates, and takes the instance if nobody uses it. Once what is
    /// in it is gone, [`finish`](Self::finish) follows. Whoever uses it finds it not ready at the next job.
    pub(crate) fn reset(&mut self) -> (Vec<J>, Option<L>) {
        (self.give_up(), self.take_idle())
    }

    /// Takes out all jobs, of an object that could not be activated; [`vacate`](Self::vacate) follows.
    pub(crate) fn give_up(&mut self) -> Vec<J> {
        let gated = self.gates.drain(..).flat_map(|gate| gate.jobs);
        gated.chain(self.jobs.drain(..)).map(|(_, job)| job).collect()
    }

    /// Ends an activation that failed or an eviction. `true` means that jobs have gathered and
    /// the caller must start (or go on with) a drain task that activates the object.
    pub(crate) fn vacate(&mut self) -> bool {
        if self.has_next() {
            return true;
        }
        self.seat = Seat::Cold;
        false
    }

    /// Takes an instance that nobody uses, to evict it; [`vacate`](Self::vacate) follows.
    pub(crate) fn take_idle(&mut self) -> Option<L> {
        if self.gates.is_empty() { self.take_seat() } else { None }
    }

    /// Takes the seat of an object that has no instance, to make none; [`vacate`](Self::vacate) follows.
    pub(crate) fn take_vacant(&mut self) -> bool {
        let is_vacant = matches!(self.seat, Seat::Cold) && !self.has_next();
        if is_vacant {
            self.seat = Seat::Taken;
        }
        is_vacant
    }

    /// Whether somebody runs and nobody waits: the object may be free in a moment.
    pub(crate) fn is_about_to_rest(&self) -> bool {
        self.jobs.is_empty() && self.gates.is_empty() && matches!(self.seat, Seat::Taken)
    }

    /// Whether there is no instance and none is being made.
    pub(crate) fn is_cold(&self) -> bool {
        matches!(self.seat, Seat::Cold | Seat::Closed)
    }

    /// Whether somebody runs or waits, or a gate is closed.
    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || !self.gates.is_empty() || matches!(self.seat, Seat::Taken)
    }

    /// Closes the object if nobody uses it: gives the instance to drop, if there is one.
    pub(crate) fn close(&mut self) -> Closing<L> {
        if self.is_busy() {
            return Closing::Busy;
        }
        match std::mem::replace(&mut self.seat, Seat::Closed) {
            Seat::Idle(live) => Closing::Closed(Some(live)),
            Seat::Cold | Seat::Closed | Seat::Taken => Closing::Closed(None),
        }
    }

    fn take_seat(&mut self) -> Option<L> {
        match std::mem::replace(&mut self.seat, Seat::Taken) {
            Seat::Idle(live) => Some(live),
            other => {
                self.seat = other;
                None
            }
        }
    }

    /// The level of a job's queue: 0 is that of ordinary jobs, `n` that of the `n`th gate. Who has the pass of
    /// a gate that is open again is as everybody.
    fn level(&self, pass: Option<GateId>) -> usize {
        match pass {
            Some(id) => self.gates.iter().position(|gate| gate.id == id).map_or(0, |at| at + 1),
            None => 0,
        }
    }

    fn queue(&mut self, level: usize) -> &mut Queue<J> {
        match level.checked_sub(1) {
            Some(gate) => &mut self.gates[gate].jobs,
            None => &mut self.jobs,
        }
    }
}

/// The answer to [`Mailbox::close`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing<L> {
    /// Nothing will run any more.
    Closed(Option<L>),
    /// Somebody runs; try again when they are done.
    Busy,
}

#[cfg(test)]
mod tests;
