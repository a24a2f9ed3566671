//! The audit: whether all money is where it should be.

use crate::money::{Money, grouped};
use crate::records::Summary;
use crate::report;

/// All accounts together, in cents. Sums over accounts are `i128`, which cannot overflow.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub accounts: usize,
    pub entries: i128,
    /// Came from outside.
    pub deposited: i128,
    /// Left the bank.
    pub withdrawn: i128,
    /// Is in the accounts.
    pub balances: i128,
    /// Was taken from its sender and is neither settled nor refunded yet.
    pub pending: i128,
    /// The accounts whose entries do not add up to their balance.
    pub unequal: Vec<String>,
}

impl Audit {
    /// Adds up the accounts. They must be at rest.
    pub fn of(accounts: &[(String, Summary)]) -> Self {
        let mut audit = Audit { accounts: accounts.len(), ..Audit::default() };
        for (name, account) in accounts {
            audit.entries += i128::from(account.entries);
            audit.deposited += i128::from(account.deposited);
            audit.withdrawn += i128::from(account.withdrawn);
            audit.balances += i128::from(account.balance);
            audit.pending += i128::from(account.pending);
            if account.booked != account.balance {
                audit.unequal.push(name.clone());
            }
        }
        audit
    }

    /// Money that nobody paid in; negative, if money is lost.
    pub fn difference(&self) -> i128 {
        self.balances + self.pending - (self.deposited - self.withdrawn)
    }

    /// Whether no money was made or lost, anywhere.
    pub fn is_right(&self) -> bool {
        self.difference() == 0 && self.unequal.is_empty()
    }

    /// The audit for people, with its verdict in the last line.
    pub fn report(&self) -> String {
        let rows = [
            ("paid in", self.deposited),
            ("paid out", -self.withdrawn),
            ("should be there", self.deposited - self.withdrawn),
            ("in accounts", self.balances),
            ("on its way", self.pending),
            ("is there", self.balances + self.pending),
        ];
        let rows = rows.map(|(what, sum)| [what.to_owned(), Money(sum).to_string()]);
        let (accounts, entries) = (grouped(self.accounts), grouped(self.entries));
        let verdict = if self.is_right() {
            format!("right to the cent: {accounts} accounts, {entries} entries")
        } else {
            let unequal = &self.unequal;
            format!(
                "WRONG by {}; accounts whose entries do not add up to their balance: {unequal:?}",
                Money(self.difference())
            )
        };
        format!("{}\n{verdict}", report::table(["money", "amount"], &rows, &[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Summary = Summary {
        balance: 70,
        closed: false,
        entries: 3,
        booked: 70,
        deposited: 100,
        withdrawn: 10,
        pending: 20,
    };

    fn audit(accounts: &[Summary]) -> Audit {
        let named: Vec<_> = accounts.iter().map(|account| ("a".to_owned(), *account)).collect();
        Audit::of(&named)
    }

    #[test]
    fn money_on_its_way_counts() {
        let audit = audit(&[GOOD, GOOD]);
        assert!(audit.is_right(), "{audit:?}");
        assert!(audit.report().ends_with("right to the cent: 2 accounts, 6 entries"));
    }

    #[test]
    fn lost_and_made_money_is_found() {
        let lost = audit(&[GOOD, Summary { balance: 69, booked: 69, ..GOOD }]);
        assert_eq!((lost.difference(), lost.is_right()), (-1, false));
        let made = audit(&[GOOD, Summary { pending: 21, ..GOOD }]);
        assert_eq!((made.difference(), made.is_right()), (1, false));
        assert!(made.report().contains("WRONG by 0.01"), "{}", made.report());
    }

    #[test]
    fn errors_that_cancel_out_are_found() {
        let more = Summary { balance: 71, ..GOOD };
        let less = Summary { balance: 69, ..GOOD };
        let audit = audit(&[more, less]);
        assert_eq!((audit.difference(), audit.is_right()), (0, false));
    }
}
