//! The receipt and the flusher, in every order in which they can meet: see [`sync`](crate::sync).

use loom::thread;

use super::*;
use crate::ErrorKind;
use crate::sync::atomic::AtomicBool;
use crate::sync::{block_on, in_every_order};

fn broken() -> Error {
    Error::new(ErrorKind::Storage, "broken")
}

#[test]
fn whoever_waits_is_woken_by_its_flush() {
    in_every_order(3, || {
        let watermark = Arc::new(Watermark::default());
        let flusher = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                watermark.advance(1);
                watermark.advance(2);
            })
        };
        let second = Receipt::pending(&watermark, 2);
        let other = thread::spawn(move || block_on(second.wait()));
        assert_eq!(block_on(Receipt::pending(&watermark, 1).wait()), Ok(()));
        assert_eq!(other.join().unwrap(), Ok(()));
        flusher.join().unwrap();
        assert_eq!(watermark.waiters(), 0);
    });
}

#[test]
fn whoever_waits_is_told_of_a_failure() {
    in_every_order(3, || {
        let watermark = Arc::new(Watermark::default());
        let flusher = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                watermark.advance(1);
                watermark.fail(broken());
            })
        };
        let never = Receipt::failure(&watermark);
        let other = thread::spawn(move || block_on(never.wait()));
        assert_eq!(block_on(Receipt::pending(&watermark, 1).wait()), Ok(()));
        assert_eq!(block_on(Receipt::pending(&watermark, 2).wait()), Err(broken()));
        assert_eq!(other.join().unwrap(), Err(broken()));
        flusher.join().unwrap();
        assert_eq!(watermark.waiters(), 0);
    });
}

/// What the flusher did before is done for whoever sees that a commit is durable, with or without a waker.
#[test]
fn durable_means_that_the_flush_was_before() {
    in_every_order(3, || {
        let watermark = Arc::new(Watermark::default());
        let flushed = Arc::new(AtomicBool::new(false));
        let flusher = {
            let (watermark, flushed) = (Arc::clone(&watermark), Arc::clone(&flushed));
            thread::spawn(move || {
                flushed.store(true, Ordering::Relaxed);
                watermark.advance(1);
            })
        };
        let receipt = Receipt::pending(&watermark, 1);
        if receipt.is_durable() {
            assert!(flushed.load(Ordering::Relaxed));
        }
        flusher.join().unwrap();
    });
}

#[test]
fn a_receipt_that_is_dropped_meanwhile_leaves_nothing_and_harms_no_other() {
    in_every_order(3, || {
        let watermark = Arc::new(Watermark::default());
        let flusher = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || watermark.advance(1))
        };
        let other = {
            let mut gone = Receipt::pending(&watermark, 2);
            let mut dropped = Receipt::pending(&watermark, 1);
            thread::spawn(move || {
                let task = &mut Context::from_waker(Waker::noop());
                assert_eq!(gone.poll_durable(task), Poll::Pending);
                let _ = dropped.poll_durable(task);
            })
        };
        assert_eq!(block_on(Receipt::pending(&watermark, 1).wait()), Ok(()));
        other.join().unwrap();
        flusher.join().unwrap();
        assert_eq!(watermark.waiters(), 0);
    });
}
