//! From JSON to steps.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Call, Class, Ops, Script, Step, Wait, sockets};
use crate::value::LONE_SURROGATE;

impl From<Json> for Step {
    fn from(json: Json) -> Step {
        read_step(&json).unwrap_or_else(|| {
            let keys = json.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
            Step::NotYet(keys.unwrap_or_default().join("+"))
        })
    }
}

fn read_step(json: &Json) -> Option<Step> {
    let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let number = |key: &str| json.get(key).and_then(Json::as_u64);
    let is_true = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or_default();
    if json.get("call").is_some() {
        return read_call(json).map(Step::Call);
    }
    if let Some(calls) = json.get("par") {
        return calls.as_array()?.iter().map(read_call).collect::<Option<_>>().map(Step::Together);
    }
    if let Some(object) = text("parStub").or_else(|| text("seqStub")) {
        let call = |ops| {
            let (object, ops) = (object.clone(), read_ops(ops)?);
            Some(Call { object, class: Class::Main, unique: false, ops })
        };
        let calls = json.get("calls")?.as_array()?.iter().map(call).collect::<Option<_>>()?;
        return Some(Step::OnStub { together: json.get("parStub").is_some(), calls });
    }
    if let Some(ids) = json.get("id").and_then(Json::as_array) {
        return Some(Step::Ids(ids.clone()));
    }
    if let Some(object) = text("script") {
        let script = Script::deserialize(json).ok()?;
        return Some(Step::Script { object, script });
    }
    if let Some(client) = text("ws") {
        let step = sockets::read_step(json)?;
        return Some(Step::Client { client, step });
    }
    if let Some(object) = text("await_log") {
        let wait = Some(Wait::deserialize(json).ok()?);
        return Some(Step::Log { object, clear: is_true("clear"), wait });
    }
    if let Some(object) = text("log") {
        return Some(Step::Log { object, clear: is_true("clear"), wait: None });
    }
    if let Some(object) = text("evict") {
        return Some(Step::Evict(object));
    }
    if is_true("evictAll") {
        return Some(Step::EvictAll);
    }
    if is_true("abortAll") {
        return Some(Step::AbortAll);
    }
    if let Some(how) = json.get("restart") {
        return Some(Step::Restart { kill: how == "kill" });
    }
    if let Some(call) = json.get("bg") {
        let (call, id) = (read_call(call)?, text("id")?);
        return Some(Step::Begin { call, id, after: number("after").unwrap_or_default() });
    }
    if let Some(id) = text("join") {
        return Some(Step::Join(id));
    }
    let only_key = json.as_object().is_some_and(|fields| fields.len() == 1);
    number("sleep").filter(|_| only_key).map(Step::Sleep)
}

fn read_call(json: &Json) -> Option<Call> {
    let object = json.get("call")?.as_str()?.to_owned();
    let unique = json.get("unique").and_then(Json::as_bool).unwrap_or_default();
    let class = match json.get("ns") {
        None => Class::Main,
        Some(name) if name == "NOALARM" => Class::NoAlarm,
        Some(_) => return None,
    };
    Some(Call { object, class, unique, ops: read_ops(json.get("ops")?)? })
}

fn read_ops(json: &Json) -> Option<Ops> {
    Ops::deserialize(json).ok()
}

/// JSON may hold half a surrogate pair as `\ud800`; no Rust string may.
pub(super) fn mark_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut marked = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(backslash) = text[at..].find('\\').map(|offset| at + offset) {
        marked.push_str(&text[at..backslash]);
        let (escape, lone) = match (unit(backslash), unit(backslash + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (12, false),
            (Some(0xd800..0xe000), _) => (6, true),
            _ => (1 + text[backslash + 1..].chars().next().map_or(0, char::len_utf8), false),
        };
        if lone {
            marked.push(LONE_SURROGATE);
        } else {
            marked.push_str(&text[backslash..backslash + escape]);
        }
        at = backslash + escape;
    }
    marked.push_str(&text[at..]);
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;

    #[test]
    fn half_a_surrogate_pair_is_marked() {
        let text = r#"["\ud83d\ude00", "\ud800x", "\\ud800", "\udc00\n"]"#;
        let read: Vec<String> = serde_json::from_str(&mark_lone_surrogates(text)).unwrap();
        let lone = LONE_SURROGATE;
        assert_eq!(read, ["😀".into(), format!("{lone}x"), "\\ud800".into(), format!("{lone}\n")]);
    }

    #[test]
    fn what_is_unknown_is_not_yet() {
        let case = |steps: &str| {
            let text = format!(r#"{{"name": "n", "steps": [{steps}], "expect": []}}"#);
            serde_json::from_str::<Case>(&text).unwrap().not_yet()
        };
        assert_eq!(case(r#"{"call": "a", "ops": [{"op": "kv.list"}]}"#), None);
        assert_eq!(case(r#"{"quiet": "a"}"#).as_deref(), Some("step quiet"));
        let script = r#"{"script": "a", "ws": {"state": true}}"#;
        assert_eq!(case(script).as_deref(), Some("step script+ws"));
        assert_eq!(case(r#"{"ws": "c", "quiet": 9}"#).as_deref(), Some("step quiet+ws"));
        let message = r#"{"ws": "c", "send": "{\"ops\": [{\"op\": \"ws.all\"}]}"}"#;
        assert_eq!(case(message).as_deref(), Some("ws.all"));
        let nested = r#"{"call": "a", "ops": [{"op": "bcw", "ops": [{"op": "ws.all"}]}]}"#;
        assert_eq!(case(nested).as_deref(), Some("ws.all"));
        let branch = r#"{"call": "a", "ops": [{"op": "par", "branches": [[{"op": "ws.all"}]]}]}"#;
        assert_eq!(case(branch).as_deref(), Some("ws.all"));
        let alarm = r#"{"script": "a", "alarm": [[], [{"op": "ws.all"}]]}"#;
        assert_eq!(case(alarm).as_deref(), Some("ws.all"));
        let constructor = r#"{"script": "a", "ctor": {"ops": [{"op": "ws.all"}]}}"#;
        assert_eq!(case(constructor).as_deref(), Some("ws.all"));
    }
}
