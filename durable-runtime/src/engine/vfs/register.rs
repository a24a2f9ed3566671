//! The VFS itself, as SQLite lists it: how files are opened, and the clock.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::ffi;

use super::object::ObjectFile;
use super::{file, guarded};
use crate::{Error, ErrorKind, Result};

/// What time it is. SQLite asks once for each statement that wants to know.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The Julian day of 1970-01-01 in milliseconds, as SQLite counts them.
const UNIX_EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;
const DAY_MS: f64 = 86_400_000.0;
const PATH_BYTES_MAX: c_int = 64;

/// A VFS with a clock of its own. A callback that asks for the time is told the VFS and not the
/// connection, so there is one for each clock, which is one for each runtime.
pub(crate) struct Vfs {
    raw: NonNull<ffi::sqlite3_vfs>,
    /// The raw VFS points to it.
    shared: Box<Shared>,
}

struct Shared {
    name: CString,
    clock: Clock,
}

// SAFETY: the raw VFS is never written by us after it was made, SQLite guards its own use of it with a
// mutex, and what it points to is `Sync`.
unsafe impl Send for Vfs {}
// SAFETY: as above.
unsafe impl Sync for Vfs {}

impl fmt::Debug for Vfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vfs({:?})", self.shared.name)
    }
}

impl Vfs {
    /// Registers a VFS. It stays until the last object and connection that uses it is gone. This
    /// initialises SQLite, so the process must have been tuned before.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when SQLite has no memory.
    pub(crate) fn register(clock: Clock) -> Result<Arc<Vfs>> {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let name = format!("durable-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).map_err(|error| Error::new(ErrorKind::Storage, error))?;
        let shared = Box::new(Shared { name, clock });
        let raw = NonNull::from(Box::leak(Box::new(raw_vfs(&shared))));
        // From here on dropping it frees what `raw` points to.
        let vfs = Vfs { raw, shared };
        // SAFETY: `raw` and all that it points to live until `drop` has unregistered it.
        let code = unsafe { ffi::sqlite3_vfs_register(raw.as_ptr(), 0) };
        if code != ffi::SQLITE_OK {
            return Err(Error::new(ErrorKind::Storage, format!("SQLite takes no VFS: {code}")));
        }
        Ok(Arc::new(vfs))
    }

    pub(super) fn name(&self) -> &CStr {
        &self.shared.name
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: every connection keeps its VFS alive until it is closed, so nobody uses this one. After it
        // was unregistered nobody can find it. It came out of a box in `register` and is freed once. One that
        // was never registered is unregistered without effect.
        unsafe {
            ffi::sqlite3_vfs_unregister(self.raw.as_ptr());
            drop(Box::from_raw(self.raw.as_ptr()));
        }
    }
}

fn raw_vfs(shared: &Shared) -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: file::SIZE,
        mxPathname: PATH_BYTES_MAX,
        pNext: ptr::null_mut(),
        zName: shared.name.as_ptr(),
        pAppData: ptr::from_ref(shared).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: Some(load),
        xDlError: Some(load_error),
        xDlSym: Some(symbol),
        xDlClose: Some(unload),
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_ms),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

thread_local! {
    /// The object that this thread is opening a connection to.
    static OFFERED: RefCell<Option<Arc<ObjectFile>>> = const { RefCell::new(None) };
}

/// Runs `open`, in which SQLite may open this object, once, and nothing else.
pub(super) fn offering<R>(object: &Arc<ObjectFile>, open: impl FnOnce() -> R) -> R {
    struct Withdraw;
    impl Drop for Withdraw {
        fn drop(&mut self) {
            OFFERED.take();
        }
    }
    OFFERED.replace(Some(Arc::clone(object)));
    let _withdraw = Withdraw;
    open()
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    _name: ffi::sqlite3_filename,
    target: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes, aligned for any type. Without methods it does not close the file,
    // which is right until it is open.
    unsafe { (*target).pMethods = ptr::null() };
    guarded(ffi::SQLITE_CANTOPEN, || {
        if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
            return ffi::SQLITE_CANTOPEN;
        }
        let Some(object) = OFFERED.take() else {
            return ffi::SQLITE_CANTOPEN;
        };
        if !object.connect() {
            let text = "the object's database is open already";
            object.remember(|| Error::new(ErrorKind::Storage, text));
            return ffi::SQLITE_CANTOPEN;
        }
        // SAFETY: `target` is as above, and this is the one `xOpen` of this file.
        unsafe { file::install(target, object) };
        if !flags_out.is_null() {
            // SAFETY: SQLite passes null or a place for the flags.
            unsafe { *flags_out = flags };
        }
        ffi::SQLITE_OK
    })
}

/// There are no other files.
unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    ffi::SQLITE_IOERR_DELETE_NOENT
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    _: *const c_char,
    _: c_int,
    found: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *found = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    full: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a C string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(size).is_ok_and(|size| name.len() <= size) {
        // SAFETY: `full` has room for `size` bytes, which are enough, and is not part of the name.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), full, name.len()) };
        return ffi::SQLITE_OK;
    }
    ffi::SQLITE_CANTOPEN
}

/// Extensions are never loaded.
unsafe extern "C" fn load(_: *mut ffi::sqlite3_vfs, _: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn load_error(_: *mut ffi::sqlite3_vfs, size: c_int, text: *mut c_char) {
    if size > 0 {
        // SAFETY: there is room for `size` bytes, which is one at least.
        unsafe { *text = 0 };
    }
}

type Symbol = unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *mut c_void, *const c_char);

unsafe extern "C" fn symbol(
    _: *mut ffi::sqlite3_vfs,
    _: *mut c_void,
    _: *const c_char,
) -> Option<Symbol> {
    None
}

unsafe extern "C" fn unload(_: *mut ffi::sqlite3_vfs, _: *mut c_void) {}

unsafe extern "C" fn randomness(
    _: *mut ffi::sqlite3_vfs,
    size: c_int,
    bytes: *mut c_char,
) -> c_int {
    let Ok(len) = usize::try_from(size) else {
        return 0;
    };
    // SAFETY: SQLite passes room for `size` bytes, which are written before anybody reads them.
    let room = unsafe {
        ptr::write_bytes(bytes, 0, len);
        std::slice::from_raw_parts_mut(bytes.cast::<u8>(), len)
    };
    guarded(0, || getrandom::fill(room).map_or(0, |()| size))
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    guarded(0, || {
        thread::sleep(Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)));
        microseconds
    })
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn current_time_ms(vfs: *mut ffi::sqlite3_vfs, time: *mut i64) -> c_int {
    guarded(ffi::SQLITE_ERROR, || {
        // SAFETY: `vfs` is one of ours, whose data is a `Shared` that lives as long.
        let shared = unsafe { &*(*vfs).pAppData.cast::<Shared>() };
        let now = julian_ms((shared.clock)());
        // SAFETY: SQLite passes a place for the time.
        unsafe { *time = now };
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, time: *mut f64) -> c_int {
    let mut now = 0;
    // SAFETY: the VFS is passed on as it came.
    let code = unsafe { current_time_ms(vfs, &raw mut now) };
    #[expect(clippy::cast_precision_loss, reason = "SQLite asks for a float; it has 1 ms to spare")]
    // SAFETY: SQLite passes a place for the time.
    unsafe {
        *time = now as f64 / DAY_MS;
    }
    code
}

fn julian_ms(time: SystemTime) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let since = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    };
    UNIX_EPOCH_JULIAN_MS.saturating_add(since)
}
