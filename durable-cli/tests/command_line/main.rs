//! The command line as it is used: a process, on a data directory and on a program that serves the admin API.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed
#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value)] // objects as people write them

mod bed;
mod commands;
mod copies;
mod page;
mod safety;
mod server;
mod strangers;
