//! Puts requests to the limiters and counts their decisions.

use std::io::{self, BufRead, IsTerminal, Write};

use durable::{Namespace, Runtime};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use crate::bucket::Decision;
use crate::clock::HandClock;
use crate::limiter::{LimitError, Limiter};
use crate::request::{self, Request};
use crate::tally::Tally;

/// How many calls wait for their answers at the same time. More of them share one flush of the
/// disk; fewer take less memory.
const CALLS_IN_FLIGHT: usize = 256;

/// Of many malformed lines, the first few are told one by one.
const MALFORMED_TOLD: usize = 5;

/// Writes a line to standard error. Nobody may be listening; the work goes on all the same.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The requests in these lines, and below them what was not understood.
pub fn read(input: impl BufRead, timed: bool) -> io::Result<Vec<Request>> {
    let (mut requests, mut malformed) = (Vec::new(), 0);
    for (number, line) in (1..).zip(input.lines()) {
        match request::parse(&line?, timed) {
            Ok(request) => requests.push(request),
            Err(why) => {
                malformed += 1;
                if malformed <= MALFORMED_TOLD {
                    note(format_args!("line {number}: {why}"));
                }
            }
        }
    }
    if malformed > MALFORMED_TOLD {
        note(format_args!("and {} more lines were not understood", malformed - MALFORMED_TOLD));
    }
    Ok(requests)
}

/// One request after the other, each at its own time.
pub async fn timed(
    runtime: &Runtime,
    clock: &HandClock,
    requests: Vec<Request>,
) -> Result<Tally, LimitError> {
    let (limiters, mut tally) = (runtime.namespace(), Tally::default());
    for request in requests {
        clock.set(request.time.unwrap_or_default());
        let decision = decide(&limiters, &request).await?;
        tally.add(request.key, &decision);
    }
    Ok(tally)
}

/// Many requests at the same time. Those of one key are decided in their order.
pub async fn now(
    runtime: &Runtime,
    requests: impl ExactSizeIterator<Item = Request>,
) -> Result<Tally, LimitError> {
    let (limiters, mut tally) = (runtime.namespace(), Tally::default());
    let bar = bar(requests.len());
    let mut decisions = stream::iter(requests)
        .map(async |request| (decide(&limiters, &request).await, request.key))
        .buffer_unordered(CALLS_IN_FLIGHT);
    while let Some((decision, key)) = decisions.next().await {
        tally.add(key, &decision?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(tally)
}

/// A request over the burst is an answer like others here; a failure ends the run.
async fn decide(
    limiters: &Namespace<Limiter>,
    request: &Request,
) -> Result<Result<Decision, LimitError>, LimitError> {
    let decision = limiters.get_by_name(&request.key).take(request.tokens).await;
    match decision.map_err(LimitError::from) {
        Err(LimitError::Storage(error)) => Err(error.context(&request.key).into()),
        decision => Ok(decision),
    }
}

/// A bar on a terminal, elsewhere nothing.
fn bar(requests: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(requests as u64);
    match ProgressStyle::with_template("{bar:40} {percent:>3} %  {human_pos} decisions, {per_sec}")
    {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
