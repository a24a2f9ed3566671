//! Makes durable increments of one object: `increments COUNT IN_FLIGHT [DIRECTORY]`.
//!
//! To see how flushes are shared: `strace -f -c -e trace=fsync,fdatasync increments 10000 100`. To see that each
//! reply comes after its flush: `strace -f -e trace=fdatasync,write increments --each 100 1`.
#![allow(clippy::print_stdout, reason = "a command-line program prints what it did")]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use durable::prelude::*;

#[derive(Parser)]
struct Options {
    /// How many increments
    count: usize,
    /// How many at the same time
    in_flight: usize,
    /// Print a line for each reply, as soon as it is there
    #[arg(long)]
    each: bool,
    /// The data directory; one that is removed in the end, if none is given
    directory: Option<PathBuf>,
}

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let scratch = tempfile::tempdir()?;
    let directory = options.directory.unwrap_or_else(|| scratch.path().to_owned());
    let runtime = Runtime::builder(directory).register::<Counter>().start().await?;
    let stub = runtime.get::<Counter>("one");
    let begin = Instant::now();
    let each = options.each;
    let callers = options.in_flight.clamp(1, options.count.max(1));
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (stub, calls) = (stub.clone(), (caller..options.count).step_by(callers).count());
            tokio::spawn(async move {
                for _ in 0..calls {
                    let total = stub.increment(1).await?;
                    if each {
                        println!("{total}");
                    }
                }
                Ok::<_, durable::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    println!("{} increments, {callers} in flight: {:?}", options.count, begin.elapsed());
    runtime.shutdown().await?;
    Ok(())
}
