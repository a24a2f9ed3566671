//! `kill -9` under load, at random points: no acknowledged write is lost, none is there twice, no turn
//! is there by half, and every database is sound.
//!
//! `DURABLE_CRASH_ROUNDS=300 cargo test --release -p durable-tests --test crash` is the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use durable_tests::ledger::Ledger;
use durable_tests::random::Random;
use durable_tests::{Bed, Form};

const OBJECTS: i64 = 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn load(directory: &Path, first: i64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ledger-load"))
        .arg(directory)
        .args([first.to_string(), OBJECTS.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the load run until so many calls were answered, kills it, and gives what was answered.
fn run_and_kill(directory: &Path, first: i64, answers: u64) -> Vec<(i64, i64)> {
    let mut child = load(directory, first);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered = Vec::new();
    let mut parse = |line: std::io::Result<String>| {
        // The last line may be cut by the kill.
        let line = line.unwrap_or_default();
        let pair = line.split_once(' ').and_then(|(object, number)| {
            Some((object.parse::<i64>().ok()?, number.parse::<i64>().ok()?))
        });
        answered.extend(pair.filter(|(object, number)| number % OBJECTS == *object));
    };
    for _ in 0..answers {
        parse(lines.next().expect("the load runs until it is killed"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still printed before the kill was answered, too.
    lines.for_each(&mut parse);
    answered
}

/// What the ledgers hold, each audited.
async fn audit(bed: &Bed) -> BTreeMap<i64, BTreeSet<i64>> {
    let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
    let mut found = BTreeMap::new();
    for object in 0..OBJECTS {
        let numbers = runtime.get::<Ledger>(&object.to_string()).audit().await.unwrap();
        let once: BTreeSet<_> = numbers.iter().copied().collect();
        assert_eq!(once.len(), numbers.len(), "object {object} has a number twice");
        found.insert(object, once);
    }
    runtime.shutdown().await.unwrap();
    found
}

fn check_files(bed: &Bed) {
    for file in
        bed.object_files().iter().filter(|file| file.extension().is_some_and(|it| it == "db"))
    {
        let connection = rusqlite::Connection::open(file).unwrap();
        let verdict: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "{}", file.display());
    }
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let rounds = setting("DURABLE_CRASH_ROUNDS", 12);
    let seed = setting("DURABLE_SEED", 0x5eed);
    println!("{rounds} rounds, seed {seed}");
    let mut random = Random::new(seed);
    let bed = Bed::new(Form::Moved);
    let mut acknowledged: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    let mut first = 0;
    for round in 0..rounds {
        let answers = random.below(400);
        for (object, number) in run_and_kill(bed.path(), first, answers) {
            acknowledged.entry(object).or_default().insert(number);
        }
        durable_tests::on_one_thread(async {
            let found = audit(&bed).await;
            for (object, numbers) in &acknowledged {
                let lost: Vec<_> = numbers.difference(&found[object]).collect();
                assert!(lost.is_empty(), "round {round}: object {object} lost {lost:?}");
            }
            // Writes that were never answered may be there, and stay.
            first = found.values().flatten().max().map_or(0, |last| last + 1).max(first);
            acknowledged = found;
        });
        check_files(&bed);
    }
}
