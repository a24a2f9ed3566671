//! Migrations: how an object's schema comes to the version of the program.
//!
//! The guarantee: migrations run in order, each once, each whole or not at all, and never on a
//! database whose history is not the program's own. For an object that was never written they are kept in
//! memory until its first commit.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::config::DbConfig;
use serde::de::DeserializeOwned;

use super::limits::Work;
use super::meta::History;
use super::{Cursor, Kv, Outcome, Params, Row, Sql, Store, millis};
use crate::engine::{Engine, ObjectKey, Scratch, sqlite};
use crate::id::{Identity, RawId};
use crate::object::MigrationInfo;
use crate::rpc::Access;
use crate::{Error, ErrorKind, Result};

pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS _durable_migrations (version INTEGER PRIMARY KEY, \
    name TEXT NOT NULL, checksum INTEGER NOT NULL, applied_at INTEGER NOT NULL) STRICT";
const INSERT: &str =
    "INSERT INTO _durable_migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)";
const SELECT: &str = "SELECT version, name, checksum FROM _durable_migrations ORDER BY version";

/// The database as a migration sees it: SQL, keys and values, in the migration's own transaction.
///
/// While it runs, foreign keys are not enforced, so that tables can be rebuilt; they are checked before
/// the commit. Everything else is as in a turn: see [`Sql`] for rows, limits and errors.
///
/// ```
/// use durable_runtime::{Migration, Result};
///
/// fn create_posts(db: &mut Migration<'_>) -> Result<()> {
///     db.execute_batch("CREATE TABLE posts (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
/// }
/// ```
#[derive(Debug)]
pub struct Migration<'a> {
    store: &'a Store,
    version: u32,
}

#[cfg(feature = "admin")]
impl<'a> Migration<'a> {
    pub(super) fn new(store: &'a Store, version: u32) -> Self {
        Migration { store, version }
    }
}

impl Migration<'_> {
    /// The schema version that this migration leads to.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The object's keys and values.
    pub fn kv(&self) -> Kv<'_> {
        self.store.kv()
    }

    /// Runs `code` as a transaction of its own inside the migration: see
    /// [`Context::transaction`](crate::Context::transaction).
    pub fn transaction<R: Outcome>(&self, code: impl FnOnce() -> R) -> R::Output {
        self.store.transaction(code)
    }

    fn sql(&self) -> Sql<'_> {
        self.store.sql()
    }

    /// Runs one statement and returns how many rows it changed: see [`Sql::execute`].
    pub fn execute(&self, query: &str, params: impl Params) -> Result<usize> {
        self.sql().execute(query, params)
    }

    /// Runs one statement that gives exactly one row: see [`Sql::query_one`].
    pub fn query_one<T: DeserializeOwned>(&self, query: &str, params: impl Params) -> Result<T> {
        self.sql().query_one(query, params)
    }

    /// Runs one statement that gives one row or none: see [`Sql::query_optional`].
    pub fn query_optional<T: DeserializeOwned>(
        &self,
        query: &str,
        params: impl Params,
    ) -> Result<Option<T>> {
        self.sql().query_optional(query, params)
    }

    /// Runs one statement and returns all its rows: see [`Sql::query_all`].
    pub fn query_all<T: DeserializeOwned>(
        &self,
        query: &str,
        params: impl Params,
    ) -> Result<Vec<T>> {
        self.sql().query_all(query, params)
    }

    /// Runs one or several statements and returns the rows of the last: see [`Sql::exec`].
    pub fn exec(&self, query: &str, params: impl Params) -> Result<Cursor> {
        self.sql().exec(query, params)
    }

    /// Runs one statement and hands each row to `each`: see [`Sql::query_each`].
    pub fn query_each<E: From<Error>>(
        &self,
        query: &str,
        params: impl Params,
        each: impl FnMut(Row<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.sql().query_each(query, params, each)
    }

    /// Runs any number of statements: see [`Sql::execute_batch`].
    pub fn execute_batch(&self, sql: &str) -> Result<()> {
        self.sql().execute_batch(sql)
    }
}

/// Runs all migrations of a class on an empty database in memory.
///
/// # Errors
/// The error of the first migration that fails, naming the class and the migration.
pub(crate) fn check_migrations(schema: &'static [MigrationInfo], class: &str) -> Result<()> {
    let identity = Identity::new(Arc::from(class), RawId::from_name(class, None, class));
    let mut store = Store::new(Arc::new(Scratch), Arc::new(identity), schema);
    let applied = store.activate(SystemTime::now());
    applied.map(|_| ()).map_err(|error| error.context(format!("class `{class}`")))
}

