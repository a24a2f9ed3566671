//! What only the engine's threads can show: waiting, and doing several things at once.

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use super::index::Index;
use super::world::{self, BY_HAND, DATA, key, new_disk, options};
use crate::engine::files::Disk;
use crate::engine::files::simulated::{Fault, SimulatedDisk, kind_of_file};
use crate::engine::journal::{Journal, Options};
use crate::engine::journaled::checkpoint::{Checkpointer, Waker, checkpoint};
use crate::engine::journaled::database::JournaledDatabase;
use crate::engine::journaled::entry::wait;
use crate::engine::journaled::{JournaledEngine, OnDamage, Places, Shared, WriteLimits, recovery};
use crate::engine::pagestore::object_path;
use crate::engine::vfs::Clock;
use crate::engine::{Configure, Database, Directory, Engine};
use crate::{ErrorKind, Result};

/// A test that waits longer has failed.
const LONG: Duration = Duration::from_secs(20);

/// With a flusher, and without checkpoints.
fn open(disk: &SimulatedDisk, options: Options) -> Arc<Shared> {
    open_at(disk, options, Arc::new(|| SystemTime::UNIX_EPOCH))
}

fn open_at(disk: &SimulatedDisk, options: Options, clock: Clock) -> Arc<Shared> {
    let (data, index) = (PathBuf::from(DATA), Arc::new(Index::new(disk)));
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let recovered =
        recovery::recover(&data, &disk, options, OnDamage::Refuse, &*index, None).unwrap();
    let journal = recovered.generation.admit().unwrap();
    let places = Places { disk, data, index, history: None };
    Arc::new(Shared::new(places, journal, recovered.quarantine, clock, None).unwrap())
}

fn database(shared: &Arc<Shared>, number: usize) -> Result<JournaledDatabase> {
    database_of(shared, number, Waker::new(Arc::clone(shared), BY_HAND))
}

fn database_of(shared: &Arc<Shared>, number: usize, waker: Waker) -> Result<JournaledDatabase> {
    let entry = shared.entry(&key(number))?;
    let nothing: Configure = Arc::new(|_| Ok(()));
    JournaledDatabase::open(Arc::clone(shared), entry, waker, &nothing)
}

/// A failure while a turn waits for relief comes after its record was appended: nobody knows what became of
/// it, and that is for the receipt to say.
#[test]
fn a_journal_that_fails_while_a_turn_waits_fails_its_receipt() {
    let disk = new_disk();
    let shared = open(&disk, Options { unflushed_bytes_max: 0, ..options() });
    let mut database = database(&shared, 0).unwrap();
    database.begin().unwrap();
    database.connection().execute_batch("CREATE TABLE t (x)").unwrap();
    disk.inject("sync_data #.segment", 1, Fault::Io);
    let receipt = database.commit().unwrap();
    let failure = wait(receipt).unwrap_err();
    assert_eq!(Some(&failure), shared.journal.failure().as_ref());
    assert_eq!(database.begin().unwrap_err(), failure);
}

#[test]
fn objects_are_opened_side_by_side_and_each_of_them_once() {
    let shared = open(&new_disk(), options());
    let (opened, other_is_open) = mpsc::channel();
    let both = &Barrier::new(2);
    let shared = &shared;
    thread::scope(|scope| {
        let slow = scope.spawn(move || {
            shared.entries.get_or_open(&key(0), || {
                both.wait();
                other_is_open.recv_timeout(LONG).expect("another object could not be opened");
                shared.open_entry(&key(0))
            })
        });
        both.wait();
        // The same one is waited for, and opened by nobody else.
        let same = scope.spawn(|| shared.entries.get_or_open(&key(0), || panic!("opened twice")));
        shared.entry(&key(1)).unwrap();
        opened.send(()).unwrap();
        let (slow, same) = (slow.join().unwrap().unwrap(), same.join().unwrap().unwrap());
        assert!(Arc::ptr_eq(&slow, &same));
    });
}

/// An eviction that meets a checkpoint at the same file waits for it, and writes what came after it.
#[test]
fn an_object_that_is_closed_while_its_file_is_written_leaves_a_whole_file() {
    let shared = open(&new_disk(), options());
    let mut database = database(&shared, 0).unwrap();
    add_row(&mut database).unwrap();
    let entry = shared.entry(&key(0)).unwrap();
    let writing = entry.begin_write_back(false).unwrap().unwrap();
    add_row(&mut database).unwrap();
    let both = &Barrier::new(2);
    thread::scope(|scope| {
        let closing = scope.spawn(move || {
            both.wait();
            drop(database);
        });
        both.wait();
        // One that does not wait has the time to show it.
        (0..10_000).for_each(|_| thread::yield_now());
        writing.write(&shared.unsynced).unwrap();
        closing.join().unwrap();
    });
    assert!(!entry.lags());
}

/// A checkpointer that begins only when memory is short.
fn with_limit(shared: &Arc<Shared>, bytes: usize) -> Checkpointer {
    let limits = WriteLimits {
        checkpoint_distance: u64::MAX,
        unwritten_bytes_max: bytes,
        ..WriteLimits::default()
    };
    Checkpointer::start(Arc::clone(shared), limits).unwrap()
}

/// Adds a row of 100 KiB.
fn add_row(database: &mut JournaledDatabase) -> Result<()> {
    database.begin()?;
    let sql = "CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (randomblob(102400))";
    database.connection().execute_batch(sql).unwrap();
    wait(database.commit()?)
}

