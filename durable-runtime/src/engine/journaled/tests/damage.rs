//! Bytes that change by themselves.

use std::path::{Path, PathBuf};

use super::tables::Tables;
use super::world::{DATA, World, open, open_with};
use crate::ErrorKind;
use crate::engine::files::Disk;
use crate::engine::files::simulated::Fault;
use crate::engine::journaled::OnDamage;
use crate::engine::journaled::checkpoint::checkpoint;
use crate::engine::journaled::quarantine::Quarantine;
use crate::engine::journaled::recovery::Replay;
use crate::engine::scan;

/// A world that has died with commits in its journal, and the segments of this journal.
fn died() -> (World, Vec<PathBuf>) {
    died_with(2)
}

fn died_with(objects: usize) -> (World, Vec<PathBuf>) {
    let mut world = World::new(objects, 5);
    world.checkpoint();
    for _ in 0..12 {
        world.random_turn();
        world.flush();
    }
    world.die();
    world.disk.restart();
    // What a later loss of power takes is to be of the later start.
    world.disk.sync_filesystem(Path::new(DATA)).unwrap();
    let files = world.disk.list(&Path::new(DATA).join("journal")).unwrap();
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "segment");
    (world, files.into_iter().filter(is_segment).collect())
}

/// The bytes of a segment that were written to.
fn used(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Changes one of the segments, and gives its path and its new content.
fn change(world: &World, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut content = world.disk.content(path).unwrap();
    change(&mut content);
    world.disk.overwrite(path, &content).unwrap();
    content
}

/// The n-th of `parts` places in the used part of a segment.
fn place(content: &[u8], nth: usize, parts: usize) -> usize {
    4_096 + used(content).saturating_sub(4_097) * nth / parts
}

/// The files of all objects.
fn files(world: &World) -> Vec<Option<Vec<u8>>> {
    let objects = 0..world.objects.len();
    objects.map(|number| world.disk.content(&world.path_of(number)).ok()).collect()
}

/// Opens a world again: objects in quarantine are refused and have the files of before, and all others are as they
/// have to be. Gives the numbers of those in quarantine.
fn reopen(world: &mut World, on_damage: OnDamage, before: &[Option<Vec<u8>>]) -> Vec<usize> {
    world.shared = Some(open_with(&world.disk, on_damage).unwrap());
    let shared = world.shared();
    let mut lost = Vec::new();
    for (number, before) in before.iter().enumerate() {
        let key = world.objects[number].key.clone();
        if shared.quarantine.check(&key).is_ok() {
            world.check_reopened(number);
            continue;
        }
        let error = world.connect(number).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.message().starts_with(&key.to_string()), "{error}");
        assert!(error.message().contains("lost commits from number"), "{error}");
        assert!(error.message().contains("/data/journal/damaged-"), "{error}");
        assert!(files(world)[number] == *before, "object {number} was overwritten");
        lost.push(number);
    }
    lost
}

/// The copy of a segment that is kept aside.
fn kept(world: &World, segment: &Path) -> Vec<u8> {
    let journal = Path::new(DATA).join("journal");
    let entries = world.disk.list(&journal).unwrap();
    let is_kept = |path: &&PathBuf| path.to_string_lossy().contains("damaged-");
    let folder = entries.iter().find(is_kept).unwrap();
    world.disk.content(&folder.join(segment.file_name().unwrap())).unwrap()
}

