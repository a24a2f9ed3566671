//! Runs the program as its users do, and kills it between an edit and its undo.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::tempdir;

fn documents(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_documents"));
    command.arg("--data").arg(data).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    documents(data, arguments).stdin(Stdio::null()).output().unwrap()
}

fn told(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_letter_is_written_undone_redone_and_copied() {
    let directory = tempdir().unwrap();
    let told = |arguments: &[&str]| told(directory.path(), arguments);
    assert_eq!(told(&["write", "letter", "Dear Ada,"]), "letter is at version 1\n");
    assert_eq!(told(&["write", "letter", "Dear Ada, thanks."]), "letter is at version 2\n");
    assert_eq!(told(&["undo", "letter"]), "letter is at version 1\n");
    assert_eq!(told(&["show", "letter"]), "Dear Ada,\n");
    assert_eq!(told(&["versions", "letter"]), ">   1  Dear Ada,\n    2  Dear Ada, thanks.\n");
    assert_eq!(told(&["copy", "letter", "card", "--version", "2"]), "card is at version 2\n");
    assert_eq!(told(&["show", "card"]), "Dear Ada, thanks.\n");
    assert_eq!(told(&["redo", "letter"]), "letter is at version 2\n");
    assert_eq!(told(&["draft", "idea", "A story"]), "");
    assert_eq!(told(&["list"]), "card\nletter\nidea (draft)\n");
    assert_eq!(told(&["publish", "idea"]), "idea is at version 1\n");
    assert_eq!(told(&["list"]), "card\nidea\nletter\n");

    let output = run(directory.path(), &["redo", "letter"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"documents: there is nothing to redo\n");
    let output = run(directory.path(), &["show", "nothing"]);
    assert_eq!(output.stderr, b"documents: there is no document `nothing`\n");
}

#[test]
fn what_was_written_before_a_kill_can_be_undone_and_redone() {
    let directory = tempdir().unwrap();
    let mut told_last = 0;
    for round in 0..5 {
        let mut child = documents(directory.path(), &["write", "log"]).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // The rest of the lines is under way when it is killed.
        for _ in 0..100 {
            writeln!(input, "line of round {round}").unwrap();
        }
        let output = BufReader::new(child.stdout.take().unwrap());
        let line = output.lines().nth(2 * round + 1).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let version: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(version > told_last, "what was told is there");
        told_last = version;

        let versions = told(directory.path(), &["versions", "log"]);
        let last = versions.lines().last().unwrap().to_owned();
        assert!(last.starts_with('>'), "{versions}");
        let count = u32::try_from(versions.lines().count()).unwrap();
        assert!(count >= version, "an edit has its note: {versions}");
        let undone = told(directory.path(), &["undo", "log"]);
        assert_eq!(undone, format!("log is at version {}\n", count - 1));
        let redone = told(directory.path(), &["redo", "log"]);
        assert_eq!(redone, format!("log is at version {count}\n"));
        assert_eq!(told(directory.path(), &["versions", "log"]), versions);
    }
}
