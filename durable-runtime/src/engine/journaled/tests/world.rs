//! A few objects on a simulated disk, and what they have to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use crate::engine::files::Disk;
use crate::engine::files::simulated::{Random, SimulatedDisk};
use crate::engine::journal::{Journal, Options};
use crate::engine::journaled::checkpoint::{Waker, checkpoint, checkpoint_in_steps};
use crate::engine::journaled::database::JournaledDatabase;
use crate::engine::journaled::{Shared, recovery};
use crate::engine::pagestore::object_path;
use crate::engine::{Configure, Database, ObjectKey, Receipt};
use crate::id::RawId;
use crate::{Error, Result};

pub(super) const DATA: &str = "/data";

const SCHEMA: &str = "CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB, note TEXT);
    CREATE INDEX rows_by_note ON rows (note);
    CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID";

/// What an object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    rows: BTreeMap<i64, Vec<u8>>,
    kv: BTreeMap<String, Vec<u8>>,
}

/// An object and everything that was committed to it.
pub(super) struct Object {
    pub(super) key: ObjectKey,
    pub(super) database: Option<JournaledDatabase>,
    /// By commit number: nothing before the first.
    pub(super) history: Vec<Option<Tables>>,
    /// What the open database holds: also what is committed provisionally.
    now: Tables,
    pub(super) acknowledged: usize,
    receipts: Vec<(usize, Receipt)>,
}

pub(super) struct World {
    pub(super) disk: SimulatedDisk,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) objects: Vec<Object>,
    pub(super) random: Random,
    /// The first error of anything that was done, for tests that make one.
    pub(super) errors: Vec<Error>,
    pub(super) commits: u64,
}

pub(super) fn key(number: usize) -> ObjectKey {
    let id = RawId::from_name("Room", None, &format!("room {number}"));
    ObjectKey { class: Arc::from("Room"), id }
}

pub(super) fn options() -> Options {
    Options {
        segment_bytes: 32 * 1_024,
        ready_min: 0,
        retired_max: 2,
        retry_after: Duration::ZERO,
        ..Options::default()
    }
}

/// How many commits an object has.
fn commit_of(shared: &Shared, key: &ObjectKey) -> usize {
    let entry = shared.entry(key).unwrap();
    let commit = entry.state.lock().stamp.commit;
    shared.forget_if_idle(&entry);
    usize::try_from(commit).unwrap()
}

pub(super) fn open(disk: &SimulatedDisk) -> Result<Arc<Shared>> {
    let objects = Path::new(DATA).join("objects");
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let generation = recovery::recover(Path::new(DATA), &objects, &disk, options())?;
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH);
    Ok(Arc::new(Shared::new(disk, objects, generation.admit_by_hand()?, clock, None)?))
}

/// An empty data directory.
pub(super) fn new_disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

