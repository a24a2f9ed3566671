//! The command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};

use crate::agenda::Rhythm;

/// Reminders that come once, again and again, or by cron, and are tried again when they fail.
#[derive(Debug, Parser)]
#[command(name = "scheduler", version)]
pub struct Options {
    /// Where the data is kept.
    #[arg(long, default_value = "scheduler-data", global = true)]
    pub data: PathBuf,
    /// Whose reminders.
    #[arg(long, default_value = "me", global = true)]
    pub agenda: String,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a reminder, in place of the one that has the name.
    ///
    /// scheduler add tea --after 4m "The tea is ready"
    /// scheduler add standup --cron "30 9 * * MON-FRI" --zone Europe/Berlin "Stand up"
    #[command(verbatim_doc_comment)]
    Add(Add),
    /// Show all reminders, the next one first.
    List,
    /// Remove a reminder.
    Remove { name: String },
    /// Show the last deliveries.
    Log {
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u32,
    },
    /// Run, and show each reminder when it comes, until Ctrl-C. What was missed comes at once.
    Run,
}

#[derive(Debug, Args)]
pub struct Add {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub text: String,
    #[command(flatten)]
    when: When,
    /// The time zone of a cron expression, such as Europe/Berlin.
    #[arg(long, conflicts_with_all = ["at", "after", "every"])]
    zone: Option<String>,
    /// Let so many deliveries fail first, to see retries.
    #[arg(long, default_value_t = 0)]
    pub flaky: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct When {
    /// Once, at this time: 2026-12-24T18:00:00Z.
    #[arg(long)]
    at: Option<Timestamp>,
    /// Once, so long from now: 90s, 4m, 1h 30m.
    #[arg(long, value_parser = positive)]
    after: Option<Duration>,
    /// Again and again.
    #[arg(long, value_parser = positive)]
    every: Option<Duration>,
    /// Whenever the time matches: "0 9 * * MON-FRI".
    #[arg(long)]
    cron: Option<String>,
}

impl Add {
    /// When the reminder comes; clap has seen to it that exactly one is given.
    pub fn rhythm(&self) -> Option<Rhythm> {
        let When { at, after, every, cron } = &self.when;
        let at = at.map(|at| Rhythm::At(SystemTime::from(at)));
        let cron = cron.clone().map(|cron| Rhythm::Cron(cron, self.zone.clone()));
        at.or(after.map(Rhythm::After)).or(every.map(Rhythm::Every)).or(cron)
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a time that is longer than nothing, such as 90s, 4m or 1h 30m".into()),
    }
}
