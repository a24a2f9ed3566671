//! A few objects whose files and commits a test makes by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::ErrorKind;
use crate::engine::ObjectKey;
use crate::engine::files::Disk;
use crate::engine::files::simulated::{Random, SimulatedDisk};
use crate::engine::history::append::{Pages, WriteBack};
use crate::engine::history::file::{Head, Writer};
use crate::engine::history::{History, HistoryLimits, Point, past};
use crate::engine::overlay::{Image, PAGE, Page, Snapshot};
use crate::engine::pagestore::{FilePerObject, PageStore, Stamp};
use crate::engine::record::{self, Commit, Draft, Effects, frame};
use crate::id::RawId;

/// A state that was rebuilt, by its pages; or why not.
pub(super) type Outcome = Result<Vec<Image>, ErrorKind>;

pub(super) struct Rig {
    pub(super) disk: SimulatedDisk,
    pub(super) history: History,
    pub(super) keys: Vec<ObjectKey>,
    /// All commits that were made, in order, each of which existed.
    pub(super) points: Vec<(usize, Point)>,
    pub(super) now_ms: i64,
    random: Random,
    objects: Vec<Object>,
    /// What the objects were after each commit.
    states: Vec<Vec<Image>>,
    copied: Vec<Copied>,
    uncopied: Vec<Copied>,
}

/// A commit as the journal has it.
#[derive(Clone)]
struct Copied {
    id: RawId,
    stamp: Stamp,
    flags: u8,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Object {
    pages: Vec<Image>,
    stamp: Stamp,
    /// What its file holds, and lacks.
    stored: Stamp,
    size: u32,
    changed: BTreeMap<u32, Image>,
    /// It was deleted, and its file is still to be removed.
    is_obsolete: bool,
}

const OBJECTS: usize = 3;

impl Rig {
    pub(super) fn new(seed: u64) -> Rig {
        let disk = SimulatedDisk::default();
        disk.create_dir_all(Path::new("/data/objects")).unwrap();
        let key = |number| ObjectKey {
            class: Arc::from("Room"),
            id: RawId::from_name("Room", None, &format!("room {number}")),
        };
        Rig {
            history: open(&disk),
            disk,
            keys: (0..OBJECTS).map(key).collect(),
            points: Vec::new(),
            now_ms: 0,
            random: Random(seed),
            objects: (0..OBJECTS).map(|_| Object::default()).collect(),
            states: Vec::new(),
            copied: Vec::new(),
            uncopied: Vec::new(),
        }
    }

    pub(super) fn reopen(&mut self) {
        self.history = open(&self.disk);
    }

    pub(super) fn store(&self, object: usize) -> FilePerObject {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        FilePerObject::new(disk, Path::new("/data/objects"), &self.keys[object])
    }

    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        self.disk.content(path).unwrap()
    }

    /// Something at random.
    pub(super) fn step(&mut self) {
        let object = self.random.below(OBJECTS);
        match self.random.below(20) {
            0..12 => self.commit(object),
            12 => self.copy_again(),
            13..15 => self.write_back(object),
            15 => self.keep_twice(object),
            16 => self.delete(object),
            _ => self.finish(),
        }
    }

    /// Changes some pages of an object, which may get longer or shorter.
    pub(super) fn commit(&mut self, number: usize) {
        let object = &mut self.objects[number];
        let creates = object.pages.is_empty();
        let size = 1 + self.random.below(6);
        let before = object.pages.len();
        object.pages.resize(size, [0; PAGE]);
        let mut changed: Vec<u32> = (1..=u32::try_from(size).unwrap())
            .filter(|page| *page == 1 || *page as usize > before || self.random.chance(40))
            .collect();
        changed.dedup();
        let stamp = self.next_stamp(number);
        for page in &changed {
            let object = &mut self.objects[number];
            let image = &mut object.pages[*page as usize - 1];
            // It compresses, and says whose it is.
            let text = format!("object {number} commit {} page {page} ", stamp.commit);
            image[128..].iter_mut().zip(text.bytes().cycle()).for_each(|(to, from)| *to = from);
            image[19] = 1;
            object.changed.insert(*page, *image);
        }
        let flags = if creates { frame::CREATES } else { 0 };
        self.log(number, stamp, flags, &changed);
        let object = &mut self.objects[number];
        object.changed.retain(|page, _| *page as usize <= size);
        self.points.push((number, stamp.into()));
        self.states.push(self.objects[number].pages.clone());
    }

    pub(super) fn delete(&mut self, number: usize) {
        if self.objects[number].pages.is_empty() {
            return;
        }
        let stamp = self.next_stamp(number);
        self.objects[number].pages.clear();
        self.objects[number].changed.clear();
        self.objects[number].is_obsolete = true;
        self.log(number, stamp, frame::DELETES, &[]);
    }

    fn next_stamp(&mut self, number: usize) -> Stamp {
        let stamp = &mut self.objects[number].stamp;
        *stamp = Stamp { commit: stamp.commit + 1, epoch: 1, time_ms: self.now_ms };
        *stamp
    }

