//! An address book for each person, in three versions of one program that share a data directory.
//!
//! Read `v1`, `v2` and `v3` in `src/bin`, in this order: each is the whole program of its time,
//! and its documentation says what is new. Here is only what none of them changes, the command line.
//!
//! What is promised when versions meet each other's data, and tried in `tests/versions.rs`:
//! - An object's migrations run when it is first used. One that fails stops that object alone, and leaves it as it was.
//! - A program that is older than an object's schema refuses that object, and does not touch it. It goes on with all that no newer program
//!   has used.
//! - A class with another name keeps its objects, if it says so.
//! - A class that is gone from the program is told of, and its objects are kept.
//! - `check` tells what would happen to each object, and changes nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use durable::{Builder, DurableObject, Error, Result, Runtime, check_migrations_on};

/// Keeps an address book for each person.
#[derive(Debug, Parser)]
pub struct Options {
    /// The directory that the books are kept in
    #[arg(long, global = true, value_name = "DIR", default_value = "./data/versions")]
    data: PathBuf,

    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Adds an entry to a person's book
    Add {
        owner: String,
        /// For example "Ada Lovelace <ada@example.org>"
        entry: String,
    },
    /// Shows a person's book
    Show { owner: String },
    /// Says what this version would do with each book, and does nothing
    Check,
    /// Shows which classes are stored
    Classes,
    /// Deletes a class that this version does not have
    DeleteClass {
        name: String,
        /// Also if it has objects, and with them
        #[arg(long)]
        force: bool,
    },
}

/// What each version of the program can do with a book, by the methods that its object has then.
#[expect(async_fn_in_trait, reason = "nobody else implements it")]
pub trait Version: DurableObject {
    /// The classes that the program has.
    fn register(builder: Builder) -> Builder;

    /// Adds an entry.
    async fn add(runtime: &Runtime, owner: &str, entry: &str) -> Result<()>;

    /// All entries, one in a line.
    async fn show(runtime: &Runtime, owner: &str) -> Result<Vec<String>>;
}

/// The `main` of each version.
pub async fn main<V: Version>() -> ExitCode {
    // What the runtime tells of goes to standard error, as in a server.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
    match run::<V>(&Options::parse()).await {
        Ok(lines) => {
            for line in lines {
                // A reader that has seen enough, such as `head`, is no failure.
                let _ = writeln!(io::stdout(), "{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{:?}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}

async fn run<V: Version>(options: &Options) -> Result<Vec<String>> {
    if let Command::Check = options.command {
        let data = options.data.clone();
        let checked = tokio::task::spawn_blocking(move || check::<V>(data));
        return checked.await.map_err(Error::other)?;
    }
    let runtime = V::register(Runtime::builder(&options.data)).start().await?;
    let done = execute::<V>(&runtime, &options.command).await;
    runtime.shutdown().await?;
    done
}

async fn execute<V: Version>(runtime: &Runtime, command: &Command) -> Result<Vec<String>> {
    match command {
        Command::Add { owner, entry } => {
            V::add(runtime, owner, entry).await?;
            V::show(runtime, owner).await
        }
        Command::Show { owner } => V::show(runtime, owner).await,
        Command::Check => Ok(Vec::new()),
        Command::Classes => {
            let classes = runtime.classes().await?.into_iter();
            let lines = classes.map(|class| {
                let gone = if class.is_registered { "" } else { ", not in this program" };
                format!("{}: {} objects{gone}", class.name, class.objects)
            });
            Ok(lines.collect())
        }
        Command::DeleteClass { name, force } => {
            let objects = runtime.delete_class(name, *force).await?;
            Ok(vec![format!("{name} is deleted, with {objects} objects")])
        }
    }
}

/// One line for each book, in the order of their owners.
fn check<V: Version>(data: PathBuf) -> Result<Vec<String>> {
    let mut lines: Vec<_> = check_migrations_on::<V>(data)?
        .objects
        .into_iter()
        .map(|object| {
            let owner = object.id.name().map_or_else(|| object.id.to_string(), str::to_owned);
            let (from, to) = (object.from, object.to);
            match object.error {
                Some(error) => format!("{owner}: stays at version {from}: {error}"),
                None if from == to => format!("{owner}: has version {to}"),
                None => format!("{owner}: goes from version {from} to {to}"),
            }
        })
        .collect();
    lines.sort();
    Ok(lines)
}
