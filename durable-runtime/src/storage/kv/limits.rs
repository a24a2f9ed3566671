//! How large keys and values may be.

use super::{KV_BATCH_KEYS_MAX, KV_ENTRY_BYTES_MAX, KV_KEY_BYTES_MAX};
use crate::{Error, ErrorKind, Result};

/// The limits of the keys and values of every object of a runtime.
#[derive(Clone, Debug)]
pub(crate) struct KeyLimits {
    pub(crate) key_bytes: usize,
    /// Of key and value together.
    pub(crate) entry_bytes: usize,
    /// Keys that one call may name.
    pub(crate) batch_keys: usize,
}

impl Default for KeyLimits {
    fn default() -> Self {
        KeyLimits {
            key_bytes: KV_KEY_BYTES_MAX,
            entry_bytes: KV_ENTRY_BYTES_MAX,
            batch_keys: KV_BATCH_KEYS_MAX,
        }
    }
}

impl KeyLimits {
    pub(super) fn check_key(&self, key: &str) -> Result<()> {
        if key.len() <= self.key_bytes {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!("a key has {} bytes, over the limit of {}", key.len(), self.key_bytes),
        ))
    }

    /// Whether another key may be added to so many.
    pub(super) fn check_count(&self, keys: usize) -> Result<()> {
        if keys < self.batch_keys {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "one call names more than {} keys, which is the limit: use several calls",
                self.batch_keys
            ),
        ))
    }

    pub(super) fn check_keys<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<K>> {
        let mut checked = Vec::new();
        for key in keys {
            self.check_count(checked.len())?;
            self.check_key(key.as_ref())?;
            checked.push(key);
        }
        Ok(checked)
    }
}
