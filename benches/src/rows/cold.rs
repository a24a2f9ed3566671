//! Objects that are not in memory: their first write, and a read after eviction.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::prelude::*;

use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::fleet::{Counter, CounterStub, Fleet};
use crate::rows::ok;
use crate::rows::stock::{self, increment, threads_rate, total};

/// Callers of ours, threads of stock's.
const CALLERS: usize = 100;
/// Objects that are evicted and read.
const EVICTED: usize = 1_000;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, limit_name, set_up| Row {
        name,
        unit: "objects/s",
        limit_name,
        pace: Pace::Timed,
        set_up,
    };
    let stock = "stock SQLite, WAL, FULL: file, table, row";
    vec![
        row("cold create with one write, one at a time", stock, |_| {
            creates(&std::env::temp_dir(), 1)
        }),
        row("cold create with one write, 100 in flight", stock, |_| {
            creates(&std::env::temp_dir(), CALLERS)
        }),
        row("cold create with one write, 100 in flight, memory file system", stock, |_| {
            creates(Path::new("/dev/shm"), CALLERS)
        }),
        row("evict, activate and read", "stock SQLite: open, read, close", |_| evicted()),
    ]
}

fn creates(folder: &Path, callers: usize) -> Sides {
    let fleet = Fleet::<Counter>::new(folder, 0);
    let namespace = fleet.runtime.namespace::<Counter>();
    let created = AtomicUsize::new(0);
    let ours: Run = Box::new(move |time| {
        rate(time, || {
            let first = created.fetch_add(callers * 20, Ordering::Relaxed);
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let namespace = namespace.clone();
                    fleet.executor.spawn(create(namespace, first + caller * 20, 20))
                })
                .collect();
            fleet.executor.block_on(async {
                for task in tasks {
                    ok(task.await);
                }
            });
            callers * 20
        })
    });
    let directory = ok(tempfile::tempdir_in(folder));
    let run = AtomicUsize::new(0);
    let limit: Run = Box::new(move |time| {
        let run = run.fetch_add(1, Ordering::Relaxed);
        threads_rate(callers, time, |thread, round| {
            let file = directory.path().join(format!("{run}-{thread}-{round}.db"));
            ok(stock::create(&file).and_then(|connection| increment(&connection)));
        })
    });
    Sides::pair(ours, limit)
}

async fn create(namespace: Namespace<Counter>, first: usize, count: usize) {
    for number in first..first + count {
        ok(namespace.get_by_name(&number.to_string()).increment(1).await);
    }
}

fn evicted() -> Sides {
    let fleet = Fleet::counters(EVICTED);
    let namespace = fleet.runtime.namespace::<Counter>();
    let ours: Run = Box::new(move |time: Duration| {
        rate(time, || {
            for stub in fleet.stubs.iter() {
                ok(fleet.executor.block_on(evict_and_read(&namespace, stub)));
            }
            EVICTED
        })
    });
    let directory = ok(tempfile::tempdir());
    let file = move |number: usize| directory.path().join(format!("{number}.db"));
    (0..EVICTED).for_each(|number| drop(ok(stock::create(&file(number)))));
    let limit = Box::new(move |time| {
        rate(time, || {
            for number in 0..EVICTED {
                ok(stock::open(&file(number)).and_then(|connection| total(&connection)));
            }
            EVICTED
        })
    });
    Sides::pair(ours, limit)
}

async fn evict_and_read(namespace: &Namespace<Counter>, stub: &CounterStub) -> Result<i64> {
    // An object that has just answered may still be at work.
    while !namespace.evict(stub.id())? {
        tokio::task::yield_now().await;
    }
    Ok(stub.total().await?)
}
