//! What it costs to keep the past, and how long going back takes.
//!
//! The limit of a write is the same write without a history, so the ratio is the price of it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durable::prelude::*;
use durable::{Bookmark, Builder};

use crate::latency::Latencies;
use crate::measure::{Pace, Row, Run, Sides, Size, count};
use crate::rows::fleet::{Answer, Fleet, call_rate};
use crate::rows::ok;

const MONTH: Duration = Duration::from_hours(30 * 24);
/// One caller alone writes little: so checkpoints fall into the row.
const DISTANCE_OF_ONE: u64 = 2 * 1_024 * 1_024;
/// Rows of an object, which fill some 15 pages.
const SMALL: u32 = 256;
/// Notes that fill a page each: 100 MB.
const LARGE: usize = 25_000;
const LARGE_NOTE: u32 = 4_000;
const CHECKPOINTS: usize = 3;

pub(crate) fn rows() -> Vec<Row> {
    let against_none = |name, set_up| Row {
        name,
        unit: "us",
        limit_name: "without history",
        pace: Pace::Long,
        set_up,
    };
    let against_copy = |name, set_up| Row {
        name,
        unit: "ms",
        limit_name: "copy of the file, synced",
        pace: Pace::Whole,
        set_up,
    };
    vec![
        against_none("history: p50 of a durable update, one at a time", |_| median_update()),
        Row {
            pace: Pace::Whole,
            ..against_none(
                "history: time for a durable update, 100 in flight, over three checkpoints",
                sustained,
            )
        },
        Row {
            name: "history: kept of a small update",
            unit: "bytes",
            limit_name: "",
            pace: Pace::Whole,
            set_up: kept,
        },
        against_copy("history: restore of 100 MB, of which a tenth changed", restores),
        against_copy("history: fork of 100 MB", forks),
    ]
}

/// Notes of one size, of which one is changed at a time.
#[derive(Default)]
pub(crate) struct Shelf;

#[durable_object]
impl Shelf {
    #[migration(1)]
    fn create_notes(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE notes (number INTEGER PRIMARY KEY, text BLOB NOT NULL)")
    }

    pub fn fill(&mut self, ctx: &Context, notes: Range<u32>, bytes: u32) -> Result<usize> {
        ctx.sql().execute(
            "WITH RECURSIVE n(i) AS (VALUES (?1) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2) \
             INSERT INTO notes SELECT i, randomblob(?3) FROM n",
            (notes.start, notes.end, bytes),
        )
    }

    pub fn change(&mut self, ctx: &Context, number: u64) -> Result<usize> {
        let text = format!("changed to something else {number:20}");
        ctx.sql().execute(
            "UPDATE notes SET text = CAST(?2 AS BLOB) || substr(text, ?3) WHERE number = ?1",
            (number % u64::from(SMALL), &text, text.len() + 1),
        )
    }

    pub fn change_each(&mut self, ctx: &Context, step: u32, bytes: u32) -> Result<Bookmark> {
        ctx.sql().execute(
            "UPDATE notes SET text = randomblob(?2) WHERE number % ?1 = 0",
            (step, bytes),
        )?;
        ctx.current_bookmark()
    }
}

fn shelves(objects: usize, choose: impl FnOnce(Builder) -> Builder) -> Fleet<Shelf> {
    let fleet = Fleet::<Shelf>::with(&std::env::temp_dir(), objects, choose);
    for shelf in fleet.stubs.iter() {
        ok(fleet.executor.block_on(shelf.fill(0..SMALL, 200)));
    }
    fleet
}

fn with(builder: Builder) -> Builder {
    builder.history(MONTH)
}

fn without(builder: Builder) -> Builder {
    builder.history(Duration::ZERO)
}

/// Another note with each call, to what it never was.
fn change_one(shelf: &ShelfStub) -> impl Future<Output = Answer<usize>> + Send + use<> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    shelf.change(NEXT.fetch_add(89, Ordering::Relaxed)).into_future()
}

fn median_update() -> Sides {
    let half = |choose: fn(Builder) -> Builder| -> Run {
        let fleet = shelves(1, |builder| choose(builder).checkpoint_distance(DISTANCE_OF_ONE));
        Box::new(move |time| {
            let latencies = Latencies::default();
            call_rate::<Shelf, _, _>(&fleet, 1, time, Some(&latencies), change_one);
            f64::from(latencies.summary(None).p50_us)
        })
    };
    Sides::pair(half(with), half(without))
}

