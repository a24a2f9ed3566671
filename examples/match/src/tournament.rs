//! Bots that play: what a program with people behind it would do for each of them.

use std::time::Duration;

use durable::prelude::*;
use futures_util::future::try_join_all;

use crate::game::{Game, MoveError};
use crate::lobby::{Lobby, Seat};
use crate::sticks::TAKE_MAX;

/// The lobby of all bots.
const LOBBY: &str = "tournament";
/// How long a bot waits before it looks again.
const LOOK: Duration = Duration::from_millis(1);

/// Who plays how often.
#[derive(Clone, Copy, Debug)]
pub struct Tournament {
    pub players: u32,
    /// Games each of them plays.
    pub games: u32,
    /// Of a hundred games, how many a bot forgets in the middle.
    pub forgetful: u8,
    pub seed: u64,
}

impl Tournament {
    /// Plays all games, and gives how many there were.
    pub async fn play(self, runtime: &Runtime) -> Result<u64> {
        let lobby = runtime.get::<Lobby>(LOBBY);
        let (_, before) = lobby.games().await?;
        let bots = (0..self.players).map(|number| self.bot(runtime, number));
        try_join_all(bots).await?;
        loop {
            let (open, over) = lobby.games().await?;
            if open == 0 {
                return Ok(over - before);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn bot(self, runtime: &Runtime, number: u32) -> Result<()> {
        let name = format!("bot {number}");
        let mut random = fastrand::Rng::with_seed(self.seed ^ u64::from(number) << 32);
        let lobby = runtime.get::<Lobby>(LOBBY);
        for _ in 0..self.games {
            let Some(game) = sit_down(&lobby, &name).await? else { return Ok(()) };
            let forgets = random.u8(0..100) < self.forgetful;
            play(runtime, &game, &name, &mut random, forgets).await?;
            // Its seat is taken away when the lobby hears of the end.
            while lobby.seat(&name).await? == Seat::Game(game.clone()) {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

/// The game that the bot plays next; none if nobody else comes.
async fn sit_down(lobby: &crate::lobby::LobbyStub, name: &str) -> Result<Option<String>> {
    for _ in 0..1_000 {
        // Also after a restart: it may have a seat already.
        if let Seat::Game(game) = lobby.seat(name).await? {
            return Ok(Some(game));
        }
        if let Seat::Game(game) = lobby.join(name).await? {
            return Ok(Some(game));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

/// Plays one game to its end, or forgets it.
async fn play(
    runtime: &Runtime,
    game: &str,
    name: &str,
    random: &mut fastrand::Rng,
    forgets: bool,
) -> Result<()> {
    let game = runtime.get::<Game>(game);
    loop {
        match game.state().await? {
            Some(state) if state.winner.is_some() => return Ok(()),
            Some(state) if state.whose() == Some(name) && !(forgets && state.table.left < 12) => {
                let best = state.table.left % (TAKE_MAX + 1);
                let take = if best > 0 && random.bool() { best } else { random.u32(1..=TAKE_MAX) };
                match game.take(name, take.min(state.table.left)).await {
                    Ok(_) | Err(CallError::Application(MoveError::Over { .. })) => {}
                    Err(error) => return Err(durable::Error::other(error)),
                }
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
