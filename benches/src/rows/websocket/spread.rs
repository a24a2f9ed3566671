//! One message to 5,000 clients in another process, until the last of them has it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime as Executor;
use tokio_tungstenite::tungstenite::Message as Said;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

use super::clients::config;
use super::{Room, TEXT, rooms, serve, url};
use crate::child::Companion;
use crate::measure::{Pace, Row, Run, Sides, Size, count};
use crate::rows::{executor, ok};

pub(super) fn rows() -> Vec<Row> {
    vec![Row {
        name: "websocket broadcast to 5,000",
        unit: "ms until all have it",
        limit_name: "tokio-tungstenite",
        pace: Pace::Timed,
        set_up,
    }]
}

fn set_up(size: Size) -> Sides {
    let (executor, sockets) = (Arc::new(executor()), size.scaled(5_000));
    let (runtime, app) = rooms(&executor, &ok(tempfile::tempdir()).keep());
    let address = serve(&executor, &runtime, app);
    let clients = Companion::start(&["listen", &url(address, "a"), &sockets.to_string()]);
    let room = runtime.get::<Room>("a");
    let ours = {
        let executor = Arc::clone(&executor);
        run(clients, move || {
            ok(executor.block_on(room.say(TEXT.to_owned())));
        })
    };
    let (others, clients) = bare(&executor, sockets);
    let others = RefCell::new(others);
    let limit = run(clients, move || {
        let mut others = others.borrow_mut();
        let others = &mut *others;
        executor.block_on(async move {
            for socket in others {
                ok(socket.send(Said::text(TEXT)).await);
            }
        });
    });
    Sides::pair(ours, limit)
}

/// The limit: the same bytes, written to one socket after the other.
fn bare(executor: &Executor, sockets: usize) -> (Vec<WebSocketStream<TcpStream>>, Companion) {
    let listener = ok(executor.block_on(TcpListener::bind("127.0.0.1:0")));
    let address = ok(listener.local_addr());
    let accepting = executor.spawn(async move {
        let mut accepted = Vec::with_capacity(sockets);
        for _ in 0..sockets {
            let (connection, _) = ok(listener.accept().await);
            ok(connection.set_nodelay(true));
            accepted.push(ok(accept_async_with_config(connection, Some(config())).await));
        }
        accepted
    });
    let clients = Companion::start(&["listen", &url(address, "a"), &sockets.to_string()]);
    (ok(executor.block_on(accepting)), clients)
}

/// Milliseconds from the broadcast until the clients say that all have it.
fn run(clients: Companion, broadcast: impl Fn() + 'static) -> Run {
    let clients = RefCell::new(clients);
    Box::new(move |time: Duration| {
        let (begin, mut broadcasts) = (Instant::now(), 0);
        while begin.elapsed() < time {
            broadcast();
            clients.borrow_mut().line();
            broadcasts += 1;
        }
        begin.elapsed().as_secs_f64() * 1e3 / count(broadcasts)
    })
}
