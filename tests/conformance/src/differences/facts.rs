//! Which result may differ, and what a difference leaves behind.

use std::collections::HashMap;

use durable::NAME_BYTES_MAX;
use serde_json::{Value as Json, json};

use super::shadow::Shadow;
use super::{Rule, queries};
use crate::case::{Action, Op, SqlMode};
use crate::compare::{error_kind, is_reset, same};
use crate::errors::ROLLED_BACK;
use crate::value::Value;

/// What is known of the objects of a case, from the operations that were compared before.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    objects: HashMap<String, Object>,
}

#[derive(Debug, Default)]
struct Object {
    /// Entries that were too large to be stored here.
    shadow: Shadow,
    /// Keys, as recorded, of values that only JavaScript has.
    foreign_keys: Vec<String>,
    /// Tables that hold something else here, with the rule under which that came about.
    other_tables: HashMap<String, Rule>,
}

impl Facts {
    /// Learns from an operation and its results, the same or not.
    pub(crate) fn learn(&mut self, name: &str, op: &Op, expected: &Json, got: &Json) {
        let object = self.objects.entry(name.to_owned()).or_default();
        match &op.action {
            Action::Put { .. } => {
                if queries::has_javascript(op) {
                    object.foreign_keys.extend(queries::keys(op));
                }
                if same(expected, got) {
                    object.shadow.stored(op);
                }
            }
            Action::Sql { .. } => object.learn_sql(op, expected, got),
            _ => {}
        }
    }

    /// The rule under which the result of an operation may differ as it does.
    pub(crate) fn excuse(
        &mut self,
        name: &str,
        op: &Op,
        expected: &Json,
        got: &Json,
    ) -> Option<Rule> {
        if is_reset(expected) || is_reset(got) {
            // No rule is about a single operation that resets the object.
            return None;
        }
        if error_kind(got) == Some(ROLLED_BACK) {
            return Some(Rule::NothingBreaksTheObject);
        }
        let object = self.objects.get_mut(name)?;
        let by_op = match &op.action {
            Action::Get { .. }
            | Action::Put { .. }
            | Action::Delete { .. }
            | Action::List { .. } => object.excuse_key_value(op, expected, got),
            Action::Sql { mode, .. } => object.excuse_sql(op, *mode, expected, got),
            Action::Size { .. } => is_other_size(expected, got).then_some(Rule::Figures),
            Action::CurrentBookmark {} => is_bookmark(expected, got).then_some(Rule::Figures),
            _ => None,
        };
        by_op.or_else(|| queries::has_javascript(op).then_some(Rule::JavaScriptValues))
    }

    /// The rule under which a call, or a transaction, may end otherwise.
    pub(crate) fn excuse_end(&self, name: &str, expected: &Json, got: &Json) -> Option<Rule> {
        let clear = |kind: &str| kind == ROLLED_BACK || kind.starts_with("sql_constraint");
        let broke = error_kind(expected) == Some("internal_error");
        // The reference keeps half of what a trigger did that went too deep.
        let kept_half = || {
            let tables = self.objects.get(name).map(|object| &object.other_tables);
            error_kind(expected).is_none()
                && tables.is_some_and(|tables| {
                    tables.values().any(|rule| *rule == Rule::NothingBreaksTheObject)
                })
        };
        let ours = error_kind(got).is_some_and(clear);
        (ours && (broke || kept_half())).then_some(Rule::NothingBreaksTheObject)
    }

    /// The rule under which an operation on ids may differ as it does.
    pub(crate) fn excuse_id(op: &Json, expected: &Json, got: &Json) -> Option<Rule> {
        let name = op.get("name").map(Value::read)?;
        let refused = !(1..=NAME_BYTES_MAX).contains(&name.text()?.len());
        (refused && error_kind(expected).is_none() && error_kind(got) == Some("type_error"))
            .then_some(Rule::LimitsOfStorage)
    }
}

impl Object {
    fn learn_sql(&mut self, op: &Op, expected: &Json, got: &Json) {
        let Some(query) = queries::text(op) else { return };
        let Some(table) = queries::written_table(&query) else { return };
        if is_within_sqlites_limits(op, expected, got) {
            self.other_tables.insert(table, Rule::SqliteAsItIs);
        } else if is_longer_than_the_longest(op, expected, got) {
            self.other_tables.insert(table, Rule::LimitsOfStorage);
        } else if is_too_deep(expected) {
            self.other_tables.insert(table, Rule::NothingBreaksTheObject);
        } else if queries::has_javascript(op) {
            self.other_tables.insert(table, Rule::JavaScriptValues);
        }
    }

    fn excuse_key_value(&mut self, op: &Op, expected: &Json, got: &Json) -> Option<Rule> {
        if is_empty_list(op, expected, got) || self.shadow.explains(op, expected, got) {
            return Some(Rule::LimitsOfStorage);
        }
        let is_foreign = matches!(op.action, Action::Get { key: Some(_), .. })
            && queries::keys(op).iter().any(|key| self.foreign_keys.contains(key));
        let others = [expected, got].map(|result| without_entries(result, &self.foreign_keys));
        (is_foreign || same(&others[0], &others[1])).then_some(Rule::JavaScriptValues)
    }

