//! `kill -9` in the midst of forks: those that were answered are whole, the others are whole or not there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use durable_tests::ledger::Ledger;
use durable_tests::{Bed, Form};

/// Lets ledgers be forked until so many were, kills the program, and gives the names that were answered.
fn run_and_kill(bed: &Bed, first: usize, answers: usize) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fork-load"))
        .arg(bed.path())
        .arg(first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered: Vec<String> = lines.by_ref().take(answers).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be cut by the kill.
    let rest = lines.map_while(Result::ok).filter(|line| line.ends_with('.'));
    answered.extend(rest);
    answered
}

#[test]
fn forks_survive_a_kill_whole() {
    let bed = Bed::new(Form::Moved);
    let mut acknowledged = BTreeSet::new();
    for round in 0..8 {
        acknowledged.extend(run_and_kill(&bed, round * 1_000_000, 3 + round * 5));
        durable_tests::on_one_thread(async {
            let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
            let ledgers = runtime.namespace::<Ledger>();
            let source = runtime.get::<Ledger>("source").audit().await.unwrap();
            for name in &acknowledged {
                assert!(ledgers.exists(&ledgers.id_from_name(name).unwrap()).unwrap(), "{name}");
            }
            for object in ledgers.list().prefix("fork").page().await.unwrap().objects {
                let numbers = ledgers.get(&object.id).audit().await.unwrap();
                // Each is what the source was at some time.
                assert!(!numbers.is_empty() && source.starts_with(&numbers));
            }
            runtime.shutdown().await.unwrap();
        });
        let report = durable::check(bed.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        let copies = std::fs::read_dir(bed.path().join("copies")).map_or(0, Iterator::count);
        assert_eq!(copies, 0);
    }
    assert!(acknowledged.len() > 20);
}
