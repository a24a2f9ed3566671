//! The command line `durable`: looks into the durable objects of a running program or of a data directory, and repairs.
//!
//! What is known of an operation is in `durable_runtime::admin`; here is only how it is asked for ([`options`]), whom ([`connect`]), and
//! how the answer is shown ([`output`] and [`commands`]).

mod client;
mod commands;
mod connect;
mod failure;
mod files;
mod options;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::Failure;
use crate::options::Options;

fn main() -> ExitCode {
    // Clap tells of its own errors, and ends with 2.
    let options = Options::parse();
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match executor {
        Ok(executor) => executor.block_on(commands::run(options)),
        Err(error) => Err(Failure::from(error)),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => failure.tell(),
    }
}
