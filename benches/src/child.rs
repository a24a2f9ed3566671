//! Runs that need a process of their own: to be killed, or to begin with empty memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::rows::{fail, ok};

/// Starts this program with `--child`, reads the figures of its first line, and lets it end.
pub(crate) fn figures(arguments: &[&str]) -> Vec<f64> {
    let (mut child, figures) = first_line(arguments);
    ok(child.wait());
    figures
}

/// The same, but kills it as soon as it has said something.
pub(crate) fn figures_and_kill(arguments: &[&str]) -> Vec<f64> {
    let (mut child, figures) = first_line(arguments);
    ok(child.kill());
    ok(child.wait());
    figures
}

fn first_line(arguments: &[&str]) -> (Child, Vec<f64>) {
    let program = ok(std::env::current_exe());
    let mut child =
        ok(Command::new(program).arg("--child").args(arguments).stdout(Stdio::piped()).spawn());
    let Some(output) = child.stdout.take() else { fail("a child process has no output") };
    let mut line = String::new();
    ok(BufReader::new(output).read_line(&mut line));
    let figures: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
    match figures {
        Some(figures) if !figures.is_empty() => (child, figures),
        _ => fail(&format!("a child process failed: {}", line.trim())),
    }
}
