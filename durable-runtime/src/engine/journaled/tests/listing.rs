//! The list of objects, which must have every commit that the journal has let go of.

use std::sync::Arc;

use super::index::Index;
use super::world::{World, new_disk, open_listed, stamp_of};
use crate::engine::files::simulated::Fault;
use crate::engine::journaled::OnDamage;

fn some_turns(world: &mut World) {
    for _ in 0..6 {
        world.random_turn();
        world.flush();
    }
}

/// After a start the list has each object as it is.
fn check_list(world: &World, index: &Index) {
    let shared = world.shared();
    let rows = index.rows.lock();
    for (number, object) in world.objects.iter().enumerate() {
        let (stamp, is_stored) = stamp_of(&shared, &object.key);
        let Some(row) = rows.get(&object.key) else {
            assert!(!is_stored, "object {number} is not listed");
            continue;
        };
        assert_eq!(row.deleted, !is_stored, "object {number}");
        if is_stored {
            assert_eq!(row.stamp.commit, stamp.commit, "object {number}");
        }
        assert_eq!(row.about.name.as_deref(), Some(&*format!("room {number}")));
        assert_eq!(row.created_ms, Some(0));
    }
}

#[test]
fn a_crash_anywhere_in_a_checkpoint_loses_no_row() {
    for nth in 1.. {
        let disk = new_disk();
        let index = Arc::new(Index::new(&disk));
        let open = || open_listed(&disk, OnDamage::Refuse, &index);
        let mut world = World::on(disk.clone(), Some(open().unwrap()), 4, 3);
        some_turns(&mut world);
        world.checkpoint();
        some_turns(&mut world);
        world.evict(0);
        world.disk.inject_any(nth, Fault::Crash);
        world.checkpoint();
        if !world.disk.has_crashed() {
            some_turns(&mut world);
            world.evict(1);
            world.checkpoint();
        }
        let has_crashed = world.disk.has_crashed();
        world.die();
        world.disk.power_loss(nth);
        world.shared = Some(open().unwrap());
        check_list(&world, &index);
        if !has_crashed {
            println!("{nth} calls");
            assert!(nth > 20);
            return;
        }
    }
}
