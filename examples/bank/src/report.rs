//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;

use crate::money::Money;
use crate::records::{Kind, Line, Summary};
use crate::transfer::Outcome;

/// A table with a rule below its head. The columns in `numbers` are aligned to the right.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .zip(head)
        .map(|(width, head)| width.max(head.len()))
        .collect();
    table.set_header(head);
    table.add_row(widths.iter().map(|width| "─".repeat(*width)));
    table.add_rows(rows);
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// All accounts.
pub fn accounts(accounts: &[(String, Summary)]) -> String {
    if accounts.is_empty() {
        return "no accounts yet: open one with `bank open NAME`".into();
    }
    let rows: Vec<_> = accounts
        .iter()
        .map(|(name, account)| {
            let state = if account.closed { "closed" } else { "open" };
            let (balance, pending) = (Money(account.balance), Money(account.pending));
            [
                name.clone(),
                balance.to_string(),
                pending.to_string(),
                account.entries.to_string(),
                state.into(),
            ]
        })
        .collect();
    table(["account", "balance", "on its way", "entries", "state"], &rows, &[1, 2, 3])
}

/// A page of an account's statement, and how to get the next.
pub fn statement(account: &str, lines: &[Line]) -> String {
    let Some(oldest) = lines.last() else { return "no entries".into() };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let head = ["no", "time (UTC)", "amount", "balance", "entry"];
    let table = table(head, &rows, &[0, 2, 3]);
    if oldest.number == 1 {
        return table;
    }
    format!("{table}\nolder entries: bank statement {account} --before {}", oldest.number)
}

fn row(line: &Line) -> [String; 5] {
    let time = match Timestamp::from_second(line.time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "?".into(),
    };
    let (amount, balance) = (Money(line.amount).to_string(), Money(line.balance).to_string());
    [line.number.to_string(), time, amount, balance, entry(line)]
}

fn entry(line: &Line) -> String {
    let (Some(other), Some(id)) = (&line.other, line.transfer) else {
        return line.kind.as_str().to_owned();
    };
    match (line.kind, line.outcome) {
        (Kind::Received, _) => format!("{id} from {other}"),
        (Kind::Refund, Some(why)) => format!("{id} back from {other} ({})", why.as_str()),
        (_, None) => format!("{id} to {other} (on its way)"),
        (_, Some(Outcome::Settled)) => format!("{id} to {other}"),
        (_, Some(_)) => format!("{id} to {other} (refused)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: i64, kind: Kind, outcome: Option<Outcome>) -> Line {
        let is_transfer = !matches!(kind, Kind::Deposit | Kind::Withdrawal);
        Line {
            number,
            time: 1_772_353_800,
            kind,
            amount: -1_250,
            balance: 123_450,
            other: is_transfer.then(|| "bob".into()),
            transfer: is_transfer.then(|| "00000000000000ff".parse().unwrap()),
            outcome,
        }
    }

    #[test]
    fn a_page_has_the_entries_and_the_way_to_the_next() {
        let lines = [
            line(11, Kind::Sent, None),
            line(10, Kind::Refund, Some(Outcome::Closed)),
            line(9, Kind::Withdrawal, None),
        ];
        let expected = [
            " no  time (UTC)           amount   balance  entry",
            " ──  ───────────────────  ──────  ────────  ───────────────────────────────────────",
            " 11  2026-03-01 08:30:00  -12.50  1,234.50  00000000000000ff to bob (on its way)",
            " 10  2026-03-01 08:30:00  -12.50  1,234.50  00000000000000ff back from bob (closed)",
            "  9  2026-03-01 08:30:00  -12.50  1,234.50  withdrawal",
            "older entries: bank statement al --before 9",
        ];
        let statement = statement("al", &lines);
        assert_eq!(statement.lines().collect::<Vec<_>>(), expected);
    }
}
