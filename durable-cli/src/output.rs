//! What is written: tables for people, JSON for programs.
//!
//! The guarantee: nothing that is stored can make a terminal do anything, in either form: control characters and those that turn the
//! direction of a text round are written as what they are called.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use durable_runtime::admin::Moment;
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;

use crate::failure::Failure;

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Writes one line, or several, that may hold what is stored.
    pub(crate) fn line(text: &str) -> Result<(), Failure> {
        Output::raw(&escaped(text))
    }

    /// Writes text whose control characters are ours, and a line end.
    pub(crate) fn raw(text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.trim_end_matches('\n'))?;
        Ok(out.flush()?)
    }

    /// Writes a value as a line of JSON.
    pub(crate) fn document(value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        Output::raw(&escaped_json(&text))
    }

    /// Writes a table, whose cells are escaped. Numbers stand in the columns that are named `right`.
    pub(crate) fn table(
        head: &[&str],
        right: &[usize],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), Failure> {
        Output::raw(&table(head, right, rows, width()))
    }
}

/// Says something that is no answer: how far it is, what to do next.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escaped(text));
}

/// Columns of the terminal; none if it is no terminal.
fn width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}

fn table(
    head: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !head.is_empty() {
        table.set_header(head);
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for row in rows {
        table.add_row(row.iter().map(|cell| escaped(cell)).collect::<Vec<_>>());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    lines.join("\n")
}

/// Text that a terminal only shows.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            letter if acts(letter) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => shown.push(letter),
        }
    }
    shown
}

/// JSON that a terminal only shows: serde escapes no more than JSON demands. What is escaped stands in strings only.
fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if acts(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a terminal does something else with it than showing it where it stands.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A time to the second, or a sign that there is none.
pub(crate) fn time(time: Option<Moment>) -> String {
    time.map_or_else(none, |time| {
        let text = time.to_string();
        text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
    })
}

pub(crate) fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

pub(crate) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// So many of something: `1 row`, `2 rows`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Where there is nothing to show.
pub(crate) fn none() -> String {
    "-".to_owned()
}

pub(crate) fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[31mb\u{7f}\u{9b}c\nd\u{202e}e\u{2066}\u{feff}ü";

    #[test]
    fn nothing_that_is_stored_reaches_the_terminal_as_a_command() {
        assert_eq!(escaped(NASTY), "a\\u{1b}[31mb\\u{7f}\\u{9b}c\\nd\\u{202e}e\\u{2066}\\u{feff}ü");
        let row = vec![NASTY.to_owned()];
        let shown = table(&["TEXT"], &[], [row], None);
        assert!(shown.chars().all(|letter| letter == '\n' || !acts(letter)), "{shown:?}");
        assert_eq!(shown.lines().count(), 2);
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = serde_json::to_string(NASTY).unwrap();
        let shown = escaped_json(&json);
        assert!(!shown.chars().any(acts), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), NASTY);
        let beyond = serde_json::to_string("\u{e0041}").unwrap();
        assert_eq!(serde_json::from_str::<String>(&escaped_json(&beyond)).unwrap(), "\u{e0041}");
    }

    #[test]
    fn a_wide_table_keeps_its_lines_where_nobody_wraps_them() {
        let row = vec!["x".repeat(300), "1".to_owned()];
        let shown = table(&["A", "B"], &[1], [row], None);
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.lines().all(|line| line == line.trim_end()));
    }
}
