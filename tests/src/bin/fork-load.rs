//! Forks a ledger as fast as it can while it is written, until it is killed: `fork-load DIRECTORY FIRST_NUMBER`.
//!
//! Prints a line with the name of every fork that was answered. What it printed must be there after the kill.

use std::io::Write;

use durable::prelude::*;
use durable_tests::ledger::Ledger;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("fork-load DIRECTORY FIRST_NUMBER");
    let directory = next();
    let first: i64 = next().parse().expect("a number");
    durable_tests::on_many_threads(async move {
        let builder = Runtime::builder(directory).register::<Ledger>();
        let runtime = builder.checkpoint_distance(100_000).start().await.expect("it starts");
        let source = runtime.get::<Ledger>("source");
        source.enter(first, 20).await.expect("the call is answered");
        let stub = source.clone();
        tokio::spawn(async move {
            for number in first + 1.. {
                stub.enter(number, 2_000).await.expect("the call is answered");
            }
        });
        let ledgers = runtime.namespace::<Ledger>();
        let from = ledgers.id_from_name("source").expect("a name");
        for number in first.. {
            let name = format!("fork {number}.");
            let to = ledgers.id_from_name(&name).expect("a name");
            ledgers.fork(&from, &to).await.expect("the fork is made");
            // Some are in use at once, and leave memory again.
            if number % 3 == 0 {
                ledgers.get(&to).audit().await.expect("the call is answered");
                ledgers.evict(&to).expect("the class is there");
            }
            let mut output = std::io::stdout();
            writeln!(output, "{name}").expect("the parent reads");
            output.flush().expect("the parent reads");
        }
    });
}
