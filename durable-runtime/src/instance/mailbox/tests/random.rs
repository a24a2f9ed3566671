//! Long random histories of everybody who uses a mailbox, against a model and for what must hold in all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::machine::{Action, Event, Gate, Job, Live, State};
use super::model::{Model, Seat};

/// What somebody would like to do. A move that is not possible where the history stands is left out.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// An inline caller, or the code behind a gate.
    Claim {
        pass: Pass,
    },
    Submit {
        pass: Pass,
    },
    Cancel {
        latest: u64,
    },
    /// Whoever has the instance goes on; with what goes wrong.
    Advance(Luck),
    /// The task that has the instance is dropped, or panics.
    Drop,
    CloseGate,
    OpenGate {
        latest: u64,
    },
    Evict,
    Reset,
    Close,
}

/// The pass of one of the latest gates, open again or not.
type Pass = Option<u64>;

/// How a turn, an activation or a preparation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Luck {
    Good,
    /// The writes are undone and the instance goes; nothing is activated.
    Bad,
}

fn a_move() -> impl Strategy<Value = Move> {
    let pass = || prop_oneof![3 => Just(None), 2 => (0..4_u64).prop_map(Some)];
    prop_oneof![
        40 => pass().prop_map(|pass| Move::Claim { pass }),
        80 => pass().prop_map(|pass| Move::Submit { pass }),
        15 => (0..20_u64).prop_map(|latest| Move::Cancel { latest }),
        160 => prop_oneof![4 => Just(Luck::Good), 1 => Just(Luck::Bad)].prop_map(Move::Advance),
        2 => Just(Move::Drop),
        15 => Just(Move::CloseGate),
        30 => (0..4_u64).prop_map(|latest| Move::OpenGate { latest }),
        12 => Just(Move::Evict),
        6 => Just(Move::Reset),
        1 => Just(Move::Close),
    ]
}

/// Who has the instance, and how far that one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// Runs a turn on its own task.
    Inline(Live),
    /// The drain task is about to make an instance, for the session that it has found.
    Activates {
        session: u32,
    },
    /// Is about to ask for a job.
    Drains(Live),
    /// Runs a turn on the drain task.
    Runs(Live),
    /// Is about to make the instance ready.
    Prepares(Live),
    /// Closes the database: an eviction, or an activation that failed.
    Vacates,
    /// As it was dropped: whoever comes now is told.
    GivesUp,
    /// A reset, which drops an instance that was idle.
    Resets(Live),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ran,
    Failed,
    Cancelled,
}

struct World {
    state: State,
    model: Model,
    holder: Holder,
    fates: BTreeMap<Job, Fate>,
    /// How many gates were ever closed.
    gates: Gate,
}

impl World {
    fn new() -> World {
        let (state, model, fates) = (State::new(), Model::new(), BTreeMap::new());
        World { state, model, holder: Holder::Nobody, fates, gates: 0 }
    }

    fn gate(&self, latest: u64) -> Option<Gate> {
        self.gates.checked_sub(latest + 1)
    }

    /// A pass always names a gate; without one it is of a gate that never was.
    fn pass(&self, pass: Pass) -> Option<Gate> {
        pass.map(|latest| self.gate(latest).unwrap_or(Gate::MAX))
    }

    fn make(&mut self, a_move: Move) {
        match a_move {
            Move::Claim { pass } => self.happens(Event::Claim { pass: self.pass(pass) }),
            Move::Submit { pass } => self.happens(Event::Submit { pass: self.pass(pass) }),
            Move::Cancel { latest } => {
                if let Some(job) = self.model.submitted.checked_sub(latest + 1) {
                    self.happens(Event::Cancel(job));
                }
            }
            Move::Advance(luck) => self.advance(luck),
            Move::Drop => {
                // An inline turn cannot be dropped half-way, and whoever vacates does so in one go.
                if let Holder::Activates { .. }
                | Holder::Drains(_)
                | Holder::Runs(_)
                | Holder::Prepares(_) = self.holder
                {
                    self.holder = Holder::GivesUp;
                    self.happens(Event::Reset);
                }
            }
            Move::CloseGate => self.close_gate(),
            Move::OpenGate { latest } => {
                if let Some(gate) = self.gate(latest) {
                    self.happens(Event::OpenGate(gate));
                }
            }
            Move::Evict => self.happens(Event::Evict),
            Move::Reset => self.happens(Event::Reset),
            Move::Close => self.happens(Event::Close),
        }
    }

    /// A turn may close a gate, if its session goes on. For a constructor that is the last that it does.
    fn close_gate(&mut self) {
        let session = self.model.session;
        match self.holder {
            Holder::Inline(live) | Holder::Runs(live) if live.session == session => {}
            Holder::Activates { session: of } if of == session => {
                self.holder = Holder::Drains(Live { session, is_made: true });
            }
            Holder::Prepares(_) => self.holder = Holder::Drains(Live { session, is_made: true }),
            _ => return,
        }
        self.gates += 1;
        self.happens(Event::CloseGate(self.gates - 1));
    }

