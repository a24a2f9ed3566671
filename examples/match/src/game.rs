//! One game: an object that the lobby makes, and that ends by itself.
//!
//! The deadline of a move is the object's alarm. It is set in the same turn that makes the move, so there is no moment in which a
//! game has no deadline, whatever crashes. The end of a game is two messages, to the leaderboard and to the lobby, sent by the turn that ends it.

use std::time::Duration;

use durable::prelude::*;
use serde::{Deserialize, Serialize};

use crate::leaderboard::Leaderboard;
use crate::lobby::Lobby;
use crate::sticks::{self, Side, Table};

/// What holds for all games of a program.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a player may think.
    pub think: Duration,
}

/// Why a move is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MoveError {
    #[error("the game has not begun")]
    NotBegun,
    #[error("the game is over: {winner} has won")]
    Over { winner: String },
    #[error("it is the turn of {whose}")]
    NotYourTurn { whose: String },
    #[error("{left} sticks are left, and one to three may be taken")]
    NotAllowed { left: u32 },
    #[error("{0}")]
    Runtime(durable::Error),
}

impl From<durable::Error> for MoveError {
    fn from(error: durable::Error) -> Self {
        MoveError::Runtime(error)
    }
}

/// What everybody may know of a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub players: [String; 2],
    pub table: Table,
    pub winner: Option<String>,
}

impl State {
    fn player(&self, side: Side) -> &str {
        match side {
            Side::First => &self.players[0],
            Side::Second => &self.players[1],
        }
    }

    /// Whose turn it is, if the game goes on.
    pub fn whose(&self) -> Option<&str> {
        self.winner.is_none().then(|| self.player(self.table.turn))
    }
}

/// A game of sticks between two players.
#[derive(Debug, Default)]
pub struct Game;

#[durable_object]
impl Game {
    /// Begins the game: a message of the lobby.
    pub fn begin(&mut self, ctx: &Context, lobby: &str, players: [String; 2]) -> Result<()> {
        ctx.kv().put("lobby", lobby)?;
        ctx.kv().put("state", &State { players, table: Table::NEW, winner: None })?;
        ctx.set_alarm(After(ctx.env::<Rules>()?.think))
    }

    /// The state, once the game has begun.
    pub fn state(&self, ctx: &Context) -> Result<Option<State>> {
        ctx.kv().get("state")
    }

    /// Takes sticks, and gives the other player as long to think.
    pub fn take(&mut self, ctx: &Context, player: &str, take: u32) -> Result<State, MoveError> {
        let mut state: State = ctx.kv().get("state")?.ok_or(MoveError::NotBegun)?;
        if let Some(winner) = &state.winner {
            return Err(MoveError::Over { winner: winner.clone() });
        }
        let whose = state.player(state.table.turn);
        if whose != player {
            return Err(MoveError::NotYourTurn { whose: whose.to_owned() });
        }
        let left = state.table.left;
        match state.table.take(take).ok_or(MoveError::NotAllowed { left })? {
            sticks::After::GoesOn(table) => {
                state.table = table;
                ctx.set_alarm(After(ctx.env::<Rules>()?.think))?;
            }
            sticks::After::Won(side) => end(ctx, &mut state, side)?,
        }
        ctx.kv().put("state", &state)?;
        Ok(state)
    }

    /// Nobody has moved in time.
    fn alarm(&mut self, ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        let Some(mut state) = ctx.kv().get::<State>("state")? else { return Ok(()) };
        if state.winner.is_none() {
            let winner = state.table.turn.other();
            end(ctx, &mut state, winner)?;
            ctx.kv().put("state", &state)?;
        }
        Ok(())
    }
}

/// Ends the game, and tells who wants to know.
fn end(ctx: &Context, state: &mut State, winner: Side) -> Result<()> {
    let (won, lost) = (state.player(winner).to_owned(), state.player(winner.other()).to_owned());
    state.winner = Some(won.clone());
    ctx.delete_alarm()?;
    let game = ctx.name().unwrap_or_default().to_owned();
    let lobby: String = ctx.kv().get("lobby")?.unwrap_or_default();
    ctx.send(ctx.namespace::<Leaderboard>().get_by_name("all").record(won, lost))?;
    ctx.send(ctx.namespace::<Lobby>().get_by_name(&lobby).ended(&game))
}
