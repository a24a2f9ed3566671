//! Entries that the reference has stored and this version has refused as too large.

use std::collections::BTreeMap;

use durable::{KV_BATCH_KEYS_MAX, KV_ENTRY_BYTES_MAX, KV_KEY_BYTES_MAX};
use serde_json::{Value as Json, json};

use super::queries::keys;
use crate::case::{Action, Op};
use crate::compare::{error_kind, same};
use crate::value::Value;

/// What stands before a value when it is stored.
const HEAD_BYTES: usize = 6;

/// The entries, by key, as a recording shows them.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    entries: BTreeMap<String, Json>,
}

impl Shadow {
    /// To be told of each put that went as recorded.
    pub(super) fn stored(&mut self, op: &Op) {
        for (key, _) in entries(op) {
            self.entries.remove(&key);
        }
    }

    /// Whether a result is the recorded one but for these entries.
    pub(super) fn explains(&mut self, op: &Op, expected: &Json, got: &Json) -> bool {
        let refused = error_kind(got) == Some("too_big");
        match &op.action {
            Action::Put { .. } => {
                let explained = refused && is_over_a_limit(op) && expected.is_null();
                if explained {
                    let shown = |(key, value): (String, Value)| (key, value.record());
                    self.entries.extend(entries(op).into_iter().map(shown));
                }
                explained
            }
            Action::Get { key: Some(_), .. } => {
                let there = keys(op).first().and_then(|key| self.entries.get(key)).cloned();
                let there = there.unwrap_or_else(|| Value::undefined().record());
                let absent = *got == Value::undefined().record();
                same(expected, &there) && (absent || (refused && is_over_a_limit(op)))
            }
            Action::Delete { key: Some(_), .. } => {
                let there = self.remove(op) == 1;
                *expected == json!(there) && (*got == json!(false) || refused)
            }
            Action::Delete { .. } => {
                let here = if refused { Some(0) } else { got.as_u64() };
                here.is_some_and(|here| same(expected, &json!(here + self.remove(op))))
            }
            Action::Get { .. } => {
                let wanted = keys(op);
                let found = self.entries.iter().filter(|(key, _)| wanted.contains(key));
                let here = if refused { Some(Vec::new()) } else { entries_of(got) };
                here.is_some_and(|here| same(expected, &merged(here, found)))
            }
            Action::List { .. } => {
                let here = if refused { Some(Vec::new()) } else { entries_of(got) };
                let Some(listed) = entries_of(expected) else { return false };
                let found = self.entries.iter();
                let found =
                    found.filter(|(key, _)| listed.iter().any(|entry| key_of(entry) == **key));
                here.is_some_and(|here| same(&sorted(listed.clone()), &merged(here, found)))
            }
            _ => false,
        }
    }

    /// Forgets the keys of an operation; gives how many there were.
    fn remove(&mut self, op: &Op) -> u64 {
        keys(op).iter().map(|key| u64::from(self.entries.remove(key).is_some())).sum()
    }
}

/// The entries of a put.
fn entries(op: &Op) -> Vec<(String, Value)> {
    match &op.action {
        Action::Put { entries: Some(entries), .. } => match Value::read(entries) {
            Value::Object(entries) => {
                let shown = |(key, value)| (Value::Text(key).record().to_string(), value);
                entries.into_iter().map(shown).collect()
            }
            _ => Vec::new(),
        },
        Action::Put { value, .. } => {
            keys(op).into_iter().map(|key| (key, Value::read(value))).collect()
        }
        _ => Vec::new(),
    }
}

fn is_over_a_limit(op: &Op) -> bool {
    let keys = keys(op);
    let bytes = |key: &String| {
        let key: Json = serde_json::from_str(key).unwrap_or_default();
        let hashed =
            key.get("bytes").and_then(Json::as_u64).and_then(|bytes| bytes.try_into().ok());
        hashed.or_else(|| key.as_str().map(str::len)).unwrap_or_default()
    };
    keys.len() > KV_BATCH_KEYS_MAX
        || keys.iter().any(|key| bytes(key) > KV_KEY_BYTES_MAX)
        || entries(op)
            .iter()
            .any(|(key, value)| bytes(key) + value.bytes() + HEAD_BYTES > KV_ENTRY_BYTES_MAX)
}

fn entries_of(result: &Json) -> Option<Vec<Json>> {
    result.get("entries")?.as_array().cloned()
}

fn key_of(entry: &Json) -> String {
    entry.get(0).map(Json::to_string).unwrap_or_default()
}

/// The entries here and those that are not, as a list in the order of their keys.
fn merged<'a>(mut here: Vec<Json>, absent: impl Iterator<Item = (&'a String, &'a Json)>) -> Json {
    for (key, value) in absent {
        let key: Json = serde_json::from_str(key).unwrap_or_default();
        here.push(json!([key, value]));
    }
    sorted(here)
}

fn sorted(mut entries: Vec<Json>) -> Json {
    entries.sort_by_key(key_of);
    json!({ "entries": entries })
}
