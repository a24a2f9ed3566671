//! The objects that are in memory: those with a connection, or with something that their file lacks.
//!
//! The guarantee: an object is here at most once. While one is being opened from its file, whoever wants the same
//! one waits for that; others do not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::entry::Entry;
use crate::Result;
use crate::engine::ObjectKey;

#[derive(Default)]
pub(super) struct Entries {
    places: Mutex<Places>,
    /// An opening has ended.
    opened: Condvar,
    /// The greatest commit number of an object that was deleted and forgotten: one that is created counts
    /// from here, since it may be that object.
    numbers_passed: AtomicU64,
}

#[derive(Default)]
struct Places {
    open: HashMap<ObjectKey, Arc<Entry>>,
    opening: HashSet<ObjectKey>,
}

impl Entries {
    /// The object, if it is in memory.
    pub(super) fn get(&self, object: &ObjectKey) -> Option<Arc<Entry>> {
        self.places.lock().open.get(object).map(Arc::clone)
    }

    /// The object, which is opened if it is not in memory. Meanwhile nothing is locked.
    pub(super) fn get_or_open(
        &self,
        object: &ObjectKey,
        open: impl FnOnce() -> Result<Entry>,
    ) -> Result<Arc<Entry>> {
        let mut places = self.places.lock();
        loop {
            if let Some(entry) = places.open.get(object) {
                return Ok(Arc::clone(entry));
            }
            if places.opening.insert(object.clone()) {
                break;
            }
            self.opened.wait(&mut places);
        }
        drop(places);
        let _opening = Opening { entries: self, object };
        let entry = Arc::new(open()?);
        self.places.lock().open.insert(object.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// All objects at this moment, always in the same order.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.places.lock().open.values().map(Arc::clone).collect();
        all.sort_unstable_by(|a, b| a.key.id.as_bytes().cmp(b.key.id.as_bytes()));
        all
    }

    /// The number after which an object counts that is created now.
    pub(super) fn numbers_passed(&self) -> u64 {
        self.numbers_passed.load(Ordering::Relaxed)
    }

    /// Lets go of an object that has no connection and whose file lacks nothing.
    pub(super) fn forget_if_idle(&self, entry: &Arc<Entry>) {
        let mut places = self.places.lock();
        // One count is the map's and one the caller's.
        if Arc::strong_count(entry) != 2 || entry.lags() {
            return;
        }
        if !entry.is_stored() {
            self.numbers_passed.fetch_max(entry.state.lock().stamp.commit, Ordering::Relaxed);
        }
        places.open.remove(&entry.key);
        entry.release();
    }
}

/// Ends an opening, also one that failed or panicked.
struct Opening<'a> {
    entries: &'a Entries,
    object: &'a ObjectKey,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.entries.places.lock().opening.remove(self.object);
        self.entries.opened.notify_all();
    }
}
