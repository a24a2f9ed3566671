//! What is exposed, described: an OpenAPI document and a TypeScript client.
//!
//! `DURABLE_BLESS=1 cargo test -p durable-tests --test http described` writes the golden files anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use durable::ObjectId;
use durable::http::{Expose, ObjectRouter, router};
use durable::prelude::*;
use durable_tests::{Bed, Form};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bed::get;

/// A message in a room.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Note {
    /// What it says.
    text: String,
    likes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Box<Note>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Posted { note: Note },
    Left { who: String },
    Cleared,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
enum RoomError {
    Full { most: u32 },
    Closed,
}

/// Nobody has given it a schema.
#[derive(Debug, Serialize, Deserialize)]
struct Plain(u8);

/// Its name is also that of something in every browser.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Response")]
struct Answer {
    ok: bool,
}

#[derive(Default)]
struct Room;

#[durable_object]
impl Room {
    /// Posts a note and gives its number.
    ///
    /// The room may be full. */ is no end of anything.
    pub fn post(
        &mut self,
        note: &Note,
        tags: &[String],
        to: Option<ObjectId<Room>>,
    ) -> std::result::Result<u64, RoomError> {
        let _ = (note, tags, to);
        Ok(1)
    }

    /// The last notes.
    pub fn last(&self, count: Option<u8>) -> Vec<Event> {
        vec![Event::Cleared; usize::from(count.unwrap_or(1))]
    }

    pub fn counts(&self, plain: Plain, by: BTreeMap<String, (i64, Option<bool>)>) -> Plain {
        let _ = by;
        plain
    }

    pub fn constructor(&mut self, r#type: Answer) -> Answer {
        r#type
    }

    pub fn hidden(&self) -> Hidden {
        Hidden
    }

    fn fetch(&mut self, _: &Context<Self>, _: Request) -> Result<Response> {
        Ok(Response::default())
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Hidden;

impl Clone for Event {
    fn clone(&self) -> Self {
        Event::Cleared
    }
}

#[derive(Default)]
struct Counter;

#[durable_object(name = "a counter/é")]
impl Counter {
    pub fn total(&self) -> Result<i64> {
        Ok(7)
    }
}

async fn start(bed: &Bed) -> Runtime {
    bed.builder().register::<Room>().register::<Counter>().start().await.unwrap()
}

fn exposed(runtime: &Runtime) -> ObjectRouter {
    router(runtime)
        .expose::<Room>(Expose::Methods(&["post", "last", "counts", "constructor"]))
        .expose::<Counter>(Expose::All)
        .expose::<Room>(Expose::Fetch)
}

fn assert_golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("DURABLE_BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "{} is now:\n{text}", file.display());
}

#[tokio::test]
async fn the_openapi_document() {
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    let document = exposed(&runtime).openapi();
    assert_golden("openapi.json", &format!("{document:#}\n"));
    assert_eq!(document["openapi"], "3.1.0");
    // Only what is exposed is in it.
    assert!(!document.to_string().contains("idden"));
    // Every reference leads somewhere.
    check_references(&document, &document);
    let post = &document["paths"]["/Room/name/{name}/post"]["post"];
    assert_eq!(
        post["requestBody"]["content"]["application/json"]["schema"]["required"],
        json!(["note", "tags"])
    );
    let total = &document["paths"]["/a%20counter%2F%C3%A9/name/{name}/total"];
    assert_eq!(
        total["get"]["responses"]["200"]["content"]["application/json"]["schema"]["type"],
        "integer"
    );
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| check_references(value, document)),
        Value::Object(members) => {
            for (name, member) in members {
                if let ("$ref", Value::String(reference)) = (name.as_str(), member) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                check_references(member, document);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_only_if_that_is_wanted() {
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    let app =
        axum::Router::new().nest("/objects", exposed(&runtime).serve_openapi().build().unwrap());
    let answer = get(&app, "/objects/openapi.json").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), exposed(&runtime).openapi());
    let app = exposed(&runtime).build().unwrap();
    assert_eq!(get(&app, "/openapi.json").await.status, 404);
}

/// `tsc --strict` accepts the golden file, which is looked at by hand when it changes.
#[tokio::test]
async fn the_typescript_client() {
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    assert_golden("client.ts", &exposed(&runtime).typescript());
}
