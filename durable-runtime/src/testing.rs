//! What objects are tested with: a runtime in a directory of its own, on a clock that the test moves. Feature `testing`.
//!
//! A [`TestRuntime`] is a [`Runtime`] that ends with its test. The README shows a whole test, "Testing your objects".
//!
//! ```
//! # use std::time::Duration;
//! use durable_runtime::testing::TestRuntime;
//!
//! # let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # executor.block_on(async {
//! // `|builder| builder.register::<Room>()`
//! let mut runtime = TestRuntime::start(|builder| builder).await?;
//! let start = runtime.now();
//! runtime.advance(Duration::from_hours(24)).await?;
//! runtime.crash().await?;
//! assert_eq!(runtime.now(), start + Duration::from_hours(24));
//! # Ok::<_, durable_runtime::Error>(())
//! # }).unwrap();
//! ```
//!
//! The guarantees:
//! - **No test waits for time.** The clock stands still until [`advance`](TestRuntime::advance) moves it, from one time that
//!   somebody waits for to the next; in between all that falls due runs to its end. So a test of a day takes milliseconds,
//!   and the same things happen in the same order each time.
//! - **Quiet is known, not guessed.** [`settle`](TestRuntime::settle) comes back when no turn runs or waits to run, no
//!   handler, background future or gate can go on, and nothing waits for the disk. One that waits for something of its own,
//!   such as a socket, cannot be known to be done: after ten real seconds the test is told which object and handler it is.
//! - **A crash loses what it may lose.** [`crash`](TestRuntime::crash) takes back every byte that was not synced.
//! - Any number of runtimes run at the same time, in one process or many, on executors of one thread or many.
//!
//! What the kit does not know of are tasks that the test, or an object, spawns by itself: what these have asked of an object
//! is waited for, what they are about to ask is not. On an executor of one thread they are given time to ask.

mod clock;
mod directory;
mod socket;

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::activity::Activity;
use crate::engine::LossyDisk;
use crate::harness::{Harness, Randomness};
use crate::storage::millis;
use crate::stub::RawStub;
use crate::time::Time;
use crate::{
    Builder, CallError, Context, DurableObject, Error, ErrorKind, ObjectId, ObjectStub, Request,
    Result, Runtime,
};
use crate::{socket as sockets, transport::PendingSocket};

use clock::TestClock;
use directory::TestDirectory;
pub use socket::TestSocket;

/// How long a handler may wait for something that is not the runtime's, in real time, unless
/// [`TestBuilder::patience`] says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often other tasks of the executor get their turn before quiet counts as quiet.
const YIELDS: usize = 16;

/// Makes the runtime's builder ready, each time anew.
type Setup = Arc<dyn Fn(Builder) -> Builder + Send + Sync>;

/// How a [`TestRuntime`] is to be. See [`TestRuntime::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct TestBuilder {
    start: SystemTime,
    seed: u64,
    evicts_between_turns: bool,
    patience: Duration,
    in_memory: bool,
}

impl TestBuilder {
    /// What the clock shows at first. Default: the first of January 2030, UTC.
    pub fn clock_at(mut self, time: SystemTime) -> Self {
        self.start = time;
        self
    }

    /// The seed of all that is random in the runtime, such as unique ids: the same seed gives the same. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Evicts an object after each of its turns, so that the next one finds a fresh instance: a suite that passes both ways
    /// shows that nothing which must last is kept in a field.
    ///
    /// As always, the instance stays while a handler, a background future or a gate is pending.
    pub fn evict_between_turns(mut self) -> Self {
        self.evicts_between_turns = true;
        self
    }

