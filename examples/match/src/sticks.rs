//! The rules of the game, as plain data: in turn two players take one, two or three of the sticks, and who takes the last one wins.

use serde::{Deserialize, Serialize};

/// How many sticks lie on the table at first.
pub const STICKS: u32 = 21;
/// How many a player may take.
pub const TAKE_MAX: u32 = 3;

/// One of the two players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    First,
    Second,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }
}

/// A table on which somebody plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub left: u32,
    pub turn: Side,
}

/// What a move leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    GoesOn(Table),
    Won(Side),
}

impl Table {
    pub const NEW: Table = Table { left: STICKS, turn: Side::First };

    /// Takes sticks; `None` if so many may not be taken.
    pub fn take(self, sticks: u32) -> Option<After> {
        if !(1..=TAKE_MAX.min(self.left)).contains(&sticks) {
            return None;
        }
        Some(match self.left - sticks {
            0 => After::Won(self.turn),
            left => After::GoesOn(Table { left, turn: self.turn.other() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_leaves_a_multiple_of_four_wins() {
        let mut table = Table::NEW;
        loop {
            let best = (table.left % 4).max(1);
            match table.take(best).unwrap() {
                After::GoesOn(next) => table = next,
                After::Won(side) => return assert_eq!(side, Side::First),
            }
        }
    }

    proptest! {
        #[test]
        fn every_game_ends_and_nobody_takes_too_many(moves in prop::collection::vec(0..6_u32, 200)) {
            let (mut table, mut taken) = (Table::NEW, 0);
            for sticks in moves {
                match table.take(sticks) {
                    None => prop_assert!(sticks == 0 || sticks > TAKE_MAX.min(table.left)),
                    Some(After::GoesOn(next)) => {
                        prop_assert_eq!(next.turn, table.turn.other());
                        (table, taken) = (next, taken + sticks);
                    }
                    Some(After::Won(side)) => {
                        prop_assert_eq!((side, taken + sticks), (table.turn, STICKS));
                        return Ok(());
                    }
                }
            }
            prop_assert!(taken < STICKS);
        }
    }
}
