//! Reminders: named timers of an object that belongs to one person.
//!
//! Start reading at [`agenda`], the object; [`options`] is the command line.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

mod agenda;
mod options;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use durable::prelude::*;

use crate::agenda::{Agenda, AgendaStub, Delivery, Reminder, Show, Tries};
use crate::options::{Command, Options};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "scheduler: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

async fn run(options: &Options) -> Result<String> {
    // What is due comes while any command runs: the runtime does not ask which.
    let show: Show = Box::new(|delivery: &Delivery| say(&report::delivery(delivery)));
    let builder = Runtime::builder(&options.data).env(show).env(Tries::default());
    let runtime = builder.register::<Agenda>().start().await?;
    let done = execute(&runtime.get::<Agenda>(&options.agenda), &options.command).await;
    runtime.shutdown().await?;
    done
}

async fn execute(agenda: &AgendaStub, command: &Command) -> Result<String> {
    Ok(match command {
        Command::Add(add) => {
            let rhythm = add.rhythm().ok_or_else(|| durable::Error::other("when?"))?;
            let reminder = Reminder { text: add.text.clone(), flaky: add.flaky };
            agenda.add(&add.name, rhythm, reminder).await?;
            report::entries(&agenda.entries().await?)
        }
        Command::List => report::entries(&agenda.entries().await?),
        Command::Remove { name } if agenda.remove(name).await? => format!("{name} is removed"),
        Command::Remove { name } => {
            return Err(durable::Error::other(format!("there is no reminder `{name}`")));
        }
        Command::Log { count } => report::deliveries(&agenda.deliveries(*count).await?),
        Command::Run => {
            say("waiting for what is to come; Ctrl-C ends");
            tokio::signal::ctrl_c().await.map_err(durable::Error::other)?;
            report::entries(&agenda.entries().await?)
        }
    })
}
