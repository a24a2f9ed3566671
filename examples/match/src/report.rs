//! The leaderboard for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::leaderboard::Score;

/// The width of the longest bar.
const BAR: u64 = 30;

/// A table with a bar for each player.
pub fn standings(scores: &[Score]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["player", "won", "lost", ""]);
    let most = scores.iter().map(|score| score.won).max().unwrap_or_default().max(1);
    for score in scores {
        let length = (score.won * BAR).div_ceil(most);
        let bar = "█".repeat(usize::try_from(length).unwrap_or_default());
        table.add_row([score.player.clone(), score.won.to_string(), score.lost.to_string(), bar]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
