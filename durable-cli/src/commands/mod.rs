//! Each command: what it asks for, and how the answer is shown.

mod copies;
mod history;
mod lists;
mod repair;
mod show;
mod soundness;
mod top;

use clap::CommandFactory;

use crate::connect::Objects;
use crate::failure::{Done, Failure};
use crate::options::{Command, Options};
use crate::output::Output;

/// Does what was asked for.
pub(crate) async fn run(options: Options) -> Result<Done, Failure> {
    let Options { place, json, command } = options;
    let out = Output { json };
    match command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), "durable", &mut text);
            return Output::raw(&String::from_utf8_lossy(&text)).map(|()| Done::Well);
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Options::command()).render(&mut text)?;
            return Output::raw(&String::from_utf8_lossy(&text)).map(|()| Done::Well);
        }
        // Without starting an engine, which would bring files up to date.
        Command::Check(only) if only.only.is_none() => {
            return soundness::check_all(&place, &out).await;
        }
        // While nothing is locked: people take their time.
        Command::Delete(ref options) if !options.yes => repair::ask(&options.object)?,
        _ => {}
    }
    let objects = Objects::find(&place).await?;
    let done = ask(&objects, &out, &place, command).await;
    objects.close().await;
    done
}

async fn ask(
    objects: &Objects,
    out: &Output,
    place: &crate::options::PlaceOptions,
    command: Command,
) -> Result<Done, Failure> {
    match command {
        Command::Classes => lists::classes(objects, out).await,
        Command::List(options) => lists::list(objects, out, options).await,
        Command::Show(options) => show::show(objects, out, options).await,
        Command::Sql(options) => lists::sql(objects, out, options).await,
        Command::Bookmarks(options) => history::bookmarks(objects, out, options).await,
        Command::Restore(options) => history::restore(objects, out, place, options).await,
        Command::Export(options) => copies::export(objects, out, options).await,
        Command::Import(options) => copies::import(objects, out, options).await,
        Command::Fork(options) => copies::fork(objects, out, options).await,
        Command::Evict(options) => repair::evict(objects, out, options).await,
        Command::Delete(options) => repair::delete(objects, out, options).await,
        Command::Alarms(options) => repair::alarms(objects, out, options).await,
        Command::Check(options) => soundness::check(objects, out, options.only).await,
        Command::Migrate(options) => soundness::migrate(objects, out, options).await,
        Command::Stats => lists::stats(objects, out).await,
        Command::Top(options) => top::top(objects, out, options).await,
        // They ask nobody.
        Command::Completions { .. } | Command::Man => Ok(Done::Well),
    }
}
