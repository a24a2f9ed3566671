//! A few objects on a simulated disk, and what they have to be.

pub(super) mod forks;
mod object;
mod opening;
mod past;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

pub(super) use self::object::Object;
use self::object::{Fate, Moment};
pub(super) use self::opening::{
    new_disk, open, open_indexed, open_limited, open_listed, open_with, options,
};
use super::index::Index;
use super::tables::{SCHEMA, integrity, statement, tables, write_wake};
use crate::engine::catalogue::ObjectIndex;
use crate::engine::files::Disk;
use crate::engine::files::simulated::{Random, SimulatedDisk};
use crate::engine::history::HistoryLimits;
use crate::engine::journal::Journal;
use crate::engine::journaled::checkpoint::{Waker, checkpoint, checkpoint_in_steps};
use crate::engine::journaled::database::JournaledDatabase;
use crate::engine::journaled::{OnDamage, Shared, WriteLimits};
use crate::engine::pagestore::{Stamp, object_path};
use crate::engine::{About, Configure, Database, ObjectKey};
use crate::id::RawId;
use crate::{Error, Result};

pub(super) const DATA: &str = "/data";

pub(super) struct World {
    pub(super) disk: SimulatedDisk,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) objects: Vec<Object>,
    pub(super) random: Random,
    /// The first error of anything that was done, for tests that make one.
    pub(super) errors: Vec<Error>,
    pub(super) commits: u64,
    /// Of the last start that the world knows of.
    index: Arc<dyn ObjectIndex>,
    /// Whether turns set and clear when their objects are to be woken.
    pub(super) sets_wakes: bool,
    /// Whether the history must have every commit; otherwise it may refuse.
    pub(super) keeps_past: bool,
    /// How many moments were rebuilt.
    pub(super) rebuilt: u64,
    /// How often an object was restored.
    pub(super) restored: u64,
    /// How often one was made of another.
    pub(super) forked: u64,
    /// How often something of the history was rewritten.
    pub(super) compacted: u64,
    /// How often an object was erased.
    pub(super) erased: u64,
    /// How much history there may be.
    pub(super) limits: HistoryLimits,
}

/// Nothing is written, and nobody waits, unless the test says so.
pub(super) const BY_HAND: WriteLimits = WriteLimits {
    checkpoint_distance: u64::MAX,
    unwritten_bytes_max: usize::MAX,
    history: HistoryLimits::OFF,
};

pub(super) fn key(number: usize) -> ObjectKey {
    let id = RawId::from_name("Room", None, &format!("room {number}"));
    ObjectKey { class: Arc::from("Room"), id }
}

/// The last commit of an object, and whether that is not its deletion.
pub(super) fn stamp_of(shared: &Shared, key: &ObjectKey) -> (Stamp, bool) {
    let entry = shared.entry(key).unwrap();
    let stamp = entry.state.lock().stamp;
    let is_stored = entry.is_stored();
    shared.entries.forget_if_idle(&entry);
    (stamp, is_stored)
}

fn deserialized(content: &[u8]) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    let length = content.len();
    connection.deserialize_read_exact(rusqlite::MAIN_DB, content, length, true).unwrap();
    connection
}

/// Nobody would flush what an open database waits for when it is dropped.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.disk.crash();
            if let Some(shared) = &self.shared {
                shared.journal.flush_by_hand();
            }
        }
    }
}

impl World {
    pub(super) fn add_object(&mut self) {
        self.objects.push(Object::new(self.objects.len()));
    }

    pub(super) fn new(objects: usize, seed: u64) -> World {
        let disk = new_disk();
        let shared = Some(open(&disk).unwrap());
        World::on(disk, shared, objects, seed)
    }

