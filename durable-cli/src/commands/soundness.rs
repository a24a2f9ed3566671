//! Whether everything is sound.

use std::io;
use std::path::Path;

use durable_runtime::admin::{CheckObjects, Checked, Finding, MigrationTrials, TryMigrations};
use durable_runtime::{Check, CheckProgress, CheckReport, ErrorKind};
use serde::Serialize;

use crate::connect::{Objects, named, program_of};
use crate::failure::{Done, Failure};
use crate::options::{MigrateOptions, PlaceOptions};
use crate::output::{Output, count, counted, none};
use crate::progress::Progress;

/// Checks the whole directory; the objects only, while a program uses it.
pub(super) async fn check_all(place: &PlaceOptions, out: &Output) -> Result<Done, Failure> {
    let live = match (named(place)?, &place.data) {
        (Some(client), _) => Objects::Live(client),
        (None, Some(directory)) => match check_directory(directory).await {
            Err(Failure::Failed(error)) if error.kind() == ErrorKind::Locked => {
                Objects::Live(program_of(directory).await?)
            }
            report => return tell(&checked(&report?), out),
        },
        (None, None) => Objects::find(place).await?,
    };
    check(&live, out, None).await
}

/// Checks objects, one after the other.
pub(super) async fn check(
    objects: &Objects,
    out: &Output,
    only: Option<String>,
) -> Result<Done, Failure> {
    tell(&objects.perform(CheckObjects { only }).await?, out)
}

async fn check_directory(directory: &Path) -> Result<CheckReport, Failure> {
    let (directory, bar) = (directory.to_owned(), Progress::new());
    let check = move || {
        let check = Check::new(directory).on_progress(move |progress| show(&bar, progress));
        check.run()
    };
    let checked = tokio::task::spawn_blocking(check).await.map_err(io::Error::other)?;
    Ok(checked?)
}

fn show(bar: &Progress, progress: CheckProgress) {
    match progress {
        CheckProgress::Journal { done_bytes, total_bytes } => {
            bar.show("journal", done_bytes, total_bytes);
        }
        CheckProgress::Objects { done, total } => bar.show("objects", done, total),
        _ => {}
    }
}

fn checked(report: &CheckReport) -> Summary {
    let problems = report.problems.iter().map(|problem| {
        let place = match &problem.object {
            Some(object) => format!("{object} in {}", problem.file.display()),
            None => problem.file.display().to_string(),
        };
        Finding::new(place, format!("{}: {}", problem.kind, problem.text))
    });
    Summary { objects: report.objects, problems: problems.collect() }
}

/// What both kinds of check give.
#[derive(Serialize)]
struct Summary {
    objects: u64,
    problems: Vec<Finding>,
}

impl Told for Summary {
    fn parts(&self) -> (u64, &[Finding]) {
        (self.objects, &self.problems)
    }
}

impl Told for Checked {
    fn parts(&self) -> (u64, &[Finding]) {
        (self.objects, &self.problems)
    }
}

trait Told: Serialize {
    fn parts(&self) -> (u64, &[Finding]);
}

fn tell(checked: &impl Told, out: &Output) -> Result<Done, Failure> {
    let (objects, problems) = checked.parts();
    if out.json {
        Output::document(checked)?;
    } else {
        for problem in problems {
            Output::line(&format!("{}: {}", problem.place, problem.text))?;
        }
        let verdict = match problems.len() as u64 {
            0 => "sound".to_owned(),
            problems => counted(problems, "problem"),
        };
        Output::line(&format!("{verdict}: {}", counted(objects, "object")))?;
    }
    Ok(if problems.is_empty() { Done::Well } else { Done::WithProblems })
}

pub(super) async fn migrate(
    objects: &Objects,
    out: &Output,
    options: MigrateOptions,
) -> Result<Done, Failure> {
    let MigrateOptions { only, dry_run: _ } = options;
    let tried = objects.perform(TryMigrations { only }).await?;
    let fails = tried.trials.iter().any(|trial| trial.error.is_some());
    if out.json {
        Output::document(&tried)?;
    } else {
        show_trials(&tried)?;
    }
    Ok(if fails { Done::WithProblems } else { Done::Well })
}

fn show_trials(tried: &MigrationTrials) -> Result<(), Failure> {
    if !tried.trials.is_empty() {
        let rows = tried.trials.iter().map(|trial| {
            let error = trial.error.clone().unwrap_or_else(none);
            vec![trial.object.clone(), trial.from.to_string(), trial.to.to_string(), error]
        });
        Output::table(&["OBJECT", "FROM", "TO", "ERROR"], &[1, 2], rows)?;
    }
    let failing = tried.trials.iter().filter(|trial| trial.error.is_some()).count();
    let (waiting, objects) = (count(tried.trials.len() as u64), counted(tried.objects, "object"));
    Output::line(&format!(
        "of {objects} {waiting} have migrations to come, and {failing} of these fail"
    ))
}
