//! Durable increments over HTTP by 64 connections, against a bare axum server that counts in memory, and keeps nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use durable::http::{Expose, router};
use durable::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime as Executor;

use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::{executor, fail, ok};

const CONNECTIONS: usize = 64;

/// Requests of each connection between two looks at the clock.
const BATCH: usize = 50;

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create(m: &mut Migration<'_>) -> Result<()> {
        m.execute_batch("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO counter VALUES (1, 0)")
    }

    pub fn increment(&mut self, ctx: &Context) -> Result<i64> {
        ctx.sql().execute("UPDATE counter SET n = n + 1", ())?;
        ctx.sql().query_one("SELECT n FROM counter", ())
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "requests/s",
        limit_name: "axum, in memory",
        pace: Pace::Timed,
        set_up,
    };
    vec![
        row("http, increments of one object", |_| set_up(1)),
        row("http, increments of 1,000 objects", |_| set_up(1_000)),
    ]
}

fn set_up(objects: usize) -> Sides {
    let (server, client) = (Arc::new(executor()), Arc::new(executor()));
    let path = ok(tempfile::tempdir()).keep();
    let (durable, bare) = server.block_on(async {
        let runtime = ok(Runtime::builder(path).register::<Counter>().start().await);
        let app = ok(router(&runtime).expose::<Counter>(Expose::All).build());
        std::mem::forget(runtime);
        let total = Arc::<AtomicU64>::default();
        let count = move || {
            let total = total.fetch_add(1, Ordering::Relaxed);
            async move { total.to_string() }
        };
        let bare = axum::Router::new().fallback(count);
        (serve(app).await, serve(bare).await)
    });
    let run = |address| load(Arc::clone(&server), Arc::clone(&client), address, objects);
    Sides::pair(run(durable), run(bare))
}

async fn serve(app: axum::Router) -> SocketAddr {
    let listener = ok(TcpListener::bind("127.0.0.1:0").await);
    let address = ok(listener.local_addr());
    tokio::spawn(
        axum::serve(axum::serve::ListenerExt::tap_io(listener, |io| ok(io.set_nodelay(true))), app)
            .into_future(),
    );
    address
}

fn load(server: Arc<Executor>, client: Arc<Executor>, address: SocketAddr, objects: usize) -> Run {
    let connect = |_| ok(client.block_on(TcpStream::connect(address)));
    let streams: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let streams = streams.into_iter().map(|stream| {
        ok(stream.set_nodelay(true));
        Arc::new(tokio::sync::Mutex::new(BufReader::new(stream)))
    });
    let streams: Vec<_> = streams.collect();
    Box::new(move |time: Duration| {
        let _ = &server;
        rate(time, || {
            let tasks: Vec<_> = streams
                .iter()
                .enumerate()
                .map(|(number, stream)| {
                    let stream = Arc::clone(stream);
                    client.spawn(async move {
                        let mut stream = stream.lock().await;
                        for call in 0..BATCH {
                            let object = (number * BATCH + call) % objects;
                            ok(request(&mut stream, object).await);
                        }
                    })
                })
                .collect();
            client.block_on(async {
                for task in tasks {
                    ok(task.await);
                }
            });
            CONNECTIONS * BATCH
        })
    })
}

/// Sends one request and reads its answer: as little as HTTP/1.1 needs.
async fn request(stream: &mut BufReader<TcpStream>, object: usize) -> std::io::Result<()> {
    let request = format!(
        "POST /Counter/name/{object}/increment HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.get_mut().write_all(request.as_bytes()).await?;
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 200") {
            fail(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = ok(value.trim().parse());
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map(|_| ())
}
