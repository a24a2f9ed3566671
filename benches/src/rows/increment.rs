//! Durable increments, against stock SQLite (WAL, `synchronous=FULL`) driven by hand, with as many
//! threads as we have callers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use durable::prelude::*;
use rusqlite::Connection;
use tokio::runtime::Runtime as Executor;

use crate::measure::{Row, Run};
use crate::rows::{executor, fail, ok};

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<usize> {
        ctx.sql().execute("UPDATE hits SET total = total + ?", [by])
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let row =
        |name, set_up| Row { name, unit: "calls/s", limit_name: "stock SQLite, WAL, FULL", set_up };
    vec![
        row("durable increment, one at a time", || set_up(1, 1)),
        row("durable increment, 100 in flight on one object", || set_up(100, 1)),
        row("durable increment, 100 in flight over 1,000 objects", || set_up(100, 1_000)),
    ]
}

fn set_up(callers: usize, objects: usize) -> (Run, Run) {
    let directory = ok(tempfile::tempdir()).keep();
    let executor = Arc::new(executor());
    let stubs = Arc::new(stubs(&executor, directory.join("ours"), objects));
    let ours: Run = Box::new(move |time| durable_rate(&executor, &stubs, callers, time));
    let files = Arc::new(stock_files(&directory.join("stock"), objects));
    let limit: Run = Box::new(move |time| stock_rate(&files, callers, time));
    (ours, limit)
}

/// Stubs of objects that are in memory already.
fn stubs(executor: &Executor, directory: PathBuf, objects: usize) -> Vec<CounterStub> {
    executor.block_on(async {
        let runtime = ok(Runtime::builder(directory).register::<Counter>().start().await);
        let stubs: Vec<_> = (0..objects).map(|n| runtime.get::<Counter>(&n.to_string())).collect();
        for stub in &stubs {
            ok(stub.increment(1).await);
        }
        // The process ends with the runtime.
        std::mem::forget(runtime);
        stubs
    })
}

fn durable_rate(
    executor: &Executor,
    stubs: &Arc<Vec<CounterStub>>,
    callers: usize,
    time: Duration,
) -> f64 {
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (done, answered, stubs) = (done.clone(), answered.clone(), stubs.clone());
            executor.spawn(async move {
                let mut index = caller;
                while !done.load(Ordering::Relaxed) {
                    ok(stubs[index % stubs.len()].increment(1).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                    index += 97;
                }
            })
        })
        .collect();
    executor.block_on(async {
        tokio::time::sleep(time).await;
        done.store(true, Ordering::Relaxed);
        for task in tasks {
            let _ = task.await;
        }
    });
    per_second(answered.load(Ordering::Relaxed), begin.elapsed())
}

fn stock_files(directory: &Path, objects: usize) -> Vec<Mutex<Connection>> {
    ok(std::fs::create_dir_all(directory));
    let file = |number| ok(stock(&directory.join(format!("{number}.db"))));
    (0..objects).map(|number| Mutex::new(file(number))).collect()
}

fn stock(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0);",
    )?;
    Ok(connection)
}

fn stock_rate(files: &[Mutex<Connection>], callers: usize, time: Duration) -> f64 {
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (done, written) = (&done, &written);
            scope.spawn(move || {
                let mut index = caller;
                while !done.load(Ordering::Relaxed) {
                    match files[index % files.len()].lock() {
                        Ok(connection) => ok(increment(&connection)),
                        Err(_) => fail("a writer panicked"),
                    };
                    written.fetch_add(1, Ordering::Relaxed);
                    index += 97;
                }
            });
        }
        std::thread::sleep(time);
        done.store(true, Ordering::Relaxed);
    });
    per_second(written.load(Ordering::Relaxed), begin.elapsed())
}

fn increment(connection: &Connection) -> rusqlite::Result<usize> {
    connection.prepare_cached("UPDATE hits SET total = total + ?")?.execute([1])
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52 operations")]
fn per_second(operations: usize, elapsed: Duration) -> f64 {
    operations as f64 / elapsed.as_secs_f64()
}
