//! A chat in the browser: a durable object for each room.
//!
//! Start reading at [`room`]: the object, its messages and its members. [`limiter`] is another one, which the room asks how fast an address may
//! write; [`protocol`] is what goes over the socket; [`web`] serves the page in `page/` and nests the objects beside it.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]
#![allow(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    reason = "objects without fields have methods, too, and handlers are given what they handle"
)]

mod limiter;
mod protocol;
mod room;
#[cfg(test)]
mod tests;
mod web;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use durable::Runtime;
use tokio::net::TcpListener;

use crate::limiter::{Limiter, Rate};
use crate::room::Room;

/// How long requests that still run at the end are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a chat for browsers, until Ctrl-C. Every message that anybody has seen is on disk.
#[derive(Debug, Parser)]
#[command(name = "chat", version)]
struct Options {
    /// Where to listen. Port 0 takes one that is free. 0.0.0.0 lets others in: there are no passwords.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where the rooms are kept.
    #[arg(long, default_value = "data/chat", value_name = "DIR")]
    data: PathBuf,
    /// How many messages an address may send at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    burst: u32,
    /// How many messages a second an address may send after that.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    per_second: u32,
}

impl Options {
    fn rate(&self) -> Rate {
        Rate { burst: self.burst, interval: Duration::from_secs(1) / self.per_second }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // First, so that a port that is taken leaves nothing behind.
    let listener = listen(options.listen).await?;
    let runtime = Runtime::builder(&options.data)
        .register::<Room>()
        .register::<Limiter>()
        .env(options.rate())
        .websocket_message_limit(protocol::FRAME_BYTES_MAX)
        .start()
        .await?;
    let app = web::app(&runtime)?;
    let address = listener.local_addr()?;
    let data = options.data.display();
    say(&format!("chat is at http://{address}/ and keeps its rooms in {data}; Ctrl-C ends"));
    // Without a way to hear of Ctrl-C it goes on, and is killed: that loses nothing.
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    durable::http::serve(&runtime, listener, app).patience(PATIENCE).until(stop).await?;
    say("all rooms are closed");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let other = SocketAddr::new(address.ip(), 0);
            format!(
                "something else listens on {address} already; `--listen {other}` takes a free port"
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// A reader that has seen enough, such as `head`, is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
