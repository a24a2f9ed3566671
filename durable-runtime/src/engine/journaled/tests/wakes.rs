//! When objects are to be woken: a loss may make that earlier than their last commit says, never later.

use super::crashes::crash_everywhere;
use super::seeds;
use super::world::World;
use crate::engine::files::simulated::Fault;
use crate::engine::journaled::checkpoint::checkpoint_in_steps;

fn some_turns(world: &mut World) {
    world.sets_wakes = true;
    for _ in 0..6 {
        world.random_turn();
        world.flush();
    }
}

#[test]
fn a_crash_anywhere_in_a_checkpoint_makes_nobody_late() {
    let calls = crash_everywhere(
        4,
        |world| {
            some_turns(world);
            world.checkpoint();
            some_turns(world);
        },
        |world| {
            world.checkpoint();
            if !world.disk.has_crashed() {
                some_turns(world);
                world.evict(0);
                world.checkpoint();
            }
        },
    );
    assert!(calls > 20);
}

/// The checkpoint that writes the time must not write a later change, which may be lost.
#[test]
fn what_changes_during_a_checkpoint_and_is_lost_makes_nobody_late() {
    for step in 1..=4 {
        let mut world = World::new(1, 1);
        world.sets_wakes = true;
        world.set_wake(0, Some(10));
        world.flush();
        let (mut steps, shared) = (0, world.shared());
        let done = checkpoint_in_steps(&shared, &mut || {
            steps += 1;
            if steps == step {
                world.set_wake(0, None);
            }
            if steps < 2 {
                // The write-back waits for it.
                world.flush();
            }
        });
        done.unwrap();
        assert_eq!(steps, 4);
        drop(shared);
        world.die();
        world.disk.power_loss(step);
        world.reopen();
        assert_eq!(world.objects[0].wake(), (step > 1).then_some(10), "step {step}");
    }
}

#[test]
fn after_an_end_without_loss_the_times_are_exact() {
    for seed in seeds(10) {
        let mut world = World::new(5, seed);
        for round in 0..4 {
            some_turns(&mut world);
            world.checkpoint();
            some_turns(&mut world);
            let wanted: Vec<_> = world.objects.iter().map(super::world::Object::wake).collect();
            assert_eq!(world.known_wakes(), wanted, "seed {seed}");
            if round % 2 == 0 {
                world.close();
            } else {
                world.die();
            }
            world.disk.restart();
            world.reopen();
            assert_eq!(world.known_wakes(), wanted, "seed {seed}");
        }
    }
}

#[test]
fn random_crashes_make_nobody_late() {
    let mut wakes = 0;
    for seed in seeds(40) {
        let mut world = World::new(4, seed);
        world.sets_wakes = true;
        for round in 0..6 {
            world.disk.inject_any(1 + world.random.below(150) as u64, Fault::Crash);
            for _ in 0..world.random.below(40) {
                if world.disk.has_crashed() {
                    break;
                }
                match world.random.below(10) {
                    0 => world.checkpoint(),
                    1 => world.evict(0),
                    // What is not flushed is lost.
                    2..5 => world.flush(),
                    _ => world.random_turn(),
                }
            }
            world.disk.clear_faults();
            world.die();
            world.disk.power_loss(seed * 10 + round);
            world.reopen();
            wakes += world.known_wakes().iter().flatten().count();
        }
    }
    assert!(wakes > 100);
}
