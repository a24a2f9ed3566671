//! Keys and values in a turn.
//!
//! The guarantee: a value that was put comes back, or an error says why it cannot. A value is stored as
//! one format byte and MessagePack in which structs carry their field names, so that fields can be
//! added and reordered.

use std::any::type_name;
use std::fmt;

use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use crate::{Error, ErrorKind, Result};

/// The longest key, in bytes of UTF-8.
const KEY_BYTES_MAX: usize = 2 * 1_024;
/// The largest key and value together, in bytes as stored.
const ENTRY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// How deep values may be nested.
const DEPTH_MAX: usize = 128;
/// First byte of every value; another value is another format.
const FORMAT: u8 = 1;

const CREATE: &str = "CREATE TABLE _durable_kv \
    (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID";
const GET: &str = "/*durable*/SELECT value FROM _durable_kv WHERE key = ?1";
const PUT: &str = "/*durable*/INSERT INTO _durable_kv (key, value) VALUES (?1, ?2) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "/*durable*/DELETE FROM _durable_kv WHERE key = ?1";

/// The object's keys and values, in the transaction of the running turn.
///
/// A value is anything that serde can write and read again. It is stored with the names of its
/// fields: a field that is added later needs `#[serde(default)]`, one that is removed is skipped, and the order
/// does not matter. Keys are ordered by their UTF-8 bytes.
///
/// ```
/// use durable_runtime::{Kv, Result};
///
/// fn visit(kv: Kv<'_>, page: &str) -> Result<u64> {
///     let visits = kv.get::<u64>(page)?.unwrap_or(0) + 1;
///     kv.put(page, &visits)?;
///     Ok(visits)
/// }
/// ```
///
/// Limits: a key has at most 2 KiB, key and value together at most 2 MiB, and values are nested at most
/// 128 deep.
///
/// # Errors
/// Those of [`Sql`](super::Sql), and [`ErrorKind::Encoding`] for a value that cannot be written.
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
    /// [`ErrorKind::Conversion`] when the value is not a `T`. Others: see [`Kv`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        check_key(key)?;
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
        let value = row.get_ref(0).map_err(|error| self.store.failed(error))?;
        // From here on code of the user's runs.
        drop(ours);
        match value {
            ValueRef::Blob(bytes) => decode(key, bytes).map(Some),
            _ => Err(unreadable::<T>(key, "what is not a value", "its column holds no bytes")),
        }
    }

    /// Stores `value` under `key`, in place of what is there.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when key or value are too large. Others: see [`Kv`].
    pub fn put(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        check_key(key)?;
        self.store.check_may_write()?;
        let bytes = encode(key, value)?;
        let connection = self.store.enter()?;
        let _ours = self.store.guard.lift();
        let put = || connection.prepare_cached(PUT)?.execute((key, &bytes));
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

    /// Removes `key` and returns whether it was there.
    ///
    /// # Errors
    /// See [`Kv`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        self.store.check_may_write()?;
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

/// The table is made by the first put. It is missed when a statement is prepared, and, after the put was
/// rolled back, when one from the cache is run.
fn is_no_table(error: &rusqlite::Error) -> bool {
    error.to_string().starts_with("no such table: _durable_kv")
}

fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(Error::new(
            ErrorKind::Limit,
            format!("a key has {bytes} bytes, over the limit of {KEY_BYTES_MAX}"),
        )),
    }
}

fn encode(key: &str, value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    serializer.unstable_set_max_depth(DEPTH_MAX);
    let unwritable = |reason: &dyn fmt::Display| {
        Error::new(
            ErrorKind::Encoding,
            format!("the value for key {key:?} cannot be stored: {reason}"),
        )
    };
    value.serialize(&mut serializer).map_err(|error| unwritable(&error))?;
    let total = key.len() + bytes.len();
    if total > ENTRY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Limit,
            format!(
                "key {key:?} and its value have {total} bytes, over the limit of {ENTRY_BYTES_MAX}"
            ),
        ));
    }
    #[cfg(debug_assertions)]
    read_message::<serde::de::IgnoredAny>(&bytes[1..]).map_err(|reason| unwritable(&reason))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    let Some((&FORMAT, message)) = bytes.split_first() else {
        let format = format!("format {:?}, this program knows {FORMAT}", bytes.first());
        return Err(unreadable::<T>(key, "a value of another format", &format));
    };
    read_message(message).map_err(|reason| unreadable::<T>(key, &describe(message), &reason))
}

/// Reads one MessagePack value that takes up all the bytes.
fn read_message<T: DeserializeOwned>(message: &[u8]) -> Result<T, String> {
    let mut rest = message;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    match rest.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left over")),
    }
}

fn unreadable<T>(key: &str, stored: &str, reason: &str) -> Error {
    let wanted = type_name::<T>();
    Error::new(
        ErrorKind::Conversion,
        format!("key {key:?} holds {stored}, which cannot be read as `{wanted}`: {reason}"),
    )
}

/// What a MessagePack value is, from its first bytes.
fn describe(message: &[u8]) -> String {
    let length = |bytes: usize| {
        let digits = message.get(1..=bytes).unwrap_or_default();
        digits.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte))
    };
    match message.first().copied().unwrap_or(0xc1) {
        0xc0 => "nothing (`None` or `()`)".into(),
        0xc2 | 0xc3 => "a bool".into(),
        0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => "an integer".into(),
        0xca | 0xcb => "a float".into(),
        0xa0..=0xbf | 0xd9..=0xdb => "a string".into(),
        0xc4..=0xc6 => "bytes".into(),
        head @ 0x90..=0x9f => format!("a sequence of {}", head & 0x0f),
        0xdc => format!("a sequence of {}", length(2)),
        0xdd => format!("a sequence of {}", length(4)),
        head @ 0x80..=0x8f => format!("a map or struct of {}", head & 0x0f),
        0xde => format!("a map or struct of {}", length(2)),
        0xdf => format!("a map or struct of {}", length(4)),
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => "what is not a value".into(),
    }
}

#[cfg(test)]
mod tests;
