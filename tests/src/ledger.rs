//! An object whose every turn leaves a trace in three places that must agree, for crash tests.

use durable::prelude::*;

/// Writes down numbers: in a table, as a sum in another, and as a count in the key-value store.
#[derive(Debug, Default)]
pub struct Ledger;

#[durable_object]
impl Ledger {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE entries (number INTEGER NOT NULL, padding BLOB);
             CREATE TABLE sums (total INTEGER NOT NULL);
             INSERT INTO sums VALUES (0)",
        )
    }

    /// Writes down a number together with some bytes.
    pub fn enter(&mut self, ctx: &Context, number: i64, bytes: usize) -> Result<()> {
        let padding = vec![number.to_le_bytes()[0]; bytes];
        ctx.sql().execute("INSERT INTO entries VALUES (?, ?)", (number, padding))?;
        ctx.sql().execute("UPDATE sums SET total = total + ?", [number])?;
        let count: i64 = ctx.kv().get("count")?.unwrap_or_default();
        ctx.kv().put("count", &(count + 1))
    }

    /// All numbers, after a check that the three places agree.
    pub fn audit(&self, ctx: &Context) -> Result<Vec<i64>> {
        let numbers: Vec<i64> =
            ctx.sql().query_all("SELECT number FROM entries ORDER BY number", [])?;
        let total: i64 = ctx.sql().query_one("SELECT total FROM sums", [])?;
        let count: i64 = ctx.kv().get("count")?.unwrap_or_default();
        assert_eq!(total, numbers.iter().sum::<i64>(), "half a turn");
        assert_eq!(usize::try_from(count), Ok(numbers.len()), "half a turn");
        Ok(numbers)
    }
}
