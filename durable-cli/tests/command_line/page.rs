//! The commands of `docs/command-line.md`, run as they stand there: on a program that serves the admin API, and on a data directory
//! that nobody uses. What they print is what the page says, but for times, ids, bookmarks, sizes and the width of columns.
//!
//! A block that begins with `console live` or `console offline` is run in that way only.

use std::path::Path;

use crate::bed::{Bed, fill};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Live,
    Offline,
}

#[derive(Debug)]
struct Step {
    command: String,
    printed: String,
    only: Option<Way>,
}

/// The commands, each with what the page says it prints.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut block) = (Vec::<Step>::new(), None);
    for line in page.lines() {
        match line {
            "```console" => block = Some(None),
            "```console live" => block = Some(Some(Way::Live)),
            "```console offline" => block = Some(Some(Way::Offline)),
            "```" => block = None,
            _ => {
                let Some(only) = block else { continue };
                if let Some(command) = line.strip_prefix("$ ") {
                    steps.push(Step { command: command.to_owned(), printed: String::new(), only });
                } else {
                    let step = steps.last_mut().unwrap();
                    step.printed += line;
                    step.printed.push('\n');
                }
            }
        }
    }
    steps
}

/// The same text without what differs from run to run.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        let mut line = words.join(" ");
        for unit in [" B", " KiB", " MiB"] {
            line = line.replace(&format!("NUMBER{unit}"), "SIZE");
        }
        normal += line.trim();
        normal.push('\n');
    }
    normal.trim().to_owned()
}

/// Replaces the parts of a word between marks.
fn word(word: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-.:".contains(letter);
    let (mut normal, mut part) = (String::new(), String::new());
    for letter in word.chars().chain(['\0']) {
        if is_part(letter) {
            part.push(letter);
            continue;
        }
        normal += kind_of(&part);
        part.clear();
        normal.extend((letter != '\0').then_some(letter));
    }
    normal
}

fn kind_of(part: &str) -> &str {
    let is_of = |letters: &str| part.chars().all(|letter| letters.contains(letter));
    match part.len() {
        20 | 24 if part.ends_with('Z') && part.contains('T') => "TIME",
        21 | 25 if part.ends_with("Z:") => "TIME:",
        34 if is_of("0123456789abcdef-") => "BOOKMARK",
        64 if is_of("0123456789abcdef") => "ID",
        2.. if part.contains('.') && is_of("0123456789.") => "NUMBER",
        _ => part,
    }
}

async fn run_the_page(way: Way) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/command-line.md");
    let page = std::fs::read_to_string(page).unwrap();
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    if way == Way::Offline {
        runtime.shutdown().await.unwrap();
    }
    let steps = steps(&page);
    assert!(steps.len() > 20, "{steps:?}");
    for step in steps.iter().filter(|step| step.only.is_none_or(|only| only == way)) {
        let ended = bed.run_line(&step.command).await;
        let said = ended.out + &ended.err;
        assert_eq!(
            normal(&said),
            normal(&step.printed),
            "{} ({way:?}) printed:\n{said}",
            step.command
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_on_a_program() {
    run_the_page(Way::Live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_on_a_directory() {
    run_the_page(Way::Offline).await;
}

/// The page has each command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_every_command() {
    let bed = Bed::new();
    let help = bed.done(&["--help"]).await;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let page = include_str!("../../../docs/command-line.md");
    for command in commands {
        let is_shown = |line: &str| {
            line.starts_with("$ durable") && line.split_whitespace().any(|word| word == command)
        };
        assert!(command == "help" || page.lines().any(is_shown), "{command}");
    }
}
