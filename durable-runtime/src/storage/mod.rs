//! The storage of one object: SQL, keys and values, migrations, all in the transaction of a turn.
//!
//! The guarantee: what a turn wrote is stored whole when its commit succeeds, and is gone when it does not.
//! No statement ever runs outside a transaction, no user's statement touches the framework's tables,
//! and a read leaves no trace of an object that was never written.

pub(crate) mod alarm;
mod buffer;
mod copy;
mod cursor;
mod dead_letters;
mod delete;
mod expiry;
mod functions;
mod guard;
mod history;
mod import;
pub(crate) mod inbox;
mod kv;
mod limits;
mod live;
mod meta;
mod migration;
pub(crate) mod outbox;
mod params;
mod row;
mod sql;
pub(crate) mod timers;
mod transaction;
mod value;
#[cfg(feature = "admin")]
pub(crate) mod visit;
mod work;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

pub use alarm::FailedAlarm;
pub(crate) use copy::become_new;
pub use cursor::Cursor;
pub use dead_letters::DeadLetter;
pub(crate) use history::Wish;
pub(crate) use import::Importer;
pub use kv::{KV_BATCH_KEYS_MAX, KV_ENTRY_BYTES_MAX, KV_KEY_BYTES_MAX};
pub use kv::{Kv, KvKeys, KvList, KvRange};
pub(crate) use kv::{read_message, write_message};
pub(crate) use limits::Limits;
pub use live::{ColumnIndex, Row};
pub use migration::Migration;
pub(crate) use migration::{MigrationRun, Tried, check_migrations, try_migrations};
pub use params::Params;
pub use rusqlite::ToSql;
pub use sql::Sql;
pub use transaction::{Outcome, Rollback};
pub use value::Value;

use self::expiry::Expiry;
use self::guard::Guard;
use self::limits::{Deadline, Work};
use self::meta::Stored;
use crate::engine::{About, Absent, Configure, Database, Engine, ObjectKey, Receipt, sqlite};
use crate::id::Identity;
use crate::object::MigrationInfo;
use crate::rpc::Access;
use crate::{Error, ErrorKind, Result};

/// The storage of one live object.
pub(crate) struct Store {
    engine: Arc<dyn Engine>,
    identity: Arc<Identity>,
    schema: &'static [MigrationInfo],
    /// Whether the program has no such class, so that nobody knows what its schema is to be.
    is_strange: bool,
    guard: Arc<Guard>,
    deadline: Arc<Deadline>,
    /// Whether the connection has the functions that not every object needs.
    functions: Cell<bool>,
    database: OnceCell<Box<dyn Database>>,
    turn: Turn,
    /// Work whose tables are known not to be there.
    absent: Cell<Absent>,
    /// Until when the object is kept although nobody uses it.
    expiry: Expiry,
    /// Whether the last turn, or the one that runs, touched the database.
    used: Cell<bool>,
    /// Whether the database is checked and of the program's schema, or need not be opened for that.
    active: bool,
    /// What `_durable_meta` is known to hold.
    stored: Stored,
    /// Of the last commit. Earlier ones are durable by then, too.
    latest: Receipt,
    /// Of the last commit before the database was opened: an object that was deleted is opened anew before its
    /// deletion is durable.
    found: RefCell<Receipt>,
    /// Whether the stored object is to be restored.
    wishes_restore: bool,
    /// Whether a turn has wished for an earlier state, since the database is open.
    wished: Cell<bool>,
}

/// The state of the turn that runs.
#[derive(Default)]
struct Turn {
    /// `None` between turns.
    access: Cell<Option<Access>>,
    begun: Cell<bool>,
    /// Whether it has written, also what was undone since.
    wrote: Cell<bool>,
    /// Whether there is something to commit.
    unsaved: Cell<bool>,
    /// Whether it has deleted everything that was stored before.
    emptied: Cell<bool>,
    /// Whether what the object waits for may have changed.
    touched_work: Cell<bool>,
    /// Set when SQLite has ended the transaction by itself.
    doomed: RefCell<Option<Error>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.identity)
    }
}

