//! A bank: accounts as durable objects, and transfers that neither make nor lose money.
//!
//! Start reading at [`transfer`], which says how money gets from one object to another, and go on
//! with [`account`], the object that holds it. [`teller`] is what the rest of the program asks.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]
#![allow(clippy::unused_self, reason = "an object without fields still has methods")]

mod account;
mod audit;
mod bank;
mod desk;
mod error;
mod money;
mod options;
mod progress;
mod records;
mod report;
mod simulate;
mod teller;
#[cfg(test)]
mod tests;
mod transfer;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::audit::Audit;
use crate::error::BankError;
use crate::money::Money;
use crate::options::{Command, Options};
use crate::progress::note;
use crate::teller::Teller;
use crate::transfer::{Outcome, Transfer, TransferId};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok((text, status)) => {
            // A reader that has seen enough, such as `head`, is no failure.
            let _ = writeln!(io::stdout(), "{text}");
            status
        }
        Err(error) => {
            note(format_args!("bank: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What to tell, and how the program ends.
type Answer = (String, ExitCode);

async fn run(options: &Options) -> Result<Answer, BankError> {
    let teller = Teller::start(&options.data).await?;
    let answer = execute(&teller, &options.command).await;
    if let Err(BankError::Storage(_)) = &answer {
        // A transfer may be on its way: the next run has to look.
        teller.give_up().await?;
    } else {
        teller.finish().await?;
    }
    answer
}

async fn execute(teller: &Teller, command: &Command) -> Result<Answer, BankError> {
    let text = match command {
        Command::Open { account } => {
            teller.open(account).await?;
            format!("{account} is open")
        }
        Command::Close { account } => {
            teller.account(account).close().await?;
            format!("{account} is closed")
        }
        Command::Deposit { account, amount } => {
            has(account, teller.account(account).deposit(*amount).await?)
        }
        Command::Withdraw { account, amount } => {
            has(account, teller.account(account).withdraw(*amount).await?)
        }
        Command::Transfer { from, to, amount, id } => {
            let id = id.map_or_else(TransferId::random, Ok)?;
            let (sender, receiver) = (from.clone(), to.clone());
            return move_money(teller, Transfer { id, sender, receiver, amount: *amount }).await;
        }
        Command::Statement { account, limit, before } => {
            let lines = teller.account(account).statement(*before, *limit).await?;
            report::statement(account, &lines)
        }
        Command::Accounts => report::accounts(&teller.accounts().await?),
        Command::Audit => return audit(teller).await,
        Command::Simulate(simulation) => {
            let tally = simulate::run(teller, simulation).await?;
            let (audit, status) = audit(teller).await?;
            return Ok((format!("{}\n\n{audit}", tally.report()), status));
        }
    };
    Ok((text, ExitCode::SUCCESS))
}

fn has(account: &str, balance: i64) -> String {
    format!("{account} has {}", Money(balance))
}

async fn move_money(teller: &Teller, transfer: Transfer) -> Result<Answer, BankError> {
    let outcome = teller.transfer(&transfer).await?;
    let Transfer { id, sender, receiver, amount } = transfer;
    let why = match outcome {
        Outcome::Settled => {
            let text = format!("{receiver} has received {amount} from {sender} (transfer {id})");
            return Ok((text, ExitCode::SUCCESS));
        }
        Outcome::Closed => BankError::Closed(receiver),
        Outcome::Full => BankError::Overflow { account: receiver },
        Outcome::Unknown => BankError::UnknownAccount(receiver),
    };
    Ok((format!("{sender} has its {amount} back (transfer {id}): {why}"), ExitCode::FAILURE))
}

async fn audit(teller: &Teller) -> Result<Answer, BankError> {
    let audit = Audit::of(&teller.accounts().await?);
    let status = if audit.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((audit.report(), status))
}
