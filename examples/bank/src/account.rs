//! An account: the durable object that holds money.

use std::time::UNIX_EPOCH;

use durable::prelude::*;

use crate::error::BankError;
use crate::money::{Amount, BALANCE_MAX};
use crate::records::{Kind, Line, Sent, Summary};
use crate::transfer::{Outcome, Transfer, TransferId, deliver};

/// The longest name of an account.
const NAME_BYTES_MAX: usize = 64;

/// One account. The object's name is the account's.
///
/// All of it is in the object's own database: what a field holds is gone when the program ends.
pub struct Account;

/// What decides whether money may move.
#[derive(serde::Deserialize)]
struct Standing {
    balance: i64,
    closed: bool,
    /// What is on its way to others, and comes back if they refuse it.
    pending: i64,
}

impl Standing {
    /// Whether so much more fits, even if everything on its way comes back.
    fn has_room_for(&self, amount: Amount) -> bool {
        amount.cents() <= BALANCE_MAX - self.balance - self.pending
    }
}

#[durable_object]
impl Account {
    #[migration(1)]
    fn create_tables(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE account (
                 id      INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row, once it is open
                 balance INTEGER NOT NULL CHECK (balance >= 0),
                 closed  INTEGER NOT NULL DEFAULT FALSE
             );
             CREATE TABLE entries (
                 number   INTEGER PRIMARY KEY,
                 time     INTEGER NOT NULL,  -- in seconds since 1970
                 kind     TEXT NOT NULL,
                 amount   INTEGER NOT NULL,  -- negative if it was taken
                 other    TEXT,              -- the account at the other end of a transfer
                 transfer TEXT
             );
             CREATE TABLE sent (
                 id       TEXT PRIMARY KEY,
                 receiver TEXT NOT NULL,
                 amount   INTEGER NOT NULL,
                 outcome  TEXT               -- NULL while it is on its way
             ) WITHOUT ROWID;
             CREATE INDEX pending ON sent (id, amount) WHERE outcome IS NULL;
             CREATE TABLE decided (          -- about transfers from others
                 sender  TEXT NOT NULL,
                 id      TEXT NOT NULL,
                 outcome TEXT NOT NULL,
                 PRIMARY KEY (sender, id)
             ) WITHOUT ROWID;",
        )
    }

    /// Runs whenever the object comes into memory, before its first call, and takes up the transfers
    /// that were on their way when the program died.
    fn new(ctx: &Context<Self>) -> Result<Self> {
        for transfer in Account.pending(ctx)? {
            ctx.wait_until(deliver(ctx.handle(), transfer));
        }
        Ok(Account)
    }

    /// Opens the account, with nothing in it.
    pub fn open(&mut self, ctx: &Context) -> Result<(), BankError> {
        let name = own_name(ctx);
        check_name(&name)?;
        match self.standing(ctx)? {
            Some(standing) if standing.closed => Err(BankError::Closed(name)),
            Some(_) => Err(BankError::AlreadyOpen(name)),
            None => {
                ctx.sql().execute("INSERT INTO account (id, balance) VALUES (1, 0)", [])?;
                Ok(())
            }
        }
    }

    /// Closes the account for good. It must be empty.
    pub fn close(&mut self, ctx: &Context) -> Result<(), BankError> {
        let (account, standing) = (own_name(ctx), self.open_standing(ctx)?);
        if standing.pending > 0 {
            return Err(BankError::InFlight(account));
        }
        if standing.balance > 0 {
            return Err(BankError::NotEmpty { account, balance: standing.balance });
        }
        ctx.sql().execute("UPDATE account SET closed = TRUE", [])?;
        Ok(())
    }

    /// Adds money from outside the bank. Gives the new balance.
    pub fn deposit(&mut self, ctx: &Context, amount: Amount) -> Result<i64, BankError> {
        if !self.open_standing(ctx)?.has_room_for(amount) {
            return Err(BankError::Overflow { account: own_name(ctx) });
        }
        Ok(self.book(ctx, Kind::Deposit, amount.cents(), None)?)
    }

    /// Takes money out of the bank. Gives the new balance.
    pub fn withdraw(&mut self, ctx: &Context, amount: Amount) -> Result<i64, BankError> {
        let standing = self.open_standing(ctx)?;
        check_funds(ctx, &standing, amount)?;
        Ok(self.book(ctx, Kind::Withdrawal, -amount.cents(), None)?)
    }

    /// Step 1 of a [transfer](crate::transfer): takes the amount and writes down where it is to go.
    ///
    /// The answer comes when that is durable, and the delivery goes on in the background. The same
    /// order again does nothing.
    pub fn send(
        &mut self,
        ctx: &Context<Self>,
        id: TransferId,
        receiver: &str,
        amount: Amount,
    ) -> Result<(), BankError> {
        if let Some(sent) = self.sent(ctx, id)? {
            let is_the_same = sent.receiver == receiver && sent.amount == amount;
            return if is_the_same { Ok(()) } else { Err(BankError::IdInUse(id)) };
        }
        let (sender, standing) = (own_name(ctx), self.open_standing(ctx)?);
        if sender == receiver {
            return Err(BankError::SameAccount(sender));
        }
        if !exists(ctx, receiver)? {
            return Err(BankError::UnknownAccount(receiver.into()));
        }
        check_funds(ctx, &standing, amount)?;

        ctx.sql().execute(
            "INSERT INTO sent (id, receiver, amount) VALUES (?, ?, ?)",
            (id.to_string(), receiver, amount.cents()),
        )?;
        self.book(ctx, Kind::Sent, -amount.cents(), Some((receiver, id)))?;
        let transfer = Transfer { id, sender, receiver: receiver.into(), amount };
        // Begins when this turn is durable, and never if it is undone.
        ctx.wait_until(deliver(ctx.handle(), transfer));
        Ok(())
    }

    /// Step 2 of a [transfer](crate::transfer): adds the amount or refuses it, and remembers which.
    ///
    /// A refusal is an answer like the other, not an `Err`, which would undo the row that remembers
    /// it. So a transfer that comes twice has one outcome, even if the account was closed between.
    pub fn receive(&mut self, ctx: &Context, transfer: &Transfer) -> Result<Outcome> {
        let Transfer { id, sender, amount, .. } = transfer;
        let key = (sender, id.to_string());
        let decided = ctx.sql().query_optional(
            "SELECT outcome FROM decided WHERE sender = ? AND id = ?",
            (key.0, &key.1),
        )?;
        if let Some(outcome) = decided {
            return Ok(outcome);
        }
        let outcome = match self.standing(ctx)? {
            None => Outcome::Unknown,
            Some(standing) if standing.closed => Outcome::Closed,
            Some(standing) if !standing.has_room_for(*amount) => Outcome::Full,
            Some(_) => Outcome::Settled,
        };
        ctx.sql()
            .execute("INSERT INTO decided VALUES (?, ?, ?)", (key.0, &key.1, outcome.as_str()))?;
        if outcome == Outcome::Settled {
            self.book(ctx, Kind::Received, amount.cents(), Some((sender, *id)))?;
        }
        Ok(outcome)
    }

    /// A transfer that this account sent.
    pub fn sent(&self, ctx: &Context, id: TransferId) -> Result<Option<Sent>> {
        ctx.sql().query_optional(
            "SELECT receiver, amount, outcome FROM sent WHERE id = ?",
            [id.to_string()],
        )
    }

    /// The transfers from this account that are on their way.
    pub fn pending(&self, ctx: &Context) -> Result<Vec<Transfer>> {
        ctx.sql().query_all(
            "SELECT id, ? AS sender, receiver, amount FROM sent WHERE outcome IS NULL",
            [own_name(ctx)],
        )
    }

    /// The newest `limit` entries before number `before`, the newest first, each with the balance
    /// after it.
    pub fn statement(
        &self,
        ctx: &Context,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Line>, BankError> {
        if self.standing(ctx)?.is_none() {
            return Err(BankError::UnknownAccount(own_name(ctx)));
        }
        Ok(ctx.sql().query_all(
            "SELECT line.*, outcome
             FROM (
                 SELECT *, SUM(amount) OVER (ORDER BY number) AS balance FROM entries
             ) AS line
             LEFT JOIN sent ON kind <> 'received' AND sent.id = line.transfer
             WHERE number < ? ORDER BY number DESC LIMIT ?",
            (before, limit),
        )?)
    }

    /// All that an audit asks; none if the account was never opened.
    pub fn summary(&self, ctx: &Context) -> Result<Option<Summary>> {
        ctx.sql().query_optional(
            "SELECT balance, closed, entries, booked, deposited, withdrawn,
                 (SELECT COALESCE(SUM(amount), 0) FROM sent WHERE outcome IS NULL) AS pending
             FROM account, (
                 SELECT COUNT(*) AS entries,
                     COALESCE(SUM(amount), 0) AS booked,
                     COALESCE(SUM(amount) FILTER (WHERE kind = 'deposit'), 0) AS deposited,
                     COALESCE(-SUM(amount) FILTER (WHERE kind = 'withdrawal'), 0) AS withdrawn
                 FROM entries
             )",
            [],
        )
    }
}

