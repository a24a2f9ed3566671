//! HTTP requests to an object, in process.

use bytes::Bytes;
use durable::prelude::*;
use durable::{Body, Error};
use durable_tests::matrix;
use futures_util::future::join_all;
use http_body_util::BodyExt;

#[derive(Default)]
struct Echo;

#[durable_object]
impl Echo {
    fn fetch(&mut self, ctx: &Context<Self>, request: Request) -> Result<Response> {
        let body = request.body().bytes().cloned().unwrap_or_default();
        ctx.kv().put("last", &body.to_vec())?;
        match request.uri().path() {
            "/fail" => Err(Error::other("secret")),
            "/panic" => panic!("secret"),
            path => {
                Ok(Response::new(Body::from(format!("{} {path} {}", request.method(), body.len()))))
            }
        }
    }

    pub fn last(&self, ctx: &Context) -> Result<Option<Vec<u8>>> {
        ctx.kv().get("last")
    }
}

/// The async form: reads the body itself, as a stream, and makes two turns.
#[derive(Default)]
struct Upload;

#[durable_object]
impl Upload {
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        match request.uri().path() {
            "/fail" => return Err(Error::other("secret")),
            "/panic" => panic!("secret"),
            _ => {}
        }
        let before: usize = this.turn(|upload, ctx| upload.size(ctx)).await?;
        let mut body = request.into_body();
        let mut size = before;
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        this.turn(move |_, ctx| ctx.kv().put("size", &size)).await?;
        Ok(Response::new(Body::from(size.to_string())))
    }

    pub fn size(&self, ctx: &Context) -> Result<usize> {
        Ok(ctx.kv().get("size")?.unwrap_or_default())
    }
}

/// Keeps who came, in the order of their first turns.
#[derive(Default)]
struct Guestbook {
    guests: Vec<String>,
}

#[durable_object]
impl Guestbook {
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let guest = request.uri().path().to_owned();
        this.turn(move |book, _| -> Result<()> {
            book.guests.push(guest);
            Ok(())
        })
        .await?;
        Ok(Response::new(Body::empty()))
    }

    pub fn guests(&self) -> Vec<String> {
        self.guests.clone()
    }
}

#[derive(Default)]
struct Deaf;

#[durable_object]
impl Deaf {
    pub fn ping(&self) {}
}

fn request(path: &str, body: impl Into<Body>) -> Request {
    http::Request::post(path).body(body.into()).unwrap()
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect_up_to(1024).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn start(bed: &durable_tests::Bed) -> Runtime {
    let builder = bed.builder().register::<Echo>().register::<Upload>();
    builder.register::<Guestbook>().register::<Deaf>().start().await.unwrap()
}

matrix! {
    async fn a_sync_handler_is_one_turn(bed) {
        let runtime = start(&bed).await;
        let echo = runtime.get::<Echo>("cave");
        assert_eq!(text(echo.fetch(request("/in", "hello")).await.unwrap()).await, "POST /in 5");
        assert_eq!(echo.last().await.unwrap().unwrap(), b"hello");
        // A stream is read before the turn begins.
        let stream = Body::new(http_body_util::Full::new(Bytes::from_static(b"stream")));
        assert_eq!(text(echo.fetch(request("/in", stream)).await.unwrap()).await, "POST /in 6");
    }

    async fn an_error_of_a_handler_is_a_500_without_details_and_undoes_the_turn(bed) {
        let runtime = start(&bed).await;
        let echo = runtime.get::<Echo>("cave");
        let response = echo.fetch(request("/fail", "lost")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(text(response).await, "");
        assert_eq!(echo.last().await.unwrap(), None);
        let error = echo.fetch(request("/panic", "lost")).await.unwrap_err();
        assert!(matches!(error, CallError::Panicked { method: "fetch", .. }), "{error:?}");
        assert_eq!(echo.last().await.unwrap(), None);
    }

    async fn an_async_handler_makes_turns_of_its_own(bed) {
        let runtime = start(&bed).await;
        let upload = runtime.get::<Upload>("disk");
        assert_eq!(text(upload.fetch(request("/", "12345")).await.unwrap()).await, "5");
        assert_eq!(text(upload.fetch(request("/", "123")).await.unwrap()).await, "8");
        assert_eq!(upload.size().await.unwrap(), 8);
        assert_eq!(upload.fetch(request("/fail", "")).await.unwrap().status(), 500);
        let error = upload.fetch(request("/panic", "")).await.unwrap_err();
        assert!(matches!(error, CallError::Panicked { method: "fetch", .. }), "{error:?}");
    }

    async fn async_handlers_begin_in_the_order_of_their_calls(bed) {
        let runtime = start(&bed).await;
        let paths: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
        for name in ["a", "b", "c", "d"] {
            let book = runtime.get::<Guestbook>(name);
            // The first round finds the object cold, the second one finds it in memory.
            for _ in 0..2 {
                let calls = paths.iter().map(|path| book.fetch(request(path, "")));
                for answer in join_all(calls).await {
                    assert!(answer.unwrap().status().is_success());
                }
            }
            assert_eq!(book.guests().await.unwrap(), [&paths[..], &paths[..]].concat(), "{name}");
        }
        runtime.shutdown().await.unwrap();
    }

    async fn other_events_enter_while_an_async_handler_waits(bed) {
        let runtime = start(&bed).await;
        let upload = runtime.get::<Upload>("disk");
        let (sender, receiver) = tokio::sync::mpsc::channel::<std::result::Result<http_body::Frame<Bytes>, Error>>(1);
        let stream = http_body_util::StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let fetch = tokio::spawn(upload.fetch(request("/", Body::new(stream))));
        let data = |bytes| Ok(http_body::Frame::data(Bytes::from_static(bytes)));
        sender.send(data(b"1")).await.unwrap();
        // There is room for the second only when the handler has taken the first.
        sender.send(data(b"2")).await.unwrap();
        // It waits for more; a whole request passes it.
        assert_eq!(text(upload.fetch(request("/", "1")).await.unwrap()).await, "1");
        drop(sender);
        assert_eq!(text(fetch.await.unwrap().unwrap()).await, "2");
    }

    async fn a_body_over_the_limit_is_a_413(bed) {
        let runtime = start(&bed).await;
        let echo = runtime.get::<Echo>("cave");
        let response = echo.fetch(request("/", vec![0; durable::BODY_BYTES_MAX + 1])).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(echo.last().await.unwrap(), None);
    }
}
