//! Every call to the disk fails once, in each way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::world::{DATA, World};
use crate::ErrorKind;
use crate::engine::Database;
use crate::engine::files::simulated::{Fault, kind_of_file};
use crate::engine::journal::{Journal, checkpoint};
use crate::engine::journaled::checkpoint::checkpoint as make_checkpoint;

const FAULTS: [Fault; 3] = [Fault::Io, Fault::Full, Fault::Short];

/// Everything that touches the disk: creates, commits over several segments, evictions, opening again,
/// checkpoints and an end.
fn scenario(world: &mut World) {
    for round in 0..2 {
        for number in 0..world.objects.len() {
            world.turn(number);
            world.flush();
            world.turn(number);
        }
        world.evict(round);
        world.checkpoint();
        world.turn(round);
        world.delete(1 - round);
        world.checkpoint();
        world.turn(1 - round);
        world.delete(1 - round);
        world.turn(1 - round);
        world.restore(round);
        // Erasing finishes a file, and sorts it.
        world.erase(round);
        world.compact();
        world.turn(1 - round);
    }
    world.flush();
}

fn world() -> World {
    let mut world = World::new(2, 11);
    scenario(&mut world);
    world.close();
    assert_eq!(world.errors, []);
    // One that is still to be created.
    world.add_object();
    world
}

/// Calls of each site from opening on, without a fault.
fn learn() -> BTreeMap<String, u64> {
    let mut world = world();
    let before = world.disk.calls();
    world.shared = Some(super::world::open(&world.disk).unwrap());
    world.renumber();
    scenario(&mut world);
    let mut calls = world.disk.calls();
    for (site, count) in &mut calls {
        *count -= before.get(site).copied().unwrap_or(0);
    }
    calls.retain(|_, count| *count > 0);
    calls
}

fn fail_at(site: &str, nth: u64, fault: Fault) -> bool {
    let mut world = world();
    world.disk.inject(site, nth, fault);
    let Ok(shared) = super::world::open(&world.disk) else {
        // The next start finds all that this one found.
        world.disk.restart();
        world.reopen();
        return true;
    };
    world.shared = Some(shared);
    world.renumber();
    scenario(&mut world);
    let is_hit = world.disk.clear_faults() == 0;
    if let Some(failure) = world.shared().journal.failure() {
        assert_stays_failed(&mut world, &failure);
    }
    for error in &world.errors {
        assert!(
            matches!(error.kind(), ErrorKind::Storage | ErrorKind::StorageFull),
            "{site} {nth} {fault:?}: {error:?}"
        );
    }
    world.die();
    world.disk.power_loss(nth);
    world.reopen();
    is_hit
}

/// Nothing is durable any more, and nobody is told that it is.
fn assert_stays_failed(world: &mut World, failure: &crate::Error) {
    let acknowledged: Vec<usize> = world.objects.iter().map(|object| object.acknowledged).collect();
    world.errors.clear();
    for number in 0..world.objects.len() {
        world.turn(number);
        world.flush();
    }
    assert!(!world.errors.is_empty());
    assert!(world.errors.iter().all(|error| error.message() == failure.message()));
    assert!(acknowledged.iter().eq(world.objects.iter().map(|object| &object.acknowledged)));
}

#[test]
fn an_error_is_told_or_healed_and_loses_nothing() {
    let sites = learn();
    let mut tried = 0;
    let mut hit = BTreeSet::new();
    for (site, calls) in &sites {
        // The short form takes every few.
        let long = std::env::var_os("DURABLE_SEEDS").is_some();
        let step = if long { 1 } else { usize::try_from(calls.div_ceil(2)).unwrap() };
        for nth in (1..=*calls).step_by(step) {
            for fault in FAULTS {
                tried += 1;
                if fail_at(site, nth, fault) {
                    hit.insert(site);
                }
            }
        }
    }
    let missed: Vec<_> = sites.keys().filter(|site| !hit.contains(site)).collect();
    println!("{tried} faults at {} sites: {:?}", sites.len(), sites.keys());
    assert!(missed.is_empty(), "never hit: {missed:?}");
}

