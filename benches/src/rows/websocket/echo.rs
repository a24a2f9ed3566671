//! A hundred clients that each send a message, wait until it comes back, and send the next one.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime as Executor;
use tokio::sync::Mutex;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message as Said;

use super::clients::{Client, connect};
use super::{TEXT, rooms, serve, url};
use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::{executor, fail, ok};

const SOCKETS: usize = 100;
/// Messages of each between two looks at the clock.
const BATCH: usize = 20;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "messages/s",
        limit_name: "tokio-tungstenite",
        pace: Pace::Timed,
        set_up,
    };
    vec![
        row("websocket echo, 100 sockets of one object", |_| set_up(1)),
        row("websocket echo, 100 sockets of 100 objects", |_| set_up(SOCKETS)),
    ]
}

fn set_up(objects: usize) -> Sides {
    let executor = Arc::new(executor());
    let (runtime, app) = rooms(&executor, &ok(tempfile::tempdir()).keep());
    let address = serve(&executor, &runtime, app);
    let ours = (0..SOCKETS).map(|number| url(address, &(number % objects).to_string()));
    let ours = executor.block_on(connect(ours));
    let bare = url(executor.block_on(bare_server()), "bare");
    let bare = executor.block_on(connect((0..SOCKETS).map(|_| bare.clone())));
    Sides::pair(run(Arc::clone(&executor), ours), run(executor, bare))
}

/// The limit: the same library as the clients', and no object.
async fn bare_server() -> std::net::SocketAddr {
    let listener = ok(TcpListener::bind("127.0.0.1:0").await);
    let address = ok(listener.local_addr());
    tokio::spawn(async move {
        loop {
            let (connection, _) = ok(listener.accept().await);
            ok(connection.set_nodelay(true));
            tokio::spawn(async move {
                let mut socket = ok(accept_async(connection).await);
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn run(executor: Arc<Executor>, clients: Vec<Client>) -> Run {
    let clients: Vec<_> = clients.into_iter().map(|client| Arc::new(Mutex::new(client))).collect();
    Box::new(move |time| {
        rate(time, || {
            let tasks: Vec<_> =
                clients.iter().map(|client| executor.spawn(talk(Arc::clone(client)))).collect();
            executor.block_on(async {
                for task in tasks {
                    ok(task.await);
                }
            });
            clients.len() * BATCH
        })
    })
}

async fn talk(client: Arc<Mutex<Client>>) {
    let mut client = client.lock().await;
    for _ in 0..BATCH {
        ok(client.send(Said::text(TEXT)).await);
        match client.next().await {
            Some(Ok(Said::Text(text))) if text.as_str() == TEXT => {}
            other => fail(&format!("a client got {other:?}")),
        }
    }
}
