//! Counts the visits in a web server's access log, with one durable object for each page.
//!
//! Start reading at [`page`]: the object that counts. The rest brings it the lines of the log
//! ([`log`], [`chunk`], [`store`]) and asks it for what it counted ([`report`]).
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]
#![allow(clippy::unused_self, reason = "an object without fields still has methods")]

mod chunk;
mod log;
mod page;
mod progress;
mod report;
mod site;
mod store;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use durable::Runtime;

use crate::chunk::Log;
use crate::page::Page;
use crate::progress::{Progress, note};
use crate::report::Counted;
use crate::site::Site;
use crate::store::Unread;

/// How many calls wait for their answers at the same time. More of them share one flush of the
/// disk; fewer take less memory.
const CALLS_IN_FLIGHT: usize = 64;

/// Counts the visits in a web server's access log, page by page, and shows the top pages.
///
/// Counts are kept: another log, or the same again, adds to them.
#[derive(Debug, Parser)]
struct Options {
    /// The log, in common or combined format; standard input if it is `-` or left out
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    log: PathBuf,

    /// The directory that the counts are kept in
    #[arg(long, value_name = "DIR", default_value = "./data/visits")]
    data: PathBuf,

    /// How many pages to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("visits: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (log, log_bytes) = open(&options.log)?;
    let runtime =
        Runtime::builder(&options.data).register::<Page>().register::<Site>().start().await?;
    let counted = count(&runtime, Log::new(log), Progress::new(log_bytes)).await;
    runtime.shutdown().await?;
    let (unread, pages) = counted?;
    tell(&unread);
    print(&report::table(pages, options.top))?;
    Ok(())
}

async fn count<R: BufRead>(
    runtime: &Runtime,
    log: Log<R>,
    progress: Progress,
) -> durable::Result<(Unread, Vec<Counted>)> {
    let unread = store::store(runtime, log, progress).await?;
    let pages = report::visited_pages(runtime).await?;
    Ok((unread, pages))
}

/// The log, and its size if that is known.
fn open(path: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), String> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            note("reading the log from standard input");
        }
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let cannot_read = |error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if metadata.is_dir() {
        return Err(format!("cannot read {}: it is a directory", path.display()));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::new(file)), size))
}

/// Says which lines were not understood.
fn tell(unread: &Unread) {
    let more = unread.total - unread.first.len();
    match unread.total {
        0 => return,
        1 => note("1 line was not understood:"),
        total => note(format_args!("{total} lines were not understood:")),
    }
    for (line, why) in &unread.first {
        note(format_args!("  line {line}: {why}"));
    }
    if more > 0 {
        note(format_args!("  and {more} more"));
    }
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the table: {error}"))
        }
        _ => Ok(()),
    }
}
