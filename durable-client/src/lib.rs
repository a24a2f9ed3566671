//! Objects on a server, called by the same stubs as those in process.
//!
//! Programs reach this as `durable::Client`, with the feature `client`; the page `guide::remote` of that crate says how to use it.
//!
//! One connection carries all calls of a [`Client`]. A task of its own holds it (`connection`): it takes calls from a queue, writes them,
//! and hands out the replies; when the connection breaks it makes a new one (`connect`).
//!
//! Guarantees:
//! - A call is sent once. If it may have reached the server and its reply is lost, its caller is told so, and nothing is tried again behind
//!   their back.
//! - Calls of one client leave in the order in which they were first polled.
//! - A call waits for a connection no longer than the client's patience.

mod connect;
mod connection;
mod fetch;
mod link;
#[cfg(feature = "tls")]
mod tls;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use durable_runtime::remote::Remote;
use durable_runtime::{DurableObject, Error, ErrorKind, Result};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;

pub use durable_runtime::remote::RemoteNamespace;

use connect::Connector;
use fetch::Fetcher;
use link::Link;
use url::ServerUrl;

/// How long a call waits for a connection by default.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the objects of a server. Cheap to clone; all clones and stubs share it, and the last one closes it.
///
/// ```no_run
/// # use durable_client::Client;
/// # async fn example<Room: durable_runtime::DurableObject>() -> durable_runtime::Result<()> {
/// let client = Client::connect("http://127.0.0.1:8080/objects").await?;
/// let lobby = client.namespace::<Room>().get_by_name("lobby");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    remote: Remote,
    url: Arc<ServerUrl>,
}

impl Client {
    /// Connects to a server: `url` is the address of its object router, such as `http://127.0.0.1:8080/objects`; with the feature `tls`,
    /// `https` too.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`] when the URL is none that leads to a server.
    /// - [`ErrorKind::Disconnected`] when there is no connection within [`PATIENCE`], and [`ErrorKind::Denied`] when the server refuses it.
    pub async fn connect(url: &str) -> Result<Client> {
        Client::builder(url).connect().await
    }

    /// Begins a client with settings.
    pub fn builder(url: &str) -> Builder {
        Builder { url: url.to_owned(), headers: Arc::new(|_| {}), patience: PATIENCE }
    }

    /// The objects of class `T` on the server.
    pub fn namespace<T: DurableObject>(&self) -> RemoteNamespace<T> {
        RemoteNamespace::new(self.remote.clone())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.url)
    }
}

/// A hook that fills in the headers of a request.
type Headers = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// A [`Client`] under construction.
#[must_use = "a client does nothing before it is connected"]
pub struct Builder {
    url: String,
    headers: Headers,
    patience: Duration,
}

impl Builder {
    /// Sends this header with every connection, such as `authorization`.
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers(move |headers| {
            headers.insert(name.clone(), value.clone());
        })
    }

    /// Lets `hook` fill in headers, each time that a connection is made: for a token that expires. The server's layers see them
    /// with every call.
    pub fn headers(self, hook: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        let before = self.headers;
        let headers = Arc::new(move |headers: &mut HeaderMap| {
            before(headers);
            hook(headers);
        });
        Builder { headers, ..self }
    }

    /// How long a call waits for a connection, when there is none; then it fails with
    /// [`CallError::Disconnected`](durable_runtime::CallError::Disconnected), and was not sent. Default: [`PATIENCE`], 10 seconds.
    pub fn patience(self, patience: Duration) -> Self {
        Builder { patience, ..self }
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(self) -> Result<Client> {
        let (client, link) = self.start()?;
        link.connected().await?;
        Ok(client)
    }

    /// Gives a client at once, which connects by itself: the server need not be there yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the URL is none that leads to a server.
    pub fn connect_lazily(self) -> Result<Client> {
        self.start().map(|(client, _)| client)
    }

    fn start(self) -> Result<(Client, Arc<Link>)> {
        let url = Arc::new(ServerUrl::parse(&self.url)?);
        let executor = Handle::try_current().map_err(|_| {
            let text = "a client is made within a tokio runtime, which carries its connection";
            Error::new(ErrorKind::Invalid, text)
        })?;
        let connector = Connector::new(Arc::clone(&url), Arc::clone(&self.headers));
        let fetcher = Fetcher::new(Arc::clone(&url), self.headers, self.patience)?;
        let link = Link::start(&executor, connector, fetcher, self.patience);
        let link = Arc::new(link);
        let remote = Remote::new(Arc::clone(&link) as Arc<_>);
        Ok((Client { remote, url }, link))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
