//! The journal on the simulated disk. Its steps are called by hand, so nothing here depends on time; only the
//! last tests have threads.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::engine::files::simulated::{Fault, Random, SimulatedDisk};
use crate::engine::scan::ScanReport;
use crate::engine::scan::testing::{Model, read, scan_in};

const FOLDER: &str = "/data/journal";
const SMALL: u32 = 16 * 1_024;

fn options() -> Options {
    Options {
        segment_bytes: SMALL,
        retired_max: 2,
        retry_after: Duration::ZERO,
        ..Options::default()
    }
}

fn new_disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

fn try_open(disk: &SimulatedDisk) -> Result<(LocalJournal, ScanReport)> {
    let mut model = Model::default();
    let report = scan_in(disk, Path::new(FOLDER), &mut model)?;
    let started =
        NewGeneration::start(Arc::new(disk.clone()), Path::new(FOLDER), options(), &report)?;
    Ok((started.admit_by_hand()?, report))
}

fn open(disk: &SimulatedDisk) -> LocalJournal {
    try_open(disk).unwrap().0
}

fn append(journal: &LocalJournal, draft: Draft) -> Result<Appended, Refusal> {
    journal.append(journal.checkpoint_epoch(), draft.number() - 1, draft)
}

fn outcome(receipt: &Receipt) -> Option<Result<()>> {
    match receipt.clone().poll_durable(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

fn failure(result: Result<Appended, Refusal>) -> Error {
    match result {
        Err(Refusal::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_is_durable_after_its_flush_and_not_before() {
    let disk = new_disk();
    let journal = open(&disk);
    let mut model = Model::default();
    let first = append(&journal, model.draft(1, 10)).unwrap();
    let second = append(&journal, model.draft(2, 20)).unwrap();
    assert_eq!(outcome(&first.receipt), None);
    assert_eq!(second.position, first.end);
    let calls = disk.total_calls();
    assert!(journal.core.flush());
    assert_eq!(disk.total_calls() - calls, 2, "one write and one sync for all that gathered");
    assert_eq!(outcome(&first.receipt), Some(Ok(())));
    assert!(second.receipt.is_durable());
    assert!(!journal.core.flush(), "nothing is left");
    assert_eq!(journal.unflushed_bytes(), 0);
    journal.close().unwrap();
    assert_eq!(read(&disk, Path::new(FOLDER)).commits, model.commits);
}

#[test]
fn an_append_of_an_earlier_epoch_is_refused() {
    let disk = new_disk();
    let journal = open(&disk);
    let mut model = Model::default();
    let epoch = journal.checkpoint_epoch();
    append(&journal, model.draft(1, 10)).unwrap();
    let (next, redo) = journal.begin_checkpoint();
    assert!(next > epoch && journal.checkpoint_epoch() == next);
    let draft = model.clone().draft(1, 10);
    assert_eq!(journal.append(epoch, 1, draft).unwrap_err(), Refusal::Stale);
    let appended = journal.append(next, 1, model.draft(1, 10)).unwrap();
    assert_eq!(appended.position, redo, "the refused one left no trace");
}

#[test]
fn large_commits_span_segments() {
    let disk = new_disk();
    let journal = open(&disk);
    let mut model = Model::default();
    for bytes in [10, 60_000, 3, 200_000, 7] {
        append(&journal, model.draft(1, bytes)).unwrap();
    }
    assert!(journal.core.state.lock().live_segments().len() > 15);
    journal.close().unwrap();
    let found = read(&disk, Path::new(FOLDER));
    assert_eq!(found.commits, model.commits);
    assert!(found.report.is_sound());
}

#[test]
fn a_checkpoint_recycles_what_lies_before_it() {
    let disk = new_disk();
    let journal = open(&disk);
    let mut model = Model::default();
    for _ in 0..20 {
        append(&journal, model.draft(1, 3_000)).unwrap();
    }
    let (_, redo) = journal.begin_checkpoint();
    append(&journal, model.draft(1, 3_000)).unwrap();
    let before = journal.core.state.lock().live_segments();
    assert!(before.len() > 5);
    // Nothing is flushed yet, so no file may become another segment.
    journal.complete_checkpoint(redo).unwrap();
    assert_eq!(journal.core.state.lock().live_segments(), before);
    while journal.core.flush() {}
    journal.keep_from(Some(before[2]));
    journal.complete_checkpoint(redo).unwrap();
    assert_eq!(journal.core.state.lock().live_segments(), before[2..]);
    journal.keep_from(None);
    assert_eq!(journal.core.state.lock().live_segments()[0], redo.segment);
    assert_eq!(journal.core.state.lock().retired.len(), 2, "the others are removed");
    let creates = disk.calls()["write_at #.segment.new"];
    for _ in 0..6 {
        append(&journal, model.draft(1, 3_000)).unwrap();
    }
    journal.close().unwrap();
    assert!(disk.calls()["rename #.segment"] >= 2, "recycled");
    assert!(disk.calls()["write_at #.segment.new"] <= creates + 4, "a recycled file is not filled");
    let found = read(&disk, Path::new(FOLDER));
    assert_eq!(found.commits, model.commits[20..], "old content of recycled files is no record");
}

#[test]
fn a_checkpoint_that_cannot_be_stored_lets_nothing_go() {
    for site in ["write_at CHECKPOINT", "sync_data CHECKPOINT"] {
        let disk = new_disk();
        let journal = open(&disk);
        let mut model = Model::default();
        append(&journal, model.draft(1, 60_000)).unwrap();
        journal.core.flush();
        let (_, redo) = journal.begin_checkpoint();
        let before = journal.core.state.lock().live_segments();
        disk.inject(site, 1, Fault::Io);
        let error = journal.complete_checkpoint(redo).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        journal.keep_from(None);
        assert_eq!(journal.core.state.lock().live_segments(), before, "{site}");
        journal.complete_checkpoint(redo).unwrap();
        assert_eq!(journal.core.state.lock().live_segments(), [redo.segment]);
    }
}

#[test]
fn a_failed_flush_is_the_end() {
    for site in ["write_at #.segment", "sync_data #.segment"] {
        for fault in [Fault::Io, Fault::Full, Fault::Short] {
            let disk = new_disk();
            let journal = open(&disk);
            let mut model = Model::default();
            let good = append(&journal, model.draft(1, 10)).unwrap().receipt;
            journal.core.flush();
            let bad = append(&journal, model.draft(1, 10)).unwrap().receipt;
            disk.inject(site, 1, fault);
            journal.core.flush();
            let late = append(&journal, model.clone().draft(2, 10));
            let error = failure(late);
            assert_eq!(error.kind(), ErrorKind::Storage, "{site}: {error}");
            assert!(error.message().contains(".segment"), "{error}");
            assert_eq!(outcome(&good), Some(Ok(())));
            assert_eq!(outcome(&bad), Some(Err(error.clone())));
            assert_eq!(outcome(&journal.failed()), Some(Err(error.clone())));
            let calls = disk.total_calls();
            assert!(!journal.core.flush());
            assert_eq!(disk.total_calls(), calls, "nothing is tried again");
            assert_eq!(journal.close(), Err(error));
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space() {
    for site in ["write_at #.segment.new", "create #.segment.new", "sync_data #.segment.new"] {
        let disk = new_disk();
        let journal = open(&disk);
        let mut model = Model::default();
        let small = append(&journal, model.draft(1, 10)).unwrap();
        disk.inject(site, 1, Fault::Full);
        let error = failure(append(&journal, model.clone().draft(1, 60_000)));
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{site}: {error}");
        assert_eq!(journal.core.state.lock().end(), small.end, "it left no trace");
        append(&journal, model.draft(1, 60_000)).unwrap();
        journal.close().unwrap();
        assert_eq!(read(&disk, Path::new(FOLDER)).commits, model.commits);
    }
}

#[test]
fn a_full_disk_is_not_asked_again_at_once() {
    let disk = new_disk();
    let mut journal = open(&disk);
    Arc::get_mut(&mut journal.core).unwrap().options.retry_after = Duration::from_hours(1);
    let mut model = Model::default();
    disk.inject("write_at #.segment.new", 1, Fault::Full);
    failure(append(&journal, model.clone().draft(1, 60_000)));
    let calls = disk.total_calls();
    let error = failure(append(&journal, model.draft(1, 60_000)));
    assert_eq!((error.kind(), disk.total_calls()), (ErrorKind::StorageFull, calls));
}

#[test]
fn it_starts_on_a_full_disk() {
    let disk = new_disk();
    let journal = open(&disk);
    let mut model = Model::default();
    append(&journal, model.draft(1, 10)).unwrap();
    let made = journal.core.state.lock().made;
    journal.core.make_segment(made).unwrap();
    journal.close().unwrap();
    let writes = disk.calls()["write_at #.segment.new"];
    let journal = open(&disk);
    assert_eq!(disk.calls()["write_at #.segment.new"], writes + 1, "only the head is written");
    append(&journal, model.draft(1, 10)).unwrap();
    journal.close().unwrap();
}

#[test]
fn too_much_unflushed_asks_for_relief() {
    let disk = new_disk();
    let mut journal = open(&disk);
    Arc::get_mut(&mut journal.core).unwrap().options.unflushed_bytes_max = 100;
    let mut model = Model::default();
    assert!(journal.relief().is_durable());
    append(&journal, model.draft(1, 200)).unwrap();
    let relief = journal.relief();
    assert_eq!(outcome(&relief), None);
    journal.core.flush();
    assert_eq!(outcome(&relief), Some(Ok(())));
}

#[test]
fn dropped_without_a_flush_tells_those_who_wait() {
    let disk = new_disk();
    let journal = open(&disk);
    let receipt = append(&journal, Model::default().draft(1, 10)).unwrap().receipt;
    drop(journal);
    assert_eq!(outcome(&receipt).unwrap().unwrap_err().kind(), ErrorKind::ShutDown);
}

/// What a run of random work was told to be durable, and what it appended.
#[derive(Default)]
struct Run {
    model: Model,
    receipts: Vec<Receipt>,
    /// How many commits the last completed checkpoint covers, and the one that may be complete.
    covered: usize,
    maybe_covered: usize,
}

impl Run {
    /// Appends, flushes and checkpoints at random, until `steps` are done or the disk fails.
    fn work(&mut self, journal: &LocalJournal, random: &mut Random, steps: usize) -> Result<()> {
        for _ in 0..steps {
            match random.below(10) {
                0..6 => {
                    let bytes = if random.chance(10) { 20_000 } else { random.below(2_000) };
                    let object = u8::try_from(random.below(5)).unwrap();
                    let draft = self.model.clone().draft(object, bytes);
                    match append(journal, draft) {
                        Ok(appended) => {
                            self.model.draft(object, bytes);
                            self.receipts.push(appended.receipt);
                        }
                        Err(Refusal::Failed(error)) => return Err(error),
                        Err(Refusal::Stale) => panic!("nobody else checkpoints"),
                    }
                }
                6..9 => {
                    journal.core.flush();
                }
                _ => {
                    let (_, redo) = journal.begin_checkpoint();
                    let covered = self.receipts.len();
                    while journal.core.flush() {}
                    // As the rules have it: nothing is covered before it is durable.
                    if self.receipts.iter().all(Receipt::is_durable) {
                        self.maybe_covered = covered;
                        journal.complete_checkpoint(redo)?;
                        self.covered = covered;
                    }
                }
            }
        }
        Ok(())
    }

    /// Every durable commit is there, in order, once; beyond them at most those that follow directly.
    fn check(&self, disk: &SimulatedDisk, context: &str) {
        let found = read(disk, Path::new(FOLDER));
        assert!(found.report.is_sound(), "{context}: {:?}", found.report);
        let durable = self.receipts.iter().take_while(|receipt| receipt.is_durable()).count();
        assert!(
            self.receipts[durable..].iter().all(|receipt| !receipt.is_durable()),
            "{context}: what is durable is a prefix"
        );
        let matches = [self.covered, self.maybe_covered].into_iter().any(|from| {
            let all = &self.model.commits[from..];
            all.starts_with(&found.commits) && from + found.commits.len() >= durable
        });
        assert!(matches, "{context}: {durable} durable, {} found", found.commits.len());
    }
}

#[test]
fn a_loss_of_power_at_any_call_loses_nothing_durable() {
    for seed in 0..600 {
        let disk = new_disk();
        let mut random = Random(seed);
        let journal = open(&disk);
        let mut run = Run::default();
        disk.inject_any(1 + random.next() % 120, Fault::Crash);
        let _ = run.work(&journal, &mut random, 80);
        drop(journal);
        disk.power_loss(seed);
        run.check(&disk, &format!("seed {seed}"));
        // The next start takes up where this one ended, and losing power during it changes nothing.
        disk.inject_any(1 + random.next() % 40, Fault::Crash);
        let restarted = try_open(&disk);
        if let Ok((journal, report)) = restarted {
            assert!(report.is_sound());
            disk.clear_faults();
            drop(journal);
            disk.power_loss(seed + 1);
            let again = read(&disk, Path::new(FOLDER));
            assert!(again.commits.is_empty() && again.report.is_sound(), "seed {seed}");
            continue;
        }
        disk.power_loss(seed + 1);
        let found = read(&disk, Path::new(FOLDER));
        assert!(found.report.is_sound(), "seed {seed}: {:?}", found.report);
        // The start may have got as far as letting the old segments go.
        if !found.commits.is_empty() {
            run.check(&disk, &format!("seed {seed}, again"));
        }
    }
}

/// Starts, works and closes twice, the second time with old files; ends at the first error.
fn scenario(disk: &SimulatedDisk, run: &mut Run) -> Result<()> {
    for seed in [11, 12] {
        let (journal, report) = try_open(disk)?;
        // What the scan found is taken to be safe in the database files.
        (run.covered, run.maybe_covered) = (run.receipts.len(), run.receipts.len());
        assert!(report.is_sound());
        run.work(&journal, &mut Random(seed), 60)?;
        journal.close()?;
    }
    Ok(())
}

/// Every call that the journal makes of a disk. One that is missing here is not tried with faults.
const SITES: [&str; 20] = [
    "create #.segment.new",
    "create CHECKPOINT",
    "create_dir_all journal",
    "exists CHECKPOINT",
    "exists journal",
    "len #.segment",
    "len #.segment.new",
    "len CHECKPOINT",
    "list journal",
    "open #.segment",
    "open CHECKPOINT",
    "read_at #.segment",
    "read_at CHECKPOINT",
    "remove #.segment",
    "rename #.segment",
    "rename #.segment.new",
    "set_len #.segment.new",
    "set_len CHECKPOINT",
    "sync_data #.segment",
    "sync_data #.segment.new",
];
const MORE_SITES: [&str; 6] = [
    "sync_data CHECKPOINT",
    "sync_directory data",
    "sync_directory journal",
    "write_at #.segment",
    "write_at #.segment.new",
    "write_at CHECKPOINT",
];

#[test]
fn a_fault_at_any_call_is_an_error_and_never_a_false_durable() {
    let disk = new_disk();
    let setup = disk.calls();
    scenario(&disk, &mut Run::default()).unwrap();
    let mut sites: BTreeMap<String, u64> = disk.calls();
    sites.retain(|site, _| !setup.contains_key(site));
    let known: Vec<&str> = SITES.into_iter().chain(MORE_SITES).collect();
    assert_eq!(sites.keys().map(String::as_str).collect::<Vec<_>>(), known);
    for (site, calls) in sites {
        for nth in (1..=calls).filter(|nth| *nth <= 12 || *nth % 7 == 0 || *nth == calls) {
            for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::Crash] {
                fault_at(&site, nth, fault);
            }
        }
    }
}

fn fault_at(site: &str, nth: u64, fault: Fault) {
    let context = format!("{fault:?} at call {nth} of {site}");
    let disk = new_disk();
    disk.inject(site, nth, fault);
    let mut run = Run::default();
    let result = scenario(&disk, &mut run);
    assert_eq!(disk.clear_faults(), 0, "{context}: never hit");
    // Removing what is surplus may fail unnoticed; anything else is an error of a kind.
    if let Err(error) = result {
        assert!(
            matches!(error.kind(), ErrorKind::Storage | ErrorKind::StorageFull),
            "{context}: {error}"
        );
    } else {
        assert!(site.starts_with("remove"), "{context}: nobody noticed");
    }
    disk.power_loss(nth);
    let started_anew = read(&disk, Path::new(FOLDER)).commits.is_empty();
    if !started_anew || run.covered == 0 {
        run.check(&disk, &context);
    }
}

#[test]
fn threads_flush_and_close() {
    let disk = new_disk();
    let mut model = Model::default();
    let report = scan_in(&disk, Path::new(FOLDER), &mut Model::default()).unwrap();
    let started =
        NewGeneration::start(Arc::new(disk.clone()), Path::new(FOLDER), options(), &report);
    let journal = started.unwrap().admit().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..50 {
        let receipt = append(&journal, model.draft(1, 500)).unwrap().receipt;
        runtime.block_on(receipt.wait()).unwrap();
    }
    let receipts: Vec<Receipt> =
        (0..50).map(|_| append(&journal, model.draft(2, 500)).unwrap().receipt).collect();
    journal.close().unwrap();
    assert!(receipts.iter().all(Receipt::is_durable));
    assert_eq!(failure(append(&journal, model.clone().draft(1, 1))).kind(), ErrorKind::ShutDown);
    assert_eq!(read(&disk, Path::new(FOLDER)).commits, model.commits);
}

#[test]
fn threads_flush_when_the_journal_is_dropped() {
    let disk = new_disk();
    let report = scan_in(&disk, Path::new(FOLDER), &mut Model::default()).unwrap();
    let started =
        NewGeneration::start(Arc::new(disk.clone()), Path::new(FOLDER), options(), &report);
    let journal = started.unwrap().admit().unwrap();
    let receipt = append(&journal, Model::default().draft(1, 10)).unwrap().receipt;
    drop(journal);
    assert_eq!(outcome(&receipt), Some(Ok(())));
}
