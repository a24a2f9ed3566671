//! What stubs hold of a connection: the end of a queue.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use durable_runtime::remote::{Departing, Failed, Known, Outcome, RemoteAddress, Sent, Transport};
use durable_runtime::{BoxFuture, CallError, Error, ErrorKind, Request, Response, Result};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::connect::Connector;
use crate::connection;
use crate::fetch::Fetcher;

/// How many calls may wait for their replies.
pub(crate) const CALLS_MAX: usize = 16 * 1024;

/// What the connection is asked to do.
pub(crate) enum Command {
    Call(Box<Queued>),
    /// Nobody waits for the reply of this call any more.
    Cancel(u64),
}

/// A call that is to be sent.
pub(crate) struct Queued {
    pub(crate) departing: Departing,
    pub(crate) reply: oneshot::Sender<Outcome>,
    /// When it came.
    pub(crate) since: Instant,
}

/// What the task of the connection and the stubs share.
#[derive(Default)]
pub(crate) struct Shared {
    /// What the server has said about its methods.
    known: Mutex<HashMap<(&'static str, &'static str), Known>>,
    /// How many calls have no reply yet.
    waiting: AtomicUsize,
}

impl Shared {
    /// A new connection may lead to another build of the server.
    pub(crate) fn forget(&self) {
        self.known.lock().clear();
    }

    pub(crate) fn learn(&self, class: Cow<'static, str>, method: Cow<'static, str>, known: Known) {
        if let (Cow::Borrowed(class), Cow::Borrowed(method)) = (class, method) {
            self.known.lock().insert((class, method), known);
        }
    }
}

/// How the first attempt to connect has ended.
pub(crate) type First = Option<std::result::Result<(), Failed>>;

/// The way to a connection. It ends when this is dropped.
pub(crate) struct Link {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    next_number: AtomicU64,
    first: watch::Receiver<First>,
    fetcher: Fetcher,
    patience: Duration,
}

impl Link {
    pub(crate) fn start(
        executor: &Handle,
        connector: Connector,
        fetcher: Fetcher,
        patience: Duration,
    ) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        let (told, first) = watch::channel(None);
        let shared = Arc::<Shared>::default();
        let task = connection::run(connector, queue, Arc::clone(&shared), patience, told);
        executor.spawn(task);
        Link { commands, shared, next_number: AtomicU64::new(0), first, fetcher, patience }
    }

    /// Waits for the first connection.
    pub(crate) async fn connected(&self) -> Result<()> {
        let mut first = self.first.clone();
        let ended = tokio::time::timeout(self.patience, async {
            loop {
                match first.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(Ok(()))) => return Ok(()),
                    Ok(Some(Err(Failed::Denied { status, reason }))) => {
                        let text = format!("the server refused the connection: {status} {reason}");
                        return Err(Error::new(ErrorKind::Denied, text));
                    }
                    Ok(_) => {}
                    Err(_) => return Err(disconnected("the executor has ended")),
                }
                if first.changed().await.is_err() {
                    return Err(disconnected("the executor has ended"));
                }
            }
        });
        let last = || match self.first.borrow().as_ref() {
            Some(Err(Failed::Disconnected { reason, .. })) => disconnected(reason),
            _ => disconnected("the server does not answer"),
        };
        ended.await.unwrap_or_else(|_| Err(last()))
    }
}

fn disconnected(reason: &str) -> Error {
    Error::new(ErrorKind::Disconnected, format!("the server cannot be reached: {reason}"))
}

impl Transport for Link {
    fn known(&self, class: &'static str, method: &'static str) -> Option<Known> {
        self.shared.known.lock().get(&(class, method)).cloned()
    }

    fn call(&self, mut departing: Departing) -> BoxFuture<Outcome> {
        let queued = self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        departing.frame.number = number;
        let (commands, sent) = (self.commands.clone().downgrade(), departing.sent.clone());
        let is_over = queued >= CALLS_MAX;
        let shared = Arc::clone(&self.shared);
        let mut waiting = Waiting { shared, commands, number, sent, is_over };
        if is_over {
            let outcome = Outcome::Failed(Failed::Overloaded { queued: queued as u64 });
            return Box::pin(std::future::ready(outcome));
        }
        let ((reply, answer), since) = (oneshot::channel(), Instant::now());
        let _ = self.commands.send(Command::Call(Box::new(Queued { departing, reply, since })));
        Box::pin(async move {
            let outcome = answer.await.unwrap_or_else(|_| {
                let reason = "the executor of the connection has ended".to_owned();
                Outcome::Failed(Failed::Disconnected { reason, sent: waiting.sent.get() })
            });
            waiting.end();
            outcome
        })
    }

    fn fetch(
        &self,
        class: &'static str,
        object: RemoteAddress,
        request: Request,
    ) -> BoxFuture<std::result::Result<Response, CallError>> {
        self.fetcher.fetch(class, &object, request)
    }
}

/// A call without a reply.
struct Waiting {
    shared: Arc<Shared>,
    commands: mpsc::WeakUnboundedSender<Command>,
    number: u64,
    sent: Sent,
    is_over: bool,
}

impl Waiting {
    /// Its reply has come.
    fn end(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        // One that was not sent is not going to be: nobody takes its reply. It is forgotten all the same.
        if let (false, Some(commands)) = (self.is_over, self.commands.upgrade()) {
            let _ = commands.send(Command::Cancel(self.number));
        }
    }
}
