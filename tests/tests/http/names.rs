//! Names and ids in paths, over a socket, so that nothing tidies them up on the way.

use durable::http::{Expose, router};
use durable::prelude::*;
use durable_tests::{Bed, Form};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{Server, get};

/// Says its name.
#[derive(Default)]
struct Echo;

#[durable_object]
impl Echo {
    pub fn called(&self, ctx: &Context) -> Option<String> {
        ctx.name().map(str::to_owned)
    }

    fn fetch(&mut self, ctx: &Context<Self>, request: Request) -> Result<Response> {
        let name = ctx.name().unwrap_or("nobody");
        Ok(Response::new(format!("{name} {}", request.uri()).into()))
    }
}

/// Sends a path as it is, and gives status and body.
async fn raw(server: &Server, path: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = [b"GET ", path, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

async fn start(bed: &Bed) -> (Runtime, axum::Router) {
    let runtime = bed.builder().register::<Echo>().start().await.unwrap();
    let objects = router(&runtime).expose::<Echo>(Expose::All).build().unwrap();
    (runtime, axum::Router::new().nest("/objects", objects))
}

#[tokio::test]
async fn names_are_decoded_once_and_never_interpreted() {
    let bed = Bed::new(Form::Moved);
    let (runtime, app) = start(&bed).await;
    let server = Server::start(&runtime, app).await;
    let longest = "n".repeat(1024);
    for (spelt, name) in [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("..", ".."),
        ("%2e%2e", ".."),
        (".", "."),
        ("%2e%2e%2F..%2Fetc", "../../etc"),
        ("gr%C3%BC%C3%9Fe", "grüße"),
        ("%F0%9F%91%8B", "👋"),
        ("%00%0A", "\0\n"),
        ("a+b%20c", "a+b c"),
        ("a%3Fb%23c", "a?b#c"),
        ("fetch", "fetch"),
        (longest.as_str(), longest.as_str()),
    ] {
        let path = format!("/objects/Echo/name/{spelt}/called");
        let (status, body) = raw(&server, path.as_bytes()).await;
        assert_eq!(status, 200, "{spelt}: {body}");
        assert_eq!(serde_json::from_str::<Option<String>>(&body).unwrap().as_deref(), Some(name));
        // It is the object that a stub reaches.
        assert_eq!(runtime.get::<Echo>(name).called().await.unwrap().as_deref(), Some(name));
    }
    for (path, status, said) in [
        ("/objects/Echo/name//called", 404, "1 to 1024 bytes, not 0"),
        (&format!("/objects/Echo/name/{longest}n/called"), 404, "1 to 1024 bytes, not 1025"),
        (&format!("/objects/Echo/name/{}/called", "%C3%BC".repeat(513)), 404, "not 1026"),
        ("/objects/Echo/name/%ff/called", 400, "UTF-8"),
        ("/objects/Echo/name/%4/called", 400, "percent"),
        ("/objects/Echo/name/a/b/called", 404, "nothing is exposed"),
        ("/objects/Echo/name/a/called/", 404, "nothing is exposed"),
        ("/objects/Echo/id/a/called", 404, "64 hex digits"),
        ("/objects/Echo/id/../called", 404, "64 hex digits"),
        ("/objects/Echo/id//called", 404, "64 hex digits"),
        (
            &format!("/objects/Echo/id/{}/called", "0".repeat(64)),
            404,
            "is not an id of class `Echo`",
        ),
        ("/objects/Echo/", 404, "nothing is exposed"),
    ] {
        let (answered, body) = raw(&server, path.as_bytes()).await;
        assert_eq!(answered, status, "{path}: {body}");
        assert!(body.contains(said), "{path}: {body}");
    }
    // Bytes that are no path at all are the HTTP library's to refuse.
    assert_eq!(raw(&server, b"/objects/Echo/name/a b/called").await.0, 400);
}

#[tokio::test]
async fn a_handler_sees_the_rest_of_the_path_as_it_was_sent() {
    let bed = Bed::new(Form::Moved);
    let (runtime, app) = start(&bed).await;
    let server = Server::start(&runtime, app).await;
    for (rest, seen) in [
        ("", "/"),
        ("/", "/"),
        ("?q=%20", "/?q=%20"),
        ("/x/../y%2F%2e?a=b&c", "/x/../y%2F%2e?a=b&c"),
        ("//x//", "//x//"),
        ("/called", "/called"),
    ] {
        let path = format!("/objects/Echo/name/a%2Fb/fetch{rest}");
        assert_eq!(raw(&server, path.as_bytes()).await, (200, format!("a/b {seen}")), "{rest}");
    }
}

#[tokio::test]
async fn a_class_may_be_called_anything() {
    #[derive(Default)]
    struct Odd;
    #[durable_object(name = "a/b c%ü")]
    impl Odd {
        pub fn ping(&self) -> u8 {
            1
        }
    }
    let bed = Bed::new(Form::Moved);
    let runtime = bed.builder().register::<Odd>().start().await.unwrap();
    let app = router(&runtime).expose::<Odd>(Expose::All).build().unwrap();
    assert_eq!(get(&app, "/a%2Fb%20c%25%C3%BC/name/x/ping").await.text(), "1");
}
