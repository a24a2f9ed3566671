//! Measures the runtime against limits that are measured beside it, in turns, in the same run.
//!
//! A figure without its limit means little on a shared machine: a flush may take 60 us or 4 ms.
//! So every row takes ours and the limit's alternately, several times, and reports the ratio of
//! each pair: its median, its lowest and its highest.
#![allow(clippy::print_stdout, reason = "a command-line program prints its table")]

mod child;
mod latency;
mod measure;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{Table, presets};

use measure::{Outcome, Row, Size};

/// Benchmarks of durable.
#[derive(Parser)]
#[command(name = "benches", version)]
struct Options {
    /// Fewer and shorter runs: shows that everything works, not what it is worth
    #[arg(long)]
    quick: bool,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What a process that the benchmark starts is to do
    #[arg(long, hide = true, num_args = 1.., value_names = ["TASK", "ARGUMENT"])]
    child: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(arguments) = &options.child {
        rows::run_child(arguments);
        return ExitCode::SUCCESS;
    }
    let size = if options.quick { Size::QUICK } else { Size::FULL };
    let rows = chosen(rows::all(), options.only.as_deref());
    if rows.is_empty() {
        println!("No row has such a name. There are:");
        for row in rows::all() {
            println!("  {}", row.name);
        }
        return ExitCode::FAILURE;
    }
    let outcomes = measure::all(&rows, size);
    println!("{}", table(&outcomes));
    if outcomes.iter().any(|row| row.latency.is_some()) {
        println!("\nHow long our calls took:\n{}", latency_table(&outcomes));
    }
    match options.json.map(|file| write_json(&file, &outcomes)) {
        Some(Err(error)) => {
            println!("cannot write the figures: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn chosen(rows: Vec<Row>, only: Option<&str>) -> Vec<Row> {
    rows.into_iter().filter(|row| only.is_none_or(|part| row.name.contains(part))).collect()
}

fn write_json(file: &std::path::Path, outcomes: &[Outcome]) -> std::io::Result<()> {
    std::fs::write(file, serde_json::to_vec_pretty(outcomes)?)
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "row",
        "unit",
        "ours",
        "limit",
        "ratio",
        "lowest to highest",
        "runs",
        "load",
    ]);
    for row in outcomes {
        table.add_row([
            row.name.to_owned(),
            row.unit.to_owned(),
            figure(row.ours),
            row.limit
                .map_or(String::new(), |limit| format!("{}  {}", figure(limit), row.limit_name)),
            row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            format!("{} to {}", figure(row.spread.0), figure(row.spread.1)),
            row.runs.to_string(),
            format!("{:.1}", row.load),
        ]);
    }
    table
}

fn latency_table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["row", "p50 us", "p99 us", "worst us", "calls", "checkpoints meanwhile"]);
    for row in outcomes {
        let Some(latency) = row.latency else { continue };
        table.add_row([
            row.name.to_owned(),
            format!("{:.0}", latency.p50_us),
            format!("{:.0}", latency.p99_us),
            format!("{:.0}", latency.worst_us),
            latency.calls.to_string(),
            latency.checkpoints.to_string(),
        ]);
    }
    table
}

/// Small figures with two digits behind the point, others without.
fn figure(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}
