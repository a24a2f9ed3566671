//! Says how much memory a WebSocket takes whose object sleeps, without the buffers of a transport: `sockets [SOCKETS]`.
#![allow(clippy::print_stdout, reason = "a command-line program prints its figure")]
#![allow(clippy::needless_pass_by_value, reason = "a handler gets what is its own")]

use clap::Parser;
use durable::prelude::*;
use durable::transport::{Incoming, PendingSocket};
use durable::{Body, Error};
use futures_util::{sink, stream};

#[derive(Parser)]
struct Options {
    /// How many sockets the object has
    #[arg(default_value_t = 10_000)]
    sockets: usize,
}

#[derive(Default)]
struct Room;

#[durable_object]
impl Room {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        let (socket, response) = ctx.accept_websocket(&mut request, ["member", "bench"])?;
        socket.set_attachment(&format!("member {}", socket.id()))?;
        Ok(response)
    }

    pub fn count(&self, ctx: &Context) -> usize {
        ctx.websockets().len()
    }

    fn websocket_message(
        &mut self,
        _: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        socket.send(message)
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let Options { sockets } = Options::parse();
    let directory = tempfile::tempdir()?;
    let runtime = Runtime::builder(directory.path()).register::<Room>().start().await?;
    let room = runtime.get::<Room>("a");
    // What the first one alone has brought into memory is not counted.
    connect(&room).await?;
    let before = resident_bytes()?;
    for _ in 1..sockets {
        connect(&room).await?;
    }
    let id = runtime.namespace::<Room>().id_from_name("a")?;
    while !runtime.namespace::<Room>().evict(&id)? {
        tokio::task::yield_now().await;
    }
    let taken = resident_bytes()?.saturating_sub(before);
    println!("{sockets} sockets of an object that sleeps: {} bytes each", taken / sockets);
    assert_eq!(room.count().await?, sockets);
    runtime.shutdown().await?;
    Ok(())
}

/// Opens a socket whose peer says nothing, and takes what it is sent.
async fn connect(room: &RoomStub) -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Request::new(Body::empty());
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, value.parse()?);
    }
    let mut response = room.fetch(request).await?;
    let driver = PendingSocket::take(&mut response).ok_or(Error::other("no socket"))?;
    tokio::spawn(driver.run(stream::pending::<Incoming>(), sink::drain()));
    Ok(())
}

/// Of this process.
fn resident_bytes() -> Result<usize, Box<dyn std::error::Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).ok_or("no second number")?.parse::<usize>()?;
    Ok(pages * rustix::param::page_size())
}
