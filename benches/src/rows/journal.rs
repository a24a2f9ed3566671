//! What the journal costs: bytes for each update, and time to replay it.

use std::path::Path;
use std::sync::Arc;

use crate::child;
use crate::measure::{Pace, Row, Run, Sides, count};
use crate::rows::fleet::{Counter, Fleet, increment_each, open};
use crate::rows::{executor, ok};

/// The empty head of each segment.
const HEAD_BYTES: usize = 4_096;
/// Updates whose records are counted; too few for a checkpoint.
const UPDATES: usize = 20_000;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, unit, set_up| Row { name, unit, limit_name: "", pace: Pace::Whole, set_up };
    vec![
        row("journal of a small update", "bytes, no limit", |_| {
            Sides::alone(Box::new(update_bytes))
        }),
        row("recovery after a kill, for 100 MB of journal", "ms, no limit", |size| {
            let updates = size.scaled(300_000).to_string();
            let ours: Run = Box::new(move |_| recovery(&updates));
            Sides::alone(ours)
        }),
    ]
}

fn update_bytes(_: std::time::Duration) -> f64 {
    let fleet = Fleet::counters(1);
    let before = written(&fleet.path());
    let stubs = Arc::new(vec![fleet.stubs[0].clone(); UPDATES]);
    increment_each(&fleet.executor, &stubs);
    (written(&fleet.path()) - before) / count(UPDATES)
}

/// Milliseconds that a start takes after a process was killed, as if it had left 100 MB of journal.
fn recovery(updates: &str) -> f64 {
    let directory = ok(tempfile::tempdir());
    let path = directory.path().to_string_lossy();
    child::figures_and_kill(&["write", &path, updates]);
    let bytes = written(directory.path());
    child::figures(&["start", &path])[0] * 100e6 / bytes
}

/// Makes updates to 1,000 objects, says so, and waits to be killed.
pub(crate) fn child(directory: &Path, updates: usize) {
    let executor = executor();
    let runtime = open::<Counter>(&executor, directory);
    let stub = |n: usize| runtime.get::<Counter>(&(n % 1_000).to_string());
    increment_each(&executor, &Arc::new((0..updates).map(stub).collect()));
    println!("{updates}");
    std::thread::park();
}

/// Bytes of records in the segments of a journal that has not recycled any: all behind is zero.
fn written(directory: &Path) -> f64 {
    let files = ok(std::fs::read_dir(directory.join("journal")));
    let segments = files.map(|file| ok(file).path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "segment"));
    let bytes = segments.map(|path| {
        let content = ok(std::fs::read(path));
        let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        end.saturating_sub(HEAD_BYTES)
    });
    count(bytes.sum())
}
