//! Which of an object's states are kept.

use std::collections::BTreeMap;

use super::{Past, Step};
use crate::Result;
use crate::engine::Point;
use crate::engine::history::History;
use crate::engine::pagestore::{PageStore, Stamp};
use crate::id::RawId;

/// A commit, and when it was made, in milliseconds since 1970.
type Moment = (Point, i64);

/// States of an object that it can be restored to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// The last ones, the youngest first.
    pub(crate) last: Vec<Moment>,
    /// The first of all.
    pub(crate) oldest: Option<Moment>,
}

impl History {
    /// So many of an object's last commits that can be rebuilt, and the first of all. Its file, which is this store, holds all
    /// commits.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub(crate) fn moments(
        &self,
        id: RawId,
        store: &dyn PageStore,
        count: usize,
    ) -> Result<Moments> {
        Ok(self.past(id, store)?.moments(count))
    }
}

impl Past {
    fn moments(&self, count: usize) -> Moments {
        let boundaries = self.write_backs.iter().filter(|kept| kept.place.head.size > 0);
        let stamps = boundaries
            .map(|kept| kept.place.head.from)
            .chain(self.commits.iter().filter(|step| !Step::deletes(step)).map(|step| step.stamp))
            .chain(self.file);
        let moment = |stamp: Stamp| (Point::from(stamp), stamp.time_ms);
        let known: BTreeMap<Point, i64> = stamps.map(moment).collect();
        let is_kept = |(point, _): &(&Point, &i64)| {
            self.file.map(Point::from) == Some(**point) || self.way(**point).is_ok()
        };
        let owned = |(point, time): (&Point, &i64)| (*point, *time);
        Moments {
            last: known.iter().rev().filter(is_kept).take(count).map(owned).collect(),
            oldest: known.iter().find(is_kept).map(owned),
        }
    }
}
