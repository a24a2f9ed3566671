//! `_durable_outbox`.

use std::collections::HashSet;

use super::Store;
use crate::Result;

impl Store {
    /// When the first message wants to be sent, in milliseconds since 1970, but for those to receivers to whom some are on
    /// their way.
    pub(crate) fn next_delivery(&self, busy: &HashSet<i64>) -> Result<Option<i64>> {
        let _ = (self, busy);
        Ok(None)
    }
}
