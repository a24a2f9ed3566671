//! A transfer on its way from one account to another.
//!
//! Two objects have two databases, and no transaction spans both. So a transfer goes in three
//! turns, each durable before the next begins:
//!
//! 1. [`Account::send`] takes the amount from the sender and writes the transfer down as pending;
//! 2. [`Account::receive`] adds it at the receiver, or refuses it, and writes down which;
//! 3. [`Account::finish`] ends the pending transfer at the sender: settled, or refunded.
//!
//! The guarantee: a transfer that was taken from the sender is added to the receiver once or given
//! back once, never both. The program may die between any two steps, because the pending row says
//! what is left to do and steps 2 and 3 may be repeated: the receiver decides about a transfer
//! once and then only repeats what it decided.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use durable::{Error, ErrorKind, Handle, Result};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::desk::Desk;
use crate::money::Amount;

/// The id of a transfer, chosen by whoever orders it: 16 hex digits.
///
/// A caller who does not know how its order ended gives it again with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransferId(u64);

impl TransferId {
    /// An id that no other transfer has.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 8];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(TransferId(u64::from_le_bytes(bytes))),
            Err(error) => Err(Error::other(format!("no random number: {error}"))),
        }
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TransferId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(number) if is_hex => Ok(TransferId(number)),
            _ => Err("the id of a transfer has 16 hex digits"),
        }
    }
}

impl TryFrom<String> for TransferId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TransferId> for String {
    fn from(id: TransferId) -> String {
        id.to_string()
    }
}

/// An amount to be moved from one account to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub id: TransferId,
    pub sender: String,
    pub receiver: String,
    pub amount: Amount,
}

/// How a transfer ended. The receiver decides; the sender acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The receiver has the money.
    Settled,
    /// The receiver is closed; the sender has the money back.
    Closed,
    /// The receiver would hold too much; the sender has the money back.
    Full,
    /// The receiver was never opened; the sender has the money back.
    Unknown,
}

impl Outcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Settled => "settled",
            Outcome::Closed => "closed",
            Outcome::Full => "full",
            Outcome::Unknown => "unknown",
        }
    }
}

/// Steps 2 and 3 of a transfer that is durably pending at its sender.
///
/// It runs in the background, so that a transfer goes on when nobody waits for it any more; who
/// does wait is told at the [`Desk`]. When it fails, the transfer stays pending until the sender
/// is next [activated](Account::new).
pub async fn deliver(sender: Handle<Account>, transfer: Transfer) {
    let outcome = try_deliver(&sender, &transfer).await;
    if let Ok(desk) = sender.env::<Desk>() {
        desk.tell(transfer.id, &outcome);
    }
}

async fn try_deliver(sender: &Handle<Account>, transfer: &Transfer) -> Result<Outcome> {
    let receiver = sender.namespace::<Account>().get_by_name(&transfer.receiver);
    let outcome = patiently(|| receiver.receive(transfer)).await?;
    let id = transfer.id;
    patiently(|| sender.turn(move |account, ctx| account.finish(ctx, id, outcome))).await?;
    Ok(outcome)
}

/// Tries again for as long as the object's queue is full, more and more slowly.
async fn patiently<T, E, F>(attempt: impl Fn() -> F) -> Result<T>
where
    E: Into<Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut pause = Duration::from_millis(5);
    loop {
        match attempt().await.map_err(E::into) {
            Err(error) if error.kind() == ErrorKind::Overloaded => {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(Duration::from_secs(1));
            }
            answer => return answer,
        }
    }
}
