//! What is said on standard error while the simulation runs.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// Elsewhere than on a terminal, there is a line each time that so many transfers are done.
const LINE_EVERY: u64 = 1_000;

/// Writes a line to standard error. Nobody may be listening; the work goes on all the same.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How many transfers are done: a bar on a terminal, elsewhere a line now and then.
pub struct Progress {
    bar: Option<ProgressBar>,
    done: u64,
}

impl Progress {
    /// None of so many transfers is done yet.
    pub fn new(transfers: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(transfers);
            let style = "{bar:40} {percent:>3} %  {human_pos} transfers, {per_sec}, {eta} to go";
            match ProgressStyle::with_template(style) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Progress { bar, done: 0 }
    }

    /// One more is done.
    pub fn done(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.done.is_multiple_of(LINE_EVERY) => {
                note(format_args!("{} transfers done", self.done));
            }
            None => {}
        }
    }

    /// All are done.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