impl Object {
    fn new(number: usize) -> Object {
        Object {
            key: key(number),
            database: None,
            history: vec![None],
            now: Tables::default(),
            acknowledged: 0,
            receipts: Vec::new(),
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
        World {
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
        let waker = Waker::new(Arc::clone(&shared), u64::MAX);
        let nothing: Configure = Arc::new(|_| Ok(()));
        let mut database = JournaledDatabase::open(shared, entry, waker, &nothing)?;
        let last = object.history.last().unwrap().clone();
        assert_eq!(database.is_stored(), last.is_some());
        object.now = last.unwrap_or_default();
        if !database.is_stored() {
            database.begin()?;
            database.connection().execute_batch(SCHEMA).unwrap();
            database.commit_provisional()?;
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
        let is_kept = random.chance(85);
        let committed = match ran {
            Ok(()) if is_kept && !database.is_stored() && random.chance(30) => {
                database.commit_provisional().map(|()| object.now = after)
            }
            Ok(()) if is_kept => database.commit().map(|receipt| {
                object.now = after.clone();
                // A turn that changed nothing makes no commit.
                if commit_of(&shared, &object.key) == object.history.len() {
                    object.receipts.push((object.history.len(), receipt));
                    object.history.push(Some(after));
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

    pub(super) fn random_turn(&mut self) {
        let number = self.random.below(self.objects.len());
        self.turn(number);
    }

    /// Makes durable what was committed, and notes what was said to be.
    pub(super) fn flush(&mut self) {
        if let Some(shared) = &self.shared {
            shared.journal.flush_by_hand();
            let unflushed = shared.journal.unflushed_bytes();
            assert!(unflushed == 0 || shared.journal.failure().is_some());
        }
        for object in &mut self.objects {
            object.receipts.retain(|(number, receipt)| {
                let is_durable = receipt.is_durable();
                if is_durable {
                    object.acknowledged = object.acknowledged.max(*number);
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
        self.shared = Some(open(&self.disk).unwrap());
        for number in 0..self.objects.len() {
            self.check_reopened(number);
            if self.random.chance(50) {
                self.evict(number);
            }
        }
    }

    pub(super) fn check_reopened(&mut self, number: usize) {
        let shared = self.shared();
        let object = &mut self.objects[number];
        let commit = commit_of(&shared, &object.key);
        assert!(
            object.acknowledged <= commit,
            "object {number} is at commit {commit}, and {} was acknowledged",
            object.acknowledged
        );
        assert!(commit < object.history.len(), "object {number} is at a commit that never was");
        object.history.truncate(commit + 1);
        object.acknowledged = commit;
        object.receipts.clear();
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
        let Some(last) = self.objects[number].history.last().unwrap() else { return };
        let content = self.disk.content(&self.path_of(number)).unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        let length = content.len();
        connection.deserialize_read_exact(rusqlite::MAIN_DB, &content[..], length, true).unwrap();
        assert_eq!(integrity(&connection), "ok");
        assert!(tables(&connection) == *last, "the file of object {number}");
    }
}

pub(super) fn integrity(connection: &Connection) -> String {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

fn tables(connection: &Connection) -> Tables {
    let mut rows = connection.prepare("SELECT id, value FROM rows").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut kv = connection.prepare("SELECT key, value FROM kv").unwrap();
    let kv = kv.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    Tables {
        rows: rows.map(|row| row.unwrap()).collect(),
        kv: kv.map(|row| row.unwrap()).collect(),
    }
}

/// One random statement, on the database and on the model.
fn statement(database: &JournaledDatabase, model: &mut Tables, random: &mut Random) -> Result<()> {
    let connection = database.connection();
    let id = i64::try_from(random.below(60)).unwrap();
    let bytes = [10, 300, 2_000, 9_000][random.below(4)];
    let value = vec![random.next().to_le_bytes()[0]; bytes];
    let note = format!("note {}", id % 7);
    let key = format!("key {}", id % 20);
    let insert = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)";
    let done = match random.below(12) {
        0..4 => {
            model.rows.insert(id, value.clone());
            connection.execute(insert, params![id, value, note])
        }
        4 => {
            for row in model.rows.range_mut(id..).take(20) {
                row.1.truncate(100);
            }
            connection.execute(
                "UPDATE rows SET value = substr(value, 1, 100) WHERE id IN \
                 (SELECT id FROM rows WHERE id >= ? ORDER BY id LIMIT 20)",
                [id],
            )
        }
        5 => {
            model.rows.retain(|row, _| *row < id || *row >= id + 15);
            connection.execute("DELETE FROM rows WHERE id >= ?1 AND id < ?1 + 15", [id])
        }
        6..9 => {
            model.kv.insert(key.clone(), value.clone());
            connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", params![key, value])
        }
        9 => {
            model.kv.remove(&key);
            connection.execute("DELETE FROM kv WHERE key = ?", [key])
        }
        // The file becomes shorter.
        10 => connection.execute_batch("PRAGMA incremental_vacuum(1000)").map(|()| 0),
        // More than fits into one segment.
        _ => (0..12).try_fold(0, |_, more| {
            model.rows.insert(100 + more, value.clone());
            connection.execute(insert, params![100 + more, value, note])
        }),
    };
    let failed =
        |error| database.take_failure().unwrap_or_else(|| crate::engine::sqlite::error(error));
    done.map(|_| ()).map_err(failed)
}
