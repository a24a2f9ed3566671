//! The open database of one object: a connection whose commits become records of the journal.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;

use super::Shared;
use super::checkpoint::Waker;
use super::entry::{Entry, State, wait};
use crate::engine::journal::{Journal, Refusal};
use crate::engine::overlay::{Change, Changes, MIGRATION_BYTES_MAX, TURN_BYTES_MAX};
use crate::engine::record::{Commit, Draft, Effects};
use crate::engine::vfs::{ObjectConnection, connection_bytes, open_connection};
use crate::engine::{About, Configure, Database, Receipt, Wake, sqlite};
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

pub(super) struct JournaledDatabase {
    // Fields are dropped in this order: the connection, then whatever else holds the entry, then the closer.
    connection: ObjectConnection,
    entry: Arc<Entry>,
    shared: Arc<Shared>,
    checkpoints: Waker,
    /// Who the object is, for the next record.
    about: About,
    /// When it wants to be woken, for the next record.
    wake: Option<Wake>,
    /// Cleared when SQLite and the overlay no longer agree.
    usable: bool,
    _closer: Closer,
}

impl JournaledDatabase {
    pub(super) fn open(
        shared: Arc<Shared>,
        entry: Arc<Entry>,
        checkpoints: Waker,
        configure: &Configure,
    ) -> Result<Self> {
        let closer = Closer { shared: Arc::clone(&shared), entry: Arc::clone(&entry) };
        let connection = open_connection(&entry.file, configure)
            .map_err(|error| shared.about(&entry.key, &error))?;
        Ok(JournaledDatabase {
            connection,
            entry,
            shared,
            checkpoints,
            about: About::default(),
            wake: None,
            usable: true,
            _closer: closer,
        })
    }

    fn check(&self) -> Result<&ObjectConnection> {
        if self.usable {
            return Ok(&self.connection);
        }
        Err(Error::new(
            ErrorKind::Storage,
            "an earlier commit of the object failed; its database must be opened anew",
        ))
    }

    /// Ends the transaction in SQLite. Its pages are in the overlay then.
    fn commit_connection(&mut self) -> Result<()> {
        let committed = sqlite::run(self.check()?, "/*durable*/COMMIT");
        let Err(error) = committed else { return Ok(()) };
        // A deferred constraint leaves the transaction open, to be rolled back.
        if self.rollback().is_err() {
            self.usable = false;
        }
        Err(self.entry.file.take_failure().unwrap_or(error))
    }

    /// Makes what SQLite has committed a record of the journal.
    fn append(&mut self, now_ms: i64) -> Result<Receipt> {
        let entry = Arc::clone(&self.entry);
        let mut state = entry.state.lock();
        loop {
            let epoch = self.shared.journal.checkpoint_epoch();
            let changes = entry.file.overlay().changes(epoch.0);
            if changes.is_empty() {
                self.wake = None;
                return Ok(state.latest.clone());
            }
            let time_ms = now_ms.max(state.stamp.time_ms);
            let draft = draft(&entry, &state, &changes, time_ms, &self.about, self.wake)?;
            match self.shared.append(epoch, state.stamp.commit, draft) {
                Ok(receipt) => {
                    entry.file.overlay().accept(epoch.0);
                    let created_ms = (changes.size_before == 0).then_some(time_ms);
                    entry.note_news(std::mem::take(&mut self.about), created_ms);
                    state.committed(&receipt, time_ms);
                    // Under the lock: a checkpoint that has the lock after this record finds the wake, too.
                    self.shared.note_wake(&entry.key, self.wake.take());
                    entry.account(&state);
                    return Ok(receipt);
                }
                // A checkpoint has begun meanwhile: pages that were differences must be images.
                Err(Refusal::Stale) => {}
                Err(Refusal::Failed(error)) => return Err(error),
            }
        }
    }

    /// Makes the object's deletion a record of the journal.
    fn append_deletion(&mut self, now_ms: i64) -> Result<Receipt> {
        let entry = Arc::clone(&self.entry);
        let mut state = entry.state.lock();
        if !entry.is_stored() {
            return Ok(state.latest.clone());
        }
        let time_ms = now_ms.max(state.stamp.time_ms);
        loop {
            let draft = Draft::new(&Commit {
                effects: Effects { deletes: true, ..Effects::default() },
                wake: Some(Wake::default()),
                ..commit_of(&entry, &state, time_ms)
            })?;
            match self.shared.append(
                self.shared.journal.checkpoint_epoch(),
                state.stamp.commit,
                draft,
            ) {
                Ok(receipt) => {
                    state.committed(&receipt, time_ms);
                    self.shared.note_wake(&entry.key, Some(Wake::default()));
                    entry.deleted(&mut state, &self.shared.template);
                    return Ok(receipt);
                }
                Err(Refusal::Stale) => {}
                Err(Refusal::Failed(error)) => return Err(error),
            }
        }
    }
}