fn rows(database: &JournaledDatabase) -> usize {
    database.connection().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

const LIMIT: usize = 1_024 * 1_024;

#[test]
fn turns_wait_while_too_much_waits_for_the_files() {
    let shared = open(&new_disk(), options());
    let mut checkpointer = with_limit(&shared, LIMIT);
    let open = |number| database_of(&shared, number, checkpointer.waker()).unwrap();
    let mut databases: Vec<_> = (0..5).map(open).collect();
    for _ in 0..20 {
        for database in &mut databases {
            add_row(database).unwrap();
            let bytes = shared.unwritten_bytes();
            assert!(bytes < LIMIT + LIMIT / 2, "{bytes} bytes are waiting");
        }
    }
    assert!(databases.iter().all(|database| rows(database) == 20));
    checkpointer.stop();
    drop(databases);
    assert_eq!(shared.unwritten_bytes(), 0);
}

#[test]
fn turns_fail_while_files_that_cannot_be_written_fill_memory() {
    let disk = new_disk();
    let shared = open(&disk, options());
    let mut checkpointer = with_limit(&shared, LIMIT);
    let mut database = database_of(&shared, 0, checkpointer.waker()).unwrap();
    let path = object_path(&shared.objects, &key(0));
    for nth in 1..1_000 {
        disk.inject(&format!("create {}", kind_of_file(&path)), nth, Fault::Full);
    }
    let (count, error) = (0..50).find_map(|n| Some((n, add_row(&mut database).err()?))).unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.message().contains(&path.display().to_string()), "{error}");
    assert!((9..20).contains(&count), "after {count} rows");
    // Nothing of it is left, and what was there can be read.
    assert_eq!(rows(&database), count);
    assert!(disk.clear_faults() > 0);
    add_row(&mut database).unwrap();
    assert_eq!(rows(&database), count + 1);
    checkpointer.stop();
}

/// No checkpoint makes room by writing them: they belong to no file, and who waited for that would wait for ever.
#[test]
fn pages_of_an_object_that_was_never_stored_keep_nobody_waiting() {
    let shared = open(&new_disk(), options());
    let mut database = database(&shared, 0).unwrap();
    add_row(&mut database).unwrap();
    database.begin().unwrap();
    wait(database.delete().unwrap()).unwrap();
    drop(database);
    let mut database = self::database(&shared, 0).unwrap();
    database.begin().unwrap();
    let sql = "CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(102400))";
    database.connection().execute_batch(sql).unwrap();
    database.commit_provisional().unwrap();
    checkpoint(&shared).unwrap();
    assert_eq!(shared.unwritten_bytes(), 0);
    assert_eq!(rows(&database), 1);
}

/// The object is opened anew before anybody has flushed, and says so.
#[test]
fn a_deletion_that_is_not_durable_is_known_to_the_next_database() {
    let shared = world::open(&new_disk()).unwrap();
    let mut database = database(&shared, 0).unwrap();
    database.begin().unwrap();
    database.connection().execute_batch("CREATE TABLE t (x)").unwrap();
    let _ = database.commit().unwrap();
    shared.journal.flush_by_hand();
    database.begin().unwrap();
    let deleted = database.delete().unwrap();
    drop(database);
    let database = self::database(&shared, 0).unwrap();
    assert!(!database.is_stored() && !database.latest().is_durable());
    shared.journal.flush_by_hand();
    assert!(deleted.is_durable() && database.latest().is_durable());
}

/// The times of records never go back, also if the clock does and the object was away meanwhile.
#[test]
fn times_go_on_after_an_eviction_and_a_restart() {
    let disk = new_disk();
    let time_of = |clock_ms: u64| {
        let clock = Arc::new(move || SystemTime::UNIX_EPOCH + Duration::from_millis(clock_ms));
        let shared = open_at(&disk, options(), clock);
        let mut times = Vec::new();
        for _ in 0..2 {
            let mut database = database(&shared, 0).unwrap();
            add_row(&mut database).unwrap();
            times.push(shared.entry(&key(0)).unwrap().state.lock().stamp.time_ms);
        }
        disk.crash();
        drop(shared);
        disk.restart();
        times
    };
    assert_eq!(time_of(5_000), [5_000, 5_000]);
    assert_eq!(time_of(3_000), [5_000, 5_000]);
    assert_eq!(time_of(6_000), [6_000, 6_000]);
}

#[test]
fn more_objects_are_open_than_files_may_be() {
    const OBJECTS: usize = 60;
    let disk = SimulatedDisk::default();
    let data = tempfile::tempdir().unwrap();
    let nothing: Configure = Arc::new(|_| Ok(()));
    for round in 0..2 {
        let engine = JournaledEngine::open(
            Directory::open(data.path()).unwrap(),
            Arc::new(disk.clone()),
            Arc::new(|| SystemTime::UNIX_EPOCH),
            WriteLimits::default(),
            OnDamage::Refuse,
            Arc::new(Index::new(&disk)),
        )
        .unwrap();
        // The journal needs some of them.
        disk.limit_open_files(16);
        let open = |number| engine.open(&key(number), Arc::clone(&nothing)).unwrap();
        let mut databases: Vec<_> = (0..OBJECTS).map(open).collect();
        for database in &mut databases {
            database.begin().unwrap();
            let sql = "CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)";
            database.connection().execute_batch(sql).unwrap();
            wait(database.commit().unwrap()).unwrap();
        }
        let sum = "SELECT sum(x) FROM t";
        for database in &databases {
            let sum: i64 = database.connection().query_row(sum, [], |row| row.get(0)).unwrap();
            assert_eq!(sum, round + 1);
        }
    }
}
