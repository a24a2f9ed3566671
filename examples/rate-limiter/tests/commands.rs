//! Runs the program as its users do.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::tempdir;

/// Runs it with its data in `directory` and this on its standard input.
fn run(directory: &Path, arguments: &str, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rate-limiter"));
    command.arg("--data").arg(directory).args(arguments.split(' '));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Some commands do not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}

/// The numbers of the table's last row: allowed and denied.
fn total(output: &Output) -> (u64, u64) {
    let told = told(output);
    let row = told.lines().find(|line| line.contains(" all ")).unwrap();
    let mut numbers = row.split_whitespace().map(|word| word.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn recorded_times_are_the_clock_and_buckets_outlive_the_program() {
    let directory = tempdir().unwrap();
    let lines = "0 a 2\n0 a\n0.5 a\n1 a\n1 b 2\n1 b 9\n";
    let arguments = "--default 2+1/1s play --timed";
    let first = run(directory.path(), arguments, lines);
    assert_eq!(total(&first), (3, 3), "{}", told(&first));
    // Both buckets are empty, and the clock was set back: what comes in between, nobody gets twice.
    let again = run(directory.path(), arguments, lines);
    assert_eq!(total(&again), (1, 5), "{}", told(&again));
}

#[test]
fn a_plan_is_kept() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let plan = run(directory, "plan alice 3+1/1d", "");
    assert_eq!(told(&plan), "alice: plan 3+1/1d (its own), 3 of 3 tokens left\n");
    let played = run(directory, "play", "alice\nalice\nalice\nalice\nalice\n");
    assert_eq!(total(&played), (3, 2), "{}", told(&played));
    let shown = run(directory, "show alice", "");
    assert_eq!(told(&shown), "alice: plan 3+1/1d (its own), 0 of 3 tokens left\n");
}

#[test]
fn a_load_is_decided_to_its_last_request() {
    let directory = tempdir().unwrap();
    let loaded = run(directory.path(), "--default 5+1/1d load --keys 20 --requests 3000", "");
    assert_eq!(total(&loaded), (100, 2_900), "{}", told(&loaded));
}

#[test]
fn bad_input_is_told_and_creates_nothing() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    let missing = run(&data, "play nowhere.txt", "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(told(&missing).starts_with("rate-limiter: cannot read nowhere.txt: "));
    let no_plan = run(&data, "plan alice 3", "");
    assert_eq!(no_plan.status.code(), Some(2));
    assert!(told(&no_plan).contains("a plan looks like 10+5/1s"));
    assert!(!data.exists());

    let malformed = run(&data, "play", "a\na 0\n\n");
    assert_eq!(total(&malformed), (1, 0));
    let expected =
        "line 2: the number of tokens is not a whole number from 1 on\nline 3: there is no key\n";
    assert!(told(&malformed).ends_with(expected), "{}", told(&malformed));
}
