//! What a socket takes in the server's process while its object sleeps. Counted from the second half of them on: the allocator
//! has by then what it keeps.

use std::net::{Ipv4Addr, SocketAddr};

use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime as Executor;
use tokio::sync::mpsc;

use super::{Room, rooms, serve, url};
use crate::child::{self, Companion};
use crate::measure::{Pace, Row, Run, Sides, Size, count};
use crate::rows::memory::usage;
use crate::rows::{executor, fail, ok};
use durable::prelude::*;

/// How many bytes a stream in memory takes before it must be read.
const STREAM_BYTES: usize = 256;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "KiB, no limit",
        limit_name: "",
        pace: Pace::Whole,
        set_up,
    };
    vec![
        row("memory of a WebSocket over TCP, its object asleep", |size| {
            figure(size, "websockets", 10_000)
        }),
        row("memory of a WebSocket through streams in memory", |size| {
            figure(size, "websocket-streams", 30_000)
        }),
    ]
}

fn figure(size: Size, which: &'static str, sockets: usize) -> Sides {
    let sockets = size.scaled(sockets).to_string();
    let ours: Run = Box::new(move |_| child::figures(&[which, &sockets])[0]);
    Sides::alone(ours)
}

/// Prints KiB of each socket over TCP. The clients are in another process.
pub(crate) fn over_tcp(sockets: usize) {
    let (executor, directory) = (executor(), ok(tempfile::tempdir()));
    let (runtime, app) = rooms(&executor, directory.path());
    let url = url(serve(&executor, &runtime, app), "a");
    let half = (sockets / 2).to_string();
    let _first = Companion::start(&["listen", &url, &half]);
    fall_asleep(&runtime);
    let before = usage().0;
    let _second = Companion::start(&["listen", &url, &half]);
    fall_asleep(&runtime);
    print_each(before, sockets / 2);
}

/// Prints KiB of each socket through a stream in memory: with the stream itself, and both of its ends.
pub(crate) fn through_streams(sockets: usize) {
    let (executor, directory) = (executor(), ok(tempfile::tempdir()));
    let (runtime, app) = rooms(&executor, directory.path());
    let (connect, connections) = mpsc::channel(1);
    executor.spawn(axum::serve(Streams(connections), app).into_future());
    let mut clients = Vec::with_capacity(sockets);
    connect_streams(&executor, &connect, &mut clients, sockets / 2);
    fall_asleep(&runtime);
    let before = usage().0;
    connect_streams(&executor, &connect, &mut clients, sockets / 2);
    fall_asleep(&runtime);
    print_each(before, sockets / 2);
    let counted = ok(executor.block_on(runtime.get::<Room>("a").count()));
    assert_eq!(counted, clients.len(), "all are still there");
}

fn fall_asleep(runtime: &Runtime) {
    let rooms = runtime.namespace::<Room>();
    let id = ok(rooms.id_from_name("a"));
    while !ok(rooms.evict(&id)) {
        std::thread::yield_now();
    }
}

fn print_each(before: f64, sockets: usize) {
    println!("{}", (usage().0 - before) / count(sockets));
}

/// Connections that other tasks of this process make.
struct Streams(mpsc::Receiver<DuplexStream>);

impl Listener for Streams {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
        match self.0.recv().await {
            Some(connection) => (connection, (Ipv4Addr::LOCALHOST, 0).into()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 0).into())
    }
}

fn connect_streams(
    executor: &Executor,
    connect: &mpsc::Sender<DuplexStream>,
    clients: &mut Vec<DuplexStream>,
    sockets: usize,
) {
    let upgrade = "GET /Room/name/a/fetch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    executor.block_on(async {
        for _ in 0..sockets {
            let (mut client, server) = tokio::io::duplex(STREAM_BYTES);
            ok(connect.send(server).await);
            ok(client.write_all(upgrade.as_bytes()).await);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(ok(client.read_u8().await));
            }
            if !head.starts_with(b"HTTP/1.1 101") {
                fail("a stream did not become a WebSocket");
            }
            clients.push(client);
        }
    });
}
