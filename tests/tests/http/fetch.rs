//! Requests to an object's `fetch` handler, over sockets: both bodies are streams.

use axum::body::Body as AxumBody;
use bytes::Bytes;
use durable::Body;
use durable::http::{Expose, router};
use durable::prelude::*;
use durable_tests::{Bed, Form};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::bed::{Server, ask, client, get, whole};

/// Reads the body at once, as one turn.
#[derive(Default)]
struct Echo;

#[durable_object]
impl Echo {
    fn fetch(&mut self, ctx: &Context<Self>, request: Request) -> Result<Response> {
        let size = request.body().bytes().map_or(0, Bytes::len);
        ctx.kv().put("size", &size)?;
        let header = request.headers().get("x-asked").cloned();
        let text = format!("{} {} {size}", request.method(), request.uri());
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = http::StatusCode::CREATED;
        if let Some(header) = header {
            response.headers_mut().insert("x-answered", header);
        }
        if request.uri().path() == "/cached" {
            response
                .headers_mut()
                .insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        }
        Ok(response)
    }

    pub fn size(&self, ctx: &Context) -> Result<Option<usize>> {
        ctx.kv().get("size")
    }
}

/// What an object tells the test.
type Told = mpsc::UnboundedSender<String>;

/// Says what it heard, piece by piece.
#[derive(Default)]
struct Parrot;

/// Tells when it goes.
struct Falls(Told);

impl Drop for Falls {
    fn drop(&mut self) {
        let _ = self.0.send("the response was dropped".to_owned());
    }
}

#[durable_object]
impl Parrot {
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let told = this.env::<Told>()?.clone();
        let mut body = request.into_body();
        if body.bytes().is_some() {
            return Ok(Response::new(Body::from("nothing was said")));
        }
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>>>(1);
        let falls = Falls(told.clone());
        tokio::spawn(async move {
            let _falls = falls;
            while let Some(frame) = body.frame().await {
                let said = match frame {
                    Ok(frame) => frame,
                    Err(error) => {
                        let _ = told
                            .send(format!("the request broke: {}", !error.message().is_empty()));
                        return;
                    }
                };
                if sender.send(Ok(said)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Body::new(StreamBody::new(ReceiverStream::new(receiver)))))
    }
}

async fn start(bed: &Bed) -> (Runtime, mpsc::UnboundedReceiver<String>) {
    let (told, hears) = mpsc::unbounded_channel::<String>();
    let builder = bed.builder().env(told).register::<Echo>().register::<Parrot>();
    (builder.start().await.unwrap(), hears)
}

fn app(runtime: &Runtime, body_limit: usize) -> axum::Router {
    let router = router(runtime).expose::<Echo>(Expose::All).expose::<Parrot>(Expose::Fetch);
    router.body_limit(body_limit).build().unwrap()
}

#[tokio::test]
async fn method_path_headers_status_and_body_pass() {
    let bed = Bed::new(Form::Moved);
    let (runtime, _hears) = start(&bed).await;
    let server = Server::start(&runtime, app(&runtime, 1024)).await;
    let request = http::Request::builder()
        .method("PROPFIND")
        .uri(server.uri("/Echo/name/a/fetch/x/y?z=1"))
        .header("x-asked", "why")
        .body(AxumBody::from("12345"))
        .unwrap();
    let answer = whole(client().request(request).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (201, "PROPFIND /x/y?z=1 5"));
    assert_eq!(answer.headers["x-answered"], "why");
    assert!(!answer.headers.contains_key("cache-control"));
    assert_eq!(runtime.get::<Echo>("a").size().await.unwrap(), Some(5));
    // `GET` is kept by nobody, unless the handler says so.
    let app = app(&runtime, 1024);
    assert_eq!(get(&app, "/Echo/name/a/fetch").await.headers["cache-control"], "no-store");
    assert_eq!(get(&app, "/Echo/name/a/fetch/cached").await.headers["cache-control"], "max-age=60");
}

#[tokio::test]
async fn both_bodies_are_streamed() {
    let bed = Bed::new(Form::Moved);
    let (runtime, _hears) = start(&bed).await;
    let server = Server::start(&runtime, app(&runtime, 1024)).await;
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>>>(1);
    let body = AxumBody::new(StreamBody::new(ReceiverStream::new(receiver)));
    let request = http::Request::post(server.uri("/Parrot/name/a/fetch")).body(body).unwrap();
    let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    sender.send(piece("one")).await.unwrap();
    // The response begins, and gives the first piece, while the request goes on.
    let mut response = client().request(request).await.unwrap().into_body();
    for (next, heard) in [("two", "one"), ("three", "two"), ("four", "three")] {
        let frame = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, heard);
        sender.send(piece(next)).await.unwrap();
    }
    drop(sender);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "four");
}

