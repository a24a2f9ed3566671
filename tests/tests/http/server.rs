//! A server with many clients, and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::middleware::{Next, from_fn};
use durable::Body;
use durable::http::{Expose, router};
use durable::prelude::*;
use durable_tests::{Bed, Form};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::bed::{Server, client, json_request, post, whole};

/// Opened by the test.
type Door = Arc<Semaphore>;

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    pub fn increment(&mut self, ctx: &Context, by: u64) -> Result<u64> {
        let total = ctx.kv().get::<u64>("total")?.unwrap_or_default() + by;
        ctx.kv().put("total", &total)?;
        Ok(total)
    }

    /// Keeps every other event out until the door is open.
    pub fn close(&mut self, ctx: &Context<Self>) -> Result<()> {
        let door = Arc::clone(ctx.env::<Door>()?);
        ctx.block_concurrency_while(|_| async move {
            let _ = door.acquire().await;
            Ok::<(), durable::Error>(())
        });
        Ok(())
    }

    async fn fetch(this: Handle<Self>, _: Request) -> Result<Response> {
        this.env::<mpsc::UnboundedSender<()>>()?.send(()).ok();
        let _ = this.env::<Door>()?.acquire().await;
        let total = this.turn(|counter, ctx| counter.increment(ctx, 1)).await?;
        Ok(Response::new(Body::from(total.to_string())))
    }
}

struct Started {
    _bed: Bed,
    runtime: Runtime,
    door: Door,
    /// Hears of each `fetch` that has begun.
    begun: mpsc::UnboundedReceiver<()>,
}

async fn start() -> Started {
    let bed = Bed::new(Form::Moved);
    let (door, (tells, begun)) = (Door::new(Semaphore::new(0)), mpsc::unbounded_channel::<()>());
    let builder = bed.builder().env(Arc::clone(&door)).env(tells).queue_limit(10_000);
    let runtime = builder.register::<Counter>().start().await.unwrap();
    Started { _bed: bed, runtime, door, begun }
}

fn app(runtime: &Runtime) -> axum::Router {
    router(runtime).expose::<Counter>(Expose::All).build().unwrap()
}

const INCREMENT: &str = "/Counter/name/a/increment";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_calls_at_once_each_count_once() {
    let Started { runtime, _bed, .. } = start().await;
    let app = app(&runtime);
    let mut calls = JoinSet::new();
    for _ in 0..2_000 {
        let app = app.clone();
        calls.spawn(async move {
            post(&app, INCREMENT, r#"{"by": 1}"#).await.text().parse::<u64>().unwrap()
        });
    }
    let mut totals = calls.join_all().await;
    totals.sort_unstable();
    assert_eq!(totals, (1..=2_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_on_many_connections_each_count_once() {
    let Started { runtime, _bed, .. } = start().await;
    let server = Server::start(&runtime, app(&runtime)).await;
    let uri = server.uri(INCREMENT);
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let uri = uri.clone();
        clients.spawn(async move {
            let client = client();
            for _ in 0..20 {
                let request = json_request(&uri, r#"{"by": 1}"#).map(AxumBody::from);
                assert_eq!(client.request(request).await.unwrap().status(), 200);
            }
        });
    }
    clients.join_all().await;
    assert_eq!(runtime.get::<Counter>("a").increment(0).await.unwrap(), 2_000);
}

#[tokio::test]
async fn running_requests_are_answered_before_the_server_ends() {
    let Started { runtime, door, mut begun, _bed } = start().await;
    let mut server = Server::start(&runtime, app(&runtime)).await;
    let uri = server.uri("/Counter/name/a/fetch");
    let running = tokio::spawn(async move {
        let request = http::Request::get(uri).body(AxumBody::empty()).unwrap();
        whole(client().request(request).await.unwrap()).await
    });
    begun.recv().await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    // It takes nobody new: the listener closes, though the request still runs.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished() && !server.task.is_finished());
    door.close();
    let answer = running.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "1"));
    server.task.await.unwrap().unwrap();
    // The runtime has ended with it.
    assert!(matches!(runtime.get::<Counter>("a").increment(1).await, Err(CallError::ShutDown)));
}

#[tokio::test]
async fn a_request_that_is_still_arriving_is_answered_too() {
    let Started { runtime, _bed, .. } = start().await;
    let mut server = Server::start(&runtime, app(&runtime)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = r#"{"by": 5}"#;
    let head = format!(
        "POST {INCREMENT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says so when it begins to read the body.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n5"), "{answer}");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_given_up() {
    let Started { runtime, door, mut begun, _bed } = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/Counter/name/a/fetch", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = durable::http::serve(&runtime, listener, app(&runtime));
    let serve =
        serve.patience(Duration::from_millis(10)).until(async move { stopped.await.unwrap() });
    let serving = tokio::spawn(serve.into_future());
    let running = tokio::spawn(async move {
        let request = http::Request::get(uri).body(AxumBody::empty()).unwrap();
        client().request(request).await.map(|response| response.status().as_u16())
    });
    begun.recv().await.unwrap();
    stop.send(()).unwrap();
    // Nobody opens the door, and it ends all the same.
    serving.await.unwrap().unwrap();
    assert_eq!(running.await.unwrap().unwrap(), 503);
    drop(door);
}

/// Tells when a request is dropped before it was answered.
struct Watch(Option<mpsc::UnboundedSender<()>>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(dropped) = self.0.take() {
            let _ = dropped.send(());
        }
    }
}

#[tokio::test]
async fn a_call_whose_client_hangs_up_in_the_queue_never_runs() {
    let Started { runtime, door, _bed, .. } = start().await;
    let (sender, mut events) = mpsc::unbounded_channel::<()>();
    let watch = from_fn(move |request: AxumRequest, next: Next| {
        let sender = sender.clone();
        async move {
            // Once when it has come, and once when it is dropped.
            sender.send(()).unwrap();
            let mut watch = Watch(Some(sender));
            let response = next.run(request).await;
            watch.0 = None;
            response
        }
    });
    let app = router(&runtime).expose::<Counter>(Expose::All).layer(watch).build().unwrap();
    runtime.get::<Counter>("a").close().await.unwrap();
    let server = Server::start(&runtime, app).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = r#"{"by": 5}"#;
    let head = format!(
        "POST {INCREMENT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    events.recv().await.unwrap();
    drop(stream);
    events.recv().await.unwrap();
    door.close();
    assert_eq!(runtime.get::<Counter>("a").increment(0).await.unwrap(), 0);
}

#[tokio::test]
async fn a_response_streams_on_while_others_are_answered() {
    let Started { runtime, door, mut begun, _bed } = start().await;
    let server = Server::start(&runtime, app(&runtime)).await;
    let (slow, quick) = (server.uri("/Counter/name/a/fetch"), server.uri(INCREMENT));
    let client = client();
    let waiting = client.request(http::Request::get(slow).body(AxumBody::empty()).unwrap());
    let waiting = tokio::spawn(waiting);
    begun.recv().await.unwrap();
    let answer =
        client.request(json_request(&quick, r#"{"by": 5}"#).map(AxumBody::from)).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "5");
    door.close();
    assert_eq!(whole(waiting.await.unwrap().unwrap()).await.text(), "6");
}
