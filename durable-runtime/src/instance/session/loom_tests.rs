//! The end of a session and those who wait for it, in every order in which they can meet: see
//! [`sync`](crate::sync).

use loom::thread;

use super::*;
use crate::sync::atomic::AtomicBool;
use crate::sync::{block_on, in_every_order};

#[test]
fn whoever_waits_for_a_signal_is_told_the_first_reason() {
    in_every_order(3, || {
        let signal = Arc::new(Signal::default());
        let waiting = {
            let signal = Arc::clone(&signal);
            thread::spawn(move || block_on(signal.wait()))
        };
        let happens = {
            let signal = Arc::clone(&signal);
            thread::spawn(move || {
                signal.set(&Arc::from("first"));
                signal.set(&Arc::from("second"));
                signal.wake();
            })
        };
        assert_eq!(&*block_on(signal.wait()), "first");
        assert_eq!(&*waiting.join().unwrap(), "first");
        happens.join().unwrap();
    });
}

/// Whoever finds a session without pins finds also what was done under them.
#[test]
fn what_was_pinned_is_done_when_the_last_pin_is_gone() {
    in_every_order(3, || {
        let session = Arc::new(Session::default());
        let done: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
        let tasks = done.clone().map(|done| {
            let pin = session.pin();
            thread::spawn(move || {
                done.store(true, Ordering::Relaxed);
                drop(pin);
            })
        });
        if !session.is_pinned() {
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed)));
        }
        for task in tasks {
            task.join().unwrap();
        }
        assert!(!session.is_pinned());
    });
}
