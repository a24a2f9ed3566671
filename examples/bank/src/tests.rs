//! The bank against a model of it in a few lines, and what a transfer does when steps are repeated.

use std::collections::BTreeMap;
use std::path::Path;

use durable::CallError;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tempfile::tempdir;

use crate::audit::Audit;
use crate::error::BankError;
use crate::money::{Amount, BALANCE_MAX};
use crate::records::{Kind, Line};
use crate::teller::Teller;
use crate::transfer::{Outcome, Transfer, TransferId};

/// `nobody` is never opened.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "nobody"];

fn amount(cents: i64) -> Amount {
    Amount::try_from(cents).unwrap()
}

fn transfer(sender: &str, receiver: &str, cents: i64) -> Transfer {
    let id = TransferId::random().unwrap();
    Transfer { id, sender: sender.into(), receiver: receiver.into(), amount: amount(cents) }
}

#[derive(Clone, Debug)]
enum Operation {
    Open(&'static str),
    Close(&'static str),
    Deposit(&'static str, i64),
    Withdraw(&'static str, i64),
    Transfer(&'static str, &'static str, i64),
    /// The last transfer once more.
    Repeat,
    /// The program ends and starts again.
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(&NAMES[..]);
    let opened = || prop::sample::select(&NAMES[..3]);
    // Small ones, so that accounts run dry, and such that three of them overflow an account.
    let cents = || prop_oneof![6 => 1..100_i64, 1 => BALANCE_MAX / 3..=BALANCE_MAX];
    prop_oneof![
        3 => opened().prop_map(Operation::Open),
        3 => name().prop_map(Operation::Close),
        4 => (name(), cents()).prop_map(|(name, cents)| Operation::Deposit(name, cents)),
        2 => (name(), cents()).prop_map(|(name, cents)| Operation::Withdraw(name, cents)),
        8 => (name(), name(), cents()).prop_map(|(from, to, cents)| Operation::Transfer(from, to, cents)),
        1 => Just(Operation::Repeat),
        1 => Just(Operation::Restart),
    ]
}

/// What the bank does, without objects, storage or concurrency. `None` is a closed account.
#[derive(Debug, Default)]
struct Model {
    balances: BTreeMap<&'static str, Option<i64>>,
    paid_in: i64,
}

/// What an operation gives.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Balance(i64),
    Ended(Outcome),
}

impl Model {
    fn balance(&mut self, name: &str) -> Result<&mut i64, BankError> {
        match self.balances.get_mut(name) {
            None => Err(BankError::UnknownAccount(name.into())),
            Some(None) => Err(BankError::Closed(name.into())),
            Some(Some(balance)) => Ok(balance),
        }
    }

    fn open(&mut self, name: &'static str) -> Result<Answer, BankError> {
        match self.balance(name) {
            Err(BankError::UnknownAccount(_)) => {
                self.balances.insert(name, Some(0));
                Ok(Answer::Done)
            }
            Err(error) => Err(error),
            Ok(_) => Err(BankError::AlreadyOpen(name.into())),
        }
    }

    fn close(&mut self, name: &'static str) -> Result<Answer, BankError> {
        match *self.balance(name)? {
            0 => {
                self.balances.insert(name, None);
                Ok(Answer::Done)
            }
            balance => Err(BankError::NotEmpty { account: name.into(), balance }),
        }
    }

    fn add(&mut self, name: &str, cents: i64) -> Result<Answer, BankError> {
        let balance = self.balance(name)?;
        if *balance + cents > BALANCE_MAX {
            return Err(BankError::Overflow { account: name.into() });
        }
        if *balance + cents < 0 {
            let (account, balance, wanted) = (name.into(), *balance, -cents);
            return Err(BankError::InsufficientFunds { account, balance, wanted });
        }
        *balance += cents;
        Ok(Answer::Balance(*balance))
    }

    fn pay(&mut self, name: &str, cents: i64) -> Result<Answer, BankError> {
        let answer = self.add(name, cents)?;
        self.paid_in += cents;
        Ok(answer)
    }

    fn transfer(&mut self, from: &str, to: &str, cents: i64) -> Result<Answer, BankError> {
        self.balance(from)?;
        if from == to {
            return Err(BankError::SameAccount(from.into()));
        }
        if !self.balances.contains_key(to) {
            return Err(BankError::UnknownAccount(to.into()));
        }
        self.add(from, -cents)?;
        let refused = match self.add(to, cents) {
            Ok(_) => return Ok(Answer::Ended(Outcome::Settled)),
            Err(BankError::Closed(_)) => Outcome::Closed,
            Err(BankError::Overflow { .. }) => Outcome::Full,
            Err(error) => panic!("{error}"),
        };
        self.add(from, cents)?;
        Ok(Answer::Ended(refused))
    }
}

/// A bank and its model, side by side.
struct Pair<'a> {
    directory: &'a Path,
    /// There is one, except in the middle of a restart.
    teller: Option<Teller>,
    model: Model,
    /// The last transfer, and how it ended.
    last: Option<(Transfer, Outcome)>,
}

impl<'a> Pair<'a> {
    async fn start(directory: &'a Path) -> Self {
        let teller = Teller::start(directory).await.unwrap();
        Pair { directory, teller: Some(teller), model: Model::default(), last: None }
    }

    /// Does it in both, and gives both answers.
    async fn run(&mut self, operation: Operation) -> [Result<Answer, BankError>; 2] {
        let (teller, model) = (self.teller.as_ref().unwrap(), &mut self.model);
        match operation {
            Operation::Open(name) => {
                [teller.open(name).await.map(|()| Answer::Done), model.open(name)]
            }
            Operation::Close(name) => {
                let closed = teller.account(name).close().await;
                [closed.map(|()| Answer::Done).map_err(Into::into), model.close(name)]
            }
            Operation::Deposit(name, cents) => {
                let balance = teller.account(name).deposit(amount(cents)).await;
                [balance.map(Answer::Balance).map_err(Into::into), model.pay(name, cents)]
            }
            Operation::Withdraw(name, cents) => {
                let balance = teller.account(name).withdraw(amount(cents)).await;
                [balance.map(Answer::Balance).map_err(Into::into), model.pay(name, -cents)]
            }
            Operation::Transfer(from, to, cents) => {
                let transfer = transfer(from, to, cents);
                let outcome = teller.transfer(&transfer).await;
                if let Ok(outcome) = outcome {
                    self.last = Some((transfer, outcome));
                }
                [outcome.map(Answer::Ended), model.transfer(from, to, cents)]
            }
            Operation::Repeat => {
                let Some((transfer, outcome)) = &self.last else {
                    return [Ok(Answer::Done), Ok(Answer::Done)];
                };
                [teller.transfer(transfer).await.map(Answer::Ended), Ok(Answer::Ended(*outcome))]
            }
            Operation::Restart => {
                self.restart().await;
                [Ok(Answer::Done), Ok(Answer::Done)]
            }
        }
    }

    async fn restart(&mut self) {
        self.teller.take().unwrap().finish().await.unwrap();
        self.teller = Some(Teller::start(self.directory).await.unwrap());
    }

    /// The same accounts with the same balances, statements that add up, and no cent too many.
    async fn compare(&self) -> TestCaseResult {
        let teller = self.teller.as_ref().unwrap();
        let accounts = teller.accounts().await.unwrap();
        let found = accounts
            .iter()
            .map(|(name, account)| (name.as_str(), (!account.closed).then_some(account.balance)));
        prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), self.model.balances.clone());
        for (name, account) in &accounts {
            let lines = pages(teller, name).await;
            let mut sum = 0;
            for line in lines.iter().rev() {
                sum += line.amount;
                prop_assert_eq!(line.balance, sum, "{}: {:?}", name, line);
            }
            prop_assert_eq!(sum, account.balance);
        }
        let audit = Audit::of(&accounts);
        prop_assert!(audit.is_right(), "{:?}", audit);
        prop_assert_eq!(audit.balances, i128::from(self.model.paid_in));
        Ok(())
    }
}