/// What stubs do not reach.
impl Account {
    /// Step 3 of a [transfer](crate::transfer): the receiver has decided. Doing it again does
    /// nothing.
    pub fn finish(&mut self, ctx: &Context, id: TransferId, outcome: Outcome) -> Result<()> {
        let Some(Sent { receiver, amount, outcome: None }) = self.sent(ctx, id)? else {
            return Ok(());
        };
        ctx.sql().execute(
            "UPDATE sent SET outcome = ? WHERE id = ?",
            (outcome.as_str(), id.to_string()),
        )?;
        if outcome != Outcome::Settled {
            self.book(ctx, Kind::Refund, amount.cents(), Some((&receiver, id)))?;
        }
        Ok(())
    }

    /// Writes an entry and changes the balance by it. Gives the new one.
    fn book(
        &mut self,
        ctx: &Context,
        kind: Kind,
        amount: i64,
        transfer: Option<(&str, TransferId)>,
    ) -> Result<i64> {
        let time = ctx.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        ctx.sql().execute(
            "INSERT INTO entries (time, kind, amount, other, transfer) VALUES (?, ?, ?, ?, ?)",
            (
                time,
                kind.as_str(),
                amount,
                transfer.map(|(other, _)| other),
                transfer.map(|(_, id)| id.to_string()),
            ),
        )?;
        ctx.sql().query_one("UPDATE account SET balance = balance + ? RETURNING balance", [amount])
    }

