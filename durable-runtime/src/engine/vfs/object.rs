//! The object behind a connection: its overlay, its store, and why it last failed.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::register::Vfs;
use crate::engine::overlay::{Found, Image, Overlay, PAGE, Template, TooLarge};
use crate::engine::pagestore::PageStore;
use crate::{Error, ErrorKind, Result};

/// The database file that SQLite believes in.
pub(crate) struct ObjectFile {
    vfs: Arc<Vfs>,
    store: Arc<dyn PageStore>,
    overlay: Mutex<Overlay>,
    failure: Mutex<Option<Error>>,
    connected: AtomicBool,
}

/// What SQLite is told when a callback fails; the object remembers the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Read,
    Write,
    Damaged,
    TooLarge,
}

/// How much of a read there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Full,
    /// The database ends before the end of the buffer, which holds zeros there.
    Short,
}

impl fmt::Debug for ObjectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectFile").field("store", &self.store).finish_non_exhaustive()
    }
}

impl ObjectFile {
    /// An object as its store has it, or a new one if the store is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store fails.
    pub(crate) fn open(
        vfs: &Arc<Vfs>,
        store: Arc<dyn PageStore>,
        template: &Template,
    ) -> Result<ObjectFile> {
        let overlay = match store.size() {
            Ok(0) => Overlay::new(Arc::clone(template)),
            Ok(size) => Overlay::of_file(size),
            Err(error) => return Err(storage(&error)),
        };
        Ok(ObjectFile::with_overlay(vfs, store, overlay))
    }

    /// An object of which some pages are newer than its store.
    pub(crate) fn with_overlay(
        vfs: &Arc<Vfs>,
        store: Arc<dyn PageStore>,
        overlay: Overlay,
    ) -> ObjectFile {
        ObjectFile {
            vfs: Arc::clone(vfs),
            store,
            overlay: Mutex::new(overlay),
            failure: Mutex::default(),
            connected: AtomicBool::new(false),
        }
    }

    /// The pages in memory. Not to be held while anything waits.
    pub(crate) fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock()
    }

    /// Where the other pages are.
    pub(crate) fn store(&self) -> &Arc<dyn PageStore> {
        &self.store
    }

    pub(super) fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// Why a callback failed first since this was last asked. SQLite's own error says only that one did.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().take()
    }

    pub(super) fn remember(&self, error: impl FnOnce() -> Error) {
        self.failure.lock().get_or_insert_with(error);
    }

    /// Whether this is the only connection, which is remembered until `disconnect`.
    pub(super) fn connect(&self) -> bool {
        !self.connected.swap(true, Ordering::AcqRel)
    }

    pub(super) fn disconnect(&self) {
        self.connected.store(false, Ordering::Release);
    }

    /// Fills a buffer from an offset on, which need not be that of a page.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<Read, Failed> {
        let mut outcome = Read::Full;
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = usize::try_from(offset % PAGE as u64).unwrap_or(0);
            let (part, later) = rest.split_at_mut(rest.len().min(PAGE - within));
            let number = page_number(offset).ok_or(Failed::Read)?;
            if self.read_part(part, number, within)? == Read::Short {
                outcome = Read::Short;
            }
            offset += part.len() as u64;
            rest = later;
        }
        Ok(outcome)
    }

    fn read_part(&self, part: &mut [u8], number: u32, within: usize) -> Result<Read, Failed> {
        match self.overlay.lock().find(number) {
            Found::Here(image) => {
                part.copy_from_slice(&image[within..within + part.len()]);
                return Ok(Read::Full);
            }
            Found::Beyond => {
                part.fill(0);
                return Ok(Read::Short);
            }
            // The lock is let go before the disk is asked: a page that write-back takes out of the overlay
            // meanwhile is in the file by then.
            Found::File => {}
        }
        if let Ok(image) = <&mut Image>::try_from(&mut *part) {
            self.read_stored(number, image)?;
        } else {
            let mut image = [0; PAGE];
            self.read_stored(number, &mut image)?;
            part.copy_from_slice(&image[within..within + part.len()]);
        }
        Ok(Read::Full)
    }

    fn read_stored(&self, number: u32, image: &mut Image) -> Result<(), Failed> {
        self.store.read(number, image).map_err(|error| {
            self.remember(|| storage(&error));
            match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData
                | io::ErrorKind::NotFound => Failed::Damaged,
                _ => Failed::Read,
            }
        })
    }

    /// Writes a page. SQLite writes whole ones only.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Failed> {
        let number = page_number(offset).filter(|_| offset.is_multiple_of(PAGE as u64));
        let (Some(number), Ok(image)) = (number, <&Image>::try_from(bytes)) else {
            self.remember(|| {
                let text = format!("a write of {} bytes that are not a page", bytes.len());
                Error::new(ErrorKind::Storage, text)
            });
            return Err(Failed::Write);
        };
        let written = self.overlay.lock().write(number, image);
        let Err(too_large) = written else {
            return Ok(());
        };
        // SQLite rolls back by writing the old pages, also those that never came here.
        let mut current = [0; PAGE];
        let offset = u64::from(number - 1) * PAGE as u64;
        if self.read(&mut current, offset) == Ok(Read::Full) && current == *image {
            return Ok(());
        }
        self.remember(|| refused(too_large));
        Err(Failed::TooLarge)
    }

    /// Sets the length in bytes, of whole pages.
    pub(super) fn truncate(&self, bytes: u64) -> Result<(), Failed> {
        let size = u32::try_from(bytes.div_ceil(PAGE as u64)).map_err(|_| Failed::Write)?;
        self.overlay.lock().truncate(size);
        Ok(())
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.overlay.lock().size()) * PAGE as u64
    }
}

fn page_number(offset: u64) -> Option<u32> {
    u32::try_from(offset / PAGE as u64).ok()?.checked_add(1)
}

fn storage(error: &io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the object's file cannot be read: {error}"))
}

fn refused(too_large: TooLarge) -> Error {
    let TooLarge { bytes, bytes_max } = too_large;
    let mebibyte = 1_024 * 1_024;
    Error::new(
        ErrorKind::Limit,
        format!(
            "the transaction is too large: it changes {} MiB of pages or more, and at most {} MiB are \
             allowed; split the work over several turns, such as with an alarm that continues it",
            bytes.div_ceil(mebibyte),
            bytes_max / mebibyte,
        ),
    )
}
