//! SQL that asks for too much: the turn fails, the object answers.

use std::time::Duration;

use durable::prelude::*;
use durable::{CallError, ErrorKind};

const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

#[derive(Default)]
struct Mill {
    turns: u64,
}

#[durable_object]
impl Mill {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE grain (x)")
    }

    pub fn grind(&mut self, ctx: &Context) -> Result<i64> {
        ctx.sql().execute("INSERT INTO grain VALUES (1)", [])?;
        ctx.sql().query_one(&format!("{ENDLESS} SELECT max(i) FROM n"), [])
    }

    /// The same, with the error ignored.
    pub fn grind_on(&mut self, ctx: &Context) -> Result<()> {
        let _ = ctx.sql().execute(&format!("{ENDLESS} INSERT INTO grain SELECT i FROM n"), []);
        Ok(())
    }

    pub fn gather(&mut self, ctx: &Context) -> Result<usize> {
        let rows = ctx.sql().exec(&format!("{ENDLESS} SELECT randomblob(100000) FROM n"), [])?;
        Ok(rows.len())
    }

    pub fn fill(&mut self, ctx: &Context, bytes: u64) -> Result<usize> {
        ctx.sql().execute("INSERT INTO grain VALUES (zeroblob(?))", [bytes])
    }

    pub fn grains(&mut self, ctx: &Context) -> Result<(u64, i64)> {
        self.turns += 1;
        Ok((self.turns, ctx.sql().query_one("SELECT count(*) FROM grain", [])?))
    }
}

async fn mill(limit: Duration) -> (tempfile::TempDir, Runtime) {
    let data = tempfile::tempdir().unwrap();
    let builder = Runtime::builder(data.path()).register::<Mill>();
    let runtime = builder.turn_limit(limit).database_limit(1_000_000).start().await.unwrap();
    (data, runtime)
}

fn kind<T: std::fmt::Debug>(result: Result<T, CallError<durable::Error>>) -> ErrorKind {
    result.unwrap_err().flatten().kind()
}

#[tokio::test]
async fn a_turn_that_never_ends_is_undone_and_the_object_answers() {
    let (_data, runtime) = mill(Duration::ZERO).await;
    let mill = runtime.get::<Mill>("old");
    assert_eq!(kind(mill.grind().await), ErrorKind::TimedOut);
    assert_eq!(mill.grains().await.unwrap(), (1, 0));
    assert_eq!(kind(mill.grind_on().await), ErrorKind::RolledBack);
    assert_eq!(mill.grains().await.unwrap(), (1, 0));
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn rows_and_databases_that_get_too_large_are_refused() {
    let (_data, runtime) = mill(Duration::from_secs(600)).await;
    let mill = runtime.get::<Mill>("rich");
    assert_eq!(kind(mill.gather().await), ErrorKind::Limit);
    assert_eq!(mill.fill(900_000).await.unwrap(), 1);
    assert_eq!(kind(mill.fill(900_000).await), ErrorKind::Limit);
    assert_eq!(mill.grains().await.unwrap().1, 1);
    runtime.shutdown().await.unwrap();
}
