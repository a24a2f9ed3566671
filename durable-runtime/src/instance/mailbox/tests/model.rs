//! What a mailbox has to do, said as simply as possible: one list of jobs and one of gates.

use super::machine::{Action, Event, Gate, Job, Live, QUEUE_MAX};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Cold,
    Idle(Live),
    Taken,
    Closed,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) session: u32,
    pub(super) seat: Seat,
    /// What is closed, the last one at the end.
    pub(super) gates: Vec<Gate>,
    /// Who waits, the oldest first, with the gate whose pass it has. A pass of an open gate is none.
    pub(super) waiting: Vec<(Job, Option<Gate>)>,
    pub(super) submitted: Job,
}

impl Model {
    pub(super) fn new() -> Model {
        let (gates, waiting) = (Vec::new(), Vec::new());
        Model { session: 0, seat: Seat::Cold, gates, waiting, submitted: 0 }
    }

    pub(super) fn valid(&self, pass: Option<Gate>) -> Option<Gate> {
        pass.filter(|gate| self.gates.contains(gate))
    }

    /// Only the pass of the innermost gate lets anybody run, and no pass if all are open.
    pub(super) fn may_run(&self, pass: Option<Gate>) -> bool {
        self.valid(pass) == self.gates.last().copied()
    }

    /// The oldest job that may run.
    pub(super) fn first(&self) -> Option<Job> {
        self.waiting.iter().find(|(_, pass)| self.may_run(*pass)).map(|(job, _)| *job)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.gates.is_empty() || self.seat == Seat::Taken
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Claim { pass } => match self.seat {
                Seat::Idle(live)
                    if self.may_run(pass)
                        && self.first().is_none()
                        && live.is_ready(self.session) =>
                {
                    self.seat = Seat::Taken;
                    vec![Action::RunInline(live)]
                }
                _ => vec![Action::Wait],
            },
            Event::Submit { pass } => self.submit(self.valid(pass)),
            Event::Cancel(job) => self.take(job).map(Action::Cancelled).into_iter().collect(),
            Event::Finish(live) => match self.first() {
                Some(_) => vec![Action::Drain(Some(live))],
                None => self.rest(live),
            },
            Event::Next(live) => match self.first() {
                Some(job) if live.is_ready(self.session) => {
                    self.take(job);
                    vec![Action::Run(job, live)]
                }
                Some(_) => vec![Action::Prepare(live)],
                None => self.rest(live),
            },
            Event::Unready(live) => match self.first() {
                Some(job) => {
                    self.take(job);
                    vec![Action::Fail(job)]
                }
                None => self.rest(live),
            },
            Event::NotActivated => self.fail_all(),
            Event::Vacate if self.first().is_some() => vec![Action::Drain(None)],
            Event::Vacate => {
                self.seat = Seat::Cold;
                Vec::new()
            }
            Event::CloseGate(gate) => {
                self.gates.push(gate);
                Vec::new()
            }
            Event::OpenGate(gate) => {
                self.gates.retain(|closed| *closed != gate);
                for (_, pass) in &mut self.waiting {
                    *pass = pass.filter(|pass| *pass != gate);
                }
                self.wake()
            }
            Event::Evict => match self.seat {
                Seat::Idle(live) if self.gates.is_empty() => {
                    self.seat = Seat::Taken;
                    vec![Action::Dismiss(live)]
                }
                _ => vec![Action::Busy],
            },
            Event::Reset => {
                self.session += 1;
                let mut actions = self.fail_all();
                if let Seat::Idle(live) = self.seat {
                    self.seat = Seat::Taken;
                    actions.push(Action::Drop(live));
                }
                actions
            }
            Event::Close if self.is_busy() => vec![Action::Busy],
            Event::Close => match std::mem::replace(&mut self.seat, Seat::Closed) {
                Seat::Idle(live) => vec![Action::Closed(Some(live))],
                _ => vec![Action::Closed(None)],
            },
        }
    }

    fn submit(&mut self, pass: Option<Gate>) -> Vec<Action> {
        if self.seat == Seat::Closed {
            return vec![Action::ShutDown];
        }
        let queued = self.waiting.iter().filter(|(_, other)| *other == pass).count();
        if queued >= QUEUE_MAX {
            return vec![Action::Overloaded { queued }];
        }
        let job = self.submitted;
        self.submitted += 1;
        self.waiting.push((job, pass));
        let mut actions = vec![Action::Queued(job)];
        actions.extend(self.wake());
        actions
    }

    /// A job that may run needs somebody who runs it.
    fn wake(&mut self) -> Vec<Action> {
        let live = match self.seat {
            _ if self.first().is_none() => return Vec::new(),
            Seat::Cold => None,
            Seat::Idle(live) => Some(live),
            Seat::Taken | Seat::Closed => return Vec::new(),
        };
        self.seat = Seat::Taken;
        vec![Action::Drain(live)]
    }

    fn rest(&mut self, live: Live) -> Vec<Action> {
        self.seat = Seat::Idle(live);
        vec![Action::Rest]
    }

    fn take(&mut self, job: Job) -> Option<Job> {
        let index = self.waiting.iter().position(|(waiting, _)| *waiting == job)?;
        Some(self.waiting.remove(index).0)
    }

    fn fail_all(&mut self) -> Vec<Action> {
        self.gates.clear();
        self.waiting.drain(..).map(|(job, _)| Action::Fail(job)).collect()
    }
}
