//! A member without a browser.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A message as the room shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) text: String,
    pub(crate) at_ms: i64,
}

/// What the room says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Frame {
    Welcome { members: Vec<String>, posts: Vec<Post> },
    Posted { post: Post },
    Joined { name: String },
    Left { name: String },
    Refused { id: Option<String>, reason: String, retry_after_ms: Option<u64> },
}

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn join(server: SocketAddr, room: &str, name: &str) -> Result<Self, Error> {
        let url = format!("ws://{server}/objects/Room/name/{room}/fetch/socket?name={name}");
        let (socket, _) = connect_async(url).await?;
        Ok(Client { socket })
    }

    pub(crate) async fn post(&mut self, id: &str, text: &str) -> Result<(), Error> {
        let frame = json!({ "type": "post", "id": id, "text": text });
        self.socket.send(Message::from(frame.to_string())).await
    }

    /// The next frame that the room sends, or how the connection has ended: the code, if it was told.
    pub(crate) async fn next(&mut self) -> Result<Frame, Option<u16>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(close))) => return Err(close.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Posts, and waits until it is stored.
    pub(crate) async fn adds(&mut self, id: &str, text: &str) -> Post {
        self.post(id, text).await.unwrap();
        loop {
            match self.next().await.unwrap() {
                Frame::Posted { post } if post.id == id => return post,
                Frame::Refused { reason, .. } => panic!("{id} is refused: {reason}"),
                _ => {}
            }
        }
    }
}

/// A request without a body, and its reply as text.
pub(crate) async fn ask(request: http::request::Builder) -> Response<String> {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
    let request: Request<Body> = request.body(Body::empty()).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Response::from_parts(parts, String::from_utf8(bytes.to_vec()).unwrap())
}

pub(crate) async fn get(server: SocketAddr, path: &str) -> Response<String> {
    ask(Request::builder().uri(format!("http://{server}{path}"))).await
}

/// All messages of a room, the oldest first, as a page reads them: page by page, backwards.
pub(crate) async fn history(server: SocketAddr, room: &str) -> Vec<Post> {
    let mut posts: Vec<Post> = Vec::new();
    loop {
        let before = posts.first().map(|post| format!("?before={}", post.seq)).unwrap_or_default();
        let reply = get(server, &format!("/objects/Room/name/{room}/history{before}")).await;
        let mut page: Vec<Post> = serde_json::from_str(reply.body()).unwrap();
        if page.is_empty() {
            return posts;
        }
        page.append(&mut posts);
        posts = page;
    }
}
