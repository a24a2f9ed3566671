//! Who has won how often. Each game tells it once: the runtime sees to that, so there is nothing here against doubles.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// One player's score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub player: String,
    pub won: u64,
    pub lost: u64,
}

/// Counts games.
#[derive(Debug, Default)]
pub struct Leaderboard;

#[durable_object]
impl Leaderboard {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE scores (player TEXT PRIMARY KEY, won INTEGER NOT NULL, lost INTEGER NOT NULL)",
        )
    }

    /// A game is over: a message of that game.
    pub fn record(&mut self, ctx: &Context, winner: String, loser: String) -> Result<()> {
        for (player, won, lost) in [(winner, 1, 0), (loser, 0, 1)] {
            let add = "INSERT INTO scores VALUES (?1, ?2, ?3) \
                       ON CONFLICT DO UPDATE SET won = won + ?2, lost = lost + ?3";
            ctx.sql().execute(add, (player, won, lost))?;
        }
        Ok(())
    }

    /// All players, the best one first.
    pub fn standings(&self, ctx: &Context) -> Result<Vec<Score>> {
        let sql = "SELECT player, won, lost FROM scores ORDER BY won DESC, lost, player";
        ctx.sql().query_all(sql, [])
    }
}
