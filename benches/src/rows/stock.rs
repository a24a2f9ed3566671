//! Stock SQLite, driven by hand.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::measure::per_second;
use crate::rows::{fail, ok};

/// Databases, each with the table of [`Counter`](super::fleet::Counter).
pub(crate) struct Files {
    open: Vec<Mutex<Connection>>,
    _directory: Option<TempDir>,
}

impl Files {
    pub(crate) fn new(count: usize) -> Self {
        let directory = ok(tempfile::tempdir());
        let open = (0..count)
            .map(|number| Mutex::new(ok(create(&directory.path().join(format!("{number}.db"))))))
            .collect();
        Files { open, _directory: Some(directory) }
    }

    /// Databases that are nowhere but in memory.
    pub(crate) fn in_memory(count: usize) -> Self {
        let open = (0..count).map(|_| Mutex::new(ok(in_memory()))).collect();
        Files { open, _directory: None }
    }

    /// Lets threads work on one file after the other; gives operations a second.
    pub(crate) fn rate(
        &self,
        threads: usize,
        time: Duration,
        work: fn(&Connection) -> rusqlite::Result<()>,
    ) -> f64 {
        threads_rate(threads, time, |thread, round| {
            match self.open[(thread + round * 97) % self.open.len()].lock() {
                Ok(connection) => ok(work(&connection)),
                Err(_) => fail("a thread panicked"),
            }
        })
    }
}

/// Calls `work` with the thread's number and the round.
pub(crate) fn threads_rate(
    threads: usize,
    time: Duration,
    work: impl Fn(usize, usize) + Sync,
) -> f64 {
    let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (is_over, done, work) = (&is_over, &done, &work);
            scope.spawn(move || {
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    work(thread, round);
                    round += 1;
                }
                done.fetch_add(round, Ordering::Relaxed);
            });
        }
        std::thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
    });
    per_second(done.load(Ordering::Relaxed), begin.elapsed())
}

/// A new file with one row.
pub(crate) fn create(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(file)?;
    connection.execute_batch(TABLE)?;
    Ok(connection)
}

pub(crate) fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
    )?;
    Ok(connection)
}

pub(crate) fn in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(TABLE)?;
    Ok(connection)
}

const TABLE: &str =
    "BEGIN; CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0); COMMIT";

pub(crate) fn increment(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE hits SET total = total + ?")?.execute([1]).map(|_| ())
}

pub(crate) fn total(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT total FROM hits")?.query_row([], |row| row.get(0))
}