    fn advance(&mut self, luck: Luck) {
        let is_good = luck == Luck::Good;
        let after = |live: Live| Live { is_made: live.is_made && is_good, ..live };
        match self.holder {
            Holder::Nobody => {}
            Holder::Inline(live) => self.leaves(Event::Finish(after(live))),
            Holder::Activates { session } if is_good => {
                self.holder = Holder::Drains(Live { session, is_made: true });
            }
            Holder::Activates { .. } => {
                self.holder = Holder::Vacates;
                self.happens(Event::NotActivated);
            }
            Holder::Drains(live) => self.leaves(Event::Next(live)),
            Holder::Runs(live) => self.holder = Holder::Drains(after(live)),
            Holder::Prepares(_) if is_good => {
                let session = self.model.session;
                self.holder = Holder::Drains(Live { session, is_made: true });
            }
            Holder::Prepares(live) => {
                self.leaves(Event::Unready(Live { is_made: false, ..live }));
            }
            Holder::Vacates => self.leaves(Event::Vacate),
            Holder::GivesUp => {
                self.leaves(Event::Vacate);
                if self.holder != Holder::Nobody {
                    self.holder = Holder::GivesUp;
                    self.happens(Event::Reset);
                }
            }
            Holder::Resets(live) => self.leaves(Event::Finish(Live { is_made: false, ..live })),
        }
    }

    /// An event after which whoever had the instance has it only if it gets it again.
    fn leaves(&mut self, event: Event) {
        self.holder = Holder::Nobody;
        self.happens(event);
    }

    fn takes(&mut self, holder: Holder) {
        assert_eq!(self.holder, Holder::Nobody, "two have the instance");
        self.holder = holder;
    }

    fn happens(&mut self, event: Event) {
        let before = self.model.clone();
        let actions = self.state.step(event);
        assert_eq!(actions, self.model.step(event), "{event:?}");
        for action in actions {
            self.does(action, event, &before);
        }
        self.check();
    }

    /// Does what follows, if it is allowed: `before` is how all stood when the event came.
    fn does(&mut self, action: Action, event: Event, before: &Model) {
        match action {
            Action::RunInline(live) => {
                assert!(live.is_ready(before.session), "an instance of before a reset");
                assert_eq!(before.first(), None, "it overtook the queue");
                let Event::Claim { pass } = event else { panic!("nobody asked for it") };
                assert!(before.may_run(pass), "it passed a closed gate");
                self.takes(Holder::Inline(live));
            }
            Action::Run(job, live) => {
                assert!(live.is_ready(before.session), "an instance of before a reset");
                let pass = before.waiting.iter().find(|(waiting, _)| *waiting == job).unwrap().1;
                assert!(before.may_run(pass), "it passed a closed gate");
                let older = before.waiting.iter().filter(|(other, of)| *other < job && *of == pass);
                assert_eq!(older.count(), 0, "it overtook");
                self.ends(job, Fate::Ran);
                self.takes(Holder::Runs(live));
            }
            Action::Fail(job) => {
                self.ends(job, Fate::Failed);
                if let Event::Unready(live) = event {
                    self.takes(Holder::Drains(live));
                }
            }
            Action::Cancelled(job) => self.ends(job, Fate::Cancelled),
            Action::Drain(Some(live)) => self.takes(Holder::Drains(live)),
            Action::Drain(None) => self.takes(Holder::Activates { session: before.session }),
            Action::Prepare(live) => self.takes(Holder::Prepares(live)),
            Action::Dismiss(_) => {
                assert!(before.waiting.is_empty() && before.gates.is_empty(), "it is in use");
                self.takes(Holder::Vacates);
            }
            Action::Drop(live) => self.takes(Holder::Resets(live)),
            Action::Closed(_) => assert!(!before.is_busy(), "it is in use"),
            Action::Queued(_)
            | Action::Overloaded { .. }
            | Action::ShutDown
            | Action::Wait
            | Action::Busy
            | Action::Rest => {}
        }
    }

    fn ends(&mut self, job: Job, fate: Fate) {
        let other = self.fates.insert(job, fate);
        assert_eq!(other, None, "{job} ended twice");
    }

    fn check(&self) {
        let (mailbox, model) = (&self.state.mailbox, &self.model);
        let is_held = self.holder != Holder::Nobody;
        assert_eq!(model.seat == Seat::Taken, is_held, "{:?}", self.holder);
        assert!(is_held || model.first().is_none(), "a job that may run has nobody");
        assert_eq!(mailbox.has_next(), model.first().is_some());
        assert_eq!(mailbox.is_busy(), model.is_busy());
        assert_eq!(mailbox.is_cold(), matches!(model.seat, Seat::Cold | Seat::Closed));
        let rests_soon = is_held && model.gates.is_empty() && model.waiting.is_empty();
        assert_eq!(mailbox.is_about_to_rest(), rests_soon);
        for at in 0..=model.gates.len() {
            let pass = at.checked_sub(1).map(|at| GateId(model.gates[at]));
            let before = model.gates[at..].iter().map(|gate| GateId(*gate));
            assert!(mailbox.gates_before(pass).eq(before));
        }
        let ended = u64::try_from(self.fates.len() + model.waiting.len());
        assert_eq!(ended, Ok(model.submitted), "a job is lost");
    }

    /// Lets everybody get as far as possible.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.holder == Holder::Nobody {
                return;
            }
            self.advance(Luck::Good);
        }
        panic!("{:?} never rests", self.holder);
    }

    fn finish(mut self) {
        self.settle();
        // Whoever waits now waits for a gate. Opened from within, as they were closed, they let all of them run.
        while let Some(gate) = self.model.gates.last().copied() {
            assert_eq!(self.model.first(), None);
            self.happens(Event::OpenGate(gate));
            self.settle();
        }
        assert_eq!(self.model.waiting, []);
        assert_eq!(u64::try_from(self.fates.len()), Ok(self.model.submitted));
        self.happens(Event::Close);
        assert_eq!(self.model.seat, Seat::Closed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_job_ends_once_in_its_order_and_behind_no_closed_gate(moves in prop::collection::vec(a_move(), 200..600)) {
        let mut world = World::new();
        for a_move in moves {
            world.make(a_move);
        }
        world.finish();
    }
}
