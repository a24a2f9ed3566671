//! Compares what a case gave with what was recorded.
//!
//! Results are compared operation by operation. Numbers are equal as `f64`, errors if they are of one
//! kind and agree on whether the object was reset; the message counts where the script itself threw it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::case::{Action, Call, Case, Op, Step};
use crate::differences::{Facts, Rule};

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// What differs without a rule.
    pub mismatches: Vec<Mismatch>,
    /// The rules under which something differs.
    pub rules: BTreeSet<Rule>,
}

/// A result that is not the recorded one.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Where: `step 1, op 2`.
    pub place: String,
    /// What was done, as the case writes it.
    pub done: String,
    /// What was recorded.
    pub expected: Json,
    /// What came.
    pub got: Json,
}

/// The longest list that a recording shows whole.
const LIST_SHOWN_MAX: usize = 64;

/// The fields that hold an error.
const ERRORS: [&str; 4] = ["error", "throws", "threw", "promise_error"];

/// The field of an error that says that the object was reset.
pub(crate) const RESET: &str = "durableObjectReset";

/// Compares all results of a case.
pub(crate) fn compare(case: &Case, results: &[Json]) -> Comparison {
    let mut comparer = Comparer { facts: Facts::default(), found: Comparison::default() };
    for (index, (step, expected)) in case.steps.iter().zip(&case.expect).enumerate() {
        let got = results.get(index).unwrap_or(&Json::Null);
        comparer.step(&format!("step {index}"), step, expected, got);
    }
    comparer.found
}

/// Whether two results are the same.
pub(crate) fn same(expected: &Json, got: &Json) -> bool {
    match (expected, got) {
        (Json::Number(expected), Json::Number(got)) => expected.as_f64() == got.as_f64(),
        (Json::Array(expected), Json::Array(got)) => {
            expected.len() == got.len()
                && expected.iter().zip(got).all(|(expected, got)| same(expected, got))
        }
        (Json::Object(_), Json::Array(list)) => same_ends(expected, list),
        (Json::Object(fields), Json::Object(got))
            if got.contains_key("entries") && fields.contains_key("last") =>
        {
            got["entries"].as_array().is_some_and(|list| same_ends(expected, list))
        }
        (Json::Object(expected), Json::Object(got)) => {
            expected.len() == got.len()
                && expected.iter().all(|(key, expected)| {
                    got.get(key).is_some_and(|got| same_field(key, expected, got))
                })
        }
        (expected, got) => expected == got,
    }
}

/// A recording shows a long list as its length, its first and its last entry.
fn same_ends(expected: &Json, got: &[Json]) -> bool {
    let (Some(first), Some(last)) = (got.first(), got.last()) else { return false };
    let ends = json!({ "n": got.len(), "first": first, "last": last });
    got.len() > LIST_SHOWN_MAX
        && expected.as_object().is_some_and(|fields| fields.len() == 3)
        && ["n", "first", "last"]
            .iter()
            .all(|key| expected.get(key).is_some_and(|expected| same(expected, &ends[key])))
}

fn same_field(key: &str, expected: &Json, got: &Json) -> bool {
    let kind = expected.get("kind").filter(|_| ERRORS.contains(&key));
    let Some(kind) = kind else { return same(expected, got) };
    let by_script = kind == "user";
    Some(kind) == got.get("kind")
        && expected.get(RESET) == got.get(RESET)
        && (!by_script || expected.get("message") == got.get("message"))
}

/// The kind of the error that a result is.
pub(crate) fn error_kind(result: &Json) -> Option<&str> {
    error_of(result)?.get("kind")?.as_str()
}

/// Whether a result is an error with which the object was reset.
pub(crate) fn is_reset(result: &Json) -> bool {
    error_of(result).is_some_and(|error| error.get(RESET).is_some())
}

fn error_of(result: &Json) -> Option<&Json> {
    let fields = result.as_object()?;
    ERRORS.iter().find_map(|key| fields.get(*key))
}

struct Comparer {
    facts: Facts,
    found: Comparison,
}

impl Comparer {
    fn step(&mut self, place: &str, step: &Step, expected: &Json, got: &Json) {
        match step {
            Step::Call(call) => self.call(place, call, expected, got),
            Step::Together(calls) | Step::OnStub { calls, .. } => {
                let lists = (expected.as_array(), got.as_array());
                let (Some(expected), Some(got)) = lists else {
                    return self.differs(place, &"the step", expected, got);
                };
                for (index, call) in calls.iter().enumerate() {
                    let of = |list: &[Json]| list.get(index).cloned().unwrap_or_default();
                    let place = format!("{place}, call {index}");
                    self.call(&place, call, &of(expected), &of(got));
                }
                if expected.len() != got.len() || expected.len() != calls.len() {
                    self.differs(place, &"the step", &expected.len().into(), &got.len().into());
                }
            }
            Step::Ids(ops) => self.ids(place, ops, expected, got),
            _ if same(expected, got) => {}
            _ => self.differs(place, &"the step", expected, got),
        }
    }

    fn call(&mut self, place: &str, call: &Call, expected: &Json, got: &Json) {
        // Objects with an id of their own share nothing.
        let object = if call.unique { place } else { &call.object };
        self.results(place, object, &call.ops, expected, got);
    }

