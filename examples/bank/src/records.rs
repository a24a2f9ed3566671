//! What an account tells about itself.

use serde::{Deserialize, Serialize};

use crate::money::Amount;
use crate::transfer::{Outcome, TransferId};

/// What an entry was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Deposit,
    Withdrawal,
    /// Taken for a transfer to another account.
    Sent,
    Received,
    /// A transfer of this account's own that came back.
    Refund,
}

impl Kind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Deposit => "deposit",
            Kind::Withdrawal => "withdrawal",
            Kind::Sent => "sent",
            Kind::Received => "received",
            Kind::Refund => "refund",
        }
    }
}

/// An entry of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counted from 1.
    pub number: i64,
    /// In seconds since 1970.
    pub time: i64,
    pub kind: Kind,
    /// In cents; negative if it was taken.
    pub amount: i64,
    /// What the account had after it.
    pub balance: i64,
    /// The account at the other end of a transfer.
    pub other: Option<String>,
    pub transfer: Option<TransferId>,
    /// How a transfer from this account ended, if it has.
    pub outcome: Option<Outcome>,
}

/// A transfer that an account has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub receiver: String,
    pub amount: Amount,
    /// None while it is on its way.
    pub outcome: Option<Outcome>,
}

/// An account in numbers, in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub balance: i64,
    pub closed: bool,
    /// How many entries there are.
    pub entries: i64,
    /// The sum of all entries: the balance, if nothing is wrong.
    pub booked: i64,
    /// What came from outside the bank.
    pub deposited: i64,
    /// What left the bank.
    pub withdrawn: i64,
    /// What was taken for transfers that are on their way.
    pub pending: i64,
}
