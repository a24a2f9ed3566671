//! Which objects want to be woken, and when: the due index.
//!
//! The guarantee: every object is found at the time that its last commit gave, in the order of the times. What is on the
//! disk may be early, when a later commit is lost, and then the object itself finds nothing to do; it is never late,
//! because a change is written there only once its commit is durable.
//!
//! Sleeping costs no memory. The truth about an object is the change that is not written yet, else its row in the table;
//! in memory stand the unwritten changes and the *window*: all that are due before the horizon, a few thousand at most.
//! An object that was taken to be woken is not found again before it is given back.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::task::Waker;

use parking_lot::Mutex;

use super::ObjectKey;
use crate::Result;
use crate::id::RawId;

use queue::Queue;

/// As many rows as are read from the table at a time. Few in tests, so that the horizon moves.
const ROWS_READ: usize = if cfg!(test) { 4 } else { 1_024 };
/// As many objects as the window holds before its end is given back to the table.
const WINDOW_MAX: usize = 4 * ROWS_READ;

/// The time of those who are not to be woken.
pub(crate) const NEVER: i64 = i64::MAX;

/// A time in milliseconds since 1970, and who is to be woken then. Ordered by time.
pub(crate) type Due = (i64, ObjectKey);

/// What an object waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wake {
    /// When it wants to be woken, in milliseconds since 1970, if it does.
    pub(crate) time_ms: Option<i64>,
    /// Whether it has work that was given up, for somebody to look at.
    pub(crate) has_given_up: bool,
}

impl From<Option<i64>> for Wake {
    fn from(time_ms: Option<i64>) -> Self {
        Wake { time_ms, has_given_up: false }
    }
}

/// The part of the index that is on the disk: one row for each object that wants to be woken, and one for each in
/// which work was given up.
pub(crate) trait WakeTable: Send + Sync {
    /// Rows after this one in order, or the first ones, at most so many.
    fn after(&self, last: Option<&Due>, count: usize) -> Result<Vec<Due>>;

    /// Writes, or removes, the rows of these objects. All or none.
    fn write(&self, changes: &[(ObjectKey, Wake)]) -> Result<()>;

    /// The objects of a class in which work was given up.
    fn given_up(&self, class: &str) -> Result<Vec<ObjectKey>>;
}

/// The due index of a data directory.
#[derive(Default)]
pub(crate) struct Wakes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is not written to the table. A number tells one change of an object from the next.
    changed: HashMap<ObjectKey, Change>,
    changes: u64,
    /// All before the horizon that are not taken or put off.
    window: Queue,
    horizon: Horizon,
    /// Taken and not given back.
    taken: HashMap<ObjectKey, Taken>,
    /// Not to be found before a time that is later than their own.
    put_off: Queue,
    /// Woken when something is due earlier than before.
    waiter: Option<Waker>,
}

/// What an object wants that is taken.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// What its last commit says.
    Wants(Option<i64>),
    /// It was put off until this time, and has committed nothing since.
    PutOff(i64),
}

/// How far the window reaches.
#[derive(Debug, Default, PartialEq, Eq)]
enum Horizon {
    /// Nothing is read yet.
    #[default]
    Start,
    /// Up to here.
    After(Due),
    /// Everything is in memory.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    wake: Wake,
    number: u64,
}

/// What is to be written to the table, once the commits behind it are durable.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    changes: Vec<(ObjectKey, Change)>,
}

impl Wakes {
    /// Takes note of a commit: what its object waits for.
    pub(crate) fn set(&self, object: &ObjectKey, wake: impl Into<Wake>) {
        let wake = wake.into();
        self.change(|state| state.set(object, wake));
    }

    /// Lets an object be found not before this time, unless it commits another one: what it wants before is being done, or
    /// could not be.
    /// The last millisecond of all is never. Also for one that is taken, in place of [`give_back`](Wakes::give_back).
    pub(crate) fn put_off(&self, object: &ObjectKey, not_before: i64) {
        self.change(|state| {
            state.taken.remove(object);
            state.window.remove(object);
            state.put_off.insert((not_before, object.clone()));
        });
    }

