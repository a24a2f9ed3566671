//! Bytes that change by themselves.

use std::path::{Path, PathBuf};

use super::world::{DATA, Tables, World, open};
use crate::ErrorKind;
use crate::engine::files::Disk;

/// A world that has died with commits in its journal, and the segments of this journal.
fn died() -> (World, Vec<PathBuf>) {
    let mut world = World::new(2, 5);
    world.checkpoint();
    for _ in 0..12 {
        world.random_turn();
        world.flush();
    }
    world.die();
    world.disk.restart();
    let files = world.disk.list(&Path::new(DATA).join("journal")).unwrap();
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "segment");
    (world, files.into_iter().filter(is_segment).collect())
}

/// The bytes of a segment that were written to.
fn used(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_flipped_bit_in_the_journal_is_refused_or_was_its_tail() {
    let (mut refused, mut opened) = (0, 0);
    let count = died().1.len();
    for index in 0..count {
        for part in 1..=12 {
            let (mut world, segments) = died();
            let path = &segments[index];
            let mut content = world.disk.content(path).unwrap();
            let last = used(&content) - 1;
            let at = 4_096 + last.saturating_sub(4_096) * part / 12;
            content[at] ^= 1;
            world.disk.overwrite(path, &content).unwrap();
            match open(&world.disk) {
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::Storage);
                    assert!(error.message().contains("journal"), "{error}");
                    assert!(world.disk.content(path).unwrap() == content, "it was overwritten");
                }
                Ok(shared) => {
                    opened += 1;
                    world.shared = Some(shared);
                    // Damage of the last batch cannot be told from a torn one.
                    for object in &mut world.objects {
                        object.acknowledged = object.acknowledged.saturating_sub(1);
                    }
                    for number in 0..world.objects.len() {
                        world.check_reopened(number);
                    }
                }
            }
        }
    }
    println!("{refused} refused, {opened} opened");
    assert!(refused > 0 && opened > 0);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let mut world = World::new(2, 6);
    while world.objects.iter().any(|object| object.history.len() < 4) {
        world.random_turn();
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