impl Store {
    /// With the default limits.
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        identity: Arc<Identity>,
        schema: &'static [MigrationInfo],
    ) -> Store {
        Store::limited(engine, identity, schema, Arc::default())
    }

    pub(crate) fn limited(
        engine: Arc<dyn Engine>,
        identity: Arc<Identity>,
        schema: &'static [MigrationInfo],
        limits: Arc<Limits>,
    ) -> Store {
        Store {
            engine,
            identity,
            schema,
            is_strange: false,
            guard: Arc::default(),
            deadline: Arc::new(Deadline::new(limits)),
            functions: Cell::new(false),
            database: OnceCell::new(),
            turn: Turn::default(),
            absent: Cell::default(),
            expiry: Expiry::default(),
            used: Cell::new(false),
            active: false,
            stored: Stored::default(),
            latest: Receipt::durable(),
            found: RefCell::new(Receipt::durable()),
            wishes_restore: false,
            wished: Cell::new(false),
        }
    }

    /// The same, for an object that deletes itself when nobody has used it for so long.
    pub(crate) fn expiring(mut self, after: Option<Duration>) -> Store {
        self.expiry = Expiry::after(after);
        self
    }

    /// Opens the object if there is anything to check or to run, and brings its schema to the version of this
    /// program. Fills in the identity from a stored object.
    ///
    /// # Errors
    /// [`ErrorKind::Migration`] when the schema cannot be brought there: the object is then as before the
    /// migration that failed. [`ErrorKind::Storage`] when the file cannot be read or is another object's.
    pub(crate) fn activate(&mut self, now: SystemTime) -> Result<Vec<MigrationRun>> {
        let mut runs = Vec::new();
        self.activate_noting(now, &mut runs)?;
        Ok(runs)
    }

    /// Activates the object, and notes the migrations that it has begun: also when one fails or panics, which is the
    /// last one then.
    ///
    /// # Errors
    /// As [`activate`](Self::activate).
    pub(crate) fn activate_noting(
        &mut self,
        now: SystemTime,
        runs: &mut Vec<MigrationRun>,
    ) -> Result<()> {
        if !self.schema.is_empty() || self.engine.exists(&self.key())? {
            let mut history = self.load_meta()?;
            if self.wishes_restore {
                // If it is refused, the object goes on as it is.
                self.fulfil_wish(millis(now)).map(drop)?;
                history = self.load_meta()?;
            }
            self.migrate(history, now, runs)?;
        }
        self.active = true;
        Ok(())
    }

    /// Whether it is activated and was not closed since. A turn that deletes the object closes it.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Closes the database; the next activation opens it anew.
    pub(crate) fn close(&mut self) {
        self.active = false;
        self.wished.set(false);
        self.database.take();
        self.turn = Turn::default();
        self.forget_absent();
        self.expiry.forget();
        self.stored = Stored::default();
    }

    /// Starts a turn. Costs nothing: the transaction begins with the first storage call.
    pub(crate) fn begin_turn(&self, access: Access) {
        debug_assert!(!self.turn.begun.get(), "a turn begins inside a turn");
        self.turn.access.set(Some(access));
        self.used.set(false);
    }

    /// Whether the last turn touched the database.
    pub(crate) fn was_used(&self) -> bool {
        self.used.get()
    }

    /// Whether the turn has written: a statement that writes succeeded, even if a transaction inside the
    /// turn has undone it since.
    pub(crate) fn wrote(&self) -> bool {
        self.turn.wrote.get()
    }

    /// Why the turn can no longer commit, if SQLite has ended its transaction.
    pub(crate) fn doomed(&self) -> Option<Error> {
        self.turn.doomed.borrow().clone()
    }

    /// Ends the turn and keeps what it wrote.
    ///
    /// # Errors
    /// When the commit failed or the transaction was gone already; then nothing of the turn is left.
    pub(crate) fn commit_turn(&mut self, now: impl FnOnce() -> SystemTime) -> Result<()> {
        let committed = self.commit_writes(now);
        if committed.is_err() {
            self.rollback_turn();
        }
        self.turn = Turn::default();
        committed
    }

    /// Whether the database must be opened anew.
    pub(crate) fn is_failed(&self) -> bool {
        self.database.get().is_some_and(|database| database.is_failed())
    }

    /// How much memory the open database takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.database.get().map_or(0, |database| database.memory_bytes())
    }

    /// Says when everything is durable that the last turn wrote or may have seen.
    pub(crate) fn receipt(&self) -> Receipt {
        if self.latest.is_durable() { self.found.borrow().clone() } else { self.latest.clone() }
    }

    /// Says when the object was last in use, before its database is closed.
    pub(crate) fn note_use(&self, time: SystemTime) {
        self.engine.note_use(&self.key(), millis(time));
    }

    fn commit_writes(&mut self, now: impl FnOnce() -> SystemTime) -> Result<()> {
        if !self.turn.begun.get() {
            return Ok(());
        }
        self.deadline.end();
        self.check_transaction(None);
        if let Some(doomed) = self.doomed() {
            return Err(doomed);
        }
        match (self.turn.unsaved.get(), self.turn.emptied.get()) {
            (false, false) => {
                self.rollback_turn();
                return Ok(());
            }
            (false, true) => return self.commit_deletion(),
            (true, _) => {}
        }
        let now = now();
        let stored = self.store_meta(now)?;
        self.ensure_lease(millis(now))?;
        self.tell_wake()?;
        if stored != self.stored {
            let about = About {
                name: self.identity.name.get().cloned(),
                location_hint: self.identity.hint().map(|hint| hint.to_string()),
            };
            self.with_database(|database| {
                database.describe(about);
                Ok(())
            })?;
        }
        self.latest = self.with_database(|database| database.commit())?;
        self.stored = stored;
        self.settle();
        Ok(())
    }

    /// Ends the turn without a trace.
    pub(crate) fn rollback_turn(&mut self) {
        self.deadline.end();
        if self.turn.begun.get() {
            // If this fails the database says so at its next use.
            let _ = self.with_database(|database| database.rollback());
            if self.turn.wrote.get() || self.turn.touched_work.get() {
                self.forget_absent();
                self.expiry.forget();
            }
            self.settle();
        }
        self.turn = Turn::default();
    }

    /// Sets back what pragmas of the turn or migration have set.
    fn settle(&self) {
        if let Some(database) = self.database.get() {
            // If this fails it is tried again after the next turn.
            let _ = self.guard.settle(database.connection());
        }
    }

    /// The SQL of the turn that runs.
    pub(crate) fn sql(&self) -> Sql<'_> {
        Sql::new(self)
    }

    fn limits(&self) -> &Limits {
        self.deadline.limits()
    }

    /// The keys and values of the turn that runs.
    pub(crate) fn kv(&self) -> Kv<'_> {
        Kv::new(self)
    }

    /// Whether a commit ever made the object durable, as far as this store has looked.
    #[cfg(test)]
    fn is_stored(&self) -> bool {
        self.database.get().is_some_and(|database| database.is_stored())
    }

    /// Whose storage it is.
    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey { class: Arc::clone(&self.identity.class), id: self.identity.id }
    }

    fn database(&self) -> Result<&dyn Database> {
        if let Some(database) = self.database.get() {
            return Ok(&**database);
        }
        self.functions.set(false);
        let database = self.engine.open(&self.key(), self.configure())?;
        *self.found.borrow_mut() = database.latest();
        Ok(&**self.database.get_or_init(|| database))
    }

    /// What a new connection is given.
    fn configure(&self) -> Configure {
        let (guard, deadline) = (Arc::clone(&self.guard), Arc::clone(&self.deadline));
        Arc::new(move |connection| {
            deadline.install(connection)?;
            guard::install(&guard, connection)
        })
    }

    /// Lends the database for one of our own operations.
    fn with_database<R>(
        &mut self,
        operation: impl FnOnce(&mut Box<dyn Database>) -> Result<R>,
    ) -> Result<R> {
        self.database()?;
        let _ours = self.guard.lift();
        match self.database.get_mut() {
            Some(database) => operation(database),
            None => Err(Error::new(ErrorKind::Storage, "the object is not open")),
        }
    }

    /// The connection, inside the turn's transaction.
    fn enter(&self) -> Result<&Connection> {
        if let Some(doomed) = self.doomed() {
            return Err(doomed);
        }
        if self.turn.access.get().is_none() {
            return Err(Error::new(ErrorKind::Refused, "storage can be used only during a turn"));
        }
        let database = self.database()?;
        if !self.turn.begun.get() {
            let _ours = self.guard.lift();
            database.begin()?;
            self.deadline.begin(Work::Turn);
            self.turn.begun.set(true);
            self.used.set(true);
        }
        Ok(database.connection())
    }

    /// Runs a part of the turn with this access.
    pub(crate) fn with_access<R>(&self, access: Access, code: impl FnOnce() -> R) -> R {
        let before = self.turn.access.replace(Some(access));
        let value = code();
        self.turn.access.set(before);
        value
    }

    /// Refuses a write in a turn that may only read.
    pub(crate) fn check_may_write(&self) -> Result<()> {
        match self.turn.access.get() {
            Some(Access::ReadOnly) => Err(Error::new(
                ErrorKind::ReadOnly,
                "a write in a read-only method: take `&mut self` instead of `&self`",
            )),
            _ => Ok(()),
        }
    }

    fn mark_written(&self) {
        self.turn.wrote.set(true);
        self.turn.unsaved.set(true);
    }

    /// How many rows the connection has changed since it was opened.
    fn total_changes(&self) -> u64 {
        self.database.get().map_or(0, |database| database.connection().total_changes())
    }

    /// What a failed statement means for the user and for the turn.
    fn failed(&self, error: rusqlite::Error) -> Error {
        let cause = self.database.get().and_then(|database| database.take_failure());
        let refusal = self.guard.take_refusal();
        let error = refusal
            .map(|refusal| Error::new(ErrorKind::Refused, refusal))
            .or(cause)
            .or_else(|| self.deadline.explain(&error))
            .unwrap_or_else(|| sqlite::error(error));
        self.check_transaction(Some(&error));
        if error.message().starts_with(sqlite::TOO_DEEP) {
            self.doom(&error);
        }
        error
    }

    /// Dooms the turn if SQLite has ended its transaction: what followed would commit by itself.
    fn check_transaction(&self, cause: Option<&Error>) {
        let gone = self.turn.begun.get()
            && self.database.get().is_some_and(|database| database.connection().is_autocommit());
        if !gone || self.turn.doomed.borrow().is_some() {
            return;
        }
        match cause {
            Some(cause) => self.doom(cause),
            None => self.doom(&Error::new(ErrorKind::Storage, "the reason is not known")),
        }
    }

    /// Sees to it that the turn does not commit.
    pub(crate) fn doom(&self, cause: &Error) {
        let mut doomed = self.turn.doomed.borrow_mut();
        doomed.get_or_insert_with(|| {
            let text =
                format!("everything that this turn wrote is rolled back: {}", cause.message());
            Error::new(ErrorKind::RolledBack, text)
        });
    }
}

/// Milliseconds since 1970, as times are stored.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
