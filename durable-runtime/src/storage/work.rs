//! What an object waits for by itself: its alarm, its timers and its outgoing messages, each in tables of its own.
//!
//! The guarantee: such work is rows like any other, undone with whatever made them; each commit that touches it says to the
//! engine when the object is to be woken from then on, and whether some of it was given up.

use rusqlite::Connection;

use super::Store;
use crate::Result;
use crate::engine::{Absent, Wake, Work, is_no_table, read_wake};

impl Store {
    /// What the object waits for, as its tables say.
    pub(crate) fn wake(&self) -> Result<Wake> {
        let mut absent = self.absent.get();
        let wake =
            self.on_own_table(Wake::default(), |connection| read_wake(connection, &mut absent))?;
        self.absent.set(absent);
        Ok(wake)
    }

    /// Whether the object may have work of this kind, as far as [`wake`](Store::wake) has found out.
    pub(crate) fn may_have(&self, work: Work) -> bool {
        !self.absent.get().has(work)
    }

    /// After tables were made, or brought back by undoing something.
    pub(super) fn forget_absent(&self) {
        self.absent.set(Absent::default());
    }

    /// Says to the engine what the object waits for, if the turn may have changed that.
    pub(super) fn tell_wake(&mut self) -> Result<()> {
        if !self.turn.touched_work.get() {
            return Ok(());
        }
        let wake = self.wake()?;
        self.with_database(|database| {
            database.set_wake(wake);
            Ok(())
        })
    }

    /// What the turn has written so far is the framework's own: if the turn is undone, the instance is none the wiser.
    pub(crate) fn disregard_writes(&self) {
        self.turn.wrote.set(false);
    }

    /// The turn has changed the object's work.
    pub(super) fn touch_work(&self) {
        self.turn.touched_work.set(true);
        self.mark_written();
    }

    /// Runs statements on tables of the framework's; where they are not made yet, that gives `absent`.
    pub(super) fn on_own_table<R>(
        &self,
        absent: R,
        run: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R> {
        let connection = self.enter()?;
        let _ours = self.guard.lift();
        match run(connection) {
            Err(error) if is_no_table(&error) => Ok(absent),
            done => done.map_err(|error| self.failed(error)),
        }
    }

    /// The same, and makes the tables first where they are not made yet.
    pub(super) fn on_own_or_new_table<R>(
        &self,
        create: &str,
        run: impl Fn(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R> {
        if let Some(done) = self.on_own_table(None, |connection| run(connection).map(Some))? {
            return Ok(done);
        }
        self.forget_absent();
        let connection = self.enter()?;
        let _ours = self.guard.lift();
        connection
            .execute_batch(create)
            .and_then(|()| run(connection))
            .map_err(|error| self.failed(error))
    }
}
