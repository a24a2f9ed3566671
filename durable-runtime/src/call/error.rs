//! Why a call gave no value.

use std::convert::Infallible;
use std::time::Duration;

use crate::{Error, ErrorKind};

/// Why a call gave no value. `E` is the method's own error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// The method returned this error. What it wrote is rolled back.
    #[error("{0}")]
    Application(E),
    /// The object's queue is full; nothing was done.
    #[error("the object is overloaded: {queued} calls wait already")]
    Overloaded {
        /// How many calls wait.
        queued: usize,
    },
    /// The call's [timeout](crate::Call::timeout) ran out.
    #[error("no answer within {after:?}: {}", if *.started { "the turn had started, its outcome is unknown" } else { "the turn had not started and will not run" })]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// Whether the turn had started. If not, it never will.
        started: bool,
    },
    /// The method panicked. What it wrote is rolled back, and the next call gets a fresh instance.
    #[error("`{method}` panicked: {message}")]
    Panicked {
        /// The method.
        method: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The turn's transaction was ended by SQLite itself, so nothing that the turn wrote is
    /// kept, although the method returned a value.
    #[error("the turn was rolled back: {0}")]
    RolledBack(Error),
    /// The object could not be activated: a migration or the constructor failed. The next call tries again.
    #[error("the object could not be activated: {0}")]
    Activation(Error),
    /// What the turn wrote could not be made durable. It may or may not be there after a restart.
    #[error("the turn's outcome is unknown, its storage failed: {0}")]
    StorageFailed(Error),
    /// Caller and object do not agree on the method, its arguments or its reply.
    #[error("`{method}` cannot be called: {reason}")]
    Incompatible {
        /// The method.
        method: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// There is no such object: its class is not registered, the id belongs to another class, or
    /// the name is not usable.
    #[error("there is no such object: {0}")]
    NotFound(Error),
    /// The call would wait for itself: it was polled inside a turn, or behind a closed gate by the very code that
    /// holds the gate. Names the way from there back to it, such as `Room "a" -> Clerk "b" -> Room "a"`.
    #[error("the call would wait for itself: {0}")]
    Deadlock(String),
    /// The object was reset while the call waited: it aborted itself, or a gate failed.
    #[error("the object was reset before it answered: {reason}")]
    Reset {
        /// Why.
        reason: String,
        /// Whether an async handler had started, whose earlier turns may be stored. A turn had
        /// not, or is undone.
        started: bool,
    },
    /// The runtime is shut down.
    #[error("the runtime is shut down")]
    ShutDown,
    /// The object is on a server, and the connection to it was lost, or there was none.
    #[error("the server cannot be reached: {reason}; {}", if *.sent { "the call's outcome is unknown" } else { "the call was not sent" })]
    Disconnected {
        /// What has happened.
        reason: String,
        /// Whether the call may have reached the server, and so may have been made. If not, it never will.
        sent: bool,
    },
    /// The object is on a server, and whoever decides there who may call what has refused the call: a layer of its router.
    #[error("the server refused the call with status {status}: {reason}")]
    Denied {
        /// The HTTP status, such as 401 or 403.
        status: u16,
        /// What the server says about it.
        reason: String,
    },
}

/// A failure of the runtime, before it is given to a caller with an error type.
pub(crate) type Failure = CallError<Infallible>;

impl<E> CallError<E> {
    /// Whether the same call may succeed if it is tried again after a while, without risk of
    /// doing its work twice: it surely had no effect.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            CallError::Overloaded { .. }
                | CallError::TimedOut { started: false, .. }
                | CallError::Activation(_)
                | CallError::Reset { started: false, .. }
                | CallError::Disconnected { sent: false, .. }
        )
    }

    /// The same error with another type for the application's part.
    pub fn map<F>(self, map: impl FnOnce(E) -> F) -> CallError<F> {
        let Ok(mapped) = self.try_map(|error| Ok::<F, Infallible>(map(error)));
        mapped
    }

    /// The application's error, or the runtime's error turned into one.
    ///
    /// For a caller who handles both alike.
    pub fn flatten(self) -> E
    where
        E: From<Error>,
    {
        let kind = self.kind();
        self.split().unwrap_or_else(|failure| {
            let constraint = match &failure {
                CallError::RolledBack(error) => error.constraint(),
                _ => None,
            };
            E::from(Error::new(kind, failure).with_constraint(constraint))
        })
    }

    /// The application's error, or the runtime's.
    pub(crate) fn split(self) -> Result<E, Failure> {
        match self.try_map(Err) {
            Ok(failure) => Err(failure),
            Err(application) => Ok(application),
        }
    }

    fn try_map<F, X>(self, map: impl FnOnce(E) -> Result<F, X>) -> Result<CallError<F>, X> {
        Ok(match self {
            CallError::Application(error) => CallError::Application(map(error)?),
            CallError::Overloaded { queued } => CallError::Overloaded { queued },
            CallError::TimedOut { after, started } => CallError::TimedOut { after, started },
            CallError::Panicked { method, message } => CallError::Panicked { method, message },
            CallError::RolledBack(error) => CallError::RolledBack(error),
            CallError::Activation(error) => CallError::Activation(error),
            CallError::StorageFailed(error) => CallError::StorageFailed(error),
            CallError::Incompatible { method, reason } => {
                CallError::Incompatible { method, reason }
            }
            CallError::NotFound(error) => CallError::NotFound(error),
            CallError::Deadlock(way) => CallError::Deadlock(way),
            CallError::Reset { reason, started } => CallError::Reset { reason, started },
            CallError::ShutDown => CallError::ShutDown,
            CallError::Disconnected { reason, sent } => CallError::Disconnected { reason, sent },
            CallError::Denied { status, reason } => CallError::Denied { status, reason },
        })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            CallError::Application(_) => ErrorKind::Other,
            CallError::Overloaded { .. } => ErrorKind::Overloaded,
            CallError::TimedOut { .. } => ErrorKind::TimedOut,
            CallError::Panicked { .. } => ErrorKind::Panicked,
            CallError::RolledBack(_) => ErrorKind::RolledBack,
            CallError::Activation(error) | CallError::StorageFailed(error) => error.kind(),
            CallError::Incompatible { .. } => ErrorKind::Incompatible,
            CallError::NotFound(_) => ErrorKind::NotFound,
            CallError::Deadlock(_) => ErrorKind::Deadlock,
            CallError::Reset { .. } => ErrorKind::Reset,
            CallError::ShutDown => ErrorKind::ShutDown,
            CallError::Disconnected { .. } => ErrorKind::Disconnected,
            CallError::Denied { .. } => ErrorKind::Denied,
        }
    }
}

impl From<CallError<Error>> for Error {
    fn from(error: CallError<Error>) -> Self {
        error.flatten()
    }
}

impl Failure {
    /// The failure as a caller with an error type of its own sees it.
    pub(crate) fn widen<E>(self) -> CallError<E> {
        self.map(|never| match never {})
    }
}
