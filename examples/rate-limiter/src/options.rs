//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::plan::Plan;

/// A rate limiter with one durable object, a bucket of tokens, for each key.
///
/// A request takes a token from its key's bucket; where there is none, it is denied. Buckets are
/// kept: a restart does not fill them again.
#[derive(Debug, Parser)]
#[command(after_help = "\
A plan of 10+5/1s is a bucket of 10 tokens, in which 5 come back in each second: ten requests at
once, and five in a second in the long run.

Try it:
  rate-limiter load                              100,000 requests of made-up keys
  rate-limiter plan alice 3+1/1m                 a plan of alice's own
  yes alice | head -5 | rate-limiter play        three are allowed, two denied
  rate-limiter show alice
  cut -d' ' -f1 access.log | rate-limiter play   limits the addresses in a log")]
pub struct Options {
    /// The directory that the buckets are kept in
    #[arg(long, global = true, value_name = "DIR", default_value = "./data/rate-limiter")]
    pub data: PathBuf,

    /// The plan of keys that have none of their own
    #[arg(long = "default", global = true, value_name = "PLAN", default_value = "10+5/1s")]
    pub plan: Plan,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decides about recorded requests, and counts what was allowed
    #[command(after_help = "\
A line is `KEY [TOKENS]`; with `--timed` it is `SECONDS KEY [TOKENS]`, for example `12.5 alice 3`.")]
    Play {
        /// The requests, one in a line; standard input if it is `-` or left out
        #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
        requests: PathBuf,
        /// The lines begin with times, and these are the clock: a day is played in a moment
        #[arg(long)]
        timed: bool,
        /// How many keys to show
        #[arg(long, value_name = "N", default_value_t = 10)]
        top: usize,
    },
    /// Decides about made-up requests as fast as it can
    Load {
        /// How many keys take part; they are called key-1, key-2 and so on
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
        keys: u32,
        /// How many requests to make
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        requests: usize,
        /// Another number, other requests
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How many keys to show
        #[arg(long, value_name = "N", default_value_t = 10)]
        top: usize,
    },
    /// Shows a key's plan, and what is left
    Show { key: String },
    /// Gives a key a plan of its own, or without PLAN the default again
    Plan {
        key: String,
        /// For example 3+1/1m: a burst of 3, and one more in each minute
        plan: Option<Plan>,
    },
}
