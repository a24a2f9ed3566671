//! Documents with undo, redo and copies of any version: each is a durable object, and the runtime keeps what it was.
//!
//! Start reading at [`document`]: the object that goes back and forth. [`versions`] is another one, which remembers where to;
//! [`desk`] has what one can do with them, and [`draft`] an object that expires.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

mod desk;
mod document;
mod draft;
mod options;
#[cfg(test)]
mod tests;
mod versions;

use std::fmt::Display;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use durable::{Error, Result, Runtime};

use crate::desk::Desk;
use crate::document::Document;
use crate::draft::Draft;
use crate::options::{Command, Options};
use crate::versions::Versions;

/// For how long one can undo.
const HISTORY: Duration = Duration::from_hours(30 * 24);

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "documents: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn run(options: &Options) -> Result<()> {
    let builder = Runtime::builder(&options.data).history(HISTORY);
    let builder = builder.register::<Document>().register::<Versions>().register::<Draft>();
    let runtime = builder.start().await?;
    let done = execute(&Desk::new(&runtime), &options.command).await;
    runtime.shutdown().await?;
    done
}

async fn execute(desk: &Desk<'_>, command: &Command) -> Result<()> {
    let at = |name: &str, version: u32| say(format_args!("{name} is at version {version}"));
    match command {
        Command::Write { name, text: Some(text) } => at(name, desk.write(name, text).await?),
        Command::Write { name, text: None } => {
            for line in io::stdin().lock().lines() {
                at(name, desk.write(name, &line.map_err(Error::other)?).await?);
            }
        }
        Command::Show { name } => say(desk.read(name).await?.1),
        Command::Undo { name } => at(name, desk.undo(name).await?),
        Command::Redo { name } => at(name, desk.redo(name).await?),
        Command::Versions { name } => {
            let (versions, now) = desk.versions(name).await?;
            for version in versions {
                let mark = if version.number == now { '>' } else { ' ' };
                say(format_args!("{mark} {:>3}  {}", version.number, version.title));
            }
        }
        Command::Copy { name, to, version } => at(to, desk.copy(name, to, *version).await?),
        Command::Draft { name, text } => desk.draft(name, text).await?,
        Command::Publish { name } => at(name, desk.publish(name).await?),
        Command::List => {
            desk.names::<Document>().await?.iter().for_each(say);
            for name in desk.names::<Draft>().await? {
                say(format_args!("{name} (draft)"));
            }
        }
    }
    Ok(())
}
