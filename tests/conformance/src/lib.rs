//! Replays cases that were recorded from the reference implementation of Durable Objects.
//!
//! A case is a list of steps (calls with operations in them) and what each gave. [`Driver`] runs the
//! steps against a runtime through the public API alone, with a durable object that interprets the
//! operations, and compares the results. A case passes, or all that differs falls under a
//! [`Rule`], or it fails; what holds steps of a kind that this version cannot run yet is counted apart.
//!
//! The guarantee: what was recorded is not looked at before the last step has run.

mod case;
mod compare;
mod differences;
mod driver;
mod errors;
mod ids;
mod object;
mod report;
mod run;
mod turn;
mod value;
mod world;

use std::path::PathBuf;

pub use case::{Case, CaseFile};
pub use compare::Mismatch;
pub use differences::Rule;
pub use driver::{Driver, Verdict};
pub use report::{Report, Shown};

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is nothing to replay, or nothing to replay it on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is not there, or is no file of cases.
    #[error("cannot read the cases in {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The runtime failed.
    #[error("the runtime failed: {0}")]
    Runtime(durable::Error),
}

/// The files that come with the program.
pub fn own_files() -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
    ["kv", "sql", "sql_limits", "txn", "id", "alarm", "lifecycle", "websocket"]
        .map(|area| folder.join(format!("{area}.json")))
        .into()
}
