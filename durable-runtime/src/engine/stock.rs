//! The engine on stock SQLite: one file in WAL mode for each object.
//!
//! The guarantee: a commit that returned is on disk. The first commit of an object creates its file
//! whole, under its name, or not at all. Reading an object that does not exist creates nothing.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, MAIN_DB};

use super::directory::{self, io_error};
use super::{Configure, Database, Engine, ObjectKey, Receipt, sqlite};
use crate::{Error, ErrorKind, Result};

/// Bytes 18 and 19 of a database's header say by which journal it may be read and written.
const HEADER_VERSIONS: std::ops::Range<usize> = 18..20;
const HEADER_WAL: [u8; 2] = [2, 2];

/// Keeps each object in a file of its own.
#[derive(Debug)]
pub(crate) struct StockEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: PathBuf,
    /// Folders whose own entries are known to be on disk. The lock is held while one is made, so that no
    /// other object's commit returns before the folder it stands in is durable.
    durable_folders: Mutex<HashSet<PathBuf>>,
}

impl StockEngine {
    /// An engine on the `objects` folder of a data directory.
    pub(crate) fn new(data: &Path) -> Self {
        let objects = data.join("objects");
        StockEngine { shared: Arc::new(Shared { objects, durable_folders: Mutex::default() }) }
    }

    fn path(&self, object: &ObjectKey) -> PathBuf {
        let id = object.id.to_string();
        // Not the first byte, which is the jurisdiction and the same for most.
        let shard = &id[2..4];
        self.shared.objects.join(escape(&object.class)).join(shard).join(format!("{id}.db"))
    }
}

impl Engine for StockEngine {
    /// The database and its write-ahead log.
    fn files_per_object(&self) -> usize {
        2
    }

    fn open(&self, object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        let path = self.path(object);
        let stored = self.exists(object)?;
        let connection = if stored {
            sqlite::open_file(&path, &configure)?
        } else {
            sqlite::open_memory(&configure)?
        };
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(StockDatabase { shared, path, configure, connection, stored, usable: true }))
    }

    fn exists(&self, object: &ObjectKey) -> Result<bool> {
        let path = self.path(object);
        path.try_exists().map_err(|error| io_error("look for", &path, &error))
    }
}

/// A class key as a folder name, also on file systems that ignore case: a capital letter is `+` and the
/// small one, and every byte but `a-z 0-9 _ -` is `%` and two hex digits.
fn escape(class: &str) -> String {
    class.bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'A'..=b'Z' => name.extend(['+', char::from(byte.to_ascii_lowercase())]),
            _ => name.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
        name
    })
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('?')
}

struct StockDatabase {
    shared: Arc<Shared>,
    path: PathBuf,
    configure: Configure,
    connection: Connection,
    stored: bool,
    usable: bool,
}

impl fmt::Debug for StockDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StockDatabase").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Database for StockDatabase {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn is_stored(&self) -> bool {
        self.stored
    }

    fn begin(&self) -> Result<()> {
        self.check()?;
        sqlite::run(&self.connection, "/*durable*/BEGIN")
    }

    fn commit(&mut self) -> Result<Receipt> {
        self.commit_connection()?;
        if !self.stored {
            self.create().inspect_err(|_| self.usable = false)?;
            self.stored = true;
            self.reopen();
        }
        Ok(Receipt::durable())
    }

    fn commit_provisional(&mut self) -> Result<()> {
        if self.stored {
            return Err(Error::new(
                ErrorKind::Storage,
                "a provisional commit is only for an object that was never stored",
            ));
        }
        self.commit_connection()
    }

    fn rollback(&mut self) -> Result<()> {
        self.check()?;
        if self.connection.is_autocommit() {
            return Ok(());
        }
        let rolled_back = sqlite::run(&self.connection, "/*durable*/ROLLBACK");
        rolled_back.inspect_err(|_| self.usable = false)
    }
}

impl StockDatabase {
    fn check(&self) -> Result<()> {
        if self.usable {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Storage, "the object's database failed and must be opened anew"))
    }

    fn commit_connection(&mut self) -> Result<()> {
        self.check()?;
        let Err(error) = sqlite::run(&self.connection, "/*durable*/COMMIT") else {
            return Ok(());
        };
        let rolled_back = self.rollback();
        // A constraint is checked before anything is written; after any other error nobody knows what
        // the files hold.
        if error.kind() != ErrorKind::Constraint || rolled_back.is_err() {
            self.usable = false;
        }
        Err(error)
    }

    /// Writes what is in memory to a file that gets its name only when it is complete and on disk.
    fn create(&mut self) -> Result<()> {
        let parent = self.path.parent().unwrap_or(&self.shared.objects);
        self.shared.make_folder(parent)?;
        let temporary = self.path.with_extension("tmp");
        let mut image = self.connection.serialize(MAIN_DB).map_err(sqlite::error)?.to_vec();
        image
            .get_mut(HEADER_VERSIONS)
            .ok_or_else(|| Error::new(ErrorKind::Storage, "the object's database is empty"))?
            .copy_from_slice(&HEADER_WAL);
        let written = write_synced(&temporary, &image)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| directory::sync(parent));
        written.map_err(|error| {
            // Best effort: neither may be found later, since this commit is reported as failed.
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_file(&self.path);
            io_error("create", &self.path, &error)
        })
    }

    /// From memory to the file. The commit is durable already, so a failure here only ends this database.
    fn reopen(&mut self) {
        match sqlite::open_file(&self.path, &self.configure) {
            Ok(connection) => self.connection = connection,
            Err(_) => self.usable = false,
        }
    }
}