#[test]
fn a_flipped_bit_in_the_journal_concerns_one_object_or_is_refused_or_was_its_tail() {
    let (mut refused, mut quarantined, mut tails) = (0, 0, 0);
    let count = died().1.len();
    for index in 0..count {
        for part in 1..=12 {
            let (mut world, segments) = died();
            let path = &segments[index];
            let content = change(&world, path, |content| {
                let at = place(content, part, 12);
                content[at] ^= 1;
            });
            let before = files(&world);
            if let Err(error) = open(&world.disk) {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Storage);
                assert!(error.message().contains("accept_damage"), "{error}");
                assert!(world.disk.content(path).unwrap() == content, "it was overwritten");
                assert!(files(&world) == before, "a file was overwritten");
                continue;
            }
            let is_tail = Quarantine::load(&world.disk, &Path::new(DATA).join("journal"))
                .unwrap()
                .objects
                .is_empty();
            if is_tail {
                // Damage of the last batch cannot be told from a torn one.
                for object in &mut world.objects {
                    object.acknowledged = object.acknowledged.saturating_sub(1);
                }
            }
            let lost = reopen(&mut world, OnDamage::Refuse, &before);
            assert_eq!(lost.len(), usize::from(!is_tail));
            if is_tail {
                tails += 1;
                continue;
            }
            quarantined += 1;
            assert!(kept(&world, path) == content, "the copy is another one");
            // The others go on, through checkpoints, recycled segments and ends of all kinds.
            for round in 0..3 {
                for _ in 0..12 {
                    for other in (0..2).filter(|number| !lost.contains(number)) {
                        world.turn(other);
                    }
                    world.flush();
                }
                let done = checkpoint(&world.shared());
                world.note(done);
                assert_eq!(world.errors, []);
                world.die();
                world.disk.power_loss(round);
                assert_eq!(reopen(&mut world, OnDamage::Refuse, &before), lost);
            }
            assert!(kept(&world, path) == content, "the copy was overwritten");
        }
    }
    println!("{refused} refused, {quarantined} quarantined, {tails} tails");
    assert!(refused > 0 && quarantined > 0 && tails > 0);
}

/// A world whose journal has lost commits of one object, which one, and the segment.
fn damaged() -> (World, PathBuf) {
    damaged_with(2)
}

fn damaged_with(objects: usize) -> (World, PathBuf) {
    let (world, segments) = died_with(objects);
    let path = segments.iter().max_by_key(|path| used(&world.disk.content(path).unwrap()));
    let path = path.unwrap().clone();
    let good = world.disk.content(&path).unwrap();
    for part in 1..40 {
        change(&world, &path, |content| {
            content.clone_from(&good);
            let at = place(content, part, 40);
            content[at] ^= 1;
        });
        let found =
            scan::scan(&world.disk, &Path::new(DATA).join("journal"), &mut Replay::default());
        let found = found.unwrap();
        if found.is_attributed() && !found.is_sound() {
            return (world, path);
        }
    }
    panic!("no damage can be attributed");
}

#[test]
fn a_crash_anywhere_while_objects_are_put_into_quarantine() {
    for nth in 1.. {
        let (mut world, path) = damaged();
        let content = world.disk.content(&path).unwrap();
        let before = files(&world);
        world.disk.inject_any(nth, Fault::Crash);
        drop(open(&world.disk));
        let has_crashed = world.disk.has_crashed();
        if nth % 3 == 0 {
            world.disk.restart();
        } else {
            world.disk.power_loss(nth);
        }
        assert_eq!(reopen(&mut world, OnDamage::Refuse, &before).len(), 1);
        assert!(kept(&world, &path) == content, "the copy is another one");
        if !has_crashed {
            println!("{nth} calls");
            assert!(nth > 30);
            return;
        }
    }
}

#[test]
fn what_is_kept_survives_a_loss_of_power() {
    for seed in 0..10 {
        // With others, the sync of their files would cover for a sync that is missing.
        let (mut world, path) = damaged_with(1);
        let content = world.disk.content(&path).unwrap();
        let before = files(&world);
        drop(open(&world.disk).unwrap());
        world.disk.power_loss(seed);
        assert_eq!(reopen(&mut world, OnDamage::Refuse, &before).len(), 1);
        assert!(kept(&world, &path) == content, "the copy is another one");
    }
}

#[test]
fn a_disk_that_is_full_leaves_the_damaged_journal_alone() {
    for site in ["write_at #.segment", "write_at QUARANTINE.tmp", "sync_data CHECKPOINT"] {
        let (mut world, path) = damaged();
        let content = world.disk.content(&path).unwrap();
        let before = files(&world);
        world.disk.inject(site, 1, Fault::Full);
        let error = open(&world.disk).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{site}: {error}");
        assert!(files(&world) == before && world.disk.content(&path).unwrap() == content);
        assert_eq!(reopen(&mut world, OnDamage::Refuse, &before).len(), 1);
    }
}

