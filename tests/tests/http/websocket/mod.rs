//! Hibernating WebSockets over TCP, with a client of other makers.

mod closing;
mod frames;
mod noise;
mod talking;
mod upgrades;

use durable::http::{Expose, router};
use durable::prelude::*;
use durable::{Body, Builder, SocketError};
use durable_tests::{Bed, Form};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message as Said};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::bed::Server;

/// Hears of the end of each socket, and of what went wrong with it.
type Told = mpsc::UnboundedSender<String>;

/// Says what it is told, and does some of it.
#[derive(Default)]
pub struct Line {
    /// Messages that this instance has seen.
    seen: u32,
}

#[durable_object]
impl Line {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let tags: Vec<_> = query.split(',').filter(|tag| !tag.is_empty()).collect();
        match request.uri().path() {
            "/page" => return Ok(Response::new(Body::from("a page"))),
            "/tells" => ctx.env::<Told>()?.send("the handler ran".to_owned()).unwrap(),
            _ => {}
        }
        let protocols = request.headers().get("sec-websocket-protocol").cloned();
        let (socket, mut response) = ctx.accept_websocket(&mut request, tags)?;
        if let Some(protocols) = protocols {
            let first = protocols.to_str().unwrap_or_default().split(',').next();
            let first = first.unwrap_or_default().trim().parse();
            response.headers_mut().insert("sec-websocket-protocol", first.unwrap());
        }
        match request.uri().path() {
            "/greeted" => socket.send("welcome")?,
            "/changed" => *response.status_mut() = http::StatusCode::FORBIDDEN,
            _ => {}
        }
        Ok(response)
    }

    pub fn count(&self, ctx: &Context) -> usize {
        ctx.websockets().len()
    }

    pub fn open(&self, ctx: &Context) -> usize {
        let sockets = ctx.websockets();
        sockets.iter().filter(|socket| socket.state() == durable::SocketState::Open).count()
    }

    pub fn say(&self, ctx: &Context, tag: Option<String>, text: String) -> usize {
        match tag {
            None => ctx.broadcast(text),
            Some(tag) => ctx.broadcast_tagged(&tag, text),
        }
    }

    fn websocket_message(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        self.seen += 1;
        let text = message.as_text().unwrap_or_default().to_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "seen" => socket.send(self.seen.to_string()),
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                socket.send("before")?;
                socket.close(code.parse::<u16>().ok(), reason)
            }
            "stored" => {
                ctx.kv().put("stored", rest)?;
                socket.send(rest)
            }
            _ => socket.send(message),
        }
    }

    fn websocket_close(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        close: Close,
    ) -> Result<()> {
        if close.reason == "answer me" {
            socket.close(4100, "back")?;
        }
        let how = if close.was_clean { "clean" } else { "lost" };
        let told = format!("{} {} {how}", close.code, close.reason);
        let _ = ctx.env::<Told>()?.send(told);
        Ok(())
    }

    fn websocket_error(
        &mut self,
        ctx: &Context<Self>,
        _: WebSocket,
        error: SocketError,
    ) -> Result<()> {
        let _ = ctx.env::<Told>()?.send(format!("error {error}"));
        Ok(())
    }
}

/// A server with one class, and what its objects tell.
struct Place {
    _bed: Bed,
    runtime: Runtime,
    server: Server,
    events: mpsc::UnboundedReceiver<String>,
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn start() -> Place {
    start_with(|builder| builder).await
}

async fn start_with(setup: impl FnOnce(Builder) -> Builder) -> Place {
    let bed = Bed::new(Form::Moved);
    let (told, events) = mpsc::unbounded_channel::<String>();
    let builder = setup(bed.builder().env(told).register::<Line>());
    let runtime = builder.start().await.unwrap();
    let app = router(&runtime).expose::<Line>(Expose::Fetch).build().unwrap();
    let server = Server::start(&runtime, app).await;
    Place { _bed: bed, runtime, server, events }
}

impl Place {
    fn url(&self, rest: &str) -> String {
        format!("ws://{}/Line/name/a/fetch{rest}", self.server.address)
    }

    async fn join(&self, rest: &str) -> Client {
        connect_async(self.url(rest)).await.unwrap().0
    }

    fn line(&self) -> LineStub {
        self.runtime.get::<Line>("a")
    }

    /// What the object tells next.
    async fn event(&mut self) -> String {
        self.events.recv().await.unwrap()
    }

    /// All that has been told, once the runtime has ended.
    async fn rest(mut self) -> Vec<String> {
        self.runtime.shutdown().await.unwrap();
        let mut rest = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            rest.push(event);
        }
        rest
    }

    /// A connection on which the upgrade is sent by hand, and what is answered.
    async fn by_hand(&self, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }
}

/// An upgrade with these lines in place of the usual ones of the same name, or without them if they are empty.
fn upgrade(lines: &[(&str, &str)]) -> String {
    let mut head = String::from("GET /Line/name/a/fetch/join HTTP/1.1\r\n");
    for (name, usual) in [
        ("Host", "a.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", ""),
    ] {
        let value = lines.iter().find(|line| line.0 == name).map_or(usual, |line| line.1);
        if !value.is_empty() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head + "\r\n"
}

async fn text(client: &mut Client) -> String {
    match client.next().await.unwrap().unwrap() {
        Said::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Reads up to the close frame, and to the end of the connection behind it.
async fn closed(client: &mut Client) -> Option<(u16, String)> {
    let frame = loop {
        match client.next().await.unwrap().unwrap() {
            Said::Close(frame) => break frame,
            Said::Text(_) | Said::Binary(_) => {}
            other => panic!("{other:?}"),
        }
    };
    if let Some(Err(error)) = client.next().await {
        panic!("the connection ends with {error}");
    }
    frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()))
}

fn close_frame(code: u16, reason: &str) -> Said {
    Said::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
}
