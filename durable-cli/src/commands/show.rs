//! One object.

use durable_runtime::admin::{Entry, FailureShown, Show, Shown};

use crate::connect::{Objects, quoted};
use crate::failure::{Done, Failure};
use crate::options::ShowOptions;
use crate::output::{Output, bytes, count, none, remark, time, yes_or_no};

pub(super) async fn show(
    objects: &Objects,
    out: &Output,
    options: ShowOptions,
) -> Result<Done, Failure> {
    let ShowOptions { object, limit, after } = options;
    let is_first = after.is_none();
    let shown = objects.perform(Show { object, limit, after }).await?;
    if out.json {
        Output::document(&shown)?;
        return Ok(Done::Well);
    }
    if is_first {
        facts(objects, &shown)?;
        schema(&shown)?;
    }
    entries(&shown)?;
    if is_first {
        work(&shown)?;
    }
    Ok(Done::Well)
}

fn facts(objects: &Objects, shown: &Shown) -> Result<(), Failure> {
    let object = &shown.object;
    Output::line(&object.object)?;
    let mut facts = vec![
        ("id", object.id.clone()),
        ("size", bytes(object.size)),
        ("schema", object.schema_version.to_string()),
        ("created", time(object.created)),
        ("last written", time(object.last_written)),
        ("last used", time(object.last_active)),
        ("next wake", time(object.next_wake)),
    ];
    if let Some(hint) = &object.location_hint {
        facts.push(("location hint", hint.clone()));
    }
    if objects.is_live() {
        facts.push(("in memory", yes_or_no(shown.is_resident)));
        facts.push(("sockets", count(shown.sockets as u64)));
    }
    facts.push(("unsent messages", count(shown.outbox)));
    facts.push(("senders", count(shown.senders)));
    facts.push(("bookmark", shown.bookmark.map_or_else(none, |bookmark| bookmark.to_string())));
    facts.push(("kept since", time(shown.oldest.as_ref().map(|oldest| oldest.time))));
    Output::table(&[], &[], facts.into_iter().map(|(name, value)| vec![format!("  {name}"), value]))
}

fn schema(shown: &Shown) -> Result<(), Failure> {
    if !shown.tables.is_empty() {
        Output::raw("")?;
        let rows = shown.tables.iter().map(|table| {
            vec![
                table.name.clone(),
                table.rows.map_or_else(|| "?".to_owned(), count),
                table.sql.clone(),
            ]
        });
        Output::table(&["TABLE", "ROWS", "SQL"], &[1], rows)?;
    }
    if shown.parts.is_empty() {
        return Ok(());
    }
    Output::raw("")?;
    let rows = shown.parts.iter().map(|part| {
        vec![part.kind.clone(), part.name.clone(), part.table.clone(), part.sql.clone()]
    });
    Output::table(&["KIND", "NAME", "TABLE", "SQL"], &[], rows)
}

fn entries(shown: &Shown) -> Result<(), Failure> {
    if shown.entries.is_empty() {
        return Ok(());
    }
    Output::raw("")?;
    Output::table(
        &["KEY", "VALUE"],
        &[],
        shown.entries.iter().map(|entry| vec![entry.key.clone(), value(entry)]),
    )?;
    if shown.keys > shown.entries.len() as u64
        && let Some(last) = shown.entries.last()
    {
        remark(&format!(
            "there are {} keys: --after {}, or --limit",
            count(shown.keys),
            quoted(&last.key)
        ));
    }
    Ok(())
}

fn value(entry: &Entry) -> String {
    match (&entry.value, &entry.hidden) {
        (Some(value), _) => value.to_string(),
        (None, why) => {
            format!("({} bytes: {})", entry.bytes, why.as_deref().unwrap_or("not shown"))
        }
    }
}

fn work(shown: &Shown) -> Result<(), Failure> {
    if let Some(alarm) = &shown.alarm {
        Output::raw("")?;
        let row = vec![
            time(Some(alarm.time)),
            time(Some(alarm.due)),
            count(alarm.failed.into()),
            yes_or_no(alarm.is_running),
        ];
        Output::table(&["ALARM", "DUE", "FAILED RUNS", "RUNS NOW"], &[2], [row])?;
    }
    if let Some(FailureShown { time: at, runs, reason, .. }) = &shown.failed_alarm {
        Output::raw("")?;
        let row = vec![time(Some(*at)), count((*runs).into()), reason.clone()];
        Output::table(&["ALARM GIVEN UP", "RUNS", "REASON"], &[1], [row])?;
    }
    if !shown.timers.is_empty() {
        Output::raw("")?;
        let rows = shown.timers.iter().map(|timer| {
            let method = match &timer.receiver {
                Some(receiver) => format!("{} of {receiver}", timer.method),
                None => timer.method.clone(),
            };
            let failed = timer.failed.as_ref().map_or_else(none, |failed| failed.reason.clone());
            let due = timer.due.map_or_else(|| "given up".to_owned(), |due| time(Some(due)));
            vec![timer.key.clone(), due, timer.rhythm.clone(), method, failed]
        });
        Output::table(&["TIMER", "DUE", "RHYTHM", "METHOD", "LAST FAILURE"], &[], rows)?;
    }
    if shown.dead_letters.is_empty() {
        return Ok(());
    }
    Output::raw("")?;
    let rows = shown.dead_letters.iter().map(|letter| {
        vec![
            letter.id.to_string(),
            letter.receiver.clone(),
            letter.method.clone(),
            time(Some(letter.given_up)),
            letter.reason.clone(),
        ]
    });
    Output::table(&["DEAD LETTER", "TO", "METHOD", "GIVEN UP", "REASON"], &[0], rows)
}
