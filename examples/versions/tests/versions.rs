//! Runs the three programs as their users do, one after the other over one directory.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::{TempDir, tempdir};

const V1: &str = env!("CARGO_BIN_EXE_v1");
const V2: &str = env!("CARGO_BIN_EXE_v2");
const V3: &str = env!("CARGO_BIN_EXE_v3");

const CHARLES: &str = "Charles Babbage <Charles@example.org>";
const ALAN: &str = "Alan Turing <Alan@example.org>";

fn run(program: &str, data: &Path, arguments: &[&str]) -> Output {
    Command::new(program).arg("--data").arg(data).args(arguments).output().unwrap()
}

/// What it says, one line after the other.
fn told(program: &str, data: &TempDir, arguments: &[&str]) -> Vec<String> {
    let output = run(program, data.path(), arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What it says to standard error, above all why it has failed.
fn refused(program: &str, data: &TempDir, arguments: &[&str]) -> String {
    let output = run(program, data.path(), arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    error.lines().last().unwrap().to_owned()
}

/// Three books of version 1. That of bob has a line that version 2 cannot take apart.
fn books() -> TempDir {
    let data = tempdir().unwrap();
    for (owner, entry) in [("ada", CHARLES), ("bob", ALAN), ("bob", "Grace"), ("carl", ALAN)] {
        told(V1, &data, &["add", owner, entry]);
    }
    data
}

#[test]
fn what_will_happen_is_known_before() {
    let data = books();
    for _ in 0..2 {
        let grace = "bob: stays at version 1: migration 2 `take_lines_apart` failed: \
             there is no address in \"Grace\"";
        let up = ["ada", "carl"].map(|owner| format!("{owner}: goes from version 1 to 2"));
        assert_eq!(told(V2, &data, &["check"]), [&up[0], grace, &up[1]]);
        let up = ["ada", "bob", "carl"].map(|owner| format!("{owner}: goes from version 1 to 3"));
        assert_eq!(told(V3, &data, &["check"]), up, "although its class has another name");
        // Nothing has changed.
        assert_eq!(told(V1, &data, &["show", "bob"]), [ALAN, "Grace"]);
        let stay = ["ada", "bob", "carl"].map(|owner| format!("{owner}: has version 1"));
        assert_eq!(told(V1, &data, &["check"]), stay);
    }
}

#[test]
fn a_migration_that_fails_stops_one_object_until_it_is_mended() {
    let data = books();
    assert_eq!(told(V2, &data, &["show", "ada"]), ["Charles Babbage: Charles@example.org"]);
    for command in [&["show", "bob"][..], &["add", "bob", ALAN]] {
        let error = refused(V2, &data, command);
        assert!(error.starts_with("Migration: "), "{error}");
        for part in ["Contacts \"bob\"", "migration 2 `take_lines_apart`", "\"Grace\""] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    // The others go on, and new ones too.
    assert_eq!(told(V2, &data, &["show", "carl"]), ["Alan Turing: Alan@example.org"]);
    assert_eq!(told(V2, &data, &["add", "dora", CHARLES]).len(), 1);
    // Nothing of bob's is lost, and the migration learns what to do with it.
    assert_eq!(told(V3, &data, &["show", "bob"]), ["Alan Turing: alan@example.org", "Grace: "]);
    assert_eq!(told(V3, &data, &["show", "ada"]), ["Charles Babbage: charles@example.org"]);
}

#[test]
fn the_old_program_refuses_what_a_newer_one_has_used_and_goes_on_with_the_rest() {
    let data = books();
    told(V2, &data, &["add", "ada", ALAN]);
    refused(V2, &data, &["show", "bob"]);
    // What will be, and what is.
    let newer = "the object has schema version 2 and this program knows versions up to 1";
    let checked = told(V1, &data, &["check"]);
    assert!(checked[0].starts_with(&format!("ada: stays at version 2: {newer}")), "{checked:?}");
    assert_eq!(checked[1..], ["bob: has version 1", "carl: has version 1"]);
    for command in [&["show", "ada"][..], &["add", "ada", "lost?"]] {
        let error = refused(V1, &data, command);
        assert!(error.starts_with("Migration: "), "{error}");
        assert!(error.contains("Contacts \"ada\"") && error.contains(newer), "{error}");
    }
    // Neither touched by the newer program, nor by its migration that failed.
    assert_eq!(told(V1, &data, &["add", "carl", CHARLES]), [ALAN, CHARLES]);
    assert_eq!(told(V1, &data, &["add", "bob", CHARLES]), [ALAN, "Grace", CHARLES]);
    // Forward again: what was refused is as it was, and what went on goes up.
    let ada = ["Alan Turing: Alan@example.org", "Charles Babbage: Charles@example.org"];
    assert_eq!(told(V2, &data, &["show", "ada"]), ada);
    assert_eq!(told(V2, &data, &["show", "carl"]), ada);
}

#[test]
fn a_class_keeps_its_objects_under_another_name_and_an_older_program_is_told_of_it() {
    let data = books();
    told(V2, &data, &["show", "ada"]);
    for owner in ["ada", "carl"] {
        assert_eq!(told(V3, &data, &["show", owner]).len(), 1);
    }
    let classes = ["AddressBook: 3 objects", "Diary: 3 objects, not in this program"];
    assert_eq!(told(V3, &data, &["classes"]), classes);
    // It does not begin a class of the old name beside the one that has all the books.
    for program in [V1, V2] {
        for command in [&["show", "bob"][..], &["add", "eve", ALAN], &["check"]] {
            let error = refused(program, &data, command);
            assert!(error.starts_with("Invalid: class `AddressBook` was first called"), "{error}");
            assert!(error.contains("renamed_from = \"AddressBook\""), "{error}");
        }
    }
    assert_eq!(told(V3, &data, &["classes"]), classes);
}

#[test]
fn a_class_that_is_gone_is_told_of_and_kept_until_it_is_deleted_by_force() {
    let data = books();
    assert_eq!(told(V1, &data, &["classes"]), ["Contacts: 3 objects", "Diary: 3 objects"]);
    let stored = ["Contacts: 3 objects", "Diary: 3 objects, not in this program"];
    for _ in 0..2 {
        let output = run(V2, data.path(), &["show", "ada"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("WARN") && log.contains("class=\"Diary\""), "{log}");
        assert!(log.contains("a class that has objects is not registered"), "{log}");
        assert_eq!(told(V2, &data, &["classes"]), stored);
        let error = refused(V2, &data, &["delete-class", "Diary"]);
        assert!(error.starts_with("Invalid: class `Diary` has 3 objects"), "{error}");
    }
    let error = refused(V2, &data, &["delete-class", "Contacts", "--force"]);
    assert!(error.starts_with("Invalid: class `Contacts` is registered"), "{error}");
    assert_eq!(told(V2, &data, &["classes"]), stored, "nothing has changed");

    let deleted = told(V2, &data, &["delete-class", "Diary", "--force"]);
    assert_eq!(deleted, ["Diary is deleted, with 3 objects"]);
    assert_eq!(told(V2, &data, &["classes"]), ["Contacts: 3 objects"]);
    let silent = run(V2, data.path(), &["show", "carl"]);
    assert!(silent.status.success() && silent.stderr.is_empty(), "{silent:?}");
    // Whoever comes back to it finds it empty.
    assert_eq!(told(V1, &data, &["classes"]), ["Contacts: 3 objects", "Diary: 0 objects"]);
}
