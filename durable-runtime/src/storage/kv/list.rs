//! Lists: read in batches, each by a statement of its own that begins after the last key.
//!
//! Invariant: no statement is open while the user's code runs, so it may write whatever it likes,
//! roll back, and leave a list half read.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::vec;

use serde::de::DeserializeOwned;

use super::range::{Interval, KvRange, next};
use super::{blob, is_no_table, read_value};
use crate::Result;
use crate::storage::Store;

/// Entries read at once.
const BATCH_ENTRIES: usize = 128;
/// Bytes of values after which a batch ends.
const BATCH_BYTES: usize = 256 * 1_024;

/// What a list reads of each entry: its statements upwards and downwards.
pub(super) type Statements = [&'static str; 2];

// A BLOB is greater than every TEXT: without an upper bound the empty one stands for it.
pub(super) const ENTRIES: Statements = [
    "/*durable*/SELECT key, value FROM _durable_kv WHERE key >= ?1 AND key < ifnull(?2, x'') \
     ORDER BY key LIMIT ?3",
    "/*durable*/SELECT key, value FROM _durable_kv WHERE key >= ?1 AND key < ifnull(?2, x'') \
     ORDER BY key DESC LIMIT ?3",
];
pub(super) const KEYS: Statements = [
    "/*durable*/SELECT key, NULL FROM _durable_kv WHERE key >= ?1 AND key < ifnull(?2, x'') \
     ORDER BY key LIMIT ?3",
    "/*durable*/SELECT key, NULL FROM _durable_kv WHERE key >= ?1 AND key < ifnull(?2, x'') \
     ORDER BY key DESC LIMIT ?3",
];

/// A key and the bytes of its value.
type Entry = (String, Option<Vec<u8>>);

/// A position in a list.
pub(super) struct Cursor<'a> {
    store: &'a Store,
    statement: &'static str,
    is_reversed: bool,
    /// What is still to be read, and how many entries at most.
    rest: Interval,
    wanted: usize,
    batch: vec::IntoIter<Entry>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(store: &'a Store, range: &KvRange, statements: Statements) -> Result<Self> {
        let is_reversed = range.is_reversed();
        Ok(Cursor {
            store,
            statement: statements[usize::from(is_reversed)],
            is_reversed,
            rest: range.interval(&store.limits().keys)?,
            wanted: range.entries_max(),
            batch: Vec::new().into_iter(),
        })
    }

    fn next(&mut self) -> Option<Result<Entry>> {
        if let Some(entry) = self.batch.next() {
            return Some(Ok(entry));
        }
        if self.wanted == 0 {
            return None;
        }
        match self.read_batch() {
            Ok(batch) => {
                self.advance(&batch);
                self.batch = batch.into_iter();
                self.batch.next().map(Ok)
            }
            Err(error) => {
                self.wanted = 0;
                Some(Err(error))
            }
        }
    }

    /// Takes what was read from what is still to be read.
    fn advance(&mut self, batch: &[Entry]) {
        let Some((last, _)) = batch.last() else {
            self.wanted = 0;
            return;
        };
        self.wanted = self.wanted.saturating_sub(batch.len());
        if self.is_reversed {
            self.rest.high = Some(last.clone());
        } else {
            self.rest.low = next(last.clone());
        }
    }

    fn read_batch(&self) -> Result<Vec<Entry>> {
        let connection = self.store.enter()?;
        let _ours = self.store.guard.lift();
        let read = || {
            let count = i64::try_from(self.wanted.min(BATCH_ENTRIES)).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(self.statement)?;
            let mut rows = statement.query((&self.rest.low, &self.rest.high, count))?;
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while bytes < BATCH_BYTES
                && let Some(row) = rows.next()?
            {
                let value = blob(row, 1)?;
                bytes += value.map_or(0, <[u8]>::len);
                batch.push((row.get(0)?, value.map(<[u8]>::to_vec)));
            }
            Ok(batch)
        };
        match read() {
            Err(error) if is_no_table(&error) => Ok(Vec::new()),
            read => read.map_err(|error| self.store.failed(error)),
        }
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("rest", &self.rest)
            .field("is_reversed", &self.is_reversed)
            .finish_non_exhaustive()
    }
}

/// The entries of a range, from [`Kv::list`](super::Kv::list): an iterator of `Result<(String, T)>`.
///
/// The entries are read as the iterator goes, about a hundred at a time, so that a list of any
/// length takes little memory. It may be left half read, and anything may be written meanwhile. What
/// is not written meanwhile comes exactly once and in order. An entry that is put, changed or deleted
/// (or brought back by a [`transaction`](crate::Context::transaction) that is undone) ahead of the iterator
/// comes as it was or as it is; one behind it does not come again.
///
/// An entry that is not a `T` is an error in its place, and the next ones follow. After an error of
/// the storage nothing follows.
pub struct KvList<'a, T> {
    cursor: Cursor<'a>,
    read: PhantomData<fn() -> T>,
}

impl<'a, T> KvList<'a, T> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        KvList { cursor, read: PhantomData }
    }
}

impl<T: DeserializeOwned> Iterator for KvList<'_, T> {
    type Item = Result<(String, T)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.cursor.next()?;
        Some(entry.and_then(|(key, bytes)| {
            let value = read_value(&key, bytes.as_deref())?;
            Ok((key, value))
        }))
    }
}

impl<T: DeserializeOwned> FusedIterator for KvList<'_, T> {}

impl<T> fmt::Debug for KvList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KvList").field(&self.cursor).finish()
    }
}

/// The keys of a range, from [`Kv::keys`](super::Kv::keys): an iterator of `Result<String>`.
///
/// It sees writes that are made meanwhile as [`KvList`] does.
#[derive(Debug)]
pub struct KvKeys<'a> {
    cursor: Cursor<'a>,
}

impl<'a> KvKeys<'a> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        KvKeys { cursor }
    }
}

impl Iterator for KvKeys<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.cursor.next()?.map(|(key, _)| key))
    }
}

impl FusedIterator for KvKeys<'_> {}
