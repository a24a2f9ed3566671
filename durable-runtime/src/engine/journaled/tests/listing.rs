//! The list of objects, which must have every commit that the journal has let go of; and what is listed of it and of what is
//! newer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::index::Index;
use super::world::{World, new_disk, open_indexed, open_listed, stamp_of};
use crate::engine::catalogue::{Catalogue, ObjectIndex};
use crate::engine::files::simulated::{Fault, SimulatedDisk};
use crate::engine::journaled::OnDamage;
use crate::engine::journaled::checkpoint::checkpoint_in_steps;
use crate::engine::{Listed, Order};

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

/// A world with a real catalogue in this folder.
fn catalogued(disk: &SimulatedDisk, folder: &tempfile::TempDir, seed: u64) -> World {
    let catalogue: Arc<dyn ObjectIndex> = Arc::new(Catalogue::open(folder.path()).unwrap());
    let shared = open_indexed(disk, OnDamage::Refuse, catalogue).unwrap();
    let mut world = World::on(disk.clone(), Some(shared), 12, seed);
    world.sets_wakes = true;
    world
}

fn ids() -> Order {
    Order::Ids { after: None }
}

fn names(prefix: &str) -> Order {
    Order::Names { prefix: prefix.into(), after: None }
}

/// Reads pages of two objects, and lets something happen before each.
fn in_pages(
    world: &mut World,
    mut order: Order,
    between: &mut dyn FnMut(&mut World),
) -> Vec<Listed> {
    let mut listed = Vec::new();
    loop {
        between(world);
        let page = world.shared().list("Room", &order, 2).unwrap();
        let Some((id, known)) = page.last() else { return listed };
        let place = order.place(*id, known.row.about.name.as_ref()).unwrap();
        order = order.after(place);
        listed.extend(page);
    }
}

/// The numbers of the objects that exist.
fn existing(world: &World) -> BTreeSet<usize> {
    (0..world.objects.len()).filter(|number| world.objects[*number].is_there()).collect()
}

fn number_of(world: &World, listed: &Listed) -> usize {
    world.objects.iter().position(|object| object.key.id == listed.0).unwrap()
}

/// Everything that is listed is as the objects are.
fn check_listed(world: &World) {
    let shared = world.shared();
    let listed = shared.list("Room", &ids(), usize::MAX).unwrap();
    assert!(listed.is_sorted_by_key(|(id, _)| *id));
    let by_name = shared.list("Room", &names(""), usize::MAX).unwrap();
    assert!(by_name.is_sorted_by_key(|(_, known)| known.row.about.name.clone()));
    for found in [&listed, &by_name] {
        let numbers: Vec<_> = found.iter().map(|listed| number_of(world, listed)).collect();
        assert_eq!(numbers.iter().copied().collect::<BTreeSet<_>>(), existing(world));
        assert_eq!(numbers.len(), existing(world).len());
    }
    for (number, object) in world.objects.iter().enumerate() {
        let found = shared.find(&object.key).unwrap();
        let same = listed.iter().find(|(id, _)| *id == object.key.id).map(|(_, known)| known);
        assert_eq!(found.as_ref(), same, "object {number}");
        let Some(known) = found else { continue };
        let (stamp, _) = stamp_of(&shared, &object.key);
        assert_eq!(known.row.stamp.commit, stamp.commit, "object {number}");
        assert_eq!(known.wake_ms, object.wake(), "object {number}");
        assert_eq!(known.row.about.name.as_deref(), Some(&*format!("room {number}")));
        let entry = shared.entry(&object.key).unwrap();
        assert_eq!(known.row.header.unwrap().pages, entry.file.overlay().size(), "object {number}");
    }
}

#[test]
fn what_is_listed_is_so_at_every_step_of_a_checkpoint() {
    let (disk, folder) = (new_disk(), tempfile::tempdir().unwrap());
    let mut world = catalogued(&disk, &folder, 7);
    for round in 0..12 {
        for _ in 0..8 {
            world.random_turn();
            check_listed(&world);
        }
        world.evict(round % 12);
        check_listed(&world);
        world.flush();
        checkpoint_in_steps(&world.shared(), &mut || check_listed(&world)).unwrap();
    }
    world.flush();
    (0..12).for_each(|number| world.evict(number));
    drop(world);
    let world = catalogued(&disk, &folder, 8);
    assert!(world.shared().list("Lobby", &ids(), 10).unwrap().is_empty());
    assert!(!world.shared().list("Room", &ids(), 10).unwrap().is_empty());
}

#[test]
fn paging_gives_all_that_exist_throughout_once() {
    let (disk, folder) = (new_disk(), tempfile::tempdir().unwrap());
    let mut world = catalogued(&disk, &folder, 3);
    for round in 0..16 {
        for order in [ids(), names(""), names("room 1")] {
            let (mut throughout, mut ever) = (existing(&world), existing(&world));
            let listed = in_pages(&mut world, order.clone(), &mut |world| {
                for _ in 0..3 {
                    world.random_turn();
                    throughout.retain(|number| world.objects[*number].is_there());
                    ever.extend(existing(world));
                }
                match round % 4 {
                    0 => world.evict(round % 12),
                    1 => {
                        world.flush();
                        checkpoint_in_steps(&world.shared(), &mut || {}).unwrap();
                    }
                    _ => {}
                }
            });
            let numbers: Vec<_> = listed.iter().map(|listed| number_of(&world, listed)).collect();
            let found: BTreeSet<_> = numbers.iter().copied().collect();
            assert_eq!(found.len(), numbers.len(), "twice: {numbers:?}");
            if order == names("room 1") {
                throughout.retain(|number| number.to_string().starts_with('1'));
                ever.retain(|number| number.to_string().starts_with('1'));
            }
            assert!(throughout.is_subset(&found), "round {round}: {throughout:?}, {found:?}");
            assert!(found.is_subset(&ever), "round {round}: {found:?}, {ever:?}");
        }
    }
    world.flush();
}
