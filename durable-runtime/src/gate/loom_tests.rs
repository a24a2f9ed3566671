//! What a handler has not confirmed, and the flusher, in every order in which they can meet: see
//! [`sync`](crate::sync).

use loom::thread;

use super::*;
use crate::engine::Watermark;
use crate::sync::{block_on, in_every_order};

#[test]
fn an_output_waits_for_all_that_was_not_confirmed() {
    in_every_order(3, || {
        let watermark = Arc::new(Watermark::default());
        let unconfirmed = Arc::new(Unconfirmed::default());
        unconfirmed.push(Receipt::pending(&watermark, 2));
        let flusher = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                watermark.advance(1);
                watermark.advance(2);
            })
        };
        // A task that the handler has spawned.
        let other = {
            let (watermark, unconfirmed) = (Arc::clone(&watermark), Arc::clone(&unconfirmed));
            thread::spawn(move || unconfirmed.push(Receipt::pending(&watermark, 1)))
        };
        assert_eq!(block_on(unconfirmed.wait()), Ok(()));
        assert_eq!(watermark.durable(), 2);
        other.join().unwrap();
        flusher.join().unwrap();
        assert_eq!(watermark.waiters(), 0);
    });
}
