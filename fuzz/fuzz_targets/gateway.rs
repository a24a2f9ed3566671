//! Requests to the object router: the first line is the path, the rest the body. No panic, and an answer each time.
#![no_main]

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::Request;
use durable::http::{Expose, router};
use durable::prelude::*;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime as Executor;
use tower::ServiceExt;

#[derive(Default)]
pub struct Desk;

#[durable_object]
impl Desk {
    pub fn all(&mut self, text: String, number: Option<i64>, list: Vec<(bool, f64)>) -> usize {
        text.len() + list.len() + usize::from(number.is_some())
    }

    pub fn read(&self, text: String) -> String {
        text
    }
}

struct Bed {
    executor: Executor,
    app: axum::Router,
}

static BED: LazyLock<Bed> = LazyLock::new(|| {
    let executor = Executor::new().expect("an executor");
    let app = executor.block_on(async {
        let directory = tempfile::tempdir().expect("a directory").keep();
        let runtime = Runtime::builder(directory).register::<Desk>().start().await;
        router(&runtime.expect("a runtime")).expose::<Desk>(Expose::All).build().expect("a router")
    });
    Bed { executor, app }
});

fuzz_target!(|bytes: &[u8]| {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (path, body) = bytes.split_at(line);
    let Ok(path) = std::str::from_utf8(path) else { return };
    for request in [
        Request::get(format!("/Desk/name/a/read?{path}")),
        Request::get(format!("/{path}")),
        Request::post(format!("/{path}")).header("content-type", "application/json"),
        Request::post("/Desk/name/a/all").header("content-type", "application/json"),
    ] {
        let Ok(request) = request.body(Body::from(body.to_vec())) else { continue };
        let answer = BED.executor.block_on(BED.app.clone().oneshot(request));
        assert!(answer.is_ok());
    }
});
