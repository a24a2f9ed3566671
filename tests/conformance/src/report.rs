//! What is printed: a table of files, the rules that were needed, and each failure in full.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value as Json, json};

use crate::{Case, Mismatch, Rule, Verdict};

/// How much of a value is shown.
const SHOWN_CHARS_MAX: usize = 600;

/// What became of the cases of some files.
#[derive(Debug, Default)]
pub struct Report {
    files: Vec<FileReport>,
}

#[derive(Debug)]
struct FileReport {
    area: String,
    verdicts: Vec<(String, String, Verdict)>,
}

/// Which of the cases a report names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Those that failed.
    Failures,
    /// All.
    All,
}

/// How many cases there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As recorded.
    pub passed: usize,
    /// Under rules.
    pub differing: usize,
    /// Neither.
    pub failed: usize,
    /// Not run.
    pub not_yet: usize,
}

impl Report {
    /// Begins a file; what is added next is of this one.
    pub fn begin(&mut self, area: impl Into<String>) {
        self.files.push(FileReport { area: area.into(), verdicts: Vec::new() });
    }

    /// Adds what became of a case.
    pub fn add(&mut self, case: &Case, verdict: Verdict) {
        if let Some(file) = self.files.last_mut() {
            file.verdicts.push((case.name.clone(), case.doc.clone(), verdict));
        }
    }

    /// The sums over all files.
    pub fn counts(&self) -> Counts {
        count(self.files.iter().flat_map(|file| &file.verdicts))
    }

    /// How many cases differ under each rule. A case may differ under several.
    pub fn rules(&self) -> BTreeMap<Rule, usize> {
        let mut rules = BTreeMap::new();
        for (_, _, verdict) in self.files.iter().flat_map(|file| &file.verdicts) {
            if let Verdict::Differs(of_case) = verdict {
                for rule in of_case {
                    *rules.entry(*rule).or_default() += 1;
                }
            }
        }
        rules
    }

    /// The report as text.
    pub fn text(&self, shown: Shown) -> String {
        let mut text = String::new();
        for (name, doc, verdict) in self.files.iter().flat_map(|file| &file.verdicts) {
            // Writing into a string does not fail.
            let _ = write_case(&mut text, shown, name, doc, verdict);
        }
        let _ = writeln!(text, "{}", self.table());
        for (rule, cases) in self.rules() {
            let _ = writeln!(text, "differs by design: {} ({cases})", rule.title());
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["file", "passed", "differing by design", "failed", "not yet"]);
        let mut row = |name: &str, counts: Counts| {
            let Counts { passed, differing, failed, not_yet } = counts;
            let numbers = [passed, differing, failed, not_yet].map(|count| count.to_string());
            table.add_row([name].into_iter().chain(numbers.iter().map(String::as_str)));
        };
        for file in &self.files {
            row(&file.area, count(&file.verdicts));
        }
        row("all", self.counts());
        table.column_iter_mut().skip(1).for_each(|column| {
            column.set_cell_alignment(CellAlignment::Right);
        });
        table
    }

    /// The report as JSON: sums, and each case that did not pass.
    pub fn json(&self) -> Json {
        let verdicts = self.files.iter().flat_map(|file| &file.verdicts);
        let cases: Vec<Json> =
            verdicts.filter_map(|(name, _, verdict)| case_json(name, verdict)).collect();
        let Counts { passed, differing, failed, not_yet } = self.counts();
        json!({
            "passed": passed, "differing": differing, "failed": failed, "not_yet": not_yet,
            "cases": cases,
        })
    }
}

fn count<'a>(verdicts: impl IntoIterator<Item = &'a (String, String, Verdict)>) -> Counts {
    let mut counts = Counts::default();
    for (_, _, verdict) in verdicts {
        *match verdict {
            Verdict::Passed => &mut counts.passed,
            Verdict::Differs(_) => &mut counts.differing,
            Verdict::Failed(_) => &mut counts.failed,
            Verdict::NotYet(_) => &mut counts.not_yet,
        } += 1;
    }
    counts
}

fn write_case(
    text: &mut String,
    shown: Shown,
    name: &str,
    doc: &str,
    verdict: &Verdict,
) -> fmt::Result {
    match verdict {
        Verdict::Failed(mismatches) => {
            writeln!(text, "FAILED {name}: {doc}")?;
            mismatches.iter().try_for_each(|mismatch| write_mismatch(text, mismatch))
        }
        _ if shown == Shown::Failures => Ok(()),
        Verdict::Passed => writeln!(text, "passed {name}"),
        Verdict::Differs(rules) => writeln!(text, "differs {name}: {}", titles(rules)),
        Verdict::NotYet(kind) => writeln!(text, "not yet {name}: {kind}"),
    }
}

fn write_mismatch(text: &mut String, mismatch: &Mismatch) -> fmt::Result {
    let Mismatch { place, done, expected, got } = mismatch;
    writeln!(text, "  {place}: {}", short(done))?;
    writeln!(text, "    expected {}", short(&expected.to_string()))?;
    writeln!(text, "    got      {}", short(&got.to_string()))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

fn titles(rules: &BTreeSet<Rule>) -> String {
    rules.iter().map(|rule| rule.title()).collect::<Vec<_>>().join("; ")
}

fn case_json(name: &str, verdict: &Verdict) -> Option<Json> {
    match verdict {
        Verdict::Passed => None,
        Verdict::Differs(rules) => Some(json!({ "name": name, "differs": rules })),
        Verdict::NotYet(kind) => Some(json!({ "name": name, "not_yet": kind })),
        Verdict::Failed(mismatches) => {
            let failed: Vec<Json> = mismatches
                .iter()
                .map(|Mismatch { place, done, expected, got }| {
                    json!({ "place": place, "done": done, "expected": expected, "got": got })
                })
                .collect();
            Some(json!({ "name": name, "failed": failed }))
        }
    }
}
