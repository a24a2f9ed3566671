//! Says how much CPU a runtime takes whose objects have nothing to do: `idle [OBJECTS] [SECONDS]`.
#![allow(clippy::print_stdout, reason = "a command-line program prints its figure")]

use std::time::Duration;

use clap::Parser;
use durable::prelude::*;

#[derive(Parser)]
struct Options {
    /// How many objects are in memory
    #[arg(default_value_t = 1_000)]
    objects: usize,
    /// How long they do nothing
    #[arg(default_value_t = 10)]
    seconds: u64,
}

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context) -> Result<usize> {
        ctx.sql().execute("UPDATE hits SET total = total + 1", [])
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let builder = Runtime::builder(directory.path()).register::<Counter>();
    let runtime = builder.idle_limit(Duration::MAX).start().await?;
    for number in 0..options.objects {
        runtime.get::<Counter>(&number.to_string()).increment().await?;
    }
    // Whatever the last call has left behind, such as segments that are made ahead.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cpu_time();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let taken = cpu_time().saturating_sub(before);
    println!("{} objects took {taken:?} of CPU in {} s", options.objects, options.seconds);
    runtime.shutdown().await?;
    Ok(())
}

/// Of this process, threads that have ended included.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
