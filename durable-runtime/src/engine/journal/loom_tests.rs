//! Appends, the flusher and the end of the journal, in every order in which they can meet: see
//! [`sync`](crate::sync). The disk is simulated, and the flusher is the real one, on a thread of loom's.

use loom::thread;

use super::*;
use crate::engine::files::simulated::{Fault, SimulatedDisk};
use crate::engine::scan::testing::{Model, read};
use crate::sync::{block_on, in_every_order};

const FOLDER: &str = "/data/journal";
/// A debug build of the journal needs more than loom gives, in words.
const STACK: usize = 64 * 1_024;
const SYNC: &str = "sync_data #.segment";

/// As [`in_every_order`], with a larger stack for the test itself.
fn explore(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    in_every_order(2, move || {
        let test = Arc::clone(&test);
        spawn(move || test()).join().unwrap();
    });
}

fn spawn<V: Send + 'static>(run: impl FnOnce() -> V + Send + 'static) -> thread::JoinHandle<V> {
    thread::Builder::new().stack_size(STACK).spawn(run).unwrap()
}

fn open() -> (SimulatedDisk, LocalJournal) {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/data")).unwrap();
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, ..Options::default() };
    let found = read(&disk, Path::new(FOLDER)).report;
    let started =
        NewGeneration::start(Arc::new(disk.clone()), Path::new(FOLDER), options, &found).unwrap();
    (disk, started.admit_by_hand().unwrap())
}

fn syncs(disk: &SimulatedDisk) -> u64 {
    disk.calls().get(SYNC).copied().unwrap_or(0)
}

fn flusher(journal: &LocalJournal) -> thread::JoinHandle<()> {
    let core = Arc::clone(&journal.core);
    spawn(move || flush_all(&core))
}

#[test]
fn every_append_is_flushed_and_the_flusher_ends() {
    explore(|| {
        let (disk, journal) = open();
        let journal = Arc::new(journal);
        let (before, flusher) = (syncs(&disk), flusher(&journal));
        let appends = [1, 2].map(|object| {
            let (journal, disk) = (Arc::clone(&journal), disk.clone());
            let draft = Model::default().draft(object, 0);
            move || {
                let appended = journal.append(journal.checkpoint_epoch(), 0, draft).unwrap();
                assert_eq!(block_on(appended.receipt.wait()), Ok(()));
                assert!(syncs(&disk) > before, "it was never synced");
            }
        });
        let [first, second] = appends;
        let second = spawn(second);
        first();
        second.join().unwrap();
        journal.close().unwrap();
        flusher.join().unwrap();
        assert_eq!(journal.unflushed_bytes(), 0);
        assert_eq!(read(&disk, Path::new(FOLDER)).commits.len(), 2);
    });
}

#[test]
fn an_append_meets_the_end_of_the_journal() {
    explore(|| {
        let (disk, journal) = open();
        let journal = Arc::new(journal);
        let flusher = flusher(&journal);
        let append = {
            let journal = Arc::clone(&journal);
            let draft = Model::default().draft(1, 0);
            spawn(move || match journal.append(journal.checkpoint_epoch(), 0, draft) {
                Ok(appended) => block_on(appended.receipt.wait()).map(|()| 1),
                Err(Refusal::Failed(error)) if error.kind() == ErrorKind::ShutDown => Ok(0),
                Err(refusal) => panic!("{refusal:?}"),
            })
        };
        journal.close().unwrap();
        flusher.join().unwrap();
        let stored = append.join().unwrap();
        assert_eq!(stored, Ok(read(&disk, Path::new(FOLDER)).commits.len()));
    });
}

#[test]
fn a_flush_that_fails_is_told_to_all_and_never_taken_back() {
    explore(|| {
        let (disk, journal) = open();
        disk.inject(SYNC, syncs(&disk) + 1, Fault::Io);
        let journal = Arc::new(journal);
        let flusher = flusher(&journal);
        let second = {
            let journal = Arc::clone(&journal);
            let draft = Model::default().draft(2, 0);
            spawn(move || match journal.append(journal.checkpoint_epoch(), 0, draft) {
                Ok(appended) => block_on(appended.receipt.wait()),
                Err(refusal) => Err(journal.failure().unwrap_or_else(|| panic!("{refusal:?}"))),
            })
        };
        let append = journal.append(journal.checkpoint_epoch(), 0, Model::default().draft(1, 0));
        let failed = match append {
            Ok(appended) => block_on(appended.receipt.wait()).unwrap_err(),
            Err(_) => journal.failure().unwrap(),
        };
        assert_eq!(failed.kind(), ErrorKind::Storage);
        assert_eq!(second.join().unwrap(), Err(failed.clone()));
        assert_eq!(journal.close(), Err(failed));
        flusher.join().unwrap();
    });
}

#[test]
fn a_checkpoint_that_begins_parts_the_appends() {
    explore(|| {
        let (_, journal) = open();
        let journal = Arc::new(journal);
        let append = {
            let journal = Arc::clone(&journal);
            let draft = Model::default().draft(1, 0);
            spawn(move || {
                let epoch = journal.checkpoint_epoch();
                (epoch, journal.append(epoch, 0, draft))
            })
        };
        let (epoch, redo) = journal.begin_checkpoint();
        match append.join().unwrap() {
            (of, Ok(appended)) if of < epoch => assert!(appended.position < redo),
            (of, Ok(appended)) => assert!(of == epoch && appended.position >= redo),
            (of, Err(refusal)) => assert!(of < epoch && refusal == Refusal::Stale),
        }
    });
}
