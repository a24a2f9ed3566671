//! `conformance`: replays recorded cases and says what is as recorded, what differs by design, and what
//! fails.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use conformance::{CaseFile, Driver, Report, Result, Shown, own_files};

/// Replays cases that were recorded from the reference implementation of Durable Objects.
///
/// Exits with 1 if a case fails, with 2 if there is nothing to replay.
#[derive(Debug, Parser)]
struct Options {
    /// Files of cases; without any, those that come with the program.
    files: Vec<PathBuf>,
    /// Replays only the cases whose names contain this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Names every case, with the rules under which it differs.
    #[arg(long, short)]
    verbose: bool,
    /// Prints JSON instead of text.
    #[arg(long)]
    json: bool,
}

// One thread, as in the reference, so that each run is like the one before.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match replay(&options).await {
        Ok(report) => {
            let text = match (options.json, options.verbose) {
                (true, _) => report.json().to_string(),
                (false, true) => report.text(Shown::All),
                (false, false) => report.text(Shown::Failures),
            };
            // Nobody reads on: not an error of ours.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            ExitCode::from(u8::from(report.counts().failed > 0))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "conformance: {error}");
            ExitCode::from(2)
        }
    }
}

async fn replay(options: &Options) -> Result<Report> {
    let paths = if options.files.is_empty() { own_files() } else { options.files.clone() };
    let files = paths.iter().map(|path| CaseFile::read(path)).collect::<Result<Vec<_>>>()?;
    let mut driver = Driver::start().await?;
    let mut report = Report::default();
    for file in files {
        report.begin(file.area);
        for case in file.cases {
            let wanted = options.only.as_ref().is_none_or(|part| case.name.contains(part));
            if wanted {
                let verdict = driver.replay(&case).await;
                report.add(&case, verdict);
            }
        }
    }
    driver.shut_down().await?;
    Ok(report)
}
