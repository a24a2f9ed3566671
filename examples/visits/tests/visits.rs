//! Runs the program as its users do: twice on one directory, on bad input, and until it is killed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tempfile::tempdir;

/// The program, with its data in `directory` and all pages in its table.
fn visits(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visits"));
    command.arg("--data").arg(directory).args(["--top", "1000000"]);
    command
}

/// Runs it on this log as its standard input.
fn count(directory: &Path, log: &[u8]) -> Output {
    let mut child = piped(visits(directory).arg("-"));
    let mut input = child.stdin.take().unwrap();
    let log = log.to_vec();
    let writer = thread::spawn(move || input.write_all(&log).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn line(page: &str) -> String {
    format!("::1 - - [01/Mar/2026:08:30:00 +0000] \"GET {page} HTTP/1.1\" 200 100\n")
}

/// The hits and bytes in each row of the table, by page.
fn rows(output: &Output) -> HashMap<String, (u64, u64)> {
    let number = |text: &str| text.replace(',', "").parse().ok();
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let counts = (number(words.next()?)?, number(words.next()?)?);
        // Two dates and two times come before the page.
        Some((words.skip(4).collect::<Vec<_>>().join(" "), counts))
    };
    text(&output.stdout).lines().filter_map(row).collect()
}

#[test]
fn counts_double_when_a_log_is_read_twice() {
    let directory = tempdir().unwrap();
    let run = || {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/access.log");
        let output = visits(directory.path()).arg(sample).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let (first, second) = (run(), run());
    let told = text(&first.stderr);
    assert!(
        told.contains("\nstored 4992 lines\n8 lines were not understood:\n  line 404: "),
        "{told}"
    );
    assert!(told.ends_with("  and 3 more\n"), "{told}");
    let rows_of_first = rows(&first);
    assert_eq!(rows_of_first["all 40 pages"].0, 4_992);
    assert_eq!(rows_of_first.len(), 41);
    let doubled =
        rows_of_first.into_iter().map(|(page, (hits, bytes))| (page, (2 * hits, 2 * bytes)));
    assert_eq!(rows(&second), doubled.collect());
}

#[test]
fn every_page_is_in_the_table_when_there_are_many() {
    let directory = tempdir().unwrap();
    let log: String = (0..2_500).map(|number| line(&format!("/{number}"))).collect();
    let rows = rows(&count(directory.path(), log.as_bytes()));
    assert_eq!(rows["all 2,500 pages"], (2_500, 250_000));
    assert_eq!(rows.len(), 2_501);
}

#[test]
fn what_was_said_to_be_stored_survives_a_kill() {
    let directory = tempdir().unwrap();
    let mut child = piped(visits(directory.path()).arg("-"));
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let mut written = HashMap::<_, u64>::new();
        for number in 0_u64.. {
            // Some pages are in every chunk, and some are new in every chunk.
            let page = format!("/{}", if number % 4 == 0 { number } else { number % 50 });
            *written.entry(page.clone()).or_default() += 1;
            if input.write_all(line(&page).as_bytes()).is_err() {
                break;
            }
        }
        written
    });

    let stored = |line: String| {
        let number = line.strip_prefix("stored ").and_then(|rest| rest.strip_suffix(" lines"));
        number.unwrap_or_else(|| panic!("{line}")).parse::<u64>().unwrap()
    };
    let mut told =
        BufReader::new(child.stderr.take().unwrap()).lines().map(|line| stored(line.unwrap()));
    assert!(told.any(|number| number >= 5_000), "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    let last_told = told.last().unwrap_or(5_000);
    let written = writer.join().unwrap();

    let mut rows = rows(&count(directory.path(), b""));
    rows.retain(|page, _| page.starts_with('/'));
    let sum: u64 = rows.values().map(|(hits, _)| hits).sum();
    assert!(sum >= last_told, "{last_told} lines were said to be stored, {sum} are");
    for (page, (hits, bytes)) in rows {
        assert!(hits <= written[&page], "{page} has {hits} hits of {}", written[&page]);
        assert_eq!(bytes, hits * 100, "{page} has half of a visit");
    }
}

#[test]
fn an_empty_log_is_no_failure() {
    let directory = tempdir().unwrap();
    let output = count(directory.path(), b"");
    assert_eq!(text(&output.stdout), "no visits yet\n");
    assert_eq!(text(&output.stderr), "stored 0 lines\n");
}

#[test]
fn strange_bytes_and_over_long_lines_are_told_and_passed_over() {
    let directory = tempdir().unwrap();
    let mut log = line("/").into_bytes();
    log.extend([0xff, 0x00, b'\n']);
    log.extend(b"long line ".repeat(100_000));
    log.push(b'\n');
    log.extend(line("/").bytes().map(|byte| if byte == b'G' { 0xfc } else { byte }));
    log.extend(line("/\u{1b}[31m").bytes());
    let output = count(directory.path(), &log);
    assert_eq!(rows(&output)["all 2 pages"], (3, 300));
    assert!(rows(&output).contains_key("/\\u{1b}[31m"));
    let told = text(&output.stderr);
    assert!(told.contains("2 lines were not understood"), "{told}");
    assert!(told.contains("line 3: the line is too long"), "{told}");
}

#[test]
fn a_log_that_cannot_be_read_is_named_and_nothing_is_created() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    for log in [directory.path().join("nowhere.log"), directory.path().into()] {
        let output = visits(&data).arg(&log).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        assert!(told.starts_with(&format!("visits: cannot read {}: ", log.display())), "{told}");
    }
    assert!(!data.exists());
}

#[test]
fn a_directory_in_use_is_told() {
    let directory = tempdir().unwrap();
    let mut first = piped(visits(directory.path()).arg("-"));
    first.stdin.as_mut().unwrap().write_all(line("/").repeat(1_000).as_bytes()).unwrap();
    let mut told = String::new();
    BufReader::new(first.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "stored 1000 lines\n");

    let second = visits(directory.path()).arg("-").stdin(Stdio::null()).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    drop(first.stdin.take());
    assert!(first.wait_with_output().unwrap().status.success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let directory = tempdir().unwrap();
    let mut child = piped(visits(directory.path()).arg("-"));
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(line("/").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "stored 1 lines\n");
}
