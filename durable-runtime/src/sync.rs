//! The locks and atomics of the parts whose interleavings are tested one by one.
//!
//! The guarantee: outside those tests every name here is the plain type, at no cost. Under `cfg(loom)`, in tests,
//! each is one of loom's (or made of loom's), so that a test can try all orders in which its threads may meet:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p durable-runtime --lib loom
//! ```
//!
//! Whoever shares one of these locks with another part takes it from here, too: a lock that loom does not know
//! must not be held while it looks for another thread to run.

#[cfg(all(test, loom))]
mod modelled;
#[cfg(not(all(test, loom)))]
mod plain {
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic;

    pub(crate) use parking_lot::{Condvar, Mutex};
    pub(crate) use tokio::sync::Notify;
}

#[cfg(all(test, loom))]
pub(crate) use modelled::*;
#[cfg(not(all(test, loom)))]
pub(crate) use plain::*;
