//! A server that ends when the program does.

use std::future::{Future, IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use durable_runtime::{BoxFuture, Runtime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long an ending server waits by default.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Serves `app` on `listener`, and ends `runtime` with it.
///
/// ```no_run
/// # async fn main_(runtime: durable_runtime::Runtime, app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let stop = async { /* for example `tokio::signal::ctrl_c().await` */ };
/// durable_http::serve(&runtime, listener, app).until(stop).await
/// # }
/// ```
pub fn serve(runtime: &Runtime, listener: TcpListener, app: axum::Router) -> Serve {
    let stop = Box::pin(pending());
    Serve { runtime: runtime.clone(), listener, app, stop, patience: PATIENCE }
}

/// A server that does nothing before it is awaited. See [`serve`].
#[must_use = "a server does nothing before it is awaited"]
pub struct Serve {
    runtime: Runtime,
    listener: TcpListener,
    app: axum::Router,
    stop: BoxFuture<()>,
    patience: Duration,
}

impl Serve {
    /// Ends when `stop` does: takes no more connections, answers the requests that are there, then shuts the
    /// runtime down. Without this it serves for ever.
    pub fn until(self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        Serve { stop: Box::pin(stop), ..self }
    }

    /// How long the end may take: requests, handlers and background futures that still run then are dropped.
    /// Default: [`PATIENCE`], 30 seconds. Turns are waited for however long they take.
    pub fn patience(self, patience: Duration) -> Self {
        Serve { patience, ..self }
    }

    async fn run(self) -> io::Result<()> {
        let Serve { runtime, listener, app, stop, patience } = self;
        let (sender, ending) = oneshot::channel();
        let listener = listener.tap_io(|connection| {
            // Replies are small and written whole.
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(reason = %error, "a connection goes on with Nagle's algorithm");
            }
        });
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            stop.await;
            let _ = sender.send(Instant::now());
        });
        let mut began = None;
        let mut server = std::pin::pin!(server.into_future());
        tokio::select! {
            ended = &mut server => ended?,
            since = ending => began = since.ok(),
        }
        if began.is_some() {
            tokio::select! {
                ended = server => ended?,
                () = runtime.limit(patience) => {
                    tracing::warn!("requests are given up, since the server ends");
                }
            }
        }
        let left = began.map_or(patience, |began| patience.saturating_sub(began.elapsed()));
        runtime.shutdown_within(left).await.map_err(io::Error::other)
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = BoxFuture<io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Serve({:?})", self.listener.local_addr())
    }
}
