//! Copying an object's file while the object goes on.
//!
//! The guarantee: the copy is the object after one commit, whole, and a plain database file. No commit waits for it, and no
//! checkpoint waits for longer than the copy of a few hundred pages takes.
//!
//! The file is brought up to a commit first. Then the disk lets the copy share its bytes, if it can; if not, pages are copied piece by
//! piece. A write-back that comes meanwhile *sets aside* what it is about to overwrite: it writes those pages to the copy before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Shared;
use super::entry::Entry;
use crate::engine::copies::{Copied, OnProgress, bytes_of, failed};
use crate::engine::files::DiskFile;
use crate::engine::history::{Point, Rebuilt};
use crate::engine::overlay::{PAGE, Page};
use crate::engine::pagestore::{Header, PageStore, clean};
use crate::engine::{ObjectKey, no_history};
use crate::{Error, ErrorKind, Result};

/// Pages that are copied while write-backs wait.
const PAGES_AT_ONCE: u32 = if cfg!(test) { 8 } else { 256 };

/// A copy that is being made.
pub(super) struct Copying {
    file: Arc<dyn DiskFile>,
    /// Up to which page.
    size: u32,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The page that is copied next.
    next: u32,
    /// Pages that the copy has already, or gets from elsewhere.
    aside: BTreeSet<u32>,
    failure: Option<io::Error>,
}

/// Copies an object to a file that is not there yet, durably: as it is now, or as it was after a commit.
///
/// # Errors
/// [`ErrorKind::NotKept`] when the object does not exist, or that commit is not kept; and when the disk fails.
pub(super) fn copy(
    shared: &Shared,
    object: &ObjectKey,
    point: Option<Point>,
    to: &Path,
    progress: OnProgress<'_>,
) -> Result<Copied> {
    copy_in_steps(shared, object, point, to, progress, &mut || {})
}

/// The same. The object goes on changing meanwhile, as `between` does after each step.
pub(super) fn copy_in_steps(
    shared: &Shared,
    object: &ObjectKey,
    point: Option<Point>,
    to: &Path,
    progress: OnProgress<'_>,
    between: &mut dyn FnMut(),
) -> Result<Copied> {
    let entry = shared.entry(object)?;
    let copied = copy_entry(shared, &entry, point, to, progress, between);
    shared.entries.forget_if_idle(&entry);
    copied
}

fn copy_entry(
    shared: &Shared,
    entry: &Entry,
    point: Option<Point>,
    to: &Path,
    progress: OnProgress<'_>,
    between: &mut dyn FnMut(),
) -> Result<Copied> {
    let unwritable = |error: &io::Error| failed("write", to, error);
    let file = shared.disk.create(to).map_err(|error| unwritable(&error))?;
    let (copying, then, point) = begin(shared, entry, point, to, &file)?;
    let size = then.size;
    loop {
        between();
        // For a moment: a write-back that waits comes first.
        let (done, is_over) = {
            let _paused = entry.pause();
            copying.step(&**entry.file.store()).map_err(|error| entry.failed("copy", &error))?
        };
        progress(bytes_of(done), bytes_of(size));
        if is_over {
            break;
        }
    }
    let header = finish(&*file, &then.pages, size).map_err(|error| unwritable(&error))?;
    Ok(Copied { point, header })
}

/// Brings the file up to a commit, and sees to it that it can be copied as it is.
fn begin(
    shared: &Shared,
    entry: &Entry,
    point: Option<Point>,
    to: &Path,
    file: &Arc<dyn DiskFile>,
) -> Result<(Arc<Copying>, Rebuilt, Point)> {
    let mut held = entry.hold(shared)?;
    let store = &**entry.file.store();
    let unreadable = |error: io::Error| entry.failed("read", &error);
    let size = store.size().map_err(unreadable)?;
    let (then, point) = match point {
        Some(point) => {
            let history = shared.history.as_ref();
            let now = Point::from(store.stamp().map_err(unreadable)?);
            if size > 0 && point == now {
                (Rebuilt { size, ..Rebuilt::default() }, point)
            } else {
                (history.ok_or_else(no_history)?.rebuild(entry.key.id, point, store)?, point)
            }
        }
        None if size == 0 => {
            return Err(Error::new(
                ErrorKind::NotKept,
                format!("nothing of {} is stored", entry.key),
            ));
        }
        None => (Rebuilt { size, ..Rebuilt::default() }, store.stamp().map_err(unreadable)?.into()),
    };
    let same_bytes = || if size == 0 { Ok(false) } else { shared.disk.share(&store.place(), to) };
    let is_shared = same_bytes().map_err(|error| failed("write", to, &error))?;
    let size = size.min(then.size);
    let progress = Progress {
        next: if is_shared { size + 1 } else { 1 },
        aside: then.pages.keys().copied().collect(),
        failure: None,
    };
    let copying =
        Arc::new(Copying { file: Arc::clone(file), size, progress: Mutex::new(progress) });
    if !is_shared {
        held.add_copy(&copying);
    }
    Ok((copying, then, point))
}

/// Adds the pages that were otherwise, and makes it all durable.
fn finish(file: &dyn DiskFile, pages: &BTreeMap<u32, Page>, size: u32) -> io::Result<Header> {
    for (number, page) in pages.iter().filter(|(number, _)| **number <= size) {
        file.write_at(&page[..], bytes_of(number - 1))?;
    }
    file.set_len(bytes_of(size))?;
    clean(file)?;
    let mut first = [0; PAGE];
    file.read_at(&mut first, 0)?;
    file.sync_data()?;
    Ok(Header { pages: size, ..Header::of(&first) })
}

impl Copying {
    /// Keeps pages that are about to be overwritten.
    pub(super) fn set_aside(&self, store: &dyn PageStore, pages: &io::Result<Vec<u32>>) {
        let progress = &mut *self.progress.lock();
        let keep = |progress: &mut Progress| {
            let pages =
                pages.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
            let mut image = [0; PAGE];
            for number in pages.iter().filter(|number| (progress.next..=self.size).contains(number))
            {
                if progress.aside.insert(*number) {
                    store.read(*number, &mut image)?;
                    self.file.write_at(&image, bytes_of(number - 1))?;
                }
            }
            Ok(())
        };
        if let Err(error) = keep(progress) {
            progress.failure = Some(error);
        }
    }

    /// Copies the next pages. Gives how many are done, and whether those are all.
    fn step(&self, store: &dyn PageStore) -> io::Result<(u32, bool)> {
        let progress = &mut *self.progress.lock();
        if let Some(error) = progress.failure.take() {
            return Err(error);
        }
        let end = progress.next.saturating_add(PAGES_AT_ONCE).min(self.size.saturating_add(1));
        let mut first = progress.next;
        for aside in progress.aside.range(progress.next..end.max(progress.next)) {
            self.copy(store, first, *aside)?;
            first = aside + 1;
        }
        self.copy(store, first, end)?;
        progress.next = progress.next.max(end);
        Ok((progress.next - 1, progress.next > self.size))
    }

    /// Copies pages from one on, up to another one.
    fn copy(&self, store: &dyn PageStore, first: u32, end: u32) -> io::Result<()> {
        let pages = usize::try_from(end.saturating_sub(first)).map_err(io::Error::other)?;
        if pages == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; pages * PAGE];
        store.read_raw(first, &mut buffer)?;
        self.file.write_at(&buffer, bytes_of(first - 1))
    }
}
