//! What the objects do when a client asks for a socket, and with what comes from it.

use std::sync::Arc;

use durable::prelude::*;
use durable::{Body, Error};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Interpreter, Replayer};
use crate::case::{Ops, ops_in};
use crate::differences::Rule;
use crate::run::{Frame, Way, run};
use crate::turn::{Turn, sockets};
use crate::value::Value;
use crate::world::{Progress, World};

/// Answers a client that asks for a socket under this number. An error is a part of the answer.
pub(super) async fn accept(
    this: Handle<Replayer>,
    mut request: Request,
    number: usize,
) -> Result<Response> {
    let world = Arc::clone(this.env::<Arc<World>>()?);
    let offered = world.offered(number);
    let (offer, progress) = offered.ok_or_else(|| Error::other("nobody has asked for it"))?;
    let accepted = this.turn(move |object, ctx| {
        let mut turn = Turn::new(object.memory(), ctx, &world, None);
        let (socket, response) = turn.accept(&mut request, &offer)?;
        world.accepts(number, &ctx.id().to_string(), socket.id());
        Ok::<_, Error>(response)
    });
    accepted.await.or_else(|error| {
        progress.fail(0, sockets::refusal(&error, "error"));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        Ok(response)
    })
}

/// A message comes: it holds operations, or is sent back if the script says so.
pub(super) async fn hear(
    this: Handle<Replayer>,
    socket: WebSocket,
    message: Message,
) -> Result<()> {
    let world = Arc::clone(this.env::<Arc<World>>()?);
    let progress = Progress::default();
    let begin = {
        let (world, progress) = (Arc::clone(&world), progress.clone());
        move |object: &mut Replayer, ctx: &Context<Replayer>| -> Result<Option<Ops>> {
            let id = ctx.id().to_string();
            let ops = message.as_text().and_then(ops_in);
            let event = json!({
                "ev": "message",
                "ws": label(&socket),
                "type": message.as_text().map_or("ArrayBuffer", |_| "text"),
                "data": shown(&message),
                "inst": object.memory().instance,
            });
            world.log(&id, event, ops.as_ref().map(|_| &progress));
            if ops.is_none() && world.socket_script(&id).echo {
                socket.send(message)?;
            }
            Ok(ops)
        }
    };
    if let Some(ops) = this.turn(begin).await? {
        run(Frame::new(Way::Open(this), &world, &progress), ops).await;
    }
    Ok(())
}

/// The client has closed, or is gone.
pub(super) fn end(
    object: &mut Replayer,
    ctx: &Context<Replayer>,
    socket: &WebSocket,
    close: &Close,
) -> Result<()> {
    let world = ctx.env::<Arc<World>>()?;
    let id = ctx.id().to_string();
    let mut event = json!({
        "ev": "close",
        "ws": label(socket),
        "code": close.code,
        "reason": close.reason,
        "wasClean": close.was_clean,
        "state": sockets::state(socket),
        "listed": ctx.websockets().contains(socket),
        "inst": object.memory().instance,
    });
    // There, a connection that is lost is one that is being closed.
    if !close.was_clean && world.emulates(Rule::SocketsAreSeenTo) {
        event["reason"] = "WebSocket disconnected without sending Close frame.".into();
        event["state"] = 2.into();
    }
    let script = world.socket_script(&id);
    if script.send_in_close {
        socket.send("closing")?;
    }
    if let Some(arguments) = &script.close_back {
        sockets::close(socket, arguments)?;
        world.object_closes(socket.id());
        event["stateAfter"] = sockets::state(socket).into();
    }
    world.log(&id, event, None);
    if script.throw_in_close { Err(Error::other("boom in close")) } else { Ok(()) }
}

/// The cases call a client by the first tag of its socket.
fn label(socket: &WebSocket) -> Json {
    socket.tags().next().into()
}

fn shown(message: &Message) -> Json {
    match message {
        Message::Text(text) => Value::Text(text.clone()).record(),
        Message::Binary(bytes) => Value::Blob(bytes.clone()).record(),
    }
}
