//! What all objects of one runtime share: the engine, the classes, the environment, the executor, the clock.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::call::Failure;
use crate::engine::{Engine, ObjectKey};
use crate::harness::Harness;
use crate::id::Identity;
use crate::instance::pace::PaceLimit;
use crate::instance::registry::{AnyClass, Class, Residents};
use crate::instance::session::Signal;
use crate::instance::turn::Form;
use crate::instance::watch::Watch;
use crate::instance::work::Woken;
use crate::instance::{Object, chain, idle};
use crate::observe::events::note;
use crate::socket::shared::SocketLimits;
use crate::storage::Limits;
use crate::time::Time;
use crate::wake::Trouble;
use crate::{DurableObject, Error, ErrorKind, Result, wake};

/// What the builder sets.
pub(crate) struct Settings {
    pub(crate) environment: Environment,
    pub(crate) time: Time,
    pub(crate) form: Form,
    /// Jobs that may wait in one object's queue.
    pub(crate) queue_max: usize,
    /// Objects that may have an instance.
    pub(crate) residents_max: usize,
    /// Memory that the databases of objects with an instance may take.
    pub(crate) resident_bytes_max: usize,
    /// Of each object's storage.
    pub(crate) limits: Arc<Limits>,
    /// How long an object stays in memory without events.
    pub(crate) idle_limit: Duration,
    /// How long a gate may be closed.
    pub(crate) gate_limit: Duration,
    /// How long a background future may run.
    pub(crate) background_limit: Duration,
    /// From when on a turn that runs is told of.
    pub(crate) long_turn: Duration,
    pub(crate) harness: Harness,
    /// How long an async `alarm` handler may run.
    pub(crate) alarm_limit: Duration,
    /// How often an object may wake itself.
    pub(crate) pace: PaceLimit,
    /// Of each WebSocket.
    pub(crate) sockets: SocketLimits,
}

/// How long a shutdown waits until clients are told of it.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// The shared part of a runtime.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) residents: Residents,
    pub(crate) watch: Arc<Watch>,
    /// Held until the runtime ends, and by every live instance: it keeps the directory locked, so
    /// that nobody else opens it while somebody still writes.
    engine: Mutex<Option<Arc<dyn Engine>>>,
    classes: HashMap<TypeId, Arc<dyn AnyClass>>,
    executor: tokio::runtime::Handle,
    /// Drain tasks, handlers and background futures: what shutting down waits for.
    tasks: TaskTracker,
    /// The task that wakes objects.
    waking: TaskTracker,
    waker: Mutex<Option<AbortHandle>>,
    /// The connections of WebSockets whose close frame is not written.
    connections: TaskTracker,
    /// With objects that could not be woken.
    pub(crate) trouble: Trouble,
    closing: AtomicBool,
    /// The same, for those who wait for it.
    ends: CancellationToken,
    abandoned: AtomicBool,
    /// Set when handlers, background futures and gates are not waited for any longer.
    pub(crate) cut: Signal,
    /// Held while the runtime ends.
    ending: tokio::sync::Mutex<()>,
    /// Held by whoever uses an object of a class that the program does not have.
    strangers: Mutex<()>,
}

impl Node {
    pub(crate) fn new(
        settings: Settings,
        engine: Arc<dyn Engine>,
        classes: HashMap<TypeId, Arc<dyn AnyClass>>,
        executor: tokio::runtime::Handle,
    ) -> Self {
        Node {
            residents: Residents::new(settings.residents_max, settings.resident_bytes_max),
            watch: Watch::new(settings.long_turn),
            settings,
            engine: Mutex::new(Some(engine)),
            classes,
            executor,
            tasks: TaskTracker::new(),
            waking: TaskTracker::new(),
            waker: Mutex::default(),
            connections: TaskTracker::new(),
            trouble: Trouble::default(),
            closing: AtomicBool::new(false),
            ends: CancellationToken::new(),
            abandoned: AtomicBool::new(false),
            cut: Signal::default(),
            ending: tokio::sync::Mutex::default(),
            strangers: Mutex::default(),
        }
    }

    /// What keeps the objects' data, for as long as the runtime is not ended.
    pub(crate) fn engine(&self) -> Option<Arc<dyn Engine>> {
        self.engine.lock().clone()
    }

