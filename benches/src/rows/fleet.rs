//! Objects to be measured, in a runtime of their own that ends with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durable::prelude::*;
use durable::{Builder, CallError, DurableObject};
use tempfile::TempDir;
use tokio::runtime::Runtime as Executor;

use crate::latency::Latencies;
use crate::measure::per_second;
use crate::rows::{executor, ok};

/// What most rows are about: one number in one table.
#[derive(Default)]
pub(crate) struct Counter;

#[durable_object]
impl Counter {
    #[migration(1)]
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
    }

    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<usize> {
        ctx.sql().execute("UPDATE hits SET total = total + ?", [by])
    }

    pub fn total(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT total FROM hits", [])
    }
}

/// The result of a call that reads or writes storage.
pub(crate) type Answer<V> = std::result::Result<V, CallError<durable::Error>>;

/// A runtime and stubs of some of its objects.
pub(crate) struct Fleet<T: DurableObject> {
    pub(crate) stubs: Arc<Vec<T::Stub>>,
    pub(crate) runtime: Runtime,
    pub(crate) executor: Executor,
    /// Removed with the fleet, after the runtime is shut down.
    directory: TempDir,
}

impl<T: DurableObject> Drop for Fleet<T> {
    fn drop(&mut self) {
        // It fails inside a turn only.
        let _ = self.executor.block_on(self.runtime.shutdown());
    }
}

impl<T: DurableObject> Fleet<T> {
    /// Objects that do not exist yet, in a new directory inside `folder`.
    pub(crate) fn new(folder: &Path, objects: usize) -> Self {
        Self::with(folder, objects, |builder| builder)
    }

    pub(crate) fn with(
        folder: &Path,
        objects: usize,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let directory = ok(tempfile::tempdir_in(folder));
        let executor = executor();
        let builder = choose(Runtime::builder(directory.path()).register::<T>());
        let runtime = ok(executor.block_on(builder.start()));
        let stubs = (0..objects).map(|n| runtime.get::<T>(&n.to_string())).collect();
        Fleet { stubs: Arc::new(stubs), runtime, executor, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

impl Fleet<Counter> {
    /// Counters that are stored and in memory.
    pub(crate) fn counters(objects: usize) -> Self {
        Fleet::new(&std::env::temp_dir(), objects).stored()
    }

    /// The same, with a checkpoint after so many bytes of journal.
    pub(crate) fn counters_with_distance(objects: usize, bytes: u64) -> Self {
        let folder = std::env::temp_dir();
        Fleet::with(&folder, objects, |builder| builder.checkpoint_distance(bytes)).stored()
    }

    fn stored(self) -> Self {
        increment_each(&self.executor, &self.stubs);
        self
    }
}

pub(crate) fn open<T: DurableObject>(executor: &Executor, directory: &Path) -> Runtime {
    ok(executor.block_on(Runtime::builder(directory).register::<T>().start()))
}

/// One increment of each object, 100 at a time.
pub(crate) fn increment_each(executor: &Executor, stubs: &Arc<Vec<CounterStub>>) {
    let tasks: Vec<_> = (0..100)
        .map(|first| {
            let stubs = Arc::clone(stubs);
            executor.spawn(async move {
                for stub in stubs.iter().skip(first).step_by(100) {
                    ok(stub.increment(1).await);
                }
            })
        })
        .collect();
    executor.block_on(async {
        for task in tasks {
            ok(task.await);
        }
    });
}

/// Lets `callers` tasks make one call after the other; gives calls a second.
///
/// A caller begins at its own object and goes on in steps that reach all.
pub(crate) fn call_rate<T, R, C>(
    fleet: &Fleet<T>,
    callers: usize,
    time: Duration,
    latencies: Option<&Latencies>,
    call: fn(&T::Stub) -> C,
) -> f64
where
    T: DurableObject<Stub: Send + Sync>,
    C: Future<Output = Answer<R>> + Send + 'static,
    R: 'static,
{
    let done = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (done, stubs) = (Arc::clone(&done), Arc::clone(&fleet.stubs));
            fleet.executor.spawn(async move {
                let (mut index, mut times) = (caller, Vec::new());
                while !done.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    ok(call(&stubs[index % stubs.len()]).await);
                    times.push(begin.elapsed().as_secs_f32() * 1e6);
                    index += 97;
                }
                times
            })
        })
        .collect();
    let mut calls = 0;
    fleet.executor.block_on(async {
        tokio::time::sleep(time).await;
        done.store(true, Ordering::Relaxed);
        for task in tasks {
            let times = ok(task.await);
            calls += times.len();
            if let Some(latencies) = latencies {
                latencies.add(&times);
            }
        }
    });
    per_second(calls, begin.elapsed())
}
