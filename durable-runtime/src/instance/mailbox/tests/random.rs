//! Random histories: what must hold in all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;

/// Enough gates for two inside each other, and one whose pass is out of date.
const GATES: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// An inline caller looks whether it may run, with an instance that is ready or not.
    Claim {
        pass: Option<u64>,
        ready: bool,
    },
    Submit {
        pass: Option<u64>,
    },
    /// The inline caller is done.
    Finish,
    /// The drain task goes on.
    Next,
    Cancel {
        job: u64,
    },
    /// Whoever runs closes a gate.
    CloseGate {
        gate: u64,
    },
    OpenGate {
        gate: u64,
    },
    Evict,
    /// The eviction is done.
    Vacate,
    Reset,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let pass = || prop_oneof![3 => Just(None), 2 => (0..GATES).prop_map(Some)];
    prop_oneof![
        4 => (pass(), prop::bool::weighted(0.8)).prop_map(|(pass, ready)| Step::Claim { pass, ready }),
        8 => pass().prop_map(|pass| Step::Submit { pass }),
        4 => Just(Step::Finish),
        8 => Just(Step::Next),
        2 => (0..40_u64).prop_map(|job| Step::Cancel { job }),
        2 => (0..GATES).prop_map(|gate| Step::CloseGate { gate }),
        3 => (0..GATES).prop_map(|gate| Step::OpenGate { gate }),
        2 => Just(Step::Evict),
        2 => Just(Step::Vacate),
        1 => Just(Step::Reset),
        1 => Just(Step::Close),
    ]
}

/// The instance: there is one, so whoever has it is alone.
#[derive(Debug, PartialEq, Eq)]
struct Instance;

/// Who holds the instance, or is about to make one.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Inline(Instance),
    Drain(Instance),
    Evictor,
}

struct World {
    mailbox: Mailbox<u64, Instance>,
    holder: Holder,
    /// What is closed, the last one at the end.
    gates: Vec<u64>,
    /// The jobs that wait, with the pass that they came with.
    waiting: BTreeMap<u64, Option<u64>>,
    submitted: u64,
    closed: bool,
}

impl World {
    fn new() -> Self {
        World {
            mailbox: Mailbox::new(10),
            holder: Holder::Nobody,
            gates: Vec::new(),
            waiting: BTreeMap::new(),
            submitted: 0,
            closed: false,
        }
    }

    /// Whether a job with this pass may run now, said in another way than the mailbox does.
    fn may_run(&self, pass: Option<u64>) -> bool {
        let valid = pass.filter(|pass| self.gates.contains(pass));
        valid == self.gates.last().copied()
    }

    /// The oldest job that may run.
    fn expected(&self) -> Option<u64> {
        self.waiting.iter().find(|(_, pass)| self.may_run(**pass)).map(|(job, _)| *job)
    }

    fn take(&mut self, holder: Holder) {
        assert_eq!(self.holder, Holder::Nobody, "two hold the instance");
        self.holder = holder;
    }

