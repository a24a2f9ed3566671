//! Who may run in an object, and who comes next: a plain state machine, without threads or time.
//!
//! Guarantees:
//! - At most one party holds the live instance (`L`): an inline caller or the drain task.
//! - Jobs run in the order in which they were submitted. An inline caller runs only when the
//!   queue is empty.
//! - A job in the queue always has somebody who will run it: whoever holds the instance, or a
//!   drain task that [`Mailbox::submit`] or [`Mailbox::finish`] told the caller to start. The
//!   submitter itself need never be polled again.

use std::collections::VecDeque;

/// Names a queued job, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
enum Seat<L> {
    /// No instance in memory.
    Cold,
    /// An instance that nobody uses.
    Idle(L),
    /// Somebody runs, activates or evicts the instance.
    Taken,
    /// Shut down: nobody runs and nothing will.
    Closed,
}

/// The queue of one object, for jobs `J` that run on a live instance `L`.
#[derive(Debug)]
pub(crate) struct Mailbox<J, L> {
    seat: Seat<L>,
    jobs: VecDeque<(Ticket, J)>,
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
    /// Nothing waits; the instance was put back.
    Rest,
}

impl<J, L> Mailbox<J, L> {
    pub(crate) fn new(queue_max: usize) -> Self {
        Mailbox { seat: Seat::Cold, jobs: VecDeque::new(), submitted: 0, queue_max }
    }

    /// Takes the instance for a job that runs at once, if the object is free and nobody waits.
    pub(crate) fn claim(&mut self) -> Option<L> {
        if !self.jobs.is_empty() {
            return None;
        }
        self.take_idle()
    }

    /// Puts a job at the end of the queue.
    ///
    /// `job` is called at most once; a job that is refused stays with the caller, whose code its
    /// drop may run: not under a lock.
    pub(crate) fn submit(&mut self, job: &mut dyn FnMut() -> Option<J>) -> Submitted<L> {
        if matches!(self.seat, Seat::Closed) {
            return Submitted::Closed;
        }
        if self.jobs.len() >= self.queue_max {
            return Submitted::Overloaded { queued: self.jobs.len() };
        }
        let ticket = Ticket(self.submitted);
        let Some(job) = job() else { return Submitted::Closed };
        self.submitted += 1;
        self.jobs.push_back((ticket, job));
        match std::mem::replace(&mut self.seat, Seat::Taken) {
            Seat::Cold => Submitted::Drain(ticket, None),
            Seat::Idle(live) => Submitted::Drain(ticket, Some(live)),
            Seat::Taken | Seat::Closed => Submitted::Queued(ticket),
        }
    }

    /// Ends an inline run. `Some` means that jobs have gathered: the caller must hand the
    /// instance to a drain task.
    pub(crate) fn finish(&mut self, live: L) -> Option<L> {
        if self.jobs.is_empty() {
            self.seat = Seat::Idle(live);
            None
        } else {
            Some(live)
        }
    }

    /// What the drain task does next.
    pub(crate) fn next(&mut self, live: L) -> Next<J, L> {
        if let Some((_, job)) = self.jobs.pop_front() {
            return Next::Run(job, live);
        }
        self.seat = Seat::Idle(live);
        Next::Rest
    }

