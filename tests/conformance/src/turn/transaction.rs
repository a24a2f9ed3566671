//! Transactions inside a turn.

use durable::{Error, Rollback};
use serde_json::{Value as Json, json};

use super::{Failure, Outcome, Scope, Turn};
use crate::case::{Action, Op};
use crate::differences::Rule;
use crate::errors;
use crate::object::Interpreter;
use crate::value::Value;

/// Why a transaction is undone.
enum Undone {
    Thrown(Json),
    /// With the object.
    Aborted,
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Undone::Failed(error)
    }
}

impl<T: Interpreter> Turn<'_, T> {
    pub(super) fn transaction(
        &mut self,
        ops: &[Op],
        returned: Option<&Json>,
        rethrow: bool,
    ) -> Outcome {
        let (mut results, mut thrown) = self.nested(ops, Scope::Transaction)?;
        for (index, op) in ops.iter().enumerate() {
            let is_async = matches!(op.action, Action::AsyncTransaction { .. });
            if thrown.is_none() && is_async && self.emulates(Rule::NoAsyncTransaction) {
                results[index] = json!({ "promise": self.perform_alone(op) });
            }
        }
        if std::mem::take(&mut self.delete_all_later) {
            self.ctx.delete_all()?;
            thrown = Some(errors::error_of("internal_error", "deleteAll in a transaction"));
        }
        finish(&results, thrown, returned, rethrow)
    }

    pub(super) fn async_transaction(
        &mut self,
        ops: &[Op],
        returned: Option<&Json>,
        rethrow: bool,
    ) -> Outcome {
        let rollback = ops.iter().position(|op| matches!(op.action, Action::Rollback {}));
        let Some(at) = rollback else {
            let (results, thrown) = self.nested(ops, Scope::AsyncTransaction)?;
            return finish(&results, thrown, returned, rethrow);
        };
        let mut results = Vec::new();
        let ctx = self.ctx;
        let undone = ctx
            .transaction(|| Rollback(self.run(&ops[..at], Scope::AsyncTransaction, &mut results)));
        let mut thrown = undone?;
        if self.aborted.is_some() {
            return Err(Failure::Aborted);
        }
        self.bring_back_alarm(&ops[..at])?;
        if thrown.is_none() {
            results.push(Json::Null);
            let (rest, rest_thrown) = self.nested(&ops[at + 1..], Scope::RolledBack)?;
            results.extend(rest);
            thrown = rest_thrown;
        }
        finish(&results, thrown, returned, rethrow)
    }

    /// Runs operations in a transaction, which an error that leaves them undoes.
    fn nested(&mut self, ops: &[Op], scope: Scope) -> Result<(Vec<Json>, Option<Json>), Failure> {
        let mut results = Vec::new();
        let ctx = self.ctx;
        let outcome = ctx.transaction(|| match self.run(ops, scope, &mut results) {
            _ if self.aborted.is_some() => Err(Undone::Aborted),
            None if !self.delete_all_later => Ok(()),
            None => Err(Undone::Thrown(Json::Null)),
            Some(thrown) => Err(Undone::Thrown(thrown)),
        });
        let thrown = match outcome {
            Ok(()) => return Ok((results, None)),
            Err(Undone::Aborted) => return Err(Failure::Aborted),
            // An abort is its own error, whatever the transaction makes of it.
            Err(Undone::Failed(_)) if self.aborted.is_some() => return Err(Failure::Aborted),
            Err(Undone::Thrown(thrown)) => thrown,
            Err(Undone::Failed(error)) => errors::record(&error),
        };
        self.bring_back_alarm(ops)?;
        Ok((results, Some(thrown)))
    }

    /// Runs one operation outside the transaction that started it.
    fn perform_alone(&mut self, op: &Op) -> Json {
        match self.perform(op, Scope::AsyncTransaction) {
            Ok(result) => result,
            Err(Failure::Error(error) | Failure::Thrown(error)) => json!({ "error": error }),
            Err(Failure::Aborted) => Json::Null,
        }
    }
}

fn finish(
    results: &[Json],
    thrown: Option<Json>,
    returned: Option<&Json>,
    rethrow: bool,
) -> Outcome {
    match thrown {
        Some(thrown) if rethrow => Err(Failure::Error(thrown)),
        Some(thrown) => Ok(json!({ "results": results, "threw": thrown })),
        None => {
            let returned = returned.map_or_else(Value::undefined, Value::read);
            Ok(json!({ "results": results, "returned": returned.record() }))
        }
    }
}
