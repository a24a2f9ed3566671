//! Writes into ledgers as fast as it can, until it is killed: `ledger-load DIRECTORY FIRST_NUMBER OBJECTS`.
//!
//! Prints a line `object number` for every call that was answered. What it printed must be there
//! after the kill.

use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use durable::prelude::*;
use durable_tests::ledger::Ledger;

const IN_FLIGHT: usize = 32;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("ledger-load DIRECTORY FIRST_NUMBER OBJECTS");
    let directory = next();
    let first: i64 = next().parse().expect("a number");
    let objects: i64 = next().parse().expect("a number");
    durable_tests::on_many_threads(async move {
        let builder = Runtime::builder(directory).register::<Ledger>();
        // Few enough that objects are evicted all the time.
        let runtime = builder
            .resident_limit(8)
            .checkpoint_distance(100_000)
            .start()
            .await
            .expect("the runtime starts");
        let numbers = Arc::new(AtomicI64::new(first));
        let output = Arc::new(Mutex::new(std::io::stdout()));
        let callers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (runtime, numbers, output) = (runtime.clone(), numbers.clone(), output.clone());
                tokio::spawn(async move {
                    loop {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        let object = number % objects;
                        let stub = runtime.get::<Ledger>(&object.to_string());
                        // Small ones, and now and then one over many pages.
                        let bytes = if number % 50 == 0 { 60_000 } else { 20 };
                        stub.enter(number, bytes).await.expect("the call is answered");
                        let mut output = output.lock().expect("nobody panicked");
                        writeln!(output, "{object} {number}").expect("the parent reads");
                        output.flush().expect("the parent reads");
                    }
                })
            })
            .collect();
        // They go on until the kill; one that ends has panicked.
        for caller in callers {
            let ended = caller.await;
            assert!(ended.is_ok(), "a caller panicked");
        }
    });
}