    fn excuse_sql(&self, op: &Op, mode: SqlMode, expected: &Json, got: &Json) -> Option<Rule> {
        let query = queries::text(op)?;
        let (kind, our_kind) = (error_kind(expected), error_kind(got));
        if queries::reads_the_user_version(&query)
            && kind == Some("sql_not_authorized")
            && is_schema_version(got)
        {
            return Some(Rule::OwnNotes);
        }
        if is_within_sqlites_limits(op, expected, got) {
            return Some(Rule::SqliteAsItIs);
        }
        if is_longer_than_the_longest(op, expected, got) {
            return Some(Rule::LimitsOfStorage);
        }
        if queries::formats_with_a_precision(&query) && same_shape(expected, got) {
            return Some(Rule::SqliteAsItIs);
        }
        let lacking =
            kind == Some("sql_error") && message(expected).starts_with("no such function");
        if (kind == Some("sql_not_authorized") || lacking)
            && matches!(our_kind, None | Some("sql_error"))
            && queries::calls_a_further_function(&query)
        {
            return Some(Rule::SqliteAsItIs);
        }
        if kind == Some("sql_error")
            && our_kind == Some("sql_not_authorized")
            && queries::uses_what_is_refused(&query)
        {
            return Some(Rule::SqliteAsItIs);
        }
        if is_own_tables(&query, expected, got) {
            return Some(Rule::OwnNotes);
        }
        if is_figure(&query, mode, expected, got) {
            return Some(Rule::Figures);
        }
        let tables = self.other_tables.iter();
        let schema = queries::reads_the_schema(&query);
        tables
            .filter(|(table, _)| schema || queries::mentions(&query, table))
            .map(|(_, rule)| *rule)
            .next()
    }
}

/// A limit of 0 gives nothing here and is refused there.
fn is_empty_list(op: &Op, expected: &Json, got: &Json) -> bool {
    let Action::List { opts } = &op.action else { return false };
    opts.get("limit").and_then(Json::as_f64).is_some_and(|limit| limit.floor() == 0.0)
        && error_kind(expected) == Some("type_error")
        && got.get("entries").and_then(Json::as_array).is_some_and(Vec::is_empty)
}

/// A list without the entries that have these keys.
fn without_entries(result: &Json, keys: &[String]) -> Json {
    let mut result = result.clone();
    if let Some(entries) = result.get_mut("entries").and_then(Json::as_array_mut) {
        entries.retain(|entry| entry.get(0).is_none_or(|key| !keys.contains(&key.to_string())));
    }
    result
}

/// Whether a limit of the reference's refused what SQLite by itself takes.
fn is_within_sqlites_limits(op: &Op, expected: &Json, got: &Json) -> bool {
    let Some(kind) = error_kind(expected) else { return false };
    let taken = match error_kind(got) {
        None => true,
        Some("sql_wrong_bindings") => kind == "sql_too_many_variables",
        Some(_) => false,
    };
    let of_names = || queries::text(op).is_some_and(|query| query.len() < 100_000);
    taken
        && (matches!(kind, "sql_limit" | "sql_too_many_variables")
            || is_too_deep(expected)
            || (kind == "too_big" && of_names()))
}

fn is_too_deep(expected: &Json) -> bool {
    message(expected).starts_with("triggers nested too deep")
}

fn message(result: &Json) -> &str {
    let message = result.get("error").and_then(|error| error.get("message"));
    message.and_then(Json::as_str).unwrap_or_default()
}

/// Between our longest string, 8 MiB, and the reference's, which is a few bytes longer.
fn is_longer_than_the_longest(op: &Op, expected: &Json, got: &Json) -> bool {
    const LONGEST: f64 = 8_388_608.0;
    error_kind(expected).is_none()
        && error_kind(got) == Some("too_big")
        && (LONGEST - 64.0..LONGEST + 64.0).contains(&queries::largest(op))
}

/// One row with one whole number: no case has migrations.
fn is_schema_version(got: &Json) -> bool {
    let row = got.get("rows").and_then(|rows| rows.get(0));
    let value = row.and_then(|row| row.get(0).or_else(|| row.get("user_version")));
    value.is_some_and(|value| same(value, &0.into()))
}

/// The same but for rows that name tables of the runtime.
fn is_own_tables(query: &str, expected: &Json, got: &Json) -> bool {
    let others = |result: &Json| {
        let mut result = result.clone();
        let rows = result.get_mut("rows").and_then(Json::as_array_mut)?;
        rows.retain(|row| !row.to_string().to_ascii_lowercase().contains("\"_cf_"));
        Some(result)
    };
    let same_others = || match (others(expected), others(got)) {
        (Some(expected), Some(got)) => same(&expected, &got),
        _ => false,
    };
    queries::reads_the_schema(query) && same_others()
}

/// Counters, plans and versions: of the same shape, with other numbers.
fn is_figure(query: &str, mode: SqlMode, expected: &Json, got: &Json) -> bool {
    let about_itself = matches!(mode, SqlMode::Counters | SqlMode::Counters0)
        || query.trim_start().starts_with("explain")
        || query.trim().ends_with("data_version");
    about_itself && same_shape(expected, got) && expected.get("columns") == got.get("columns")
}

fn same_shape(expected: &Json, got: &Json) -> bool {
    match (expected, got) {
        (Json::Number(_), Json::Number(_)) | (Json::Array(_), Json::Array(_)) => true,
        (Json::Object(expected), Json::Object(got)) => {
            expected.len() == got.len()
                && expected.iter().all(|(key, expected)| {
                    got.get(key).is_some_and(|got| same_shape(expected, got))
                })
        }
        (expected, got) => expected == got,
    }
}

/// A text of 59 characters there, and of another length here.
fn is_bookmark(expected: &Json, got: &Json) -> bool {
    *expected == json!({ "type": "string", "len": 59 }) && same_shape(expected, got)
}

/// The same size but for the exact number.
fn is_other_size(expected: &Json, got: &Json) -> bool {
    let rest = |size: &Json| {
        let mut size = size.clone();
        size.as_object_mut().and_then(|fields| fields.remove("exact"));
        size
    };
    same_shape(expected, got) && same(&rest(expected), &rest(got))
}
