//! Money: whole cents in an `i64`. No float comes near it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most that an account may hold, in cents: ten trillion.
///
/// Far enough below `i64::MAX` that adding two amounts cannot overflow.
pub const BALANCE_MAX: i64 = 1_000_000_000_000_000;

/// An amount of money to move: at least one cent, and no more than an account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

/// Why something is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAmount {
    #[error("an amount looks like 12 or 12.50")]
    Malformed,
    #[error("an amount is at least 0.01")]
    TooSmall,
    #[error("an amount is at most {}", Money(BALANCE_MAX))]
    TooLarge,
}

impl Amount {
    /// In cents.
    #[must_use]
    pub fn cents(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = NoAmount;

    fn try_from(cents: i64) -> Result<Self, NoAmount> {
        match cents {
            ..=0 => Err(NoAmount::TooSmall),
            1..=BALANCE_MAX => Ok(Amount(cents)),
            _ => Err(NoAmount::TooLarge),
        }
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> i64 {
        amount.0
    }
}

impl FromStr for Amount {
    type Err = NoAmount;

    /// Reads `12`, `12.5` or `12.50`.
    fn from_str(text: &str) -> Result<Self, NoAmount> {
        let (units, cents) = text.split_once('.').unwrap_or((text, "00"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(units) || !is_number(cents) || cents.len() > 2 {
            return Err(NoAmount::Malformed);
        }
        let cents: i64 = format!("{units}{cents:0<2}").parse().map_err(|_| NoAmount::TooLarge)?;
        Amount::try_from(cents)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Money(self.0).fmt(f)
    }
}

/// Cents as people read them: `-1,234.50`. A sum over all accounts may be larger than an `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money<N = i64>(pub N);

impl<N: Copy + Into<i128>> fmt::Display for Money<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents: i128 = self.0.into();
        let sign = if cents < 0 { "-" } else { "" };
        let (units, cents) = (grouped(cents.unsigned_abs() / 100), cents.unsigned_abs() % 100);
        f.pad(&format!("{sign}{units}.{cents:02}"))
    }
}

/// A number with a comma after every third digit from the right.
#[must_use]
pub fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let cents = |text: &str| text.parse::<Amount>().map(Amount::cents);
        assert_eq!(cents("12"), Ok(1_200));
        assert_eq!(cents("12.5"), Ok(1_250));
        assert_eq!(cents("0.01"), Ok(1));
        assert_eq!(cents("10000000000000.00"), Ok(BALANCE_MAX));
        for text in ["", ".", "1.", ".5", "1.234", "1,5", "-1", "+1", "1e3", "one", "1.2.3", " 1"] {
            assert_eq!(cents(text), Err(NoAmount::Malformed), "{text}");
        }
        assert_eq!(cents("0.00"), Err(NoAmount::TooSmall));
        assert_eq!(cents("10000000000000.01"), Err(NoAmount::TooLarge));
        assert_eq!(cents("99999999999999999999999"), Err(NoAmount::TooLarge));
    }

    #[test]
    fn money_is_written_as_people_read_it() {
        let texts = [0, 5, -5, 123_450, -100_000_000].map(|cents: i64| Money(cents).to_string());
        assert_eq!(texts, ["0.00", "0.05", "-0.05", "1,234.50", "-1,000,000.00"]);
    }
}
