//! One turn: operations that nothing else gets between.
//!
//! The guarantee: what a recording says is never looked at. Where this version differs from the
//! reference on purpose, the turn notes that the difference came into play, and does as the
//! reference does only if it is told to emulate that difference.

mod kv;
mod sql;
mod transaction;

use std::collections::BTreeSet;

use durable::{Context, Error};
use serde_json::{Value as Json, json};

use crate::case::{Action, Op};
use crate::differences::Rule;
use crate::errors;
use crate::object::{Memory, Replayer, World, describe_id};
use crate::script::{Reply, Settings};
use crate::value::Value;

/// A turn that interprets operations.
pub(crate) struct Turn<'a> {
    memory: &'a mut Memory,
    ctx: &'a Context<Replayer>,
    settings: &'a Settings,
    met: BTreeSet<Rule>,
    /// What the reference would say at the end of the call, which undoes it.
    broken: Option<Json>,
    /// Whether an emulated `deleteAll` waits for the end of the transaction.
    delete_all_later: bool,
}

/// Where an operation stands: what it gives, and what it may do, depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// In the call itself.
    Call,
    /// In a transaction; async operations are started and not awaited.
    Transaction,
    /// In an async transaction.
    AsyncTransaction,
    /// In one that has been rolled back.
    RolledBack,
}

/// Why an operation gave no result.
enum Failure {
    /// An error that the script sees and goes on.
    Error(Json),
    /// An error that ends the operations round it.
    Thrown(Json),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(errors::record(&error))
    }
}

impl Failure {
    fn error(kind: &str, message: &str) -> Self {
        Failure::Error(errors::error_of(kind, message))
    }
}

type Outcome = Result<Json, Failure>;

impl<'a> Turn<'a> {
    pub(crate) fn new(
        memory: &'a mut Memory,
        ctx: &'a Context<Replayer>,
        settings: &'a Settings,
    ) -> Self {
        let met = BTreeSet::new();
        Turn { memory, ctx, settings, met, broken: None, delete_all_later: false }
    }

    /// Runs the operations of a turn; gives what they did and whether it is kept.
    pub(crate) fn run_all(mut self, ops: &[Op]) -> (Reply, bool) {
        let mut results = Vec::new();
        let thrown = self.run(ops, Scope::Call, &mut results);
        let broken = self.find_break();
        let keep =
            broken.is_none() && (thrown.is_none() || self.emulates(Rule::TurnIsATransaction));
        (Reply { results, threw: broken.or(thrown), met: self.met }, keep)
    }

    /// What breaks a call of the reference although each operation went well.
    fn find_break(&mut self) -> Option<Json> {
        let writing = std::mem::take(&mut self.memory.writing);
        let unread = |name| self.memory.cursors.get(name).is_some_and(|cursor| !cursor.is_empty());
        if writing.iter().any(unread) && self.emulates(Rule::RowsAreReadAtOnce) {
            return Some(errors::error_of("internal_error", "a write was left half-way"));
        }
        self.broken.take()
    }

    /// Whether to do as the reference does; notes that the difference came into play.
    fn emulates(&mut self, rule: Rule) -> bool {
        self.met.insert(rule);
        self.settings.emulated.contains(&rule)
    }

    /// Runs operations until one throws, and gives what it threw.
    fn run(&mut self, ops: &[Op], scope: Scope, results: &mut Vec<Json>) -> Option<Json> {
        let mut thrown = None;
        for op in ops {
            let is_async = matches!(op.action, Action::AsyncTransaction { .. });
            if scope == Scope::Transaction && is_async && self.emulates(Rule::NoAsyncTransaction) {
                // Its place; it runs when the transaction has ended.
                results.push(Json::Null);
                continue;
            }
            match self.perform(op, scope) {
                Ok(result) => results.push(shown(op, scope, "promise", result)),
                Err(Failure::Error(error)) if !op.flag("propagate") => {
                    results.push(shown_error(op, scope, error));
                }
                Err(Failure::Error(error) | Failure::Thrown(error)) => {
                    results.push(json!({ "throws": error }));
                    thrown = Some(error);
                    break;
                }
            }
        }
        if thrown.is_some() && scope == Scope::Call {
            self.met.insert(Rule::TurnIsATransaction);
        }
        thrown
    }

