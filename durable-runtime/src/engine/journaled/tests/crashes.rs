//! A crash at every call to the disk of a scenario, one after the other.

use super::world::World;
use crate::engine::files::simulated::Fault;
use crate::engine::journaled::checkpoint::checkpoint_in_steps;

/// How the process ends at each call: it dies alone, or with a loss of power.
const ENDS: u64 = 3;

/// Runs a scenario on a prepared world, with a crash at its n-th call for every n, until it ends without one.
/// Gives the number of calls.
pub(super) fn crash_everywhere(
    objects: usize,
    prepare: fn(&mut World),
    scenario: fn(&mut World),
) -> u64 {
    crash_every(1, objects, prepare, scenario)
}

/// The same, of which the short form tries every few calls.
fn crash_every(
    few: usize,
    objects: usize,
    prepare: fn(&mut World),
    scenario: fn(&mut World),
) -> u64 {
    let long = std::env::var_os("DURABLE_SEEDS").is_some();
    for nth in (1..).step_by(if long { 1 } else { few }) {
        let mut crashed = false;
        // The short form tries one end at each call, in turns.
        for loss in (0..ENDS).filter(|end| long || nth % ENDS == *end) {
            let mut world = World::new(objects, 7);
            world.keeps_past = true;
            prepare(&mut world);
            assert_eq!(world.errors, []);
            world.disk.inject_any(nth, Fault::Crash);
            scenario(&mut world);
            crashed = world.disk.has_crashed();
            world.die();
            if loss == 0 {
                world.disk.restart();
            } else {
                world.disk.power_loss(nth * ENDS + loss);
            }
            world.reopen();
            world.check_copies();
            // The same pages go on changing, and survive another end.
            for _ in 0..4 {
                world.random_turn();
            }
            world.flush();
            assert_eq!(world.errors, []);
            world.die();
            world.disk.power_loss(nth);
            world.reopen();
        }
        if !crashed {
            return nth - 1;
        }
    }
    unreachable!("a scenario ends")
}

fn some_turns(world: &mut World) {
    for _ in 0..6 {
        world.random_turn();
        world.flush();
    }
}

/// One that recovery has to move to its place, and one that is gone before it got there.
fn forks_that_are_not_in_their_places(world: &mut World) {
    some_turns_and_a_checkpoint(world);
    for number in [1, 2] {
        world.delete(number);
        world.flush();
        // Turns may be undone, and the object may be deleted while it is copied.
        while world.forked < number as u64 {
            world.turn(0);
            world.flush();
            world.fork(0, number, false);
            world.flush();
        }
        world.turn(number);
        world.flush();
    }
    world.delete(2);
    world.flush();
    assert_eq!(world.errors, []);
}

/// Also with a checkpoint behind it, so that redo does not begin with the journal.
fn some_turns_and_a_checkpoint(world: &mut World) {
    some_turns(world);
    world.checkpoint();
    some_turns(world);
}

#[test]
fn in_a_checkpoint() {
    let calls = crash_everywhere(3, some_turns_and_a_checkpoint, |world| {
        world.checkpoint();
        if !world.disk.has_crashed() {
            world.random_turn();
            world.flush();
        }
    });
    println!("{calls} calls");
    assert!(calls > 20);
}

#[test]
fn in_an_eviction() {
    let calls = crash_everywhere(2, some_turns_and_a_checkpoint, |world| {
        world.evict(0);
        world.turn(0);
        world.turn(1);
        world.evict(1);
        world.evict(0);
    });
    println!("{calls} calls");
    assert!(calls > 10);
}

#[test]
fn in_a_deletion() {
    let calls = crash_everywhere(3, some_turns_and_a_checkpoint, |world| {
        world.delete(0);
        world.delete(1);
        world.flush();
        // One is created anew before its file is removed, one after.
        world.turn(0);
        world.checkpoint();
        world.turn(1);
        world.delete(0);
        world.flush();
        world.checkpoint();
    });
    println!("{calls} calls");
    assert!(calls > 20);
}

#[test]
fn in_a_restore() {
    let calls = crash_everywhere(2, some_turns_and_a_checkpoint, |world| {
        world.restore(0);
        world.flush();
        world.delete(1);
        world.flush();
        world.restore(1);
        world.flush();
        world.checkpoint();
        world.restore(0);
    });
    println!("{calls} calls");
    assert!(calls > 20);
}

/// A file of history that is sorted, and another one that is to be.
fn some_history(world: &mut World) {
    let next_file = |world: &mut World| {
        for _ in 0..2 {
            world.turn(0);
            world.turn(1);
            world.flush();
            world.checkpoint();
        }
    };
    while world.compacted < 1 {
        next_file(world);
        world.compact();
    }
    let files = world.history_files();
    while world.history_files() == files {
        next_file(world);
    }
}

