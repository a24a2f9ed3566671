//! What is said on standard error while the lines are stored.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::chunk::Chunk;

/// Writes a line to standard error. Nobody may be listening; the work goes on all the same.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How many lines are stored: a bar on a terminal, elsewhere a line for each chunk.
///
/// It tells of answered calls only, so what it has shown survives whatever happens next.
pub struct Progress {
    bar: Option<ProgressBar>,
    stored: i64,
}

impl Progress {
    /// Nothing is stored yet, of a log of this size if it is known.
    pub fn new(log_bytes: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(log_bytes));
        Progress { bar, stored: 0 }
    }

    /// Every call for this chunk has been answered.
    pub fn stored(&mut self, chunk: &Chunk) {
        self.stored += chunk.hits();
        match &self.bar {
            Some(bar) => {
                bar.set_position(chunk.end);
                bar.set_message(format!("stored {} lines", self.stored));
            }
            None if chunk.hits() > 0 => self.note_stored(),
            None => {}
        }
    }

    /// The log is at its end.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.bar.is_some() || self.stored == 0 {
            self.note_stored();
        }
    }

    fn note_stored(&self) {
        note(format_args!("stored {} lines", self.stored));
    }
}

fn bar(log_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match log_bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:40} {percent:>3} %  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
