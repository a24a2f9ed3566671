//! What a rule needs to know of a query: a few words of its text.

use serde_json::Value as Json;

use crate::case::{Action, Op};
use crate::value::{LONE_SURROGATE, Value};

/// Functions that SQLite has and the reference does not offer. None reads or changes anything outside
/// the query (nobody listens to `sqlite_log`).
const FUNCTIONS: [&str; 24] = [
    "fts5_source_id",
    "if",
    "json_array_insert",
    "json_pretty",
    "jsonb_array_insert",
    "jsonb_group_array",
    "jsonb_group_object",
    "median",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "power",
    "rtreecheck",
    "rtreedepth",
    "rtreenode",
    "soundex",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlite_source_id",
    "sqlite_version",
    "subtype",
    "unistr",
    "unistr_quote",
];

/// What the reference's SQLite does not have, and ours has and refuses.
const REFUSED: [&str; 4] = ["bytecode", "dbstat", "fts3_tokenizer", "sqlite_stmt"];

/// The text of a query in lower case, as far as any rule could need it.
pub(super) fn text(op: &Op) -> Option<String> {
    const CHARS_MAX: usize = 100_000;
    let Action::Sql { query, .. } = &op.action else { return None };
    let query = Value::read(query);
    Some(query.text()?.chars().take(CHARS_MAX).collect::<String>().to_ascii_lowercase())
}

/// Whether it calls one of the [`FUNCTIONS`].
pub(super) fn calls_a_further_function(query: &str) -> bool {
    FUNCTIONS.iter().any(|name| {
        let start = query.find(&format!("{name}("));
        start.is_some_and(|at| !query[..at].ends_with(is_name))
    })
}

/// Whether it uses what is [`REFUSED`].
pub(super) fn uses_what_is_refused(query: &str) -> bool {
    REFUSED.iter().any(|name| mentions(query, name))
}

/// Whether it reads `PRAGMA user_version`.
pub(super) fn reads_the_user_version(query: &str) -> bool {
    let query = query.trim().trim_end_matches(';').trim();
    matches!(query, "pragma user_version" | "pragma main.user_version")
        || (query.starts_with("select") && mentions(query, "pragma_user_version"))
}

/// Whether it formats with a precision, which the reference's SQLite cuts at 100,000.
pub(super) fn formats_with_a_precision(query: &str) -> bool {
    query.contains("%.*")
}

/// Whether it looks at the names of all tables.
pub(super) fn reads_the_schema(query: &str) -> bool {
    ["sqlite_master", "sqlite_schema", "pragma_table_info", "pragma_table_list", "table_list"]
        .iter()
        .any(|name| mentions(query, name))
}

/// The table that a statement makes or writes to.
pub(super) fn written_table(query: &str) -> Option<String> {
    let words: Vec<&str> = query.split(|c: char| !is_name(c)).filter(|w| !w.is_empty()).collect();
    let after = |keyword: &str| {
        let at = words.iter().position(|word| *word == keyword)?;
        words[at + 1..].iter().find(|word| !["if", "not", "exists"].contains(word))
    };
    let found = match words.first()? {
        &"create" => after("on").or_else(|| after("table")),
        &"insert" | &"replace" => after("into"),
        &"alter" => after("table"),
        &"update" => words.get(1),
        &"delete" => after("from"),
        _ => None,
    };
    found.map(|name| (*name).to_owned())
}

/// Whether a name occurs as a word of its own.
pub(super) fn mentions(query: &str, name: &str) -> bool {
    query.split(|c: char| !is_name(c)).any(|word| word == name)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The keys of an operation, as a recording shows them.
pub(super) fn keys(op: &Op) -> Vec<String> {
    let keys = match &op.action {
        Action::Put { entries: Some(entries), .. } => match Value::read(entries) {
            Value::Object(entries) => {
                entries.into_iter().map(|(key, _)| Value::Text(key)).collect()
            }
            _ => Vec::new(),
        },
        Action::Get { key, keys } | Action::Delete { key, keys } => {
            let listed = keys.as_ref().map(Value::read);
            let listed = listed.as_ref().map(Value::list).unwrap_or_default().iter().cloned();
            key.as_ref().map(Value::read).into_iter().chain(listed).collect()
        }
        Action::Put { key: Some(key), .. } => vec![Value::read(key)],
        _ => Vec::new(),
    };
    // A key of another type is a string there.
    let shown = |key: &Value| match key.record() {
        text @ (Json::String(_) | Json::Object(_)) => text.to_string(),
        other => Json::String(other.to_string().trim_end_matches(".0").into()).to_string(),
    };
    keys.iter().map(shown).collect()
}

/// The largest number in a query or among its parameters, and the largest parameter, in bytes.
pub(super) fn largest(op: &Op) -> f64 {
    let Action::Sql { params, .. } = &op.action else { return 0.0 };
    let params = Value::read(params);
    let params = params.list().iter().map(|value| match value {
        Value::Number(number) => *number,
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        value => value.bytes() as f64,
    });
    let query = text(op).unwrap_or_default();
    let literals = query.split(|c: char| !is_name(c)).filter_map(|word| word.parse().ok());
    params.chain(literals).fold(0.0, f64::max)
}

/// Whether an operation has a value that only JavaScript has, or one where Rust's types take another.
pub(super) fn has_javascript(op: &Op) -> bool {
    let is_string = |json: &Json| matches!(Value::read(json), Value::Text(_));
    let coerced = match &op.action {
        Action::Get { key: Some(key), .. }
        | Action::Put { key: Some(key), .. }
        | Action::Delete { key: Some(key), .. } => !is_string(key),
        Action::Get { keys: Some(keys), .. } | Action::Delete { keys: Some(keys), .. } => {
            !Value::read(keys).list().iter().all(|key| matches!(key, Value::Text(_)))
        }
        Action::List { opts } => ["start", "startAfter", "end", "prefix"]
            .iter()
            .filter_map(|bound| opts.get(bound))
            .any(|bound| !is_string(bound)),
        Action::Sql { params, .. } => Value::read(params).list().iter().any(|value| match value {
            Value::List(_) => true,
            Value::Object(_) => !value.is_undefined(),
            _ => false,
        }),
        _ => false,
    };
    coerced || is_javascript(&op.json)
}

fn is_javascript(json: &Json) -> bool {
    /// Tags of ordinary values, and of those that are written short.
    const ORDINARY: [&str; 9] =
        ["blob", "cat", "fill", "keylist", "keys", "num", "rep", "undefined", "zeros"];
    match json {
        Json::Object(fields) => {
            let tag = fields.get("$").and_then(Json::as_str);
            tag.is_some_and(|tag| !ORDINARY.contains(&tag)) || fields.values().any(is_javascript)
        }
        Json::Array(values) => values.iter().any(is_javascript),
        Json::String(text) => text.contains(LONE_SURROGATE),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_functions() {
        assert_eq!(written_table("create table t(a)").as_deref(), Some("t"));
        assert_eq!(written_table("create table if not exists t2 (a)").as_deref(), Some("t2"));
        assert_eq!(written_table("create index i on t(a)").as_deref(), Some("t"));
        assert_eq!(written_table("insert or ignore into t values(1)").as_deref(), Some("t"));
        assert_eq!(written_table("select * from t"), None);
        assert!(calls_a_further_function("select if(1, 2, 3)"));
        assert!(!calls_a_further_function("select iif(1, 2, 3), nullif(1, 2)"));
        assert!(!calls_a_further_function("select load_extension('x')"));
        assert!(reads_the_user_version("pragma main.user_version"));
        assert!(!reads_the_user_version("pragma user_version=5"));
    }
}