/// What became of an object whose migrations were tried.
pub(crate) struct Tried {
    pub(crate) name: Option<Arc<str>>,
    /// The schema version before.
    pub(crate) from: u32,
    pub(crate) outcome: Result<()>,
}

/// Runs the migrations that an object of a trial has not had, by way of `guard`, since they are user code.
pub(crate) fn try_migrations(
    engine: Arc<dyn Engine>,
    object: &ObjectKey,
    schema: &'static [MigrationInfo],
    guard: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>,
) -> Tried {
    let identity = Arc::new(Identity::new(Arc::clone(&object.class), object.id));
    let mut store = Store::new(engine, Arc::clone(&identity), schema);
    let sql = "PRAGMA user_version";
    let from = store.database().and_then(|database| {
        let version = database.connection().query_row(sql, [], |row| row.get(0));
        version.map_err(sqlite::error)
    });
    let (from, outcome) = match from {
        Ok(from) => (from, guard(&mut || store.activate(SystemTime::now()).map(drop))),
        Err(error) => (0, Err(error)),
    };
    Tried { name: identity.name.get().cloned(), from, outcome }
}

/// A migration that has just begun, and how it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MigrationRun {
    /// The schema version it leads to.
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) begun: Instant,
    /// How long it took; none if it failed.
    pub(crate) took: Option<Duration>,
}

impl Store {
    /// Checks the history of the object and runs what is missing. Each run is noted when it begins, so that the one
    /// that fails or panics is known, too.
    pub(super) fn migrate(
        &mut self,
        history: History,
        now: SystemTime,
        runs: &mut Vec<MigrationRun>,
    ) -> Result<()> {
        let version = match history {
            History::Absent => 0,
            History::Present => self.check_history()?,
        };
        let schema = self.schema;
        for (number, info) in (1..).zip(schema).skip(version) {
            if info.number != number {
                return Err(failure(format_args!(
                    "migration {} `{}` stands where migration {number} belongs",
                    info.number, info.name
                )));
            }
            let begun = Instant::now();
            let run = MigrationRun { number, name: info.name, begun, took: None };
            runs.push(run);
            self.apply(info, now).map_err(|error| failed(info, &error))?;
            let done = MigrationRun { took: Some(begun.elapsed()), ..run };
            if let Some(run) = runs.last_mut() {
                *run = done;
            }
        }
        Ok(())
    }

    /// How many migrations the object has had, all of them the program's own.
    fn check_history(&self) -> Result<usize> {
        let rows = {
            let _ours = self.guard.lift();
            history(self.database()?.connection()).map_err(sqlite::error)?
        };
        let (stored, known) = (rows.last().map_or(0, |row| row.0), self.schema.len());
        if usize::try_from(stored).is_ok_and(|stored| stored > known) {
            return Err(failure(format_args!(
                "the object has schema version {stored} and this program knows versions up to {known}: \
                 run the newer program"
            )));
        }
        for ((number, (version, name, checksum)), info) in (1..).zip(&rows).zip(self.schema) {
            let current = stored_checksum(info);
            if *version != number {
                return Err(failure(format_args!(
                    "the object has had migration {version} and not migration {number}"
                )));
            }
            if *checksum != current.cast_signed() {
                return Err(failure(format_args!(
                    "migration {number} `{name}` was changed after it was applied (its checksum was \
                     {checksum:016x} and is {current:016x}): undo the change and add migration {}",
                    known + 1
                )));
            }
        }
        Ok(rows.len())
    }

    fn apply(&mut self, info: &MigrationInfo, now: SystemTime) -> Result<()> {
        let attempt = Attempt::begin(self)?;
        (info.apply)(&mut Migration { store: attempt.store, version: info.number })?;
        attempt.store.record(info, now)?;
        attempt.commit()
    }

    /// Runs all of them in the transaction of the turn, on a database that holds nothing.
    pub(super) fn apply_all(&self, now: SystemTime) -> Result<()> {
        self.schema.iter().try_for_each(|info| {
            (info.apply)(&mut Migration { store: self, version: info.number })
                .and_then(|()| self.record(info, now))
                .map_err(|error| failed(info, &error))
        })
    }

    pub(super) fn record(&self, info: &MigrationInfo, now: SystemTime) -> Result<()> {
        let connection = self.enter()?;
        let _ours = self.guard.lift();
        let write = || {
            connection.execute_batch(CREATE)?;
            let checksum = stored_checksum(info).cast_signed();
            connection.execute(INSERT, (info.number, info.name, checksum, millis(now)))?;
            connection.execute_batch(&format!("PRAGMA user_version = {}", info.number))?;
            orphan(connection)
        };
        match write().map_err(|error| self.failed(error))? {
            None => Ok(()),
            Some(orphan) => Err(Error::new(ErrorKind::Constraint, orphan)),
        }
    }
}

