//! A journal whose steps are called by hand, for the tests of what reads it.

use std::path::Path;
use std::sync::Arc;

use super::{Appended, Journal, LocalJournal, NewGeneration, Options};
use crate::engine::files::simulated::SimulatedDisk;
use crate::engine::record::Draft;
use crate::engine::scan::testing::read;

#[derive(Debug)]
pub(crate) struct ByHand(LocalJournal);

impl ByHand {
    /// With segments of 16 KiB.
    pub(crate) fn open(disk: &SimulatedDisk, folder: &Path) -> ByHand {
        let found = read(disk, folder).report;
        let options = Options { segment_bytes: super::SEGMENT_BYTES_MIN, ..Options::default() };
        let started = NewGeneration::start(Arc::new(disk.clone()), folder, options, &found);
        ByHand(started.unwrap().admit_by_hand().unwrap())
    }

    pub(crate) fn append(&self, draft: Draft) -> Appended {
        self.0.append(self.0.checkpoint_epoch(), draft.number() - 1, draft).unwrap()
    }

    pub(crate) fn flush(&self) {
        assert!(self.0.core.flush());
    }
}
