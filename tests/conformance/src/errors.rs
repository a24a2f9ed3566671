//! How the errors of `durable` are called in the recordings.
//!
//! The kind is compared, whether the object was reset, and the message where the script itself threw it.

use durable::{CallError, Constraint, Error, ErrorKind};
use serde_json::{Value as Json, json};

use crate::compare::RESET;

/// The kind of an error after which SQLite has undone the whole turn. No recording has it.
pub(crate) const ROLLED_BACK: &str = "rolled_back";
/// The kind of an operation that has no counterpart at all. No recording has it.
pub(crate) const NO_COUNTERPART: &str = "no_counterpart";

/// How the messages begin with which the scripts throw; the recorder knows them by that.
const BY_SCRIPT: &str = "boom";
/// What the runtime puts before the error of a script with which it resets an object.
const RESETS: [&str; 2] = ["`block_concurrency_while` failed: ", "the constructor failed: "];

/// What an error is recorded as.
pub(crate) fn record(error: &Error) -> Json {
    error_of(kind(error), error.message())
}

/// What a call that failed is recorded as.
pub(crate) fn record_call(error: &CallError) -> Json {
    match error {
        CallError::Reset { reason, .. } => of_a_reset(reason),
        CallError::Activation(error) => of_a_reset(error.message()),
        CallError::RolledBack(error)
        | CallError::StorageFailed(error)
        | CallError::NotFound(error) => record(error),
        other => error_of("error", &other.to_string()),
    }
}

/// What a reset is recorded as: the error that the script itself gave, if that is what it says.
fn of_a_reset(reason: &str) -> Json {
    let given = RESETS.iter().find_map(|prefix| reason.strip_prefix(prefix)).unwrap_or(reason);
    let kind = if given.starts_with(BY_SCRIPT) { "user" } else { "object_reset" };
    let mut error = error_of(kind, given);
    error[RESET] = true.into();
    error
}

/// What a `throw` is for the runtime: an error with its message.
pub(crate) fn to_throw(threw: &Json) -> Error {
    Error::other(threw.get("message").and_then(Json::as_str).unwrap_or_default())
}

/// An error as the recordings show it.
pub(crate) fn error_of(kind: &str, message: &str) -> Json {
    json!({ "kind": kind, "name": "Error", "message": message })
}

/// What a `throw` operation throws.
pub(crate) fn thrown(class: &str, message: &str) -> Json {
    let name = match class {
        "" => "Error",
        "string" | "null" => "(non-error)",
        "object" => "undefined",
        "custom" => "CustomError",
        other => other,
    };
    // The recorder knows its own errors by their message, and `null` has none.
    let (kind, message) = if class == "null" { ("error", "null") } else { ("user", message) };
    json!({ "kind": kind, "name": name, "message": message })
}

fn kind(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Sql => sql_kind(error.message()),
        ErrorKind::Constraint => constraint_kind(error.constraint()),
        // The commit itself failed.
        ErrorKind::RolledBack if error.constraint().is_some() => {
            constraint_kind(error.constraint())
        }
        ErrorKind::NoRows | ErrorKind::ManyRows => "sql_not_one",
        ErrorKind::Limit => "too_big",
        ErrorKind::Encoding => "not_serializable",
        ErrorKind::Invalid | ErrorKind::NotFound => "type_error",
        ErrorKind::RolledBack => ROLLED_BACK,
        ErrorKind::Refused if error.message().starts_with("cannot VACUUM") => "sql_error",
        ErrorKind::Refused if error.message().starts_with("a turn is one transaction") => {
            "sql_txn_forbidden"
        }
        ErrorKind::Refused => "sql_not_authorized",
        ErrorKind::Other | ErrorKind::NotKept => "error",
        _ => "internal_error",
    }
}

fn sql_kind(message: &str) -> &'static str {
    let any = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if any(&["too many SQL variables", "variable number must be"]) {
        "sql_too_many_variables"
    } else if any(&["too many ", "Expression tree is too large", "pattern too complex"]) {
        "sql_limit"
    } else if any(&["only the last statement"]) {
        "sql_multi_params"
    } else if any(&[" parameters and "]) {
        "sql_wrong_bindings"
    } else if any(&["datatype mismatch"]) {
        "sql_mismatch"
    } else if any(&["is locked"]) {
        "sql_locked"
    } else if any(&["holds no statement"]) {
        "error"
    } else {
        "sql_error"
    }
}

fn constraint_kind(constraint: Option<Constraint>) -> &'static str {
    match constraint {
        Some(Constraint::Unique) => "sql_constraint_unique",
        Some(Constraint::NotNull) => "sql_constraint_not_null",
        Some(Constraint::Check) => "sql_constraint_check",
        Some(Constraint::ForeignKey) => "sql_constraint_foreign_key",
        _ => "sql_constraint",
    }
}
