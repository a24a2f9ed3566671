//! How long a runtime takes to start on a directory with many objects.

use std::path::Path;
use std::time::Instant;

use crate::child;
use crate::measure::{Pace, Row, Run, Sides, Size};
use crate::rows::executor;
use crate::rows::fleet::{Counter, increment_each, open};
use crate::rows::ok;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "ms, no limit",
        limit_name: "",
        pace: Pace::Whole,
        set_up,
    };
    vec![
        row("start with 100,000 objects on disk, warm", |size| starts(size, |_| ())),
        row("start with 100,000 objects on disk, cold page cache", |size| starts(size, cool)),
    ]
}

fn starts(size: Size, prepare: fn(&Path)) -> Sides {
    let directory = ok(tempfile::tempdir());
    let (path, objects) = (directory.path().to_string_lossy(), size.scaled(100_000).to_string());
    child::figures(&["make", &path, &objects]);
    let ours: Run = Box::new(move |_| {
        prepare(directory.path());
        child::figures(&["start", &directory.path().to_string_lossy()])[0]
    });
    Sides::alone(ours)
}

/// Makes the system forget what it holds in memory of all files under a directory.
fn cool(directory: &Path) {
    rustix::fs::sync();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in ok(std::fs::read_dir(folder)) {
            let entry = ok(entry);
            if ok(entry.file_type()).is_dir() {
                folders.push(entry.path());
            } else {
                let file = ok(std::fs::File::open(entry.path()));
                ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed));
            }
        }
    }
}

/// Makes objects that are written back, and says so.
pub(crate) fn make(directory: &Path, objects: usize) {
    let executor = executor();
    let runtime = open::<Counter>(&executor, directory);
    let stubs = (0..objects).map(|n| runtime.get::<Counter>(&n.to_string())).collect();
    increment_each(&executor, &std::sync::Arc::new(stubs));
    ok(executor.block_on(runtime.shutdown()));
    drop(runtime);
    println!("{objects}");
}

/// Prints how many milliseconds the start took.
pub(crate) fn child(directory: &Path) {
    let executor = executor();
    let begin = Instant::now();
    let runtime = open::<Counter>(&executor, directory);
    println!("{}", begin.elapsed().as_secs_f64() * 1e3);
    ok(executor.block_on(runtime.shutdown()));
}
