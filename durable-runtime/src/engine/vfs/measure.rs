//! What a commit, a connection and an open cost. Run alone, in a release build, with `DURABLE_MEASURE` set to
//! an empty folder, and again for existing objects; without it this does nothing.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::ObjectKey;
use crate::engine::files::RealDisk;
use crate::engine::pagestore::{FilePerObject, Stamp};
use crate::id::RawId;

const SCHEMA: &str = "CREATE TABLE t (x INTEGER PRIMARY KEY, y); INSERT INTO t VALUES (1, 0)";
const UPDATE: &str = "UPDATE t SET y = y + 1 WHERE x = 1";
const COMMITS: u32 = 200_000;
const OBJECTS: usize = 1_000;

struct Opener {
    root: PathBuf,
    vfs: Arc<Vfs>,
}

impl Opener {
    fn open(&self, number: usize) -> (Arc<ObjectFile>, ObjectConnection) {
        let id = RawId::from_name("Counter", None, &number.to_string());
        let key = ObjectKey { class: "Counter".into(), id };
        let store = Arc::new(FilePerObject::new(Arc::new(RealDisk), &self.root, &key));
        let object = Arc::new(ObjectFile::open(&self.vfs, store, &template().unwrap()).unwrap());
        let connection = open_connection(&object, &tests::nothing()).unwrap();
        (object, connection)
    }
}

fn update(connection: &Connection) {
    connection.prepare_cached(UPDATE).unwrap().execute([]).unwrap();
}

fn accept(object: &ObjectFile) {
    let mut overlay = object.overlay();
    black_box(overlay.changes(1));
    overlay.accept(1);
}

fn per(elapsed: Duration, count: usize) -> f64 {
    elapsed.as_secs_f64() * 1e9 / count as f64
}

fn memory_kib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn commits(label: &str, connection: &Connection, after: impl Fn()) {
    for round in 0..3 {
        let start = Instant::now();
        for _ in 0..COMMITS {
            update(connection);
            after();
        }
        println!("{label} round {round}: {:.0} ns/update", per(start.elapsed(), COMMITS as usize));
    }
}

#[test]
fn figures() {
    let Some(root) = std::env::var_os("DURABLE_MEASURE") else { return };
    let tuned = std::env::var_os("DURABLE_UNTUNED").is_none().then(tune_process);
    println!("tuned: {tuned:?}");
    let opener = Opener { root: PathBuf::from(root), vfs: tests::vfs() };
    let memory = sqlite::open_memory(&tests::nothing()).unwrap();
    memory.execute_batch(SCHEMA).unwrap();
    let (object, connection) = opener.open(OBJECTS);
    connection.execute_batch(SCHEMA).unwrap();
    accept(&object);
    for _ in 0..2 {
        commits("in memory", &memory, || ());
        commits("overlay", &connection, || accept(&object));
    }
    drop((object, connection));
    many(&opener);
    too_large(&opener);
}

/// A thousand new objects; or, if they are on disk from the run before, existing ones.
fn many(opener: &Opener) {
    let is_new = std::fs::read_dir(&opener.root).unwrap().next().is_none();
    let label = if is_new { "new" } else { "existing" };
    let before = memory_kib("VmRSS");
    let start = Instant::now();
    let open: Vec<_> = (0..OBJECTS).map(|number| opener.open(number)).collect();
    println!("open {label}: {:.0} ns", per(start.elapsed(), OBJECTS));
    let start = Instant::now();
    for (object, connection) in &open {
        if is_new {
            connection.execute_batch(SCHEMA).unwrap();
        }
        update(connection);
        accept(object);
    }
    println!("first commit {label}: {:.0} ns", per(start.elapsed(), OBJECTS));
    let used = memory_kib("VmRSS") - before;
    println!("memory {label}: {:.1} KiB an object", used as f64 / OBJECTS as f64);
    let start = Instant::now();
    for (object, _) in &open {
        let snapshot = object.overlay().snapshot().unwrap();
        object.store().write(&snapshot, Stamp::default()).unwrap();
        object.overlay().written_back(&snapshot);
    }
    println!("write-back {label}: {:.0} ns", per(start.elapsed(), OBJECTS));
}

/// How much memory a transaction takes that is refused for its size.
fn too_large(opener: &Opener) {
    for pragma in ["PRAGMA cache_spill = 4096", "PRAGMA cache_spill = OFF"] {
        let (object, connection) = opener.open(OBJECTS + 1);
        connection.execute_batch(pragma).unwrap();
        connection.execute_batch("CREATE TABLE t (x, y)").unwrap();
        accept(&object);
        let before = memory_kib("VmRSS");
        let sql = "INSERT INTO t WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n \
                   WHERE i < 50000) SELECT i, zeroblob(3900) FROM n";
        let start = Instant::now();
        let outcome = connection.execute("BEGIN", []).and_then(|_| connection.execute(sql, []));
        let outcome = outcome.and_then(|_| connection.execute("COMMIT", []));
        let elapsed = start.elapsed();
        let peak = memory_kib("VmHWM") - before;
        println!("{pragma}: at most {peak} KiB more, {elapsed:?}, {:?}", outcome.is_err());
        assert!(object.take_failure().is_some());
    }
}
