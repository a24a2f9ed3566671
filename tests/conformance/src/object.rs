//! The durable object that interprets the operations of a call.
//!
//! Operations that run at once share a turn, as code between two awaits does in the reference
//! implementation: what lets others in ends the turn and commits.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durable::prelude::*;
use durable::{BODY_BYTES_MAX, Body, BoxFuture, Cursor, Error};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::case::{Action, Op, Ops};
use crate::differences::Rule;
use crate::errors;
use crate::script::{Reply, Script, Settings};
use crate::turn::Turn;
use crate::value::Value;

/// What outlives the instances of objects: shared with the driver.
#[derive(Debug, Default)]
pub(crate) struct World {
    instances: Mutex<HashMap<String, u64>>,
    logs: Mutex<HashMap<String, Vec<Json>>>,
}

impl World {
    fn next_instance(&self, id: String) -> u64 {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let count = instances.entry(id).or_default();
        *count += 1;
        *count
    }

    /// Adds an event to an object's log.
    pub(crate) fn log(&self, id: String, event: Json) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry(id).or_default().push(event);
    }

    /// An object's log, from its first event on.
    pub(crate) fn events(&self, id: &str) -> Json {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(id).cloned().unwrap_or_default().into()
    }

    /// Forgets an object's log.
    pub(crate) fn clear(&self, id: &str) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// An object of a case.
#[derive(Debug)]
pub(crate) struct Replayer {
    pub(crate) memory: Memory,
}

/// What an instance holds in its fields.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) instance: u64,
    pub(crate) value: Value,
    pub(crate) cursors: HashMap<String, Cursor>,
    pub(crate) size: Option<u64>,
    /// Which of the cursors give what a write returned.
    pub(crate) writing: HashSet<String>,
}

#[durable_object(name = "replayer")]
impl Replayer {
    fn new(ctx: &Context) -> Result<Self> {
        let instance = ctx.env::<Arc<World>>()?.next_instance(ctx.id().to_string());
        let memory = Memory {
            instance,
            value: Value::undefined(),
            cursors: HashMap::new(),
            size: None,
            writing: HashSet::new(),
        };
        Ok(Replayer { memory })
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let body = request.into_body().collect_up_to(BODY_BYTES_MAX).await?;
        let script: Script = serde_json::from_slice(&body).map_err(Error::other)?;
        let ops: Ops = script.ops.into_iter().map(Op::from).collect();
        let reply = run(this, script.settings, ops).await;
        Ok(Response::new(Body::from(serde_json::to_vec(&reply).map_err(Error::other)?)))
    }
}

/// A second class, whose ids are not those of the first.
#[derive(Debug, Default)]
pub(crate) struct Other;

#[durable_object(name = "other")]
impl Other {}

/// Runs operations turn by turn.
fn run(this: Handle<Replayer>, settings: Arc<Settings>, ops: Ops) -> BoxFuture<Reply> {
    Box::pin(async move {
        let mut reply = Reply::default();
        let mut at = 0;
        while at < ops.len() && reply.threw.is_none() {
            if ops[at].is_awaited() {
                let result = wait(&this, &settings, &ops[at], &mut reply).await;
                reply.results.push(if ops[at].flag("nowait") { Json::Null } else { result });
                at += 1;
                continue;
            }
            let alone = |op: &Op| is_a_turn(&settings, op);
            let more = ops[at + 1..].iter().take_while(|op| !op.is_awaited() && !alone(op)).count();
            let end = if alone(&ops[at]) { at + 1 } else { at + 1 + more };
            run_turn(&this, &settings, &ops, at..end, &mut reply).await;
            at = end;
        }
        reply
    })
}

/// The reference's async transaction is a unit of its own, which nothing else gets into.
fn is_a_turn(settings: &Settings, op: &Op) -> bool {
    settings.emulated.contains(&Rule::NoAsyncTransaction) && is_async_transaction(op)
}

fn is_async_transaction(op: &Op) -> bool {
    matches!(op.action, Action::AsyncTransaction { .. })
}

/// An operation during which anything else may run in the object.
async fn wait(
    this: &Handle<Replayer>,
    settings: &Arc<Settings>,
    op: &Op,
    reply: &mut Reply,
) -> Json {
    match &op.action {
        Action::Sleep { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Action::Call { obj, ops } => {
            let inner = call(this, settings, obj, ops).await;
            reply.met.extend(&inner.met);
            return inner.record();
        }
        Action::Branches { branches } => {
            let runs = branches.iter().map(|ops| run(this.clone(), settings.clone(), ops.clone()));
            let branches = join_all(runs).await;
            reply.met.extend(branches.iter().flat_map(|branch| &branch.met));
            return branches.into_iter().map(Reply::record).collect();
        }
        // What came before is durable already: that is when a turn returns.
        _ => {}
    }
    Json::Null
}

async fn call(this: &Handle<Replayer>, settings: &Arc<Settings>, alias: &str, ops: &Ops) -> Reply {
    let send = async {
        let stub = this.namespace::<Replayer>().get_by_name(&settings.object_name(alias));
        let response = stub.fetch(Script::new(settings, ops).request()?).await;
        Reply::read(response.map_err(Error::other)?).await
    };
    send.await.unwrap_or_else(|error| Reply::failed(errors::record(&error)))
}

/// Why a turn is undone.
enum Undone {
    /// The operations did not end well; the reply says how.
    ByScript,
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Undone::Failed(error)
    }
}

async fn run_turn(
    this: &Handle<Replayer>,
    settings: &Arc<Settings>,
    ops: &Ops,
    range: Range<usize>,
    reply: &mut Reply,
) {
    let ops_of_turn = &ops[range.clone()];
    let alone = is_a_turn(settings, &ops[range.start]);
    // Kept outside the turn, so that the results are there even if its commit fails.
    let shared = Arc::new(Mutex::new(Reply::default()));
    let (inside, settings, all) = (shared.clone(), settings.clone(), ops.clone());
    let done = this.turn(move |object, ctx| {
        let turn = Turn::new(&mut object.memory, ctx, &settings);
        let (turn_reply, keep) = turn.run_all(&all[range]);
        *inside.lock().unwrap_or_else(PoisonError::into_inner) = turn_reply;
        if keep { Ok(()) } else { Err(Undone::ByScript) }
    });
    let done = done.await;
    let mut turn = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(Undone::Failed(error)) = done {
        turn.threw = Some(errors::record(&error));
        // Its own commit failed, so it gave nothing.
        turn.results.truncate(if alone { 0 } else { usize::MAX });
        if ops_of_turn.iter().any(is_async_transaction) {
            turn.met.insert(Rule::NoAsyncTransaction);
        }
    }
    reply.results.append(&mut turn.results);
    reply.threw = turn.threw;
    reply.met.append(&mut turn.met);
}

/// An object's id as its `id` operation shows it.
pub(crate) fn describe_id(ctx: &Context<Replayer>) -> Json {
    let (id, namespace) = (ctx.id(), ctx.namespace::<Replayer>());
    let text = id.to_string();
    let named = id.name().map(|name| namespace.id_from_name(name).is_ok_and(|other| other == id));
    let parsed = namespace.id_from_string(&text).is_ok_and(|other| other == id);
    json!({
        "len": text.len(),
        "hex": text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "name": id.name().map_or_else(|| Value::undefined().record(), Json::from),
        "equalsFromName": named,
        "equalsFromString": parsed,
    })
}
