//! Objects as files, and objects made of others.

use durable_runtime::admin::{Fork, StateAt};

use super::history::state_at;
use crate::connect::Objects;
use crate::failure::{Done, Failure};
use crate::options::{ExportOptions, ForkOptions, ImportOptions};
use crate::output::{Output, bytes};
use crate::progress::Progress;

pub(super) async fn export(
    objects: &Objects,
    out: &Output,
    options: ExportOptions,
) -> Result<Done, Failure> {
    let ExportOptions { object, file, at } = options;
    let exported = objects.export(&object, moment(at.as_deref())?, &file, Progress::new()).await?;
    if out.json {
        Output::document(&exported)?;
    } else {
        let size = bytes(exported.bytes);
        Output::line(&format!(
            "{object} as of {} is in {}: {size}",
            exported.bookmark,
            file.display()
        ))?;
    }
    Ok(Done::Well)
}

pub(super) async fn import(
    objects: &Objects,
    out: &Output,
    options: ImportOptions,
) -> Result<Done, Failure> {
    let ImportOptions { object, file } = options;
    let imported = objects.import(&object, &file, Progress::new()).await?;
    if out.json {
        Output::document(&imported)?;
    } else {
        Output::line(&format!("{} is made of {}", imported.object, file.display()))?;
    }
    Ok(Done::Well)
}

pub(super) async fn fork(
    objects: &Objects,
    out: &Output,
    options: ForkOptions,
) -> Result<Done, Failure> {
    let ForkOptions { object, to, at } = options;
    let forked =
        objects.perform(Fork { object: object.clone(), to, at: moment(at.as_deref())? }).await?;
    if out.json {
        Output::document(&forked)?;
    } else {
        Output::line(&format!("{} is made of {object}", forked.object))?;
    }
    Ok(Done::Well)
}

/// In which state something is copied.
fn moment(at: Option<&str>) -> Result<StateAt, Failure> {
    at.map_or(Ok(StateAt::default()), state_at)
}
