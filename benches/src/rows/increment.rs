//! Durable increments, against stock SQLite (WAL, `synchronous=FULL`) driven by hand.

use std::sync::Arc;

use durable::prelude::*;
use rusqlite::Connection;

use crate::measure::{Row, Run, rate};
use crate::rows::rpc::fail;

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
    }
}

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "durable increment, one at a time",
        unit: "calls/s",
        limit_name: "stock SQLite, WAL, synchronous=FULL",
        set_up,
    }]
}

fn set_up() -> (Run, Run) {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let executor = Arc::new(executor.unwrap_or_else(|error| fail(&error.to_string())));
    let directory = tempfile::tempdir().unwrap_or_else(|error| fail(&error.to_string())).keep();
    let stub = executor.block_on(async {
        let runtime = Runtime::builder(directory.join("ours")).register::<Counter>().start().await;
        let runtime = runtime.unwrap_or_else(|error| fail(&error.to_string()));
        let stub = runtime.get::<Counter>("home");
        // The process ends with the runtime.
        std::mem::forget(runtime);
        stub
    });
    let ours: Run = Box::new(move |time| {
        rate(time, || match executor.block_on(stub.increment(1)) {
            Ok(_) => 1,
            Err(error) => fail(&error.to_string()),
        })
    });
    let stock = stock(&directory.join("stock.db")).unwrap_or_else(|error| fail(&error.to_string()));
    let limit: Run = Box::new(move |time| {
        rate(time, || match increment(&stock) {
            Ok(_) => 1,
            Err(error) => fail(&error.to_string()),
        })
    });
    (ours, limit)
}

fn stock(file: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0);",
    )?;
    Ok(connection)
}

fn increment(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement =
        connection.prepare_cached("UPDATE hits SET total = total + ? RETURNING total")?;
    statement.query_row([1], |row| row.get(0))
}
