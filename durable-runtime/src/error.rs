//! The one error type that storage and the runtime hand to user code.
//!
//! It is plain data (a kind and a message), so it can travel in a reply: the first method
//! that anybody writes returns `durable::Result<T>`.

use std::cell::Cell;
use std::fmt;

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::observe::events::note;

/// `Result` with [`Error`] as its error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in storage or in the runtime: a [kind](ErrorKind) to decide on and a message to read.
///
/// Use it as the error of a business method, or give your own error type a `From<durable::Error>`.
///
/// ```
/// use durable_runtime::{Error, ErrorKind};
///
/// let error = Error::other("the shop is closed");
/// assert_eq!(error.kind(), ErrorKind::Other);
/// assert_eq!(error.to_string(), "the shop is closed");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[serde(default)]
    constraint: Option<Constraint>,
}

/// What a constraint demands. See [`Error::constraint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Constraint {
    /// `UNIQUE`, or a `PRIMARY KEY`: no other row has these values.
    Unique,
    /// `NOT NULL`.
    NotNull,
    /// `CHECK`.
    Check,
    /// `REFERENCES`: the row that is meant is there.
    ForeignKey,
}

/// The kinds of [`Error`]. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// SQLite refused a statement: bad syntax, an unknown table, a wrong number of parameters.
    Sql,
    /// A constraint refused a row: see [`Error::constraint`].
    Constraint,
    /// A query that must give one row gave none.
    NoRows,
    /// A query that must give one row gave several.
    ManyRows,
    /// A stored value cannot be read as the type that was asked for.
    Conversion,
    /// A value cannot be encoded for storage or for a message.
    Encoding,
    /// A write in a read-only method (`&self`).
    ReadOnly,
    /// What is not allowed here: a statement in a turn, such as `COMMIT` or `ATTACH`; of an operator, what needs code that nobody runs.
    Refused,
    /// Something is larger than a limit.
    Limit,
    /// SQLite ended the transaction by itself, so the turn cannot commit.
    RolledBack,
    /// The object's schema cannot be brought to the version of this program.
    Migration,
    /// The disk or a file on it failed.
    Storage,
    /// The disk is full. What was to be written is rolled back and reading goes on; writing works
    /// again as soon as there is space.
    StorageFull,
    /// The data directory is in use by another runtime.
    Locked,
    /// A name, an id or an option that cannot be used.
    Invalid,
    /// A WebSocket was to be accepted for a request that is no upgrade. Of a `fetch` handler this becomes status 426.
    NoUpgrade,
    /// A moment of an object that is not kept: before it was created, while it did not exist, or too long ago.
    NotKept,
    /// Nothing of that kind is registered: a class, a method, a value of the environment.
    NotFound,
    /// The call would wait for itself.
    Deadlock,
    /// The object's queue is full.
    Overloaded,
    /// The call took longer than its caller wanted to wait.
    TimedOut,
    /// User code panicked.
    Panicked,
    /// The object was reset while the call was waiting.
    Reset,
    /// The runtime has been shut down.
    ShutDown,
    /// The connection to the server was lost, or there was none.
    Disconnected,
    /// The server does not let this caller make the call.
    Denied,
    /// Caller and object do not agree on what a method takes or gives.
    Incompatible,
    /// Made by user code with [`Error::other`].
    Other,
    /// Something that is to be made is there already: an object that a copy was to become, or a file.
    Exists,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Error { kind, message: message.to_string(), constraint: None }
    }

    /// An error of the user's own making, of kind [`ErrorKind::Other`].
    pub fn other(message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Other, message)
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message, as [`Display`](fmt::Display) shows it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Which sort of constraint refused a row, if one did: of an error of kind
    /// [`Constraint`](ErrorKind::Constraint), and of one of kind [`RolledBack`](ErrorKind::RolledBack) with which
    /// a turn ends whose rows break a constraint that is checked at its end. `None` for a type
    /// that a `STRICT` table refuses, and for what a trigger raises.
    pub fn constraint(&self) -> Option<Constraint> {
        self.constraint
    }

    pub(crate) fn with_constraint(self, constraint: Option<Constraint>) -> Self {
        Error { constraint, ..self }
    }

    /// The same error with `context` and a colon before its message.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Error { message: format!("{context}: {}", self.message), ..self }
    }
}

thread_local! {
    static FOR_STRANGERS: Cell<bool> = const { Cell::new(false) };
}

/// Writes values of the user's for somebody who may not know how the object stores its data: what an [`Error`] in
/// them says about SQL, files or rows is withheld, and stands in the log.
pub(crate) fn for_strangers<V>(write: impl FnOnce() -> V) -> V {
    struct Mark(bool);
    impl Drop for Mark {
        fn drop(&mut self) {
            FOR_STRANGERS.set(self.0);
        }
    }
    let _mark = Mark(FOR_STRANGERS.replace(true));
    write()
}

impl Error {
    /// The message as a stranger may read it: the user's own, and ours where it tells nothing of what is stored.
    pub(crate) fn message_for_strangers(&self) -> &str {
        match self.kind {
            ErrorKind::Other
            | ErrorKind::Invalid
            | ErrorKind::Limit
            | ErrorKind::NotFound
            | ErrorKind::Overloaded
            | ErrorKind::TimedOut
            | ErrorKind::ShutDown
            | ErrorKind::Disconnected
            | ErrorKind::Denied => &self.message,
            _ => "the object's log says what happened",
        }
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut message = self.message.as_str();
        if FOR_STRANGERS.get() && self.message_for_strangers() != message {
            note!(warn, kind = ?self.kind, reason = message, "an error was sent out without its text");
            message = self.message_for_strangers();
        }
        let mut error = serializer.serialize_struct("Error", 3)?;
        error.serialize_field("kind", &self.kind)?;
        error.serialize_field("message", message)?;
        error.serialize_field("constraint", &self.constraint)?;
        error.end()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}
