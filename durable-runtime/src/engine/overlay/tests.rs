use std::collections::BTreeMap;

use super::*;
use crate::engine::testing::Random;

fn image(byte: u8) -> Image {
    [byte; PAGE]
}

fn page(byte: u8) -> Page {
    Arc::new(image(byte))
}

fn template() -> Template {
    Arc::new([page(101), page(102)])
}

fn numbers(changes: &Changes) -> Vec<(u32, bool)> {
    changes.pages.iter().map(|change| (change.number, change.first_touch)).collect()
}

fn accept(overlay: &mut Overlay, epoch: u64) -> Changes {
    let changes = overlay.changes(epoch);
    overlay.accept(epoch);
    changes
}

#[test]
fn the_first_record_holds_the_template_too() {
    let mut overlay = Overlay::new(template());
    overlay.write(1, &image(1)).unwrap();
    overlay.accept_provisional();
    overlay.write(3, &image(3)).unwrap();
    overlay.discard();
    assert_eq!(overlay.size(), 2);
    assert!(overlay.snapshot().is_none());
    overlay.write(4, &image(4)).unwrap();
    let changes = accept(&mut overlay, 7);
    assert_eq!(numbers(&changes), [(1, true), (2, true), (3, true), (4, true)]);
    let bytes: Vec<u8> = changes.pages.iter().map(|change| change.after[0]).collect();
    assert_eq!(bytes, [1, 102, 0, 4]);
    assert!(overlay.is_stored());
    assert_eq!(overlay.snapshot().unwrap().pages.len(), 4);

    overlay.write(2, &image(9)).unwrap();
    let changes = accept(&mut overlay, 7);
    assert_eq!(numbers(&changes), [(2, false)]);
    assert_eq!(changes.pages[0].before, Some(page(102)));
}

#[test]
fn a_new_epoch_asks_for_full_images_again() {
    let mut overlay = Overlay::of_file(3);
    for (epoch, byte, first_touch) in [(1, 1, true), (1, 2, false), (2, 3, true), (2, 4, false)] {
        overlay.write(2, &image(byte)).unwrap();
        // Refused as stale, and asked again.
        let _ = overlay.changes(epoch + 1);
        assert_eq!(numbers(&accept(&mut overlay, epoch)), [(2, first_touch)]);
    }
    // A page that was written back is a first touch, and so is one that was shrunk away.
    let snapshot = overlay.snapshot().unwrap();
    overlay.written_back(&snapshot);
    assert_eq!((overlay.bytes(), overlay.find(2)), (0, Found::File));
    overlay.write(2, &image(1)).unwrap();
    assert_eq!(numbers(&accept(&mut overlay, 2)), [(2, true)]);
    overlay.truncate(1);
    assert_eq!(accept(&mut overlay, 2).size, 1);
    overlay.write(2, &image(2)).unwrap();
    assert_eq!(numbers(&accept(&mut overlay, 2)), [(2, true)]);
}

#[test]
fn equal_bytes_are_no_change() {
    let mut overlay = Overlay::of_file(3);
    overlay.write(2, &image(1)).unwrap();
    accept(&mut overlay, 1);
    overlay.write(2, &image(2)).unwrap();
    overlay.write(2, &image(1)).unwrap();
    assert!(accept(&mut overlay, 1).is_empty());
    overlay.truncate(1);
    overlay.write(3, &image(0)).unwrap();
    overlay.write(2, &image(1)).unwrap();
    let changes = accept(&mut overlay, 1);
    assert_eq!((numbers(&changes), changes.size), (vec![(3, true)], 3));
    assert_eq!(overlay.find(2), Found::Here(&image(1)));
}

#[test]
fn the_bytes_of_a_longer_file_never_come_back() {
    let mut overlay = Overlay::of_file(5);
    overlay.truncate(2);
    overlay.write(5, &image(5)).unwrap();
    assert_eq!(overlay.find(4), Found::Here(&image(0)));
    assert_eq!(overlay.find(2), Found::File);
    assert_eq!(overlay.find(6), Found::Beyond);
    let changes = accept(&mut overlay, 1);
    assert_eq!(numbers(&changes), [(3, true), (4, true), (5, true)]);
    assert_eq!(overlay.find(4), Found::Here(&image(0)));
}

#[test]
fn too_large() {
    let mut overlay = Overlay::of_file(1);
    overlay.set_limit(2 * PAGE);
    overlay.write(1, &image(1)).unwrap();
    overlay.write(9, &image(1)).unwrap();
    let expected = TooLarge { bytes: 3 * PAGE, bytes_max: 2 * PAGE };
    assert_eq!(overlay.write(2, &image(1)), Err(expected));
    overlay.write(9, &image(2)).unwrap();
    overlay.discard();
    overlay.write(2, &image(1)).unwrap();
}

