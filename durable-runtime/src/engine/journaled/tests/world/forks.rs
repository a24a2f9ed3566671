//! Objects of the world that are made of others.

use super::object::{Fate, Moment};
use super::{DATA, World};
use crate::engine::journaled::adopt::adopt_entry;
use crate::engine::journaled::checkpoint::checkpoint;
use crate::engine::journaled::copy::copy_in_steps;
use crate::engine::journaled::tests::tables::{Tables, integrity, tables};
use crate::engine::pagestore::Stamp;
use crate::engine::{About, Receipt};
use crate::{Error, ErrorKind};

impl World {
    /// Makes one object of another, as it is now or was after one of its commits. Objects go on changing while it is copied.
    pub(in super::super) fn fork(&mut self, from: usize, to: usize, at_earlier_one: bool) {
        self.evict(to);
        let shared = self.shared();
        let vacated = checkpoint(&shared);
        let past = self.objects[from].past.iter();
        let candidates = past.filter(|moment| moment.then.is_some() && moment.fate == Fate::Kept);
        let candidates: Vec<_> = candidates.cloned().collect();
        let then = if at_earlier_one && !candidates.is_empty() {
            Some(candidates[self.random.below(candidates.len())].clone())
        } else {
            None
        };
        if self.note(vacated).is_none() || (then.is_none() && !self.objects[from].is_there()) {
            return;
        }
        if let Some((receipt, stamp, then)) = self.try_fork(from, to, then) {
            let object = &mut self.objects[to];
            let index = object.index_of(stamp);
            object.history.resize(index, None);
            object.committed(stamp, receipt, Some(then));
            // Its history begins anew.
            object.past.clear();
            self.commits += 1;
            self.forked += 1;
        }
    }

    fn try_fork(
        &mut self,
        from: usize,
        to: usize,
        then: Option<Moment>,
    ) -> Option<(Receipt, Stamp, Tables)> {
        let shared = self.shared();
        let copy = shared.copies.new_file();
        let copy = self.note(copy)?;
        let key = self.objects[from].key.clone();
        let point = then.as_ref().map(|moment| moment.point);
        let copied = copy_in_steps(&shared, &key, point, copy.path(), &mut |_, _| {}, &mut || {
            let number = self.random.below(self.objects.len());
            if number != to {
                match self.random.below(12) {
                    0 => self.delete(number),
                    1 => self.evict(number),
                    _ => self.turn(number),
                }
                self.flush();
                if self.random.chance(50) {
                    drop(checkpoint(&shared));
                }
            }
            self.flush();
        });
        if matches!(&copied, Err(error) if error.kind() == ErrorKind::NotKept) && !self.keeps_past {
            return None;
        }
        let copied = self.note(copied)?;
        let then = if let Some(moment) = then {
            moment.then?
        } else {
            let object = &self.objects[from];
            let stamp = Stamp { commit: copied.point.commit, ..Stamp::default() };
            object.history[object.index_of(stamp)].clone()?
        };
        let content = self.disk.content(copy.path());
        let content = content.map_err(|error| Error::new(ErrorKind::Storage, error));
        let connection = super::deserialized(&self.note(content)?);
        assert_eq!(integrity(&connection), "ok");
        assert!(tables(&connection) == then, "the copy of object {from} at {:?}", copied.point);
        let wake = then.wake().into();
        let about = About { name: Some(format!("room {to}").into()), location_hint: None };
        let key = self.objects[to].key.clone();
        let adopted = shared.entry(&key).map(|entry| {
            let was_there = entry.is_stored();
            let adopted = adopt_entry(&shared, &entry, copy, about, wake);
            let stamp = entry.state.lock().stamp;
            shared.entries.forget_if_idle(&entry);
            (was_there, adopted, stamp)
        });
        let (was_there, adopted, stamp) = self.note(adopted)?;
        if was_there {
            let refused = adopted.unwrap_err().kind();
            assert!(refused == ErrorKind::Exists || self.disk.has_crashed());
            return None;
        }
        Some((self.note(adopted)?, stamp, then))
    }

    /// Whether nothing is left of copies.
    pub(in super::super) fn check_copies(&self) {
        use crate::engine::files::Disk;
        let folder = std::path::Path::new(DATA).join("copies");
        assert_eq!(self.disk.list(&folder).unwrap_or_default(), Vec::<std::path::PathBuf>::new());
    }
}

/// For callers that make one step of a random run.
pub(in super::super) fn random_fork(world: &mut World) {
    let (from, to) =
        (world.random.below(world.objects.len()), world.random.below(world.objects.len()));
    if world.objects[to].is_there() && from != to && world.random.chance(70) {
        world.delete(to);
        world.flush();
    }
    let at_earlier_one = world.random.chance(40);
    world.fork(from, to, at_earlier_one);
}
