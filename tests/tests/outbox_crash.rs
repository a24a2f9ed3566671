//! `kill -9` while purses pay each other: no payment is lost, none arrives twice, and each pair sees them in their order.
//!
//! `DURABLE_CRASH_ROUNDS=200 cargo test --release -p durable-tests --test outbox_crash` is the long form.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use durable::Runtime;
use durable_tests::purse::{Account, BEGIN, Payment, Purse};
use durable_tests::{Bed, Form};

const PURSES: usize = 50;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Lets the load run until so many payments were answered, kills it, and gives those.
fn run_and_kill(directory: &Path, seed: u64, answers: u64) -> Vec<(String, i64)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_purse-load"))
        .arg(directory)
        .args([PURSES.to_string(), seed.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered: Vec<String> = Vec::new();
    for _ in 0..answers {
        answered.push(lines.next().expect("the load runs until it is killed").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still printed before the kill was answered, too, but for a line that was cut.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    answered.extend(rest.split_last().map_or(&[][..], |(_, whole)| whole).iter().cloned());
    let parse = |line: &String| {
        let (payer, number) = line.split_once(' ')?;
        Some((payer.to_owned(), number.parse().ok()?))
    };
    answered.iter().filter_map(parse).collect()
}

/// Waits until everything has arrived, and gives the books of all.
async fn settled(runtime: &Runtime) -> BTreeMap<String, Account> {
    loop {
        let mut books = BTreeMap::new();
        for purse in 0..PURSES {
            let name = purse.to_string();
            books.insert(name.clone(), runtime.get::<Purse>(&name).account().await.unwrap());
        }
        if books.values().all(|book| book.pending == 0) {
            return books;
        }
        tokio::task::yield_now().await;
    }
}

/// Every payment is in both books, once, and in the order in which it was made.
fn check(books: &BTreeMap<String, Account>, answered: &BTreeMap<String, Vec<i64>>) {
    let mut wanted: BTreeMap<(&str, &str), Vec<&Payment>> = BTreeMap::new();
    let mut found: BTreeMap<(&str, &str), Vec<&Payment>> = BTreeMap::new();
    for (name, book) in books {
        assert_eq!(book.dead, 0, "purse {name}");
        for (receiver, payment) in &book.paid {
            wanted.entry((name, receiver)).or_default().push(payment);
        }
        for payment in &book.received {
            found.entry((&payment.0, name)).or_default().push(payment);
        }
        let paid: Vec<i64> = book.paid.iter().map(|(_, payment)| payment.1).collect();
        for number in answered.get(name).into_iter().flatten() {
            assert!(paid.contains(number), "purse {name} lost its payment {number}");
        }
    }
    assert_eq!(found, wanted);
    let total: i64 = books.values().map(|book| book.balance).sum();
    assert_eq!(total, BEGIN * i64::try_from(PURSES).unwrap());
}

#[test]
fn every_payment_arrives_once_over_kills() {
    let rounds = setting("DURABLE_CRASH_ROUNDS", 8);
    let seed = setting("DURABLE_SEED", 0x5eed);
    println!("{rounds} rounds, seed {seed}");
    let bed = Bed::new(Form::Moved);
    let mut answered: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for round in 0..rounds {
        let answers = (seed + round).wrapping_mul(0x9e37_79b9) % 250;
        for (payer, number) in run_and_kill(bed.path(), seed + 1_000 * round, answers) {
            answered.entry(payer).or_default().push(number);
        }
        // In between, payments stay on their way over several kills.
        if round % 4 == 3 || round + 1 == rounds {
            durable_tests::on_many_threads({
                let (builder, answered) = (bed.builder(), answered.clone());
                async move {
                    let runtime = builder.register::<Purse>().start().await.unwrap();
                    check(&settled(&runtime).await, &answered);
                    runtime.shutdown().await.unwrap();
                }
            });
        }
    }
    let payments: usize = answered.values().map(Vec::len).sum();
    println!("{payments} answered payments");
}