/// The object's next commit, without anything that it does.
fn commit_of<'a>(entry: &'a Entry, state: &State, time_ms: i64) -> Commit<'a> {
    Commit {
        object: &entry.key,
        epoch: state.stamp.epoch,
        number: state.stamp.commit + 1,
        time_ms,
        database_pages: 0,
        effects: Effects::default(),
        name: None,
        location_hint: None,
        wake: None,
    }
}

fn draft(
    entry: &Entry,
    state: &State,
    changes: &Changes,
    time_ms: i64,
    about: &About,
    wake: Option<Wake>,
) -> Result<Draft> {
    let is_new = changes.size_before == 0;
    let mut draft = Draft::new(&Commit {
        database_pages: changes.size,
        effects: Effects { creates: is_new, ..Effects::default() },
        name: about.name.as_deref(),
        location_hint: about.location_hint.as_deref(),
        wake,
        ..commit_of(entry, state, time_ms)
    })?;
    for Change { number, before, after, first_touch } in &changes.pages {
        let previous = before.as_deref().filter(|_| !first_touch);
        draft.page(*number, previous, after);
    }
    Ok(draft)
}

impl Database for JournaledDatabase {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn take_failure(&self) -> Option<Error> {
        self.entry.file.take_failure()
    }

    fn is_stored(&self) -> bool {
        self.entry.is_stored()
    }

    fn latest(&self) -> Receipt {
        self.entry.state.lock().latest.clone()
    }

    fn is_failed(&self) -> bool {
        !self.usable
    }

    fn memory_bytes(&self) -> usize {
        let overlay = self.entry.file.overlay();
        connection_bytes(overlay.size()) + overlay.committed_bytes()
    }

    fn describe(&mut self, about: About) {
        self.about = about;
    }

    fn set_wake(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn begin(&self) -> Result<()> {
        // A journal that has failed lies about nothing, but it promises nothing either.
        if let Some(error) = self.shared.journal.failure() {
            return Err(error);
        }
        sqlite::run(self.check()?, "/*durable*/BEGIN")
    }

    fn allow_large_transactions(&self, allow: bool) {
        let bytes_max = if allow { MIGRATION_BYTES_MAX } else { TURN_BYTES_MAX };
        self.entry.file.overlay().set_limit(bytes_max);
    }

    fn commit(&mut self) -> Result<Receipt> {
        // First of all: the clock may be a user's, and panic.
        let now_ms = self.shared.now_ms();
        if let Err(error) = self.checkpoints.make_room() {
            self.rollback()?;
            return Err(error);
        }
        self.commit_connection()?;
        let appended = self.append(now_ms);
        if appended.is_err() {
            // SQLite believes in a commit that the journal has refused.
            self.entry.file.overlay().discard();
            self.usable = false;
        }
        self.checkpoints.wake_if_due();
        // Turns wait when the disk cannot keep up: what is not flushed is held in memory. If the journal fails
        // meanwhile, nobody knows what became of the record, and its receipt says so.
        let _ = wait(self.shared.journal.relief());
        appended
    }

    fn commit_provisional(&mut self) -> Result<()> {
        if self.is_stored() {
            return Err(Error::new(
                ErrorKind::Storage,
                "a provisional commit is only for an object that was never stored",
            ));
        }
        self.commit_connection()?;
        self.entry.file.overlay().accept_provisional();
        Ok(())
    }

    fn delete(&mut self) -> Result<Receipt> {
        let now_ms = self.shared.now_ms();
        self.rollback()?;
        let receipt = self.append_deletion(now_ms)?;
        // SQLite believes in pages that are gone.
        self.usable = false;
        self.checkpoints.wake_if_due();
        Ok(receipt)
    }

    fn rollback(&mut self) -> Result<()> {
        self.wake = None;
        let connection = self.check()?;
        // SQLite may have ended the transaction by itself.
        let rolled_back = if connection.is_autocommit() {
            Ok(())
        } else {
            sqlite::run(connection, "/*durable*/ROLLBACK")
        };
        self.usable &= rolled_back.is_ok();
        self.entry.file.overlay().discard();
        rolled_back
    }
}

/// Leaves a complete file behind, after the connection is closed.
struct Closer {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        if !self.entry.is_stored() {
            // Provisional pages are nobody's: the next opening begins with the template again. A file that
            // is to be removed waits for the next checkpoint, which a deletion need not wait for.
            self.entry.file.overlay().reset(&self.shared.template);
            self.shared.entries.forget_if_idle(&self.entry);
            return;
        }
        if let Err(error) = self.entry.write_back(&self.shared.unsynced) {
            note!(error, class = %self.entry.key.class, id = %self.entry.key.id, reason = %error, "an object could not be written back");
        }
        self.shared.entries.forget_if_idle(&self.entry);
    }
}

impl fmt::Debug for JournaledDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournaledDatabase({})", self.entry.key)
    }
}
