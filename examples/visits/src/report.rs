//! The report: asks every page for its visits and makes a table of those with the most.

use std::fmt::Display;

use durable::{Error, Result, Runtime};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::CALLS_IN_FLIGHT;
use crate::page::{Page, Visits};
use crate::site::{self, Site};

/// How many names of pages the site is asked for at a time.
const NAMES_PER_CALL: u32 = 1_000;

/// The spaces between the columns, and some of the last column.
const RULE_BEYOND_DATES: usize = 4 * 2 + 14;

/// A page's name and its visits.
pub type Counted = (String, Visits);

/// All pages that have been visited.
pub async fn visited_pages(runtime: &Runtime) -> Result<Vec<Counted>> {
    let site = runtime.get::<Site>(site::NAME);
    let mut visited = Vec::new();
    let mut names = site.pages_after("", NAMES_PER_CALL).await?;
    while let Some(last) = names.last().cloned() {
        visited.extend(ask(runtime, names).await?);
        names = site.pages_after(&last, NAMES_PER_CALL).await?;
    }
    Ok(visited)
}

/// Asks these pages for their visits.
async fn ask(runtime: &Runtime, names: Vec<String>) -> Result<Vec<Counted>> {
    let pages = runtime.namespace::<Page>();
    stream::iter(names)
        .map(async |name| match pages.get_by_name(&name).visits().await {
            Ok(visits) => Ok(visits.map(|visits| (name, visits))),
            Err(error) => Err(Error::from(error).context(name)),
        })
        .buffer_unordered(CALLS_IN_FLIGHT)
        .try_filter_map(async |counted| Ok(counted))
        .try_collect()
        .await
}

/// The `top` pages with the most visits, and below them what all pages have together.
pub fn table(mut pages: Vec<Counted>, top: usize) -> String {
    let Some(all) = pages.iter().map(|(_, visits)| *visits).reduce(Visits::and) else {
        return "no visits yet".into();
    };
    pages.sort_unstable_by(|(page, visits), (other, others)| {
        others.hits.cmp(&visits.hits).then_with(|| page.cmp(other))
    });
    let mut rows = vec![["hits", "bytes", "first (UTC)", "last (UTC)", "page"].map(String::from)];
    rows.extend(pages.iter().take(top).map(|(page, visits)| row(*visits, printable(page))));
    rows.push(row(all, format!("all {} pages", grouped(pages.len()))));
    aligned(&rows)
}

fn row(visits: Visits, page: String) -> [String; 5] {
    let Visits { hits, bytes, first, last } = visits;
    [grouped(hits), grouped(bytes), date(first), date(last), page]
}

/// Puts rows under each other, with rules below the first and above the last. Pages have names
/// of any length; they come last, where nothing has to be aligned after them.
fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (hits_width, bytes_width, date_width) = (width(0), width(1), width(2));
    let line = |[hits, bytes, first, last, page]: &[String; 5]| {
        format!(
            "{hits:>hits_width$}  {bytes:>bytes_width$}  {first:date_width$}  {last:date_width$}  {page}"
        )
    };
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    let rule = "─".repeat(hits_width + bytes_width + 2 * date_width + RULE_BEYOND_DATES);
    lines.insert(lines.len() - 1, rule.clone());
    lines.insert(1, rule);
    lines.join("\n")
}

fn date(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "?".into(),
    }
}

/// A number that is not negative, with a comma after every third digit from the right.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A page's name without the characters that would steer the reader's terminal.
fn printable(page: &str) -> String {
    let mut text = String::new();
    for character in page.chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(page: &str, hits: i64) -> Counted {
        let first = 1_772_353_800;
        (page.into(), Visits { hits, bytes: hits * 1_000, first, last: first + hits })
    }

    #[test]
    fn the_table_has_the_most_visited_pages_and_the_sum() {
        let pages = [("/b", 5), ("/rare", 1), ("/", 1_200), ("/a", 5)];
        let pages = pages.map(|(page, hits)| counted(page, hits)).to_vec();
        let expected = [
            " hits      bytes  first (UTC)          last (UTC)           page",
            "──────────────────────────────────────────────────────────────────────────",
            "1,200  1,200,000  2026-03-01 08:30:00  2026-03-01 08:50:00  /",
            "    5      5,000  2026-03-01 08:30:00  2026-03-01 08:30:05  /a",
            "    5      5,000  2026-03-01 08:30:00  2026-03-01 08:30:05  /b",
            "──────────────────────────────────────────────────────────────────────────",
            "1,211  1,211,000  2026-03-01 08:30:00  2026-03-01 08:50:00  all 4 pages",
        ];
        let table = table(pages, 3);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn without_pages_there_is_no_table() {
        assert_eq!(table(Vec::new(), 10), "no visits yet");
    }

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(printable("/a\u{1b}[31m\u{9b}ä"), "/a\\u{1b}[31m\\u{9b}ä");
    }
}
