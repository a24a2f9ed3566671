//! The open database of one object: a connection whose commits become records of the journal.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;

use super::Shared;
use super::checkpoint::Waker;
use super::entry::{Entry, State, wait};
#[cfg(feature = "admin")]
use crate::engine::Moments;
use crate::engine::history::{History, Rebuilt};
use crate::engine::journal::{Journal, Refusal};
use crate::engine::meta::Meta;
use crate::engine::overlay::{Change, Changes, MIGRATION_BYTES_MAX, Overlay, TURN_BYTES_MAX};
use crate::engine::pagestore::PageStore;
use crate::engine::record::{Commit, Draft, Effects};
use crate::engine::vfs::{ObjectConnection, connection_bytes, open_connection};
use crate::engine::{
    About, Absent, Amend, Configure, Database, Point, Receipt, Wake, no_history, read_wake, sqlite,
};
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
    /// Whether the next commit makes the object what it was before.
    restores: bool,
    _closer: Closer,
}

impl JournaledDatabase {
    pub(super) fn open(
        shared: Arc<Shared>,
        entry: Arc<Entry>,
        checkpoints: Waker,
        configure: &Configure,
    ) -> Result<Self> {
        let closer = Closer {
            shared: Arc::clone(&shared),
            checkpoints: checkpoints.clone(),
            entry: Some(Arc::clone(&entry)),
        };
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
            restores: false,
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
            let commit = Commit {
                database_pages: changes.size,
                effects: Effects {
                    creates: changes.size_before == 0,
                    restores: self.restores,
                    ..Effects::default()
                },
                name: self.about.name.as_deref(),
                location_hint: self.about.location_hint.as_deref(),
                wake: self.wake,
                ..commit_of(&entry, &state, time_ms)
            };
            let draft = draft(&commit, &changes)?;
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

impl JournaledDatabase {
    /// Looks into the history of the object, up to its last commit.
    fn look_back<R>(&self, look: impl FnOnce(&History, &dyn PageStore) -> Result<R>) -> Result<R> {
        let history = self.shared.history.as_ref().ok_or_else(no_history)?;
        look_back(history, &self.entry, &self.checkpoints, look)
    }
}

fn look_back<R>(
    history: &History,
    entry: &Entry,
    checkpoints: &Waker,
    look: impl FnOnce(&History, &dyn PageStore) -> Result<R>,
) -> Result<R> {
    let caught_up = checkpoints.catch_up();
    // Another object's file may be what cannot be written.
    if entry.lags() {
        caught_up?;
    }
    entry.at_rest(|store| look(history, store))
}

/// Makes an object what it was: see [`Engine::restore`](crate::engine::Engine::restore).
///
/// It is one record, with all pages that differ, so a crash leaves the object as it was before or as it is afterwards.
pub(super) fn restore(
    shared: Arc<Shared>,
    entry: &Arc<Entry>,
    checkpoints: Waker,
    point: Point,
    configure: &Configure,
    amend: Amend<'_>,
) -> Result<Receipt> {
    let history = shared.history.as_ref().ok_or_else(no_history)?;
    let id = entry.key.id;
    let rebuilt = look_back(history, entry, &checkpoints, |history, store| {
        history.rebuild(id, point, store)
    })?;
    let restored = restore_pages(shared, entry, checkpoints, &rebuilt, configure, amend);
    restored.map(|(receipt, _)| receipt)
}

/// Commits pages that are not of a transaction of SQLite. Gives the database, too, which is open then.
pub(super) fn restore_pages(
    shared: Arc<Shared>,
    entry: &Arc<Entry>,
    checkpoints: Waker,
    rebuilt: &Rebuilt,
    configure: &Configure,
    amend: Amend<'_>,
) -> Result<(Receipt, JournaledDatabase)> {
    let put = |overlay: &mut Overlay| {
        overlay.set_limit(MIGRATION_BYTES_MAX);
        overlay.truncate(rebuilt.size.min(overlay.size()));
        rebuilt.pages.iter().try_for_each(|(number, page)| overlay.write(*number, page))
    };
    let done = put(&mut entry.file.overlay());
    if done.is_err() {
        entry.file.overlay().discard();
        return Err(Error::new(ErrorKind::Limit, "the restored database is too large"));
    }
    // The connection reads what is not committed yet.
    let opened = JournaledDatabase::open(shared, Arc::clone(entry), checkpoints, configure);
    let mut database = opened.inspect_err(|_| entry.file.overlay().discard())?;
    database.restores = true;
    let amended = database.begin().and_then(|()| {
        amend(&database.connection)?;
        let wake = read_wake(&database.connection, &mut Absent::default());
        // For the list of objects; whether it is this object, its activation asks.
        let meta = Meta::read(&database.connection).ok().flatten();
        Ok((wake.map_err(sqlite::error)?, meta))
    });
    match amended {
        Ok((wake, meta)) => {
            database.set_wake(wake);
            let meta = meta.map(|meta| (meta.name, meta.location_hint)).unwrap_or_default();
            database.describe(About { name: meta.0.map(Arc::from), location_hint: meta.1 });
            let receipt = database.commit()?;
            database.restores = false;
            Ok((receipt, database))
        }
        Err(error) => {
            database.rollback()?;
            Err(error)
        }
    }
}

/// The object's next commit, without anything that it does.
pub(super) fn commit_of<'a>(entry: &'a Entry, state: &State, time_ms: i64) -> Commit<'a> {
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

fn draft(commit: &Commit<'_>, changes: &Changes) -> Result<Draft> {
    let mut draft = Draft::new(commit)?;
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

    fn last_commit(&self) -> Point {
        self.entry.state.lock().stamp.into()
    }

    fn commit_at(&self, time_ms: i64) -> Result<Point> {
        if self.is_stored() {
            let stamp = self.entry.state.lock().stamp;
            if self.shared.history.is_some() && stamp.time_ms <= time_ms {
                return Ok(stamp.into());
            }
        }
        self.look_back(|history, store| history.find(self.entry.key.id, time_ms, store))
    }

    #[cfg(feature = "admin")]
    fn moments(&self, count: usize) -> Result<Moments> {
        let id = self.entry.key.id;
        self.look_back(|history, store| history.moments(id, store, count))
    }

    fn check_kept(&self, point: Point) -> Result<()> {
        self.look_back(|history, store| history.check(self.entry.key.id, point, store))
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
    checkpoints: Waker,
    /// Taken when it is closed.
    entry: Option<Arc<Entry>>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        if !entry.is_stored() {
            // Provisional pages are nobody's: the next opening begins with the template again. A file that
            // is to be removed waits for the next checkpoint, which a deletion need not wait for.
            entry.file.overlay().reset(&self.shared.template);
            self.shared.entries.forget_if_idle(&entry);
            return;
        }
        let key = entry.key.clone();
        if let Err(error) = self.checkpoints.write_back_closed(entry) {
            note!(error, class = %key.class, id = %key.id, reason = %error, "an object could not be written back");
        }
    }
}

impl fmt::Debug for JournaledDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournaledDatabase({})", self.entry.key)
    }
}
