//! Databases of a directory as they are, to be changed in memory: for trying out what would become of them.
//!
//! The guarantee: nothing on the disk changes. Each database is its file with the journal's newer pages on top, as the next start
//! would make it; what is committed to it stays in memory and is gone when it is dropped.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::object::Examiner;
use crate::engine::catalogue;
use crate::engine::directory::io_error;
use crate::engine::files::{Disk, ReadOnlyDisk};
use crate::engine::journaled::quarantine::Quarantine;
use crate::engine::journaled::recovery::{Replay, Replayed};
use crate::engine::overlay::{MIGRATION_BYTES_MAX, TURN_BYTES_MAX};
use crate::engine::pagestore::{escape, object_at};
use crate::engine::vfs::{ObjectConnection, ObjectFile, Vfs, open_connection};
use crate::engine::{
    Configure, Database, Directory, Engine, ObjectKey, Receipt, scan, sqlite, tune_process,
};
use crate::{Error, ErrorKind, Result};

/// No checkpoint is ever made.
const EPOCH: u64 = 1;

/// The databases of a directory, which nobody else uses meanwhile. Each can be opened once.
pub(crate) struct Trial {
    found: Mutex<Found>,
    directory: Directory,
}

/// What is in the directory.
struct Found {
    examiner: Examiner,
    replayed: HashMap<ObjectKey, Replayed>,
}

impl Trial {
    /// Opens a data directory for trials.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] while somebody uses the directory, [`ErrorKind::Invalid`] when it is no data directory, and
    /// [`ErrorKind::Storage`] when it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Trial> {
        tune_process();
        let directory = Directory::open_existing(path)?;
        let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk);
        let (folder, root) = (directory.path().join("journal"), directory.path().join("objects"));
        let mut replay = Replay::default();
        scan::scan(&*disk, &folder, &mut replay)?;
        let quarantine = Quarantine::load(&*disk, &folder)?;
        let vfs = Vfs::register(Arc::new(SystemTime::now))?;
        // Whether an object is as the list says is for `check` to judge.
        let examiner = Examiner { disk, root, vfs, quarantine, listed: None };
        Ok(Trial { found: Mutex::new(Found { examiner, replayed: replay.objects }), directory })
    }

    /// The key of a class, if it is stored under its name or a former one.
    ///
    /// # Errors
    /// When a start would refuse the class, because its names are ambiguous or its objects have a newer one; or when the catalogue cannot be read.
    pub(crate) fn key_of(&self, name: &str, former: &[&str]) -> Result<Option<Arc<str>>> {
        let classes = catalogue::classes_of(self.directory.path())?;
        match catalogue::find(&classes, name, former)? {
            Some(class) => Ok(Some(class.key.as_str().into())),
            None => catalogue::check_is_free(&classes, name).map(|()| None),
        }
    }

    /// The objects of a class that exist, in the order of their ids.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn objects(&self, class: &Arc<str>) -> Result<Vec<ObjectKey>> {
        let found = self.found.lock();
        let Examiner { disk, root, .. } = &found.examiner;
        let list = |folder: &Path| match disk.list(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| io_error("list", folder, &error)),
        };
        let mut objects = BTreeSet::new();
        for shard in list(&root.join(escape(class)))? {
            objects.extend(list(&shard)?.iter().filter_map(|path| object_at(root, path)));
        }
        for (key, replayed) in found.replayed.iter().filter(|(key, _)| key.class == *class) {
            if replayed.is_deleted {
                objects.remove(key)
            } else {
                objects.insert(key.clone())
            };
        }
        Ok(objects.into_iter().collect())
    }
}

impl Engine for Trial {
    fn open(&self, object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        let file = {
            let mut found = self.found.lock();
            let replayed = found.replayed.remove(object);
            let (store, overlay) = found
                .examiner
                .find(object, replayed)
                .map_err(|(_, text)| Error::new(ErrorKind::Storage, text))?;
            Arc::new(ObjectFile::with_overlay(&found.examiner.vfs, Arc::new(store), overlay))
        };
        Ok(Box::new(TrialDatabase::open(file, &configure)?))
    }

    fn exists(&self, _: &ObjectKey) -> Result<bool> {
        Ok(true)
    }

    fn failed(&self) -> Receipt {
        Receipt::never()
    }

    fn files_per_object(&self) -> usize {
        1
    }
}

/// A database of which the file stays as it is.
pub(crate) struct TrialDatabase {
    // The connection is closed first.
    connection: ObjectConnection,
    file: Arc<ObjectFile>,
}

impl TrialDatabase {
    /// # Errors
    /// When its pages cannot be read or are damaged.
    pub(crate) fn open(file: Arc<ObjectFile>, configure: &Configure) -> Result<TrialDatabase> {
        Ok(TrialDatabase { connection: open_connection(&file, configure)?, file })
    }
}

impl Database for TrialDatabase {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn allow_large_transactions(&self, allow: bool) {
        let bytes_max = if allow { MIGRATION_BYTES_MAX } else { TURN_BYTES_MAX };
        self.file.overlay().set_limit(bytes_max);
    }

    fn take_failure(&self) -> Option<Error> {
        self.file.take_failure()
    }

    fn is_stored(&self) -> bool {
        true
    }

    fn begin(&self) -> Result<()> {
        sqlite::run(&self.connection, "/*durable*/BEGIN")
    }

    fn commit(&mut self) -> Result<Receipt> {
        if let Err(error) = sqlite::run(&self.connection, "/*durable*/COMMIT") {
            self.rollback()?;
            return Err(self.file.take_failure().unwrap_or(error));
        }
        self.file.overlay().accept(EPOCH);
        Ok(Receipt::durable())
    }

    fn commit_provisional(&mut self) -> Result<()> {
        self.commit().map(drop)
    }

    fn delete(&mut self) -> Result<Receipt> {
        Err(Error::new(ErrorKind::Refused, "nothing is deleted in a trial"))
    }

    fn rollback(&mut self) -> Result<()> {
        let rolled_back = if self.connection.is_autocommit() {
            Ok(())
        } else {
            sqlite::run(&self.connection, "/*durable*/ROLLBACK")
        };
        self.file.overlay().discard();
        rolled_back
    }
}