/// A whole statement, read in pages of three.
async fn pages(teller: &Teller, name: &str) -> Vec<Line> {
    let (mut lines, mut before) = (Vec::new(), i64::MAX);
    loop {
        let page = teller.account(name).statement(before, 3).await.unwrap();
        let Some(oldest) = page.last() else { return lines };
        before = oldest.number;
        lines.extend(page);
    }
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bank_does_what_its_model_does(operations in prop::collection::vec(operation(), 1..40)) {
        let directory = tempdir().unwrap();
        run(async {
            let mut pair = Pair::start(directory.path()).await;
            let start = [Operation::Open("alice"), Operation::Open("bob"), Operation::Deposit("alice", 100)];
            for operation in start.into_iter().chain(operations) {
                let [answer, expected] = pair.run(operation.clone()).await;
                prop_assert_eq!(answer, expected, "{:?}", operation);
            }
            let compared = pair.compare().await;
            pair.teller.unwrap().finish().await.unwrap();
            compared
        })?;
    }

    #[test]
    fn transfers_at_the_same_time_neither_make_nor_lose_money(
        orders in prop::collection::vec((0..3_usize, 0..3_usize, 1..60_i64), 1..100),
    ) {
        let directory = tempdir().unwrap();
        run(async {
            let teller = Teller::start(directory.path()).await.unwrap();
            for name in &NAMES[..3] {
                teller.open(name).await.unwrap();
                teller.account(name).deposit(amount(100)).await.unwrap();
            }
            let transfers: Vec<_> =
                orders.into_iter().map(|(from, to, cents)| transfer(NAMES[from], NAMES[to], cents)).collect();
            let answers = futures_util::future::join_all(transfers.iter().map(|transfer| teller.transfer(transfer))).await;
            let accounts = teller.accounts().await.unwrap();
            let audit = Audit::of(&accounts);
            prop_assert!(audit.is_right(), "{:?}", audit);
            prop_assert_eq!((audit.balances, audit.pending), (300, 0));
            let settled = answers.iter().filter(|answer| **answer == Ok(Outcome::Settled)).count();
            let mut received = 0;
            for name in &NAMES[..3] {
                received += pages(&teller, name).await.iter().filter(|line| line.kind == Kind::Received).count();
            }
            prop_assert_eq!(received, settled);
            teller.finish().await.unwrap();
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_transfer_that_is_delivered_again_is_added_once() {
    let directory = tempdir().unwrap();
    let teller = Teller::start(directory.path()).await.unwrap();
    teller.open("alice").await.unwrap();
    teller.open("bob").await.unwrap();
    let transfer = transfer("alice", "bob", 5);
    for _ in 0..3 {
        assert_eq!(teller.account("bob").receive(&transfer).await, Ok(Outcome::Settled));
    }
    assert_eq!(pages(&teller, "bob").await.len(), 1);
}

#[tokio::test]
async fn a_decision_stays_whatever_happens_to_the_account() {
    let directory = tempdir().unwrap();
    let teller = Teller::start(directory.path()).await.unwrap();
    let bob = teller.account("bob");
    let [early, good, late] = [1, 2, 3].map(|cents| transfer("alice", "bob", cents));
    assert_eq!(bob.receive(&early).await, Ok(Outcome::Unknown));
    teller.open("bob").await.unwrap();
    assert_eq!(bob.receive(&good).await, Ok(Outcome::Settled));
    bob.withdraw(amount(2)).await.unwrap();
    bob.close().await.unwrap();
    assert_eq!(bob.receive(&late).await, Ok(Outcome::Closed));

    assert_eq!(bob.receive(&early).await, Ok(Outcome::Unknown), "it was refused, and refunded");
    assert_eq!(bob.receive(&good).await, Ok(Outcome::Settled), "it was added, and settled");
}

#[tokio::test]
async fn an_id_is_good_for_one_order() {
    let directory = tempdir().unwrap();
    let teller = Teller::start(directory.path()).await.unwrap();
    for name in ["alice", "bob"] {
        teller.open(name).await.unwrap();
        teller.account(name).deposit(amount(100)).await.unwrap();
    }
    let order = transfer("alice", "bob", 5);
    assert_eq!(teller.transfer(&order).await, Ok(Outcome::Settled));
    let other = Transfer { amount: amount(6), ..order.clone() };
    assert_eq!(teller.transfer(&other).await, Err(BankError::IdInUse(order.id)));
    assert_eq!(teller.account("alice").summary().await.unwrap().unwrap().balance, 95);
}

#[tokio::test]
async fn what_is_refused_comes_back() {
    let directory = tempdir().unwrap();
    let teller = Teller::start(directory.path()).await.unwrap();
    for name in &NAMES[..3] {
        teller.open(name).await.unwrap();
    }
    teller.account("alice").deposit(amount(100)).await.unwrap();
    teller.account("bob").close().await.unwrap();
    teller.account("carol").deposit(amount(BALANCE_MAX)).await.unwrap();
    assert_eq!(teller.transfer(&transfer("alice", "bob", 5)).await, Ok(Outcome::Closed));
    assert_eq!(teller.transfer(&transfer("alice", "carol", 7)).await, Ok(Outcome::Full));
    let lines = pages(&teller, "alice").await;
    let amounts: Vec<_> = lines.iter().map(|line| (line.kind, line.amount, line.balance)).collect();
    let expected = [
        (Kind::Refund, 7, 100),
        (Kind::Sent, -7, 93),
        (Kind::Refund, 5, 100),
        (Kind::Sent, -5, 95),
        (Kind::Deposit, 100, 100),
    ];
    assert_eq!(amounts, expected);
}

#[tokio::test]
async fn money_on_its_way_keeps_its_place_at_the_sender() {
    let directory = tempdir().unwrap();
    let teller = Teller::start(directory.path()).await.unwrap();
    teller.open("alice").await.unwrap();
    teller.open("bob").await.unwrap();
    let alice = teller.account("alice");
    alice.deposit(amount(BALANCE_MAX)).await.unwrap();
    let order = transfer("alice", "bob", BALANCE_MAX);
    // All three are polled before the delivery begins, which waits for the disk.
    let (sent, deposited, closed) = tokio::join!(
        alice.send(order.id, "bob", order.amount),
        alice.deposit(amount(1)),
        alice.close(),
    );
    sent.unwrap();
    let overflow = BankError::Overflow { account: "alice".into() };
    assert_eq!(deposited, Err(CallError::Application(overflow)), "a refund would not fit");
    let in_flight = BankError::InFlight("alice".into());
    assert_eq!(closed, Err(CallError::Application(in_flight)), "a refund would have no account");
    assert_eq!(teller.transfer(&order).await, Ok(Outcome::Settled));
    alice.close().await.unwrap();
}
