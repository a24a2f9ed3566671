//! Writes the sample log `access.log` to standard output: a week of a small site's visits, made up
//! but always the same.
//!
//! ```text
//! cargo run -p visits --bin generate-log > examples/visits/access.log
//! ```

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use jiff::{Timestamp, tz};

/// The lines of the log.
const LINES: u32 = 5_000;

/// The first visit: 2 March 2026, 00:00:07 in Central Europe.
const START: i64 = 1_772_406_007;

/// With this many seconds at most between two visits, 5,000 visits take about a week.
const PAUSE_SECONDS_MAX: u32 = 240;

/// From often to seldom visited: the nth page has about `1/n` of the first one's visits.
const PAGES: [&str; 40] = [
    "/",
    "/docs/",
    "/blog/",
    "/docs/start",
    "/favicon.ico",
    "/download",
    "/assets/site.css",
    "/assets/site.js",
    "/blog/one-object-per-page",
    "/docs/objects",
    "/docs/storage",
    "/about",
    "/docs/alarms",
    "/blog/a-week-of-numbers",
    "/search",
    "/feed.xml",
    "/docs/calls",
    "/docs/testing",
    "/robots.txt",
    "/sitemap.xml",
    "/blog/why-sqlite",
    "/docs/migrations",
    "/contact",
    "/form",
    "/assets/logo.svg",
    "/docs/limits",
    "/docs/faq",
    "/blog/k%C3%A4se",
    "/docs/errors",
    "/blog/slow-and-steady",
    "/team",
    "/jobs",
    "/docs/a%20page%20with%20spaces",
    "/login",
    "/wp-login.php",
    "/.env",
    "/docs/old/",
    "/privacy",
    "/blog/drafts/",
    "/health",
];

const VISITORS: [&str; 12] = [
    "192.0.2.7",
    "2001:db8::1",
    "198.51.100.23",
    "2001:db8:85a3::8a2e:370:7334",
    "203.0.113.99",
    "192.0.2.140",
    "2001:db8:0:1::c0de",
    "198.51.100.4",
    "203.0.113.15",
    "::ffff:192.0.2.33",
    "192.0.2.61",
    "crawler.example",
];

const AGENTS: [&str; 7] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_5) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15",
    r#"Feeder/2.1 (\"the quick one\"; +https://feeder.example/)"#,
    "curl/8.14.1",
    r#"ExampleBot/1.0 (says \"hello\" and \\ goes)"#,
    "-",
];

const REFERRERS: [&str; 4] = [
    "-",
    "https://www.example/",
    "https://search.example/?q=durable+objects",
    "https://news.example/item?id=42",
];

const QUERIES: [&str; 4] = ["?utm_source=news", "?page=2", "?q=a+b&lang=en", "?q=where%3F"];

/// What servers also write, and what cannot be counted; with the numbers of their lines.
/// `TIME` stands for the time of the line.
const MALFORMED: [(u32, &str); 8] = [
    (404, r#"203.0.113.200 - - [TIME] "\x16\x03\x01\x02" 400 157 "-" "-""#),
    (1_111, r#"203.0.113.200 - - [TIME] "-" 408 0 "-" "-""#),
    (1_700, "192.0.2.7 - - [04/Mar/2026:08:3"),
    (2_048, ""),
    (2_900, r#"192.0.2.7 - - [05/Mrz/2026:23:41:59 +0100] "GET / HTTP/1.1" 200 5120 "-" "-""#),
    (3_333, "logrotate: continued from access.log.1"),
    (4_200, r#"192.0.2.7 - - [TIME] "GET /a" quote HTTP/1.1" 200 5120 "-" "-""#),
    (4_999, r#"192.0.2.7 - - [TIME] "GET / HTTP/1.1" 200 many "-" "-""#),
];

fn main() -> ExitCode {
    match io::stdout().write_all(sample_log().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn sample_log() -> String {
    let mut dice = Dice { state: 2026 };
    let mut log = String::new();
    let mut time = START;
    for line in 1..=LINES {
        time += i64::from(dice.below(PAUSE_SECONDS_MAX));
        let malformed = MALFORMED.iter().find(|(number, _)| *number == line);
        let text = malformed
            .map_or_else(|| visit(time, &mut dice), |(_, text)| text.replace("TIME", &date(time)));
        log.push_str(&text);
        log.push('\n');
    }
    log
}

/// One line, mostly in combined and sometimes in common format.
fn visit(time: i64, dice: &mut Dice) -> String {
    let page = PAGES[dice.first_is_most_likely(PAGES.len())];
    let visitor = dice.pick(&VISITORS);
    let user = if dice.one_in(50) { "ann" } else { "-" };
    let query = if dice.one_in(6) { dice.pick(&QUERIES) } else { "" };
    let version = if dice.one_in(3) { "2.0" } else { "1.1" };
    let (method, status, size) = answer(page, dice);
    let mut line = format!(
        "{visitor} - {user} [{}] \"{method} {page}{query} HTTP/{version}\" {status} {size}",
        date(time)
    );
    if !dice.one_in(20) {
        let (referrer, agent) = (dice.pick(&REFERRERS), dice.pick(&AGENTS));
        // Writing to a string cannot fail.
        let _ = write!(line, " \"{referrer}\" \"{agent}\"");
    }
    line
}

/// The method, and the status and size that the server answered with.
fn answer(page: &str, dice: &mut Dice) -> (&'static str, u32, String) {
    match page {
        "/form" | "/login" => ("POST", 303, "-".into()),
        "/wp-login.php" | "/.env" => ("GET", 404, "162".into()),
        _ if dice.one_in(25) => ("HEAD", 200, "-".into()),
        _ if dice.one_in(8) => ("GET", 304, "-".into()),
        _ => ("GET", 200, (400 + dice.below(40_000)).to_string()),
    }
}

fn date(time: i64) -> String {
    let time = Timestamp::from_second(time).unwrap_or_default();
    let zone = tz::TimeZone::fixed(tz::offset(1));
    time.to_zoned(zone).strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// Numbers that look random and are the same everywhere: a linear congruential generator.
struct Dice {
    state: u64,
}

impl Dice {
    /// A number from 0 to `end` - 1.
    fn below(&mut self, end: u32) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The upper bits vary most; the product of two `u32` shifted by 32 is a `u32` again.
        let random = self.state >> 32;
        u32::try_from((random * u64::from(end)) >> 32).unwrap_or_default()
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        choices[self.below(count) as usize]
    }

    /// An index below `count`; index n comes up in proportion to `1 / (n + 1)`.
    fn first_is_most_likely(&mut self, count: usize) -> usize {
        let weight = |index: usize| u32::try_from(10_000 / (index + 1)).unwrap_or_default();
        let mut left = self.below((0..count).map(weight).sum());
        let mut index = 0;
        while left >= weight(index) {
            left -= weight(index);
            index += 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_log_is_what_this_writes() {
        let is_same = sample_log() == include_str!("../../access.log");
        assert!(is_same, "write it anew, see the top of this file, and look at what changed");
    }
}