    /// None if the account was never opened.
    fn standing(&self, ctx: &Context) -> Result<Option<Standing>> {
        ctx.sql().query_optional(
            "SELECT balance, closed,
                 (SELECT COALESCE(SUM(amount), 0) FROM sent WHERE outcome IS NULL) AS pending
             FROM account",
            [],
        )
    }

    fn open_standing(&self, ctx: &Context) -> Result<Standing, BankError> {
        match self.standing(ctx)? {
            None => Err(BankError::UnknownAccount(own_name(ctx))),
            Some(standing) if standing.closed => Err(BankError::Closed(own_name(ctx))),
            Some(standing) => Ok(standing),
        }
    }
}

fn own_name(ctx: &Context) -> String {
    ctx.name().unwrap_or_default().to_owned()
}

/// Whether an account may have this name.
pub fn check_name(name: &str) -> Result<(), BankError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(BankError::BadName(name.into()))
    }
}

fn check_funds(ctx: &Context, standing: &Standing, amount: Amount) -> Result<(), BankError> {
    if amount.cents() <= standing.balance {
        return Ok(());
    }
    let (balance, wanted) = (standing.balance, amount.cents());
    Err(BankError::InsufficientFunds { account: own_name(ctx), balance, wanted })
}

/// Whether there is an account of this name, open or closed: the first thing that an account writes
/// is that it is open.
fn exists(ctx: &Context, account: &str) -> Result<bool> {
    let accounts = ctx.namespace::<Account>();
    match accounts.id_from_name(account) {
        Ok(id) => accounts.exists(&id),
        Err(_) => Ok(false), // no object can have such a name
    }
}