    /// Compares `{"results": [..], "threw"?, "returned"?}`.
    fn results(&mut self, place: &str, object: &str, ops: &[Op], expected: &Json, got: &Json) {
        let lists = |result: &Json| result.get("results").and_then(Json::as_array).cloned();
        let (Some(wanted), Some(given)) = (lists(expected), lists(got)) else {
            return self.differs(place, &"the call", expected, got);
        };
        for index in 0..wanted.len().max(given.len()) {
            let place = format!("{place}, op {index}");
            match (ops.get(index), wanted.get(index), given.get(index)) {
                (Some(op), Some(expected), Some(got)) => {
                    self.op(&place, object, op, expected, got);
                }
                (op, expected, got) => {
                    let none = Json::from("(nothing)");
                    let (expected, got) = (expected.unwrap_or(&none), got.unwrap_or(&none));
                    let done = op.map_or("(no operation)".into(), |op| op.json.to_string());
                    self.differs(&place, &done, expected, got);
                }
            }
        }
        let (expected, got) = (without_results(expected), without_results(got));
        if !same(&expected, &got) {
            match self.facts.excuse_end(object, &expected, &got) {
                Some(rule) => _ = self.found.rules.insert(rule),
                None => self.differs(place, &"the end of the call", &expected, &got),
            }
        }
    }

    fn op(&mut self, place: &str, object: &str, op: &Op, expected: &Json, got: &Json) {
        if let (Some(expected), Some(got)) = (expected.get("promise"), got.get("promise")) {
            return self.op(place, object, op, expected, got);
        }
        let have_results = expected.get("results").is_some() && got.get("results").is_some();
        if have_results && !op.inner().is_empty() {
            let object = match &op.action {
                Action::Call { obj, .. } => obj,
                _ => object,
            };
            return self.results(place, object, op.inner(), expected, got);
        }
        if let (Action::Branches { branches }, Some(expected), Some(got)) =
            (&op.action, expected.as_array(), got.as_array())
            && expected.len() == got.len()
        {
            for (index, (ops, (expected, got))) in
                branches.iter().zip(expected.iter().zip(got)).enumerate()
            {
                self.results(&format!("{place}, branch {index}"), object, ops, expected, got);
            }
            return;
        }
        self.facts.learn(object, op, expected, got);
        if same(expected, got) {
            return;
        }
        match self.facts.excuse(object, op, expected, got) {
            Some(rule) => _ = self.found.rules.insert(rule),
            None => self.differs(place, &op.json, expected, got),
        }
    }

    fn ids(&mut self, place: &str, ops: &[Json], expected: &Json, got: &Json) {
        for (index, op) in ops.iter().enumerate() {
            let of = |list: &Json| list.get(index).cloned().unwrap_or_else(|| "(nothing)".into());
            let (expected, got) = (of(expected), of(got));
            if !same(&expected, &got) {
                match Facts::excuse_id(op, &expected, &got) {
                    Some(rule) => _ = self.found.rules.insert(rule),
                    None => self.differs(&format!("{place}, op {index}"), op, &expected, &got),
                }
            }
        }
        let lengths = (expected.as_array().map(Vec::len), got.as_array().map(Vec::len));
        if lengths.0 != lengths.1 {
            self.differs(place, &"the list of results", expected, got);
        }
    }

    fn differs(&mut self, place: &str, done: &dyn std::fmt::Display, expected: &Json, got: &Json) {
        self.found.mismatches.push(Mismatch {
            place: place.to_owned(),
            done: done.to_string(),
            expected: expected.clone(),
            got: got.clone(),
        });
    }
}

fn without_results(result: &Json) -> Json {
    let fields = result.as_object().into_iter().flatten();
    let fields = fields.filter(|(key, _)| *key != "results");
    Json::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_floats() {
        assert!(same(&json!({ "a": [1] }), &json!({ "a": [1.0] })));
        assert!(!same(&json!(1), &json!("1")));
        assert!(!same(&json!({ "a": 1 }), &json!({ "a": 1, "b": 2 })));
        assert!(!same(&json!([1, 2]), &json!([1])));
    }

    #[test]
    fn long_lists_are_their_ends() {
        let list: Vec<usize> = (0..100).collect();
        let ends = |n, last| json!({ "n": n, "first": 0, "last": last });
        assert!(same(&ends(100, 99), &json!(list)));
        assert!(same(&ends(100, 99), &json!({ "entries": list })));
        assert!(!same(&ends(99, 99), &json!(list)));
        assert!(!same(&ends(100, 98), &json!({ "entries": list })));
    }

    #[test]
    fn errors_are_their_kind() {
        let error = |kind, message| json!({ "error": { "kind": kind, "message": message } });
        assert!(same(&error("sql_error", "this"), &error("sql_error", "that")));
        assert!(!same(&error("sql_error", "this"), &error("sql_limit", "this")));
        assert!(!same(&error("user", "boom"), &error("user", "bang")));
        assert!(!same(&error("sql_error", "this"), &json!({ "rows": [] })));
        let reset = json!({ "error": { "kind": "user", "message": "boom", RESET: true } });
        assert!(!same(&error("user", "boom"), &reset) && !same(&reset, &error("user", "boom")));
        let thrown = json!({ "throws": { "kind": "user", "message": "boom" } });
        assert!(!same(&error("user", "boom"), &thrown));
    }
}
