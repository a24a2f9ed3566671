//! Which of an object's moments are kept, and why others are not.

use super::{Lost, Past};
use crate::engine::Point;
#[cfg(feature = "admin")]
use crate::engine::history::History;
#[cfg(feature = "admin")]
use crate::engine::pagestore::PageStore;
use crate::engine::pagestore::Stamp;
#[cfg(feature = "admin")]
use crate::id::RawId;
use crate::{Error, ErrorKind, Result};

/// A commit, and when it was made, in milliseconds since 1970.
#[cfg(feature = "admin")]
type Dated = (Point, i64);

/// States of an object that it can be restored to.
#[cfg(feature = "admin")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// The last ones, the youngest first.
    pub(crate) last: Vec<Dated>,
    /// The first of all.
    pub(crate) oldest: Option<Dated>,
}

#[cfg(feature = "admin")]
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
    pub(super) fn find(&self, time_ms: i64) -> Result<Point> {
        let moments = self.known_moments();
        let later = moments.partition_point(|moment| moment.stamp.time_ms <= time_ms);
        let Some(last) = later.checked_sub(1).and_then(|last| moments.get(last)) else {
            return Err(self.too_early(time_ms));
        };
        let point = Point::from(last.stamp);
        if !last.exists {
            return Err(self.explain(Lost::Deleted, point));
        }
        if let Some(next) = moments.get(later).filter(|next| !last.is_before(next)) {
            let text = format!(
                "the object's history has a gap: of what it was between {} and {} not everything is kept{}",
                time(last.stamp.time_ms),
                time(next.stamp.time_ms),
                self.given_up(Some(time_ms))
            );
            return Err(Error::new(ErrorKind::NotKept, text));
        }
        if self.file.map(Point::from) == Some(point) {
            return Ok(point);
        }
        self.way(point).map(|_| point).map_err(|lost| self.explain(lost, point))
    }

    /// All commits of which anything is known, in order.
    fn known_moments(&self) -> Vec<Moment> {
        let mut moments = Vec::new();
        for step in &self.commits {
            moments.push(Moment { stamp: step.stamp, exists: !step.deletes() });
        }
        for head in self.write_backs.iter().map(|kept| kept.place.head) {
            if head.size > 0 && !head.is_gap() {
                moments.push(Moment { stamp: head.from, exists: true });
            }
            moments.push(Moment { stamp: head.to, exists: !head.removes });
        }
        moments.extend(self.file.map(|stamp| Moment { stamp, exists: true }));
        moments.sort_by_key(|moment| Point::from(moment.stamp));
        moments.dedup_by_key(|moment| Point::from(moment.stamp));
        moments
    }

    /// The time of the first state that can be rebuilt.
    fn oldest_ms(&self) -> Option<i64> {
        let heads = self.write_backs.iter().map(|kept| kept.place.head);
        let boundaries = heads.filter(|head| head.size > 0 && !head.is_gap());
        let boundary = boundaries.map(|head| head.from.time_ms).min();
        let creations = self.commits.iter().filter(|step| step.creates());
        let creation = creations
            .filter(|step| self.way(step.point()).is_ok())
            .map(|step| step.stamp.time_ms)
            .min();
        let file = self.file.map(|file| file.time_ms);
        [boundary, creation, file].into_iter().flatten().min()
    }

    /// Why moments before a time may be lost, at the end of a text.
    fn given_up(&self, time_ms: Option<i64>) -> String {
        let anew = self.anew_ms.filter(|anew| time_ms.is_none_or(|time_ms| time_ms < *anew));
        anew.map_or_else(String::new, |anew| {
            format!(
                "; what was kept before {} could not be written on, and was given up",
                time(anew)
            )
        })
    }

    fn too_early(&self, time_ms: i64) -> Error {
        let given_up = self.given_up(Some(time_ms));
        let text = match self.oldest_ms() {
            Some(oldest) => format!(
                "the object did not exist at that time, or it is too long ago: its history goes back to {}{given_up}",
                time(oldest)
            ),
            None => format!("the object did not exist at that time{given_up}"),
        };
        Error::new(ErrorKind::NotKept, text)
    }

    pub(super) fn explain(&self, lost: Lost, point: Point) -> Error {
        if lost == Lost::Deleted {
            return Error::new(ErrorKind::NotKept, "the object did not exist at that moment");
        }
        let given_up = self.given_up(None);
        let text = match self.oldest_ms() {
            Some(oldest) => format!(
                "commit {} of the object is not kept: its history goes back to {}{given_up}",
                point.commit,
                time(oldest)
            ),
            None => format!("commit {} of the object is not kept{given_up}", point.commit),
        };
        Error::new(ErrorKind::NotKept, text)
    }

    #[cfg(feature = "admin")]
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

/// A commit of which something is known.
struct Moment {
    stamp: Stamp,
    /// Whether the object existed after it.
    exists: bool,
}

impl Moment {
    /// Whether there was none in between.
    fn is_before(&self, next: &Moment) -> bool {
        self.stamp.epoch == next.stamp.epoch && self.stamp.commit + 1 == next.stamp.commit
    }
}

/// A time as people read it.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}
