//! What is measured, against what.

mod increment;
mod rpc;

use crate::measure::Row;

pub(crate) fn all() -> Vec<Row> {
    [rpc::rows(), increment::rows()].into_iter().flatten().collect()
}

/// Two threads, as many as the smallest machine has that the figures are for.
fn executor() -> tokio::runtime::Runtime {
    ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build())
}

/// A benchmark in which something fails has no figure.
fn ok<V, E: std::fmt::Display>(result: Result<V, E>) -> V {
    result.unwrap_or_else(|error| fail(&error.to_string()))
}

fn fail(message: &str) -> ! {
    println!("the benchmark failed: {message}");
    std::process::exit(1)
}