    fn perform(&mut self, op: &Op, scope: Scope) -> Outcome {
        let ctx = self.ctx;
        if scope == Scope::RolledBack && is_of_the_transaction(op) {
            return self.after_rollback();
        }
        match &op.action {
            Action::Get { .. }
            | Action::Put { .. }
            | Action::Delete { .. }
            | Action::List { .. } => self.key_value(op),
            Action::DeleteAll {} => self.delete_all(scope),
            Action::Sql { query, params, mode, cursor } => self.sql(query, params, *mode, cursor),
            Action::Cursor { verb, cursor } => self.cursor(*verb, cursor),
            Action::Size { exact } => self.size(*exact),
            Action::CompareSize {} => self.compare_size(),
            Action::Transaction { ops, ret, rethrow, returns_promise } => {
                let returned =
                    if *returns_promise { Some(json!({ "isPromise": true })) } else { ret.clone() };
                self.transaction(ops, returned.as_ref(), *rethrow)
            }
            Action::AsyncTransaction { ops, ret, rethrow } => {
                self.async_transaction(ops, ret.as_ref(), *rethrow)
            }
            Action::Throw { message, class } => {
                Err(Failure::Thrown(errors::thrown(class, message)))
            }
            Action::Instance {} => Ok(json!(self.memory.instance)),
            Action::Remember { value } => {
                self.memory.value = Value::read(value);
                Ok(Json::Null)
            }
            Action::Recall {} => Ok(self.memory.value.record()),
            Action::Trace { v } => {
                let event = json!({ "ev": "trace", "v": v });
                self.world()?.log(ctx.id().to_string(), event);
                Ok(Json::Null)
            }
            Action::Log {} => Ok(self.world()?.events(&ctx.id().to_string())),
            Action::Id {} => Ok(describe_id(ctx)),
            Action::Microtask {} | Action::Rollback {} => Ok(Json::Null),
            Action::Sync {}
            | Action::Sleep { .. }
            | Action::Call { .. }
            | Action::Branches { .. } => self.await_in_a_turn(),
            Action::NotYet => Err(Failure::error("error", "this operation cannot be run yet")),
        }
    }

    fn world(&self) -> durable::Result<&'a World> {
        self.ctx.env::<std::sync::Arc<World>>().map(|world| &**world)
    }

    /// No turn can wait; the reference holds its transaction open meanwhile.
    fn await_in_a_turn(&mut self) -> Outcome {
        if self.emulates(Rule::NoAsyncTransaction) {
            return Ok(Json::Null);
        }
        Err(Failure::error(errors::NO_COUNTERPART, "a turn cannot wait"))
    }

    /// The reference's transaction object can be used after its rollback; ours has gone with its closure.
    fn after_rollback(&mut self) -> Outcome {
        if self.emulates(Rule::NoAsyncTransaction) {
            return Err(Failure::error("error", "the transaction has been rolled back"));
        }
        Err(Failure::error(errors::NO_COUNTERPART, "the transaction has ended"))
    }
}

/// Whether the reference does it through the transaction's own object.
fn is_of_the_transaction(op: &Op) -> bool {
    op.kind().starts_with("kv.") && op.json.get("via").and_then(Json::as_str) != Some("storage")
}

/// A result as the script saw it: at once, through a promise, or not at all.
fn shown(op: &Op, scope: Scope, promise: &str, result: Json) -> Json {
    if op.flag("nowait") {
        Json::Null
    } else if scope == Scope::Transaction && op.is_promise() {
        json!({ promise: result })
    } else {
        result
    }
}

fn shown_error(op: &Op, scope: Scope, error: Json) -> Json {
    if scope == Scope::Transaction && op.is_promise() {
        return shown(op, scope, "promise_error", error);
    }
    shown(op, scope, "", json!({ "error": error }))
}