fn sustained(size: Size) -> Sides {
    let objects = size.scaled(1_000);
    let distance = size.scaled(64 * 1_024 * 1_024) as u64;
    let half = |choose: fn(Builder) -> Builder| -> Run {
        let fleet = shelves(objects, |builder| choose(builder).checkpoint_distance(distance));
        Box::new(move |_| {
            let noted = fleet.path().join("journal/CHECKPOINT");
            let (begin, mut calls) = (Instant::now(), 0.0);
            let (mut checkpoints, mut before) = (0, std::fs::read(&noted).ok());
            while checkpoints < CHECKPOINTS {
                let (part, time) = (Instant::now(), Duration::from_millis(200));
                let rate = call_rate::<Shelf, _, _>(&fleet, 100, time, None, change_one);
                calls += rate * part.elapsed().as_secs_f64();
                let now = std::fs::read(&noted).ok();
                checkpoints += usize::from(now != before);
                before = now;
            }
            begin.elapsed().as_secs_f64() * 1e6 / calls
        })
    };
    Sides::pair(half(with), half(without))
}

fn kept(size: Size) -> Sides {
    let updates = size.scaled(100_000);
    Sides::alone(Box::new(move |_| {
        let fleet = shelves(1, with);
        let history = fleet.path().join("history");
        let before = bytes_in(&history);
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let stubs = Arc::clone(&fleet.stubs);
                fleet.executor.spawn(async move {
                    for _ in 0..updates / 100 {
                        ok(change_one(&stubs[0]).await);
                    }
                })
            })
            .collect();
        fleet.executor.block_on(async {
            for task in tasks {
                ok(task.await);
            }
            ok(fleet.runtime.shutdown().await);
        });
        count(bytes_in(&history) - before) / count(updates)
    }))
}

fn bytes_in(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| usize::try_from(ok(file.metadata()).len()).unwrap_or(usize::MAX)).sum()
}

fn restores(size: Size) -> Sides {
    let (fleet, bytes) = large(size);
    let limit = copies_of(bytes);
    let ours: Run = Box::new(move |_| {
        fleet.executor.block_on(async {
            let shelves = fleet.runtime.namespace::<Shelf>();
            let id = ok(shelves.id_from_name("0"));
            let then = ok(shelves.current_bookmark(&id).await);
            ok(fleet.stubs[0].change_each(10, LARGE_NOTE).await);
            let begin = Instant::now();
            ok(shelves.restore(&id, &then).await);
            begin.elapsed().as_secs_f64() * 1e3
        })
    });
    Sides::pair(ours, limit)
}

fn forks(size: Size) -> Sides {
    let (fleet, bytes) = large(size);
    let limit = copies_of(bytes);
    let ours: Run = Box::new(move |_| {
        fleet.executor.block_on(async {
            let shelves = fleet.runtime.namespace::<Shelf>();
            let (id, copy) = (ok(shelves.id_from_name("0")), ok(shelves.unique_id()));
            let begin = Instant::now();
            ok(shelves.fork(&id, &copy).await);
            let time = begin.elapsed();
            ok(shelves.delete(&copy).await);
            time.as_secs_f64() * 1e3
        })
    });
    Sides::pair(ours, limit)
}

/// One object, and how many bytes its notes take.
fn large(size: Size) -> (Fleet<Shelf>, usize) {
    let notes = size.scaled(LARGE);
    let fleet = Fleet::<Shelf>::with(&std::env::temp_dir(), 1, with);
    // A turn may change 64 MiB.
    for first in (0..notes).step_by(10_000) {
        let end = notes.min(first + 10_000);
        let part = ok(u32::try_from(first))..ok(u32::try_from(end));
        ok(fleet.executor.block_on(fleet.stubs[0].fill(part, LARGE_NOTE)));
    }
    (fleet, notes * 4_096)
}

/// What a copy of so many bytes takes, until the disk has it.
fn copies_of(bytes: usize) -> Run {
    let folder = ok(tempfile::tempdir());
    let source = folder.path().join("source");
    ok(std::fs::write(&source, vec![7; bytes]));
    Box::new(move |_| {
        let begin = Instant::now();
        let copy = folder.path().join("copy");
        ok(std::fs::copy(&source, &copy));
        ok(ok(std::fs::File::open(&copy)).sync_all());
        begin.elapsed().as_secs_f64() * 1e3
    })
}
