//! Operations on ids, outside any object.

use std::collections::HashMap;

use durable::{Namespace, ObjectId};
use serde_json::{Value as Json, json};

use crate::errors;
use crate::object::{NoAlarm, Replayer};
use crate::value::Value;

/// The operations that there are.
pub(crate) const KINDS: [&str; 7] =
    ["fromName", "unique", "fromString", "equals", "sameString", "get", "getByName"];

/// An id of whatever class: its bytes, and the name that it knows.
#[derive(Clone, Debug)]
pub(crate) struct AnyId {
    bytes: [u8; 32],
    text: String,
    name: Option<String>,
}

impl<T> From<&ObjectId<T>> for AnyId {
    fn from(id: &ObjectId<T>) -> Self {
        let name = id.name().map(str::to_owned);
        AnyId { bytes: *id.as_bytes(), text: id.to_string(), name }
    }
}

impl AnyId {
    fn shown_name(&self) -> Json {
        shown(self.name.as_deref())
    }
}

/// Does one operation; an id that gets a label is kept under it.
pub(crate) fn perform(
    op: &Json,
    main: &Namespace<Replayer>,
    other: &Namespace<NoAlarm>,
    ids: &mut HashMap<String, AnyId>,
) -> Json {
    let result = try_perform(op, main, other, ids);
    result.unwrap_or_else(|error| json!({ "error": errors::record(&error) }))
}

fn try_perform(
    op: &Json,
    main: &Namespace<Replayer>,
    other: &Namespace<NoAlarm>,
    ids: &mut HashMap<String, AnyId>,
) -> durable::Result<Json> {
    let text = |key: &str| {
        let value = op.get(key).map_or(Value::Null, Value::read);
        value.text().unwrap_or_default().to_owned()
    };
    let known = |key: &str| {
        let missing = || durable::Error::other(format_args!("no id is called {:?}", text(key)));
        ids.get(&text(key)).cloned().ok_or_else(missing)
    };
    match op.get("op").and_then(Json::as_str).unwrap_or_default() {
        "fromName" => {
            let name = text("name");
            let id = match op.get("ns") {
                None => AnyId::from(&main.id_from_name(&name)?),
                Some(_) => AnyId::from(&other.id_from_name(&name)?),
            };
            Ok(described(ids, text("as"), id))
        }
        "unique" => Ok(described(ids, text("as"), AnyId::from(&main.unique_id()?))),
        "fromString" => {
            let original = op.get("of").map(|_| known("of")).transpose()?;
            let given = original.as_ref().map_or_else(|| text("s"), |id| id.text.clone());
            let given = mutated(&given, op.get("mutate"));
            let id = AnyId::from(&main.id_from_string(&given)?);
            let result = json!({
                "len": id.text.len(),
                "name": id.shown_name(),
                "same": original.map(|original| original.bytes == id.bytes),
                "roundtrip": id.text == given,
            });
            ids.insert(text("as"), id);
            Ok(result)
        }
        "equals" => Ok(json!(known("a")?.bytes == known("b")?.bytes)),
        "sameString" => Ok(json!(known("a")?.text == known("b")?.text)),
        "get" => {
            let id = known("id")?;
            let full = match &id.name {
                Some(name) => main.id_from_name(name)?,
                None => main.id_from_string(&id.text)?,
            };
            let stub = main.get(&full);
            let equal = AnyId::from(stub.id()).bytes == id.bytes;
            Ok(json!({ "name": shown(stub.name()), "idEquals": equal }))
        }
        "getByName" => {
            let name = text("name");
            let id = main.id_from_name(&name)?;
            let stub = main.get_by_name(&name);
            Ok(json!({ "name": shown(stub.name()), "idEqualsFromName": *stub.id() == id }))
        }
        unknown => {
            let message = format_args!("there is no operation {unknown:?} on ids");
            Err(durable::Error::other(message))
        }
    }
}

fn described(ids: &mut HashMap<String, AnyId>, label: String, id: AnyId) -> Json {
    let hex = id.text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let result = json!({ "len": id.text.len(), "hex": hex, "name": id.shown_name() });
    ids.insert(label, id);
    result
}

fn shown(name: Option<&str>) -> Json {
    name.map_or_else(|| Value::undefined().record(), Json::from)
}

/// The text of an id, damaged as a case asks for.
fn mutated(text: &str, mutations: Option<&Json>) -> String {
    let mutations = mutations.and_then(Json::as_array).into_iter().flatten();
    mutations.fold(text.to_owned(), |mut text, mutation| {
        let number = |json: &Json| json.as_u64().and_then(|at| usize::try_from(at).ok());
        if mutation.get("upper").is_some() {
            return text.to_uppercase();
        }
        if let Some(at) = mutation.get("flip").and_then(number) {
            let flipped = match text.get(at..=at) {
                Some("0") => "1",
                _ => "0",
            };
            text.replace_range(at..=at, flipped);
        }
        if let Some(more) = mutation.get("append").and_then(Json::as_str) {
            text.push_str(more);
        }
        if let Some(more) = mutation.get("prepend").and_then(Json::as_str) {
            text.insert_str(0, more);
        }
        let bounds = mutation.get("slice").and_then(Json::as_array).map(Vec::as_slice);
        match bounds {
            Some([start, end]) => {
                let range = number(start).unwrap_or(0)..number(end).unwrap_or(text.len());
                text.get(range).unwrap_or_default().to_owned()
            }
            _ => text,
        }
    })
}
