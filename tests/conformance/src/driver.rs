//! Runs the steps of cases against runtimes, and judges what came out.
//!
//! A case runs as it is first. If emulated differences came into play, it runs again, on objects of its
//! own, with the reference's behaviour in these points alone; what that gives must be as recorded.

mod clients;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use durable::testing::TestRuntime;
use serde_json::Value as Json;

use crate::case::Case;
use crate::compare::{Comparison, Mismatch, compare};
use crate::differences::Rule;
use crate::object::{NoAlarm, Replayer};
use crate::world::World;
use crate::{Error, Result};
use steps::Run;

/// How often a case is run at most: each run may meet differences that the one before did not come to.
const RUNS_MAX: usize = 4;

/// No case takes as long, in real time.
const CASE_TIME_MAX: Duration = Duration::from_mins(5);

/// What became of a case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All results are the recorded ones.
    Passed,
    /// Some differ, all of them under these rules.
    Differs(BTreeSet<Rule>),
    /// Results that no rule explains.
    Failed(Vec<Mismatch>),
    /// It holds something that cannot be run yet.
    NotYet(String),
}

/// Runtimes to replay cases on.
#[derive(Debug)]
pub struct Driver {
    stages: Vec<Stage>,
}

/// A runtime whose time passes only as the cases need it; the first run of each case has the first.
#[derive(Debug)]
struct Stage {
    runtime: TestRuntime,
    world: Arc<World>,
}

impl Driver {
    /// Starts runtimes in temporary directories.
    ///
    /// # Errors
    /// When a runtime does not start.
    pub async fn start() -> Result<Driver> {
        let mut stages = Vec::new();
        for _ in 0..RUNS_MAX {
            stages.push(Stage::start().await?);
        }
        Ok(Driver { stages })
    }

    /// Replays a case. One that does not end fails.
    pub async fn replay(&mut self, case: &Case) -> Verdict {
        match tokio::time::timeout(CASE_TIME_MAX, self.judge(case)).await {
            Ok((verdict, _)) => verdict,
            Err(_) => Verdict::Failed(vec![Mismatch {
                place: "the case".into(),
                done: case.doc.clone(),
                expected: "an end".into(),
                got: format!("none after {} s", CASE_TIME_MAX.as_secs()).into(),
            }]),
        }
    }

    /// Replays a case, and gives the results of the last run.
    async fn judge(&mut self, case: &Case) -> (Verdict, Vec<Json>) {
        if let Some(kind) = case.not_yet() {
            return (Verdict::NotYet(kind), Vec::new());
        }
        let mut emulated = BTreeSet::new();
        let mut as_it_is = None;
        let mut last = (Comparison::default(), Vec::new());
        for stage in &mut self.stages {
            let world = Arc::clone(&stage.world);
            world.begin(&case.name, &emulated);
            let (results, met) = Run::new(stage).steps(&case.steps).await;
            let found = compare(case, &results);
            as_it_is.get_or_insert(found.mismatches.is_empty());
            last = (found, results);
            let before = emulated.len();
            emulated.extend(met.into_iter().filter(|rule| rule.is_emulated()));
            if emulated.len() == before {
                break;
            }
        }
        let (found, results) = last;
        if !found.mismatches.is_empty() {
            return (Verdict::Failed(found.mismatches), results);
        }
        let mut rules = found.rules;
        if as_it_is != Some(true) {
            rules.append(&mut emulated);
        }
        let verdict = if rules.is_empty() { Verdict::Passed } else { Verdict::Differs(rules) };
        (verdict, results)
    }

    /// Stops the runtimes.
    ///
    /// # Errors
    /// When something could not be stored.
    pub async fn shut_down(self) -> Result<()> {
        for stage in self.stages {
            stage.runtime.shutdown_within(Duration::ZERO).await.map_err(Error::Runtime)?;
        }
        Ok(())
    }
}

impl Stage {
    async fn start() -> Result<Stage> {
        let world = Arc::new(World::default());
        let shared = Arc::clone(&world);
        let runtime = TestRuntime::start(move |builder| {
            builder.register::<Replayer>().register::<NoAlarm>().env(Arc::clone(&shared))
        });
        Ok(Stage { runtime: runtime.await.map_err(Error::Runtime)?, world })
    }
}

#[cfg(test)]
mod tests;
