//! Lets purses pay each other in a ring as fast as it can, until it is killed: `purse-load DIRECTORY PURSES SEED`.
//!
//! Prints a line `payer number` for every payment that was answered. What it printed must arrive, once, after the kill.

use std::io::Write;
use std::sync::{Arc, Mutex};

use durable::prelude::*;
use durable_tests::purse::Purse;

const IN_FLIGHT: u64 = 16;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("purse-load DIRECTORY PURSES SEED");
    let directory = next();
    let purses: u64 = next().parse().expect("a number");
    let seed: u64 = next().parse().expect("a number");
    durable_tests::on_many_threads(async move {
        let builder = Runtime::builder(directory).register::<Purse>();
        // Few enough that objects are evicted all the time.
        let builder = builder.resident_limit(16).checkpoint_distance(200_000);
        let runtime = builder.start().await.expect("the runtime starts");
        let output = Arc::new(Mutex::new(std::io::stdout()));
        let payers: Vec<_> = (0..IN_FLIGHT)
            .map(|lane| {
                let (runtime, output) = (runtime.clone(), output.clone());
                tokio::spawn(async move {
                    for turn in (seed + lane).. {
                        let payer = turn.wrapping_mul(7) % purses;
                        // Mostly the next one in the ring, now and then itself.
                        let receiver = if turn % 11 == 0 { payer } else { (payer + 1) % purses };
                        let amount = i64::try_from(turn % 100).expect("a small number");
                        let stub = runtime.get::<Purse>(&payer.to_string());
                        let number = stub.pay(&receiver.to_string(), amount).await;
                        let number = number.expect("the call is answered");
                        let mut output = output.lock().expect("nobody panicked");
                        writeln!(output, "{payer} {number}").expect("the parent reads");
                        output.flush().expect("the parent reads");
                    }
                })
            })
            .collect();
        // They go on until the kill; one that ends has panicked.
        for payer in payers {
            assert!(payer.await.is_ok(), "a payer panicked");
        }
    });
}
