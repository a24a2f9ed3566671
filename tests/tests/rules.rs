//! Programs that `#[durable_object]` must refuse, and what it says about them.
//!
//! Every file in `compile_fail/` is a program of one broken rule, and the `.stderr` beside it is what
//! the compiler says. Two things are compared:
//!
//! - the *whole text*, by `trybuild`, on the one compiler whose wording the files hold ([`COMPILER`]);
//! - *our lines* on every compiler: message, help, rule and place of each error that names a rule.
//!   So the tests pass for whoever has another toolchain, and still hold every word that is ours.
//!
//! `TRYBUILD=overwrite cargo test -p durable-tests --test rules` writes the `.stderr` files anew.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler whose own wording the `.stderr` files hold.
const COMPILER: &str = "rustc 1.95.";

/// Rules that rustc reports in its own words, without our lines.
const WITHOUT_OUR_LINES: [&str; 3] = ["two-impls", "duplicate-method", "migration-wrong-type"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn programs_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compile_fail")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all programs: `async_method`.
fn programs() -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let files = fs::read_dir(programs_directory()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == "rs")).map(stem).collect()
}

/// The names in the table `RULES` of the macro crate.
fn rules() -> BTreeSet<String> {
    let source = read(&workspace().join("durable-macros/src/rules/mod.rs"));
    let name =
        |line: &str| line.trim().strip_prefix("rule(\"")?.split('"').next().map(str::to_owned);
    source.lines().filter_map(name).collect()
}

/// The sections of `docs/rules.md`: name and text.
fn sections() -> BTreeMap<String, String> {
    let page = read(&workspace().join("docs/rules.md"));
    let section = |text: &str| {
        let (name, rest) = text.split_once('\n').unwrap();
        (name.to_owned(), rest.split("\n# ").next().unwrap().to_owned())
    };
    page.split("\n## ").skip(1).map(section).collect()
}

#[test]
fn every_rule_has_a_program_and_a_section() {
    let rules = rules();
    assert!(rules.len() > 50, "the table of rules is no longer found: {rules:?}");
    let programs: BTreeSet<_> = programs().iter().map(|name| name.replace('_', "-")).collect();
    assert_eq!(programs, rules, "tests/compile_fail and RULES");
    assert_eq!(sections().into_keys().collect::<BTreeSet<_>>(), rules, "docs/rules.md and RULES");
}

/// So the page cannot show as wrong what compiles.
#[test]
fn wrong_examples_of_the_page_are_lines_of_the_programs() {
    for (rule, section) in sections() {
        let program = read(&programs_directory().join(format!("{}.rs", rule.replace('-', "_"))));
        let example = section.split("```").nth(1).unwrap_or_default();
        for line in example.lines().skip(1).map(str::trim) {
            let is_there = program.lines().any(|other| other.trim() == line);
            assert!(is_there, "{rule}: `{line}` does not stand in its program");
        }
    }
}

#[test]
fn programs_are_refused_word_for_word() {
    if compiler_version().starts_with(COMPILER) {
        trybuild::TestCases::new().compile_fail("compile_fail/*.rs");
    }
}

#[test]
fn programs_are_refused_in_our_words() {
    let found = check_programs();
    let mut failures = Vec::new();
    for program in programs() {
        let text = found.get(&program).cloned().unwrap_or_default();
        let expected = read(&programs_directory().join(format!("{program}.stderr")));
        let problem = if text.is_empty() {
            Some("it compiles".to_owned())
        } else if our_lines(&text) != our_lines(&expected) {
            Some(format!("our lines are\n{}", our_lines(&text).join("\n")))
        } else {
            missing_rule(&program, &text)
        };
        failures.extend(problem.map(|problem| format!("{program}: {problem}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A program must break the rule it is named after.
fn missing_rule(program: &str, text: &str) -> Option<String> {
    let rule = program.replace('_', "-");
    let names_rule = text.lines().any(|line| line.trim().ends_with(&format!("rule: {rule}")));
    let is_expected = !WITHOUT_OUR_LINES.contains(&&*rule);
    (names_rule != is_expected).then(|| format!("its rule is not the one reported:\n{text}"))
}

fn compiler_version() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Checks all programs at once. Gives the errors of each.
fn check_programs() -> BTreeMap<String, String> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-fail");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("Cargo.toml"), manifest()).unwrap();
    // The versions that the workspace was built with: nothing is downloaded.
    fs::copy(workspace().join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["check", "--offline", "--bins", "--keep-going", "--message-format=json"])
        .current_dir(&package)
        // Dependencies that were built for the workspace are found there.
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
        .output()
        .unwrap();
    let mut texts = BTreeMap::<String, String>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((program, error)) = error_of(line) else { continue };
        let text = texts.entry(program).or_default();
        // Cargo shows an error that is repeated word for word only once, and so do we.
        if !text.contains(&error) {
            text.push_str(&error);
        }
    }
    let known = programs();
    let foreign: Vec<_> = texts.keys().filter(|name| !known.contains(*name)).collect();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!texts.is_empty() && foreign.is_empty(), "{foreign:?} {texts:?}\n{log}");
    texts
}

fn manifest() -> String {
    let durable = workspace().join("durable");
    let mut manifest = format!(
        "[package]\nname = \"compile-fail\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         autobins = false\n\n[workspace]\n\n[dependencies]\ndurable = {{ path = {durable:?} }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         tokio = {{ version = \"1\", features = [\"rt-multi-thread\"] }}\n\n\
         [profile.dev.package.\"*\"]\ndebug = false\n"
    );
    for program in programs() {
        let path = programs_directory().join(format!("{program}.rs"));
        manifest += &format!("\n[[bin]]\nname = {program:?}\npath = {path:?}\n");
    }
    manifest
}

/// Program and text of an error in cargo's output.
fn error_of(line: &str) -> Option<(String, String)> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = entry.get("message")?;
    let is_error = message.get("level")?.as_str()? == "error";
    // The closing "aborting due to" stands nowhere.
    let has_place = !message.get("spans")?.as_array()?.is_empty();
    let program = entry.get("target")?.get("name")?.as_str()?.to_owned();
    let text = message.get("rendered")?.as_str()?.to_owned();
    (is_error && has_place).then_some((program, text))
}

/// Message, help, rule and place of every error that names a rule, in one order on all compilers.
fn our_lines(text: &str) -> Vec<String> {
    let blocks = format!("\n\n{text}");
    let mut ours: Vec<String> = blocks
        .split("\n\nerror")
        .filter(|block| block.contains("rule: "))
        .map(|block| {
            let message = block.split_once(": ").map_or(block, |(_, message)| message);
            let message = message.strip_prefix("evaluation panicked: ").unwrap_or(message);
            let place = message.find("--> ").unwrap_or(message.len());
            let head = message[..place].lines();
            let place = message[place..].lines().take(1).map(file_and_line);
            let is_note =
                |line: &&str| line.contains("= note: help: ") || line.contains("= note: rule: ");
            let notes = message.lines().filter(is_note);
            head.chain(place).chain(notes).map(str::trim).collect::<Vec<_>>().join("\n")
        })
        .collect();
    ours.sort();
    ours
}

/// `--> anywhere/program.rs:3:5` without the directory.
fn file_and_line(place: &str) -> &str {
    place.rsplit(['/', ' ']).next().unwrap_or(place)
}
