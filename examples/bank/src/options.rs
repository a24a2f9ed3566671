//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::money::Amount;
use crate::transfer::TransferId;

/// A bank whose accounts are durable objects.
///
/// Money moves between accounts without ever being made or lost, even if the program is killed in
/// the middle of it: the next run ends what was begun.
#[derive(Debug, Parser)]
#[command(after_help = "\
Try it:
  bank open alice
  bank open bob
  bank deposit alice 100
  bank transfer alice bob 12.50
  bank statement alice
  bank audit

Try to break it: run this, kill it with `kill -9` whenever you like, and ask for an audit.
  bank simulate --transfers 1000000
  bank audit")]
pub struct Options {
    /// The directory that the accounts are kept in
    #[arg(long, global = true, value_name = "DIR", default_value = "./data/bank")]
    pub data: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Opens an account
    Open {
        /// 1 to 64 letters, digits, `-`, `_` and `.`
        account: String,
    },
    /// Closes an empty account for good
    Close { account: String },
    /// Pays money in
    Deposit {
        account: String,
        /// At least 0.01
        amount: Amount,
    },
    /// Pays money out
    Withdraw { account: String, amount: Amount },
    /// Moves money from one account to another
    #[command(after_help = "\
The answer comes when the money is there, or back again. To be able to repeat an order whose answer
you may miss (the program was killed, the line was cut), choose its id yourself: given again with
the same `--id`, it moves the money once.")]
    Transfer {
        from: String,
        to: String,
        amount: Amount,
        /// The id of the transfer, 16 hex digits; a new one if left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Shows what happened to an account, the newest first
    Statement {
        account: String,
        /// How many entries to show
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Show those before entry number N
        #[arg(long, value_name = "N", default_value_t = i64::MAX, hide_default_value = true)]
        before: i64,
    },
    /// Shows all accounts
    Accounts,
    /// Adds up all accounts: whether money was made or lost (then it ends with status 1)
    Audit,
    /// Moves money at random between many accounts, many transfers at a time, and audits the bank
    Simulate(Simulation),
}

/// How much is going on.
#[derive(Debug, Args)]
pub struct Simulation {
    /// How many accounts take part; they are called sim-1, sim-2 and so on
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub accounts: u32,
    /// How many transfers to make
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub transfers: u64,
    /// Another number, other transfers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print a line for each transfer once it is done: id, sender, receiver, amount and ending
    #[arg(long)]
    pub print: bool,
}