    fn log(&mut self, number: usize, stamp: Stamp, flags: u8, changed: &[u32]) {
        let object = &self.objects[number];
        let key = &self.keys[number];
        let mut draft = Draft::new(&Commit {
            object: key,
            epoch: stamp.epoch,
            number: stamp.commit,
            time_ms: stamp.time_ms,
            database_pages: u32::try_from(object.pages.len()).unwrap(),
            effects: Effects::default(),
            name: None,
            location_hint: None,
            wake: None,
        })
        .unwrap();
        for page in changed {
            draft.page(*page, None, &object.pages[*page as usize - 1]);
        }
        let (_, payload) = record::Head::parse(draft.body()).unwrap();
        let payload = payload.to_vec();
        self.uncopied.push(Copied { id: key.id, stamp, flags, payload });
    }

    fn push(&self, commits: &[Copied]) {
        self.history.write(self.now_ms, &mut |writer: &mut Writer| {
            for Copied { id, stamp, flags, payload } in commits {
                let mut body = Vec::new();
                past::push_commit(&mut body, *stamp, *flags, payload)?;
                writer.push(&Head::commits(*id, *stamp, *stamp), &body)?;
            }
            writer.flush()
        });
    }

    /// Copies what was committed.
    pub(super) fn copy(&mut self) {
        let commits = std::mem::take(&mut self.uncopied);
        self.push(&commits);
        self.copied.extend(commits);
    }

    /// As after a crash.
    pub(super) fn copy_again(&mut self) {
        let last = self.copied.len().saturating_sub(5);
        self.push(&self.copied[last..]);
    }

    /// Keeps what a write-back changes.
    pub(super) fn keep(&mut self, number: usize) {
        let store = self.store(number);
        let object = &self.objects[number];
        let size_after = u32::try_from(object.pages.len()).unwrap();
        let written = object.changed.keys().copied();
        let write_back = WriteBack {
            key: &self.keys[number],
            store: &store,
            from: object.stored,
            size: object.size,
            to: object.stamp,
            removes: object.pages.is_empty(),
            pages: Pages::touched(object.size, written, size_after, None),
        };
        self.history.before(&[write_back], self.now_ms);
    }

    fn write_back(&mut self, number: usize) {
        let object = &self.objects[number];
        if object.stored == object.stamp || (object.pages.is_empty() && !object.is_obsolete) {
            return;
        }
        self.keep(number);
        let store = self.store(number);
        let object = &mut self.objects[number];
        object.size = u32::try_from(object.pages.len()).unwrap();
        object.stored = object.stamp;
        object.is_obsolete = false;
        let changed = std::mem::take(&mut object.changed);
        if object.size == 0 {
            object.stored = Stamp::default();
            store.delete().unwrap();
            return;
        }
        let pages = changed.into_iter().map(|(number, image)| (number, Page::new(image)));
        store.write(&Snapshot { pages: pages.collect(), size: object.size }, object.stamp).unwrap();
    }

    /// As after a crash between keeping and writing.
    pub(super) fn keep_twice(&mut self, number: usize) {
        let object = &self.objects[number];
        if object.stored != object.stamp && object.size > 0 {
            self.keep(number);
        }
        self.write_back(number);
    }

    /// As a checkpoint does, after which the file of the history is finished.
    pub(super) fn finish(&mut self) {
        self.copy();
        (0..OBJECTS).for_each(|number| self.write_back(number));
        self.history.mark(self.history.reach(), self.now_ms);
        self.history.finish_file(&mut self.history.writing.lock());
    }

    pub(super) fn rebuild(&self, number: usize, point: Point) -> Outcome {
        let store = self.store(number);
        let rebuilt = self.history.rebuild(self.keys[number].id, point, &store);
        let rebuilt = rebuilt.map_err(|error| error.kind())?;
        let page = |number| {
            let mut image = [0; PAGE];
            match rebuilt.pages.get(&number) {
                Some(page) => image = **page,
                None => store.read(number, &mut image).unwrap(),
            }
            // Which commit it is stands in the file, and not in the pages.
            image[72..92].fill(0);
            image
        };
        Ok((1..=rebuilt.size).map(page).collect())
    }

    /// Whether all that was rebuilt is as it was.
    pub(super) fn check(&self, outcomes: &[Outcome], what: &str) {
        for ((point, state), outcome) in self.points.iter().zip(&self.states).zip(outcomes) {
            assert!(
                outcome.as_ref() == Ok(state),
                "{what}: {point:?} {:?}",
                outcome.as_ref().err()
            );
        }
    }

    /// Whether there is anything of an object in the history's files.
    pub(super) fn is_anywhere(&self, number: usize) -> bool {
        let text = format!("object {number} commit ");
        let files = self.history.files.lock().clone();
        files.iter().any(|file| {
            let content = self.content(&file.path);
            let found = content.windows(text.len()).any(|window| window == text.as_bytes());
            found || self.history_holds(number)
        })
    }

    /// Whether an index leads to something.
    fn history_holds(&self, number: usize) -> bool {
        let archives = self.history.archives().unwrap();
        archives.iter().any(|archive| {
            let entries = archive.entries(Some(self.keys[number].id)).unwrap();
            entries.places.iter().any(|place| place.body.length > 0)
        })
    }
}

fn open(disk: &SimulatedDisk) -> History {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    History::open(disk, Path::new("/data"), HistoryLimits::default()).unwrap().unwrap()
}
