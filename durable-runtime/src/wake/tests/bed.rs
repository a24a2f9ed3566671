//! A runtime on a data directory of its own, with classes that do what the test says.

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::engine::{Catalogue, Directory, JournaledEngine, OnDamage, RealDisk, WriteLimits};
use crate::handlers::AlarmInfo;
use crate::harness::Harness;
use crate::instance::pace::PaceLimit;
use crate::instance::registry::{AnyClass, Class};
use crate::instance::turn::Form;
use crate::node::{Environment, Node, Settings};
use crate::object::{BoxFuture, DurableObject, Handler, Handlers, MigrationInfo};
use crate::rpc::{MethodDescription, WireReply};
use crate::socket::shared::SocketLimits;
pub(super) use crate::storage::alarm::time_of as at;
use crate::storage::millis;
use crate::stub::RawStub;
use crate::time::Time;
use crate::wire::{Decoder, WireError};
use crate::{CallError, Context, Error, Handle, Result, Runtime};

/// One run of a handler, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) name: String,
    pub(super) at: i64,
    pub(super) retry: u32,
    pub(super) scheduled: i64,
}

pub(super) type Act = fn(&Context<Agenda>) -> Result<()>;
pub(super) type Errand = fn(Handle<Courier>) -> BoxFuture<Result<()>>;

/// What the handlers do, run by run; when nothing is left they succeed.
pub(super) struct Plan {
    runs: mpsc::UnboundedSender<Ran>,
    pub(super) acts: Mutex<VecDeque<Act>>,
    pub(super) errands: Mutex<VecDeque<Errand>>,
    /// How many constructions fail from now on.
    pub(super) failures: AtomicUsize,
    pub(super) go: tokio::sync::Notify,
}

impl Plan {
    fn note(&self, name: Option<&str>, now: SystemTime, info: &AlarmInfo) {
        assert_eq!(info.is_retry, info.retry_count > 0);
        let ran = Ran {
            name: name.unwrap_or_default().into(),
            at: millis(now),
            retry: info.retry_count,
            scheduled: millis(info.scheduled_time),
        };
        let _ = self.runs.send(ran);
    }
}

macro_rules! class {
    ($class:ident, $handlers:expr) => {
        #[derive(Default)]
        pub(super) struct $class;

        impl DurableObject for $class {
            type Stub = RawStub<$class>;

            const CLASS: &'static str = stringify!($class);
            const FORMER_CLASSES: &'static [&'static str] = &[];
            const METHODS: &'static [MethodDescription] = &[];
            const MIGRATIONS: &'static [MigrationInfo] = &[];
            const HANDLERS: Handlers<Self> = $handlers;

            fn construct(ctx: &Context<Self>) -> Result<Self> {
                let failures = &ctx.env::<Arc<Plan>>()?.failures;
                let less = |failures: usize| failures.checked_sub(1);
                match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
                    Ok(_) => Err(Error::other("not yet")),
                    Err(_) => Ok($class),
                }
            }

            fn dispatch(
                &mut self,
                _: &Context<Self>,
                _: &str,
                _: &mut Decoder<'_>,
            ) -> Result<WireReply, WireError> {
                unreachable!("no call passes through its wire form here")
            }

            fn stub(raw: RawStub<Self>) -> RawStub<$class> {
                raw
            }
        }
    };
}

class!(Agenda, Handlers { alarm: Some(Handler::Sync(run_act)), ..Handlers::NONE });
class!(Courier, Handlers { alarm: Some(Handler::Async(run_errand)), ..Handlers::NONE });
class!(Silent, Handlers::NONE);

fn run_act(_: &mut Agenda, ctx: &Context<Agenda>, (info,): (AlarmInfo,)) -> Result<()> {
    let plan = ctx.env::<Arc<Plan>>()?;
    plan.note(ctx.name(), ctx.now(), &info);
    assert_eq!(ctx.alarm()?, None, "inside its own run");
    let act = plan.acts.lock().pop_front();
    let runs = ctx.kv().get::<u32>("runs")?.unwrap_or(0);
    ctx.kv().put("runs", &(runs + 1))?;
    act.map_or(Ok(()), |act| act(ctx))
}

fn run_errand(this: Handle<Courier>, (info,): (AlarmInfo,)) -> BoxFuture<Result<()>> {
    Box::pin(async move {
        let name = this.name().map(str::to_owned);
        let plan = Arc::clone(this.env::<Arc<Plan>>()?);
        let now = this.turn(|_, ctx| Ok::<_, Error>(ctx.now())).await?;
        plan.note(name.as_deref(), now, &info);
        let errand = plan.errands.lock().pop_front();
        match errand {
            Some(errand) => errand(this).await,
            None => Ok(()),
        }
    })
}

pub(super) struct Bed {
    directory: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    pub(super) plan: Arc<Plan>,
    runs: mpsc::UnboundedReceiver<Ran>,
    runtime: Option<Runtime>,
    node: Option<Arc<Node>>,
}

impl Bed {
    /// At the time 1,000.
    pub(super) async fn new() -> Bed {
        let (sender, runs) = mpsc::unbounded_channel();
        let plan = Plan {
            runs: sender,
            acts: Mutex::default(),
            errands: Mutex::default(),
            failures: AtomicUsize::new(0),
            go: tokio::sync::Notify::new(),
        };
        let mut bed = Bed {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(AtomicI64::new(1_000)),
            plan: Arc::new(plan),
            runs,
            runtime: None,
            node: None,
        };
        bed.start().await;
        bed
    }

