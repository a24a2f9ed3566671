//! What the history of a world's objects has to give.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::object::{Fate, Moment};
use super::{BY_HAND, DATA, World, deserialized};
use crate::ErrorKind;
use crate::engine::Configure;
use crate::engine::files::Disk;
use crate::engine::journaled::checkpoint::{Waker, checkpoint};
use crate::engine::journaled::database::restore_pages;
use crate::engine::journaled::erase;
use crate::engine::journaled::tests::tables::{integrity, tables};
use crate::engine::overlay::PAGE;

impl World {
    /// Makes an object what it was after one of its commits.
    pub(in crate::engine::journaled::tests) fn restore(&mut self, number: usize) {
        self.evict(number);
        let shared = self.shared();
        let done = checkpoint(&shared);
        let candidates: Vec<_> = self.objects[number]
            .past
            .iter()
            .filter(|moment| moment.then.is_some() && moment.fate == Fate::Kept)
            .cloned()
            .collect();
        if self.note(done).is_none() || candidates.is_empty() {
            return;
        }
        let Moment { point, then, .. } = candidates[self.random.below(candidates.len())].clone();
        let key = self.objects[number].key.clone();
        let restored = shared.entry(&key).and_then(|entry| {
            let was_stored = entry.is_stored();
            let history = shared.history.as_ref().unwrap();
            let rebuilt = entry.at_rest(|store| history.rebuild(key.id, point, store))?;
            let waker = Waker::new(Arc::clone(&shared), BY_HAND);
            let nothing: Configure = Arc::new(|_| Ok(()));
            let amend = &mut |_: &Connection| Ok(());
            let before = entry.state.lock().stamp;
            let (receipt, database) =
                restore_pages(Arc::clone(&shared), &entry, waker, &rebuilt, &nothing, amend)?;
            let after = entry.state.lock().stamp;
            Ok((receipt, database, before, after, was_stored))
        });
        if matches!(&restored, Err(error) if error.kind() == ErrorKind::NotKept) && !self.keeps_past
        {
            return;
        }
        let Some((receipt, database, before, after, was_stored)) = self.note(restored) else {
            return;
        };
        let object = &mut self.objects[number];
        object.database = Some(database);
        object.now = then.clone().unwrap_or_default();
        if after.commit == before.commit {
            return;
        }
        if !was_stored {
            let index = object.index_of(after);
            object.history.resize(index, None);
        }
        object.committed(after, receipt, then);
        self.commits += 1;
        self.restored += 1;
    }

    /// Rewrites the next file of the history that is to be.
    pub(in crate::engine::journaled::tests) fn compact(&mut self) {
        let shared = self.shared();
        self.compacted += u64::from(shared.history.as_ref().unwrap().compact_next());
    }

    /// How many files of history there are.
    pub(in crate::engine::journaled::tests) fn history_files(&self) -> usize {
        let files = self.disk.list(&Path::new(DATA).join("history"));
        files.map_or(0, |files| files.len())
    }

    /// Deletes an object, with its history.
    pub(in crate::engine::journaled::tests) fn erase(&mut self, number: usize) {
        self.delete(number);
        self.evict(number);
        if self.objects[number].is_there() {
            // The deletion has failed.
            return;
        }
        let set = |world: &mut World, fate| {
            world.objects[number].past.iter_mut().for_each(|moment| moment.fate = fate);
        };
        set(self, Fate::Erasing);
        let shared = self.shared();
        let key = self.objects[number].key.clone();
        let erased = erase(&shared, &key, || checkpoint(&shared));
        if self.note(erased).is_some() {
            set(self, Fate::Erased);
            self.erased += 1;
        }
    }

    /// Whether the history gives each object as it was after each of its commits. The files lack nothing.
    pub(in crate::engine::journaled::tests) fn check_past(&mut self, number: usize) {
        let shared = self.shared();
        let history = shared.history.as_ref().unwrap();
        let key = &self.objects[number].key;
        let entry = shared.entry(key).unwrap();
        // The short form looks at a few of them.
        let long = std::env::var_os("DURABLE_SEEDS").is_some();
        let moments = &self.objects[number].past;
        let step = if long { 1 } else { moments.len().div_ceil(4).max(1) };
        let first = self.random.below(step);
        for Moment { point, then, fate } in moments.iter().skip(first).step_by(step) {
            let rebuilt = entry.at_rest(|store| {
                let rebuilt = history.rebuild(key.id, *point, store)?;
                let mut content = Vec::new();
                for number in 1..=rebuilt.size {
                    let mut image = [0; PAGE];
                    match rebuilt.pages.get(&number) {
                        Some(page) => image = **page,
                        None => store.read(number, &mut image).unwrap(),
                    }
                    content.extend_from_slice(&image);
                }
                Ok(content)
            });
            match (rebuilt, then) {
                (Ok(content), Some(then)) => {
                    let is_gone = *fate == Fate::Erased;
                    assert!(!is_gone, "object {number} at {point:?} was erased");
                    let connection = deserialized(&content);
                    assert_eq!(integrity(&connection), "ok");
                    assert!(tables(&connection) == *then, "object {number} at {point:?}");
                    self.rebuilt += 1;
                }
                (Ok(_), None) => panic!("object {number} did not exist at {point:?}"),
                (Err(error), then) => {
                    assert_eq!(error.kind(), ErrorKind::NotKept);
                    let is_kept = self.keeps_past && *fate == Fate::Kept;
                    let is_lost = then.is_some() && is_kept;
                    assert!(!is_lost, "object {number} at {point:?}: {error}");
                }
            }
        }
        shared.entries.forget_if_idle(&entry);
    }
}
