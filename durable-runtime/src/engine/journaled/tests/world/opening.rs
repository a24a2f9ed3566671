//! Opening the engine on a simulated disk, with nothing that runs by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::DATA;
use crate::Result;
use crate::engine::catalogue::ObjectIndex;
use crate::engine::files::Disk;
use crate::engine::files::simulated::SimulatedDisk;
use crate::engine::history::{History, HistoryLimits};
use crate::engine::journal::Options;
use crate::engine::journaled::tests::index::Index;
use crate::engine::journaled::{OnDamage, Places, Shared, recovery};

pub(in crate::engine::journaled::tests) fn options() -> Options {
    Options {
        segment_bytes: 32 * 1_024,
        ready_min: 0,
        retired_max: 2,
        retry_after: Duration::ZERO,
        ..Options::default()
    }
}

pub(in crate::engine::journaled::tests) fn open(disk: &SimulatedDisk) -> Result<Arc<Shared>> {
    open_with(disk, OnDamage::Refuse)
}

pub(in crate::engine::journaled::tests) fn open_with(
    disk: &SimulatedDisk,
    on_damage: OnDamage,
) -> Result<Arc<Shared>> {
    open_listed(disk, on_damage, &Arc::new(Index::new(disk)))
}

pub(in crate::engine::journaled::tests) fn open_listed(
    disk: &SimulatedDisk,
    on_damage: OnDamage,
    index: &Arc<Index>,
) -> Result<Arc<Shared>> {
    let index: Arc<dyn ObjectIndex> = Arc::clone(index) as _;
    open_indexed(disk, on_damage, index)
}

pub(in crate::engine::journaled::tests) fn open_indexed(
    disk: &SimulatedDisk,
    on_damage: OnDamage,
    index: Arc<dyn ObjectIndex>,
) -> Result<Arc<Shared>> {
    open_limited(disk, on_damage, index, HistoryLimits::default())
}

pub(in crate::engine::journaled::tests) fn open_limited(
    disk: &SimulatedDisk,
    on_damage: OnDamage,
    index: Arc<dyn ObjectIndex>,
    limits: HistoryLimits,
) -> Result<Arc<Shared>> {
    let data = PathBuf::from(DATA);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let history = History::open(Arc::clone(&disk), &data, limits)?;
    let history = history.map(Arc::new);
    let past = history.as_deref().map(|history| (history, 0));
    let recovered = recovery::recover(&data, &disk, options(), on_damage, &*index, past)?;
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH);
    let journal = recovered.generation.admit_by_hand()?;
    let places = Places { disk, data, index, history };
    Ok(Arc::new(Shared::new(places, journal, recovered.quarantine, clock, None)?))
}

/// An empty data directory.
pub(in crate::engine::journaled::tests) fn new_disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}
