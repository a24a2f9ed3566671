//! The catalogue: under which key the objects of a class are stored, which objects there are ([`objects`]), and which of
//! them are to be woken ([`wakes`]).
//!
//! The guarantee: a class keeps the key it was first registered under, however often it is renamed, and
//! no two classes share one. What would break that is refused, and the catalogue left as it was.
//!
//! If the file is lost, keys are found again as the names of the objects' folders: no class loses its objects, as long as
//! its program still names what the class was called before (`renamed_from`).

mod objects;
mod pages;
mod wakes;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction};

pub(crate) use objects::{News, ObjectIndex, Row, Unlisted};

use super::directory::{io_error, private_file};
use super::{pagestore, sqlite};
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

/// The longest class name, in bytes: escaped, it is a folder's name.
const CLASS_BYTES_MAX: usize = 80;

/// The `user_version` of a catalogue whose list of objects has all of them.
pub(super) const COMPLETE: i64 = 1;

/// Knows the classes and the objects of a data directory.
pub(crate) struct Catalogue {
    state: Mutex<State>,
    /// Whether the list of objects has to be made anew.
    is_lost: bool,
}

struct State {
    connection: Connection,
    /// What this process registered: key to name.
    resolved: HashMap<Arc<str>, String>,
}

/// A stored class. `former` are its names before this one, the first of which is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) former: Vec<String>,
    /// Whether the program has it.
    pub(crate) is_registered: bool,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalogue")
    }
}

