//! Why a call gave no value, as it is told to another process.
//!
//! The guarantee: nothing goes out but the kind and our own text. SQL, paths, the messages of panics and the names of other
//! objects stay in the log of the server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Failure;
use crate::{CallError, Error};

/// What stands in place of what a stranger is not told.
const IN_THE_LOG: &str = "the object's log says why";

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Why a call gave neither a value nor an error of its method's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failed {
    /// The queue of the object, or of the connection, is full.
    Overloaded {
        /// How many calls wait.
        queued: u64,
    },
    /// The time was up.
    TimedOut {
        /// Whether the turn had started.
        started: bool,
        /// How long it waited, in milliseconds.
        after_ms: u64,
    },
    /// The method panicked.
    Panicked,
    /// The turn was rolled back.
    RolledBack(Error),
    /// The object could not be activated.
    Activation(Error),
    /// The outcome is unknown.
    StorageFailed(Error),
    /// Client and server do not agree on the method.
    Incompatible {
        /// What does not fit.
        reason: String,
    },
    /// The arguments have a form that only a method of the same shape can read: they are to be sent in the other.
    OtherShape,
    /// There is no such object or method, or it is not exposed.
    NotFound(Error),
    /// The call would wait for itself.
    Deadlock,
    /// The object was reset.
    Reset {
        /// Whether an async handler had started.
        started: bool,
    },
    /// The runtime is shut down.
    ShutDown,
    /// Whoever decides who may call what has refused it.
    Denied {
        /// An HTTP status.
        status: u16,
        /// What was said about it.
        reason: String,
    },
    /// The connection was lost, or there was none.
    Disconnected {
        /// Why.
        reason: String,
        /// Whether the call may have reached the server.
        sent: bool,
    },
}

impl Failed {
    /// As a server tells it. Says in the log what it does not tell.
    pub fn of(failure: Failure) -> Self {
        match failure {
            CallError::Application(never) => match never {},
            CallError::Overloaded { queued } => Failed::Overloaded { queued: queued as u64 },
            CallError::TimedOut { started, after } => {
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Failed::TimedOut { started, after_ms }
            }
            CallError::Panicked { .. } => Failed::Panicked,
            CallError::RolledBack(error) => Failed::RolledBack(shortened(error)),
            CallError::Activation(error) => Failed::Activation(shortened(error)),
            CallError::StorageFailed(error) => Failed::StorageFailed(shortened(error)),
            CallError::Incompatible { reason, .. } => Failed::Incompatible { reason: cut(reason) },
            CallError::NotFound(error) => Failed::NotFound(shortened(error)),
            CallError::Deadlock(_) => Failed::Deadlock,
            CallError::Reset { started, .. } => Failed::Reset { started },
            CallError::ShutDown => Failed::ShutDown,
            CallError::Denied { status, reason } => Failed::Denied { status, reason: cut(reason) },
            CallError::Disconnected { reason, sent } => {
                Failed::Disconnected { reason: cut(reason), sent }
            }
        }
    }

    /// As the caller of `method` sees it.
    pub(crate) fn into_failure(self, method: &'static str) -> Failure {
        let in_the_log = || IN_THE_LOG.to_owned();
        match self {
            Failed::Overloaded { queued } => {
                CallError::Overloaded { queued: usize::try_from(queued).unwrap_or(usize::MAX) }
            }
            Failed::TimedOut { started, after_ms } => {
                CallError::TimedOut { after: Duration::from_millis(after_ms), started }
            }
            Failed::Panicked => CallError::Panicked { method, message: in_the_log() },
            Failed::RolledBack(error) => CallError::RolledBack(error),
            Failed::Activation(error) => CallError::Activation(error),
            Failed::StorageFailed(error) => CallError::StorageFailed(error),
            Failed::Incompatible { reason } => CallError::Incompatible { method, reason },
            Failed::OtherShape => {
                let reason = "the server takes it for another method each time".to_owned();
                CallError::Incompatible { method, reason }
            }
            Failed::NotFound(error) => CallError::NotFound(error),
            Failed::Deadlock => CallError::Deadlock(in_the_log()),
            Failed::Reset { started } => CallError::Reset { reason: in_the_log(), started },
            Failed::ShutDown => CallError::ShutDown,
            Failed::Denied { status, reason } => CallError::Denied { status, reason },
            Failed::Disconnected { reason, sent } => CallError::Disconnected { reason, sent },
        }
    }
}

fn shortened(error: Error) -> Error {
    if error.message().len() <= TEXT_BYTES_MAX {
        return error;
    }
    Error::new(error.kind(), cut(error.message().to_owned())).with_constraint(error.constraint())
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// Every failure comes back as what it was, without what a stranger is not told.
    #[test]
    fn there_and_back() {
        let error = |kind| Error::new(kind, "told");
        let after = Duration::from_secs(3);
        let same: Vec<Failure> = vec![
            CallError::Overloaded { queued: 7 },
            CallError::TimedOut { after, started: true },
            CallError::TimedOut { after, started: false },
            CallError::RolledBack(error(ErrorKind::RolledBack)),
            CallError::Activation(error(ErrorKind::Other)),
            CallError::StorageFailed(error(ErrorKind::Storage)),
            CallError::Incompatible { method: "post", reason: "told".into() },
            CallError::NotFound(error(ErrorKind::NotFound)),
            CallError::ShutDown,
            CallError::Denied { status: 403, reason: "told".into() },
            CallError::Disconnected { reason: "told".into(), sent: true },
        ];
        for failure in same {
            let back = Failed::of(failure.clone()).into_failure("post");
            assert_eq!(back, failure);
        }
        let withheld: Vec<Failure> = vec![
            CallError::Panicked { method: "post", message: "secret".into() },
            CallError::Deadlock("secret".into()),
            CallError::Reset { reason: "secret".into(), started: true },
        ];
        for failure in withheld {
            let back = Failed::of(failure.clone()).into_failure("post");
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&failure));
            assert!(!back.to_string().contains("secret"), "{back}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        let text = cut(format!("a{long}"));
        assert!(text.len() < TEXT_BYTES_MAX && text.ends_with('é'));
        let error = shortened(Error::other(&long));
        assert_eq!(error.message().len(), TEXT_BYTES_MAX);
    }
}
