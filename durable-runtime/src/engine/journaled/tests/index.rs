//! The catalogue of the tests.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::engine::catalogue::{ObjectIndex, Row};
use crate::engine::files::simulated::SimulatedDisk;
use crate::engine::wakes::{Due, Wake, WakeTable};
use crate::engine::{Known, Listed, ObjectKey, Order};
use crate::{Error, Result};

/// A list of objects that dies with the disk, and keeps all that it was told.
#[derive(Debug)]
pub(super) struct Index {
    disk: SimulatedDisk,
    pub(super) rows: Mutex<HashMap<ObjectKey, Row>>,
    pub(super) wakes: Mutex<BTreeMap<ObjectKey, i64>>,
}

impl Index {
    pub(super) fn new(disk: &SimulatedDisk) -> Index {
        Index { disk: disk.clone(), rows: Mutex::default(), wakes: Mutex::default() }
    }
}

impl WakeTable for Index {
    fn after(&self, last: Option<&Due>, count: usize) -> Result<Vec<Due>> {
        let wakes = self.wakes.lock();
        let mut due: Vec<Due> =
            wakes.iter().map(|(object, time)| (*time, object.clone())).collect();
        due.sort();
        Ok(due.into_iter().filter(|due| last.is_none_or(|last| due > last)).take(count).collect())
    }

    fn write(&self, changes: &[(ObjectKey, Wake)]) -> Result<()> {
        if self.disk.has_crashed() {
            return Err(Error::other("the power is off"));
        }
        let mut wakes = self.wakes.lock();
        for (key, wake) in changes {
            match wake.time_ms {
                Some(time) => wakes.insert(key.clone(), time),
                None => wakes.remove(key),
            };
        }
        Ok(())
    }

    fn given_up(&self, _: &str) -> Result<Vec<ObjectKey>> {
        Ok(Vec::new())
    }
}

impl ObjectIndex for Index {
    fn page(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>> {
        let rows = self.rows.lock();
        let mut places = BTreeMap::new();
        for (key, row) in rows.iter().filter(|(key, _)| *key.class == *class) {
            let place = order.place(key.id, row.about.name.as_ref());
            let known = Known { row: row.clone(), ..Known::default() };
            places.extend(place.map(|place| (place, (key.id, known))));
        }
        Ok(places.into_values().take(count).collect())
    }

    fn find(&self, object: &ObjectKey) -> Result<Option<Known>> {
        let row = self.rows.lock().get(object).cloned();
        Ok(row.map(|row| Known { row, ..Known::default() }))
    }

    fn store_with_uses(&self, rows: &[(ObjectKey, Row)], _: &[(ObjectKey, i64)]) -> Result<()> {
        if self.disk.has_crashed() {
            return Err(Error::other("the power is off"));
        }
        let mut known = self.rows.lock();
        for (key, row) in rows {
            known.entry(key.clone()).or_default().update(row.clone());
        }
        Ok(())
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn set_complete(&self) -> Result<()> {
        Ok(())
    }
}
