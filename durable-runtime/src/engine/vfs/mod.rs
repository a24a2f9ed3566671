//! SQLite's way to the pages of an object: a small VFS of our own.
//!
//! The guarantee: a connection that is opened here reads and writes the pages of its object, and nothing
//! else. It opens no other file, writes nothing to disk, takes no locks, and has the time of the clock that it was
//! given. Whatever fails or panics below it reaches SQLite as an error, and the object remembers why.
//!
//! This is the only module with `unsafe` code: SQLite is a library in C that calls back.

#![allow(unsafe_code, reason = "SQLite calls a VFS through C function pointers")]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod file;
mod object;
mod register;
mod tune;

use std::ffi::c_int;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use rusqlite::{Connection, MAIN_DB, OpenFlags, ffi};

pub(crate) use object::ObjectFile;
pub(crate) use register::{Clock, Vfs};
#[cfg(test)]
pub(crate) use tune::Tuned;
pub(crate) use tune::tune_process;

use super::overlay::{PAGE, Page, Template};
use super::{Configure, sqlite};
use crate::{Error, ErrorKind, Result};

/// What a connection is told before its first use. Pages wait in memory for their commit, and those of a
/// transaction that outgrows 16 MiB move on to the overlay, which bounds what one transaction can take. The
/// cache is small: what it misses is in the overlay or in the file cache of the operating system.
const PRAGMAS: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; \
     PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; \
     PRAGMA cache_size = -256; PRAGMA cache_spill = 4096;";

/// What SQLite keeps of the pages that it has read, at most: the `cache_size` above.
const CACHE_BYTES_MAX: usize = 256 * 1_024;

/// What an open connection takes besides that, with a small schema: measured, not asked for.
const CONNECTION_BYTES: usize = 42 * 1_024;

/// About how much memory the open connection of an object takes.
pub(crate) fn connection_bytes(database_pages: u32) -> usize {
    let pages = usize::try_from(database_pages).unwrap_or(usize::MAX);
    CONNECTION_BYTES + pages.saturating_mul(PAGE).min(CACHE_BYTES_MAX)
}

/// The name under which SQLite is asked for the file. It means nothing.
const FILE_NAME: &str = "object";

/// The database connection of one object.
///
/// It keeps its VFS alive, which SQLite must not outlive; so the connection cannot be moved out.
pub(crate) struct ObjectConnection {
    // Closed before the VFS goes: fields are dropped in their order.
    connection: Connection,
    _vfs: Arc<Vfs>,
}

impl Deref for ObjectConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for ObjectConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectConnection")
    }
}

/// Opens the database of an object. There must be no other connection to it.
///
/// # Errors
/// [`ErrorKind::Storage`] when its pages cannot be read or are damaged.
pub(crate) fn open_connection(
    object: &Arc<ObjectFile>,
    configure: &Configure,
) -> Result<ObjectConnection> {
    let vfs = Arc::clone(object.vfs());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = register::offering(object, || {
        Connection::open_with_flags_and_vfs(FILE_NAME, flags, vfs.name())
    });
    let prepared = opened.map_err(sqlite::error).and_then(|connection| {
        limit_lookaside(&connection);
        connection.execute_batch(PRAGMAS).map_err(sqlite::error)?;
        sqlite::prepare(connection, configure)
    });
    match prepared {
        Ok(connection) => Ok(ObjectConnection { connection, _vfs: vfs }),
        Err(error) => Err(object.take_failure().unwrap_or(error)),
    }
}

/// The memory that SQLite sets aside for each connection: instead of 120 KiB, enough for the cursors that a statement
/// takes and gives back each time it runs. Without any, an insert costs a sixth more instructions.
const LOOKASIDE: (c_int, c_int) = (640, 6);

fn limit_lookaside(connection: &Connection) {
    let (bytes, count) = LOOKASIDE;
    let own = std::ptr::null_mut::<std::ffi::c_void>();
    // SAFETY: the handle is of an open connection that nobody else uses, and the three arguments are those of
    // this verb; without a buffer SQLite takes its own. If it refuses it keeps what it had, which harms nobody.
    unsafe {
        let verb = ffi::SQLITE_DBCONFIG_LOOKASIDE;
        ffi::sqlite3_db_config(connection.handle(), verb, own, bytes, count);
    }
}

/// The pages on which a new object starts: an empty database, made once in a process.
///
/// # Errors
/// [`ErrorKind::Storage`] when SQLite cannot make one.
pub(crate) fn template() -> Result<Template> {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    if let Some(template) = TEMPLATE.get() {
        return Ok(Arc::clone(template));
    }
    let nothing: Configure = Arc::new(|_| Ok(()));
    let made = template_of(&mut sqlite::open_memory(&nothing)?)?;
    Ok(Arc::clone(TEMPLATE.get_or_init(|| made)))
}

/// The pages of a database that is laid out like those of objects.
fn template_of(connection: &mut Connection) -> Result<Template> {
    let bytes = connection.serialize(MAIN_DB).map_err(sqlite::error)?;
    let (pages, rest) = bytes.as_chunks::<PAGE>();
    let is_plain = pages.first().is_some_and(|first| first[18..20] == [1, 1]);
    if !is_plain || !rest.is_empty() {
        return Err(Error::new(
            ErrorKind::Storage,
            "SQLite made an empty database of another form",
        ));
    }
    Ok(pages.iter().map(|image| Page::new(*image)).collect())
}

/// Runs a callback of SQLite's. A panic must not unwind into C, so it becomes `code`.
fn guarded<R>(on_panic: R, callback: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // Dropping it could panic again.
        std::mem::forget(payload);
        on_panic
    })
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
