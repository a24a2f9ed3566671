//! What is set for the whole process, the host's own connections included.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

/// Whether SQLite took the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tuned {
    /// All of them: SQLite counts no memory, for which every thread would wait at one mutex, and sets no 90 KiB
    /// of pages aside for each connection.
    Done,
    /// None: somebody used SQLite before, so it keeps its settings. Connections take more memory, and
    /// threads wait for each other.
    TooLate,
    /// SQLite was not built to be set so.
    Refused,
}

/// Tunes SQLite for many small databases. To be called before the first connection of the process and the first
/// [`Vfs`](super::Vfs), by a program whose other threads do not use SQLite at that moment. Only the first call does
/// anything; all give its outcome.
pub(crate) fn tune_process() -> Tuned {
    static TUNED: OnceLock<Tuned> = OnceLock::new();
    *TUNED.get_or_init(|| {
        let off: c_int = 0;
        let no_memory = ptr::null_mut::<c_void>();
        // SAFETY: each call has the arguments of its verb. SQLite refuses both once it is initialised; before
        // that no other thread may be in it, which is the caller's promise.
        let codes = unsafe {
            [
                ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, off),
                ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, no_memory, off, off),
            ]
        };
        match codes {
            [ffi::SQLITE_OK, ffi::SQLITE_OK] => Tuned::Done,
            codes if codes.contains(&ffi::SQLITE_MISUSE) => Tuned::TooLate,
            _ => Tuned::Refused,
        }
    })
}