/// The copy is whole or is not there, and nothing is left of it.
#[test]
fn a_fault_in_a_fork_is_told_or_healed() {
    let (mut failed, mut forked) = (0, 0);
    for (fault, nth) in
        FAULTS.iter().flat_map(|fault| (0..60).map(move |nth| (*fault, 1 + nth * 3)))
    {
        let mut world = World::new(3, 11);
        for _ in 0..6 {
            world.random_turn();
            world.flush();
        }
        world.turn(0);
        world.delete(1);
        world.flush();
        world.disk.inject_any(nth, fault);
        world.fork(0, 1, false);
        world.flush();
        world.checkpoint();
        world.disk.clear_faults();
        failed += usize::from(!world.errors.is_empty());
        forked += world.forked;
        for error in &world.errors {
            let is_told = matches!(error.kind(), ErrorKind::Storage | ErrorKind::StorageFull);
            assert!(is_told, "{nth} {fault:?}: {error:?}");
        }
        world.die();
        world.disk.power_loss(nth);
        world.reopen();
        world.check_copies();
    }
    println!("{failed} failed, {forked} forks");
    assert!(failed > 50 && forked > 10);
}

#[test]
fn a_failed_flush_is_the_end() {
    for (site, fault) in [("write_at #.segment", Fault::Full), ("sync_data #.segment", Fault::Io)] {
        let mut world = world();
        world.reopen();
        while !world.objects[0].is_there() {
            world.turn(0);
        }
        world.evict(0);
        world.checkpoint();
        world.disk.inject(site, 1, fault);
        while world.shared().journal.failure().is_none() {
            world.turn(0);
            world.flush();
        }
        let failure = world.shared().journal.failure().unwrap();
        assert_eq!(failure.kind(), ErrorKind::Storage);
        let path = world.path_of(0);
        let before = world.disk.content(&path).unwrap();
        assert_stays_failed(&mut world, &failure);
        // What is not durable does not reach the file.
        world.evict(0);
        assert!(world.disk.content(&path).unwrap() == before);
        world.connect(1).ok();
        let refused = world.objects[1].database.as_ref().map(Database::begin);
        assert!(refused.as_ref().is_none_or(Result::is_err));
        world.die();
        world.disk.power_loss(1);
        world.reopen();
    }
}

#[test]
fn one_file_that_cannot_be_written_keeps_no_other_from_it() {
    for loses_power in [false, true] {
        let mut world = World::new(4, 3);
        for number in 0..4 {
            world.turn(number);
            world.turn(number);
        }
        world.flush();
        let redo = || checkpoint::read(&world.disk, &Path::new(DATA).join("journal")).unwrap();
        let before = redo();
        let path = world.path_of(1);
        world.disk.inject(&format!("write_at {}", kind_of_file(&path)), 1, Fault::Io);
        let error = make_checkpoint(&world.shared()).unwrap_err();
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        for number in [0, 2, 3] {
            world.check_file(number);
        }
        assert_eq!(redo(), before, "the journal let go of what the file lacks");
        if loses_power {
            world.die();
            world.disk.power_loss(1);
            world.reopen();
        } else {
            make_checkpoint(&world.shared()).unwrap();
            assert_ne!(redo(), before);
            world.check_file(1);
        }
    }
}

#[test]
fn no_checkpoint_completes_after_a_failed_sync() {
    for loss in 0..8 {
        let mut world = World::new(2, loss);
        scenario(&mut world);
        let commits = world.commits;
        while world.commits == commits {
            world.turn(0);
        }
        world.disk.inject("sync_filesystem objects", 1, Fault::Io);
        world.checkpoint();
        assert_eq!(world.disk.clear_faults(), 0);
        world.errors.clear();
        world.checkpoint();
        assert!(world.errors[0].message().contains("restart the program"));
        world.die();
        world.disk.power_loss(loss);
        world.reopen();
    }
}
