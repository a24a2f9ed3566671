//! The pages of one object that are newer than its database file.
//!
//! The guarantee: a read finds what was written last. What a transaction wrote can be taken back
//! whole, as if it had never run, until it is accepted. The changes that are handed out for a record, applied to
//! the state before them, give exactly the state after them, also without the file when the object is new.
//!
//! Every page up to the size is in here or in the base below. A page that a database gains, also where it
//! had been longer before, always passes through here, so old bytes of a longer file never come back.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, LazyLock};

/// The size of a page.
pub(crate) const PAGE: usize = 4_096;

/// The bytes of a page.
pub(crate) type Image = [u8; PAGE];

/// A page that never changes, shared with records and write-back.
pub(crate) type Page = Arc<Image>;

/// The pages of an empty database, from the first on. Shared by all objects that were never stored.
pub(crate) type Template = Arc<[Page]>;

/// How much a transaction may change.
pub(crate) const TURN_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// How much a migration may change.
pub(crate) const MIGRATION_BYTES_MAX: usize = 1_024 * 1_024 * 1_024;

/// No checkpoint has this epoch: the first one is 1.
const NEVER: u64 = 0;

static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE]));

/// What of one object is in memory. Pages are numbered from 1, as in SQLite.
pub(crate) struct Overlay {
    base: Base,
    committed: BTreeMap<u32, Held>,
    /// What the running transaction wrote.
    changed: BTreeMap<u32, Page>,
    /// Up to which page the committed state still counts: less than the size after a truncation.
    kept: u32,
    /// Whether `changed` is exactly what differs from the committed state.
    settled: bool,
    size: u32,
    committed_size: u32,
    /// Of the file, as it was last written.
    file_size: Option<u32>,
    bytes_max: usize,
}

enum Base {
    /// The object was never stored.
    Template(Template),
    File,
}

/// A committed page.
struct Held {
    page: Page,
    /// The checkpoint epoch in which its full image was last logged.
    logged_in: u64,
}

/// Where the bytes of a page are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Here.
    Here(&'a Image),
    /// In the file.
    File,
    /// Beyond the end of the database.
    Beyond,
}

/// A page that a transaction changed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) number: u32,
    /// The committed image, if it is in memory.
    pub(crate) before: Option<Page>,
    pub(crate) after: Page,
    /// Whether its full image was not logged yet in this epoch. Otherwise there is a `before`.
    pub(crate) first_touch: bool,
}

/// What a transaction changed, in the order of page numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) pages: Vec<Change>,
    /// The size of the database in pages, before and after.
    pub(crate) size_before: u32,
    pub(crate) size: u32,
}

// The bytes of pages are users' data, and thousands of numbers that nobody can read.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("number", &self.number)
            .field("first_touch", &self.first_touch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("pages", &self.pages.len())
            .field("size", &self.size)
            .finish()
    }
}

impl Changes {
    /// Whether there is nothing to log.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.size == self.size_before
    }
}

/// The committed pages at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) pages: Vec<(u32, Page)>,
    /// The size of the database in pages.
    pub(crate) size: u32,
}

/// The transaction would change more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("size", &self.size)
            .field("committed", &self.committed.len())
            .field("changed", &self.changed.len())
            .finish_non_exhaustive()
    }
}

impl Overlay {
    /// Of an object that was never stored.
    pub(crate) fn new(template: Template) -> Overlay {
        let size = u32::try_from(template.len()).unwrap_or(u32::MAX);
        Overlay::with(Base::Template(template), size, None)
    }

    /// Of an object whose file is complete and has this many pages.
    pub(crate) fn of_file(size: u32) -> Overlay {
        Overlay::with(Base::File, size, Some(size))
    }

    /// Of an object after a crash: `pages` are newer than its file, if it has one.
    pub(crate) fn recovered(pages: impl IntoIterator<Item = (u32, Page)>, size: u32) -> Overlay {
        let pages = pages.into_iter().filter(|(number, _)| (1..=size).contains(number));
        let held = |(number, page)| (number, Held { page, logged_in: NEVER });
        Overlay { committed: pages.map(held).collect(), ..Overlay::with(Base::File, size, None) }
    }