    /// The objects of a class in which work was given up, in the order of their ids.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn given_up(&self, table: &dyn WakeTable, class: &str) -> Result<Vec<ObjectKey>> {
        let state = self.state.lock();
        let mut found: BTreeSet<ObjectKey> = table.given_up(class)?.into_iter().collect();
        for (object, change) in state.changed.iter().filter(|(object, _)| *object.class == *class) {
            if change.wake.has_given_up {
                found.insert(object.clone());
            } else {
                found.remove(object);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// What the objects of a class wait for, as far as the table may not say so yet.
    pub(crate) fn news(&self, class: &str) -> HashMap<RawId, Wake> {
        let state = self.state.lock();
        let changed = state.changed.iter().filter(|(object, _)| *object.class == *class);
        changed.map(|(object, change)| (object.id, change.wake)).collect()
    }

    /// The same of one object.
    pub(crate) fn news_of(&self, object: &ObjectKey) -> Option<Wake> {
        self.state.lock().changed.get(object).map(|change| change.wake)
    }

    /// The earliest time that somebody wants to be woken at, and who is told when it becomes earlier.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn earliest(&self, table: &dyn WakeTable, waiter: &Waker) -> Result<Option<i64>> {
        let mut state = self.state.lock();
        state.fill(table)?;
        state.waiter = Some(waiter.clone());
        Ok(state.earliest())
    }

    /// Takes objects whose time has come, earliest first. Each is to be [given back](Wakes::give_back).
    ///
    /// # Errors
    /// When the table cannot be read. Those that were found before are given then, if there are any.
    pub(crate) fn take_due(
        &self,
        table: &dyn WakeTable,
        now: i64,
        count: usize,
    ) -> Result<Vec<Due>> {
        let mut due: Vec<Due> = Vec::new();
        let mut state = self.state.lock();
        while due.len() < count {
            match state.fill(table) {
                Err(error) if due.is_empty() => return Err(error),
                // It will be said when nothing else is left.
                Err(_) => break,
                Ok(()) => {}
            }
            let Some((taken, (time, object))) = state.take_first(now) else { break };
            state.taken.insert(object.clone(), taken);
            due.push((time, object));
        }
        Ok(due)
    }

    /// Lets a taken object be found again.
    pub(crate) fn give_back(&self, object: &ObjectKey) {
        self.change(|state| {
            match state.taken.remove(object) {
                Some(Taken::Wants(Some(time))) => state.place((time, object.clone())),
                // Not into the window, which may end before: by its own time it is not found again.
                Some(Taken::PutOff(time)) => state.put_off.insert((time, object.clone())),
                Some(Taken::Wants(None)) | None => {}
            }
        });
    }

    /// Changes the state, and tells who waits if somebody is due earlier now.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiter = {
            let mut state = self.state.lock();
            let before = state.earliest();
            change(&mut state);
            let after = state.earliest();
            let is_earlier = after.is_some_and(|after| before.is_none_or(|before| after < before));
            if is_earlier { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// What has changed since it was last written.
    pub(crate) fn unwritten(&self) -> Batch {
        let state = self.state.lock();
        let changes = state.changed.iter();
        Batch { changes: changes.map(|(object, change)| (object.clone(), *change)).collect() }
    }

    /// Writes a batch whose commits are durable.
    ///
    /// # Errors
    /// When the table cannot be written; the changes are then kept.
    pub(crate) fn write(&self, table: &dyn WakeTable, batch: &Batch) -> Result<()> {
        if batch.changes.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> =
            batch.changes.iter().map(|(object, change)| (object.clone(), change.wake)).collect();
        table.write(&rows)?;
        let mut state = self.state.lock();
        for (object, change) in &batch.changes {
            if state.changed.get(object) == Some(change) {
                state.changed.remove(object);
            }
        }
        Ok(())
    }
}

impl State {
    fn set(&mut self, object: &ObjectKey, wake: Wake) {
        let time = wake.time_ms;
        self.changes += 1;
        self.changed.insert(object.clone(), Change { wake, number: self.changes });
        if let Some(wanted) = self.taken.get_mut(object) {
            *wanted = Taken::Wants(time);
            return;
        }
        self.window.remove(object);
        self.put_off.remove(object);
        if let Some(time) = time {
            self.place((time, object.clone()));
        }
    }

    /// Puts an object into the window, if it is before the horizon. Else it is found when the horizon gets there.
    fn place(&mut self, due: Due) {
        if self.horizon.is_before(&due) {
            return;
        }
        self.window.insert(due);
        while self.window.len() > WINDOW_MAX {
            self.window.take_last();
            if let Some(last) = self.window.last() {
                self.horizon = Horizon::After(last.clone());
            }
        }
    }

    fn earliest(&self) -> Option<i64> {
        let (window, put_off) = (self.window.first(), self.put_off.first());
        let earliest = [window, put_off].into_iter().flatten().map(|due| due.0).min();
        earliest.filter(|time| *time != NEVER)
    }

    fn take_first(&mut self, now: i64) -> Option<(Taken, Due)> {
        let is_put_off = self
            .put_off
            .first()
            .is_some_and(|put_off| self.window.first().is_none_or(|first| put_off.0 < first.0));
        let queue = if is_put_off { &mut self.put_off } else { &mut self.window };
        let due = queue.first().filter(|due| due.0 <= now)?.clone();
        queue.remove(&due.1);
        Some((if is_put_off { Taken::PutOff(due.0) } else { Taken::Wants(Some(due.0)) }, due))
    }

    /// Moves the horizon on until somebody is before it, or nobody is left.
    fn fill(&mut self, table: &dyn WakeTable) -> Result<()> {
        while self.window.is_empty() && self.horizon != Horizon::End {
            let begin = match &self.horizon {
                Horizon::After(begin) => Some(begin),
                Horizon::Start | Horizon::End => None,
            };
            let rows = table.after(begin, ROWS_READ)?;
            let end = if rows.len() < ROWS_READ { None } else { rows.last().cloned() };
            let changes = self.changed.iter().filter_map(|(object, change)| {
                Some((change.wake.time_ms?, object.clone())).filter(|due| {
                    begin.is_none_or(|begin| due > begin)
                        && end.as_ref().is_none_or(|end| due <= end)
                })
            });
            let rows = rows.iter().filter(|due| !self.changed.contains_key(&due.1)).cloned();
            let found: Vec<Due> = rows
                .chain(changes)
                .filter(|due| !self.taken.contains_key(&due.1) && !self.put_off.contains(&due.1))
                .collect();
            for due in found {
                self.window.insert(due);
            }
            self.horizon = end.map_or(Horizon::End, Horizon::After);
        }
        Ok(())
    }
}

impl Horizon {
    fn is_before(&self, due: &Due) -> bool {
        match self {
            Horizon::Start => true,
            Horizon::After(last) => last < due,
            Horizon::End => false,
        }
    }
}
