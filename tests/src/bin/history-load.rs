//! Writes into ledgers and makes them what they were before, until it is killed: `history-load DIRECTORY SEED OBJECTS`.
//!
//! From its input it learns of earlier bookmarks, a line `object bookmark` each. It prints a line before and after each thing
//! it does: `enter OBJECT NUMBER` and `entered OBJECT BOOKMARK`, `restore OBJECT BOOKMARK` and `restored OBJECT UNDO BOOKMARK`.

use std::io::Write;
use std::sync::{Arc, Mutex};

use durable::prelude::*;
use durable_tests::ledger::Ledger;
use durable_tests::random::Random;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("history-load DIRECTORY SEED OBJECTS");
    let directory = next();
    let seed: u64 = next().parse().expect("a number");
    let objects: usize = next().parse().expect("a number");
    let mut known = vec![Vec::new(); objects];
    for line in std::io::stdin().lines() {
        let line = line.expect("the parent writes");
        let (object, bookmark) = line.split_once(' ').expect("object bookmark");
        let object: usize = object.parse().expect("a number");
        known[object].push(bookmark.parse().expect("a bookmark"));
    }
    durable_tests::on_many_threads(async move {
        let runtime = Runtime::builder(directory)
            .register::<Ledger>()
            // Few enough that objects are evicted all the time.
            .resident_limit(objects / 2)
            .checkpoint_distance(100_000)
            .start()
            .await
            .expect("the runtime starts");
        let output = Arc::new(Mutex::new(std::io::stdout()));
        let say = move |line: String| {
            let mut output = output.lock().expect("nobody panicked");
            writeln!(output, "{line}").expect("the parent reads");
            output.flush().expect("the parent reads");
        };
        let callers: Vec<_> = known
            .into_iter()
            .enumerate()
            .map(|(object, known)| {
                let random = Random::new(seed + object as u64);
                tokio::spawn(change(runtime.clone(), object, known, random, say.clone()))
            })
            .collect();
        // They go on until the kill; one that ends has panicked.
        for caller in callers {
            let ended = caller.await;
            assert!(ended.is_ok(), "a caller panicked");
        }
    });
}

/// Changes one object, one thing after the other.
async fn change(
    runtime: Runtime,
    object: usize,
    mut known: Vec<durable::Bookmark>,
    mut random: Random,
    say: impl Fn(String),
) {
    let ledgers = runtime.namespace::<Ledger>();
    let id = ledgers.id_from_name(&object.to_string()).expect("a name");
    loop {
        if known.is_empty() || random.below(4) > 0 {
            let number = i64::try_from(random.below(1 << 40)).expect("small");
            say(format!("enter {object} {number}"));
            let bytes = if random.below(20) == 0 { 60_000 } else { 20 };
            ledgers.get(&id).enter(number, bytes).await.expect("the call is answered");
            let bookmark = ledgers.current_bookmark(&id).await.expect("it is stored");
            say(format!("entered {object} {bookmark}"));
            known.push(bookmark);
        } else {
            let bookmark = known[random.index(known.len())];
            say(format!("restore {object} {bookmark}"));
            let undo = ledgers.restore(&id, &bookmark).await.expect("it is kept");
            let now = ledgers.current_bookmark(&id).await.expect("it is stored");
            say(format!("restored {object} {undo} {now}"));
            known.extend([undo, now]);
        }
    }
}
