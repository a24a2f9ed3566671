//! Every way in which a call can fail, as its caller sees it. Those that a test cannot bring about by a request are in the
//! table that `durable-http` tests by itself.

use std::sync::Arc;
use std::time::Duration;

use durable::http::{Expose, router};
use durable::prelude::*;
use durable::{Body, Error};
use durable_tests::{Bed, Form};
use tokio::sync::Semaphore;

use crate::bed::{ask, get, post};

/// What a test holds of an object's gate, to open it.
type Door = Arc<Semaphore>;

#[derive(Default)]
struct Clerk;

#[durable_object]
impl Clerk {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE a (x INTEGER PRIMARY KEY); CREATE TABLE secret (x REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    }

    fn new(ctx: &Context<Self>) -> Result<Self> {
        match ctx.name() {
            Some("sick") => Err(Error::other("secret")),
            _ => Ok(Clerk),
        }
    }

    pub fn work(&mut self) -> u8 {
        1
    }

    pub fn panics(&mut self) {
        panic!("secret");
    }

    pub fn aborts(&mut self, ctx: &Context) {
        ctx.abort("secret");
    }

    /// Breaks a rule that the database checks only at the end of the turn.
    pub fn breaks(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("INSERT INTO secret VALUES (7)", []).map(|_| ())
    }

    /// Keeps every other event out until the door is open.
    pub fn closes(&mut self, ctx: &Context<Self>) -> Result<()> {
        let door = Arc::clone(ctx.env::<Door>()?);
        ctx.block_concurrency_while(|_| async move {
            let _ = door.acquire().await;
            Ok::<(), durable::Error>(())
        });
        Ok(())
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        match request.uri().path() {
            "/panic" => panic!("secret"),
            "/fail" => return Err(Error::other("secret")),
            "/abort" => this.abort("secret"),
            _ => {}
        }
        let _ = this.env::<Door>()?.acquire().await;
        Ok(Response::new(Body::from("open")))
    }
}

async fn start(door: &Door, queue: usize) -> (Bed, Runtime) {
    let bed = Bed::new(Form::Moved);
    let builder = bed.builder().env(Arc::clone(door)).queue_limit(queue).register::<Clerk>();
    let runtime = builder.start().await.unwrap();
    (bed, runtime)
}

fn app(runtime: &Runtime, timeout: Duration) -> axum::Router {
    router(runtime).expose::<Clerk>(Expose::All).timeout(timeout).build().unwrap()
}

#[tokio::test]
async fn what_goes_wrong_in_an_object_is_told_without_details() {
    let (_bed, runtime) = start(&Door::new(Semaphore::new(0)), 1024).await;
    let app = app(&runtime, Duration::MAX);
    for (path, status, kind) in [
        ("a/panics", 500, "panicked"),
        ("a/aborts", 503, "reset"),
        ("a/breaks", 500, "rolled_back"),
        ("sick/work", 500, "activation"),
        ("a/fetch/panic", 500, "panicked"),
        ("a/fetch/abort", 500, "reset"),
    ] {
        let answer = post(&app, &format!("/Clerk/name/{path}"), "").await;
        assert_eq!(answer.failure(), (status, kind.to_owned()), "{path}");
        assert!(!answer.text().contains("secret"), "{path}: {answer:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{path}");
    }
    // A handler's own error is an answer, and tells nothing.
    let answer = get(&app, "/Clerk/name/a/fetch/fail").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (500, ""));
    // The object goes on.
    assert_eq!(post(&app, "/Clerk/name/a/work", "").await.text(), "1");
    runtime.shutdown().await.unwrap();
    let answer = post(&app, "/Clerk/name/a/work", "").await;
    assert_eq!(answer.failure(), (503, "shut_down".into()));
    let answer = get(&app, "/Clerk/name/a/fetch").await;
    assert_eq!(answer.failure(), (503, "shut_down".into()));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_a_504() {
    let door = Door::new(Semaphore::new(0));
    let (_bed, runtime) = start(&door, 1024).await;
    // Nobody opens the door before the time is over.
    let app = app(&runtime, Duration::from_millis(20));
    let answer = get(&app, "/Clerk/name/a/fetch").await;
    assert_eq!(answer.failure(), (504, "timed_out".into()));
    assert_eq!(answer.message(), "no answer in time; the outcome is unknown");
    assert_eq!(post(&app, "/Clerk/name/b/closes", "").await.text(), "null");
    let answer = post(&app, "/Clerk/name/b/work", "").await;
    assert_eq!(answer.failure(), (504, "timed_out".into()));
    assert_eq!(answer.message(), "no answer in time; nothing was done and nothing will be");
    assert_eq!(answer.json()["error"]["retryable"], true);
    // A body that does not come.
    let (_sender, receiver) =
        tokio::sync::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>>>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let body = Body::new(http_body_util::StreamBody::new(stream));
    let request =
        http::Request::post("/Clerk/name/a/work").header("content-type", "application/json");
    let answer = ask(&app, request.body(body).unwrap()).await;
    assert_eq!(answer.failure(), (408, "slow_body".into()));
    door.close();
}

#[tokio::test]
async fn an_overloaded_object_asks_to_come_back() {
    let door = Door::new(Semaphore::new(0));
    let (_bed, runtime) = start(&door, 1).await;
    let app = app(&runtime, Duration::MAX);
    assert_eq!(post(&app, "/Clerk/name/a/closes", "").await.status, 200);
    let clerk = runtime.get::<Clerk>("a");
    let mut waits = clerk.work();
    assert!(durable_tests::poll_once(&mut waits).is_pending());
    let answer = post(&app, "/Clerk/name/a/work", "").await;
    assert_eq!(answer.failure(), (503, "overloaded".into()));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["error"]["retryable"], true);
    door.close();
    assert_eq!(waits.await.unwrap(), 1);
}
