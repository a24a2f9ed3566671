//! A page of the site: the durable object that counts its visits.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// Visits of one page: those in a few lines of the log, or all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visits {
    /// How many.
    pub hits: i64,
    /// The sizes of all responses together.
    pub bytes: i64,
    /// The time of the first, in seconds since 1970 in UTC.
    pub first: i64,
    /// The time of the last.
    pub last: i64,
}

impl Visits {
    /// These visits and the `others` together.
    #[must_use]
    pub fn and(self, others: Visits) -> Visits {
        Visits {
            hits: self.hits.saturating_add(others.hits),
            bytes: self.bytes.saturating_add(others.bytes),
            first: self.first.min(others.first),
            last: self.last.max(others.last),
        }
    }
}

/// One page of the site. The object's name is the page's path.
///
/// There are no fields: everything is in the object's own database. What an object keeps in
/// fields is gone when it is evicted or the program ends; what it writes is not.
#[derive(Default)]
pub struct Page;

#[durable_object]
impl Page {
    /// Runs once for each page, before its first call.
    #[migration(1)]
    fn create_visits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE visits (
                 id    INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
                 hits  INTEGER NOT NULL,
                 bytes INTEGER NOT NULL,
                 first INTEGER NOT NULL,
                 last  INTEGER NOT NULL
             )",
        )
    }

    /// Adds visits to those so far.
    ///
    /// It reads, computes and writes, and needs no lock for it: calls to one object run one after
    /// the other, each in a transaction. The caller has its answer once the new row is durable.
    pub fn record(&mut self, ctx: &Context, new: Visits) -> Result<()> {
        let all = self.visits(ctx)?.map_or(new, |so_far| so_far.and(new));
        let row = (all.hits, all.bytes, all.first, all.last);
        ctx.sql().execute("INSERT OR REPLACE INTO visits VALUES (1, ?, ?, ?, ?)", row)?;
        Ok(())
    }

    /// The visits so far; none for a page that nobody has been to.
    ///
    /// It takes `&self`, so it cannot write, and asking creates nothing on disk.
    pub fn visits(&self, ctx: &Context) -> Result<Option<Visits>> {
        ctx.sql().query_optional("SELECT hits, bytes, first, last FROM visits", [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_add_up_in_any_order() {
        let old = Visits { hits: 2, bytes: 30, first: 100, last: 200 };
        let new = Visits { hits: 1, bytes: 5, first: 150, last: 250 };
        let both = Visits { hits: 3, bytes: 35, first: 100, last: 250 };
        assert_eq!(old.and(new), both);
        assert_eq!(new.and(old), both);
    }
}
