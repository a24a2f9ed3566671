//! Durable increments and reads, against stock SQLite (WAL, `synchronous=FULL`) driven by hand, with as many
//! threads as we have callers.

use std::time::Duration;

use crate::latency::Latencies;
use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::fleet::{Counter, CounterStub, Fleet, call_rate};
use crate::rows::ok;
use crate::rows::stock::{self, increment, total};

const STOCK: &str = "stock SQLite, WAL, FULL";
const MEMORY: &str = "SQLite in memory, which keeps nothing";
/// A small distance between checkpoints, so that many of them fall into a row.
const DISTANCE: u64 = 8 * 1_024 * 1_024;
/// One caller writes less.
const DISTANCE_OF_ONE: u64 = 512 * 1_024;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, limit_name, set_up| Row {
        name,
        unit: "calls/s",
        limit_name,
        pace: Pace::Long,
        set_up,
    };
    vec![
        row("durable increment, one at a time", STOCK, |_| increments(1, 1, 1)),
        row("durable increment, 100 in flight on one object", STOCK, |_| increments(100, 1, 1)),
        row("durable increment, 100 in flight over 1,000 objects", STOCK, |_| {
            increments(100, 1_000, 1_000)
        }),
        // Two descriptors for each file of stock's: with 10,000 of them there are too few for both sides.
        row(
            "durable increment, 100 in flight over 10,000 objects",
            "stock SQLite, WAL, FULL, 3,000 files",
            |size| increments(100, size.scaled(10_000), size.scaled(3_000)),
        ),
        row("durable increment, 100 in flight on one object, beside memory", MEMORY, |_| {
            beside_memory(100, 1)
        }),
        row("durable increment, 100 in flight over 1,000 objects, beside memory", MEMORY, |_| {
            beside_memory(100, 1_000)
        }),
        Row {
            name: "read, 100 in flight on one object",
            unit: "calls/s",
            limit_name: "bare rusqlite in memory, one thread",
            pace: Pace::Timed,
            set_up: |_| reads(),
        },
    ]
}

fn increments(callers: usize, objects: usize, files: usize) -> Sides {
    let files = stock::Files::new(files);
    against(callers, objects, Box::new(move |time| files.rate(callers, time, increment)))
}

/// As many threads for the memory as the machine has processors for ours.
fn beside_memory(callers: usize, objects: usize) -> Sides {
    let databases = stock::Files::in_memory(objects);
    let threads = objects.min(2);
    against(callers, objects, Box::new(move |time| databases.rate(threads, time, increment)))
}

fn against(callers: usize, objects: usize, limit: Run) -> Sides {
    let distance = if callers == 1 { DISTANCE_OF_ONE } else { DISTANCE };
    let fleet = Fleet::counters_with_distance(objects, distance);
    let (directory, latencies) = (Some(fleet.path()), Latencies::default());
    let noted = latencies.clone();
    let ours: Run = Box::new(move |time| {
        call_rate::<Counter, _, _>(&fleet, callers, time, Some(&noted), |stub| stub.increment(1))
    });
    Sides { latencies: Some(latencies), directory, ..Sides::pair(ours, limit) }
}

fn reads() -> Sides {
    let fleet = Fleet::counters(1);
    let ours: Run = Box::new(move |time: Duration| {
        call_rate::<Counter, _, _>(&fleet, 100, time, None, CounterStub::total)
    });
    let connection = ok(stock::in_memory());
    let limit = Box::new(move |time| {
        rate(time, || {
            for _ in 0..1_000 {
                ok(total(&connection));
            }
            1_000
        })
    });
    Sides::pair(ours, limit)
}
