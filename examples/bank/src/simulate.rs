//! A busy day: many accounts, and many transfers between them at the same time.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use durable::Result;
use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::BankError;
use crate::money::{Amount, NoAmount, grouped};
use crate::options::Simulation;
use crate::progress::Progress;
use crate::report;
use crate::teller::{CALLS_IN_FLIGHT, Teller};
use crate::transfer::{Outcome, Transfer, TransferId};

/// What each new account begins with: 100.00.
const START_CENTS: i64 = 10_000;

/// A transfer moves at most 60.00, so that some accounts run dry.
const TRANSFER_CENTS_MAX: i64 = 6_000;

/// What came of the transfers.
pub struct Tally {
    /// How many there were of each kind.
    endings: BTreeMap<&'static str, u64>,
    took: Duration,
}

/// Opens the accounts and moves money between them at random.
pub async fn run(teller: &Teller, simulation: &Simulation) -> Result<Tally, BankError> {
    let names: Vec<_> = (1..=simulation.accounts).map(|number| format!("sim-{number}")).collect();
    open(teller, &names).await?;

    let mut rng = Rng::with_seed(simulation.seed);
    let mut progress = Progress::new(simulation.transfers);
    let (start, mut endings) = (Instant::now(), BTreeMap::new());
    let mut answers = stream::iter(0..simulation.transfers)
        .map(|_| random_transfer(&mut rng, &names))
        .map(async |transfer| {
            let transfer = transfer?;
            let answer = teller.transfer(&transfer).await;
            Ok::<_, BankError>((transfer, answer))
        })
        .buffer_unordered(CALLS_IN_FLIGHT);
    while let Some(answered) = answers.next().await {
        let (transfer, answer) = answered?;
        let ending = ending(answer)?;
        if simulation.print {
            print(ending, &transfer);
        }
        *endings.entry(ending).or_default() += 1;
        progress.done();
    }
    progress.finish();
    Ok(Tally { endings, took: start.elapsed() })
}

/// Opens the accounts that are not open yet, with some money in them.
async fn open(teller: &Teller, names: &[String]) -> Result<(), BankError> {
    let amount = cents(START_CENTS)?;
    stream::iter(names.iter().map(Ok))
        .try_for_each_concurrent(CALLS_IN_FLIGHT, async |name| match teller.open(name).await {
            Ok(()) => {
                teller.account(name).deposit(amount).await?;
                Ok(())
            }
            Err(BankError::AlreadyOpen(_)) => Ok(()),
            Err(error) => Err(error),
        })
        .await
}

/// Between two accounts; sometimes it is one and the same.
fn random_transfer(rng: &mut Rng, names: &[String]) -> Result<Transfer, BankError> {
    let mut name = || names[rng.usize(..names.len())].clone();
    let (sender, receiver) = (name(), name());
    let amount = cents(rng.i64(1..=TRANSFER_CENTS_MAX))?;
    Ok(Transfer { id: TransferId::random()?, sender, receiver, amount })
}

fn cents(cents: i64) -> Result<Amount, BankError> {
    Amount::try_from(cents).map_err(|error: NoAmount| durable::Error::other(error).into())
}

/// Sorts business errors, which belong to a day like this, from all others. Those end the day as
/// failures: transfers are on their way then, and the next run has to look for them.
fn ending(answer: Result<Outcome, BankError>) -> Result<&'static str, BankError> {
    match answer {
        Ok(Outcome::Settled) => Ok("settled"),
        Ok(_) => Ok("refunded"),
        Err(BankError::InsufficientFunds { .. }) => Ok("insufficient funds"),
        Err(BankError::SameAccount(_)) => Ok("same account"),
        Err(BankError::Closed(_)) => Ok("closed"),
        Err(error) => Err(durable::Error::other(error).into()),
    }
}

/// Tells of one transfer on standard output. Who does not want to hear it is no failure.
fn print(ending: &str, transfer: &Transfer) {
    let Transfer { id, sender, receiver, amount } = transfer;
    let _ = writeln!(io::stdout(), "{id} {sender} {receiver} {amount} {ending}");
}

impl Tally {
    /// A table of the endings, and how long it took.
    pub fn report(&self) -> String {
        let total: u64 = self.endings.values().sum();
        let mut rows: Vec<_> =
            self.endings.iter().map(|(ending, count)| [(*ending).into(), grouped(count)]).collect();
        rows.push(["all".into(), grouped(total)]);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = total as f64 / self.took.as_secs_f64().max(f64::EPSILON);
        let table = report::table(["transfers", "count"], &rows, &[1]);
        format!("{table}\n{:.1} s, {rate:.0} transfers a second", self.took.as_secs_f64())
    }
}
