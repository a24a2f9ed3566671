//! Calls of an object on a server over loopback, against bare TCP: an echo of as many bytes as the frames have, by the same number of
//! callers on one connection, written and read by hand.

use std::sync::Arc;
use std::time::Duration;

use durable::Client;
use durable::http::{Expose, router};
use durable::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime as Executor;
use tokio::sync::Semaphore;

use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::{executor, fail, ok};

/// Operations between two looks at the clock.
const BATCH: usize = 200;

/// What a frame of a call takes on the wire, with its head, its mask and its arguments; a reply takes less.
const FRAME_BYTES: usize = 48;

#[derive(Default)]
struct Counter {
    total: u64,
}

#[durable_object]
impl Counter {
    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "calls/s",
        limit_name: "bare TCP echo",
        pace: Pace::Timed,
        set_up,
    };
    vec![row("remote, one at a time", |_| set_up(1)), row("remote, 100 in flight", |_| set_up(100))]
}

fn set_up(callers: usize) -> Sides {
    // Server and client do not share a thread.
    let (server, client) = (Arc::new(executor()), Arc::new(executor()));
    Sides::pair(
        ours(Arc::clone(&server), Arc::clone(&client), callers),
        echo(server, client, callers),
    )
}

fn ours(server: Arc<Executor>, client: Arc<Executor>, callers: usize) -> Run {
    let path = ok(tempfile::tempdir()).keep();
    let address = server.block_on(async {
        let runtime = ok(Runtime::builder(path).register::<Counter>().start().await);
        let app = ok(router(&runtime).expose::<Counter>(Expose::All).build());
        let listener = ok(TcpListener::bind("127.0.0.1:0").await);
        let address = ok(listener.local_addr());
        tokio::spawn(durable::http::serve(&runtime, listener, app).into_future());
        address
    });
    let url = format!("http://{address}");
    let connected = ok(client.block_on(Client::connect(&url)));
    let counter = connected.namespace::<Counter>().get_by_name("a");
    Box::new(move |time: Duration| {
        // They belong to the run.
        let _ = &server;
        rate(time, || {
            let tasks: Vec<_> = (0..callers)
                .map(|_| {
                    let counter = counter.clone();
                    client.spawn(async move {
                        for _ in 0..BATCH {
                            if let Err(error) = counter.add(1).await {
                                fail(&error.to_string());
                            }
                        }
                    })
                })
                .collect();
            client.block_on(async {
                for task in tasks {
                    let _ = task.await;
                }
            });
            callers * BATCH
        })
    })
}

/// As many frames under way as there are callers, each written by itself when it is alone, and together when there are more.
fn echo(server: Arc<Executor>, client: Arc<Executor>, callers: usize) -> Run {
    let address = server.block_on(async {
        let listener = ok(TcpListener::bind("127.0.0.1:0").await);
        let address = ok(listener.local_addr());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                ok(stream.set_nodelay(true));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..bytes]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    });
    Box::new(move |time: Duration| {
        let _ = &server;
        rate(time, || client.block_on(exchange(address, callers)))
    })
}

async fn exchange(address: std::net::SocketAddr, callers: usize) -> usize {
    let stream = ok(TcpStream::connect(address).await);
    ok(stream.set_nodelay(true));
    let (mut reader, mut writer) = stream.into_split();
    let total = callers * BATCH;
    let room = Arc::new(Semaphore::new(callers));
    let freed = Arc::clone(&room);
    let reading = tokio::spawn(async move {
        let (mut buffer, mut seen, mut done) = (vec![0; 64 * 1024], 0, 0);
        while done < total {
            let Ok(bytes @ 1..) = reader.read(&mut buffer).await else { fail("the echo ended") };
            seen += bytes;
            let whole = seen / FRAME_BYTES - done;
            done += whole;
            freed.add_permits(whole);
        }
    });
    let frames = vec![7; callers * FRAME_BYTES];
    let mut left = total;
    while left > 0 {
        let Ok(first) = room.acquire().await else { break };
        first.forget();
        let more = room.available_permits().min(left - 1);
        let more = room.try_acquire_many(u32::try_from(more).unwrap_or(0)).map_or(0, |permits| {
            let more = permits.num_permits();
            permits.forget();
            more
        });
        ok(writer.write_all(&frames[..(1 + more) * FRAME_BYTES]).await);
        left -= 1 + more;
    }
    ok(reading.await);
    total
}
