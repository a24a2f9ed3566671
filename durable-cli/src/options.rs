//! What can be asked for.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

const AFTER: &str = "\
Objects are written Class/name, or Class/ and the 64 hex digits of an id.

Exit codes: 0 done, 1 failed, 2 asked for in a way that means nothing, 3 a check has found problems, 4 no such class, object or moment.";

/// Looks into durable objects and repairs them: in a data directory that nobody uses, or in a running program that serves the
/// admin API.
#[derive(Debug, Parser)]
#[command(name = "durable", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    /// Print one JSON document, or one a line, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the objects are.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaceOptions {
    /// The data directory. If a program uses it, that is asked, by the socket in the directory.
    #[arg(long, value_name = "DIR", env = "DURABLE_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// The unix socket of a program.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "url")]
    pub(crate) socket: Option<PathBuf>,
    /// The address of a program, as in <http://127.0.0.1:7070>.
    #[arg(long, global = true, requires = "token_file")]
    pub(crate) url: Option<String>,
    /// The file with the token for it.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The classes that are stored
    Classes,
    /// The objects of a class
    List(ListOptions),
    /// All that is known of one object
    Show(ShowOptions),
    /// Run SQL on one object
    Sql(SqlOptions),
    /// What an object was: bookmarks to restore it to
    Bookmarks(BookmarksOptions),
    /// Make an object what it was, at a bookmark or a time
    Restore(RestoreOptions),
    /// Write an object to a file, a plain SQLite database
    Export(ExportOptions),
    /// Make an object of a SQLite file
    Import(ImportOptions),
    /// Make an object of another one
    Fork(ForkOptions),
    /// Send an object out of memory
    Evict(ObjectOptions),
    /// Delete all that an object has stored
    Delete(DeleteOptions),
    /// What objects do next by themselves, and what they have given up
    Alarms(AlarmsOptions),
    /// Whether everything is sound
    Check(OnlyOptions),
    /// Whether the program's migrations would succeed
    Migrate(MigrateOptions),
    /// How much there is of everything
    Stats,
    /// The busiest objects, again and again
    Top(TopOptions),
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// The manual page
    Man,
}

#[derive(Args, Debug)]
pub(crate) struct ObjectOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// The class
    pub(crate) class: String,
    /// Only objects whose names begin like this, in the order of their names
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) prefix: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Go on where a list has ended
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<String>,
    /// All of them; as JSON, one a line
    #[arg(long, conflicts_with_all = ["limit", "after"])]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
    /// How many keys and dead letters
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only keys after this one
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) after: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SqlOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
    /// One statement, under the guards of the object's own SQL
    pub(crate) query: String,
    /// Let it write. The object's instance is made anew afterwards
    #[arg(long)]
    pub(crate) write: bool,
    /// How many rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// How long it may run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) timeout: f64,
}

#[derive(Args, Debug)]
pub(crate) struct BookmarksOptions {
    /// The object: Class/name or Class/<id>. It may have been deleted
    pub(crate) object: String,
    /// Also that of a time: 2026-11-21T16:05:00Z, or '10m ago'
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// How many of the last commits
    #[arg(long, value_name = "COMMITS", default_value_t = 10)]
    pub(crate) last: usize,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreOptions {
    /// The object: Class/name or Class/<id>. It may have been deleted
    pub(crate) object: String,
    /// A bookmark, or a time: 2026-11-21T16:05:00Z, or '10m ago'
    pub(crate) to: String,
}

#[derive(Args, Debug)]
pub(crate) struct ExportOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
    /// The file, which must not be there
    pub(crate) file: PathBuf,
    /// As it was: a bookmark, or a time: 2026-11-21T16:05:00Z, or '10m ago'
    #[arg(long, value_name = "MOMENT")]
    pub(crate) at: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportOptions {
    /// The object that is made: Class/name or Class/<id>
    pub(crate) object: String,
    /// The file: an export, or any SQLite database whose `user_version` is the number of its last migration
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ForkOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
    /// The object that is made of it
    pub(crate) to: String,
    /// As it was: a bookmark, or a time: 2026-11-21T16:05:00Z, or '10m ago'
    #[arg(long, value_name = "MOMENT")]
    pub(crate) at: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteOptions {
    /// The object: Class/name or Class/<id>
    pub(crate) object: String,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AlarmsOptions {
    /// Only objects of this class
    pub(crate) class: Option<String>,
    /// How many of each
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    /// Have the alarm of this object run now, in the program
    #[arg(long, value_name = "OBJECT", conflicts_with_all = ["class", "retry"])]
    pub(crate) fire: Option<String>,
    /// Try again all that this object has given up
    #[arg(long, value_name = "OBJECT", conflicts_with = "class")]
    pub(crate) retry: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct OnlyOptions {
    /// Only a class, or one object. The journal and the files are checked only without this, while no program uses them
    #[arg(value_name = "CLASS|OBJECT")]
    pub(crate) only: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateOptions {
    /// Only a class, or one object
    #[arg(value_name = "CLASS|OBJECT")]
    pub(crate) only: Option<String>,
    /// Try the migrations and undo them. Without this there is nothing to do: objects are migrated when they are next in use
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TopOptions {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) interval: f64,
    /// How many looks, in place of going on until Ctrl-C
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// How many objects
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
}
