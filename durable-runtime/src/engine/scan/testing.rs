//! What the tests of journal and scan share: commits that say what they are.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::{Found, ScanReport, Visitor, scan};
use crate::Result;
use crate::engine::ObjectKey;
use crate::engine::files::simulated::{Random, SimulatedDisk};
use crate::engine::record::{Commit, Draft, Effects, PAGE_BYTES, Position};
use crate::id::RawId;

/// The object, the number of the commit, a sum over its pages.
pub(crate) type Seen = (RawId, u64, u64);

/// The commits so far, as they are to be found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) commits: Vec<Seen>,
    pub(crate) progress: Vec<(u64, u64)>,
    last: Option<Position>,
    numbers: HashMap<RawId, u64>,
}

pub(crate) fn object(number: u8) -> ObjectKey {
    let id = RawId::from_name("Room", None, &format!("room {number}"));
    ObjectKey { class: Arc::from("Room"), id }
}

impl Model {
    /// The next commit of an object, with about as many bytes of pages.
    pub(crate) fn draft(&mut self, number: u8, bytes: usize) -> Draft {
        let object = object(number);
        let last = self.numbers.entry(object.id).or_default();
        *last += 1;
        let mut draft = Draft::new(&Commit {
            object: &object,
            epoch: 1,
            number: *last,
            time_ms: 0,
            database_pages: 1,
            effects: Effects::default(),
            name: None,
            location_hint: None,
            wake: None,
        })
        .unwrap();
        let mut random = Random(self.commits.len() as u64);
        let mut sum = 0;
        let mut rest = bytes;
        let mut page = 0;
        while rest > 0 {
            let mut image = [0; PAGE_BYTES];
            let length = rest.min(PAGE_BYTES);
            image[..length].fill_with(|| random.next().to_le_bytes()[0] | 1);
            page += 1;
            draft.page(page, None, &image);
            sum += u64::from(crc32c::crc32c(&image));
            rest -= length;
        }
        self.commits.push((object.id, *last, sum));
        draft
    }
}

impl Visitor for Model {
    fn commit(&mut self, found: &Found<'_>) -> Result<()> {
        assert!(self.last < Some(found.position), "commits come in the order of the journal");
        self.last = Some(found.position);
        let images = found.record.pages().map(|page| page.change.image(None).unwrap());
        let sum = images.map(|image| u64::from(crc32c::crc32c(&image))).sum();
        self.commits.push((found.record.head.id, found.record.head.number, sum));
        Ok(())
    }

    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        self.progress.push((done_bytes, total_bytes));
    }
}

pub(crate) fn scan_in(
    disk: &SimulatedDisk,
    folder: &Path,
    model: &mut Model,
) -> Result<ScanReport> {
    scan(disk, folder, model)
}

/// What a scan finds.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) commits: Vec<Seen>,
    pub(crate) progress: Vec<(u64, u64)>,
    pub(crate) report: ScanReport,
}

pub(crate) fn read(disk: &SimulatedDisk, folder: &Path) -> Reading {
    let mut model = Model::default();
    let report = scan(disk, folder, &mut model).unwrap();
    let Model { commits, progress, .. } = model;
    Reading { commits, progress, report }
}
