//! An object as it has to be.

use std::collections::HashSet;

use super::key;
use crate::engine::history::Point;
use crate::engine::journaled::database::JournaledDatabase;
use crate::engine::journaled::tests::tables::Tables;
use crate::engine::pagestore::Stamp;
use crate::engine::{ObjectKey, Receipt};

/// An object and everything that was committed to it.
pub(in crate::engine::journaled::tests) struct Object {
    pub(in crate::engine::journaled::tests) key: ObjectKey,
    pub(in crate::engine::journaled::tests) database: Option<JournaledDatabase>,
    /// By commit number, from `base` on: nothing before the first and after a deletion.
    pub(in crate::engine::journaled::tests) history: Vec<Option<Tables>>,
    pub(super) base: usize,
    /// Set by a start that was not checked.
    pub(super) is_renumbered: bool,
    /// What the open database holds: also what is committed provisionally.
    pub(super) now: Tables,
    /// An index of the history, as those of the receipts are.
    pub(in crate::engine::journaled::tests) acknowledged: usize,
    pub(super) receipts: Vec<(usize, Stamp, Receipt)>,
    /// Of all commits that were ever acknowledged.
    pub(super) numbers: HashSet<(u32, u64)>,
    /// All commits that were ever acknowledged, and what the object was after each.
    pub(super) past: Vec<Moment>,
}

/// A commit that was acknowledged.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) point: Point,
    pub(super) then: Option<Tables>,
    pub(super) fate: Fate,
}

/// What became of what the history holds of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// An erasure was begun, and may not have come to its end.
    Erasing,
    Erased,
}

impl Object {
    pub(super) fn new(number: usize) -> Object {
        Object {
            key: key(number),
            database: None,
            history: vec![None],
            base: 0,
            is_renumbered: false,
            now: Tables::default(),
            acknowledged: 0,
            receipts: Vec::new(),
            numbers: HashSet::new(),
            past: Vec::new(),
        }
    }

    /// Whether it exists.
    pub(in crate::engine::journaled::tests) fn is_there(&self) -> bool {
        self.history.last().is_some_and(Option::is_some)
    }

    /// When its last commit wants it to be woken.
    pub(in crate::engine::journaled::tests) fn wake(&self) -> Option<i64> {
        self.history.last()?.as_ref()?.wake()
    }

    /// It does not exist, and what it was before is not known any more.
    pub(super) fn forget(&mut self, stamp: Stamp) {
        self.history = vec![None];
        self.base = usize::try_from(stamp.commit).unwrap();
        self.acknowledged = 0;
    }

    pub(super) fn index_of(&self, stamp: Stamp) -> usize {
        usize::try_from(stamp.commit).unwrap() - self.base
    }

    /// Takes note of a commit that was appended.
    pub(super) fn committed(&mut self, stamp: Stamp, receipt: Receipt, after: Option<Tables>) {
        assert_eq!(self.index_of(stamp), self.history.len());
        self.receipts.push((self.history.len(), stamp, receipt));
        self.history.push(after);
    }
}
