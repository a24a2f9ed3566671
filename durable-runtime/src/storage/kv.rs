//! Keys and values in a turn.
//!
//! The guarantee: a value that was put comes back, or an error says why it cannot; a batch is stored
//! whole or not at all; a list is in the order of the keys' bytes. [`value`] has the stored form.

mod limits;
mod list;
mod range;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use list::{KvKeys, KvList};
pub use range::KvRange;

pub(crate) use self::limits::KeyLimits;
use self::list::Cursor;
use self::value::{decode, encode, unreadable};
pub(crate) use self::value::{read_message, write_message};
use super::Store;
use crate::Result;

/// The longest key of [`Kv`], in bytes of UTF-8.
pub const KV_KEY_BYTES_MAX: usize = 2 * 1_024;
/// The largest key and value of [`Kv`] together, in bytes as stored.
pub const KV_ENTRY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// The most keys that one call of [`Kv`] may name.
pub const KV_BATCH_KEYS_MAX: usize = 128;

pub(super) const CREATE: &str = "CREATE TABLE _durable_kv \
    (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID";
const GET: &str = "/*durable*/SELECT value FROM _durable_kv WHERE key = ?1";
const PUT: &str = "/*durable*/INSERT INTO _durable_kv (key, value) VALUES (?1, ?2) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "/*durable*/DELETE FROM _durable_kv WHERE key = ?1";

/// The object's keys and values, in the transaction of the running turn.
///
/// A key is any UTF-8, also the empty string; keys are ordered by their bytes. A value is anything that
/// serde can write and read again.
///
/// ```
/// use durable_runtime::{Kv, KvRange, Result};
///
/// fn visit(kv: Kv<'_>, page: &str) -> Result<u64> {
///     let visits = kv.get::<u64>(page)?.unwrap_or(0) + 1;
///     kv.put(page, &visits)?;
///     Ok(visits)
/// }
///
/// fn total(kv: Kv<'_>) -> Result<u64> {
///     kv.list::<u64>(KvRange::prefix("/blog/"))?.map(|entry| Ok(entry?.1)).sum()
/// }
/// ```
///
/// # What is stored
/// Structs are stored with the names of their fields: a field that is added later needs
/// `#[serde(default)]`, one that is removed is skipped, and the order does not matter. The same goes for the
/// variants of an enum. `Vec<u8>` is stored as a sequence of numbers, of up to two bytes each;
/// `serde_bytes` stores bytes.
///
/// Not told apart are `Some(None)`, `Some(())` and `None`: all come back as `None`. A 128-bit integer inside
/// `#[serde(untagged)]`, `#[serde(flatten)]` or `#[serde(tag = "..")]` cannot be read back: serde has no form for it there.
///
/// Limits: a key has at most 2 KiB ([`KV_KEY_BYTES_MAX`]), key and value together at most 2 MiB
/// ([`KV_ENTRY_BYTES_MAX`]), one call names at most 128 keys ([`KV_BATCH_KEYS_MAX`]), and values are nested
/// at most 128 deep.
///
/// # Errors
/// Those of [`Sql`](super::Sql), [`ErrorKind::Limit`](crate::ErrorKind::Limit) for what is too large, and [`ErrorKind::Encoding`](crate::ErrorKind::Encoding) for a
/// value that cannot be written. Nothing is written then.
#[derive(Clone, Copy)]
pub struct Kv<'a> {
    store: &'a Store,
}

impl fmt::Debug for Kv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kv({:?})", self.store)
    }
}