#[test]
fn in_a_compaction() {
    let calls = crash_everywhere(2, some_history, |world| {
        world.compact();
        world.turn(0);
        world.flush();
    });
    println!("{calls} calls");
    assert!(calls > 20);
}

#[test]
fn in_an_erasure() {
    let calls = crash_everywhere(2, some_history, |world| {
        world.erase(0);
        world.turn(0);
        world.flush();
        world.erase(0);
    });
    println!("{calls} calls");
    assert!(calls > 20);
}

#[test]
fn in_a_fork() {
    let calls = crash_every(5, 3, some_turns_and_a_checkpoint, |world| {
        world.delete(1);
        world.flush();
        world.fork(0, 1, false);
        // It goes on before its file has its place.
        world.turn(1);
        world.flush();
        world.checkpoint();
        world.turn(1);
        world.delete(1);
        world.flush();
        world.fork(0, 1, true);
        // It is gone before.
        world.flush();
        world.delete(1);
        world.flush();
        world.turn(1);
        world.checkpoint();
    });
    println!("{calls} calls");
    assert!(calls > 50);
}

#[test]
fn in_start_up_and_recovery() {
    let start = |world: &mut World| {
        let disk = world.disk.clone();
        // The fault that is set is for the start: this end does not touch the disk.
        world.objects.iter_mut().for_each(|object| object.database = None);
        world.shared = None;
        let opened = world.open();
        // What only tidies up may fail without anybody being told.
        assert!(opened.is_ok() || disk.has_crashed());
    };
    for prepare in [some_turns_and_a_checkpoint, forks_that_are_not_in_their_places] {
        let calls = crash_everywhere(3, prepare, start);
        println!("{calls} calls");
        assert!(calls > 20);
    }
}

/// Two are deleted while a checkpoint begins, and gone when it ends. One that is created again counts on from
/// the higher number, and recovery must not miss the commits between.
#[test]
fn an_object_that_was_forgotten_is_created_again_with_a_higher_number() {
    let mut world = World::new(2, 1);
    while world.objects[1].history.len() < 10 {
        world.turn(1);
    }
    let create = |world: &mut World| {
        while world.objects[0].history.last() == Some(&None) {
            world.turn(0);
        }
    };
    create(&mut world);
    world.flush();
    let mut is_first = true;
    checkpoint_in_steps(&world.shared(), &mut || {
        if std::mem::take(&mut is_first) {
            world.delete(0);
            world.delete(1);
            world.flush();
        }
    })
    .unwrap();
    let length = world.objects[0].history.len();
    create(&mut world);
    assert!(world.objects[0].history.len() > length + 1, "no number was left out");
    world.flush();
    world.die();
    world.disk.power_loss(1);
    world.reopen();
    assert_eq!(world.errors, []);
}

/// The name of a file that a dead program made is nowhere durable: recovery must not take it for done.
#[test]
fn names_are_durable_also_where_each_file_is_synced_by_itself() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut world = World::new(2, seed);
        world.disk.take_filesystem_sync();
        for number in 0..2 {
            world.turn(number);
            world.turn(number);
            world.evict(number);
        }
        lost += usize::from(world.objects[0].acknowledged > 0);
        world.die();
        world.disk.restart();
        world.reopen();
        world.die();
        world.disk.power_loss(seed);
        world.reopen();
    }
    assert!(lost > 10);
}

/// The history knows the first commits from the first start on.
#[test]
fn before_the_first_checkpoint_everything_is_kept() {
    for seed in 0..20 {
        let mut world = World::new(2, seed);
        world.keeps_past = true;
        some_turns(&mut world);
        world.delete(0);
        world.flush();
        world.die();
        world.disk.power_loss(seed);
        world.reopen();
        assert!(world.rebuilt > 0);
    }
}

/// A process may not open many files, and the journal may speak of more objects than that.
#[test]
fn the_history_of_more_objects_than_files_may_be_open_is_kept() {
    let mut world = World::new(60, 7);
    world.keeps_past = true;
    for round in 0..2 {
        for number in 0..60 {
            world.turn(number);
            world.flush();
        }
        if round == 0 {
            world.checkpoint();
        }
    }
    world.die();
    world.disk.restart();
    world.disk.limit_open_files(20);
    let shared = world.open().unwrap();
    world.disk.limit_open_files(usize::MAX);
    world.shared = Some(shared);
    (0..60).for_each(|number| world.check_reopened(number));
    assert!(world.rebuilt >= 60, "{}", world.rebuilt);
}

#[test]
fn in_the_first_start() {
    for nth in 1.. {
        let disk = super::world::new_disk();
        disk.inject_any(nth, Fault::Crash);
        let opened = super::world::open(&disk).is_ok();
        disk.power_loss(nth);
        let shared = super::world::open(&disk).unwrap();
        let mut world = World::on(disk, Some(shared), 2, nth);
        some_turns(&mut world);
        world.die();
        world.disk.power_loss(nth);
        world.reopen();
        if opened {
            return;
        }
    }
}
