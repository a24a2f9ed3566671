//! Commands that change something.

use std::io::{self, BufRead, IsTerminal, Write};

use durable_runtime::admin::{Alarms, Delete, Evict, Fire, Retry};
use durable_runtime::{Error, ErrorKind};

use crate::connect::Objects;
use crate::failure::{Done, Failure};
use crate::options::{AlarmsOptions, DeleteOptions, ObjectOptions};
use crate::output::{Output, count, counted, escaped, time};

pub(super) async fn evict(
    objects: &Objects,
    out: &Output,
    options: ObjectOptions,
) -> Result<Done, Failure> {
    let ObjectOptions { object } = options;
    let evicted = objects.perform(Evict { object: object.clone() }).await?;
    if out.json {
        Output::document(&evicted)?;
    } else if evicted.is_out {
        Output::line(&format!("{object} is not in memory"))?;
    }
    if evicted.is_out {
        return Ok(Done::Well);
    }
    let text = format!("{object} is at work, and stays in memory: try again later");
    Err(Error::new(ErrorKind::Overloaded, text).into())
}

pub(super) async fn delete(
    objects: &Objects,
    out: &Output,
    options: DeleteOptions,
) -> Result<Done, Failure> {
    let DeleteOptions { object, yes: _ } = options;
    let deleted = objects.perform(Delete { object: object.clone() }).await?;
    if out.json {
        Output::document(&deleted)?;
    } else if deleted.existed {
        Output::line(&format!("{object} is deleted"))?;
    }
    if deleted.existed {
        return Ok(Done::Well);
    }
    let text = format!("{object} does not exist: nothing of it is stored");
    Err(Error::new(ErrorKind::NotFound, text).into())
}

/// Asks whoever sits there whether an object is to be deleted.
///
/// # Errors
/// If not, or nobody can be asked.
pub(super) fn ask(object: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let text = format!(
            "{object} would be deleted with all that it has stored, and nobody can be asked: say `--yes`"
        );
        return Err(Failure::Usage(text));
    }
    let mut err = io::stderr();
    write!(err, "Delete {} and all that it has stored? [y/N] ", escaped(object))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "nothing was deleted").into())
}

pub(super) async fn alarms(
    objects: &Objects,
    out: &Output,
    options: AlarmsOptions,
) -> Result<Done, Failure> {
    let AlarmsOptions { class, limit, fire, retry } = options;
    if let Some(object) = fire {
        let fired = objects.perform(Fire { object: object.clone() }).await?;
        if out.json {
            Output::document(&fired)?;
        } else {
            Output::line(&format!("the alarm of {object} runs now"))?;
        }
        return Ok(Done::Well);
    }
    if let Some(object) = retry {
        let retried = objects.perform(Retry { object: object.clone() }).await?;
        if out.json {
            Output::document(&retried)?;
        } else {
            Output::line(&format!(
                "{object} tries {} again",
                counted(retried.count as u64, "thing")
            ))?;
        }
        return Ok(Done::Well);
    }
    let waiting = objects.perform(Alarms { class, limit }).await?;
    if out.json {
        Output::document(&waiting)?;
        return Ok(Done::Well);
    }
    let due = waiting
        .due
        .into_iter()
        .map(|due| vec![time(Some(due.due)), due.object, due.why, count(due.failed.into())]);
    Output::table(&["DUE", "OBJECT", "FOR", "FAILED RUNS"], &[3], due)?;
    if waiting.given_up.is_empty() {
        return Ok(Done::Well);
    }
    Output::raw("")?;
    let given_up = waiting.given_up.into_iter().map(|given_up| {
        vec![time(Some(given_up.time)), given_up.object, given_up.what, given_up.reason]
    });
    Output::table(&["GIVEN UP", "OBJECT", "WHAT", "REASON"], &[], given_up)?;
    Ok(Done::Well)
}
