//! Runs the steps of cases against runtimes, and judges what came out.
//!
//! A case runs as it is first. If emulated differences came into play, it runs again, on objects of its
//! own, with the reference's behaviour in these points alone; what that gives must be as recorded.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use durable::{Builder, Namespace, ObjectId, Runtime};
use futures_util::future::join_all;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::case::{Call, Case, Step};
use crate::compare::{Comparison, Mismatch, compare};
use crate::differences::Rule;
use crate::object::{Other, Replayer, World};
use crate::script::{Reply, Script, Settings};
use crate::value::Value;
use crate::{Error, Result, errors, ids};

/// How often a case is run at most: each run may meet differences that the one before did not come to.
const RUNS_MAX: usize = 4;

/// No recorded case takes as long.
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

/// A runtime in a directory of its own; the first run of each case has the first.
#[derive(Debug)]
struct Stage {
    runtime: Runtime,
    world: Arc<World>,
    /// Removed when the runtime has gone.
    _directory: TempDir,
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
    pub async fn replay(&self, case: &Case) -> Verdict {
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
    async fn judge(&self, case: &Case) -> (Verdict, Vec<Json>) {
        if let Some(kind) = case.not_yet() {
            return (Verdict::NotYet(kind), Vec::new());
        }
        let mut emulated = BTreeSet::new();
        let mut as_it_is = None;
        let mut last = (Comparison::default(), Vec::new());
        for stage in &self.stages {
            let mut run = Run::new(stage, case, &emulated);
            let results = run.steps(&case.steps).await;
            let found = compare(case, &results);
            as_it_is.get_or_insert(found.mismatches.is_empty());
            last = (found, results);
            let before = emulated.len();
            emulated.extend(run.met);
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
            stage.runtime.shutdown().await.map_err(Error::Runtime)?;
        }
        Ok(())
    }
}

impl Stage {
    async fn start() -> Result<Stage> {
        let directory =
            tempfile::tempdir().map_err(|error| Error::Runtime(durable::Error::other(error)))?;
        let world = Arc::new(World::default());
        let builder: Builder = Runtime::builder(directory.path());
        let builder = builder.register::<Replayer>().register::<Other>().env(world.clone());
        let runtime = builder.start().await.map_err(Error::Runtime)?;
        Ok(Stage { runtime, world, _directory: directory })
    }
}

/// One run of a case.
struct Run<'a> {
    stage: &'a Stage,
    settings: Arc<Settings>,
    /// The ids that operations have named.
    ids: HashMap<String, ids::AnyId>,
    met: BTreeSet<Rule>,
}

impl<'a> Run<'a> {
    fn new(stage: &'a Stage, case: &Case, emulated: &BTreeSet<Rule>) -> Self {
        let settings = Settings { case: case.name.clone(), emulated: emulated.clone() };
        Run { stage, settings: Arc::new(settings), ids: HashMap::new(), met: BTreeSet::new() }
    }

    async fn steps(&mut self, steps: &[Step]) -> Vec<Json> {
        let mut results = Vec::new();
        for step in steps {
            results.push(self.step(step).await);
        }
        results
    }

    async fn step(&mut self, step: &Step) -> Json {
        match step {
            Step::Call(call) => self.calls(std::slice::from_ref(call), true).await.remove(0),
            Step::Together(calls) => self.calls(calls, true).await.into(),
            Step::OnStub { together, calls } => self.calls(calls, *together).await.into(),
            Step::Ids(ops) => {
                let (main, other) = (self.namespace(), self.stage.runtime.namespace::<Other>());
                ops.iter().map(|op| ids::perform(op, &main, &other, &mut self.ids)).collect()
            }
            Step::Log { object, clear } => self.log(object, *clear),
            Step::Sleep(ms) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Json::Null
            }
            Step::NotYet(_) => Json::Null,
        }
    }

    fn namespace(&self) -> Namespace<Replayer> {
        self.stage.runtime.namespace()
    }

    async fn calls(&mut self, calls: &[Call], together: bool) -> Vec<Json> {
        let sent = calls.iter().map(|call| self.call(call));
        let replies = if together {
            join_all(sent).await
        } else {
            let mut replies = Vec::new();
            for call in sent {
                replies.push(call.await);
            }
            replies
        };
        self.met.extend(replies.iter().flat_map(|reply| &reply.met));
        replies.into_iter().map(Reply::record).collect()
    }

    async fn call(&self, call: &Call) -> Reply {
        let send = async {
            let id = self.object(call)?;
            let script = Script::new(&self.settings, &call.ops);
            let response = self.namespace().get(&id).fetch(script.request()?).await;
            Reply::read(response.map_err(durable::Error::other)?).await
        };
        send.await.unwrap_or_else(|error| Reply::failed(errors::record(&error)))
    }

    fn object(&self, call: &Call) -> durable::Result<ObjectId<Replayer>> {
        if call.unique {
            return self.namespace().unique_id();
        }
        self.namespace().id_from_name(&self.settings.object_name(&call.object))
    }

    fn log(&self, object: &str, clear: bool) -> Json {
        let name = self.settings.object_name(object);
        let Ok(id) = self.namespace().id_from_name(&name) else {
            return Value::undefined().record();
        };
        let events = self.stage.world.events(&id.to_string());
        if clear {
            self.stage.world.clear(&id.to_string());
        }
        events
    }
}

#[cfg(test)]
mod tests;
