//! The object that most tests talk to.

use durable::prelude::*;
use durable::{Body, Error, ErrorKind, SocketError, SocketState};

/// Does what its members tell it.
#[derive(Default)]
pub(super) struct Room {
    /// Messages that this instance has seen.
    seen: u32,
}

/// What the path and the query of a request say: `/join?tag,tag`.
fn tags(request: &Request) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    query.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

pub(super) fn note(ctx: &Context, what: &str) -> Result<()> {
    let mut notes: Vec<String> = ctx.kv().get("notes")?.unwrap_or_default();
    notes.push(what.to_owned());
    ctx.kv().put("notes", &notes)
}

#[durable_object]
impl Room {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        let tags = tags(&request);
        let (socket, response) = ctx.accept_websocket(&mut request, tags)?;
        match request.uri().path() {
            "/undone" => return Err(Error::other("changed its mind")),
            "/forgotten" => return Ok(Response::new(Body::empty())),
            "/greeted" => socket.send("welcome")?,
            _ => socket.set_attachment(&socket.tags().next().unwrap_or("nobody"))?,
        }
        assert!(ctx.websockets().contains(&socket), "a turn sees what it accepts");
        Ok(response)
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("notes")?.unwrap_or_default())
    }

    pub fn names(&self, ctx: &Context, tag: Option<String>) -> Result<Vec<String>> {
        let sockets = tag.map_or_else(|| ctx.websockets(), |tag| ctx.websockets_tagged(&tag));
        sockets.iter().map(|socket| Ok(socket.attachment()?.unwrap_or_default())).collect()
    }

    pub fn say(&self, ctx: &Context, tag: Option<String>, text: String) -> usize {
        match tag {
            None => ctx.broadcast(text),
            Some(tag) => ctx.broadcast_tagged(&tag, Message::Text(text)),
        }
    }

    pub fn answer_by_itself(
        &mut self,
        ctx: &Context,
        pair: Option<(String, String)>,
    ) -> Result<()> {
        let pair = pair.as_ref().map(|(request, response)| (&**request, &**response));
        ctx.set_websocket_auto_response(pair)?;
        assert_eq!(
            ctx.websocket_auto_response().as_ref().map(|(a, b)| (&**a, &**b)),
            pair,
            "a turn sees what it sets"
        );
        Ok(())
    }

    fn websocket_message(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        self.seen += 1;
        let Message::Text(text) = message else { return socket.send(message) };
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "echo" => socket.send(rest),
            "seen" => socket.send(self.seen.to_string()),
            "note" => note(ctx, rest),
            "rename" => {
                socket.set_attachment(rest)?;
                assert_eq!(socket.attachment::<String>()?.as_deref(), Some(rest));
                Ok(())
            }
            "all" => {
                ctx.broadcast(rest);
                Ok(())
            }
            "close" => {
                socket.send("before")?;
                socket.close(rest.parse::<u16>().ok(), "")?;
                assert_eq!(socket.state(), SocketState::Closing);
                assert_eq!(socket.send("after").unwrap_err().kind(), ErrorKind::Invalid);
                assert_eq!(ctx.broadcast("after"), ctx.websockets().len() - 1);
                socket.close(4999, "the second is as none")
            }
            // All of these are undone.
            "fail" | "panic" | "abort" => {
                note(ctx, "undone")?;
                socket.send("undone")?;
                socket.set_attachment("undone")?;
                ctx.broadcast("undone");
                ctx.set_websocket_auto_response(("undone", "undone"))?;
                socket.close(1000, "undone")?;
                match word {
                    "panic" => panic!("on purpose"),
                    "abort" => Err(ctx.abort("on purpose")),
                    _ => Err(Error::other("on purpose")),
                }
            }
            _ => socket.send(format!("what is {word}?")),
        }
    }

    fn websocket_close(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        close: Close,
    ) -> Result<()> {
        let Close { code, reason, was_clean, .. } = close;
        let how = if was_clean { "clean" } else { "lost" };
        let listed = ctx.websockets().contains(&socket);
        note(ctx, &format!("{code} {reason} {how} {:?} {listed}", socket.state()))?;
        if reason == "answer me" {
            socket.send("farewell")?;
            socket.close(4100, "back")?;
            assert_eq!(socket.state(), SocketState::Closed);
        }
        if reason == "fail" { Err(Error::other("on purpose")) } else { Ok(()) }
    }

    fn websocket_error(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        error: SocketError,
    ) -> Result<()> {
        note(ctx, &format!("error {:?}: {error}", socket.state()))
    }
}