    fn with(base: Base, size: u32, file_size: Option<u32>) -> Overlay {
        Overlay {
            base,
            committed: BTreeMap::new(),
            changed: BTreeMap::new(),
            kept: size,
            settled: true,
            size,
            committed_size: size,
            file_size,
            bytes_max: TURN_BYTES_MAX,
        }
    }

    /// Sets how much a transaction may change, from now on.
    pub(crate) fn set_limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The size of the database in pages, as the running transaction sees it.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Whether a transaction was ever accepted.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.base, Base::File)
    }

    /// Bytes of pages held in memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        (self.committed.len() + self.changed.len()) * PAGE
    }

    /// Bytes of committed pages that wait for the file.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.committed.len() * PAGE
    }

    /// Looks for a page as the running transaction sees it.
    pub(crate) fn find(&self, number: u32) -> Found<'_> {
        if number > self.size {
            return Found::Beyond;
        }
        if let Some(page) = self.changed.get(&number) {
            return Found::Here(page);
        }
        // A page that the database gained and nobody wrote.
        if number > self.kept {
            return Found::Here(&ZEROS);
        }
        self.committed_page(number).map_or(Found::File, |page| Found::Here(page))
    }

    /// The first page as it is committed, if it is in memory.
    pub(crate) fn first_page(&self) -> Option<&Page> {
        self.committed_page(1)
    }

    fn committed_page(&self, number: u32) -> Option<&Page> {
        self.committed.get(&number).map(|held| &held.page).or_else(|| self.template_page(number))
    }

    fn template_page(&self, number: u32) -> Option<&Page> {
        match &self.base {
            Base::Template(pages) => pages.get(usize::try_from(number).ok()?.checked_sub(1)?),
            Base::File => None,
        }
    }

    /// Writes a page in the running transaction.
    pub(crate) fn write(&mut self, number: u32, image: &Image) -> Result<(), TooLarge> {
        if let Some(page) = self.changed.get_mut(&number) {
            match Arc::get_mut(page) {
                Some(bytes) => bytes.copy_from_slice(image),
                None => *page = Arc::new(*image),
            }
        } else {
            let bytes = (self.changed.len() + 1) * PAGE;
            if bytes > self.bytes_max {
                return Err(TooLarge { bytes, bytes_max: self.bytes_max });
            }
            self.changed.insert(number, Arc::new(*image));
        }
        self.size = self.size.max(number);
        self.settled = false;
        Ok(())
    }

    /// Sets the size of the database in the running transaction.
    pub(crate) fn truncate(&mut self, size: u32) {
        self.changed.split_off(&size.saturating_add(1));
        self.kept = self.kept.min(size);
        self.size = size;
        self.settled = false;
    }

    /// Begins the database anew, in the running transaction. Connections that know the old one must go.
    #[cfg_attr(not(test), expect(dead_code, reason = "deleting all that an object holds will ask"))]
    pub(crate) fn replace(&mut self, template: &Template) {
        self.truncate(0);
        self.changed = (1..).zip(template.iter().map(Arc::clone)).collect();
        self.size = u32::try_from(template.len()).unwrap_or(u32::MAX);
    }

    /// Forgets everything, also that the object was ever stored. Connections that know the old pages must go.
    pub(crate) fn reset(&mut self, template: &Template) {
        *self = Overlay::new(Arc::clone(template));
    }

    /// What the transaction changed, for a record that is appended in `epoch`. To be called when SQLite
    /// has committed. It changes nothing that anybody can see, so it may be asked again in another epoch.
    pub(crate) fn changes(&mut self, epoch: u64) -> Changes {
        self.settle();
        let pages = match &self.base {
            Base::Template(_) => {
                (1..=self.size).filter_map(|number| self.created(number)).collect()
            }
            Base::File => {
                self.changed.iter().map(|(n, page)| self.change(*n, page, epoch)).collect()
            }
        };
        let size_before = if self.is_stored() { self.committed_size } else { 0 };
        Changes { pages, size_before, size: self.size }
    }

    fn change(&self, number: u32, after: &Page, epoch: u64) -> Change {
        let held = self.committed.get(&number);
        Change {
            number,
            before: held.map(|held| Arc::clone(&held.page)),
            after: Arc::clone(after),
            first_touch: held.is_none_or(|held| held.logged_in != epoch),
        }
    }

    /// Nothing of an object that was never stored is on disk, so its first record holds it all.
    fn created(&self, number: u32) -> Option<Change> {
        let after = self.changed.get(&number).or_else(|| self.committed_page(number))?;
        Some(Change { number, before: None, after: Arc::clone(after), first_touch: true })
    }

    /// Makes `changed` exactly what differs: adds the gained pages that nobody wrote, and drops those that
    /// have their old bytes again.
    fn settle(&mut self) {
        if mem::replace(&mut self.settled, true) {
            return;
        }
        for number in self.kept.saturating_add(1)..=self.size {
            self.changed.entry(number).or_insert_with(|| Arc::clone(&ZEROS));
        }
        let committed = &self.committed;
        self.changed
            .retain(|number, page| committed.get(number).is_none_or(|held| held.page != *page));
        self.kept = self.size;
    }

    /// Makes the changes committed: their record was appended in `epoch`, the one that they were
    /// handed out for.
    pub(crate) fn accept(&mut self, epoch: u64) {
        self.commit(epoch);
        if let Base::Template(template) = mem::replace(&mut self.base, Base::File) {
            for (number, page) in (1..=self.size).zip(template.iter()) {
                let held = || Held { page: Arc::clone(page), logged_in: epoch };
                self.committed.entry(number).or_insert_with(held);
            }
            self.committed.values_mut().for_each(|held| held.logged_in = epoch);
        }
    }

    /// Makes the changes of an object that was never stored committed, but not stored: they are part of
    /// its first record. For a stored object it does nothing: there everything committed is logged.
    pub(crate) fn accept_provisional(&mut self) {
        debug_assert!(!self.is_stored(), "a provisional commit of a stored object");
        if !self.is_stored() {
            self.commit(NEVER);
        }
    }

    fn commit(&mut self, epoch: u64) {
        self.settle();
        for (number, page) in mem::take(&mut self.changed) {
            self.committed.insert(number, Held { page, logged_in: epoch });
        }
        if self.size < self.committed_size {
            self.committed.split_off(&self.size.saturating_add(1));
        }
        self.committed_size = self.size;
    }

    /// Takes back what the transaction changed. After a ROLLBACK that SQLite has seen the connection stays
    /// good; after a COMMIT it knows pages that are gone, so it must be replaced.
    pub(crate) fn discard(&mut self) {
        self.changed.clear();
        self.size = self.committed_size;
        self.kept = self.committed_size;
        self.settled = true;
    }

    /// The committed pages, to be written to the file once their records are durable; `None` when the file has
    /// it all or the object is not stored.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let is_clean = self.committed.is_empty() && self.file_size == Some(self.committed_size);
        if is_clean || !self.is_stored() {
            return None;
        }
        let pages = self.committed.iter().map(|(number, held)| (*number, Arc::clone(&held.page)));
        Some(Snapshot { pages: pages.collect(), size: self.committed_size })
    }

    /// Lets go of pages that are in the file now, and keeps those that have changed since.
    pub(crate) fn written_back(&mut self, snapshot: &Snapshot) {
        for (number, page) in &snapshot.pages {
            if self.committed.get(number).is_some_and(|held| Arc::ptr_eq(&held.page, page)) {
                self.committed.remove(number);
            }
        }
        self.file_size = Some(snapshot.size);
    }
}

#[cfg(test)]
mod tests;