impl Catalogue {
    /// Opens the catalogue of a data directory.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the disk or the file fails.
    pub(crate) fn open(directory: &Path) -> Result<Catalogue> {
        let path = directory.join("catalogue.db");
        private_file().append(true).open(&path).map_err(|error| io_error("open", &path, &error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let keys = stored_keys(&directory.join("objects"))?;
        let open = || {
            let connection = Connection::open_with_flags(&path, flags)?;
            let is_lost = prepare(&connection, &keys)?;
            Ok((connection, is_lost))
        };
        let (connection, is_lost) = open().map_err(|error| failed(&path, error))?;
        let state = State { connection, resolved: HashMap::new() };
        Ok(Catalogue { state: Mutex::new(state), is_lost })
    }

    /// The key of a class, which is registered now if it is new and renamed if it is known by a
    /// former name. To be called once for each class of the program.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the names are ambiguous, or another class of this process has the key.
    pub(crate) fn resolve(&self, name: &str, former: &[&str]) -> Result<Arc<str>> {
        check_name(name)?;
        let mut state = self.state.lock();
        let State { connection, resolved } = &mut *state;
        let transaction = connection.transaction().map_err(sqlite::error)?;
        let classes = load(&transaction)?;
        let class = find(&classes, name, former)?.map_or_else(
            || insert(&transaction, &classes, name),
            |class| rename(&transaction, class, name),
        )?;
        let key = Arc::<str>::from(class.key);
        if let Some(other) = resolved.get(&key) {
            return Err(invalid(format!(
                "the classes `{other}` and `{name}` are both stored as `{key}`: \
                 a class has one name, and a name one class"
            )));
        }
        transaction.commit().map_err(sqlite::error)?;
        resolved.insert(Arc::clone(&key), name.to_owned());
        Ok(key)
    }
}

impl State {
    fn classes(&self) -> Result<Vec<Class>> {
        let is_registered = |class: &Class| self.resolved.contains_key(&*class.key);
        let classes = load(&self.connection)?.into_iter();
        Ok(classes.map(|class| Class { is_registered: is_registered(&class), ..class }).collect())
    }

    /// Forgets a class whose objects are all deleted.
    fn remove_class(&mut self, key: &str) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for table in ["objects", "wakes", "given_up"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE class = ?1"), [key])?;
        }
        transaction.execute("DELETE FROM classes WHERE key = ?1", [key])?;
        transaction.commit()
    }
}

/// The classes of a data directory that nobody uses, which is not changed: as the next start would find them, but for a
/// catalogue that a killed program has left in the middle of a write.
pub(super) fn classes_of(directory: &Path) -> Result<Vec<Class>> {
    let path = directory.join("catalogue.db");
    let mut classes = if path.exists() { read_classes(&path)? } else { Vec::new() };
    for key in stored_keys(&directory.join("objects"))? {
        if classes.iter().all(|class| class.key != key) {
            let name = key.clone();
            classes.push(Class { key, name, former: Vec::new(), is_registered: false });
        }
    }
    Ok(classes)
}

fn read_classes(path: &Path) -> Result<Vec<Class>> {
    let encode = |byte: &u8| match byte {
        b'/' | b'.' | b'_' | b'-' => char::from(*byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let encoded: String = path.as_os_str().as_encoded_bytes().iter().map(encode).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    // Not even a write that was not finished is undone.
    let connection = Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags);
    load(&connection.map_err(|error| failed(path, error))?)
        .map_err(|error| error.context(path.display()))
}

/// Makes what is missing; says whether objects that are stored may have no row.
fn prepare(connection: &Connection, keys: &[String]) -> rusqlite::Result<bool> {
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; \
         CREATE TABLE IF NOT EXISTS classes \
         (key TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, former TEXT NOT NULL) STRICT;",
    )?;
    connection.execute_batch(objects::SCHEMA)?;
    objects::add_columns(connection)?;
    connection.execute_batch(wakes::SCHEMA)?;
    for key in keys {
        let insert = "INSERT OR IGNORE INTO classes (key, name, former) VALUES (?1, ?1, '')";
        if connection.execute(insert, [key])? > 0 {
            note!(warn, class = key, "the catalogue did not know a class that has objects");
        }
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let sql = "SELECT EXISTS (SELECT 1 FROM objects)";
    let has_rows: bool = connection.query_row(sql, [], |row| row.get(0))?;
    let is_emptied = !has_rows && !keys.is_empty();
    if is_emptied {
        // Making it anew may be interrupted.
        connection.execute_batch("PRAGMA user_version = 0")?;
    }
    Ok(is_emptied || version != COMPLETE)
}

/// The keys of the classes that have objects, which are the names of their folders. Of a class that was deleted the folders may
/// be left, and no file in them.
fn stored_keys(objects: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(objects) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", objects, &error)),
    };
    let key = |entry: std::fs::DirEntry| {
        let is_folder =
            entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_files(&entry.path());
        entry.file_name().to_str().filter(|_| is_folder).and_then(pagestore::unescape)
    };
    let keys = entries.map(|entry| entry.map(key)).collect::<std::io::Result<Vec<_>>>();
    Ok(keys.map_err(|error| io_error("list", objects, &error))?.into_iter().flatten().collect())
}

/// Whether there is anything in one of the folders of a class; one that cannot be read may have something.
fn has_files(class: &Path) -> bool {
    let Ok(mut shards) = std::fs::read_dir(class) else { return true };
    shards.any(|shard| {
        let files = shard.and_then(|shard| std::fs::read_dir(shard.path()));
        files.map_or(true, |mut files| files.next().is_some())
    })
}

/// A catalogue that is damaged is no loss.
fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) {
        return Error::new(
            ErrorKind::Storage,
            format!(
                "the catalogue {} is damaged: {error}; move it away, and the next start makes it anew from the \
                 objects' files",
                path.display()
            ),
        );
    }
    sqlite::error(error).context(path.display())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > CLASS_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(invalid(format!(
            "a class name has 1 to {CLASS_BYTES_MAX} bytes without control characters, not {name:?}"
        )));
    }
    Ok(())
}

/// The stored class of that name, or else the one that ever had a former name.
pub(super) fn find<'a>(
    classes: &'a [Class],
    name: &str,
    former: &[&str],
) -> Result<Option<&'a Class>> {
    let current = classes.iter().find(|class| class.name == name);
    let renamed = former.iter().find_map(|former| {
        let by_name = classes.iter().find(|class| class.name == *former);
        by_name
            .or_else(|| classes.iter().find(|class| class.former.iter().any(|old| old == former)))
    });
    match (current, renamed) {
        (Some(current), Some(renamed)) if current != renamed => Err(invalid(format!(
            "there are stored objects of class `{name}` and of its former name `{}`: \
             they cannot become one class; take the former name away, or choose another new name",
            renamed.name
        ))),
        (current, renamed) => Ok(current.or(renamed)),
    }
}

