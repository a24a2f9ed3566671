//! The log in chunks of lines, with the visits of each chunk gathered by page.
//!
//! A page that is in a hundred lines of a chunk then gets one call instead of a hundred.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use crate::log::{self, Malformed, Visit};
use crate::page::Visits;

/// The lines of a chunk.
pub const CHUNK_LINES: u64 = 1_000;

/// Longer lines are passed over without being kept in memory.
const LINE_BYTES_MAX: u64 = 64 * 1_024;

/// What some lines of the log say.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The visits of each page.
    pub pages: BTreeMap<String, Visits>,
    /// The numbers of the lines that were not understood, and why.
    pub malformed: Vec<(u64, Malformed)>,
    /// Where in the log the chunk ends, in bytes.
    pub end: u64,
}

impl Chunk {
    fn add(&mut self, visit: &Visit<'_>) {
        let Visit { page, time, bytes } = *visit;
        let new = Visits { hits: 1, bytes, first: time, last: time };
        match self.pages.get_mut(page) {
            Some(visits) => *visits = visits.and(new),
            None => drop(self.pages.insert(page.to_owned(), new)),
        }
    }

    /// How many lines were understood.
    pub fn hits(&self) -> i64 {
        self.pages.values().map(|visits| visits.hits).sum()
    }
}

/// A log that is read chunk by chunk.
pub struct Log<R> {
    input: R,
    line: Vec<u8>,
    line_number: u64,
    end: u64,
}

impl<R: BufRead> Log<R> {
    /// A log at its first line.
    pub fn new(input: R) -> Self {
        Log { input, line: Vec::new(), line_number: 0, end: 0 }
    }

    /// The next lines; `None` at the end of the log.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (mut chunk, start) = (Chunk::default(), self.line_number);
        while self.line_number - start < CHUNK_LINES {
            let Some(is_whole) = self.next_line()? else { break };
            let visit = if is_whole { log::parse(&self.line) } else { Err(Malformed::TooLong) };
            match visit {
                Ok(visit) => chunk.add(&visit),
                Err(why) => chunk.malformed.push((self.line_number, why)),
            }
        }
        chunk.end = self.end;
        Ok((self.line_number > start).then_some(chunk))
    }

    /// Reads a line into `self.line`, without its end, and gives whether it is there as a whole.
    fn next_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut start_of_line = self.input.by_ref().take(LINE_BYTES_MAX);
        let mut read = start_of_line.read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        let is_whole = self.line.pop_if(|last| *last == b'\n').is_some() || read < LINE_BYTES_MAX;
        if !is_whole {
            read += self.input.skip_until(b'\n')? as u64;
        }
        self.line_number += 1;
        self.end += read;
        Ok(Some(is_whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, target: &str, bytes: u32) -> String {
        format!("::1 - - [01/Mar/2026:{time} +0000] \"GET {target} HTTP/1.1\" 200 {bytes}\n")
    }

    fn chunks(text: &[u8]) -> Vec<Chunk> {
        let mut log = Log::new(text);
        std::iter::from_fn(|| log.next_chunk().unwrap()).collect()
    }

    #[test]
    fn an_empty_log_has_no_chunk() {
        assert!(chunks(b"").is_empty());
    }

    #[test]
    fn visits_of_one_page_are_gathered() {
        let text =
            line("08:30:00", "/a", 10) + &line("08:29:00", "/b", 5) + &line("08:31:00", "/a?q", 7);
        let chunk = &chunks(text.as_bytes())[0];
        let b = 1_772_353_740;
        let expected = [
            ("/a".to_owned(), Visits { hits: 2, bytes: 17, first: b + 60, last: b + 120 }),
            ("/b".to_owned(), Visits { hits: 1, bytes: 5, first: b, last: b }),
        ];
        assert_eq!(chunk.pages, BTreeMap::from(expected));
        assert_eq!((chunk.hits(), chunk.end), (3, text.len() as u64));
    }

    #[test]
    fn a_chunk_ends_after_its_lines() {
        let text = line("08:30:00", "/", 1).repeat(2_500);
        let hits: Vec<_> = chunks(text.as_bytes()).iter().map(Chunk::hits).collect();
        assert_eq!(hits, [1_000, 1_000, 500]);
    }

    #[test]
    fn malformed_lines_keep_their_numbers_across_chunks() {
        let good = line("08:30:00", "/", 1);
        let text = good.repeat(1_000) + "what?\r\n" + &good + "\n" + good.trim_end();
        let chunks = chunks(text.as_bytes());
        assert!(chunks[0].malformed.is_empty());
        assert_eq!(chunks[1].malformed, [(1_001, Malformed::NoTime), (1_003, Malformed::Empty)]);
        assert_eq!(chunks[1].hits(), 2, "the last line needs no line end");
    }

    #[test]
    fn over_long_lines_are_passed_over() {
        let good = line("08:30:00", "/", 1);
        for extra in [0, 1, 200_000] {
            let max = usize::try_from(LINE_BYTES_MAX).unwrap();
            let text = "x".repeat(max + extra) + "\n" + &good;
            let chunk = &chunks(text.as_bytes())[0];
            assert_eq!(chunk.malformed, [(1, Malformed::TooLong)]);
            assert_eq!((chunk.hits(), chunk.end), (1, text.len() as u64));
        }
    }
}
