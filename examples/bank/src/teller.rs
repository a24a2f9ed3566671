//! The teller: what the rest of the program asks to move money.

use std::path::Path;

use durable::{Error, Namespace, Result, Runtime};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::account::{Account, AccountStub, check_name};
use crate::bank::{self, Bank, BankStub};
use crate::desk::Desk;
use crate::error::BankError;
use crate::records::Summary;
use crate::transfer::{Outcome, Transfer, TransferId};

/// How many calls wait for their answers at the same time. More of them share one flush of the
/// disk; fewer take less memory.
pub const CALLS_IN_FLIGHT: usize = 64;

/// How many names of accounts the bank is asked for at a time.
const NAMES_PER_CALL: u32 = 1_000;

/// A bank that is open for business.
pub struct Teller {
    runtime: Runtime,
    accounts: Namespace<Account>,
    desk: Desk,
}

impl Teller {
    /// Opens the bank in this directory. If the last run did not end well, the transfers that it
    /// left on their way are brought to their end first.
    pub async fn start(directory: &Path) -> Result<Self> {
        let desk = Desk::default();
        let runtime = Runtime::builder(directory)
            .register::<Account>()
            .register::<Bank>()
            .env(desk.clone())
            .start()
            .await?;
        let teller = Teller { accounts: runtime.namespace(), runtime, desk };
        if teller.bank().begin_run().await? {
            teller.resume().await?;
        }
        Ok(teller)
    }

    /// Ends the run. Nothing is on its way any more.
    pub async fn finish(self) -> Result<()> {
        self.bank().end_run().await?;
        self.runtime.shutdown().await
    }

    /// Ends the run after a failure. The next one looks for transfers on their way.
    pub async fn give_up(self) -> Result<()> {
        self.runtime.shutdown().await
    }

    fn bank(&self) -> BankStub {
        self.runtime.get::<Bank>(bank::NAME)
    }

    /// The account of this name, opened or not.
    pub fn account(&self, name: &str) -> AccountStub {
        self.accounts.get_by_name(name)
    }

    /// Opens an account.
    pub async fn open(&self, name: &str) -> Result<(), BankError> {
        check_name(name)?;
        self.bank().add(name).await?;
        Ok(self.account(name).open().await?)
    }

    /// Moves money, and waits until it is there or back again.
    ///
    /// Whoever stops waiting stops nothing: once the sender has answered, the transfer goes on. The
    /// same transfer again moves nothing and gives the same outcome.
    pub async fn transfer(&self, transfer: &Transfer) -> Result<Outcome, BankError> {
        let Transfer { id, sender, receiver, amount } = transfer;
        self.account(sender).send(*id, receiver, *amount).await?;
        Ok(self.outcome(sender, *id).await?)
    }

    /// Waits for a transfer that is written down at its sender.
    async fn outcome(&self, sender: &str, id: TransferId) -> Result<Outcome> {
        // First the place at the desk, then the look: an outcome is stored before it is told.
        let told = self.desk.expect(id);
        let sent = self.account(sender).sent(id).await?;
        if let Some(outcome) = sent.and_then(|sent| sent.outcome) {
            drop(told);
            self.desk.tidy(id);
            return Ok(outcome);
        }
        match told.await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::other("the bank closed before the transfer was delivered")),
        }
    }

    /// Brings all transfers that are on their way to their end.
    async fn resume(&self) -> Result<()> {
        let names = self.names().await?;
        stream::iter(names.into_iter().map(Ok))
            .try_for_each_concurrent(CALLS_IN_FLIGHT, async |name| {
                // This call brings the account into memory, and that starts its deliveries.
                for transfer in self.account(&name).pending().await? {
                    self.outcome(&name, transfer.id).await?;
                }
                Ok(())
            })
            .await
    }

    /// All accounts in alphabetical order, with their numbers.
    pub async fn accounts(&self) -> Result<Vec<(String, Summary)>> {
        stream::iter(self.names().await?)
            .map(async |name| match self.account(&name).summary().await {
                Ok(summary) => Ok(summary.map(|summary| (name, summary))),
                Err(error) => Err(Error::from(error).context(name)),
            })
            .buffered(CALLS_IN_FLIGHT)
            .try_filter_map(async |account| Ok(account))
            .try_collect()
            .await
    }

    /// The names that the bank knows.
    async fn names(&self) -> Result<Vec<String>> {
        let (bank, mut all) = (self.bank(), Vec::new());
        let mut names = bank.accounts_after("", NAMES_PER_CALL).await?;
        while let Some(last) = names.last().cloned() {
            all.append(&mut names);
            names = bank.accounts_after(&last, NAMES_PER_CALL).await?;
        }
        Ok(all)
    }
}
