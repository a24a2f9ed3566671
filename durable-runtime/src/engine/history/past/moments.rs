//! Which of an object's states are kept.

use super::Past;
use crate::Result;
use crate::engine::Point;
use crate::engine::history::History;
use crate::engine::pagestore::PageStore;
use crate::id::RawId;

/// A commit, and when it was made, in milliseconds since 1970.
type Dated = (Point, i64);

/// States of an object that it can be restored to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// The last ones, the youngest first.
    pub(crate) last: Vec<Dated>,
    /// The first of all.
    pub(crate) oldest: Option<Dated>,
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
        Ok(self.past(id, store)?.kept_moments(count))
    }
}

impl Past {
    fn kept_moments(&self, count: usize) -> Moments {
        let known = self.known_moments();
        let is_kept = |(point, _): &Dated| {
            self.file.map(Point::from) == Some(*point) || self.way(*point).is_ok()
        };
        let there = known.iter().filter(|moment| moment.exists);
        let dated = there.map(|moment| (Point::from(moment.stamp), moment.stamp.time_ms));
        Moments {
            last: dated.clone().rev().filter(is_kept).take(count).collect(),
            oldest: dated.clone().find(is_kept),
        }
    }
}
