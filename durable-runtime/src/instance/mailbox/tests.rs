//! Histories written by hand; random ones, against a model, are in `random.rs`.

mod machine;
mod model;
mod random;

use super::*;

/// The instance in these tests; the number tells one activation from the next.
type Live = u32;

fn mailbox() -> Mailbox<&'static str, Live> {
    Mailbox::new(3)
}

#[test]
fn a_cold_object_is_activated_once() {
    let mut mailbox = mailbox();
    assert_eq!(mailbox.claim(None, |_| true), None);
    assert_eq!(mailbox.submit(None, &mut || Some("a")), Submitted::Drain(Ticket(0), None));
    assert_eq!(mailbox.submit(None, &mut || Some("b")), Submitted::Queued(Ticket(1)));
    assert_eq!(mailbox.next(7, |_| true), Next::Run("a", 7));
    assert_eq!(mailbox.next(7, |_| true), Next::Run("b", 7));
    assert_eq!(mailbox.next(7, |_| true), Next::Rest);
    assert_eq!(mailbox.claim(None, |_| true), Some(7));
}

#[test]
fn nobody_overtakes_the_queue() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    // The drain task holds the instance; then it puts it back while a job arrives.
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.submit(None, &mut || Some("b")), Submitted::Queued(Ticket(1)));
    assert_eq!(mailbox.claim(None, |_| true), None);
    assert_eq!(mailbox.finish(1), Some(1), "an inline runner must hand over to a drain task");
    assert_eq!(mailbox.next(1, |_| true), Next::Run("b", 1));
}

#[test]
fn a_cancelled_job_does_not_run_and_harms_no_other() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    mailbox.submit(None, &mut || Some("b"));
    mailbox.submit(None, &mut || Some("c"));
    assert_eq!(mailbox.cancel(Ticket(1)), Some("b"));
    assert_eq!(mailbox.cancel(Ticket(1)), None);
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.cancel(Ticket(0)), None, "it has begun");
    assert_eq!(mailbox.next(1, |_| true), Next::Run("c", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
}

#[test]
fn a_full_queue_says_how_long_it_is() {
    let mut mailbox = mailbox();
    for _ in 0..3 {
        mailbox.submit(None, &mut || Some("a"));
    }
    let made = std::cell::Cell::new(false);
    let answer = mailbox.submit(None, &mut || {
        made.set(true);
        Some("b")
    });
    assert_eq!(answer, Submitted::Overloaded { queued: 3 });
    assert!(!made.get(), "a refused job is not even made");
}

#[test]
fn eviction_lets_the_next_job_activate_anew() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    assert_eq!(mailbox.take_idle(), None, "an instance in use is not evicted");
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
    assert_eq!(mailbox.take_idle(), Some(1));
    assert_eq!(
        mailbox.submit(None, &mut || Some("b")),
        Submitted::Queued(Ticket(1)),
        "while it is being closed"
    );
    assert!(mailbox.vacate(), "so whoever evicts goes on");
    assert_eq!(mailbox.next(2, |_| true), Next::Run("b", 2));
    assert_eq!(mailbox.next(2, |_| true), Next::Rest);
    assert_eq!(mailbox.take_idle(), Some(2));
    assert!(!mailbox.vacate());
    assert_eq!(mailbox.submit(None, &mut || Some("c")), Submitted::Drain(Ticket(2), None));
}

#[test]
fn a_failed_activation_fails_all_that_waited() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    mailbox.submit(None, &mut || Some("b"));
    assert_eq!(mailbox.give_up(), ["a", "b"]);
    assert!(!mailbox.vacate());
    assert_eq!(
        mailbox.submit(None, &mut || Some("c")),
        Submitted::Drain(Ticket(2), None),
        "the next one tries again"
    );
}

#[test]
fn closing_waits_for_whoever_runs() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    assert_eq!(mailbox.close(), Closing::Busy);
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
    assert_eq!(mailbox.close(), Closing::Closed(Some(1)));
    assert_eq!(mailbox.submit(None, &mut || Some("b")), Submitted::Closed);
    assert_eq!(mailbox.claim(None, |_| true), None);
}

