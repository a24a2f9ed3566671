//! Stores the log: every chunk of lines becomes one call to each of its pages.

use std::collections::HashSet;
use std::io::BufRead;

use durable::{Error, Result, Runtime};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::CALLS_IN_FLIGHT;
use crate::chunk::{Chunk, Log};
use crate::log::Malformed;
use crate::page::Page;
use crate::progress::Progress;
use crate::site::{self, Site};

/// Of many malformed lines, the first few are told one by one.
const MALFORMED_TOLD: usize = 5;

/// The lines that were not understood.
#[derive(Debug, Default)]
pub struct Unread {
    /// The first few, with their numbers.
    pub first: Vec<(u64, Malformed)>,
    /// How many there are in all.
    pub total: usize,
}

impl Unread {
    fn add(&mut self, malformed: &[(u64, Malformed)]) {
        let room = MALFORMED_TOLD - self.first.len();
        self.first.extend(malformed.iter().take(room));
        self.total += malformed.len();
    }
}

/// Stores the visits of the whole log, and gives what was not understood of it.
///
/// When this fails or the process dies, the visits of answered calls are stored and those of
/// calls under way may be; a visit is never stored in half.
pub async fn store<R: BufRead>(
    runtime: &Runtime,
    mut log: Log<R>,
    mut progress: Progress,
) -> Result<Unread> {
    let mut known = HashSet::new();
    let mut unread = Unread::default();
    while let Some(chunk) = log.next_chunk().map_err(|error| unreadable(&error))? {
        announce(runtime, &chunk, &mut known).await?;
        record(runtime, &chunk).await?;
        progress.stored(&chunk);
        unread.add(&chunk.malformed);
    }
    progress.finish();
    Ok(unread)
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::other(format!("the log cannot be read further: {error}"))
}

/// Tells the site of pages that are new in this run, before any of their visits is stored.
async fn announce(runtime: &Runtime, chunk: &Chunk, known: &mut HashSet<String>) -> Result<()> {
    let new: Vec<_> = chunk.pages.keys().filter(|page| !known.contains(*page)).cloned().collect();
    if !new.is_empty() {
        runtime.get::<Site>(site::NAME).add(&new).await?;
        known.extend(new);
    }
    Ok(())
}

/// Sends each page its visits and waits for all answers.
async fn record(runtime: &Runtime, chunk: &Chunk) -> Result<()> {
    let pages = runtime.namespace::<Page>();
    stream::iter(&chunk.pages)
        .map(async |(page, visits)| {
            let answer = pages.get_by_name(page).record(*visits).await;
            answer.map_err(|error| Error::from(error).context(page))
        })
        .buffer_unordered(CALLS_IN_FLIGHT)
        .try_collect()
        .await
}