impl Shared {
    fn make_folder(&self, folder: &Path) -> Result<()> {
        self.make_folder_in(&mut self.durable_folders.lock(), folder)
            .map_err(|error| io_error("create", folder, &error))
    }

    fn make_folder_in(&self, durable: &mut HashSet<PathBuf>, folder: &Path) -> io::Result<()> {
        if durable.contains(folder) {
            return Ok(());
        }
        if folder != self.objects {
            self.make_folder_in(durable, folder.parent().unwrap_or(&self.objects))?;
        }
        directory::make_private(folder)?;
        if let Some(parent) = folder.parent() {
            directory::sync(parent)?;
        }
        durable.insert(folder.to_owned());
        Ok(())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = directory::private_file().write(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RawId;

    fn engine(data: &Path) -> (StockEngine, ObjectKey) {
        let key =
            ObjectKey { class: "ChatRoom".into(), id: RawId::from_name("ChatRoom", None, "lobby") };
        (StockEngine::new(data), key)
    }

    fn open(engine: &StockEngine, key: &ObjectKey) -> Box<dyn Database> {
        engine.open(key, Arc::new(|_| Ok(()))).unwrap()
    }

    fn transaction(database: &mut Box<dyn Database>, sql: &str) -> Result<Receipt> {
        database.begin()?;
        database.connection().execute_batch(sql).unwrap();
        database.commit()
    }

    fn count(database: &dyn Database) -> i64 {
        database.connection().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn folder_names() {
        assert_eq!(escape("ChatRoom"), "+chat+room");
        assert_eq!(escape("a_b-9"), "a_b-9");
        assert_eq!(escape("../ü"), "%2e%2e%2f%c3%bc");
    }

    #[test]
    fn a_commit_is_found_again_and_what_is_read_is_not_created() {
        let data = tempfile::tempdir().unwrap();
        let (engine, key) = engine(data.path());
        let mut database = open(&engine, &key);
        database.begin().unwrap();
        database.rollback().unwrap();
        assert!(!engine.exists(&key).unwrap());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);

        assert!(transaction(&mut database, "CREATE TABLE t (x)").unwrap().is_durable());
        assert!(database.is_stored() && engine.exists(&key).unwrap());
        let _ = transaction(&mut database, "INSERT INTO t VALUES (1)").unwrap();
        drop(database);
        let database = open(&engine, &key);
        assert_eq!(count(&*database), 1);
        let mode: String =
            database.connection().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let vacuum: i64 =
            database.connection().query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2);
    }

    #[test]
    fn where_the_file_is() {
        let (engine, key) = engine(Path::new("/data"));
        let id = key.id.to_string();
        let expected = format!("/data/objects/+chat+room/{}/{id}.db", &id[2..4]);
        assert_eq!(engine.path(&key), PathBuf::from(expected));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        let (engine, key) = engine(data.path());
        let _ = transaction(&mut open(&engine, &key), "CREATE TABLE t (x)").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = engine.path(&key);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn provisional_commits_are_stored_with_the_first_real_one() {
        let data = tempfile::tempdir().unwrap();
        let (engine, key) = engine(data.path());
        let mut database = open(&engine, &key);
        database.begin().unwrap();
        database.connection().execute_batch("CREATE TABLE t (x)").unwrap();
        database.commit_provisional().unwrap();
        assert!(!engine.exists(&key).unwrap());
        let _ = transaction(&mut database, "INSERT INTO t VALUES (1)").unwrap();
        database.begin().unwrap();
        assert!(database.commit_provisional().is_err());
        drop(database);
        assert_eq!(count(&*open(&engine, &key)), 1);
    }

    #[test]
    fn a_creation_that_fails_leaves_nothing_and_ends_the_database() {
        let data = tempfile::tempdir().unwrap();
        let (engine, key) = engine(data.path());
        let mut database = open(&engine, &key);
        fs::write(data.path().join("objects"), "in the way").unwrap();
        let error = transaction(&mut database, "CREATE TABLE t (x)").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(!database.is_stored());
        assert_eq!(database.begin().unwrap_err().kind(), ErrorKind::Storage);
        assert!(database.rollback().is_err());
    }

    #[test]
    fn a_deferred_constraint_rolls_back_and_the_database_goes_on() {
        let data = tempfile::tempdir().unwrap();
        let (engine, key) = engine(data.path());
        let mut database = open(&engine, &key);
        let schema = "CREATE TABLE p (id INTEGER PRIMARY KEY); \
                      CREATE TABLE t (p REFERENCES p DEFERRABLE INITIALLY DEFERRED);";
        let _ = transaction(&mut database, schema).unwrap();
        let error = transaction(&mut database, "INSERT INTO t VALUES (7)").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Constraint);
        let _ = transaction(&mut database, "INSERT INTO p VALUES (7); INSERT INTO t VALUES (7)")
            .unwrap();
        assert_eq!(count(&*database), 1);
    }
}
