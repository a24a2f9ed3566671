//! What is measured, against what.

mod cold;
mod fleet;
mod history;
mod http;
mod in_turn;
mod increment;
mod journal;
mod memory;
mod neighbour;
mod remote;
mod rpc;
mod start;
mod stock;
mod websocket;
mod work;

use crate::measure::Row;

pub(crate) fn all() -> Vec<Row> {
    [
        rpc::rows(),
        increment::rows(),
        in_turn::rows(),
        cold::rows(),
        neighbour::rows(),
        work::rows(),
        remote::rows(),
        http::rows(),
        websocket::rows(),
        memory::rows(),
        start::rows(),
        journal::rows(),
        history::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What this process is to do for the one that started it.
pub(crate) fn run_child(arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", directory, count] => start::make(directory.as_ref(), ok(count.parse())),
        ["resident", directory, count] => memory::resident(directory.as_ref(), ok(count.parse())),
        ["evicted", directory, count] => memory::evicted(directory.as_ref(), ok(count.parse())),
        ["start", directory] => start::child(directory.as_ref()),
        ["listen", url, count] => websocket::listen(url, ok(count.parse())),
        ["websockets", count] => websocket::over_tcp(ok(count.parse())),
        ["websocket-streams", count] => websocket::through_streams(ok(count.parse())),
        ["write", directory, count] => journal::child(directory.as_ref(), ok(count.parse())),
        _ => fail("no such task"),
    }
}

/// Two threads, as many as the smallest machine has that the figures are for.
fn executor() -> tokio::runtime::Runtime {
    ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build())
}

/// A benchmark in which something fails has no figure.
pub(crate) fn ok<V, E: std::fmt::Display>(result: Result<V, E>) -> V {
    result.unwrap_or_else(|error| fail(&error.to_string()))
}

pub(crate) fn fail(message: &str) -> ! {
    println!("the benchmark failed: {message}");
    std::process::exit(1)
}
