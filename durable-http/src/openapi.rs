//! The OpenAPI 3.1 document of what is exposed.
//!
//! Only methods are in it: what a `fetch` handler answers to, nobody but itself knows.

use axum::http::header::CONTENT_TYPE;
use axum::routing::{MethodRouter, get};
use durable_runtime::NAME_BYTES_MAX;
use serde_json::{Map, Value, json};

use crate::class::Exposed;
use crate::described::{Described, DescribedArgument, DescribedClass, DescribedMethod};

/// Serves the document, which is made once.
pub(crate) fn route<S: Clone + Send + Sync + 'static>(exposed: &[Exposed]) -> MethodRouter<S> {
    let text = document(&Described::new(exposed)).to_string();
    get(move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, crate::JSON)], text) }
    })
}

/// The document.
pub(crate) fn document(described: &Described) -> Value {
    let mut paths = Map::new();
    for class in &described.classes {
        for method in &class.methods {
            for by in [By::Name, By::Id] {
                let path =
                    format!("/{}/{}/{}", encoded(class.name), by.path(), encoded(method.name));
                paths.insert(path, path_item(class, method, by));
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Durable objects", "version": env!("CARGO_PKG_VERSION") },
        // Relative to where the document is served.
        "servers": [{ "url": "." }],
        "paths": paths,
        "components": {
            "schemas": described.definitions,
            "responses": { "Failure": failure("Why there is no value.", None) },
        },
    })
}

/// How a path names its object.
#[derive(Clone, Copy)]
enum By {
    Name,
    Id,
}

impl By {
    fn path(self) -> &'static str {
        match self {
            By::Name => "name/{name}",
            By::Id => "id/{id}",
        }
    }

    fn parameter(self) -> Value {
        match self {
            By::Name => json!({
                "name": "name",
                "in": "path",
                "required": true,
                "description": format!("The object's name, of 1 to {NAME_BYTES_MAX} bytes."),
                "schema": { "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX },
            }),
            By::Id => json!({
                "name": "id",
                "in": "path",
                "required": true,
                "description": "The object's id.",
                "schema": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" },
            }),
        }
    }

    /// What makes an operation's name its own.
    fn suffix(self) -> &'static str {
        match self {
            By::Name => "",
            By::Id => ".by_id",
        }
    }
}

fn path_item(class: &DescribedClass, method: &DescribedMethod, by: By) -> Value {
    let operation = |verb: &str| {
        let mut operation = json!({
            "operationId": format!("{}.{}{}{verb}", class.name, method.name, by.suffix()),
            "tags": [class.name],
            "responses": {
                "200": {
                    "description": "What the method returned.",
                    "content": { "application/json": { "schema": method.reply } },
                },
                "422": failure("The method returned an error.", Some(&method.error)),
                "default": { "$ref": "#/components/responses/Failure" },
            },
        });
        if let Some(summary) = method.docs.lines().next() {
            operation["summary"] = summary.into();
            operation["description"] = method.docs.as_str().into();
        }
        operation
    };
    let mut post = operation("");
    if !method.arguments.is_empty() {
        post["requestBody"] = body(&method.arguments);
    }
    let mut item = json!({ "parameters": [by.parameter()], "post": post });
    if method.only_reads {
        let mut get = operation(".get");
        get["parameters"] = method.arguments.iter().map(query_parameter).collect();
        item["get"] = get;
    }
    item
}

fn body(arguments: &[DescribedArgument]) -> Value {
    let properties: Map<String, Value> = arguments
        .iter()
        .map(|argument| (argument.name.to_owned(), argument.schema.clone()))
        .collect();
    let required: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.is_optional)
        .map(|argument| argument.name)
        .collect();
    json!({
        "required": !required.is_empty(),
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        } } },
    })
}

fn query_parameter(argument: &DescribedArgument) -> Value {
    json!({
        "name": argument.name,
        "in": "query",
        "required": !argument.is_optional,
        "content": { "application/json": { "schema": argument.schema } },
    })
}

/// A reply that is an error; `value` is the schema of the method's own.
fn failure(description: &str, value: Option<&Value>) -> Value {
    let mut error = json!({
        "type": "object",
        "properties": {
            "kind": { "type": "string" },
            "message": { "type": "string" },
            "retryable": {
                "type": "boolean",
                "description": "Whether the request surely had no effect and may be sent again.",
            },
        },
        "required": ["kind", "message", "retryable"],
    });
    if let Some(value) = value {
        error["properties"]["value"] = value.clone();
    }
    json!({
        "description": description,
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": { "error": error },
            "required": ["error"],
        } } },
    })
}

/// A part of a path, with percent signs.
fn encoded(part: &str) -> String {
    percent_encoding::utf8_percent_encode(part, crate::PATH_PART).to_string()
}
