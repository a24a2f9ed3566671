//! Tables of what there is.

use durable_runtime::admin::{Cell, Classes, List, RunSql, Stats, Summary};

use crate::connect::{Objects, quoted};
use crate::failure::{Done, Failure};
use crate::options::{ListOptions, SqlOptions};
use crate::output::{Output, bytes, count, counted, none, remark, time, yes_or_no};

/// Objects that are asked for at a time when all are wanted.
const PAGE: usize = 1_000;

pub(super) async fn classes(objects: &Objects, out: &Output) -> Result<Done, Failure> {
    let classes = objects.perform(Classes {}).await?;
    if out.json {
        Output::document(&classes)?;
        return Ok(Done::Well);
    }
    let rows = classes.into_iter().map(|class| {
        let former = class.former_names.join(", ");
        let former = if former.is_empty() { none() } else { former };
        let registered = if objects.is_live() { yes_or_no(class.is_registered) } else { none() };
        vec![class.name, count(class.objects), registered, former]
    });
    Output::table(&["CLASS", "OBJECTS", "REGISTERED", "FORMERLY"], &[1], rows)?;
    Ok(Done::Well)
}

pub(super) async fn list(
    objects: &Objects,
    out: &Output,
    options: ListOptions,
) -> Result<Done, Failure> {
    let ListOptions { class, prefix, limit, after, all } = options;
    let limit = if all { PAGE } else { usize::try_from(limit).unwrap_or(PAGE) };
    let mut request = List { class, prefix, limit, after };
    let mut found: Vec<Summary> = Vec::new();
    loop {
        let page = objects.perform(request.clone()).await?;
        let next = page.next.clone();
        if out.json && !all {
            Output::document(&page)?;
            return Ok(Done::Well);
        }
        if out.json {
            page.objects.iter().try_for_each(Output::document)?;
        } else {
            found.extend(page.objects);
        }
        if !all || next.is_none() {
            if !out.json {
                Output::table(
                    &["OBJECT", "SIZE", "SCHEMA", "LAST WRITTEN", "NEXT WAKE"],
                    &[1, 2],
                    found.into_iter().map(summary),
                )?;
            }
            if let Some(next) = next {
                remark(&format!("there are more: --after {}, or --all", quoted(&next)));
            }
            return Ok(Done::Well);
        }
        request.after = next;
    }
}

fn summary(object: Summary) -> Vec<String> {
    vec![
        object.object,
        bytes(object.size),
        object.schema_version.to_string(),
        time(object.last_written),
        time(object.next_wake),
    ]
}

pub(super) async fn sql(
    objects: &Objects,
    out: &Output,
    options: SqlOptions,
) -> Result<Done, Failure> {
    let SqlOptions { object, query, write, limit, timeout } = options;
    let time = std::time::Duration::try_from_secs_f64(timeout)
        .map_err(|_| Failure::Usage(format!("{timeout} is no time in seconds")))?;
    let time_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let rows = usize::try_from(limit).unwrap_or(usize::MAX);
    let rows = objects.perform(RunSql { object, query, write, rows, time_ms }).await?;
    if out.json {
        Output::document(&rows)?;
        return Ok(Done::Well);
    }
    if !rows.columns.is_empty() {
        let head = rows.columns.iter().map(|name| crate::output::escaped(name)).collect::<Vec<_>>();
        let head = head.iter().map(String::as_str).collect::<Vec<_>>();
        let is_number = |index: &usize| {
            let mut cells = rows.rows.iter().filter_map(|row| row.get(*index)).peekable();
            cells.peek().is_some()
                && cells.all(|cell| matches!(cell, Cell::Integer(_) | Cell::Real(_) | Cell::Null))
        };
        let right = (0..head.len()).filter(is_number).collect::<Vec<_>>();
        Output::table(&head, &right, rows.rows.iter().map(|row| row.iter().map(cell).collect()))?;
    }
    if write {
        Output::line(&format!("{} changed", counted(rows.changed, "row")))?;
    }
    if rows.has_more {
        remark("there are more rows: --limit");
    }
    Ok(Done::Well)
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(value) => value.to_string(),
        Cell::Real(value) => format!("{value:?}"),
        Cell::Text(text) => text.clone(),
        Cell::Blob { blob } => format!("x'{blob}'"),
        Cell::Infinite { real } => real.clone(),
    }
}

pub(super) async fn stats(objects: &Objects, out: &Output) -> Result<Done, Failure> {
    let stats = objects.perform(Stats {}).await?;
    if out.json {
        Output::document(&stats)?;
        return Ok(Done::Well);
    }
    let is_live = stats.is_live;
    let rows = stats.classes.into_iter().map(|class| {
        let resident = if is_live { count(class.resident) } else { none() };
        vec![
            class.name,
            count(class.objects),
            resident,
            bytes(class.bytes),
            count(class.waking),
            count(class.given_up),
        ]
    });
    Output::table(
        &["CLASS", "OBJECTS", "IN MEMORY", "SIZE", "WAKE", "GAVE UP"],
        &[1, 2, 3, 4, 5],
        rows,
    )?;
    Output::raw("")?;
    let rows = [
        ("journal", stats.journal_bytes),
        ("history", stats.history_bytes),
        ("catalogue", stats.catalogue_bytes),
    ];
    Output::table(
        &["ON DISK", "SIZE"],
        &[1],
        rows.map(|(name, size)| vec![name.to_owned(), bytes(size)]),
    )?;
    Ok(Done::Well)
}
