//! A server that lives as long as the runtime.

use std::future::{Future, IntoFuture, poll_fn};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_runtime::transport::Connection;
use durable_runtime::{Error, ErrorKind, Result, Runtime};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use crate::peer::Peer;
use crate::routes::{Access, router};
use crate::socket::{SOCKET_NAME, Socket};
use crate::{Admin, Token};

/// How long a server that ends waits for answers that are on their way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves the admin API of a runtime: on the unix socket `admin.sock` in its data directory, unless told otherwise.
pub fn serve(runtime: &Runtime) -> Serve {
    let place = Place::Unix(runtime.directory().join(SOCKET_NAME));
    Serve { admin: runtime.admin(), connection: runtime.connection(), place }
}

/// A server that does nothing before it is [started](Serve::start). See [`serve`].
#[must_use = "a server does nothing before it is started"]
pub struct Serve {
    admin: Admin,
    connection: Connection,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr, Token),
}

impl Serve {
    /// Listens on a unix socket at another place, which only the program's user and root can open. Its path may have 107 bytes.
    pub fn at(self, path: impl Into<PathBuf>) -> Self {
        Serve { place: Place::Unix(path.into()), ..self }
    }

    /// Listens on TCP in place of a unix socket, for those who send this token as `Authorization: Bearer`. The connection is not
    /// encrypted: listen on `127.0.0.1`, or where something encrypts it.
    pub fn tcp(self, address: SocketAddr, token: Token) -> Self {
        Serve { place: Place::Tcp(address, token), ..self }
    }

    /// Listens, and serves on a task of its own until the runtime shuts down or is dropped. A shutdown waits a while for answers that
    /// are on their way.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when somebody listens at that place, [`ErrorKind::Invalid`] when the path of the socket is too
    /// long, and [`ErrorKind::Storage`] when it cannot be listened to for another reason.
    pub async fn start(self) -> Result<Serving> {
        let Serve { admin, connection, place } = self;
        match place {
            Place::Unix(path) => {
                let (socket, listener) = Socket::bind(&path)?;
                let listener = UnixListener::from_std(listener).map_err(|error| {
                    Error::new(
                        ErrorKind::Storage,
                        format!("cannot listen on {}: {error}", path.display()),
                    )
                })?;
                let serving = Serving { path: Some(socket.path().to_owned()), address: None };
                let app = router(admin, None).into_make_service_with_connect_info::<Peer>();
                tokio::spawn(run(connection, Some(socket), |ends| {
                    axum::serve(listener, app).with_graceful_shutdown(ends).into_future()
                }));
                Ok(serving)
            }
            Place::Tcp(address, token) => {
                let failed = |error: std::io::Error| {
                    let kind = match error.kind() {
                        std::io::ErrorKind::AddrInUse => ErrorKind::Locked,
                        _ => ErrorKind::Storage,
                    };
                    Error::new(kind, format!("cannot listen on {address}: {error}"))
                };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                let app = router(admin, Some(Access { token, address }));
                let app = app.into_make_service_with_connect_info::<Peer>();
                tokio::spawn(run(connection, None, |ends| {
                    axum::serve(listener, app).with_graceful_shutdown(ends).into_future()
                }));
                Ok(Serving { path: None, address: Some(address) })
            }
        }
    }
}

/// Serves until the runtime ends, and lets the shutdown wait for it until then.
async fn run<S: Future<Output = std::io::Result<()>>>(
    mut connection: Connection,
    socket: Option<Socket>,
    serve: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> S,
) {
    let (sender, ending) = oneshot::channel::<()>();
    let mut server = std::pin::pin!(serve(Box::pin(async move {
        let _ = ending.await;
    })));
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = poll_fn(|task| connection.poll_ends(task)) => None,
    };
    drop(socket);
    if let Some(ended) = ended {
        if let Err(error) = ended {
            tracing::error!(target: "durable", reason = %error, "the admin API has ended");
        }
        return;
    }
    let _ = sender.send(());
    let _ = tokio::time::timeout(PATIENCE, server).await;
}

/// Where the admin API is served. It does not end when this is dropped: it ends with the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    path: Option<PathBuf>,
    address: Option<SocketAddr>,
}

impl Serving {
    /// The path of the unix socket, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The address, if it is TCP: with the port that the system chose for 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Serve({:?})", self.place)
    }
}
