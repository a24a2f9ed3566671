//! Taking a figure and its limit in turns.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::latency::{CheckpointWatch, Latencies, Latency};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pairs of runs.
    pub(crate) runs: usize,
    /// How long one run should take.
    pub(crate) run: Duration,
    /// Whether it is only to be shown that everything works.
    pub(crate) is_quick: bool,
}

impl Size {
    pub(crate) const FULL: Size =
        Size { runs: 7, run: Duration::from_millis(700), is_quick: false };
    pub(crate) const QUICK: Size = Size { runs: 2, run: Duration::from_millis(60), is_quick: true };

    /// `full`, or a twentieth of it if it is only to be shown that everything works.
    pub(crate) fn scaled(self, full: usize) -> usize {
        if self.is_quick { full / 20 } else { full }
    }
}

/// Measures for about the given time; gives the figure, mostly operations a second.
pub(crate) type Run = Box<dyn Fn(Duration) -> f64>;

/// How often and how long a row is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// For the time that [`Size`] says.
    Timed,
    /// Three times as long, so that checkpoints happen on the way.
    Long,
    /// Each run is a piece of work that takes as long as it takes, mostly in a process of its own: few of them.
    Whole,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What the limit is; empty if there is nothing to compare with.
    pub(crate) limit_name: &'static str,
    pub(crate) pace: Pace,
    /// Prepares both sides. Called once, before the first run of the row.
    pub(crate) set_up: fn(Size) -> Sides,
}

/// What is measured.
pub(crate) struct Sides {
    pub(crate) ours: Run,
    pub(crate) limit: Option<Run>,
    /// Where the runs of ours put how long each call took.
    pub(crate) latencies: Option<Latencies>,
    /// The data directory, whose checkpoints are counted.
    pub(crate) directory: Option<PathBuf>,
}

impl Sides {
    /// Without a limit.
    pub(crate) fn alone(ours: Run) -> Sides {
        Sides { ours, limit: None, latencies: None, directory: None }
    }

    pub(crate) fn pair(ours: Run, limit: Run) -> Sides {
        Sides { limit: Some(limit), ..Sides::alone(ours) }
    }
}

/// What a row gave. Medians; the ratio is that of pairs taken one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) limit: Option<f64>,
    pub(crate) limit_name: &'static str,
    pub(crate) ratio: Option<f64>,
    pub(crate) runs: usize,
    /// Lowest and highest ratio; of our own figure, if there is no limit.
    pub(crate) spread: (f64, f64),
    /// Load average of the machine over the last minute, after the row.
    pub(crate) load: f64,
    /// How long calls took, for rows that note it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
}

pub(crate) fn all(rows: &[Row], size: Size) -> Vec<Outcome> {
    let bar = ProgressBar::new(rows.iter().map(|row| runs(row.pace, size) as u64).sum());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let outcomes = rows.iter().map(|row| measure(row, size, &bar)).collect();
    bar.finish_and_clear();
    outcomes
}

fn runs(pace: Pace, size: Size) -> usize {
    if pace == Pace::Whole { size.runs.div_ceil(3) } else { size.runs }
}

fn measure(row: &Row, size: Size, bar: &ProgressBar) -> Outcome {
    bar.set_message(row.name);
    let sides = (row.set_up)(size);
    let time = if row.pace == Pace::Long { size.run * 3 } else { size.run };
    if row.pace != Pace::Whole {
        // Once each without counting: caches, allocators and the processor's clock warm up.
        pair(&sides, time / 4);
    }
    let watch = sides.directory.as_deref().map(CheckpointWatch::start);
    if let Some(latencies) = &sides.latencies {
        latencies.clear();
    }
    let pairs: Vec<(f64, Option<f64>)> = (0..runs(row.pace, size))
        .map(|_| {
            let pair = pair(&sides, time);
            bar.inc(1);
            pair
        })
        .collect();
    let checkpoints = watch.map(CheckpointWatch::stop);
    let latency = sides.latencies.map(|latencies| latencies.summary(checkpoints));
    outcome(row, &pairs, latency)
}

fn pair(sides: &Sides, time: Duration) -> (f64, Option<f64>) {
    ((sides.ours)(time), sides.limit.as_ref().map(|limit| limit(time)))
}

fn outcome(row: &Row, pairs: &[(f64, Option<f64>)], latency: Option<Latency>) -> Outcome {
    let ratios: Vec<f64> =
        pairs.iter().filter_map(|(ours, limit)| limit.map(|limit| ours / limit)).collect();
    let ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let spread = if ratios.is_empty() { &ours } else { &ratios };
    Outcome {
        name: row.name,
        unit: row.unit,
        ours: median(ours.iter().copied()).unwrap_or_default(),
        limit: median(pairs.iter().filter_map(|pair| pair.1)),
        limit_name: row.limit_name,
        ratio: median(ratios.iter().copied()),
        runs: pairs.len(),
        spread: (
            spread.iter().copied().fold(f64::INFINITY, f64::min),
            spread.iter().copied().fold(0.0, f64::max),
        ),
        load: load(),
        latency,
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
            return per_second(operations, elapsed);
        }
    }
}

pub(crate) fn per_second(operations: usize, elapsed: Duration) -> f64 {
    count(operations) / elapsed.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
