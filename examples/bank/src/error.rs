//! What the bank refuses to do, and why.

use durable::CallError;
use serde::{Deserialize, Serialize};

use crate::money::{BALANCE_MAX, Money};
use crate::transfer::TransferId;

/// Why nothing was done: the caller's mistake, or a failure of the storage.
///
/// It is part of the answer of a call, so it can be serialised; and because it can be made of a
/// [`durable::Error`], methods use `?` on storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BankError {
    #[error("there is no account {0:?}; `bank accounts` shows those there are")]
    UnknownAccount(String),
    #[error("there is an account {0:?} already")]
    AlreadyOpen(String),
    #[error("{0:?} is no name of an account: take 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    BadName(String),
    #[error("the account {0:?} is closed")]
    Closed(String),
    #[error("{account:?} has {}, which is less than {}", Money(*balance), Money(*wanted))]
    InsufficientFunds { account: String, balance: i64, wanted: i64 },
    #[error("{account:?} would have more than the {max} that an account may hold", max = Money(BALANCE_MAX))]
    Overflow { account: String },
    #[error("a transfer needs two accounts, and both of these are {0:?}")]
    SameAccount(String),
    #[error("{account:?} cannot be closed: it still has {}", Money(*balance))]
    NotEmpty { account: String, balance: i64 },
    #[error("{0:?} cannot be closed while a transfer of its own is on its way")]
    InFlight(String),
    #[error("{0} is the id of another transfer; leave `--id` out to get a new one")]
    IdInUse(TransferId),
    #[error(transparent)]
    Storage(#[from] durable::Error),
}

/// The caller of an account is told the account's own error or the runtime's alike.
impl From<CallError<BankError>> for BankError {
    fn from(error: CallError<BankError>) -> Self {
        error.flatten()
    }
}

/// The same for methods that have no errors of their own.
impl From<CallError<durable::Error>> for BankError {
    fn from(error: CallError<durable::Error>) -> Self {
        BankError::Storage(error.flatten())
    }
}
