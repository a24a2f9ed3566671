//! Runs clockworks and couriers until it is killed: `clockwork-load DIRECTORY OBJECTS`.
//!
//! Prints a line `object runs` for every clockwork that said how many runs it has had, over and over. What it printed must be there
//! after the kill.

use std::io::Write;

use durable::prelude::*;
use durable_tests::clockwork::{Clockwork, Courier};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("clockwork-load DIRECTORY OBJECTS");
    let directory = next();
    let objects: u64 = next().parse().expect("a number");
    durable_tests::on_many_threads(async move {
        let builder = Runtime::builder(directory).register::<Clockwork>().register::<Courier>();
        // Few enough that objects are evicted all the time.
        let runtime = builder
            .resident_limit(4)
            .checkpoint_distance(100_000)
            .start()
            .await
            .expect("the runtime starts");
        let names: Vec<_> = (0..objects).map(|object| object.to_string()).collect();
        for name in &names {
            runtime.get::<Clockwork>(name).start().await.expect("the clockwork starts");
            runtime.get::<Courier>(name).start().await.expect("the courier starts");
        }
        for name in names.iter().cycle() {
            let runs = runtime.get::<Clockwork>(name).runs().await.expect("the clockwork answers");
            let mut output = std::io::stdout().lock();
            writeln!(output, "{name} {runs}").expect("the parent reads");
            output.flush().expect("the parent reads");
        }
    });
}