    pub(super) fn on(
        disk: SimulatedDisk,
        shared: Option<Arc<Shared>>,
        objects: usize,
        seed: u64,
    ) -> World {
        let objects = (0..objects).map(Object::new);
        let new_index = || Arc::new(Index::new(&disk)) as _;
        let index = shared.as_ref().map_or_else(new_index, |shared| Arc::clone(&shared.index));
        World {
            index,
            sets_wakes: false,
            keeps_past: false,
            rebuilt: 0,
            restored: 0,
            forked: 0,
            compacted: 0,
            erased: 0,
            limits: HistoryLimits::default(),
            disk,
            shared,
            objects: objects.collect(),
            random: Random(seed),
            errors: Vec::new(),
            commits: 0,
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(self.shared.as_ref().unwrap())
    }

    pub(super) fn path_of(&self, object: usize) -> PathBuf {
        object_path(&Path::new(DATA).join("objects"), &self.objects[object].key)
    }

    /// Notes an error; says whether there was none.
    pub(super) fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// Opens the database of an object, unless it is open.
    pub(super) fn connect(&mut self, number: usize) -> Result<()> {
        if self.objects[number].database.is_some() {
            return Ok(());
        }
        let shared = self.shared();
        let object = &mut self.objects[number];
        let entry = shared.entry(&object.key)?;
        let stamp = entry.state.lock().stamp;
        let waker = Waker::new(Arc::clone(&shared), BY_HAND);
        let nothing: Configure = Arc::new(|_| Ok(()));
        let mut database = JournaledDatabase::open(shared, entry, waker, &nothing)?;
        let last = object.history.last().unwrap().clone();
        assert_eq!(database.is_stored(), last.is_some());
        if std::mem::take(&mut object.is_renumbered) && last.is_none() {
            object.forget(stamp);
        }
        // An object that is nowhere any more counts from a number that was never its own.
        let index = object.index_of(stamp);
        assert!(
            index + 1 >= object.history.len()
                && (index + 1 == object.history.len() || last.is_none())
        );
        object.history.resize(index + 1, None);
        object.now = last.unwrap_or_default();
        if !database.is_stored() {
            database.begin()?;
            database.connection().execute_batch(SCHEMA).unwrap();
            database.commit_provisional()?;
            let name = Some(format!("room {number}").into());
            database.describe(About { name, location_hint: None });
        }
        object.database = Some(database);
        Ok(())
    }

    /// One turn of an object: some statements, and then a commit or a rollback.
    pub(super) fn turn(&mut self, number: usize) {
        let connected = self.connect(number);
        if self.note(connected).is_none() {
            return;
        }
        let shared = self.shared();
        let random = &mut self.random;
        let object = &mut self.objects[number];
        let database = object.database.as_mut().unwrap();
        let mut after = object.now.clone();
        let ran = database.begin().and_then(|()| {
            let statements = 1 + random.below(4);
            (0..statements).try_for_each(|_| statement(database, &mut after, random))
        });
        let ran = match ran {
            Ok(()) if self.sets_wakes && random.chance(60) => {
                let time = random.chance(70).then(|| i64::try_from(random.below(1_000)).unwrap());
                write_wake(database, &mut after, time)
            }
            ran => ran,
        };
        let is_kept = random.chance(85);
        let committed = match ran {
            Ok(()) if is_kept && !self.sets_wakes && !database.is_stored() && random.chance(30) => {
                database.commit_provisional().map(|()| object.now = after)
            }
            Ok(()) if is_kept => database.commit().map(|receipt| {
                object.now = after.clone();
                // A turn that changed nothing makes no commit.
                let (stamp, _) = stamp_of(&shared, &object.key);
                if object.index_of(stamp) == object.history.len() {
                    object.committed(stamp, receipt, Some(after));
                    self.commits += 1;
                }
                assert!(object.history.last() == Some(&Some(object.now.clone())));
            }),
            Ok(()) => database.rollback(),
            Err(error) => database.rollback().and(Err(error)),
        };
        if let Err(error) = committed {
            // As the layers above do: the database is opened anew.
            self.evict(number);
            self.errors.push(error);
        }
    }

    /// A turn that does nothing but say when the object is to be woken.
    pub(super) fn set_wake(&mut self, number: usize, time: Option<i64>) {
        self.connect(number).unwrap();
        let shared = self.shared();
        let object = &mut self.objects[number];
        let database = object.database.as_mut().unwrap();
        database.begin().unwrap();
        write_wake(database, &mut object.now, time).unwrap();
        let receipt = database.commit().unwrap();
        let (stamp, _) = stamp_of(&shared, &object.key);
        object.committed(stamp, receipt, Some(object.now.clone()));
    }

    /// Deletes an object, in the middle of a turn.
    pub(super) fn delete(&mut self, number: usize) {
        let connected = self.connect(number);
        if self.note(connected).is_none() {
            return;
        }
        let shared = self.shared();
        let object = &mut self.objects[number];
        let database = object.database.as_mut().unwrap();
        let was_stored = database.is_stored();
        let ran = database.begin().and_then(|()| {
            statement(database, &mut object.now.clone(), &mut self.random)?;
            database.delete()
        });
        match ran {
            Ok(receipt) => {
                assert!(!database.is_stored() && database.is_failed());
                assert!(database.begin().is_err());
                object.database = None;
                // It may not be known, when the power is off.
                assert!(!shared.exists(&object.key).unwrap_or(false));
                if was_stored {
                    let (stamp, _) = stamp_of(&shared, &object.key);
                    object.committed(stamp, receipt, None);
                    self.commits += 1;
                }
            }
            Err(error) => {
                // What was there is still there.
                assert!(database.is_stored() == was_stored);
                self.evict(number);
                self.errors.push(error);
            }
        }
    }

    pub(super) fn random_turn(&mut self) {
        let number = self.random.below(self.objects.len());
        if self.random.chance(7) {
            self.delete(number);
        } else {
            self.turn(number);
        }
    }

    /// Makes durable what was committed, and notes what was said to be.
    pub(super) fn flush(&mut self) {
        if let Some(shared) = &self.shared {
            shared.journal.flush_by_hand();
            let unflushed = shared.journal.unflushed_bytes();
            assert!(unflushed == 0 || shared.journal.failure().is_some());
        }
        for object in &mut self.objects {
            object.receipts.retain(|(number, stamp, receipt)| {
                let is_durable = receipt.is_durable();
                if is_durable {
                    object.acknowledged = object.acknowledged.max(*number);
                    let is_new = object.numbers.insert((stamp.epoch, stamp.commit));
                    assert!(is_new, "{stamp:?} was given twice");
                    let then = object.history[*number].clone();
                    object.past.push(Moment { point: (*stamp).into(), then, fate: Fate::Kept });
                }
                !is_durable
            });
        }
    }

    /// Drops the database of an object. Nobody else would flush what the write-back waits for.
    pub(super) fn evict(&mut self, number: usize) {
        self.flush();
        self.objects[number].database = None;
    }

    /// A checkpoint, with turns of the objects between its steps.
    pub(super) fn checkpoint(&mut self) {
        self.flush();
        let shared = self.shared();
        let done = checkpoint_in_steps(&shared, &mut || {
            for _ in 0..2 {
                self.random_turn();
            }
            if self.random.chance(30) {
                let evicted = self.random.below(self.objects.len());
                self.evict(evicted);
            }
            self.flush();
        });
        self.note(done);
    }

    /// Closes everything as a program does that ends well.
    pub(super) fn close(&mut self) {
        for number in 0..self.objects.len() {
            self.evict(number);
        }
        let shared = self.shared.take().unwrap();
        let done = checkpoint(&shared).and_then(|()| shared.journal.close());
        self.note(done);
    }

    /// The process dies, as it stands.
    pub(super) fn die(&mut self) {
        self.disk.crash();
        // Nobody waits for what cannot become durable any more.
        self.flush();
        for object in &mut self.objects {
            object.database = None;
            object.receipts.clear();
        }
        self.shared = None;
        self.errors.clear();
    }

    /// Opens everything again. Whether each object is what it was after a commit that is not before the last
    /// acknowledged one.
    pub(super) fn reopen(&mut self) {
        self.shared = Some(self.open().unwrap());
        for number in 0..self.objects.len() {
            self.check_reopened(number);
            if self.random.chance(50) {
                self.evict(number);
            }
        }
        self.check_wakes();
    }

    /// Opens what is on the disk, with the index of before.
    pub(super) fn open(&self) -> Result<Arc<Shared>> {
        open_limited(&self.disk, OnDamage::Refuse, Arc::clone(&self.index), self.limits)
    }

    /// When each object is known to want to be woken.
    pub(super) fn known_wakes(&self) -> Vec<Option<i64>> {
        let shared = self.shared();
        let due = shared.wakes.take_due(&*shared.index, i64::MAX, usize::MAX).unwrap();
        for (_, key) in &due {
            shared.wakes.give_back(key);
        }
        let time = |key| due.iter().find(|due| due.1 == key).map(|due| due.0);
        (0..self.objects.len()).map(|number| time(key(number))).collect()
    }

    /// Nobody is woken later than he wants to be.
    fn check_wakes(&self) {
        if !self.sets_wakes {
            return;
        }
        for (number, known) in self.known_wakes().into_iter().enumerate() {
            let wanted = self.objects[number].wake();
            assert!(
                wanted.is_none_or(|wanted| known.is_some_and(|known| known <= wanted)),
                "object {number} wants {wanted:?} and is known for {known:?}"
            );
        }
    }

    /// After a start that is not checked: what does not exist counts from a number that the start chooses.
    pub(super) fn renumber(&mut self) {
        self.objects.iter_mut().for_each(|object| object.is_renumbered = true);
    }

    pub(super) fn check_reopened(&mut self, number: usize) {
        let shared = self.shared();
        let object = &mut self.objects[number];
        object.receipts.clear();
        let (stamp, is_stored) = stamp_of(&shared, &object.key);
        assert_eq!(shared.exists(&object.key).unwrap(), is_stored);
        if is_stored {
            let commit = object.index_of(stamp);
            assert!(
                object.acknowledged <= commit,
                "object {number} is at commit {commit}, and {} was acknowledged",
                object.acknowledged
            );
            assert!(commit < object.history.len(), "object {number} is at a commit that never was");
            object.history.truncate(commit + 1);
            object.acknowledged = commit;
        } else {
            let may_be = object.history[object.acknowledged..].iter().any(Option::is_none);
            assert!(may_be, "object {number} is gone");
            object.forget(stamp);
        }
        self.check_past(number);
        self.connect(number).unwrap();
        self.check(number);
    }

    /// Whether an open object is as it has to be.
    pub(super) fn check(&self, number: usize) {
        let object = &self.objects[number];
        let connection = object.database.as_ref().unwrap().connection();
        assert_eq!(integrity(connection), "ok", "object {number}");
        let found = tables(connection);
        assert!(found == object.now, "object {number} at commit {}", object.history.len() - 1);
    }

    /// Whether the file of an object that is not in memory is a database that SQLite reads by itself.
    pub(super) fn check_file(&self, number: usize) {
        let Some(last) = self.objects[number].history.last().unwrap() else {
            assert!(!self.disk.exists(&self.path_of(number)).unwrap());
            return;
        };
        let content = self.disk.content(&self.path_of(number)).unwrap();
        let connection = deserialized(&content);
        assert_eq!(integrity(&connection), "ok");
        assert!(tables(&connection) == *last, "the file of object {number}");
    }
}
