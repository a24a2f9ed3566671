//! Keys and values.

use durable::KvRange;
use serde_json::{Value as Json, json};

use super::{Failure, Outcome, Scope, Turn};
use crate::case::{Action, Op};
use crate::differences::Rule;
use crate::object::Interpreter;
use crate::value::Value;

impl<T: Interpreter> Turn<'_, T> {
    pub(super) fn key_value(&mut self, op: &Op) -> Outcome {
        let kv = self.ctx.kv();
        match &op.action {
            Action::Get { key: Some(key), .. } => {
                let value = kv.get::<Value>(&text(key)?)?.unwrap_or_else(Value::undefined);
                Ok(value.record())
            }
            Action::Get { keys, .. } => {
                let found = kv.get_many::<Value>(texts(keys.as_ref())?)?;
                Ok(record_entries(found))
            }
            Action::Put { entries: Some(entries), .. } => {
                let Value::Object(entries) = Value::read(entries) else {
                    return Err(Failure::error("type_error", "entries are an object"));
                };
                let entries = entries.into_iter().filter(|(_, value)| !value.is_undefined());
                kv.put_many(entries)?;
                Ok(Json::Null)
            }
            Action::Put { key, value, .. } => {
                let value = Value::read(value);
                if value.is_undefined() {
                    return Err(Failure::error("type_error", "there is nothing to put"));
                }
                kv.put(&text(key.as_ref().unwrap_or(&Json::Null))?, &value)?;
                Ok(Json::Null)
            }
            Action::Delete { key: Some(key), .. } => Ok(json!(kv.delete(&text(key)?)?)),
            Action::Delete { keys, .. } => Ok(json!(kv.delete_many(texts(keys.as_ref())?)?)),
            Action::List { opts } => {
                let found = kv.list::<Value>(range(opts)?)?.collect::<durable::Result<Vec<_>>>()?;
                Ok(record_entries(found))
            }
            _ => Ok(Json::Null),
        }
    }

    pub(super) fn delete_all(&mut self, scope: Scope) -> Outcome {
        if scope != Scope::Call && self.emulates(Rule::NothingBreaksTheObject) {
            self.delete_all_later = scope == Scope::Transaction;
            return match scope {
                Scope::Transaction => Ok(Json::Null),
                _ => Err(Failure::error("error", "deleteAll in a transaction")),
            };
        }
        self.ctx.delete_all()?;
        Ok(Json::Null)
    }
}

/// A key. Rust's types take nothing but strings.
fn text(json: &Json) -> Result<String, Failure> {
    match Value::read(json) {
        Value::Text(text) => Ok(text),
        _ => Err(Failure::error("type_error", "a key is a string")),
    }
}

fn texts(json: Option<&Json>) -> Result<Vec<String>, Failure> {
    let keys = json.map_or(Value::Null, Value::read);
    let keys = keys.list().iter().map(|key| key.text().map(str::to_owned));
    let keys = keys.collect::<Option<_>>();
    keys.ok_or_else(|| Failure::error("type_error", "keys are strings"))
}

fn range(options: &Json) -> Result<KvRange, Failure> {
    let mut range = KvRange::new();
    let given = |name: &str| options.get(name).filter(|value| !Value::read(value).is_undefined());
    for (name, set) in [
        ("start", KvRange::start as fn(KvRange, String) -> KvRange),
        ("startAfter", KvRange::start_after),
        ("end", KvRange::end),
        ("prefix", KvRange::with_prefix),
    ] {
        if let Some(bound) = given(name) {
            range = set(range, text(bound)?);
        }
    }
    if options.get("reverse").and_then(Json::as_bool).unwrap_or_default() {
        range = range.reverse();
    }
    match given("limit") {
        Some(limit) => Ok(range.limit(whole(limit)?)),
        None => Ok(range),
    }
}

/// A count, from what JavaScript takes as one.
fn whole(json: &Json) -> Result<usize, Failure> {
    let number = match Value::read(json) {
        Value::Number(number) => Some(number),
        Value::Text(digits) => digits.parse().ok(),
        _ => None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut, as there")]
    match number {
        Some(number) if number >= 0.0 => Ok(number as usize),
        _ => Err(Failure::error("type_error", "a limit is a whole number")),
    }
}

fn record_entries(entries: impl IntoIterator<Item = (String, Value)>) -> Json {
    let entries = entries.into_iter();
    let entries = entries.map(|(key, value)| json!([Value::Text(key).record(), value.record()]));
    json!({ "entries": entries.collect::<Vec<_>>() })
}
