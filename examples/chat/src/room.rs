//! A room: its messages in SQL, its members on sockets that stay open while it sleeps.
//!
//! What to look at:
//! - **What anybody sees is stored.** A frame leaves when the turn that sends it is on disk, so there is nothing here that
//!   waits or confirms: an author who sees the own message come back knows that it is stored.
//! - **Sent twice, stored once.** A client that did not see its message come back sends it again, with the same id.
//! - **Who is here** is who has a socket. It is kept nowhere: after a crash there is nobody, and no list that says otherwise.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Query};
use axum::http::StatusCode;
use durable::prelude::*;
use durable::{Body, SocketState};
use serde::{Deserialize, Serialize};

use crate::limiter::{Limiter, Token};
use crate::protocol::{Draft, Name, Post, ToMember};

/// How many messages a member gets at once.
pub const PAGE_POSTS: u32 = 50;

/// Where a member connects to, below the room's `fetch`.
const SOCKET_PATH: &str = "/socket";

/// What the room remembers of a socket. It stays with the socket when the room is evicted.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    name: Name,
    /// The name of the limiter that its messages have to pass.
    address: String,
}

/// The query of [`SOCKET_PATH`].
#[derive(Debug, Deserialize)]
struct Join {
    name: Name,
}

/// One room.
#[derive(Debug)]
pub struct Room;

#[durable_object]
impl Room {
    #[migration(1)]
    fn create_messages(db: &mut Migration<'_>) -> Result<()> {
        // `AUTOINCREMENT` is not needed: nothing is ever deleted, so the greatest number is the last.
        db.execute_batch(
            "CREATE TABLE messages (
                 seq INTEGER PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 author TEXT NOT NULL,
                 text TEXT NOT NULL,
                 at_ms INTEGER NOT NULL
             )",
        )
    }

    fn new(ctx: &Context<Self>) -> Result<Self> {
        // Clients ask whether somebody is there; that is no reason to wake.
        ctx.set_websocket_auto_response(("ping", "pong"))?;
        Ok(Room)
    }

    /// A page of messages, the oldest first: those before number `before`, or else the newest.
    pub fn history(&self, ctx: &Context, before: Option<i64>) -> Result<Vec<Post>> {
        let sql = "SELECT seq, id, author, text, at_ms FROM \
                   (SELECT * FROM messages WHERE seq < ? ORDER BY seq DESC LIMIT ?) ORDER BY seq";
        ctx.sql().query_all(sql, (before.unwrap_or(i64::MAX), PAGE_POSTS))
    }

    /// Somebody comes: `/socket?name=Ann`.
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        if request.uri().path() != SOCKET_PATH {
            return Ok(refusal(
                StatusCode::NOT_FOUND,
                format!("a room has {SOCKET_PATH}, and nothing else"),
            ));
        }
        let name = match Query::<Join>::try_from_uri(request.uri()) {
            Ok(Query(join)) => join.name,
            Err(error) => return Ok(refusal(StatusCode::BAD_REQUEST, error.body_text())),
        };
        let is_new = !is_here(ctx, &name, None);
        let address = address(&request);
        // The tag finds all sockets of a name: somebody may have two tabs open.
        let (socket, response) = ctx.accept_websocket(&mut request, [name.as_str()])?;
        if is_new {
            let joined = Message::from(ToMember::Joined { name: name.clone() }.frame()?);
            for other in ctx.websockets().into_iter().filter(|other| *other != socket) {
                send(&other, &joined)?;
            }
        }
        socket.set_attachment(&Member { name, address })?;
        let welcome = ToMember::Welcome { members: members(ctx), posts: self.history(ctx, None)? };
        socket.send(welcome.frame()?)?;
        Ok(response)
    }

    /// A member writes.
    ///
    /// It is async because it waits for another object, and meanwhile the room goes on: other messages may come first, also those of the same member. Who
    /// cares for their order waits until one has come back before sending the next, as our page does.
    async fn websocket_message(
        this: Handle<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        let Some(member) = socket.attachment::<Member>()? else { return Ok(()) };
        let draft = match Draft::read(&message) {
            Ok(draft) => draft,
            Err(unfit) => return tell(&socket, &ToMember::refused(unfit)),
        };
        let limiter = this.namespace::<Limiter>().get_by_name(&member.address);
        if let Token::In(wait) = limiter.take().await? {
            return tell(&socket, &ToMember::too_fast(draft.id, wait));
        }
        this.turn(move |_, ctx| post(ctx, &socket, &member.name, &draft)).await
    }

    /// A member goes, or their connection breaks.
    fn websocket_close(&mut self, ctx: &Context<Self>, socket: WebSocket, _: Close) -> Result<()> {
        let Some(Member { name, .. }) = socket.attachment()? else { return Ok(()) };
        if !is_here(ctx, &name, Some(&socket)) {
            ctx.broadcast(ToMember::Left { name }.frame()?);
        }
        Ok(())
    }
}

/// Stores a message and shows it to everybody: either both happen or nothing.
fn post(ctx: &Context<Room>, socket: &WebSocket, author: &Name, draft: &Draft) -> Result<()> {
    let insert = "INSERT INTO messages (id, author, text, at_ms) VALUES (?, ?, ?, ?) \
                  ON CONFLICT (id) DO NOTHING RETURNING seq, id, author, text, at_ms";
    let row = (&draft.id, author.as_str(), &draft.text, millis(ctx.now()));
    if let Some(post) = ctx.sql().query_optional(insert, row)? {
        ctx.broadcast(ToMember::Posted { post }.frame()?);
        return Ok(());
    }
    // It was stored before, and the others have it. Only the sender, who has lost the connection since, may not know.
    let stored = "SELECT seq, id, author, text, at_ms FROM messages WHERE id = ?";
    let post = ctx.sql().query_one(stored, [&draft.id])?;
    tell(socket, &ToMember::Posted { post })
}

fn tell(socket: &WebSocket, what: &ToMember) -> Result<()> {
    send(socket, &Message::from(what.frame()?))
}

/// Sends it, unless the socket is being closed.
fn send(socket: &WebSocket, message: &Message) -> Result<()> {
    if socket.state() == SocketState::Open { socket.send(message) } else { Ok(()) }
}

/// Whether this name has an open socket, beside one that is left out.
fn is_here(ctx: &Context<Room>, name: &Name, except: Option<&WebSocket>) -> bool {
    let sockets = ctx.websockets_tagged(name.as_str());
    sockets.iter().any(|socket| socket.state() == SocketState::Open && Some(socket) != except)
}

/// All who are here, each once, by name.
fn members(ctx: &Context<Room>) -> Vec<Name> {
    let open = ctx.websockets().into_iter().filter(|socket| socket.state() == SocketState::Open);
    let names = open.filter_map(|socket| socket.attachment::<Member>().ok().flatten());
    names.map(|member| member.name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Where a request comes from: `durable::http::serve` tells. In a test there may be no network.
fn address(request: &Request) -> String {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(|| "this process".to_owned(), |ConnectInfo(peer)| peer.ip().to_string())
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn refusal(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
