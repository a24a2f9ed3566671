//! The one kind of file, and what SQLite does with it.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use rusqlite::ffi;

use super::guarded;
use super::object::{Failed, ObjectFile, Read};
use crate::engine::overlay::PAGE;
use crate::{Error, ErrorKind};

/// What SQLite keeps for an open file. It begins with SQLite's own part.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// An `Arc` that this file owns.
    object: *const ObjectFile,
}

/// How many bytes SQLite sets aside for a file.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "two pointers")]
pub(super) const SIZE: c_int = size_of::<File>() as c_int;

/// Version 1: no shared memory, so no write-ahead log, and no memory maps.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Makes `target` an open file of this object.
///
/// # Safety
/// `target` has room for [`SIZE`] bytes, is aligned for pointers, and is not an open file.
pub(super) unsafe fn install(target: *mut ffi::sqlite3_file, object: Arc<ObjectFile>) {
    let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
    // SAFETY: the caller gives the room. What was there has no destructor.
    unsafe { ptr::write(target.cast(), File { base, object: Arc::into_raw(object) }) };
}

/// Runs a callback on the object of a file.
///
/// # Safety
/// `file` is one that [`install`] has made and `close` has not seen.
unsafe fn on_object(
    file: *mut ffi::sqlite3_file,
    on_panic: c_int,
    callback: impl FnOnce(&ObjectFile) -> c_int,
) -> c_int {
    // SAFETY: so the file is a `File`, whose object lives until `close`.
    let object = unsafe { &*(*file.cast::<File>()).object };
    let mut panicked = true;
    let code = guarded(on_panic, || {
        let code = callback(object);
        panicked = false;
        code
    });
    if panicked {
        let text = "the object's storage panicked; the panic's own message tells where";
        object.remember(|| Error::new(ErrorKind::Storage, text));
    }
    code
}

fn code(failed: Failed) -> c_int {
    match failed {
        Failed::Read => ffi::SQLITE_IOERR_READ,
        Failed::Write => ffi::SQLITE_IOERR_WRITE,
        Failed::Damaged => ffi::SQLITE_CORRUPT,
        Failed::TooLarge => ffi::SQLITE_FULL,
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    guarded(ffi::SQLITE_IOERR_CLOSE, || {
        // SAFETY: SQLite closes an open file once, and this one is ours; so the `Arc` is given up once.
        let object = unsafe {
            (*file).pMethods = ptr::null();
            Arc::from_raw((*file.cast::<File>()).object)
        };
        object.disconnect();
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(size), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: SQLite passes room for `size` bytes. They are written before they are read as bytes: its
    // buffers may be fresh from malloc.
    let buffer = unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, len);
        slice::from_raw_parts_mut(buffer.cast::<u8>(), len)
    };
    let read = |object: &ObjectFile| match object.read(buffer, offset) {
        Ok(Read::Full) => ffi::SQLITE_OK,
        Ok(Read::Short) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(failed) => code(failed),
    };
    // SAFETY: SQLite calls this for an open file of ours.
    unsafe { on_object(file, ffi::SQLITE_IOERR_READ, read) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(size), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite passes `size` bytes, which nobody changes during the call.
    let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), len) };
    let write = |object: &ObjectFile| object.write(bytes, offset).map_or_else(code, |()| 0);
    // SAFETY: SQLite calls this for an open file of ours.
    unsafe { on_object(file, ffi::SQLITE_IOERR_WRITE, write) }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let Ok(size) = u64::try_from(size) else {
        return ffi::SQLITE_IOERR_TRUNCATE;
    };
    let truncate = |object: &ObjectFile| object.truncate(size).map_or_else(code, |()| 0);
    // SAFETY: SQLite calls this for an open file of ours.
    unsafe { on_object(file, ffi::SQLITE_IOERR_TRUNCATE, truncate) }
}

/// Durable is what the journal has, not what SQLite asks for.
unsafe extern "C" fn sync(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    let measure = |object: &ObjectFile| {
        let Ok(len) = i64::try_from(object.len()) else {
            return ffi::SQLITE_IOERR_FSTAT;
        };
        // SAFETY: SQLite passes a place for the size.
        unsafe { *size = len };
        ffi::SQLITE_OK
    };
    // SAFETY: SQLite calls this for an open file of ours.
    unsafe { on_object(file, ffi::SQLITE_IOERR_FSTAT, measure) }
}

/// There is one connection, so a lock is always free.
unsafe extern "C" fn lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved(_: *mut ffi::sqlite3_file, reserved: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *reserved = 0 };
    ffi::SQLITE_OK
}

/// Hints that need nothing are taken, and all else is left to SQLite, pragmas too.
unsafe extern "C" fn control(_: *mut ffi::sqlite3_file, operation: c_int, _: *mut c_void) -> c_int {
    match operation {
        ffi::SQLITE_FCNTL_SIZE_HINT
        | ffi::SQLITE_FCNTL_CHUNK_SIZE
        | ffi::SQLITE_FCNTL_SYNC
        | ffi::SQLITE_FCNTL_OVERWRITE
        | ffi::SQLITE_FCNTL_COMMIT_PHASETWO => ffi::SQLITE_OK,
        _ => ffi::SQLITE_NOTFOUND,
    }
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    c_int::try_from(PAGE).unwrap_or(0)
}

/// A page is written whole or not at all, touches no other, and one behind the end appears with its bytes.
/// Reads of a part of a page are welcome.
unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_ATOMIC4K
        | ffi::SQLITE_IOCAP_SAFE_APPEND
        | ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
        | ffi::SQLITE_IOCAP_SUBPAGE_READ
}
