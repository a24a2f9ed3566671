//! Hibernating WebSockets over TCP, against a bare `tokio-tungstenite` without objects, and what one takes that sleeps.

mod clients;
mod echo;
mod memory;
mod spread;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use durable::http::{Expose, router};
use durable::prelude::*;
use tokio::net::TcpListener;
use tokio::runtime::Runtime as Executor;

use crate::measure::Row;
use crate::rows::ok;

pub(crate) use clients::listen;
pub(crate) use memory::{over_tcp, through_streams};

/// What is sent.
const TEXT: &str = "somebody has said something, and everybody is to hear of it: this is what a line of a chat looks like";

pub(crate) fn rows() -> Vec<Row> {
    [echo::rows(), spread::rows(), memory::rows()].into_iter().flatten().collect()
}

/// Answers with what it is told.
#[derive(Default)]
struct Room;

#[durable_object]
impl Room {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        Ok(ctx.accept_websocket(&mut request, [])?.1)
    }

    pub fn say(&self, ctx: &Context, text: String) -> usize {
        ctx.broadcast(text)
    }

    pub fn count(&self, ctx: &Context) -> usize {
        ctx.websockets().len()
    }

    #[allow(clippy::needless_pass_by_value, reason = "a handler gets what is its own")]
    fn websocket_message(
        &mut self,
        _: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        socket.send(message)
    }
}

/// A runtime with rooms, and how they are reached. The process ends with it.
fn rooms(executor: &Executor, directory: &Path) -> (Runtime, Router) {
    // Clients that are not measured at the moment answer no pings.
    let builder = Runtime::builder(directory).websocket_idle_ping(Duration::from_hours(1));
    let runtime = ok(executor.block_on(builder.register::<Room>().start()));
    let app = ok(router(&runtime).expose::<Room>(Expose::Fetch).build());
    (runtime, app)
}

/// Serves it on a port of this machine.
fn serve(executor: &Executor, runtime: &Runtime, app: Router) -> SocketAddr {
    executor.block_on(async {
        let listener = ok(TcpListener::bind("127.0.0.1:0").await);
        let address = ok(listener.local_addr());
        tokio::spawn(durable::http::serve(runtime, listener, app).into_future());
        address
    })
}

/// The room of this name.
fn url(address: SocketAddr, room: &str) -> String {
    format!("ws://{address}/Room/name/{room}/fetch")
}
