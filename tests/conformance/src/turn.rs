//! One turn: operations that nothing else gets between.
//!
//! The guarantee: what a recording says is never looked at. Where this version differs from the
//! reference on purpose, the turn notes that the difference came into play, and does as the
//! reference does only if it is told to emulate that difference.

mod alarm;
mod bookmark;
mod kv;
pub(crate) mod sockets;
mod sql;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use durable::{Context, Error};
use serde_json::{Value as Json, json};

use crate::case::{Action, Op, Ops};
use crate::differences::Rule;
use crate::errors;
use crate::object::{Interpreter, Memory, describe_id};
use crate::run::{Frame, Way, run};
use crate::value::Value;
use crate::world::{Progress, World};

/// A turn that interprets operations.
pub(crate) struct Turn<'a, T: Interpreter> {
    memory: &'a mut Memory,
    ctx: &'a Context<T>,
    world: &'a Arc<World>,
    /// The time, in milliseconds, of the alarm that the turn is a part of.
    alarm: Option<i64>,
    /// What the reference would say at the end of the call, which undoes it.
    broken: Option<Json>,
    /// Whether an emulated `deleteAll` waits for the end of the transaction.
    delete_all_later: bool,
    /// With what the turn is to fail because it aborts the object.
    aborted: Option<Error>,
}

/// Why a turn is undone.
pub(crate) enum Undone {
    /// The operations did not end well; what they did says how.
    ByScript,
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Undone::Failed(error)
    }
}

impl From<Undone> for Error {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::ByScript => Error::other("the operations have failed"),
            Undone::Failed(error) => error,
        }
    }
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
    /// The object is aborted: nothing more is done.
    Aborted,
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

impl<'a, T: Interpreter> Turn<'a, T> {
    pub(crate) fn new(
        memory: &'a mut Memory,
        ctx: &'a Context<T>,
        world: &'a Arc<World>,
        alarm: Option<i64>,
    ) -> Self {
        let (broken, aborted) = (None, None);
        Turn { memory, ctx, world, alarm, broken, delete_all_later: false, aborted }
    }

    /// Runs the operations of a turn; fails if it is to be undone. What they throw undoes it there, too, if that is fatal
    /// for the object.
    pub(crate) fn run_all(
        mut self,
        ops: &[Op],
        progress: &Progress,
        is_fatal: bool,
    ) -> Result<(), Undone> {
        let mut results = Vec::new();
        let thrown = self.run(ops, Scope::Call, &mut results);
        if let Some(error) = self.aborted.take() {
            progress.add(results, None);
            return Err(Undone::Failed(error));
        }
        let broken = self.find_break();
        let keep = match (&broken, &thrown) {
            (Some(_), _) => false,
            (None, None) => true,
            (None, Some(_)) => !is_fatal && self.emulates(Rule::TurnIsATransaction),
        };
        progress.add(results, broken.or(thrown));
        if keep { Ok(()) } else { Err(Undone::ByScript) }
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
    fn emulates(&self, rule: Rule) -> bool {
        self.world.emulates(rule)
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
                Err(Failure::Aborted) => break,
            }
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
            Action::SetAlarm { .. } => self.set_alarm(op),
            Action::GetAlarm {} => self.alarm(),
            Action::DeleteAlarm {} => self.delete_alarm(),
            Action::CurrentBookmark {} | Action::BookmarkAt { .. } | Action::Restore {} => {
                self.bookmark(op)
            }
            Action::Abort { reason } => {
                self.abort_alarm();
                self.aborted = Some(ctx.abort(reason));
                Err(Failure::Aborted)
            }
            Action::WaitUntil { ms, ops } => {
                self.wait_until(*ms, ops);
                Ok(Json::Null)
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
            Action::Socket(action) => self.socket(action),
            Action::Trace { v } => {
                let event = json!({ "ev": "trace", "v": v });
                self.world.log(&ctx.id().to_string(), event, None);
                Ok(Json::Null)
            }
            Action::Log {} => Ok(self.world.events(&ctx.id().to_string()).into()),
            Action::Id {} => Ok(describe_id(ctx)),
            Action::Microtask {} | Action::Rollback {} => Ok(Json::Null),
            Action::Sync {}
            | Action::Sleep { .. }
            | Action::Call { .. }
            | Action::Branches { .. }
            | Action::Block { .. } => self.await_in_a_turn(),
            Action::Unknown {} | Action::NotYet => {
                Err(Failure::error("error", "there is no such operation"))
            }
        }
    }

    /// Runs operations after the call, and logs how they went.
    fn wait_until(&self, ms: u64, ops: &Ops) {
        let (handle, world, ops) = (self.ctx.handle(), Arc::clone(self.world), Arc::clone(ops));
        self.ctx.wait_until(async move {
            handle.sleep(Duration::from_millis(ms)).await;
            let (id, progress) = (handle.id().to_string(), Progress::default());
            let way = Way::Open(handle);
            let frame = Frame::new(way, &world, &progress);
            run(frame, ops).await;
            let event = match progress.threw() {
                None => json!({ "ev": "waitUntil", "results": progress.reply().results }),
                Some(threw) => json!({ "ev": "waitUntil", "threw": threw }),
            };
            world.log(&id, event, None);
        });
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
    ["kv.", "alarm."].iter().any(|family| op.kind().starts_with(family))
        && op.json.get("via").and_then(Json::as_str) != Some("storage")
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
