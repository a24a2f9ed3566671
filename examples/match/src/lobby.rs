//! Where players meet. The lobby is the parent of its games: it makes each, knows which go on, and hears when one is over.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

use crate::game::Game;

/// What a player gets who joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seat {
    /// Nobody else is there: ask again with [`Lobby::seat`].
    Waiting,
    /// The name of the game to play.
    Game(String),
}

/// A place where players meet.
#[derive(Debug, Default)]
pub struct Lobby;

#[durable_object]
impl Lobby {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE waiting (id INTEGER PRIMARY KEY, player TEXT NOT NULL UNIQUE);
             CREATE TABLE games (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, is_over INTEGER NOT NULL);
             CREATE TABLE seats (player TEXT PRIMARY KEY, game TEXT NOT NULL)",
        )
    }

    /// Joins. Who waits for longest gets to play against the next one who comes.
    pub fn join(&mut self, ctx: &Context, player: &str) -> Result<Seat> {
        let sql = ctx.sql();
        let waiting = "SELECT player FROM waiting WHERE player <> ? ORDER BY id LIMIT 1";
        let Some(other) = sql.query_optional::<String>(waiting, [player])? else {
            sql.execute("INSERT OR IGNORE INTO waiting (player) VALUES (?)", [player])?;
            return Ok(Seat::Waiting);
        };
        sql.execute("DELETE FROM waiting WHERE player IN (?, ?)", (&other, player))?;
        let number: i64 =
            sql.query_one("INSERT INTO games (is_over) VALUES (0) RETURNING number", [])?;
        let lobby = ctx.name().unwrap_or_default();
        let game = format!("{lobby}, game {number}");
        sql.execute("UPDATE games SET name = ? WHERE number = ?", (&game, number))?;
        for player in [other.as_str(), player] {
            sql.execute("INSERT OR REPLACE INTO seats VALUES (?, ?)", (player, &game))?;
        }
        // The game begins if, and only if, this turn is stored.
        let players = [other, player.to_owned()];
        ctx.send(ctx.namespace::<Game>().get_by_name(&game).begin(lobby, players))?;
        Ok(Seat::Game(game))
    }

    /// Where a player plays who has joined, as long as that game goes on.
    pub fn seat(&self, ctx: &Context, player: &str) -> Result<Seat> {
        let game = ctx.sql().query_optional("SELECT game FROM seats WHERE player = ?", [player])?;
        Ok(game.map_or(Seat::Waiting, Seat::Game))
    }

    /// A game is over: a message of that game.
    pub fn ended(&mut self, ctx: &Context, game: &str) -> Result<()> {
        ctx.sql().execute("UPDATE games SET is_over = 1 WHERE name = ?", [game])?;
        ctx.sql().execute("DELETE FROM seats WHERE game = ?", [game]).map(drop)
    }

    /// How many games go on, and how many are over.
    pub fn games(&self, ctx: &Context) -> Result<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE NOT is_over), count(*) FILTER (WHERE is_over) FROM games";
        ctx.sql().query_one(sql, [])
    }
}
