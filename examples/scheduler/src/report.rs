//! Tables for people.

use std::time::SystemTime;

use comfy_table::{Table, presets};
use jiff::Timestamp;

use crate::agenda::{Delivery, Entry};

/// What is to come.
pub fn entries(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing to come: add a reminder with `scheduler add`".into();
    }
    let rows = entries.iter().map(|entry| {
        let next = entry.next.map_or_else(|| "given up".into(), time);
        let trouble = entry.trouble.as_ref();
        let trouble = trouble.map_or_else(String::new, |(runs, why)| format!("{runs}: {why}"));
        [entry.name.clone(), next, entry.rhythm.clone(), trouble]
    });
    table(["name", "next (UTC)", "rhythm", "failed deliveries"], rows)
}

/// What has come.
pub fn deliveries(deliveries: &[Delivery]) -> String {
    if deliveries.is_empty() {
        return "nothing has come yet".into();
    }
    let rows = deliveries.iter();
    table(
        ["time (UTC)", "name", "text"],
        rows.map(|one| [time(one.at), one.name.clone(), one.text.clone()]),
    )
}

/// One reminder, as it comes.
pub fn delivery(delivery: &Delivery) -> String {
    format!("{}  {}: {}", time(delivery.at), delivery.name, delivery.text)
}

/// To the second.
fn time(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map_or_else(|_| "far away".into(), |time| time.strftime("%F %T").to_string())
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