#[test]
fn an_operator_lets_an_object_go() {
    let (mut world, _) = damaged();
    let before = files(&world);
    let lost = reopen(&mut world, OnDamage::Refuse, &before)[0];
    let file = world.shared().quarantine.objects[&world.objects[lost].key].file.clone();
    world.close();
    let id = world.objects[lost].key.id.to_string();
    change(&world, &file, |content| {
        let text = String::from_utf8(content.clone()).unwrap();
        let others: Vec<_> = text.lines().filter(|line| !line.starts_with(&id)).collect();
        *content = others.join("\n").into_bytes();
    });
    world.objects[lost].acknowledged = 0;
    assert!(reopen(&mut world, OnDamage::Refuse, &before).is_empty());
    // Nonsense in it is not nothing.
    world.close();
    change(&world, &file, |content| content.extend(b"\nhello\n"));
    let error = open(&world.disk).err().unwrap();
    assert!(error.message().contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn a_hole_that_nobody_can_name_is_accepted_or_refused() {
    let (mut opened, mut quarantined) = (0, 0);
    for part in 1..8 {
        let (mut world, segments) = died();
        let path = segments.iter().max_by_key(|path| used(&world.disk.content(path).unwrap()));
        let path = path.unwrap();
        let content = change(&world, path, |content| {
            let at = place(content, part, 10);
            content[at..at + 1_500].fill(0);
        });
        let before = files(&world);
        let Err(error) = open(&world.disk) else { continue };
        assert!(error.message().contains("accept_damage"), "{error}");
        // What is left of an object is what it was after some commit.
        world.objects.iter_mut().for_each(|object| object.acknowledged = 0);
        quarantined += reopen(&mut world, OnDamage::Accept, &before).len();
        opened += 1;
        assert!(kept(&world, path) == content);
        world.die();
        world.disk.power_loss(1);
        reopen(&mut world, OnDamage::Refuse, &before);
    }
    println!("{opened} opened, {quarantined} quarantined");
    assert!(opened > 0 && quarantined > 0);
}

#[test]
fn a_file_that_does_not_fit_to_the_journal_is_left_alone() {
    // An older copy of the file, or none, under a journal that begins later.
    for older in [true, false] {
        let mut world = World::new(2, 9);
        while world.objects[0].history.len() < 3 {
            world.turn(0);
        }
        world.evict(0);
        let old = world.disk.content(&world.path_of(0)).unwrap();
        while world.objects[0].history.len() < 6 {
            world.turn(0);
        }
        world.turn(1);
        world.evict(0);
        world.checkpoint();
        world.turn(0);
        while world.objects[0].acknowledged + 1 < world.objects[0].history.len() {
            world.flush();
        }
        let commits = world.objects[0].history.len();
        while world.objects[0].history.len() == commits {
            world.turn(0);
        }
        world.flush();
        world.die();
        world.disk.restart();
        let path = world.path_of(0);
        if older {
            world.disk.overwrite(&path, &old).unwrap();
        } else {
            world.disk.remove(&path).unwrap();
        }
        let before = files(&world);
        assert_eq!(reopen(&mut world, OnDamage::Refuse, &before), [0]);
    }
}

#[test]
fn an_object_that_begins_with_a_file_which_is_gone_stays_closed() {
    let mut world = World::new(2, 5);
    while !world.objects[0].is_there() {
        world.turn(0);
    }
    world.flush();
    world.fork(0, 1, false);
    world.flush();
    world.die();
    world.disk.restart();
    let copies = world.disk.list(&Path::new(DATA).join("copies")).unwrap();
    assert_eq!(copies.len(), 1);
    world.disk.remove(&copies[0]).unwrap();
    let before = files(&world);
    assert_eq!(reopen(&mut world, OnDamage::Refuse, &before), [1]);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let mut world = World::new(2, 6);
    while world.objects.iter().any(|object| object.history.len() < 4) {
        world.turn(0);
        world.turn(1);
    }
    world.close();
    let path = world.path_of(0);
    let good = world.disk.content(&path).unwrap();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |content| content[0] ^= 1,
        |content| content[19] = 0x80,
        |content| content.truncate(5_000),
        Vec::clear,
    ];
    for (case, damage) in damages.into_iter().enumerate() {
        let mut content = good.clone();
        damage(&mut content);
        world.disk.overwrite(&path, &content).unwrap();
        world.shared = Some(open(&world.disk).unwrap());
        let shared = world.shared();
        let object = &mut world.objects[0];
        object.history = vec![Some(Tables::default())];
        let error = world.connect(0).expect_err(&format!("damage {case} was not seen"));
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.message().contains(&shared.objects.display().to_string()), "{error}");
        assert!(world.disk.content(&path).unwrap() == content, "it was overwritten");
        // The others go on.
        world.check_reopened(1);
        world.objects[1].database = None;
        world.shared = None;
    }
}
