//! Going back to an earlier state of the object: `_durable_restore` holds the wish, until the next activation fulfils it.
//!
//! The guarantee: a wish is a row like any other, stored or undone with its turn. Fulfilling it is one commit, so after a
//! crash the object is as it was before, wish included, or restored and without it. What does not simply go back is in [`present`].

mod present;

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension};

use self::present::{Kept, Skipped};
use super::{Store, millis};
use crate::engine::{Point, sqlite};
use crate::observe::events::note;
use crate::rpc::Access;
use crate::{Error, ErrorKind, Result};

const CREATE: &str = "CREATE TABLE _durable_restore (one INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, \
    number INTEGER NOT NULL, fires INTEGER NOT NULL) STRICT";
const WISH: &str = "/*durable*/INSERT OR REPLACE INTO _durable_restore (one, epoch, number, fires) \
    VALUES (1, ?1, ?2, ?3)";
const READ: &str = "/*durable*/SELECT epoch, number, fires FROM _durable_restore";
const FORGET: &str = "DROP TABLE IF EXISTS _durable_restore";

/// What the object is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// What it was after this commit.
    pub(crate) point: Point,
    /// Whether what is overdue then runs, or else is skipped.
    pub(crate) fires_overdue: bool,
}

impl Store {
    /// The last commit; in a turn that has written, its own.
    pub(crate) fn current_commit(&self) -> Result<Point> {
        let database = self.database()?;
        if self.turn.unsaved.get() {
            return Ok(next(database.last_commit()));
        }
        if database.is_stored() {
            return Ok(database.last_commit());
        }
        Err(Error::new(ErrorKind::NotKept, "nothing of the object is stored yet"))
    }

    /// The last commit that was made at a time, in milliseconds since 1970, or before.
    pub(crate) fn commit_at(&self, time_ms: i64) -> Result<Point> {
        self.database()?.commit_at(time_ms)
    }

    /// Stores, with the turn that runs, that the object is to be restored. Gives the commit of the turn.
    pub(crate) fn wish_restore(&self, wish: Wish) -> Result<Point> {
        self.check_may_write()?;
        let database = self.database()?;
        database.check_kept(wish.point)?;
        self.write_wish(wish)?;
        Ok(next(self.database()?.last_commit()))
    }

    /// Stores it without a look at whether it can be done.
    pub(crate) fn write_wish(&self, wish: Wish) -> Result<()> {
        let Wish { point: Point { epoch, commit }, fires_overdue } = wish;
        self.on_own_or_new_table(CREATE, |connection| {
            connection.prepare_cached(WISH)?.execute((epoch, commit.cast_signed(), fires_overdue))
        })?;
        self.wished.set(true);
        self.mark_written();
        Ok(())
    }

    /// What is wished for, in the turn that runs.
    pub(crate) fn wish(&self) -> Option<Wish> {
        if !self.wished.get() {
            return None;
        }
        self.on_own_table(None, read_wish).ok().flatten()
    }

    /// Whether a turn has wished for something, so that the next session is to begin with opening the object.
    pub(crate) fn has_wish(&self) -> bool {
        self.wished.get()
    }

    /// Restores the object, outside of turns: it need not be activated, and no migration runs. Afterwards it is closed. Gives the
    /// commit before, to undo that.
    ///
    /// # Errors
    /// When it cannot be done. The object stays as it is; where that was known before anything was written, it also stays open.
    pub(crate) fn restore(&mut self, wish: Wish, now: SystemTime) -> Result<Point> {
        if !self.active {
            self.load_meta()?;
        }
        let was_stored = self.database()?.is_stored();
        self.begin_turn(Access::Write);
        let before = match self.wish_restore(wish) {
            Ok(before) => before,
            Err(error) => {
                self.rollback_turn();
                return Err(error);
            }
        };
        let wished = self.commit_turn(|| now);
        let refused = wished.and_then(|()| self.fulfil_wish(millis(now)));
        // Whatever became of it, the next one opens it anew.
        self.close();
        let Some(error) = refused? else { return Ok(before) };
        if !was_stored {
            self.delete()?;
        }
        Err(error)
    }

    /// Fulfils the wish of an object that is open. Afterwards it is opened anew. Gives why the wish can never be fulfilled, if so: then it
    /// is dropped.
    ///
    /// # Errors
    /// When it cannot be done now.
    pub(super) fn fulfil_wish(&mut self, now_ms: i64) -> Result<Option<Error>> {
        let (wish, kept) = {
            let _ours = self.guard.lift();
            let connection = self.database()?.connection();
            let read = || Ok((read_wish(connection)?, Kept::read(connection)?));
            read().map_err(sqlite::error)?
        };
        let Some(Wish { point, fires_overdue }) = wish else { return Ok(None) };
        self.close();
        let known = if self.is_strange { usize::MAX } else { self.schema.len() };
        let (class, id) = (&self.identity.class, self.identity.id);
        let mut skipped = Skipped::default();
        let restored = {
            let _ours = self.guard.lift();
            self.engine.restore(&self.key(), point, self.configure(), &mut |connection| {
                check_schema(connection, known)?;
                connection.execute_batch(FORGET).map_err(sqlite::error)?;
                kept.merge(connection).map_err(sqlite::error)?;
                self.use_now(connection, now_ms).map_err(sqlite::error)?;
                if !fires_overdue {
                    skipped = present::skip_overdue(connection, now_ms)?;
                }
                Ok(())
            })
        };
        match restored {
            Ok(receipt) => {
                let (number, Skipped { alarms, timers, messages }) = (point.commit, skipped);
                note!(warn, %class, %id, number, alarms, timers, messages, "an object was restored to an earlier commit; its overdue alarms, timers and messages are skipped");
                self.latest = receipt;
                Ok(None)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotKept | ErrorKind::Limit | ErrorKind::Migration
                ) =>
            {
                note!(error, %class, %id, reason = %error, "an object cannot be restored, and stays as it is");
                self.forget_wish()?;
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    fn forget_wish(&mut self) -> Result<()> {
        self.latest = self.with_database(|database| {
            database.begin()?;
            let dropped = database.connection().execute_batch(FORGET).map_err(sqlite::error);
            match dropped {
                Ok(()) => database.commit(),
                Err(error) => database.rollback().and(Err(error)),
            }
        })?;
        self.close();
        Ok(())
    }
}

fn next(point: Point) -> Point {
    Point { commit: point.commit + 1, ..point }
}

fn read_wish(connection: &Connection) -> rusqlite::Result<Option<Wish>> {
    let mut read = connection.prepare_cached(READ)?;
    let wish = read.query_row([], |row| {
        let point = Point { epoch: row.get(0)?, commit: row.get::<_, i64>(1)?.cast_unsigned() };
        Ok(Wish { point, fires_overdue: row.get(2)? })
    });
    wish.optional()
}

/// A program cannot use what a newer one has made.
fn check_schema(connection: &Connection, known: usize) -> Result<()> {
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite::error)?;
    if usize::try_from(version).is_ok_and(|version| version <= known) {
        return Ok(());
    }
    let text = format!(
        "the object had schema version {version} then, and this program knows versions up to {known}: \
         run the newer program"
    );
    Err(Error::new(ErrorKind::Migration, text))
}