const GATE: GateId = GateId(100);
const INNER: GateId = GateId(101);

/// A mailbox whose gate was closed in its first turn, and rests.
fn closed() -> Mailbox<&'static str, Live> {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("close"));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("close", 1));
    mailbox.close_gate(GATE);
    mailbox
}

#[test]
fn behind_a_closed_gate_only_its_pass_runs() {
    let mut mailbox = closed();
    mailbox.submit(None, &mut || Some("a"));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest, "the gate is closed without a gap");
    assert_eq!(mailbox.claim(None, |_| true), None);
    assert!(mailbox.is_busy());
    assert_eq!(mailbox.take_idle(), None, "and the object is not evicted");
    assert_eq!(mailbox.submit(None, &mut || Some("b")), Submitted::Queued(Ticket(2)));
    assert_eq!(mailbox.claim(Some(GATE), |_| true), Some(1));
    assert_eq!(mailbox.submit(Some(GATE), &mut || Some("x")), Submitted::Queued(Ticket(3)));
    assert_eq!(mailbox.finish(1), Some(1));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("x", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
    assert_eq!(mailbox.close(), Closing::Busy);
    assert_eq!(mailbox.open_gate(GATE), Some(1), "those that wait need a drain task");
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("b", 1));
    assert_eq!(mailbox.open_gate(GATE), None);
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
}

#[test]
fn a_gate_inside_a_gate_keeps_the_outer_one_waiting() {
    let mut mailbox = closed();
    mailbox.close_gate(INNER);
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
    assert_eq!(mailbox.gates_before(None).collect::<Vec<_>>(), [GATE, INNER]);
    assert_eq!(mailbox.gates_before(Some(GATE)).collect::<Vec<_>>(), [INNER]);
    assert_eq!(mailbox.submit(Some(GATE), &mut || Some("outer")), Submitted::Queued(Ticket(1)));
    assert_eq!(
        mailbox.submit(Some(INNER), &mut || Some("inner")),
        Submitted::Drain(Ticket(2), Some(1))
    );
    assert_eq!(mailbox.next(1, |_| true), Next::Run("inner", 1));
    assert_eq!(mailbox.open_gate(INNER), None, "whoever runs goes on");
    assert_eq!(mailbox.next(1, |_| true), Next::Run("outer", 1));
}

#[test]
fn who_has_the_pass_of_an_open_gate_waits_in_its_place() {
    let mut mailbox = closed();
    mailbox.submit(None, &mut || Some("a"));
    mailbox.submit(Some(GATE), &mut || Some("x"));
    mailbox.submit(None, &mut || Some("b"));
    assert_eq!(mailbox.open_gate(GATE), None, "whoever runs goes on");
    assert_eq!(mailbox.submit(Some(GATE), &mut || Some("y")), Submitted::Overloaded { queued: 3 });
    for expected in ["a", "x", "b"] {
        assert_eq!(mailbox.next(1, |_| true), Next::Run(expected, 1));
    }
}

#[test]
fn who_is_not_ready_is_not_claimed() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    assert_eq!(mailbox.next(1, |_| true), Next::Rest);
    assert_eq!(mailbox.claim(None, |_| false), None);
    assert_eq!(
        mailbox.submit(None, &mut || Some("b")),
        Submitted::Drain(Ticket(1), Some(1)),
        "a drain task makes it ready"
    );
}

#[test]
fn who_is_not_ready_gets_no_job() {
    let mut mailbox = mailbox();
    mailbox.submit(None, &mut || Some("a"));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("a", 1));
    // The turn of `a` was undone, and while nobody waits there is nothing to make the instance ready for.
    assert!(!mailbox.has_next());
    assert_eq!(mailbox.submit(None, &mut || Some("b")), Submitted::Queued(Ticket(1)));
    assert_eq!(mailbox.next(1, |_| false), Next::Prepare(1));
    assert_eq!(mailbox.next(1, |_| true), Next::Run("b", 1));
    assert_eq!(mailbox.next(1, |_| false), Next::Rest);
}
