//! What an object costs while it is in memory, and after it was evicted. In a process of its own.

use std::ops::Range;
use std::path::Path;

use durable::prelude::*;
use tokio::runtime::Runtime as Executor;

use crate::child;
use crate::measure::{Pace, Row, Run, Sides, Size, count};
use crate::rows::fleet::Counter;
use crate::rows::{executor, ok};

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, unit, set_up| Row { name, unit, limit_name: "", pace: Pace::Whole, set_up };
    vec![
        row("memory of a resident object", "KiB, no limit", |size| figure(size, "resident", 0)),
        row("descriptors of a resident object", "files, no limit", |size| {
            figure(size, "resident", 1)
        }),
        row("memory of an evicted object", "KiB, no limit", |size| figure(size, "evicted", 0)),
        row("descriptors of an evicted object", "files, no limit", |size| {
            figure(size, "evicted", 1)
        }),
    ]
}

fn figure(size: Size, which: &'static str, index: usize) -> Sides {
    let (directory, objects) = (ok(tempfile::tempdir()), size.scaled(10_000).to_string());
    // By another process: its memory would be reused in the one that measures.
    child::figures(&["make", &directory.path().to_string_lossy(), &objects]);
    let ours: Run = Box::new(move |_| {
        child::figures(&[which, &directory.path().to_string_lossy(), &objects])[index]
    });
    Sides::alone(ours)
}

/// Prints KiB and descriptors of each object that is in memory. All are written back: a process before has
/// made them, and here they are read.
pub(crate) fn resident(directory: &Path, objects: usize) {
    let executor = executor();
    let runtime = start(&executor, directory, 2 * objects);
    let before = usage();
    read(&executor, &runtime, 0..objects);
    print_each(before, objects);
    ok(executor.block_on(runtime.shutdown()));
}

/// Prints what each evicted object adds, while a few others are in memory. Counted from the second half of
/// them on: the allocator has by then what it keeps.
pub(crate) fn evicted(directory: &Path, objects: usize) {
    let executor = executor();
    let runtime = start(&executor, directory, objects / 20);
    read(&executor, &runtime, 0..objects / 2);
    let before = usage();
    read(&executor, &runtime, objects / 2..objects);
    print_each(before, objects / 2);
    ok(executor.block_on(runtime.shutdown()));
}

fn start(executor: &Executor, directory: &Path, residents: usize) -> Runtime {
    let builder = Runtime::builder(directory).register::<Counter>().resident_limit(residents);
    ok(executor.block_on(builder.start()))
}

fn read(executor: &Executor, runtime: &Runtime, objects: Range<usize>) {
    for number in objects {
        ok(executor.block_on(runtime.get::<Counter>(&number.to_string()).total()));
    }
}

fn print_each(before: (f64, f64), objects: usize) {
    let (after, objects) = (usage(), count(objects));
    println!("{} {}", (after.0 - before.0) / objects, (after.1 - before.1) / objects);
}

/// Resident memory in KiB and open descriptors of this process.
pub(super) fn usage() -> (f64, f64) {
    let status = ok(std::fs::read_to_string("/proc/self/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    (kib, count(ok(std::fs::read_dir("/proc/self/fd")).count()))
}