    fn step(&mut self, step: &Step) {
        let id = |gate: u64| GateId(gate);
        match *step {
            Step::Claim { pass, ready } => {
                if let Some(live) = self.mailbox.claim(pass.map(id), |_| ready) {
                    assert!(ready && !self.closed);
                    assert!(self.may_run(pass), "it ran through a closed gate");
                    assert_eq!(self.expected(), None, "it overtook the queue");
                    self.take(Holder::Inline(live));
                }
            }
            Step::Submit { pass } => self.submit(pass),
            Step::Finish => {
                assert_eq!(self.holder, Holder::Inline(Instance));
                self.holder = Holder::Nobody;
                if let Some(live) = self.mailbox.finish(Instance) {
                    self.take(Holder::Drain(live));
                }
            }
            Step::Next => {
                assert_eq!(self.holder, Holder::Drain(Instance));
                let expected = self.expected();
                assert_eq!(self.mailbox.has_next(), expected.is_some());
                match self.mailbox.next(Instance, |_| true) {
                    Next::Run(job, Instance) => {
                        assert_eq!(Some(job), expected, "out of order, or not allowed");
                        self.waiting.remove(&job);
                    }
                    Next::Prepare(Instance) => panic!("it was ready"),
                    Next::Rest => {
                        assert_eq!(expected, None, "a job has nobody");
                        self.holder = Holder::Nobody;
                    }
                }
            }
            Step::Cancel { job } => {
                let taken = self.mailbox.cancel(Ticket(job));
                assert_eq!(taken, self.waiting.remove(&job).map(|_| job));
            }
            Step::CloseGate { gate } => {
                let runs = matches!(self.holder, Holder::Inline(_) | Holder::Drain(_));
                if runs && !self.gates.contains(&gate) {
                    self.mailbox.close_gate(id(gate));
                    self.gates.push(gate);
                }
            }
            Step::OpenGate { gate } => {
                self.gates.retain(|closed| *closed != gate);
                // Who had its pass is as everybody, or as its next use of the number would mean another gate.
                if let Some(live) = self.mailbox.open_gate(id(gate)) {
                    self.take(Holder::Drain(live));
                }
                for pass in self.waiting.values_mut().filter(|pass| **pass == Some(gate)) {
                    *pass = None;
                }
            }
            Step::Evict => {
                if let Some(Instance) = self.mailbox.take_idle() {
                    assert!(self.gates.is_empty() && self.waiting.is_empty());
                    self.take(Holder::Evictor);
                }
            }
            Step::Vacate => {
                if self.holder == Holder::Evictor {
                    self.holder = Holder::Nobody;
                    if self.mailbox.vacate() {
                        self.take(Holder::Drain(Instance));
                    }
                }
            }
            Step::Reset => {
                let mut jobs = self.mailbox.give_up();
                jobs.sort_unstable();
                assert!(jobs.iter().eq(self.waiting.keys()), "a job was lost");
                self.waiting.clear();
                self.gates.clear();
            }
            Step::Close => match self.mailbox.close() {
                Closing::Closed(_) => {
                    assert_eq!(self.holder, Holder::Nobody);
                    assert!(self.gates.is_empty() && self.waiting.is_empty());
                    self.closed = true;
                }
                Closing::Busy => assert!(self.mailbox.is_busy()),
            },
        }
        self.check();
    }

    fn submit(&mut self, pass: Option<u64>) {
        let job = self.submitted;
        let before = self.gates.iter().rposition(|gate| Some(*gate) == pass).map_or(0, |at| at + 1);
        let passed: Vec<_> = self.mailbox.gates_before(pass.map(GateId)).collect();
        assert_eq!(
            passed,
            self.gates[before..].iter().map(|gate| GateId(*gate)).collect::<Vec<_>>()
        );
        let drain = match self.mailbox.submit(pass.map(GateId), &mut || Some(job)) {
            Submitted::Queued(ticket) => {
                assert_eq!(ticket, Ticket(job));
                None
            }
            Submitted::Drain(ticket, live) => {
                assert_eq!(ticket, Ticket(job));
                // Without an instance the drain task makes one.
                Some(live.unwrap_or(Instance))
            }
            Submitted::Overloaded { queued } => return assert!(queued >= 10),
            Submitted::Closed => return assert!(self.closed),
        };
        assert!(!self.closed);
        self.submitted += 1;
        self.waiting.insert(job, pass.filter(|pass| self.gates.contains(pass)));
        if let Some(live) = drain {
            self.take(Holder::Drain(live));
        }
    }

    /// A job that may run has somebody who comes to it.
    fn check(&self) {
        if self.expected().is_some() {
            assert_ne!(self.holder, Holder::Nobody, "a job has nobody");
        }
    }

    /// Lets everybody finish: then no job is left.
    fn finish(mut self) {
        for _ in 0..200 {
            match (&self.holder, self.gates.last().copied()) {
                (Holder::Inline(_), _) => self.step(&Step::Finish),
                (Holder::Drain(_), _) => self.step(&Step::Next),
                (Holder::Evictor, _) => self.step(&Step::Vacate),
                (Holder::Nobody, Some(gate)) => self.step(&Step::OpenGate { gate }),
                (Holder::Nobody, None) => break,
            }
        }
        assert_eq!((self.waiting.len(), &self.holder), (0, &Holder::Nobody));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_lost_or_runs_twice_and_nobody_passes_a_closed_gate(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            let applies = match step {
                Step::Finish => matches!(world.holder, Holder::Inline(_)),
                Step::Next => matches!(world.holder, Holder::Drain(_)),
                _ => true,
            };
            if applies {
                world.step(step);
            }
        }
        world.finish();
    }
}
