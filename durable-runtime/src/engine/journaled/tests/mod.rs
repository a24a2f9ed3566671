//! The engine on a disk that loses power and fails: whatever happens, each object is what it was after some
//! commit, and never one before the last that was said to be durable.
//!
//! Nothing runs by itself here: flushes and checkpoints are called by hand, so that a seed gives the same
//! run each time.

mod crashes;
mod damage;
mod faults;
mod index;
mod listing;
mod model;
mod tables;
mod threads;
mod wakes;
mod world;

/// How many seeds a test tries: a few, or as many as `DURABLE_SEEDS` says.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let many = std::env::var("DURABLE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..many.unwrap_or(few)
}
