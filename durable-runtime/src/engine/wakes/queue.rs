//! Objects by the time that they are due at.

use std::collections::{BTreeSet, HashMap};

use super::Due;
use crate::engine::ObjectKey;

/// Each object once, ordered by time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ordered: BTreeSet<Due>,
    times: HashMap<ObjectKey, i64>,
}

impl Queue {
    pub(super) fn insert(&mut self, due: Due) {
        self.remove(&due.1);
        self.times.insert(due.1.clone(), due.0);
        self.ordered.insert(due);
    }

    pub(super) fn remove(&mut self, object: &ObjectKey) {
        if let Some(time) = self.times.remove(object) {
            self.ordered.remove(&(time, object.clone()));
        }
    }

    pub(super) fn contains(&self, object: &ObjectKey) -> bool {
        self.times.contains_key(object)
    }

    pub(super) fn first(&self) -> Option<&Due> {
        self.ordered.first()
    }

    pub(super) fn last(&self) -> Option<&Due> {
        self.ordered.last()
    }

    pub(super) fn take_last(&mut self) -> Option<Due> {
        let due = self.ordered.pop_last()?;
        self.times.remove(&due.1);
        Some(due)
    }

    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }
}