    /// Keeps the data on the memory file system of Linux, `/dev/shm`, where no flush waits for a disk: for suites with thousands of tests.
    /// Elsewhere it is in a temporary directory all the same.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// How long [`settle`](TestRuntime::settle) and [`advance`](TestRuntime::advance) wait, in real time, until all is quiet.
    /// Default: 10 seconds.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the runtime. `setup` registers the classes, and sets whatever else a test wants to be otherwise; it is called
    /// again whenever the runtime is started again. The clock is the kit's, whatever it sets.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start<F>(self, setup: F) -> Result<TestRuntime>
    where
        F: Fn(Builder) -> Builder + Send + Sync + 'static,
    {
        let bed = Bed {
            setup: Arc::new(setup),
            clock: TestClock::new(self.start),
            randomness: Arc::new(Randomness::Seeded(Mutex::new(self.seed))),
            evicts_between_turns: self.evicts_between_turns,
            directory: TestDirectory::new(self.in_memory)?,
        };
        let running = bed.start().await?;
        Ok(TestRuntime { running, bed, patience: self.patience, real_time: clock::real_time() })
    }
}

/// A [`Runtime`] for tests: it can do all that one can, and time, eviction and crashes are the test's.
///
/// The data is in a temporary directory, which goes when this is dropped.
pub struct TestRuntime {
    // Before the bed, whose directory it uses.
    running: Running,
    bed: Bed,
    patience: Duration,
    real_time: Time,
}

/// What is the same before and after a crash.
struct Bed {
    setup: Setup,
    clock: TestClock,
    randomness: Arc<Randomness>,
    evicts_between_turns: bool,
    directory: TestDirectory,
}

/// A runtime, and what it runs on.
struct Running {
    runtime: Runtime,
    disk: LossyDisk,
    activity: Arc<Activity>,
}

impl Bed {
    async fn start(&self) -> Result<Running> {
        let (disk, activity) = (LossyDisk::default(), Arc::<Activity>::default());
        let harness = Harness {
            disk: Arc::new(disk.clone()),
            moves_time: true,
            activity: Some(Arc::clone(&activity)),
            evicts_between_turns: self.evicts_between_turns,
            randomness: Arc::clone(&self.randomness),
        };
        let builder = (self.setup)(Runtime::builder(self.directory.path()));
        let runtime = builder.under_test(harness, self.clock.as_clock()).start().await?;
        Ok(Running { runtime, disk, activity })
    }
}

impl TestRuntime {
    /// Starts a runtime. `setup` registers the classes: see [`TestBuilder::start`].
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start<F>(setup: F) -> Result<TestRuntime>
    where
        F: Fn(Builder) -> Builder + Send + Sync + 'static,
    {
        TestRuntime::builder().start(setup).await
    }

    /// Sets up a runtime that differs from the usual one.
    pub fn builder() -> TestBuilder {
        TestBuilder {
            start: clock::start(),
            seed: 0,
            evicts_between_turns: false,
            patience: PATIENCE,
            in_memory: false,
        }
    }

    /// The time, as objects see it.
    pub fn now(&self) -> SystemTime {
        self.bed.clock.now()
    }

    /// Lets time pass: moves the clock from one time that somebody waits for to the next, up to `duration` from now, and after each
    /// of them waits until all is quiet. What falls due runs in the order of its time, and sees that time.
    ///
    /// # Errors
    /// As [`settle`](TestRuntime::settle). The clock stays where it was then.
    pub async fn advance(&self, duration: Duration) -> Result<()> {
        let end = self.now().checked_add(duration).ok_or_else(|| {
            let text = format!("the clock cannot show a time {duration:?} from now");
            Error::new(ErrorKind::Invalid, text)
        })?;
        self.settle().await?;
        let time = &self.runtime().node().settings.time;
        while let Some(due) = time.earliest().filter(|due| *due < end) {
            self.bed.clock.move_to(due);
            time.wake_due();
            self.settle().await?;
        }
        self.bed.clock.move_to(end);
        time.wake_due();
        self.settle().await
    }

