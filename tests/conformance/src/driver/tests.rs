use serde_json::json;

use super::*;
use crate::compare::RESET;
use crate::{CaseFile, own_files};

/// Everything that can be changed in a result: each time one thing.
fn mutations(result: &Json) -> Vec<Json> {
    match result {
        Json::Null => vec![json!("not null")],
        Json::Bool(value) => vec![json!(!value)],
        Json::Number(number) => {
            vec![json!(number.as_f64().unwrap_or_default() + 1e300), Json::Null]
        }
        Json::String(text) => vec![json!(format!("{text}~")), Json::Null],
        Json::Array(values) => of_a_list(values),
        Json::Object(fields) => {
            fields.iter().flat_map(|(key, value)| of_a_field(fields, key, value)).collect()
        }
    }
}

fn of_a_list(values: &[Json]) -> Vec<Json> {
    let changed = values.iter().enumerate().flat_map(|(index, value)| {
        mutations(value).into_iter().map(move |mutation| {
            let mut values = values.to_vec();
            values[index] = mutation;
            Json::Array(values)
        })
    });
    let shorter = (0..values.len()).map(|index| {
        let mut values = values.to_vec();
        values.remove(index);
        Json::Array(values)
    });
    let longer = [values, &[json!("one more")]].concat();
    changed.chain(shorter).chain([Json::Array(longer)]).collect()
}

fn of_a_field(fields: &serde_json::Map<String, Json>, key: &str, value: &Json) -> Vec<Json> {
    let with = |value: Json| {
        let mut fields = fields.clone();
        fields.insert(key.to_owned(), value);
        Json::Object(fields)
    };
    let mut without = fields.clone();
    without.remove(key);
    let is_error = value.get("kind").is_some();
    let mutated = if is_error { of_an_error(value) } else { mutations(value) };
    mutated.into_iter().map(with).chain([Json::Object(without)]).collect()
}

/// The kind counts, whether the object was reset, and the message of what the script threw.
fn of_an_error(error: &Json) -> Vec<Json> {
    let with = |field: &str, value: &str| {
        let mut error = error.clone();
        error[field] = value.into();
        error
    };
    let mut reset = error.clone();
    reset[RESET] = (error.get(RESET).is_none()).into();
    let mut mutated = vec![with("kind", "another_kind"), json!("no error"), reset];
    if error["kind"] == "user" {
        mutated.push(with("message", "another message"));
    }
    mutated
}

/// How many changes of the recorded results go unnoticed.
fn unnoticed(case: &Case, results: &[Json]) -> usize {
    let mut unnoticed = 0;
    for step in 0..case.expect.len() {
        for mutation in mutations(&case.expect[step]) {
            let mut mutated = case.clone();
            mutated.expect[step] = mutation;
            if compare(&mutated, results).mismatches.is_empty() {
                unnoticed += 1;
            }
        }
    }
    unnoticed
}

/// A rule may hide no more than the result that it is about. The bounds are what the rules need today; a case
/// that passes has some only where a rule would look at it, had something else been recorded: a query
/// plan and lists of tables.
#[tokio::test]
async fn every_change_of_a_recorded_result_is_noticed() {
    let mut driver = Driver::start().await.unwrap();
    let (mut changes, mut in_passed, mut in_differing) = (0, 0, 0);
    for path in own_files() {
        for case in CaseFile::read(&path).unwrap().cases {
            let (verdict, results) = driver.judge(&case).await;
            changes += case.expect.iter().map(|result| mutations(result).len()).sum::<usize>();
            match verdict {
                Verdict::Passed => in_passed += unnoticed(&case, &results),
                Verdict::Differs(_) => in_differing += unnoticed(&case, &results),
                Verdict::Failed(_) | Verdict::NotYet(_) => {}
            }
        }
    }
    driver.shut_down().await.unwrap();
    assert!(changes > 21_000, "{changes}");
    assert!(in_passed <= 126, "{in_passed}");
    assert!(in_differing <= 157, "{in_differing}");
}