/// Refuses a new class of the name that another one had first: an older program, or a name that is taken.
///
/// # Errors
/// [`ErrorKind::Invalid`], with the ways out.
pub(super) fn check_is_free(classes: &[Class], name: &str) -> Result<()> {
    let Some(other) = classes.iter().find(|class| class.key == name) else { return Ok(()) };
    let other = &other.name;
    Err(invalid(format!(
        "class `{other}` was first called `{name}` and its objects are stored under that name: \
         choose another name for a new class; to go back to the old name, say `renamed_from = \"{other}\"`"
    )))
}

fn insert(transaction: &Transaction<'_>, classes: &[Class], name: &str) -> Result<Class> {
    check_is_free(classes, name)?;
    transaction
        .execute("INSERT INTO classes (key, name, former) VALUES (?1, ?1, '')", [name])
        .map_err(sqlite::error)?;
    Ok(Class {
        key: name.to_owned(),
        name: name.to_owned(),
        former: Vec::new(),
        is_registered: false,
    })
}

fn rename(transaction: &Transaction<'_>, class: &Class, name: &str) -> Result<Class> {
    let mut class = class.clone();
    if class.name == name {
        return Ok(class);
    }
    let old = std::mem::replace(&mut class.name, name.to_owned());
    class.former.push(old);
    transaction
        .execute(
            "UPDATE classes SET name = ?2, former = ?3 WHERE key = ?1",
            [&class.key, &class.name, &class.former.join("\n")],
        )
        .map_err(sqlite::error)?;
    Ok(class)
}

fn load(transaction: &Connection) -> Result<Vec<Class>> {
    let read = || -> rusqlite::Result<_> {
        let mut statement =
            transaction.prepare("SELECT key, name, former FROM classes ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            let former: String = row.get(2)?;
            let former = former.lines().map(str::to_owned).collect();
            Ok(Class { key: row.get(0)?, name: row.get(1)?, former, is_registered: false })
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(sqlite::error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each call is one start of a program that registers these classes.
    fn start(data: &Path, classes: &[(&str, &[&str])]) -> Result<Vec<String>> {
        let catalogue = Catalogue::open(data)?;
        let keys = classes.iter().map(|(name, former)| catalogue.resolve(name, former));
        keys.map(|key| key.map(|key| key.to_string())).collect()
    }

    #[test]
    fn a_class_keeps_its_first_name_as_key() {
        let data = tempfile::tempdir().unwrap();
        let start = |classes: &[(&str, &[&str])]| start(data.path(), classes);
        assert_eq!(start(&[("Hits", &[])]).unwrap(), ["Hits"]);
        assert_eq!(start(&[("Counter", &["Hits"]), ("Room", &[])]).unwrap(), ["Hits", "Room"]);
        assert_eq!(start(&[("Counter", &["Hits"])]).unwrap(), ["Hits"]);
        assert_eq!(start(&[("Tally", &["Counter"])]).unwrap(), ["Hits"]);
        // A name that was skipped in between is still known.
        assert_eq!(start(&[("Sum", &["Hits"])]).unwrap(), ["Hits"]);
        assert_eq!(start(&[("Sum", &[])]).unwrap(), ["Hits"]);
    }

    #[test]
    fn two_classes_never_share_a_key() {
        let data = tempfile::tempdir().unwrap();
        let start = |classes: &[(&str, &[&str])]| start(data.path(), classes);
        start(&[("Hits", &[])]).unwrap();
        for classes in [
            &[("Hits", &[][..]), ("Hits", &[][..])],
            &[("Hits", &[]), ("Counter", &["Hits"])],
            &[("Counter", &["Hits"]), ("Hits", &[])],
        ] {
            let error = start(classes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        let error = start(&[("Hits", &[])]).unwrap_err();
        assert!(error.message().contains("class `Counter` was first called `Hits`"), "{error}");
    }

    #[test]
    fn a_name_and_a_former_name_with_objects_of_their_own() {
        let data = tempfile::tempdir().unwrap();
        start(data.path(), &[("Hits", &[]), ("Counter", &[])]).unwrap();
        let error = start(data.path(), &[("Counter", &["Hits"])]).unwrap_err();
        assert!(error.message().contains("its former name `Hits`"), "{error}");
    }

    #[test]
    fn names_that_cannot_be_stored() {
        let data = tempfile::tempdir().unwrap();
        for name in ["", "two\nlines", &"x".repeat(81)] {
            assert_eq!(start(data.path(), &[(name, &[])]).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
