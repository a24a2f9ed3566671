//! The counter of the README.

use durable::prelude::*;

/// Counts visits, one object per page.
#[derive(Default)]
pub struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    /// Adds `by` and returns the new total.
    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
    }

    /// The total so far.
    pub fn total(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT total FROM hits", [])
    }
}

/// What a caller sees: values that are calls.
pub fn typed(stub: &CounterStub) -> (durable::Call<Counter, i64, durable::Error>, Option<&str>) {
    (stub.increment(1), stub.name())
}