impl<'a> Kv<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Kv { store }
    }

    /// The value under `key`, or `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`](crate::ErrorKind::Conversion) when the value is not a `T`. Others: see [`Kv`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.limits().check_key(key)?;
        self.read(key)
    }

    /// The values under those of `keys` that there are, in the order of the keys' bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Conversion`](crate::ErrorKind::Conversion) when a value is not a `T`. Others: see [`Kv`].
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<BTreeMap<String, T>> {
        let mut found = BTreeMap::new();
        for key in self.limits().check_keys(keys)? {
            let key = key.as_ref();
            if let Some(value) = self.read(key)? {
                found.insert(key.to_owned(), value);
            }
        }
        Ok(found)
    }

    /// Stores `value` under `key`, in place of what is there.
    ///
    /// # Errors
    /// See [`Kv`].
    pub fn put(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.limits().check_key(key)?;
        self.store.check_may_write()?;
        let bytes = encode(key, value, self.limits().entry_bytes)?;
        self.write(key, &bytes)
    }

    /// Stores all entries, or none of them if one fails. Of several with one key the last one counts.
    ///
    /// ```
    /// # use durable_runtime::{Kv, Result};
    /// # fn example(kv: Kv<'_>) -> Result<()> {
    /// kv.put_many([("width", 640), ("height", 480)])
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Kv`].
    pub fn put_many(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, impl Serialize)>,
    ) -> Result<()> {
        self.store.check_may_write()?;
        // All of them first: a value that cannot be written is found before anything is.
        let mut encoded = Vec::new();
        for (key, value) in entries {
            self.limits().check_count(encoded.len())?;
            self.limits().check_key(key.as_ref())?;
            let bytes = encode(key.as_ref(), &value, self.limits().entry_bytes)?;
            encoded.push((key, bytes));
        }
        self.store.transaction(|| {
            encoded.iter().try_for_each(|(key, bytes)| self.write(key.as_ref(), bytes))
        })
    }

    /// Removes `key` and returns whether it was there.
    ///
    /// # Errors
    /// See [`Kv`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.limits().check_key(key)?;
        self.store.check_may_write()?;
        self.remove(key)
    }

    /// Removes all of `keys`, or none of them if one fails, and returns how many were there.
    ///
    /// # Errors
    /// See [`Kv`].
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<usize> {
        let keys = self.limits().check_keys(keys)?;
        self.store.check_may_write()?;
        self.store.transaction(|| {
            let mut removed = 0;
            for key in &keys {
                removed += usize::from(self.remove(key.as_ref())?);
            }
            Ok(removed)
        })
    }

    /// The entries in a range of keys, as an iterator of `Result<(String, T)>`.
    ///
    /// ```
    /// # use durable_runtime::{Kv, KvRange, Result};
    /// # fn example(kv: Kv<'_>) -> Result<()> {
    /// for entry in kv.list::<String>(KvRange::prefix("user/").reverse().limit(10))? {
    ///     let (key, name) = entry?;
    /// }
    /// let all = kv.list::<String>(..)?.collect::<Result<Vec<_>>>()?;
    /// let some = kv.list::<String>("a".."n")?.count();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// See [`KvList`] for what it sees of writes that are made meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the range has two starts. An entry that is not a `T` is an error of
    /// [`ErrorKind::Conversion`](crate::ErrorKind::Conversion) in its place in the list. Others: see [`Kv`].
    pub fn list<T: DeserializeOwned>(&self, range: impl Into<KvRange>) -> Result<KvList<'a, T>> {
        Ok(KvList::new(Cursor::new(self.store, &range.into(), list::ENTRIES)?))
    }

    /// The keys in a range, as [`list`](Kv::list) gives them, without reading the values.
    ///
    /// # Errors
    /// As [`list`](Kv::list).
    pub fn keys(&self, range: impl Into<KvRange>) -> Result<KvKeys<'a>> {
        Ok(KvKeys::new(Cursor::new(self.store, &range.into(), list::KEYS)?))
    }

    fn limits(self) -> &'a KeyLimits {
        &self.store.limits().keys
    }

    fn read<T: DeserializeOwned>(self, key: &str) -> Result<Option<T>> {
        let connection = self.store.enter()?;
        let ours = self.store.guard.lift();
        let mut statement = match connection.prepare_cached(GET) {
            Err(error) if is_no_table(&error) => return Ok(None),
            prepared => prepared.map_err(|error| self.store.failed(error))?,
        };
        let mut rows = statement.query([key]).map_err(|error| self.store.failed(error))?;
        let row = match rows.next() {
            Err(error) if is_no_table(&error) => return Ok(None),
            row => row.map_err(|error| self.store.failed(error))?,
        };
        let Some(row) = row else { return Ok(None) };
        let bytes = blob(row, 0).map_err(|error| self.store.failed(error))?;
        // From here on code of the user's runs.
        drop(ours);
        read_value(key, bytes).map(Some)
    }

    fn write(self, key: &str, bytes: &[u8]) -> Result<()> {
        let connection = self.store.enter()?;
        let _ours = self.store.guard.lift();
        let put = || connection.prepare_cached(PUT)?.execute((key, bytes));
        let done = match put() {
            Err(error) if is_no_table(&error) => {
                connection.execute_batch(CREATE).and_then(|()| put())
            }
            done => done,
        };
        done.map_err(|error| self.store.failed(error))?;
        self.store.mark_written();
        Ok(())
    }

    fn remove(self, key: &str) -> Result<bool> {
        let connection = self.store.enter()?;
        let _ours = self.store.guard.lift();
        let delete = || connection.prepare_cached(DELETE)?.execute([key]);
        let deleted = match delete() {
            Err(error) if is_no_table(&error) => false,
            deleted => deleted.map_err(|error| self.store.failed(error))? > 0,
        };
        if deleted {
            self.store.mark_written();
        }
        Ok(deleted)
    }
}

/// The bytes of a column, or `None` if it holds none: nobody but us writes the table, but a file can be
/// damaged.
fn blob<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r [u8]>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => Some(bytes),
        _ => None,
    })
}

fn read_value<T: DeserializeOwned>(key: &str, bytes: Option<&[u8]>) -> Result<T> {
    bytes.map_or_else(
        || Err(unreadable::<T>(key, "what is not a value", "its column holds no bytes")),
        |bytes| decode(key, bytes),
    )
}

/// The table is made by the first put. It is missed when a statement is prepared, and, after the put was
/// rolled back, when one from the cache is run.
fn is_no_table(error: &rusqlite::Error) -> bool {
    error.to_string().starts_with("no such table: _durable_kv")
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