#[test]
fn a_database_that_begins_anew() {
    let mut overlay = Overlay::of_file(5);
    overlay.write(5, &image(5)).unwrap();
    accept(&mut overlay, 1);
    overlay.replace(&template());
    assert_eq!((overlay.size(), overlay.find(2)), (2, Found::Here(&image(102))));
    overlay.discard();
    assert_eq!((overlay.size(), overlay.find(2)), (5, Found::File));
    overlay.replace(&template());
    let changes = accept(&mut overlay, 1);
    assert_eq!((numbers(&changes), changes.size), (vec![(1, true), (2, true)], 2));
}

#[test]
fn recovered_pages_beyond_the_end_are_none() {
    let mut overlay = Overlay::recovered([(1, page(1)), (3, page(3))], 2);
    assert_eq!((overlay.find(3), overlay.bytes()), (Found::Beyond, PAGE));
    overlay.write(1, &image(2)).unwrap();
    assert_eq!(numbers(&accept(&mut overlay, 1)), [(1, true)]);
    assert_eq!(overlay.snapshot().unwrap().size, 2);
}

/// What should be there: the pages of the running transaction, of the last commit, of the
/// file, and of a database that is made from the records alone.
struct Model {
    running: Vec<Image>,
    committed: Vec<Image>,
    file: Vec<Image>,
    replayed: Vec<Image>,
    logged_in: BTreeMap<u32, u64>,
    epoch: u64,
}

impl Model {
    fn read(&self, overlay: &Overlay, number: u32) -> Option<Image> {
        match overlay.find(number) {
            Found::Here(image) => Some(*image),
            Found::File => Some(self.file[number as usize - 1]),
            Found::Beyond => None,
        }
    }

    fn check(&self, overlay: &Overlay) {
        assert_eq!(overlay.size() as usize, self.running.len());
        for number in 1..=overlay.size() + 2 {
            let expected = self.running.get(number as usize - 1);
            assert!(self.read(overlay, number).as_ref() == expected, "page {number}");
        }
    }

    fn replay(&mut self, changes: &Changes) {
        assert_eq!(changes.size_before as usize, self.replayed.len());
        self.replayed.resize(changes.size as usize, image(0xee));
        for change in &changes.pages {
            let place = &mut self.replayed[change.number as usize - 1];
            let logged = self.logged_in.insert(change.number, self.epoch);
            if change.first_touch {
                *place = *change.after;
            } else {
                assert_eq!(logged, Some(self.epoch), "a delta without a full image");
                assert!(change.before.as_deref() == Some(&*place), "another base");
                *place = *change.after;
            }
        }
        self.logged_in.split_off(&(changes.size + 1));
    }

    fn write_back(&mut self, snapshot: &Snapshot) {
        self.file.resize(snapshot.size as usize, image(0xdd));
        for (number, page) in &snapshot.pages {
            self.file[*number as usize - 1] = **page;
        }
    }
}

#[test]
fn random_operations_agree_with_a_plain_list_of_pages() {
    for seed in 1..=300 {
        random_operations(&mut Random::new(seed));
    }
}

fn random_operations(random: &mut Random) {
    let mut overlay = Overlay::new(template());
    let running: Vec<Image> = template().iter().map(|page| **page).collect();
    let mut model = Model {
        committed: running.clone(),
        running,
        file: Vec::new(),
        replayed: Vec::new(),
        logged_in: BTreeMap::new(),
        epoch: 1,
    };
    let mut writing = None;
    for _ in 0..200 {
        match random.below(20) {
            0..=8 => {
                let number = random.below(overlay.size() + 3) + 1;
                // Few values, so that old bytes come back.
                let image = image(u8::try_from(random.below(4)).unwrap());
                overlay.write(number, &image).unwrap();
                let gained = model.running.len().max(number as usize);
                model.running.resize(gained, [0; PAGE]);
                model.running[number as usize - 1] = image;
            }
            9 => {
                let size = random.below(overlay.size()) + 1;
                overlay.truncate(size);
                model.running.truncate(size as usize);
            }
            10 => {
                overlay.discard();
                model.running.clone_from(&model.committed);
            }
            11 if !overlay.is_stored() => {
                overlay.accept_provisional();
                model.committed.clone_from(&model.running);
            }
            12 => model.epoch += 1,
            13 if writing.is_none() => writing = overlay.snapshot(),
            14 => {
                if let Some(snapshot) = writing.take() {
                    model.write_back(&snapshot);
                    overlay.written_back(&snapshot);
                }
            }
            15 => drop(overlay.changes(model.epoch + 1)),
            16..=18 => {
                let changes = accept(&mut overlay, model.epoch);
                assert!(changes.pages.iter().all(|c| c.before.as_ref() != Some(&c.after)));
                model.replay(&changes);
                model.committed.clone_from(&model.running);
                assert!(model.replayed == model.committed);
            }
            _ => {}
        }
        model.check(&overlay);
    }
}
