//! A rate limiter: one durable object, a bucket of tokens, for each key.
//!
//! Start reading at [`limiter`]: the object, and what it keeps where. [`bucket`] has the arithmetic,
//! [`play`] brings the requests.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

mod bucket;
mod clock;
mod limiter;
mod options;
mod plan;
mod play;
mod request;
mod tally;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Parser;
use durable::Runtime;

use crate::clock::HandClock;
use crate::limiter::{LimitError, Limiter, State};
use crate::options::{Command, Options};
use crate::play::note;
use crate::request::Request;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(text) => {
            // A reader that has seen enough, such as `head`, is no failure.
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(format_args!("rate-limiter: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    // Read before anything is created, so that a mistyped file creates nothing.
    let requests = recorded(&options.command)?;
    let hand_clock = HandClock::default();
    let clock = match options.command {
        Command::Play { timed: true, .. } => Some(hand_clock.clone()),
        _ => None,
    };
    let runtime = Runtime::builder(&options.data)
        .register::<Limiter>()
        .env(options.plan)
        .clock(move || clock.as_ref().map_or_else(SystemTime::now, HandClock::now))
        .start()
        .await?;
    let text = execute(&runtime, &hand_clock, &options.command, requests).await;
    runtime.shutdown().await?;
    Ok(text?)
}

async fn execute(
    runtime: &Runtime,
    clock: &HandClock,
    command: &Command,
    recorded: Vec<Request>,
) -> Result<String, LimitError> {
    let start = Instant::now();
    match command {
        Command::Play { timed, top, .. } => {
            let tally = if *timed {
                play::timed(runtime, clock, recorded).await?
            } else {
                play::now(runtime, recorded.into_iter()).await?
            };
            Ok(tally.report(*top, start.elapsed()))
        }
        Command::Load { keys, requests, seed, top } => {
            let mut random = request::random(*keys, *seed);
            let requests = (0..*requests).filter_map(|_| random.next()).collect::<Vec<_>>();
            let tally = play::now(runtime, requests.into_iter()).await?;
            Ok(tally.report(*top, start.elapsed()))
        }
        Command::Show { key } => show(runtime, key).await,
        Command::Plan { key, plan } => {
            runtime.get::<Limiter>(key).set_plan(*plan).await.map_err(durable::Error::from)?;
            show(runtime, key).await
        }
    }
}

async fn show(runtime: &Runtime, key: &str) -> Result<String, LimitError> {
    let state = runtime.get::<Limiter>(key).state().await.map_err(durable::Error::from)?;
    let State { plan, is_own, tokens } = state;
    let whose = if is_own { "its own" } else { "the default" };
    Ok(format!("{key}: plan {plan} ({whose}), {tokens} of {} tokens left", plan.burst()))
}

/// The requests of `play`; none for other commands.
fn recorded(command: &Command) -> Result<Vec<Request>, String> {
    let Command::Play { requests, timed, .. } = command else { return Ok(Vec::new()) };
    let cannot_read = |error| format!("cannot read {}: {error}", requests.display());
    let input: Box<dyn BufRead> = if requests == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(requests).map_err(cannot_read)?))
    };
    play::read(input, *timed).map_err(cannot_read)
}
