//! How the program ends.

use std::io::{self, Write};
use std::process::ExitCode;

use durable_runtime::{Error, ErrorKind};

use crate::output::escaped;

/// A good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All is as it was asked for.
    Well = 0,
    /// A check has found something.
    WithProblems = 3,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        ExitCode::from(done as u8)
    }
}

/// A bad end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for in a way that means nothing: 2.
    Usage(String),
    /// What it is about is not there: 4; a name or an option that means nothing: 2. Anything else: 1.
    Failed(Error),
    /// Nobody reads what is written: no matter.
    Unread,
}

impl Failure {
    /// Says what went wrong.
    pub(crate) fn tell(self) -> ExitCode {
        let (text, code) = match self {
            Failure::Unread => return ExitCode::SUCCESS,
            Failure::Usage(text) => (text, 2),
            Failure::Failed(error) => {
                let code = match error.kind() {
                    ErrorKind::NotFound | ErrorKind::NotKept => 4,
                    ErrorKind::Invalid => 2,
                    _ => 1,
                };
                (error.message().to_owned(), code)
            }
        };
        // If that cannot be told either, nobody is there.
        let _ = writeln!(io::stderr(), "error: {}", escaped(&text));
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::Unread;
        }
        Failure::Failed(Error::new(ErrorKind::Storage, error))
    }
}
