//! Random turns, evictions, checkpoints, ends and crashes.

use super::seeds;
use super::world::World;
use super::world::forks::random_fork;
use crate::engine::files::simulated::Fault;

/// How a program ends.
fn end(world: &mut World, seed: u64) {
    match world.random.below(4) {
        // Only the program dies: the system writes what it was given.
        0 => {
            world.die();
            world.disk.restart();
        }
        1 => {
            world.close();
            assert_eq!(world.errors, []);
            for number in 0..world.objects.len() {
                world.check_file(number);
            }
            world.disk.power_loss(seed);
        }
        _ => {
            world.die();
            world.disk.power_loss(seed);
        }
    }
}

fn step(world: &mut World) {
    match world.random.below(26) {
        0..13 => world.random_turn(),
        13..17 => world.flush(),
        17..19 => {
            let number = world.random.below(world.objects.len());
            world.evict(number);
        }
        19 => world.checkpoint(),
        20..22 => random_fork(world),
        22 => world.compact(),
        23 if world.random.chance(30) => {
            let number = world.random.below(world.objects.len());
            world.erase(number);
        }
        _ => {
            let number = world.random.below(world.objects.len());
            world.restore(number);
        }
    }
}

#[test]
fn objects_are_what_they_were_after_a_commit() {
    let mut commits = 0;
    let mut ends = 0;
    let mut rebuilt = 0;
    let (mut restored, mut forked, mut compacted, mut erased) = (0, 0, 0, 0);
    for seed in seeds(15) {
        let mut world = World::new(4, seed);
        world.keeps_past = seed % 4 != 1;
        if !world.keeps_past {
            // Of most there is soon no history any more.
            world.limits.bytes = 200 * 1_024;
        }
        if seed % 3 == 0 {
            world.disk.take_filesystem_sync();
        }
        for round in 0..8 {
            let steps = world.random.below(40);
            let crashes_within = world.random.chance(50);
            if crashes_within {
                let calls = 1 + world.random.below(120) as u64;
                world.disk.inject_any(calls, Fault::Crash);
            }
            for _ in 0..steps {
                if !world.disk.has_crashed() {
                    step(&mut world);
                }
            }
            if world.disk.has_crashed() {
                world.die();
                world.disk.power_loss(seed + round);
            } else {
                world.disk.clear_faults();
                assert_eq!(world.errors, [], "seed {seed}");
                end(&mut world, seed + round);
            }
            world.reopen();
            ends += 1;
        }
        commits += world.commits;
        rebuilt += world.rebuilt;
        restored += world.restored;
        compacted += world.compacted;
        erased += world.erased;
        forked += world.forked;
    }
    println!(
        "{commits} commits, {ends} ends, {rebuilt} moments rebuilt, {restored} restores, {forked} forks"
    );
    println!("{compacted} files rewritten, {erased} objects erased");
    assert!(rebuilt > 500 && restored > 10 && forked > 30 && compacted > 20 && erased > 10);
}
