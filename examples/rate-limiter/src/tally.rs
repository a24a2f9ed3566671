//! What was decided, key by key, as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::bucket::Decision;
use crate::limiter::LimitError;

/// How often a key was allowed and denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub allowed: u64,
    pub denied: u64,
}

/// All decisions of a run.
#[derive(Debug, Default)]
pub struct Tally {
    keys: BTreeMap<String, Count>,
}

impl Tally {
    /// Counts one. A request over the burst is denied, too, and for good.
    pub fn add(&mut self, key: String, decision: &Result<Decision, LimitError>) {
        let count = self.keys.entry(key).or_default();
        match decision {
            Ok(Decision::Allowed { .. }) => count.allowed += 1,
            Ok(Decision::Denied { .. }) | Err(_) => count.denied += 1,
        }
    }

    /// All keys together.
    pub fn total(&self) -> Count {
        self.keys.values().fold(Count::default(), |sum, count| Count {
            allowed: sum.allowed + count.allowed,
            denied: sum.denied + count.denied,
        })
    }

    /// The `top` keys with the most requests, the sum of all, and how fast it went.
    pub fn report(&self, top: usize, took: Duration) -> String {
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|(_, count)| std::cmp::Reverse(count.allowed + count.denied));
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["allowed", "denied", "key"]);
        for (key, count) in keys.into_iter().take(top) {
            let key: String = key.chars().flat_map(char::escape_debug).collect();
            table.add_row([count.allowed.to_string(), count.denied.to_string(), key]);
        }
        let total = self.total();
        let all = format!("all {} keys", self.keys.len());
        table.add_row([total.allowed.to_string(), total.denied.to_string(), all]);
        for number in [0, 1] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let (decisions, seconds) = (total.allowed + total.denied, took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = decisions as f64 / seconds.max(f64::EPSILON);
        format!("{}\n{decisions} decisions in {seconds:.1} s, {rate:.0} a second", table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_keys_come_first_and_terminals_are_not_steered() {
        let mut tally = Tally::default();
        let denied = Ok(Decision::Denied { retry_after: Duration::ZERO });
        let allowed = Ok(Decision::Allowed { remaining: 0 });
        for (key, decision) in
            [("a", &allowed), ("b\u{1b}", &denied), ("b\u{1b}", &allowed), ("c", &denied)]
        {
            tally.add(key.into(), decision);
        }
        let expected = [
            " allowed  denied  key",
            "       1       1  b\\u{1b}",
            "       1       0  a",
            "       2       2  all 3 keys",
            "4 decisions in 2.0 s, 2 a second",
        ];
        let report = tally.report(2, Duration::from_secs(2));
        assert_eq!(report.lines().collect::<Vec<_>>(), expected);
    }
}
