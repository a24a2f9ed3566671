//! `kill -9` at random points: no timer and no alarm is lost, and each run leaves its trace once.
//!
//! `DURABLE_CRASH_ROUNDS=200 cargo test --release -p durable-tests --test timers kills` is the long form.

use super::*;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use durable_tests::clockwork::{Clockwork, Courier};

const OBJECTS: u64 = 8;

/// Lets the load run until it has printed so many lines, kills it, and gives how many runs were told of.
fn run_and_kill(directory: &Path, lines: u64) -> BTreeMap<String, u64> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_clockwork-load"))
        .arg(directory)
        .arg(OBJECTS.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = BTreeMap::new();
    for _ in 0..lines {
        let line = output.next().expect("the load runs until it is killed").unwrap();
        let (object, runs) = line.split_once(' ').unwrap();
        told.insert(object.to_owned(), runs.parse().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    told
}

/// Checks that all is there and goes on by itself.
async fn audit(bed: &Bed, told: &BTreeMap<String, u64>, round: u64) -> u64 {
    let builder = bed.builder().register::<Clockwork>().register::<Courier>();
    let runtime = builder.start().await.unwrap();
    let mut total = 0;
    for (object, told) in told {
        let clockwork = runtime.get::<Clockwork>(object);
        let courier = runtime.get::<Courier>(object);
        let (runs, ended) = (clockwork.audit().await.unwrap(), courier.audit().await.unwrap());
        assert!(runs >= *told, "round {round}: object {object} lost {} runs", told - runs);
        while clockwork.runs().await.unwrap() == runs || courier.audit().await.unwrap() == ended {
            tokio::task::yield_now().await;
        }
        total += runs + ended;
    }
    runtime.shutdown().await.unwrap();
    total
}

#[test]
fn kills_lose_no_timer_and_run_none_twice() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, mut seed) = (setting("DURABLE_CRASH_ROUNDS", 12), setting("DURABLE_SEED", 0x5eed));
    println!("{rounds} rounds, seed {seed}");
    let bed = Bed::new(Form::Moved);
    let mut total = 0;
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let told = run_and_kill(bed.path(), seed >> 33 & 0x1f);
        on_one_thread(async { total = total.max(audit(&bed, &told, round).await) });
    }
    println!("{total} runs");
}
