//! Holds `docs/observability.md` to the source: every event, span and number of the runtime stands there, and no other.
//!
//! The page's tables have one row for each. What is compared of an event is its level, its text and its fields.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Level, text and fields.
type Event = (String, String, BTreeSet<String>);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The texts of all files of the runtime that are not tests.
fn sources() -> Vec<String> {
    let mut folders = vec![workspace().join("durable-runtime/src")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            // Where the macros themselves are defined.
            } else if name.ends_with(".rs") && name != "tests.rs" && name != "events.rs" {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// The arguments of each call of a macro in the text, whose name ends in this.
fn calls(text: &str, name: &str) -> Vec<Vec<String>> {
    let opening = format!("{name}!(");
    text.match_indices(&opening)
        .map(|(place, _)| arguments(&text[place + opening.len()..]))
        .collect()
}

/// Splits at the commas outside of brackets and strings, up to the closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut is_string) = (vec![String::new()], 0, false);
    for (place, letter) in text.char_indices() {
        let is_escaped = text[..place].ends_with('\\');
        match letter {
            '"' if !is_escaped => is_string = !is_string,
            '(' | '[' | '{' if !is_string => depth += 1,
            ')' if !is_string && depth == 0 => break,
            ')' | ']' | '}' if !is_string => depth -= 1,
            ',' if !is_string && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(letter);
    }
    arguments.iter().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// The text, and the names of the fields: `reason = %error`, `?from`, `objects`.
fn text_and_fields(arguments: &[String]) -> (String, BTreeSet<String>) {
    let text = arguments.iter().find_map(|it| it.strip_prefix('"')?.strip_suffix('"'));
    let field = |argument: &String| {
        let is_option = argument.starts_with("target:") || argument.starts_with("parent:");
        let name = argument.split('=').next().unwrap().trim_start_matches(['?', '%']).trim();
        (!is_option && !argument.starts_with('"')).then(|| name.to_owned())
    };
    let text = text.unwrap_or_else(|| panic!("no text: {arguments:?}"));
    (text.to_owned(), arguments.iter().filter_map(field).collect())
}

fn events() -> BTreeSet<Event> {
    let mut events = BTreeSet::new();
    for source in sources() {
        for arguments in calls(&source, "note") {
            let (text, fields) = text_and_fields(&arguments[1..]);
            events.insert((arguments[0].clone(), text, fields));
        }
        for arguments in calls(&source, "event") {
            let (text, mut fields) = text_and_fields(&arguments[2..]);
            fields.extend(["class", "id", "name"].map(str::to_owned));
            events.insert((arguments[0].clone(), text, fields));
        }
        for level in ["error", "warn", "info", "debug", "trace"] {
            for arguments in calls(&source, &format!("tracing::{level}")) {
                let (text, fields) = text_and_fields(&arguments);
                events.insert((level.to_owned(), text, fields));
            }
        }
    }
    events
}

/// The cells of the rows of the tables under this heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(workspace().join("docs/observability.md")).unwrap();
    let section = page.split("\n# ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no section `{heading}`"));
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    let is_head =
        |cells: &Vec<String>| cells[0] == "level" || cells[0] == "span" || cells[0] == "name";
    rows.map(cells).filter(|cells| !is_head(cells)).collect()
}

/// `class`, `id` as in a cell of the page.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split(", ")
        .map(|name| name.trim_matches('`').to_owned())
        .filter(|it| !it.is_empty())
        .collect()
}

#[test]
fn the_page_has_every_event_with_its_level_and_fields() {
    let events = events();
    assert!(events.len() > 40, "the events are no longer found: {events:#?}");
    let listed: BTreeSet<Event> = rows("Events")
        .into_iter()
        .map(|cells| (cells[0].clone(), cells[1].clone(), names(&cells[2])))
        .collect();
    let missing: Vec<_> = events.difference(&listed).collect();
    let surplus: Vec<_> = listed.difference(&events).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}

#[test]
fn the_page_has_every_span_with_its_fields() {
    let spans = sources().iter().flat_map(|source| calls(source, "debug_span")).collect::<Vec<_>>();
    let spans: BTreeSet<_> = spans.iter().map(|arguments| text_and_fields(arguments)).collect();
    assert_eq!(spans.len(), 3, "{spans:?}");
    let listed: BTreeSet<_> =
        rows("Spans").into_iter().map(|cells| (cells[0].clone(), names(&cells[1]))).collect();
    assert_eq!(listed, spans);
}

#[test]
fn the_page_has_every_number() {
    let is_name = |text: &&str| text.starts_with("durable_") && !text.contains(' ');
    let sources = sources();
    let source = sources.iter().find(|source| source.contains("describe_counter!")).unwrap();
    let names: BTreeSet<_> = source.split('"').filter(is_name).map(str::to_owned).collect();
    assert!(names.len() > 10, "the names are no longer found: {names:?}");
    let listed: BTreeSet<_> = rows("Numbers").into_iter().map(|cells| cells[0].clone()).collect();
    assert_eq!(listed, names);
}
