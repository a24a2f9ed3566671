//! The runtime: one data directory, opened by one program at a time, and the objects in it.

pub(crate) mod classes;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::Duration;

use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::instance::turn::in_a_turn;
use crate::node::Node;
use crate::{Builder, DurableObject, Error, ErrorKind, Namespace, Result};

pub use classes::ClassInfo;

/// Runs objects whose data is in one directory.
///
/// Cloning is cheap and gives the same runtime. Keep one for as long as objects are to run:
/// when the last clone goes without [`shutdown`](Runtime::shutdown), calls fail with
/// [`CallError::ShutDown`](crate::CallError::ShutDown) from then on. Nothing that was
/// acknowledged is lost by that, but background futures are not waited for.
#[derive(Clone)]
pub struct Runtime {
    owner: Arc<Owner>,
}

/// Ends the runtime when the last clone goes.
struct Owner {
    node: Arc<Node>,
    path: PathBuf,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.node.abandon();
    }
}

impl Runtime {
    /// Sets up a runtime with its data in `directory`, which is created if it is missing.
    pub fn builder(directory: impl Into<PathBuf>) -> Builder {
        Builder::new(directory.into())
    }

    pub(crate) fn new(node: Node, path: PathBuf) -> Self {
        let node = Arc::new(node);
        node.start_waking();
        Runtime { owner: Arc::new(Owner { node, path }) }
    }

    /// The objects of class `T`.
    ///
    /// If the class was not registered, calls to its objects fail with
    /// [`CallError::NotFound`](crate::CallError::NotFound).
    pub fn namespace<T: DurableObject>(&self) -> Namespace<T> {
        Namespace::new(self.owner.node.clone())
    }

    /// A stub of the object of class `T` with this name; short for
    /// `runtime.namespace::<T>().get_by_name(name)`.
    pub fn get<T: DurableObject>(&self, name: &str) -> T::Stub {
        self.namespace::<T>().get_by_name(name)
    }

    /// What operators do with the objects of this runtime, whatever their class.
    #[cfg(feature = "admin")]
    pub fn admin(&self) -> crate::admin::Admin {
        crate::admin::Admin::of(&self.owner.node, &self.owner.path)
    }

    /// The data directory.
    pub fn directory(&self) -> &std::path::Path {
        &self.owner.path
    }

    /// Waits until the storage has failed for good, and says why: a write or a flush of the journal
    /// failed, and after that nobody knows what the disk holds. From then on every turn with storage
    /// fails; the program should be restarted. Until then this never returns.
    pub async fn failed(&self) -> Error {
        let Some(engine) = self.owner.node.engine() else { return std::future::pending().await };
        let failed = engine.failed();
        // Held no longer than needed: it keeps the directory locked.
        drop(engine);
        match failed.wait().await {
            Err(error) => error,
            Ok(()) => std::future::pending().await,
        }
    }

    /// Ends the runtime gracefully: refuses new calls, answers those that wait, waits for
    /// handlers and background futures, and closes the data directory, so that it can be opened again.
    ///
    /// Further calls of `shutdown` do nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Deadlock`] when called inside a turn or a handler, which it would wait for.
    pub async fn shutdown(&self) -> Result<()> {
        self.check_may_wait()?;
        self.owner.node.shut_down().await;
        Ok(())
    }

    /// Ends the runtime as [`shutdown`](Runtime::shutdown) does, but does not wait for handlers, background
    /// futures and gates for longer than `patience`, by the runtime's clock. Those that still run then are dropped,
    /// and an error is logged for each; turns that run are waited for, however long they take, and calls
    /// that wait are answered or refused.
    ///
    /// # Errors
    /// As [`shutdown`](Runtime::shutdown).
    pub async fn shutdown_within(&self, patience: Duration) -> Result<()> {
        self.check_may_wait()?;
        self.owner.node.shut_down_within(patience).await;
        Ok(())
    }

    /// Waits for so long on the runtime's clock, as a limit of something else that is waited for. For gateways.
    #[doc(hidden)]
    pub fn limit(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.owner.node.settings.time.limit(duration)
    }

    /// Counts one more connection whose client is to be told of a shutdown. For gateways.
    #[doc(hidden)]
    pub fn connection(&self) -> Connection {
        let node = &self.owner.node;
        Connection { ends: Box::pin(node.ends()), _token: node.connection() }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.owner.node
    }

    pub(crate) fn check_may_wait(&self) -> Result<()> {
        if in_a_turn() || self.owner.node.is_in_a_handler() {
            return Err(Error::new(
                ErrorKind::Deadlock,
                "a turn or a handler cannot shut down the runtime, which would wait for it",
            ));
        }
        Ok(())
    }
}

/// A connection of a gateway's. A shutdown waits a while until it is dropped.
#[doc(hidden)]
pub struct Connection {
    ends: Pin<Box<WaitForCancellationFutureOwned>>,
    _token: TaskTrackerToken,
}

impl Connection {
    /// Ready when the runtime begins to shut down.
    pub fn poll_ends(&mut self, task: &mut task::Context<'_>) -> task::Poll<()> {
        self.ends.as_mut().poll(task)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runtime({})", self.owner.path.display())
    }
}
