//! The mailbox as one function: what happens to an object, and what follows from it.
//!
//! [`Mailbox`] has a method for each event instead, whose answer says what its caller has to do: the same without
//! a list of actions for each call.

use super::super::*;

/// A job, by the number of its ticket.
pub(super) type Job = u64;

/// A closed gate, or one that was closed once.
pub(super) type Gate = u64;

pub(super) const QUEUE_MAX: usize = 6;

/// An instance in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The session in which it was made ready.
    pub(super) session: u32,
    /// False after its writes were undone.
    pub(super) is_made: bool,
}

impl Live {
    pub(super) fn is_ready(self, session: u32) -> bool {
        self.is_made && self.session == session
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// An inline caller asks whether it may run.
    Claim { pass: Option<Gate> },
    /// A caller puts a job into the queue.
    Submit { pass: Option<Gate> },
    /// Whoever gave up waiting takes its job back.
    Cancel(Job),
    /// An inline caller is done; so is a reset, with what is left of an idle instance.
    Finish(Live),
    /// The drain task asks for the next job.
    Next(Live),
    /// The drain task could not make the instance ready, and asks for a job that it can tell.
    Unready(Live),
    /// The drain task could not activate the object; [`Event::Vacate`] follows.
    NotActivated,
    /// An instance is gone, or none was made.
    Vacate,
    /// A turn closes a gate.
    CloseGate(Gate),
    /// The code behind a gate has ended.
    OpenGate(Gate),
    /// Somebody wants the memory.
    Evict,
    /// The session ends.
    Reset,
    /// The runtime ends.
    Close,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The caller runs its turn at once.
    RunInline(Live),
    /// The caller has to submit.
    Wait,
    /// The job waits.
    Queued(Job),
    /// The caller is refused.
    Overloaded { queued: usize },
    /// The caller is refused.
    ShutDown,
    /// A drain task is to be started, with the instance or to make one.
    Drain(Option<Live>),
    /// The drain task runs a job.
    Run(Job, Live),
    /// The drain task makes the instance ready.
    Prepare(Live),
    /// Whoever had the instance has put it back, and is done.
    Rest,
    /// The job is told that it will not run.
    Fail(Job),
    /// The job is the caller's again.
    Cancelled(Job),
    /// The instance is dropped and the database closed; [`Event::Vacate`] follows.
    Dismiss(Live),
    /// The instance is dropped; [`Event::Finish`] follows.
    Drop(Live),
    /// Not now.
    Busy,
    /// The object is closed.
    Closed(Option<Live>),
}

/// What the events change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) mailbox: Mailbox<Job, Live>,
    pub(super) session: u32,
    submitted: Job,
}

impl State {
    pub(super) fn new() -> State {
        State { mailbox: Mailbox::new(QUEUE_MAX), session: 0, submitted: 0 }
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Action> {
        let session = self.session;
        let mailbox = &mut self.mailbox;
        match event {
            Event::Claim { pass } => {
                let claimed = mailbox.claim(pass.map(GateId), |live| live.is_ready(session));
                vec![claimed.map_or(Action::Wait, Action::RunInline)]
            }
            Event::Submit { pass } => self.submit(pass),
            Event::Cancel(job) => {
                mailbox.cancel(Ticket(job)).map(Action::Cancelled).into_iter().collect()
            }
            Event::Finish(live) => match mailbox.finish(live) {
                Some(live) => vec![Action::Drain(Some(live))],
                None => vec![Action::Rest],
            },
            Event::Next(live) => vec![match mailbox.next(live, |live| live.is_ready(session)) {
                Next::Run(job, live) => Action::Run(job, live),
                Next::Prepare(live) => Action::Prepare(live),
                Next::Rest => Action::Rest,
            }],
            Event::Unready(live) => vec![match mailbox.give_out(live) {
                Next::Run(job, held) => {
                    assert_eq!(held, live);
                    Action::Fail(job)
                }
                Next::Prepare(live) => Action::Prepare(live),
                Next::Rest => Action::Rest,
            }],
            Event::NotActivated => fail_all(mailbox.give_up()),
            Event::Vacate => mailbox.vacate().then_some(Action::Drain(None)).into_iter().collect(),
            Event::CloseGate(gate) => {
                mailbox.close_gate(GateId(gate));
                Vec::new()
            }
            Event::OpenGate(gate) => {
                let handed_over = mailbox.open_gate(GateId(gate));
                handed_over.map(|live| Action::Drain(Some(live))).into_iter().collect()
            }
            Event::Evict => vec![mailbox.take_idle().map_or(Action::Busy, Action::Dismiss)],
            Event::Reset => {
                self.session += 1;
                let (jobs, idle) = mailbox.reset();
                let mut actions = fail_all(jobs);
                actions.extend(idle.map(Action::Drop));
                actions
            }
            Event::Close => vec![match mailbox.close() {
                Closing::Closed(live) => Action::Closed(live),
                Closing::Busy => Action::Busy,
            }],
        }
    }

    fn submit(&mut self, pass: Option<Gate>) -> Vec<Action> {
        let job = self.submitted;
        match self.mailbox.submit(pass.map(GateId), &mut || Some(job)) {
            Submitted::Queued(ticket) => vec![self.queued(ticket)],
            Submitted::Drain(ticket, live) => vec![self.queued(ticket), Action::Drain(live)],
            Submitted::Overloaded { queued } => vec![Action::Overloaded { queued }],
            Submitted::Closed => vec![Action::ShutDown],
        }
    }

    fn queued(&mut self, ticket: Ticket) -> Action {
        assert_eq!(ticket, Ticket(self.submitted));
        self.submitted += 1;
        Action::Queued(ticket.0)
    }
}

/// In no order that anybody could rely on.
fn fail_all(mut jobs: Vec<Job>) -> Vec<Action> {
    jobs.sort_unstable();
    jobs.into_iter().map(Action::Fail).collect()
}
