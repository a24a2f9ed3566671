//! Statements inside one turn, against bare rusqlite in memory with cached statements.
//!
//! Both sides time the statements alone: what a commit costs is in the rows of increments.

use std::time::Instant;

use durable::prelude::*;
use rusqlite::{Connection, OptionalExtension};

use crate::measure::{Pace, Row, Run, Sides, per_second};
use crate::rows::fleet::Fleet;
use crate::rows::ok;

/// Statements of one turn.
const COUNT: usize = 10_000;
/// Rows and keys there are.
const ITEMS: usize = 1_000;
/// Rows that a list has.
const LIST: usize = 100;

const TABLES: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
    CREATE TABLE list (item INTEGER NOT NULL); CREATE TABLE log (value INTEGER NOT NULL);
    WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
    INSERT INTO items SELECT n, n * 2 FROM n; INSERT INTO list SELECT id FROM items WHERE id < 100;";
const SELECT: &str = "SELECT value FROM items WHERE id = ?";
const INSERT: &str = "INSERT INTO log VALUES (?)";
const JOIN: &str = "SELECT value FROM list JOIN items ON id = item";
// The runtime's own table and statements.
const KV_TABLE: &str =
    "CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID";
const KV_GET: &str = "SELECT value FROM kv WHERE key = ?1";
const KV_LIST: &str = "SELECT key, value FROM kv ORDER BY key";
const KV_PUT: &str = "INSERT INTO kv (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

#[derive(Default)]
struct Shelf;

#[durable_object]
impl Shelf {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(TABLES)
    }

    pub fn fill(&mut self, ctx: &Context) -> Result<()> {
        (0..ITEMS).try_for_each(|n| ctx.kv().put(&key(n), &n))
    }

    pub fn select(&self, ctx: &Context) -> Result<f64> {
        timed(|n| ctx.sql().query_one::<i64>(SELECT, [n % ITEMS]).map(drop))
    }

    pub fn insert(&mut self, ctx: &Context) -> Result<f64> {
        ctx.sql().execute("DELETE FROM log", [])?;
        timed(|n| ctx.sql().execute(INSERT, [n]).map(drop))
    }

    pub fn get(&self, ctx: &Context) -> Result<f64> {
        timed(|n| ctx.kv().get::<usize>(&key(n % ITEMS)).map(drop))
    }

    pub fn put(&mut self, ctx: &Context) -> Result<f64> {
        timed(|n| ctx.kv().put(&key(n % ITEMS), &n))
    }

    pub fn list(&self, ctx: &Context) -> Result<f64> {
        timed_lists(|| {
            let entries: Vec<(String, usize)> = ctx.kv().list(..)?.collect::<Result<_>>()?;
            debug_assert_eq!(entries.len(), ITEMS);
            Ok(())
        })
    }

    pub fn n_plus_one(&self, ctx: &Context) -> Result<f64> {
        timed_lists(|| {
            let list: Vec<i64> = ctx.sql().query_all("SELECT item FROM list", [])?;
            for item in list {
                ctx.sql().query_one::<i64>(SELECT, [item])?;
            }
            Ok(())
        })
    }

    pub fn join(&self, ctx: &Context) -> Result<f64> {
        timed_lists(|| ctx.sql().query_all::<i64>(JOIN, []).map(drop))
    }
}

fn key(n: usize) -> String {
    format!("key {n}")
}

/// Statements a second.
fn timed<E>(
    mut statement: impl FnMut(usize) -> std::result::Result<(), E>,
) -> std::result::Result<f64, E> {
    let begin = Instant::now();
    (0..COUNT).try_for_each(&mut statement)?;
    Ok(per_second(COUNT, begin.elapsed()))
}

