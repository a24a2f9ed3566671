//! Players meet in a lobby, play a game of sticks in an object of its own, and a leaderboard hears of each game once.
//!
//! Start reading at [`lobby`], which pairs players and creates games; [`game`] is one game with a deadline for each move;
//! [`leaderboard`] counts. [`sticks`] has the rules, as plain data. [`tournament`] is the program's bots.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]
#![allow(clippy::unused_self, reason = "an object without fields still has methods")]

mod game;
mod leaderboard;
mod lobby;
mod report;
mod sticks;
#[cfg(test)]
mod tests;
mod tournament;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use durable::prelude::*;

use crate::game::{Game, Rules};
use crate::leaderboard::Leaderboard;
use crate::lobby::Lobby;
use crate::tournament::Tournament;

/// Lets bots play sticks against each other, and shows who won how often.
///
/// Twenty-one sticks lie on the table; in turn each player takes one, two or three; who takes the last one wins. Who does not move in time loses.
#[derive(Debug, Parser)]
#[command(name = "match-lobby", version)]
struct Options {
    /// Where the data is kept. Run it again on the same directory, and the leaderboard goes on.
    #[arg(long, default_value = "match-data")]
    data: PathBuf,
    /// How many bots play.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    players: u32,
    /// How many games each of them plays.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    games: u32,
    /// Of a hundred games, how many a bot forgets in the middle.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=100))]
    forgetful: u8,
    /// How long a player may think, in milliseconds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    think: u64,
    /// The seed of the bots' moves: the same seed makes the same moves.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(text) => {
            // A reader that has seen enough, such as `head`, is no failure.
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "match-lobby: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<String> {
    let rules = Rules { think: Duration::from_millis(options.think) };
    let builder = Runtime::builder(&options.data).env(rules);
    let runtime =
        builder.register::<Lobby>().register::<Game>().register::<Leaderboard>().start().await?;
    let tournament = Tournament {
        players: options.players,
        games: options.games,
        forgetful: options.forgetful,
        seed: options.seed,
    };
    let played = tournament.play(&runtime).await?;
    let table = report::standings(&runtime.get::<Leaderboard>("all").standings().await?);
    runtime.shutdown().await?;
    Ok(format!("{table}\n\n{played} games played"))
}
