//! The cases that come with the program, replayed; and proof that a wrong result would be seen.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::{CaseFile, Driver, Report, Rule, Shown, own_files};
use serde_json::{Value as Json, json};

async fn replay_all() -> Report {
    let mut driver = Driver::start().await.unwrap();
    let mut report = Report::default();
    for path in own_files() {
        let file = CaseFile::read(&path).unwrap();
        report.begin(file.area);
        for case in file.cases {
            let verdict = driver.replay(&case).await;
            report.add(&case, verdict);
        }
    }
    driver.shut_down().await.unwrap();
    report
}

/// Whoever changes one of the bounds to the worse says why, in `docs/differences.md`.
fn assert_as_recorded(report: &Report) {
    let counts = report.counts();
    assert_eq!(counts.failed, 0, "{}", report.text(Shown::Failures));
    assert!(counts.passed >= 504, "{counts:?}");
    assert!(counts.differing <= 108, "{counts:?}: {:?}", report.rules());
    assert_eq!(counts.not_yet, 0, "{counts:?}");
    assert_eq!(report.rules().get(&Rule::JavaScriptValues), None);
}

#[tokio::test]
async fn all_cases_are_as_recorded_or_differ_by_design() {
    assert_as_recorded(&replay_all().await);
}

/// What starts together keeps its order, however many threads run it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_change_nothing() {
    assert_as_recorded(&replay_all().await);
}

#[test]
fn every_rule_is_explained() {
    let text = include_str!("../../../docs/differences.md");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings, Rule::ALL.map(Rule::title));
    assert!(headings.len() <= 12);
}

/// What was recorded of one call.
fn case_file(folder: &Path, ops: &Json, results: &Json) -> PathBuf {
    let case = json!({
        "name": "one", "doc": "a case", "steps": [{ "call": "a", "ops": ops }],
        "expect": [{ "results": results }],
    });
    let path = folder.join("cases.json");
    std::fs::write(&path, json!({ "area": "test", "cases": [case] }).to_string()).unwrap();
    path
}

fn run(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().unwrap()
}

#[test]
fn a_wrong_expectation_fails() {
    let folder = tempfile::tempdir().unwrap();
    let ops = json!([
        { "op": "sql", "query": "create table t(a unique); insert into t values(1), (2)" },
        { "op": "sql", "query": "insert into t values(1)" },
        { "op": "sql", "query": "select a from t order by a", "mode": "raw" },
        { "op": "kv.put", "key": "k", "value": { "n": 1.5 } },
        { "op": "kv.get", "key": "k" },
    ]);
    let right = json!([
        { "rows": [] },
        { "error": { "kind": "sql_constraint_unique", "name": "Error", "message": "whatever" } },
        { "columns": ["a"], "rows": [[1], [2]] },
        null,
        { "n": 1.5 },
    ]);
    let replay = |results: &Json| run(&[&case_file(folder.path(), &ops, results)]);
    assert!(replay(&right).status.success());

    for (place, wrong) in [
        ("/4/n", json!(1.6)),
        ("/1/error/kind", json!("sql_constraint_not_null")),
        ("/1", json!({ "rows": [] })),
        ("/2/rows", json!([[1]])),
        ("/2/columns/0", json!("b")),
        ("/3", json!({ "error": { "kind": "type_error", "message": "whatever" } })),
    ] {
        let mut results = right.clone();
        *results.pointer_mut(place).unwrap() = wrong;
        let output = replay(&results);
        assert_eq!(output.status.code(), Some(1), "{place}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("FAILED one: a case"), "{place}: {text}");
        assert!(text.contains(&format!("step 0, op {}", &place[1..2])), "{place}: {text}");
    }
    let fewer = json!(&right.as_array().unwrap()[..4]);
    assert_eq!(replay(&fewer).status.code(), Some(1));
}

#[test]
fn a_difference_excuses_only_what_it_explains() {
    let folder = tempfile::tempdir().unwrap();
    let write_and_throw = json!([
        { "op": "kv.put", "key": "k", "value": 1 },
        { "op": "throw", "message": "boom" },
    ]);
    let thrown = json!({ "kind": "user", "name": "Error", "message": "boom" });
    let steps = |kept: &Json| {
        let case = json!({
            "name": "throw",
            "steps": [
                { "call": "a", "ops": write_and_throw },
                { "call": "a", "ops": [{ "op": "kv.list" }] },
            ],
            "expect": [
                { "results": [null, { "throws": thrown }], "threw": thrown },
                { "results": [{ "entries": kept }] },
            ],
        });
        let path = folder.path().join("throw.json");
        std::fs::write(&path, json!({ "area": "test", "cases": [case] }).to_string()).unwrap();
        run(&[Path::new("--json"), &path])
    };
    let json = |output: &Output| serde_json::from_slice::<Json>(&output.stdout).unwrap();
    let there = steps(&json!([["k", 1]]));
    assert_eq!(json(&there)["cases"][0]["differs"], json!(["turn-is-a-transaction"]));
    // Anything else fails, also what is right here and was not recorded.
    assert_eq!(steps(&json!([])).status.code(), Some(1));
    assert_eq!(steps(&json!([["k", 2]])).status.code(), Some(1));
    assert_eq!(steps(&json!([["k", 1], ["l", 1]])).status.code(), Some(1));
}

#[test]
fn what_is_no_file_of_cases_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.json");
    std::fs::write(&path, r#"{"area": "x", "cases": [{"name": "n", "steps": [], "expect": [1]}]}"#)
        .unwrap();
    for path in [path, folder.path().join("missing.json")] {
        let output = run(&[&path]);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}
