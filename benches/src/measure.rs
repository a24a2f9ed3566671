//! Taking a figure and its limit in turns.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pairs of runs.
    pub(crate) runs: usize,
    /// How long one run should take.
    pub(crate) run: Duration,
}

impl Size {
    pub(crate) const FULL: Size = Size { runs: 7, run: Duration::from_millis(700) };
    pub(crate) const QUICK: Size = Size { runs: 2, run: Duration::from_millis(60) };
}

/// Measures for about the given time; gives operations a second.
pub(crate) type Run = Box<dyn Fn(Duration) -> f64>;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What the limit is.
    pub(crate) limit_name: &'static str,
    /// Prepares both sides. Called once, before the first run of the row.
    pub(crate) set_up: fn() -> (Run, Run),
}

/// What a row gave. Medians; the ratio is that of pairs taken one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) limit: f64,
    pub(crate) limit_name: &'static str,
    pub(crate) ratio: f64,
    pub(crate) runs: usize,
    /// Lowest and highest ratio.
    pub(crate) spread: (f64, f64),
    /// Load average of the machine over the last minute, after the row.
    pub(crate) load: f64,
}

pub(crate) fn all(rows: &[Row], size: Size) -> Vec<Outcome> {
    let bar = ProgressBar::new((rows.len() * size.runs) as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let outcomes = rows.iter().map(|row| measure(row, size, &bar)).collect();
    bar.finish_and_clear();
    outcomes
}

fn measure(row: &Row, size: Size, bar: &ProgressBar) -> Outcome {
    bar.set_message(row.name);
    let (ours, limit) = (row.set_up)();
    // Once each without counting: caches, allocators and the processor's clock warm up.
    ours(size.run / 4);
    limit(size.run / 4);
    let pairs: Vec<(f64, f64)> = (0..size.runs)
        .map(|_| {
            let pair = (ours(size.run), limit(size.run));
            bar.inc(1);
            pair
        })
        .collect();
    let ratios: Vec<f64> = pairs.iter().map(|(ours, limit)| ours / limit).collect();
    Outcome {
        name: row.name,
        unit: row.unit,
        ours: median(pairs.iter().map(|pair| pair.0)),
        limit: median(pairs.iter().map(|pair| pair.1)),
        limit_name: row.limit_name,
        ratio: median(ratios.iter().copied()),
        runs: size.runs,
        spread: (
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        ),
        load: load(),
    }
}

/// Repeats a piece of work until the time is over; `work` gives how many operations it did.
pub(crate) fn rate(run: Duration, mut work: impl FnMut() -> usize) -> f64 {
    let begin = Instant::now();
    let mut operations = 0;
    loop {
        operations += work();
        let elapsed = begin.elapsed();
        if elapsed >= run {
            #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52 operations")]
            return operations as f64 / elapsed.as_secs_f64();
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