    /// Waits until all is quiet, without time passing: no turn runs or waits to run, no handler, background future or gate
    /// can go on before time passes or somebody calls, and all that was committed is durable.
    ///
    /// # Errors
    /// - [`ErrorKind::TimedOut`] after ten real seconds, with the objects and handlers that are not done: they wait for something that is
    ///   not the runtime's, such as a socket or a channel, or never end.
    /// - [`ErrorKind::Deadlock`] inside a turn or a handler, which it would wait for.
    /// - [`ErrorKind::Storage`] when the disk has failed.
    pub async fn settle(&self) -> Result<()> {
        self.runtime().check_may_wait()?;
        let patience = self.real_time.sleep(self.patience);
        let quiet = within(self.quiet(), patience).await;
        quiet.unwrap_or_else(|| Err(self.not_quiet()))
    }

    async fn quiet(&self) -> Result<()> {
        let activity = &self.running.activity;
        loop {
            let engine = self.runtime().node().engine();
            if let Some(engine) = &engine {
                engine.flushed().wait().await?;
            }
            activity.quiet().await;
            let before = activity.quiet_after();
            // The test's own tasks, which are not counted, may be about to call.
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            let is_flushed = engine.is_none_or(|engine| engine.flushed().is_durable());
            if is_flushed && before.is_some() && activity.quiet_after() == before {
                return Ok(());
            }
        }
    }

    fn not_quiet(&self) -> Error {
        let at_work = self.running.activity.at_work();
        let who = if at_work.is_empty() { "a turn".to_owned() } else { at_work.join(", ") };
        let text = format!(
            "not quiet after {:?}: {who} has not ended, and waits for nothing that the runtime knows of; let it wait for \
             something that the test controls, and end that first",
            self.patience
        );
        Error::new(ErrorKind::TimedOut, text)
    }

    /// Waits until all is quiet and drops the object's instance from memory; the next call makes a new one. `false` if it stays,
    /// because a handler, a background future or a gate is pending.
    ///
    /// # Errors
    /// As [`settle`](TestRuntime::settle), and when the stub leads to no object of this runtime.
    pub async fn evict<T: DurableObject>(&self, stub: &impl ObjectStub<T>) -> Result<bool> {
        self.settle().await?;
        self.namespace::<T>().evict(raw(stub)?.id())
    }

    /// Waits until all is quiet and drops the instances of all objects. `false` if some stay: see [`evict`](TestRuntime::evict).
    ///
    /// # Errors
    /// As [`settle`](TestRuntime::settle).
    pub async fn evict_all(&self) -> Result<bool> {
        self.settle().await?;
        Ok(self.runtime().node().evict_all())
    }

    /// Runs the object's alarm now, whenever it is set for, and waits until all is quiet. `false` if none is set.
    ///
    /// # Errors
    /// As [`settle`](TestRuntime::settle), and when the object cannot be reached.
    pub async fn fire_alarm<T: DurableObject>(&self, stub: &impl ObjectStub<T>) -> Result<bool> {
        let fired =
            self.run_in_object(stub, |_, ctx| ctx.store().hasten_alarm(millis(ctx.now()))).await?;
        self.settle().await?;
        Ok(fired)
    }

    /// The objects of a class that have stored something, in the order of their ids.
    ///
    /// # Errors
    /// When the class is not registered, or the list cannot be read.
    pub fn list<T: DurableObject>(&self) -> Result<Vec<ObjectId<T>>> {
        self.namespace::<T>().stored()
    }

    /// Runs `code` as a turn of the object, with its private fields and its storage, and gives what it returned.
    ///
    /// # Errors
    /// What `code` returned, or the runtime's error as an [`Error`].
    pub async fn run_in_object<T, R, F>(&self, stub: &impl ObjectStub<T>, code: F) -> Result<R>
    where
        T: DurableObject,
        F: FnOnce(&mut T, &Context<T>) -> Result<R> + Send + 'static,
        R: Send + 'static,
    {
        raw(stub)?.turn("run_in_object", code).await.map_err(CallError::flatten)
    }