/// Lists a second.
fn timed_lists<E>(
    mut read: impl FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<f64, E> {
    let begin = Instant::now();
    (0..COUNT / LIST).try_for_each(|_| read())?;
    Ok(per_second(COUNT / LIST, begin.elapsed()))
}

pub(crate) fn rows() -> Vec<Row> {
    let row =
        |name, unit, limit_name, set_up| Row { name, unit, limit_name, pace: Pace::Timed, set_up };
    let bare = "bare rusqlite in memory, cached statements";
    vec![
        row("kv get inside a turn", "operations/s", bare, |_| {
            sides(ShelfStub::get, |bare| timed(|n| kv_get(bare, n)))
        }),
        row("kv put inside a turn", "operations/s", bare, |_| {
            sides(ShelfStub::put, |bare| in_transaction(bare, kv_put))
        }),
        row("kv list of 1,000 keys inside a turn", "lists/s", bare, |_| {
            sides(ShelfStub::list, |bare| timed_lists(|| kv_list(bare)))
        }),
        row("point select inside a turn", "statements/s", bare, |_| {
            sides(ShelfStub::select, |bare| timed(|n| point(bare, n)))
        }),
        row("insert inside a turn", "statements/s", bare, |_| {
            sides(ShelfStub::insert, |bare| {
                bare.execute("DELETE FROM log", [])?;
                in_transaction(bare, insert)
            })
        }),
        row("101 point selects instead of a join", "lists of 100/s", "one join in a turn", |_| {
            let fleet = std::rc::Rc::new(shelf());
            let (ours, limit) = (fleet.clone(), fleet);
            Sides::pair(turns(ours, ShelfStub::n_plus_one), turns(limit, ShelfStub::join))
        }),
    ]
}

type ShelfCall = durable::Call<Shelf, f64, durable::Error>;

fn shelf() -> Fleet<Shelf> {
    let fleet = Fleet::<Shelf>::new(&std::env::temp_dir(), 1);
    ok(fleet.executor.block_on(fleet.stubs[0].fill()));
    fleet
}

fn sides(
    turn: fn(&ShelfStub) -> ShelfCall,
    bare: fn(&Connection) -> rusqlite::Result<f64>,
) -> Sides {
    let connection = ok(bare_shelf());
    let limit: Run = Box::new(move |time| mean(time, || ok(bare(&connection))));
    Sides::pair(turns(std::rc::Rc::new(shelf()), turn), limit)
}

fn turns(fleet: std::rc::Rc<Fleet<Shelf>>, turn: fn(&ShelfStub) -> ShelfCall) -> Run {
    Box::new(move |time| mean(time, || ok(fleet.executor.block_on(turn(&fleet.stubs[0])))))
}

/// The mean of as many turns as fit into the time.
fn mean(time: std::time::Duration, mut turn: impl FnMut() -> f64) -> f64 {
    let begin = Instant::now();
    let (mut sum, mut turns) = (0.0, 0.0);
    while begin.elapsed() < time {
        sum += turn();
        turns += 1.0;
    }
    sum / turns
}

/// The same tables, with the layout of an object's database.
fn bare_shelf() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL")?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(KV_TABLE)?;
    (0..ITEMS).try_for_each(|n| kv_put(&connection, n))?;
    Ok(connection)
}

fn in_transaction(
    bare: &Connection,
    statement: fn(&Connection, usize) -> rusqlite::Result<()>,
) -> rusqlite::Result<f64> {
    bare.execute_batch("BEGIN")?;
    let rate = timed(|n| statement(bare, n))?;
    bare.execute_batch("COMMIT")?;
    Ok(rate)
}

fn point(bare: &Connection, n: usize) -> rusqlite::Result<()> {
    bare.prepare_cached(SELECT)?.query_row([n % ITEMS], |row| row.get::<_, i64>(0)).map(drop)
}

fn insert(bare: &Connection, n: usize) -> rusqlite::Result<()> {
    bare.prepare_cached(INSERT)?.execute([n]).map(drop)
}

fn kv_get(bare: &Connection, n: usize) -> rusqlite::Result<()> {
    let mut statement = bare.prepare_cached(KV_GET)?;
    statement.query_row([key(n % ITEMS)], |row| row.get::<_, Vec<u8>>(0)).optional().map(drop)
}

fn kv_put(bare: &Connection, n: usize) -> rusqlite::Result<()> {
    bare.prepare_cached(KV_PUT)?.execute((key(n % ITEMS), n.to_le_bytes())).map(drop)
}

/// The bytes of all values, which nobody decodes.
fn kv_list(bare: &Connection) -> rusqlite::Result<()> {
    let mut statement = bare.prepare_cached(KV_LIST)?;
    let entries =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    entries.collect::<rusqlite::Result<Vec<_>>>().map(drop)
}
