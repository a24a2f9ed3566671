//! What all objects of one runtime share: the engine, the classes, the environment, the executor, the clock.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::gate::{Barrier, Unconfirmed};
use crate::instance::registry::{AnyClass, Class, Residents};
use crate::instance::turn::Form;
use crate::storage::Limits;
use crate::time::Time;
use crate::{DurableObject, Error, ErrorKind, Result};

tokio::task_local! {
    /// Of which handler or background future this task is.
    static HANDLER: Running;
}

/// A handler or a background future that runs.
struct Running {
    /// The address of the node.
    node: usize,
    unconfirmed: Arc<Unconfirmed>,
}

/// What the handler that this task is, if it is one, has not confirmed.
pub(crate) fn unconfirmed_here() -> Option<Arc<Unconfirmed>> {
    HANDLER.try_with(|running| running.unconfirmed.clone()).ok()
}

/// What an output of this task must wait for, if anything.
pub(crate) fn barrier_here() -> Option<Barrier> {
    HANDLER.try_with(|running| running.unconfirmed.barrier()).ok().flatten()
}

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
}

/// The shared part of a runtime.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) residents: Residents,
    /// Held until the runtime ends, and by every live instance: it keeps the directory locked, so
    /// that nobody else opens it while somebody still writes.
    engine: Mutex<Option<Arc<dyn Engine>>>,
    classes: HashMap<TypeId, Arc<dyn AnyClass>>,
    executor: tokio::runtime::Handle,
    /// Drain tasks, handlers and background futures: what shutting down waits for.
    tasks: TaskTracker,
    closing: AtomicBool,
    abandoned: AtomicBool,
    /// Held while the runtime ends.
    ending: tokio::sync::Mutex<()>,
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
            settings,
            engine: Mutex::new(Some(engine)),
            classes,
            executor,
            tasks: TaskTracker::new(),
            closing: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ending: tokio::sync::Mutex::default(),
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

    /// Runs a task of the runtime's own.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.executor);
    }

    /// Runs a background future of an object.
    pub(crate) fn spawn_background(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.spawn_handler(Arc::default(), future));
    }

    /// Runs a handler of an object. What it does not confirm is remembered in `unconfirmed`.
    pub(crate) fn spawn_handler<R: Send + 'static>(
        &self,
        unconfirmed: Arc<Unconfirmed>,
        handler: impl Future<Output = R> + Send + 'static,
    ) -> JoinHandle<R> {
        let running = Running { node: self.address(), unconfirmed };
        self.tasks.spawn_on(HANDLER.scope(running, handler), &self.executor)
    }

    /// Whether this task is a handler or a background future of an object of this node. Shutting
    /// down waits for those, so what they still need is not refused.
    pub(crate) fn is_in_a_handler(&self) -> bool {
        HANDLER.try_with(|running| running.node == self.address()).unwrap_or(false)
    }

    fn address(&self) -> usize {
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

    /// Refuses new work, waits until nothing runs and nothing waits, and drops all instances.
    pub(crate) async fn shut_down(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.tasks.close();
        // Whoever shuts down at the same time comes back when it is done.
        let _ending = self.ending.lock().await;
        // A turn that ends on its caller's task may start a drain task or a background future
        // after the last wait, so: until one whole round finds nobody at work.
        loop {
            self.tasks.wait().await;
            // A turn on its caller's task may still start background work, which needs any object.
            let busy = self.classes.values().any(|class| class.is_busy());
            if !busy && self.tasks.is_empty() && self.close_all() && self.tasks.is_empty() {
                // Closing it waits for the disk.
                let engine = self.engine.lock().take();
                let closed = self.executor.spawn_blocking(move || drop(engine)).await;
                if closed.is_err() {
                    tracing::error!("closing the data directory was given up");
                }
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The runtime is gone without a shutdown: idle instances go now, others when their turn ends.
    pub(crate) fn abandon(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.abandoned.store(true, Ordering::Relaxed);
        self.close_all();
        self.engine.lock().take();
    }

    /// Ends all objects in which nobody runs; `false` if somebody does.
    fn close_all(&self) -> bool {
        // Not `all`, which would stop at the first busy one.
        self.classes.values().filter(|class| !class.close_all()).count() == 0
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