    /// The class of `T`, if it was registered.
    pub(crate) fn class<T: DurableObject>(&self) -> Result<Arc<Class<T>>> {
        let class = self.classes.get(&TypeId::of::<T>());
        class.and_then(|class| class.clone().as_any().downcast::<Class<T>>().ok()).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "class `{class}` is not registered; add `.register::<{class}>()` before `.start()`",
                    class = T::CLASS
                ),
            )
        })
    }

    /// The class with this key, if it was registered.
    pub(crate) fn class_of(&self, key: &str) -> Option<Arc<dyn AnyClass>> {
        self.classes.values().find(|class| class.key() == key).map(Arc::clone)
    }

    /// The classes of this program.
    #[cfg(feature = "admin")]
    pub(crate) fn classes(&self) -> impl Iterator<Item = &Arc<dyn AnyClass>> {
        self.classes.values()
    }

    /// Who the object at this address is, if it is one of this node's.
    pub(crate) fn identity_at(&self, address: usize) -> Option<Arc<Identity>> {
        self.classes.values().find_map(|class| class.identity_at(address))
    }

    /// Begins to wake objects whose time has come.
    pub(crate) fn start_waking(self: &Arc<Self>) {
        let dispatch = wake::dispatch(Arc::downgrade(self));
        let waking = match &self.settings.harness.activity {
            None => self.waking.spawn_on(dispatch, &self.executor),
            Some(activity) => self.waking.spawn_on(activity.watch(dispatch), &self.executor),
        };
        *self.waker.lock() = Some(waking.abort_handle());
    }

    /// Sees to it that an object is woken again after what it has begun could not be ended.
    pub(crate) fn could_not_wake(&self, object: &ObjectKey, failure: Failure) {
        self.trouble.settle(self, object, Woken::Failed(failure));
    }

    fn stop_waking(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.abort();
        }
    }

    /// Runs a task that shutting down waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.settings.harness.activity {
            None => self.tasks.spawn_on(task, &self.executor),
            Some(activity) => self.tasks.spawn_on(activity.watch(task), &self.executor),
        };
    }

    /// Reads what the engine knows, on a thread that may wait for the disk, and gives it once that is durable.
    ///
    /// # Errors
    /// What `read` gives, and when the runtime is shut down or the disk fails.
    pub(crate) async fn read<R: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&dyn Engine) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        if self.is_closing() && !self.is_in_a_handler() {
            return Err(ended());
        }
        let read = |engine: &Arc<dyn Engine>| Ok((read(&**engine)?, engine.flushed()));
        let (found, durable) = self.with_engine(read).await?;
        durable.wait().await?;
        Ok(found)
    }

    /// Lends the engine on a thread that may wait for the disk.
    ///
    /// # Errors
    /// What `work` gives, and when the runtime is shut down.
    pub(crate) async fn with_engine<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<dyn Engine>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let node = Arc::clone(self);
        // Shutting down waits for it: it holds the engine.
        let working = self
            .tasks
            .spawn_blocking_on(move || work(&node.engine().ok_or_else(ended)?), &self.executor);
        working.await.map_err(|_| ended())?
    }

    /// As long as the result lives, nobody else uses an object of a class that the program does not have. Waits on
    /// this thread.
    pub(crate) fn keep_strangers(&self) -> impl Drop + '_ {
        self.strangers.lock()
    }

    /// Runs a task that ends by itself when the runtime does.
    #[cfg(feature = "testing")]
    pub(crate) fn spawn_unwaited(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.settings.harness.activity {
            None => self.executor.spawn(task),
            Some(activity) => self.executor.spawn(activity.watch(task)),
        };
    }

    /// Takes note of an object that has an instance now.
    pub(crate) fn admit<T: DurableObject>(self: &Arc<Self>, object: Arc<Object<T>>) {
        let limit = self.settings.idle_limit;
        self.residents.admit(object, self.settings.time.now_or_system(), || {
            let sweeps = limit != Duration::MAX && !self.is_closing();
            sweeps.then(|| {
                let sweeper = idle::sweep(Arc::downgrade(self), limit);
                let sweeping = match &self.settings.harness.activity {
                    None => self.executor.spawn(sweeper),
                    Some(activity) => self.executor.spawn(activity.watch(sweeper)),
                };
                sweeping.abort_handle()
            })
        });
    }

    /// Whether this task is a handler or a background future of an object of this node, or works for one. Shutting
    /// down waits for those, so what they still need is not refused.
    pub(crate) fn is_in_a_handler(&self) -> bool {
        chain::is_within(self.address())
    }

    /// Tells one node from another.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether new work from outside is refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether the runtime was dropped without being shut down.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Shuts down, and does not wait for handlers, background futures and gates for longer than `patience`.
    pub(crate) async fn shut_down_within(&self, patience: Duration) {
        let mut ending = pin!(self.shut_down());
        let mut patience = pin!(self.settings.time.sleep(patience));
        let ended = poll_fn(|task| match ending.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => patience.as_mut().poll(task).map(|()| false),
        });
        if !ended.await {
            self.cut.set(&Arc::from("the runtime was shut down"));
            self.cut.wake();
            ending.await;
        }
    }

    /// Refuses new work, waits until nothing runs and nothing waits, and drops all instances.
    pub(crate) async fn shut_down(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.ends.cancel();
        self.tasks.close();
        self.stop_waking();
        self.waking.close();
        // Whoever shuts down at the same time comes back when it is done.
        let _ending = self.ending.lock().await;
        // It may be about to start a task, and holds the engine meanwhile.
        self.waking.wait().await;
        if self.engine().is_some() {
            self.close_sockets().await;
        }
        // A turn that ends on its caller's task may start a drain task or a background future
        // after the last wait, so: until one whole round finds nobody at work.
        loop {
            self.tasks.wait().await;
            // A turn on its caller's task may still start background work, which needs any object.
            let busy = self.classes.values().any(|class| class.is_busy());
            if !busy && self.tasks.is_empty() && self.close_all() && self.tasks.is_empty() {
                self.residents.stop_sweeping();
                // Closing it waits for the disk.
                let engine = self.engine.lock().take();
                let closed = self.executor.spawn_blocking(move || drop(engine)).await;
                if closed.is_err() {
                    note!(error, "closing the data directory was given up");
                }
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A WebSocket has a connection, for as long as the result lives.
    pub(crate) fn connection(&self) -> TaskTrackerToken {
        self.connections.token()
    }

    /// Waits until the runtime begins to shut down.
    pub(crate) fn ends(&self) -> WaitForCancellationFutureOwned {
        self.ends.clone().cancelled_owned()
    }

    /// Closes all WebSockets, and waits a while until their clients are told.
    async fn close_sockets(&self) {
        self.classes.values().for_each(|class| class.close_sockets());
        self.connections.close();
        let mut told = pin!(self.connections.wait());
        let mut patience = pin!(self.settings.time.sleep(GOODBYE_WAIT));
        let mut cut = pin!(self.cut.wait());
        let is_over = poll_fn(|task| {
            if told.as_mut().poll(task).is_ready() {
                return Poll::Ready(true);
            }
            let is_over =
                patience.as_mut().poll(task).is_ready() || cut.as_mut().poll(task).is_ready();
            if is_over { Poll::Ready(false) } else { Poll::Pending }
        });
        if !is_over.await {
            note!(warn, "not all WebSockets could be told of the shutdown");
        }
    }

    /// Drops the connections of all WebSockets, as the end of a process does.
    pub(crate) fn drop_sockets(&self) {
        self.classes.values().for_each(|class| class.drop_sockets());
    }

    /// The runtime is gone without a shutdown: idle instances go now, others when their turn ends.
    pub(crate) fn abandon(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.ends.cancel();
        self.abandoned.store(true, Ordering::Relaxed);
        self.residents.stop_sweeping();
        self.stop_waking();
        self.drop_sockets();
        self.close_all();
        self.engine.lock().take();
    }

    /// Evicts all objects that nothing needs; `false` if there are others.
    #[cfg(feature = "testing")]
    pub(crate) fn evict_all(&self) -> bool {
        self.classes.values().filter(|class| !class.evict_all()).count() == 0
    }

    /// Ends all objects in which nobody runs; `false` if somebody does.
    fn close_all(&self) -> bool {
        // Not `all`, which would stop at the first busy one.
        self.classes.values().filter(|class| !class.close_all()).count() == 0
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::ShutDown, "the runtime is shut down")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.watch.stop();
    }
}

/// Values that every object can reach, one of each type.
#[derive(Default)]
pub(crate) struct Environment(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Environment {
    pub(crate) fn insert<E: Send + Sync + 'static>(&mut self, value: E) {
        self.0.insert(TypeId::of::<E>(), Box::new(value));
    }

    pub(crate) fn get<E: Send + Sync + 'static>(&self) -> Result<&E> {
        let value = self.0.get(&TypeId::of::<E>()).and_then(|value| value.downcast_ref());
        value.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "the environment has no `{}`; add `.env(value)` to the runtime's builder",
                    std::any::type_name::<E>()
                ),
            )
        })
    }
}
