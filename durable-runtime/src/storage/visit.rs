//! Looks at an object's storage, and changes to it, that no code of the object's has a part in: an operator's.
//!
//! The guarantee: an object that is not in memory is neither migrated nor constructed for it, so one whose code fails can be looked
//! at, too; and what is changed is one turn, whole or not at all, under the same guards as a turn of the object's own. Whoever
//! visits has the object to himself.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::limits::Work;
use super::migration::failed;
use super::{Limits, Migration, Store, Wish};
use crate::engine::{Engine, Moments, ObjectKey, Point, sqlite};
use crate::id::Identity;
use crate::rpc::Access;
use crate::{Error, ErrorKind, Result};

pub(crate) use super::sql::Table;

/// What a visit may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    pub(crate) access: Access,
    /// How long its SQL may run.
    pub(crate) time: Duration,
    pub(crate) now: SystemTime,
}

/// The object's last commit, the one at a time, and the others that are kept.
pub(crate) type Known = (Option<Point>, Option<Point>, Result<Moments>);

impl Store {
    /// The storage of an object of which the program has no class.
    pub(crate) fn of_stranger(
        engine: Arc<dyn Engine>,
        key: &ObjectKey,
        limits: Arc<Limits>,
    ) -> Store {
        let identity = Identity::new(Arc::clone(&key.class), key.id);
        Store { is_strange: true, ..Store::limited(engine, Arc::new(identity), &[], limits) }
    }

    /// One look or change, as a turn of its own.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing of the object is stored; and those of `look`, which undo all that it wrote.
    pub(crate) fn visit<R>(
        &mut self,
        permit: Permit,
        look: impl FnOnce(&Store) -> Result<R>,
    ) -> Result<R> {
        self.visiting(|store| {
            if !store.database()?.is_stored() {
                let text = format!("{} does not exist: nothing of it is stored", store.identity);
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            store.run(permit, look)
        })
    }

    /// Makes the object what it was after an earlier commit, also one that was deleted since. Gives the commit to come back to; none if
    /// nothing was stored.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when that is not kept, [`ErrorKind::Migration`] when its schema is newer than the program's.
    pub(crate) fn go_back(&mut self, point: Point, permit: Permit) -> Result<Option<Point>> {
        let was_active = self.active;
        let restored =
            self.visiting(|store| Ok(store.database()?.is_stored())).and_then(|stored| {
                let undo = self.restore(Wish { point, fires_overdue: false }, permit.now)?;
                Ok(stored.then_some(undo))
            });
        if !was_active {
            self.close();
        }
        restored
    }

    /// Runs the migrations that the object has not had, by way of `guard`, since they are user code, and undoes them. Gives the schema version that it has, and what became of it.
    ///
    /// # Errors
    /// When the object is not stored, or cannot be opened. What a migration fails with is in the result.
    pub(crate) fn rehearse(
        &mut self,
        permit: Permit,
        guard: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>,
    ) -> Result<(u32, Result<()>)> {
        self.visit(Permit { access: Access::ReadOnly, ..permit }, |store| {
            let connection = store.enter()?;
            let sql = "PRAGMA user_version";
            let version: u32 =
                connection.query_row(sql, [], |row| row.get(0)).map_err(sqlite::error)?;
            let known = u32::try_from(store.schema.len()).unwrap_or(u32::MAX);
            if version > known {
                let text = format!(
                    "the object has schema version {version} and this program knows versions up to {known}"
                );
                return Ok((version, Err(Error::new(ErrorKind::Migration, text))));
            }
            let tried = store.with_access(Access::Write, || {
                guard(&mut || store.try_rest(version, permit.now))
            });
            Ok((version, tried))
        })
    }

    fn try_rest(&self, version: u32, now: SystemTime) -> Result<()> {
        let _relaxed = self.relax()?;
        self.deadline.begin(Work::Migration);
        let done = usize::try_from(version).unwrap_or(usize::MAX);
        self.schema.iter().skip(done).try_for_each(|info| {
            (info.apply)(&mut Migration::new(self, info.number))
                .and_then(|()| self.record(info, now))
                .map_err(|error| failed(info, &error))
        })
    }

    /// The object's last commit, if it is stored, the last one at a time or before, and what else is kept of its past: so many of its
    /// last commits.
    pub(crate) fn past(&mut self, time_ms: Option<i64>, count: usize) -> Result<Known> {
        self.visiting(|store| {
            let database = store.database()?;
            let current = database.is_stored().then(|| database.last_commit());
            let at = time_ms.map(|time_ms| database.commit_at(time_ms)).transpose()?;
            Ok((current, at, database.moments(count)))
        })
    }

    /// The last commit that was made at a time, in milliseconds since 1970, or before.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`] when the object did not exist then, or that is not kept.
    pub(crate) fn point_at(&mut self, time_ms: i64) -> Result<Point> {
        self.visiting(|store| store.commit_at(time_ms))
    }

    /// From how many senders the object remembers messages.
    pub(crate) fn senders(&self) -> Result<u64> {
        const COUNT: &str = "SELECT count(*) FROM _durable_inbox";
        self.on_own_table(0, |connection| connection.query_row(COUNT, [], |row| row.get(0)))
    }

    /// Reads the framework's own tables of the object; where they are not made yet, that gives `absent`.
    pub(crate) fn read_own<R>(
        &self,
        absent: R,
        read: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R> {
        self.on_own_table(absent, read)
    }

    /// Opens the object if it is not active, and closes it again afterwards.
    fn visiting<R>(&mut self, visit: impl FnOnce(&mut Store) -> Result<R>) -> Result<R> {
        if self.active {
            return visit(self);
        }
        let visited = self.load_meta().and_then(|_| visit(self));
        self.close();
        visited
    }

    fn run<R>(&mut self, permit: Permit, look: impl FnOnce(&Store) -> Result<R>) -> Result<R> {
        self.begin_turn(permit.access);
        let looked = self.enter().map(drop).and_then(|()| {
            self.deadline.begin_visit(permit.time);
            look(self)
        });
        match (looked, permit.access) {
            (Ok(value), Access::Write) => self.commit_turn(|| permit.now).map(|()| value),
            (looked, _) => {
                self.rollback_turn();
                looked
            }
        }
    }
}