/// A migration's transaction: dropped without a commit, also by a panic, it is rolled back.
struct Attempt<'a> {
    store: &'a mut Store,
}

impl<'a> Attempt<'a> {
    fn begin(store: &'a mut Store) -> Result<Self> {
        store.lift_limits(true)?;
        let attempt = Attempt { store };
        attempt.store.begin_turn(Access::Write);
        attempt.store.enter()?;
        attempt.store.deadline.begin(Work::Migration);
        Ok(attempt)
    }

    fn commit(self) -> Result<()> {
        self.store.deadline.end();
        self.store.check_transaction(None);
        if let Some(doomed) = self.store.doomed() {
            return Err(doomed);
        }
        let receipt = self.store.with_database(|database| {
            if database.is_stored() {
                return database.commit().map(Some);
            }
            database.commit_provisional().map(|()| None)
        })?;
        self.store.turn.begun.set(false);
        // A provisional commit says nothing of an earlier one, such as a deletion.
        if let Some(receipt) = receipt {
            self.store.latest = receipt;
        }
        Ok(())
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.store.rollback_turn();
        self.store.settle();
        // It cannot fail on an open connection; a closed one enforces nothing.
        let _ = self.store.lift_limits(false);
    }
}

/// As long as it lives, migrations may run.
pub(super) struct Relaxed<'a>(&'a Store);

impl Drop for Relaxed<'_> {
    fn drop(&mut self) {
        self.0.settle();
        let _ = self.0.lift_limits(false);
    }
}

impl Store {
    pub(super) fn relax(&self) -> Result<Relaxed<'_>> {
        self.lift_limits(true).map(|()| Relaxed(self))
    }

    /// What migrations may do and turns may not: break foreign keys on the way, and change much.
    fn lift_limits(&self, lift: bool) -> Result<()> {
        self.database()?.allow_large_transactions(lift);
        self.enforce_foreign_keys(!lift)
    }

    /// Not by the pragma, which does nothing inside a transaction.
    pub(super) fn enforce_foreign_keys(&self, enforce: bool) -> Result<()> {
        let connection = self.database()?.connection();
        let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, enforce);
        set.map(|_| ()).map_err(sqlite::error)
    }
}

/// Writes down that a database has had the first migrations, although they did not run here.
///
/// # Errors
/// [`ErrorKind::Migration`] when there are not so many.
pub(super) fn record_as_applied(
    connection: &rusqlite::Connection,
    schema: &[MigrationInfo],
    version: u32,
    now_ms: i64,
) -> Result<()> {
    let known = schema.len();
    let applied = usize::try_from(version).ok().and_then(|version| schema.get(..version));
    let Some(applied) = applied else {
        return Err(failure(format_args!(
            "its `user_version` says schema version {version}, and this program knows versions up to {known}: \
             run the newer program"
        )));
    };
    if applied.is_empty() {
        return Ok(());
    }
    connection.execute_batch(CREATE).map_err(sqlite::error)?;
    for info in applied {
        let checksum = stored_checksum(info).cast_signed();
        connection
            .execute(INSERT, (info.number, info.name, checksum, now_ms))
            .map_err(sqlite::error)?;
    }
    Ok(())
}

fn history(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<(i64, String, i64)>> {
    let mut statement = connection.prepare(SELECT)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// The first row that refers to one that is not there.
pub(super) fn orphan(connection: &rusqlite::Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
    let place = match row.get::<_, Option<i64>>(1)? {
        Some(rowid) => format!("row {rowid} of table `{table}`"),
        None => format!("a row of table `{table}`"),
    };
    Ok(Some(format!("{place} refers to a row of table `{parent}` that does not exist")))
}

pub(super) fn failed(info: &MigrationInfo, error: &Error) -> Error {
    failure(format_args!("migration {} `{}` failed: {error}", info.number, info.name))
}

fn failure(message: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Migration, message)
}

/// FNV-1a, 64 bits, over the checksum of the function and each text of SQL that it names. A promise: stored
/// with every object.
fn stored_checksum(info: &MigrationInfo) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(&info.checksum.to_le_bytes());
    for sql in info.sql {
        // The length keeps two texts apart from one.
        add(&(sql.len() as u64).to_le_bytes());
        add(sql.as_bytes());
    }
    hash
}

#[cfg(test)]
mod tests;
