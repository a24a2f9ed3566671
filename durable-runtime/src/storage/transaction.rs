//! Transactions inside a turn: savepoints over SQL, keys and values alike.
//!
//! The guarantee: what a level wrote is kept only if its closure ended well; an error, a panic that somebody
//! catches further out, and [`Rollback`] undo that level and those inside it, and nothing else.
//! What is kept still depends on the levels round it, and at last on the turn.
//!
//! A level that is undone takes back that the turn has something to commit. That it had
//! written at all stays known ([`Store::wrote`]): the fields of the object may be ahead of the database.

use super::Store;
use super::delete::Progress;
use crate::{Error, ErrorKind, Result};

// One name for all levels: SQLite means the innermost.
const SAVE: &str = "/*durable*/SAVEPOINT _durable";
const KEEP: &str = "/*durable*/RELEASE _durable";
const UNDO: &str = "/*durable*/ROLLBACK TO _durable";

/// What the closure of a [`transaction`](crate::Context::transaction) returns to undo what it wrote
/// and give a value all the same.
///
/// ```
/// use durable_runtime::{Context, Result, Rollback};
///
/// /// How many rows a clean-up would delete.
/// fn rehearse(ctx: &Context) -> Result<usize> {
///     ctx.transaction(|| Rollback(ctx.sql().execute("DELETE FROM posts WHERE old", [])))?
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback<T>(pub T);

/// What the closure of a [`transaction`](crate::Context::transaction) may return: a `Result` or a
/// [`Rollback`].
#[diagnostic::on_unimplemented(
    message = "a transaction cannot return `{Self}`",
    label = "does not say whether to keep what was written",
    note = "help: return a `Result` (`Ok` keeps, `Err` undoes) or `Rollback(value)`"
)]
pub trait Outcome {
    /// What the transaction gives: the `Result` itself, and `Result<T>` for `Rollback<T>`.
    type Output;
    /// Whether what was written is kept.
    #[doc(hidden)]
    fn is_kept(&self) -> bool;
    /// The value, once what was written is kept or undone.
    #[doc(hidden)]
    fn output(self) -> Self::Output;
    /// What is given when that could not be done.
    #[doc(hidden)]
    fn failed(error: Error) -> Self::Output;
}

impl<T, E: From<Error>> Outcome for Result<T, E> {
    type Output = Self;

    fn is_kept(&self) -> bool {
        self.is_ok()
    }

    fn output(self) -> Self {
        self
    }

    fn failed(error: Error) -> Self {
        Err(E::from(error))
    }
}

impl<T> Outcome for Rollback<T> {
    type Output = Result<T>;

    fn is_kept(&self) -> bool {
        false
    }

    fn output(self) -> Result<T> {
        Ok(self.0)
    }

    fn failed(error: Error) -> Result<T> {
        Err(error)
    }
}

impl Store {
    /// Runs `code` as one level: see [`Context::transaction`](crate::Context::transaction).
    pub(crate) fn transaction<R: Outcome>(&self, code: impl FnOnce() -> R) -> R::Output {
        let level = match Level::begin(self) {
            Ok(level) => level,
            Err(error) => return R::failed(error),
        };
        let outcome = code();
        match level.end(outcome.is_kept()) {
            Ok(()) => outcome.output(),
            Err(error) => R::failed(error),
        }
    }

    /// Runs one of the statements above.
    fn savepoint(&self, sql: &'static str) -> Result<()> {
        let connection = self.enter()?;
        let _ours = self.guard.lift();
        let done = connection.prepare_cached(sql).and_then(|mut statement| statement.raw_execute());
        done.map(|_| ()).map_err(|error| self.failed(error))
    }
}

/// An open savepoint: dropped without an end, by a panic, it is undone.
struct Level<'a> {
    store: &'a Store,
    /// What there was to commit before it.
    before: Progress,
    is_open: bool,
}

impl<'a> Level<'a> {
    fn begin(store: &'a Store) -> Result<Self> {
        store.savepoint(SAVE).map_err(while_writing)?;
        Ok(Level { store, before: store.turn.progress(), is_open: true })
    }

    /// # Errors
    /// When SQLite has ended the whole transaction meanwhile: there is no level left to keep or undo.
    fn end(mut self, keep: bool) -> Result<()> {
        self.is_open = false;
        if keep { self.store.savepoint(KEEP) } else { self.undo() }
    }

    fn undo(&self) -> Result<()> {
        self.store.savepoint(UNDO)?;
        self.store.savepoint(KEEP)?;
        self.store.turn.restore(self.before);
        self.store.forget_absent();
        Ok(())
    }
}

/// SQLite opens no savepoint while a statement that writes is not at its end, and says that the file is busy.
fn while_writing(error: Error) -> Error {
    if !error.message().starts_with("cannot open savepoint") {
        return error;
    }
    Error::new(
        ErrorKind::Refused,
        "a transaction, a batch of keys or `delete_all` cannot begin while a statement that writes gives its rows: \
         read them to the end first, with `query_all` or `exec`",
    )
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        if self.is_open
            && let Err(error) = self.undo()
        {
            // What the level wrote may still be there, and must not be committed.
            self.store.doom(&error);
        }
    }
}

#[cfg(test)]
mod tests;
