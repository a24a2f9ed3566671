//! Runs that need a process of their own: to be killed, or to begin with empty memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

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

/// A process that stands beside the benchmark until this is dropped.
pub(crate) struct Companion {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Companion {
    /// Starts this program with `--child`, and waits until it says that it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = ok(std::env::current_exe());
        let mut command = Command::new(program);
        command.arg("--child").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ok(command.spawn());
        let Some(output) = child.stdout.take() else { fail("a child process has no output") };
        let mut companion = Companion { child, output: BufReader::new(output) };
        companion.line();
        companion
    }

    /// Waits until it says one thing more.
    pub(crate) fn line(&mut self) {
        let mut line = String::new();
        ok(self.output.read_line(&mut line));
        if line.trim().parse::<usize>().is_err() {
            fail(&format!("a child process failed: {}", line.trim()));
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It ends by itself with its input, and this process need not wait for it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
