//! Programs that `#[durable_object]` must accept, without a warning: the twins of `compile_fail/`.
//!
//! They are modules of one test, so that there is one thing to link; the tests that the macro makes
//! for their migrations run with it.

#![deny(warnings, clippy::all)]
#![allow(dead_code, unreachable_pub)] // a test binary exports nothing
#![allow(unused_qualifications)] // paths are written out to be tried
#![allow(
    clippy::pedantic,
    clippy::let_underscore_future,
    clippy::ptr_arg,
    clippy::needless_arbitrary_self_type
)] // bodies are stubs

#[path = "../pass/arguments.rs"]
mod arguments;
#[path = "../pass/attributes.rs"]
mod attributes;
#[path = "../pass/background.rs"]
mod background;
#[path = "../pass/constructors.rs"]
mod constructors;
#[path = "../pass/counter.rs"]
mod counter;
#[path = "../pass/handlers.rs"]
mod handlers;
#[path = "../pass/macros.rs"]
mod macros;
#[path = "../pass/migrations.rs"]
mod migrations;
#[path = "../pass/private.rs"]
mod private;
#[path = "../pass/results.rs"]
mod results;
