//! Games under a clock that the tests move, and power that fails.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;

use crate::game::{Game, MoveError, Rules, State};
use crate::leaderboard::{Leaderboard, Score};
use crate::lobby::{Lobby, Seat};
use crate::sticks::{STICKS, Table};

const THINK: Duration = Duration::from_secs(30);
const JUST_BEFORE: Duration = Duration::from_millis(29_999);

async fn start() -> TestRuntime {
    let start = TestRuntime::start(|builder| {
        let builder = builder.register::<Lobby>().register::<Game>().register::<Leaderboard>();
        builder.env(Rules { think: THINK })
    });
    start.await.unwrap()
}

fn score(player: &str, won: u64, lost: u64) -> Score {
    Score { player: player.into(), won, lost }
}

async fn pair(runtime: &TestRuntime, one: &str, other: &str) -> String {
    let lobby = runtime.get::<Lobby>("l");
    assert_eq!(lobby.join(one).await.unwrap(), Seat::Waiting);
    let Seat::Game(game) = lobby.join(other).await.unwrap() else { panic!("nobody to play with") };
    runtime.settle().await.unwrap();
    game
}

async fn standings(runtime: &TestRuntime) -> Vec<Score> {
    runtime.settle().await.unwrap();
    runtime.get::<Leaderboard>("all").standings().await.unwrap()
}

/// Both take one stick after the other; the first player takes the last one of an odd number.
async fn play(runtime: &TestRuntime, game: &str, players: [&str; 2]) -> State {
    let game = runtime.get::<Game>(game);
    for turn in 0.. {
        let state = game.take(players[turn % 2], 1).await.unwrap();
        if state.winner.is_some() {
            return state;
        }
    }
    unreachable!("every game ends")
}

#[tokio::test]
async fn a_game_is_played_and_everybody_hears_of_it_once() {
    let mut runtime = start().await;
    let game = pair(&runtime, "ann", "bob").await;
    assert_eq!(runtime.get::<Lobby>("l").games().await.unwrap(), (1, 0));
    let state = play(&runtime, &game, ["ann", "bob"]).await;
    assert_eq!(state.winner.as_deref(), Some("ann"), "{STICKS} is odd");
    // The power fails while the messages are on their way.
    runtime.crash().await.unwrap();
    assert_eq!(standings(&runtime).await, [score("ann", 1, 0), score("bob", 0, 1)]);
    let lobby = runtime.get::<Lobby>("l");
    assert_eq!(lobby.games().await.unwrap(), (0, 1));
    assert_eq!(lobby.seat("ann").await.unwrap(), Seat::Waiting);
    // No deadline is left.
    runtime.advance(10 * THINK).await.unwrap();
    assert_eq!(standings(&runtime).await.len(), 2);
}

#[tokio::test]
async fn who_does_not_move_in_time_loses_also_over_a_crash() {
    let mut runtime = start().await;
    let game = pair(&runtime, "ann", "bob").await;
    runtime.advance(THINK / 2).await.unwrap();
    runtime.get::<Game>(&game).take("ann", 3).await.unwrap();
    runtime.advance(JUST_BEFORE).await.unwrap();
    assert_eq!(standings(&runtime).await, []);
    runtime.crash().await.unwrap();
    runtime.advance(Duration::from_millis(1)).await.unwrap();
    assert_eq!(standings(&runtime).await, [score("ann", 1, 0), score("bob", 0, 1)]);
    let late = runtime.get::<Game>(&game).take("bob", 1).await;
    assert_eq!(late, Err(CallError::Application(MoveError::Over { winner: "ann".into() })));
}

#[tokio::test]
async fn what_the_rules_forbid_is_refused_and_changes_nothing() {
    let runtime = start().await;
    let game = runtime.get::<Game>(&pair(&runtime, "ann", "bob").await);
    let refused = |error| Err(CallError::Application(error));
    let not_his = MoveError::NotYourTurn { whose: "ann".into() };
    assert_eq!(game.take("bob", 1).await, refused(not_his));
    assert_eq!(game.take("ann", 4).await, refused(MoveError::NotAllowed { left: STICKS }));
    assert_eq!(game.take("ann", 0).await, refused(MoveError::NotAllowed { left: STICKS }));
    assert_eq!(game.state().await.unwrap().unwrap().table, Table::NEW);
    let other = runtime.get::<Game>("nobody has made this one");
    assert_eq!(other.take("ann", 1).await, refused(MoveError::NotBegun));
}

#[tokio::test]
async fn many_games_go_on_side_by_side_and_each_counts_once() {
    let mut runtime = start().await;
    let mut games = Vec::new();
    for number in 0..20 {
        let (one, other) = (format!("a {number}"), format!("b {number}"));
        games.push((pair(&runtime, &one, &other).await, one, other));
    }
    for (round, (game, one, other)) in games.iter().enumerate() {
        if round % 2 == 0 {
            play(&runtime, game, [one, other]).await;
        }
        if round % 5 == 0 {
            runtime.crash().await.unwrap();
        }
    }
    runtime.advance(2 * THINK).await.unwrap();
    let scores = standings(&runtime).await;
    let (won, lost) = scores.iter().fold((0, 0), |(won, lost), score| {
        assert_eq!(score.won + score.lost, 1, "{score:?}");
        (won + score.won, lost + score.lost)
    });
    assert_eq!((won, lost), (20, 20));
    assert_eq!(runtime.get::<Lobby>("l").games().await.unwrap(), (0, 20));
}