    /// Takes a job back, if it has not begun.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<J> {
        let index = self.jobs.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.jobs.remove(index).map(|(_, job)| job)
    }

    /// All jobs that wait, for a drain task that could not activate the object.
    pub(crate) fn abandon(&mut self) -> Vec<J> {
        self.jobs.drain(..).map(|(_, job)| job).collect()
    }

    /// Ends an activation that failed or an eviction. `true` means that jobs have gathered and
    /// the caller must start (or go on with) a drain task that activates the object.
    pub(crate) fn vacate(&mut self) -> bool {
        if self.jobs.is_empty() {
            self.seat = Seat::Cold;
        }
        !self.jobs.is_empty()
    }

    /// Takes an instance that nobody uses, to evict it; [`vacate`](Self::vacate) follows.
    pub(crate) fn take_idle(&mut self) -> Option<L> {
        match std::mem::replace(&mut self.seat, Seat::Taken) {
            Seat::Idle(live) => Some(live),
            other => {
                self.seat = other;
                None
            }
        }
    }

    /// Whether somebody runs and nobody waits: the object may be free in a moment.
    pub(crate) fn is_about_to_rest(&self) -> bool {
        self.jobs.is_empty() && matches!(self.seat, Seat::Taken)
    }

    /// Whether there is no instance and none is being made.
    pub(crate) fn is_cold(&self) -> bool {
        matches!(self.seat, Seat::Cold | Seat::Closed)
    }

    /// Whether somebody runs or waits.
    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || matches!(self.seat, Seat::Taken)
    }

    /// Closes the object if nobody uses it: gives the instance to drop, if there is one.
    pub(crate) fn close(&mut self) -> Closing<L> {
        match std::mem::replace(&mut self.seat, Seat::Closed) {
            Seat::Idle(live) => Closing::Closed(Some(live)),
            Seat::Cold | Seat::Closed => Closing::Closed(None),
            Seat::Taken => {
                self.seat = Seat::Taken;
                Closing::Busy
            }
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
mod tests {
    use super::*;

    /// The instance in these tests; the number tells one activation from the next.
    type Live = u32;

    fn mailbox() -> Mailbox<&'static str, Live> {
        Mailbox::new(3)
    }

    #[test]
    fn a_cold_object_is_activated_once() {
        let mut mailbox = mailbox();
        assert_eq!(mailbox.claim(), None);
        assert_eq!(mailbox.submit(&mut || Some("a")), Submitted::Drain(Ticket(0), None));
        assert_eq!(mailbox.submit(&mut || Some("b")), Submitted::Queued(Ticket(1)));
        assert_eq!(mailbox.next(7), Next::Run("a", 7));
        assert_eq!(mailbox.next(7), Next::Run("b", 7));
        assert_eq!(mailbox.next(7), Next::Rest);
        assert_eq!(mailbox.claim(), Some(7));
    }

    #[test]
    fn nobody_overtakes_the_queue() {
        let mut mailbox = mailbox();
        mailbox.submit(&mut || Some("a"));
        // The drain task holds the instance; then it puts it back while a job arrives.
        assert_eq!(mailbox.next(1), Next::Run("a", 1));
        assert_eq!(mailbox.submit(&mut || Some("b")), Submitted::Queued(Ticket(1)));
        assert_eq!(mailbox.claim(), None);
        assert_eq!(mailbox.finish(1), Some(1), "an inline runner must hand over to a drain task");
        assert_eq!(mailbox.next(1), Next::Run("b", 1));
    }

    #[test]
    fn a_cancelled_job_does_not_run_and_harms_no_other() {
        let mut mailbox = mailbox();
        mailbox.submit(&mut || Some("a"));
        mailbox.submit(&mut || Some("b"));
        mailbox.submit(&mut || Some("c"));
        assert_eq!(mailbox.cancel(Ticket(1)), Some("b"));
        assert_eq!(mailbox.cancel(Ticket(1)), None);
        assert_eq!(mailbox.next(1), Next::Run("a", 1));
        assert_eq!(mailbox.cancel(Ticket(0)), None, "it has begun");
        assert_eq!(mailbox.next(1), Next::Run("c", 1));
        assert_eq!(mailbox.next(1), Next::Rest);
    }

    #[test]
    fn a_full_queue_says_how_long_it_is() {
        let mut mailbox = mailbox();
        for _ in 0..3 {
            mailbox.submit(&mut || Some("a"));
        }
        let made = std::cell::Cell::new(false);
        let answer = mailbox.submit(&mut || {
            made.set(true);
            Some("b")
        });
        assert_eq!(answer, Submitted::Overloaded { queued: 3 });
        assert!(!made.get(), "a refused job is not even made");
    }

    #[test]
    fn eviction_lets_the_next_job_activate_anew() {
        let mut mailbox = mailbox();
        mailbox.submit(&mut || Some("a"));
        assert_eq!(mailbox.take_idle(), None, "an instance in use is not evicted");
        assert_eq!(mailbox.next(1), Next::Run("a", 1));
        assert_eq!(mailbox.next(1), Next::Rest);
        assert_eq!(mailbox.take_idle(), Some(1));
        assert_eq!(
            mailbox.submit(&mut || Some("b")),
            Submitted::Queued(Ticket(1)),
            "while it is being closed"
        );
        assert!(mailbox.vacate(), "so whoever evicts goes on");
        assert_eq!(mailbox.next(2), Next::Run("b", 2));
        assert_eq!(mailbox.next(2), Next::Rest);
        assert_eq!(mailbox.take_idle(), Some(2));
        assert!(!mailbox.vacate());
        assert_eq!(mailbox.submit(&mut || Some("c")), Submitted::Drain(Ticket(2), None));
    }

    #[test]
    fn a_failed_activation_fails_all_that_waited() {
        let mut mailbox = mailbox();
        mailbox.submit(&mut || Some("a"));
        mailbox.submit(&mut || Some("b"));
        assert_eq!(mailbox.abandon(), ["a", "b"]);
        assert!(!mailbox.vacate());
        assert_eq!(
            mailbox.submit(&mut || Some("c")),
            Submitted::Drain(Ticket(2), None),
            "the next one tries again"
        );
    }

    #[test]
    fn closing_waits_for_whoever_runs() {
        let mut mailbox = mailbox();
        mailbox.submit(&mut || Some("a"));
        assert_eq!(mailbox.close(), Closing::Busy);
        assert_eq!(mailbox.next(1), Next::Run("a", 1));
        assert_eq!(mailbox.next(1), Next::Rest);
        assert_eq!(mailbox.close(), Closing::Closed(Some(1)));
        assert_eq!(mailbox.submit(&mut || Some("b")), Submitted::Closed);
        assert_eq!(mailbox.claim(), None);
    }
}