    pub(super) async fn start(&mut self) {
        self.start_with(true).await;
    }

    /// Starts the runtime; without `alarms` only the class is registered that has none.
    pub(super) async fn start_with(&mut self, alarms: bool) {
        let data = self.directory.path().to_owned();
        let clock = Arc::clone(&self.clock);
        let clock: crate::time::Clock = Arc::new(move || at(clock.load(Ordering::SeqCst)));
        let time = Time::manual(Arc::clone(&clock));
        let mut environment = Environment::default();
        environment.insert(Arc::clone(&self.plan));
        let opened = tokio::task::spawn_blocking(move || {
            let directory = Directory::open(&data).unwrap();
            let catalogue = Arc::new(Catalogue::open(directory.path()).unwrap());
            let (disk, limits) = (Arc::new(RealDisk), WriteLimits::default());
            JournaledEngine::open(directory, disk, clock, limits, OnDamage::Refuse, catalogue)
        });
        let mut classes: HashMap<TypeId, Arc<dyn AnyClass>> = HashMap::new();
        classes.insert(TypeId::of::<Silent>(), Arc::new(Class::<Silent>::new("Silent".into())));
        if alarms {
            classes.insert(TypeId::of::<Agenda>(), Arc::new(Class::<Agenda>::new("Agenda".into())));
            let courier = Arc::new(Class::<Courier>::new("Courier".into()));
            classes.insert(TypeId::of::<Courier>(), courier);
        }
        let settings = Settings {
            limits: Arc::default(),
            environment,
            time,
            form: Form::Moved,
            queue_max: 10,
            residents_max: 10,
            resident_bytes_max: usize::MAX,
            idle_limit: Duration::MAX,
            gate_limit: Duration::MAX,
            background_limit: Duration::MAX,
            long_turn: Duration::MAX,
            alarm_limit: Duration::from_mins(15),
            pace: PaceLimit::default(),
            sockets: SocketLimits::default(),
            harness: Harness::default(),
        };
        let engine = Arc::new(opened.await.unwrap().unwrap());
        let node = Node::new(settings, engine, classes, tokio::runtime::Handle::current());
        let runtime = Runtime::new(node, self.directory.path().into());
        self.node = Some(Arc::clone(runtime.node()));
        self.runtime = Some(runtime);
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    pub(super) async fn stop(&mut self) {
        self.node = None;
        self.runtime.take().unwrap().shutdown().await.unwrap();
    }

    /// Ends the runtime without waiting for its handlers.
    pub(super) async fn cut(&mut self) {
        self.node = None;
        self.runtime.take().unwrap().shutdown_within(Duration::ZERO).await.unwrap();
    }

    pub(super) fn lose_catalogue(&self) {
        std::fs::remove_file(self.directory.path().join("catalogue.db")).unwrap();
    }

    fn time(&self) -> &Time {
        &self.node.as_ref().unwrap().settings.time
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Moves the clock, and wakes who waits for it.
    pub(super) fn move_to(&self, ms: i64) {
        self.clock.store(ms, Ordering::SeqCst);
        if self.node.is_some() {
            self.time().wake_due();
        }
    }

    /// What the runtime waits for, if anything.
    pub(super) fn earliest(&self) -> Option<i64> {
        self.time().earliest().map(millis)
    }

    /// Waits until the runtime waits for a time that is still to come.
    pub(super) async fn next_wait(&self) -> i64 {
        loop {
            match self.earliest() {
                Some(earliest) if earliest > self.now() => return earliest,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    pub(super) async fn ran(&mut self) -> Ran {
        self.runs.recv().await.unwrap()
    }

    /// The names of all who run until the marker does, which is set for this time.
    pub(super) async fn names_until(&mut self, ms: i64) -> Vec<String> {
        self.agenda("marker", move |ctx| ctx.set_alarm(at(ms))).await.unwrap();
        self.move_to(ms);
        let mut names = Vec::new();
        loop {
            let name = self.ran().await.name;
            if name == "marker" {
                return names;
            }
            names.push(name);
        }
    }

    pub(super) async fn agenda<R: Send + 'static>(
        &self,
        name: &str,
        turn: impl FnOnce(&Context<Agenda>) -> Result<R> + Send + 'static,
    ) -> Result<R, CallError<Error>> {
        self.runtime().get::<Agenda>(name).turn("test", |_, ctx| turn(ctx)).await
    }

    pub(super) async fn courier<R: Send + 'static>(
        &self,
        name: &str,
        turn: impl FnOnce(&Context<Courier>) -> Result<R> + Send + 'static,
    ) -> Result<R, CallError<Error>> {
        self.runtime().get::<Courier>(name).turn("test", |_, ctx| turn(ctx)).await
    }

    /// Waits until a turn of the object gives something.
    pub(super) async fn courier_until<R: Send + 'static>(
        &self,
        name: &str,
        turn: fn(&Context<Courier>) -> Result<Option<R>>,
    ) -> R {
        loop {
            if let Some(value) = self.courier(name, turn).await.unwrap() {
                return value;
            }
            tokio::task::yield_now().await;
        }
    }
}