#[tokio::test]
async fn a_client_that_hangs_up_half_way_is_noticed() {
    let bed = Bed::new(Form::Moved);
    let (runtime, mut hears) = start(&bed).await;
    let server = Server::start(&runtime, app(&runtime, 1024)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /Parrot/name/a/fetch HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    drop(stream);
    assert_eq!(hears.recv().await.unwrap(), "the request broke: true");
    assert_eq!(hears.recv().await.unwrap(), "the response was dropped");
    // And the object serves the next one.
    let answer = get(&app(&runtime, 1024), "/Parrot/name/a/fetch").await;
    assert_eq!(answer.text(), "nothing was said");
}

/// A body of so many bytes that does not say how many.
fn unknown_size(bytes: usize) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>>>(bytes);
    for _ in 0..bytes {
        sender.try_send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
    }
    Body::new(StreamBody::new(ReceiverStream::new(receiver)))
}

#[tokio::test]
async fn a_body_over_the_limit_never_reaches_a_handler_whole() {
    let bed = Bed::new(Form::Moved);
    let (runtime, mut hears) = start(&bed).await;
    let app = app(&runtime, 4);
    let request = |path: &str, body: Body| http::Request::post(path).body(body).unwrap();
    assert_eq!(
        ask(&app, request("/Echo/name/a/fetch", Body::from("1234"))).await.text(),
        "POST / 4"
    );
    assert_eq!(ask(&app, request("/Echo/name/a/fetch", unknown_size(4))).await.text(), "POST / 4");
    for body in [Body::from("12345"), unknown_size(5)] {
        let answer = ask(&app, request("/Echo/name/b/fetch", body)).await;
        assert_eq!(answer.failure(), (413, "too_large".into()));
    }
    assert_eq!(runtime.get::<Echo>("b").size().await.unwrap(), None, "it did not run");
    // A handler that streams has what came before.
    let answer = ask(&app, request("/Parrot/name/a/fetch", unknown_size(5))).await;
    assert_eq!(answer.text(), "xxxx");
    assert_eq!(hears.recv().await.unwrap(), "the request broke: true");
}

#[tokio::test]
async fn the_body_of_a_sync_handler_has_a_limit_of_its_own() {
    let bed = Bed::new(Form::Moved);
    let (runtime, _hears) = start(&bed).await;
    let app = app(&runtime, usize::MAX);
    let body = Body::from(vec![0; durable::BODY_BYTES_MAX + 1]);
    let answer = ask(&app, http::Request::post("/Echo/name/a/fetch").body(body).unwrap()).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn what_is_not_exposed_is_not_fetched() {
    let bed = Bed::new(Form::Moved);
    let (runtime, _hears) = start(&bed).await;
    let app = router(&runtime).expose::<Echo>(Expose::Methods(&["size"])).build().unwrap();
    assert_eq!(get(&app, "/Echo/name/a/fetch").await.failure(), (404, "not_found".into()));
    assert_eq!(get(&app, "/Echo/name/a/size").await.text(), "null");
}