    /// Sends a request for a WebSocket to the object's `fetch`, and gives the client's end of it. The headers that a client adds by itself are added.
    /// The connection is there until one end closes it: [`restart`](TestRuntime::restart) closes it with 1012, and [`crash`](TestRuntime::crash) drops it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the status when the object does not answer with 101, and the runtime's error when it does not answer.
    pub async fn connect<T: DurableObject>(
        &self,
        stub: &impl ObjectStub<T>,
        mut request: Request,
    ) -> Result<TestSocket> {
        sockets::complete(&mut request);
        let response = raw(stub)?.fetch(request).await;
        let mut response = response.map_err(|failure| Error::from(failure.widen::<Error>()))?;
        let status = response.status();
        let driver = PendingSocket::take(&mut response)
            .filter(|_| status == http::StatusCode::SWITCHING_PROTOCOLS);
        let Some(driver) = driver else {
            let text = format!("the object has accepted no WebSocket: it answered {status}");
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        let socket = TestSocket::new(self.patience, clock::real_time());
        self.runtime().node().spawn_unwaited(socket.carry(driver));
        Ok(socket)
    }

    /// Ends the runtime gracefully and starts it again on the same data. Stubs of before fail with
    /// [`CallError::ShutDown`]; take new ones.
    ///
    /// # Errors
    /// - [`ErrorKind::TimedOut`] when handlers, background futures or gates have not ended after ten real seconds: one that waits for the clock never
    ///   does, so [`advance`](TestRuntime::advance) comes first. The runtime is of no use then.
    /// - As [`Builder::start`].
    pub async fn restart(&mut self) -> Result<()> {
        let patience = self.real_time.sleep(self.patience);
        within(self.runtime().shutdown(), patience).await.unwrap_or_else(|| {
            let text = format!(
                "the runtime did not shut down within {:?}: a handler, a background future or a gate has not ended; \
                 `advance` the clock to where it does, or use `crash`",
                self.patience
            );
            Err(Error::new(ErrorKind::TimedOut, text))
        })?;
        self.running = self.bed.start().await?;
        Ok(())
    }

    /// Loses the power, as far as data can tell, and starts again on what is left.
    ///
    /// - What was acknowledged is there, and each turn is there whole or not at all. A commit that nobody was told of may be gone.
    /// - Every byte of the journal and of the objects' files that was not synced is taken back, also those that a real disk might have
    ///   kept; new, renamed and removed files stay. The catalogue, which is a cache, is kept as it is.
    /// - Handlers, background futures and gates are dropped at their next `.await`, and nobody is answered: who waits gets an error. A turn
    ///   that runs is waited for, and its commit fails.
    /// - The connections of WebSockets are dropped, without a close frame.
    /// - Stubs of before fail with [`CallError::ShutDown`]; take new ones. The clock goes on from where it was.
    ///
    /// # Errors
    /// As [`Builder::start`], and [`ErrorKind::Deadlock`] inside a turn or a handler.
    pub async fn crash(&mut self) -> Result<()> {
        self.runtime().check_may_wait()?;
        self.running.disk.cut_power().map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot take back what was not synced: {error}"))
        })?;
        self.runtime().node().drop_sockets();
        self.runtime().shutdown_within(Duration::ZERO).await?;
        self.running = self.bed.start().await?;
        Ok(())
    }

    fn runtime(&self) -> &Runtime {
        &self.running.runtime
    }
}

/// What a future gives, if it does before the limit is over.
async fn within<F: Future>(future: F, limit: impl Future<Output = ()>) -> Option<F::Output> {
    let (mut future, mut limit) = (pin!(future), pin!(limit));
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => limit.as_mut().poll(task).map(|()| None),
    })
    .await
}

impl Deref for TestRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.runtime()
    }
}

impl fmt::Debug for TestRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestRuntime").field(self.runtime()).finish()
    }
}

/// The stub inside of a typed one.
fn raw<T: DurableObject>(stub: &impl ObjectStub<T>) -> Result<&RawStub<T>> {
    stub.raw_stub().downcast_ref().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a stub that `#[durable_object]` did not make leads nowhere")
    })
}
