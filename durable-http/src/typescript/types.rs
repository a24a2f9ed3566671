//! From a JSON schema to a type. What has no type in TypeScript becomes a wider one, never a narrower.

use serde_json::{Map, Value};

use crate::described::DEFINITIONS;

/// The type of the values that a schema allows.
pub(super) fn type_of(schema: &Value) -> String {
    match schema {
        Value::Bool(false) => "never".to_owned(),
        Value::Object(schema) => of_object(schema),
        _ => "unknown".to_owned(),
    }
}

/// A schema says several things at once, and all of them hold.
fn of_object(schema: &Map<String, Value>) -> String {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let mut parts = Vec::new();
    if let Some(Value::String(name)) = schema.get("$ref") {
        let name = name.strip_prefix(DEFINITIONS).unwrap_or(name);
        parts.push(format!("Types.{}", identifier(name)));
    }
    if let Some(value) = schema.get("const") {
        parts.push(literal(value));
    } else if let Some(values) = list("enum") {
        parts.push(either(values.iter().map(literal)));
    } else if let Some(type_) = of_type(schema) {
        parts.push(type_);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(schemas) = list(key) {
            parts.push(either(schemas.iter().map(type_of)));
        }
    }
    if let Some(schemas) = list("allOf") {
        parts.extend(schemas.iter().map(type_of));
    }
    parts.retain(|part| part != "unknown");
    match parts.as_slice() {
        [] => "unknown".to_owned(),
        [part] => part.clone(),
        parts => parts.iter().map(|part| in_brackets(part)).collect::<Vec<_>>().join(" & "),
    }
}

/// What `type` says, and what belongs to it.
fn of_type(schema: &Map<String, Value>) -> Option<String> {
    match schema.get("type") {
        Some(Value::String(name)) => Some(named(name, schema)),
        Some(Value::Array(names)) => {
            Some(either(names.iter().filter_map(Value::as_str).map(|name| named(name, schema))))
        }
        // An object whose fields stand beside the variants of an enum.
        _ => schema.contains_key("properties").then(|| named("object", schema)),
    }
}

fn named(name: &str, schema: &Map<String, Value>) -> String {
    match name {
        "integer" | "number" => "number".to_owned(),
        "string" | "boolean" | "null" => name.to_owned(),
        "array" => array(schema),
        "object" => object(schema),
        _ => "unknown".to_owned(),
    }
}

fn array(schema: &Map<String, Value>) -> String {
    if let Some(Value::Array(items)) = schema.get("prefixItems") {
        return format!("[{}]", items.iter().map(type_of).collect::<Vec<_>>().join(", "));
    }
    let item = schema.get("items").map_or_else(|| "unknown".to_owned(), type_of);
    format!("{}[]", in_brackets(&item))
}

fn object(schema: &Map<String, Value>) -> String {
    let required: Vec<_> = match schema.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut fields = Vec::new();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            let sign = if required.contains(&name.as_str()) { "" } else { "?" };
            fields.push(format!("{}{sign}: {}", key(name), type_of(property)));
        }
    }
    let others = match (schema.get("additionalProperties"), schema.get("patternProperties")) {
        (Some(Value::Bool(false)) | None, Some(Value::Object(patterns))) => {
            Some(either(patterns.values().map(type_of)))
        }
        (Some(Value::Bool(false)) | None, _) => None,
        (Some(others), _) => Some(type_of(others)),
    };
    match (others, fields.as_slice()) {
        (None, []) if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
            "{ [key: string]: never }".to_owned()
        }
        (None, []) => "{ [key: string]: unknown }".to_owned(),
        (None, _) => format!("{{ {} }}", fields.join("; ")),
        (Some(others), []) => format!("{{ [key: string]: {others} }}"),
        // An index has to allow what the fields hold.
        (Some(_), _) => format!("{{ {}; [key: string]: unknown }}", fields.join("; ")),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => "unknown".to_owned(),
        plain => plain.to_string(),
    }
}

/// A union, each member once.
fn either(types: impl Iterator<Item = String>) -> String {
    let mut members = Vec::new();
    for type_ in types {
        match type_.as_str() {
            "unknown" => return type_,
            "never" => {}
            _ if members.contains(&type_) => {}
            _ => members.push(type_),
        }
    }
    if members.is_empty() { "never".to_owned() } else { members.join(" | ") }
}

fn in_brackets(type_: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "._".contains(letter);
    if type_.chars().all(is_plain) { type_.to_owned() } else { format!("({type_})") }
}

/// The name of a field.
pub(super) fn key(name: &str) -> String {
    if identifier(name) == name { name.to_owned() } else { Value::from(name).to_string() }
}

/// A name that TypeScript takes, as near as it can be.
pub(super) fn identifier(name: &str) -> String {
    let letter =
        |letter: char| if letter.is_alphanumeric() || letter == '_' { letter } else { '_' };
    let mut identifier: String = name.chars().map(letter).collect();
    if identifier.starts_with(|first: char| first.is_numeric()) || identifier.is_empty() {
        identifier.insert(0, '_');
    }
    identifier
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_become_types() {
        for (schema, type_) in [
            (json!(true), "unknown"),
            (json!({}), "unknown"),
            (json!(false), "never"),
            (json!({"type": "integer", "format": "int64"}), "number"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!({"$ref": "#/components/schemas/Note"}), "Types.Note"),
            (json!({"type": "string", "const": "a\"b"}), "\"a\\\"b\""),
            (json!({"type": "string", "enum": ["a", "b"]}), "\"a\" | \"b\""),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(string | null)[]"),
            (json!({"type": "array", "items": {"$ref": "#/components/schemas/A"}}), "Types.A[]"),
            (
                json!({"type": "array", "prefixItems": [{"type": "string"}, {}]}),
                "[string, unknown]",
            ),
            (json!({"type": "array"}), "unknown[]"),
            (
                json!({"type": "object", "additionalProperties": {"type": "number"}}),
                "{ [key: string]: number }",
            ),
            (json!({"type": "object"}), "{ [key: string]: unknown }"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}, "b-c": {}}, "required": ["a"]}),
                "{ a: string; \"b-c\"?: unknown }",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true}),
                "{ a?: string; [key: string]: unknown }",
            ),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "string | null"),
            (json!({"anyOf": [{"type": "string"}, {}]}), "unknown"),
            (
                json!({"properties": {"a": {"type": "null"}}, "oneOf": [{"const": 1}, {"const": 2}]}),
                "({ a?: null }) & (1 | 2)",
            ),
            (json!({"allOf": [{"type": "string"}, {"const": "a"}]}), "string & (\"a\")"),
        ] {
            assert_eq!(type_of(&schema), type_, "{schema}");
        }
    }

    #[test]
    fn names_become_identifiers() {
        for (name, fits) in [("Room", "Room"), ("a/b c%ü", "a_b_c_ü"), ("1a", "_1a"), ("", "_")] {
            assert_eq!(identifier(name), fits);
        }
    }
}
