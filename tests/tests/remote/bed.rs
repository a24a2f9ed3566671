//! A server with an object of every habit, and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use durable::client::Client;
use durable::http::{Expose, router};
use durable::prelude::*;
use durable::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// What several tasks of a test wait for.
#[derive(Clone, Default)]
pub struct Signals {
    pub entered: Arc<Notify>,
    pub release: Arc<Notify>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refused {
    TooMany { most: u32 },
    Storage(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Storage(error.to_string())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub who: String,
    pub lines: Vec<String>,
    pub stars: Option<u32>,
}

/// Does all that an object does with its callers.
#[derive(Default)]
pub struct Desk;

#[durable_object]
impl Desk {
    pub fn add(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        let total = self.total(ctx)? + by;
        ctx.kv().put("total", &total)?;
        Ok(total)
    }

    pub fn total(&self, ctx: &Context) -> Result<i64> {
        Ok(ctx.kv().get("total")?.unwrap_or_default())
    }

    pub fn nothing(&mut self) {}

    pub fn echo(&self, note: Note, times: u8) -> Vec<Note> {
        vec![note; times.into()]
    }

    pub fn refuse(&mut self, ctx: &Context, most: u32) -> Result<(), Refused> {
        ctx.kv().put("total", &-1_i64)?;
        Err(Refused::TooMany { most })
    }

    pub fn secret(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("SELECT secret FROM nowhere", ())?;
        Ok(())
    }

    pub fn explode(&mut self) {
        panic!("the secret of the house");
    }

    pub fn log(&mut self, ctx: &Context, number: u32) -> Result<()> {
        let mut log: Vec<u32> = ctx.kv().get("log")?.unwrap_or_default();
        log.push(number);
        ctx.kv().put("log", &log)
    }

    pub fn logged(&self, ctx: &Context) -> Result<Vec<u32>> {
        Ok(ctx.kv().get("log")?.unwrap_or_default())
    }

    /// Closes a gate until the test opens it.
    pub fn hold(&mut self, ctx: &Context<Self>) -> Result<()> {
        let signals: &Signals = ctx.env()?;
        let signals = signals.clone();
        ctx.block_concurrency_while(async move |_| {
            signals.entered.notify_one();
            signals.release.notified().await;
            Ok::<_, Error>(())
        });
        Ok(())
    }

    /// Calls a desk by a client of its own behind a gate, and returns what came of it.
    pub fn call_behind_a_gate(&mut self, ctx: &Context<Self>, other: String) -> Result<()> {
        let client: &Client = ctx.env()?;
        let desk = client.namespace::<Desk>().get_by_name(&other);
        ctx.block_concurrency_while(async move |gate| {
            let outcome = match desk.total().await {
                Ok(total) => format!("total {total}"),
                Err(CallError::Deadlock(_)) => "deadlock".to_owned(),
                Err(other) => other.to_string(),
            };
            gate.turn(move |_, ctx| ctx.kv().put("outcome", &outcome)).await?;
            Ok::<_, Error>(())
        });
        Ok(())
    }

    pub fn outcome(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get("outcome")
    }

    /// Sends a call of a stub that leads elsewhere.
    pub fn send_away(&mut self, ctx: &Context) -> Result<()> {
        let client: &Client = ctx.env()?;
        ctx.send(client.namespace::<Desk>().get_by_name("away").add(1))
    }

    pub fn hidden(&mut self) -> u8 {
        1
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let (head, body) = request.into_parts();
        let body = body.collect_up_to(1 << 20).await?;
        let total = this.turn(|desk, ctx| desk.total(ctx)).await?;
        let text = format!("{} {} {} {total}", head.method, head.uri, body.len());
        Ok(Response::new(text.into()))
    }
}

/// The methods that clients may call.
pub const METHODS: &[&str] = &[
    "add",
    "total",
    "nothing",
    "echo",
    "refuse",
    "secret",
    "explode",
    "log",
    "logged",
    "hold",
    "call_behind_a_gate",
    "outcome",
    "send_away",
];

pub struct Server {
    pub directory: Arc<TempDir>,
    pub runtime: Runtime,
    pub address: SocketAddr,
    pub signals: Signals,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Arc::new(TempDir::new().unwrap()), "127.0.0.1:0", |router| router).await
    }

    pub async fn with(
        directory: Arc<TempDir>,
        address: &str,
        change: impl FnOnce(durable::http::ObjectRouter) -> durable::http::ObjectRouter,
    ) -> Server {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let signals = Signals::default();
        let own = Client::builder(&format!("http://{address}/objects")).connect_lazily().unwrap();
        let runtime = Runtime::builder(directory.path()).register::<Desk>().queue_limit(8);
        let runtime = runtime.env(signals.clone()).env(own).start().await.unwrap();
        let objects = router(&runtime).expose::<Desk>(Expose::Methods(METHODS));
        let objects = change(objects.expose::<Desk>(Expose::Fetch)).build().unwrap();
        let app = Router::new().nest("/objects", objects);
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async move {
            let _ = stopped.await;
        };
        let serve = durable::http::serve(&runtime, listener, app).until(until);
        let task = tokio::spawn(serve.into_future());
        Server { directory, runtime, address, signals, stop: Some(stop), task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/objects", self.address)
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.url()).await.unwrap()
    }

    pub async fn desk(&self, name: &str) -> DeskStub {
        self.client().await.namespace::<Desk>().get_by_name(name)
    }

    /// Ends the server; its data stays.
    pub async fn stop(mut self) -> Arc<TempDir> {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap().unwrap();
        self.directory
    }
}

pub fn kind(error: CallError<Error>) -> ErrorKind {
    Error::from(error).kind()
}
