//! Setting up a runtime.

mod offline;

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::engine::tune_process;
use crate::engine::{Catalogue, Directory, Engine, JournaledEngine, OnDamage, Order, WriteLimits};
use crate::harness::Harness;
use crate::instance::pace::PaceLimit;
use crate::instance::registry::{AnyClass, Class};
use crate::instance::turn::Form;
use crate::node::{Environment, Node, Settings};
use crate::observe::events::note;
use crate::observe::meters;
use crate::socket::shared::SocketLimits;
use crate::storage::Limits;
use crate::time::{Clock, Time};
use crate::{DurableObject, Error, ErrorKind, Result, Runtime};

/// Calls of one object that may be without an answer, unless [`Builder::queue_limit`] says otherwise.
pub const QUEUE_MAX: usize = 1_024;

/// Objects in memory, unless [`Builder::resident_limit`] or the limit of open files says otherwise.
pub const RESIDENTS_MAX: usize = 10_000;

/// How long an object stays in memory without events, unless [`Builder::idle_limit`] says otherwise.
pub const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Less would be looking at objects all the time.
const IDLE_LIMIT_MIN: Duration = Duration::from_millis(4);

/// Less would be pinging all the time.
const IDLE_PING_MIN: Duration = Duration::from_millis(4);

/// How long a gate may be closed, unless [`Builder::gate_limit`] says otherwise.
pub const GATE_LIMIT: Duration = Duration::from_secs(30);

/// How long a background future may run, unless [`Builder::background_limit`] says otherwise.
pub const BACKGROUND_LIMIT: Duration = Duration::from_mins(15);

/// How long an async `alarm` handler may run, unless [`Builder::alarm_limit`] says otherwise.
pub const ALARM_LIMIT: Duration = Duration::from_mins(15);

/// How long a turn runs until the log is told of it, unless [`Builder::long_turn_warning`] says otherwise.
pub const LONG_TURN: Duration = Duration::from_secs(1);

/// Memory of the databases of objects in memory, in bytes, unless [`Builder::resident_memory_limit`] says
/// otherwise.
pub const RESIDENT_BYTES_MAX: usize = 1_024 * 1_024 * 1_024;

/// What a runtime is made from. See [`Runtime::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    directory: PathBuf,
    classes: Vec<Registration>,
    environment: Environment,
    clock: Clock,
    form: Form,
    queue_max: usize,
    residents_max: Option<usize>,
    idle_limit: Duration,
    gate_limit: Duration,
    background_limit: Duration,
    alarm_limit: Duration,
    pace: PaceLimit,
    sockets: SocketLimits,
    long_turn: Duration,
    resident_bytes_max: usize,
    writing: WriteLimits,
    history_bytes: Option<u64>,
    on_damage: OnDamage,
    limits: Limits,
    harness: Harness,
    /// Whether only an operator is to look at the objects: the directory must be there, nothing of a history is removed.
    is_offline: bool,
}

/// A class to register, without its type.
struct Registration {
    type_id: TypeId,
    name: &'static str,
    former: &'static [&'static str],
    make: fn(Arc<str>) -> Arc<dyn AnyClass>,
}

impl Builder {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Builder {
            directory,
            classes: Vec::new(),
            environment: Environment::default(),
            clock: Arc::new(SystemTime::now),
            form: Form::Moved,
            queue_max: QUEUE_MAX,
            residents_max: None,
            idle_limit: IDLE_LIMIT,
            gate_limit: GATE_LIMIT,
            background_limit: BACKGROUND_LIMIT,
            alarm_limit: ALARM_LIMIT,
            pace: PaceLimit::default(),
            sockets: SocketLimits::default(),
            long_turn: LONG_TURN,
            resident_bytes_max: RESIDENT_BYTES_MAX,
            writing: WriteLimits::default(),
            history_bytes: None,
            on_damage: OnDamage::Refuse,
            limits: Limits::default(),
            harness: Harness::default(),
            is_offline: false,
        }
    }

    /// Makes the objects of class `T` available.
    ///
    /// What is wrong with a class is reported by [`start`](Builder::start): a name that another
    /// registered class has.
    pub fn register<T: DurableObject>(mut self) -> Self {
        self.classes.push(Registration {
            type_id: TypeId::of::<T>(),
            name: T::CLASS,
            former: T::FORMER_CLASSES,
            make: |key| Arc::new(Class::<T>::new(key)),
        });
        self
    }

    /// Gives all objects a value that they get with [`Context::env`](crate::Context::env). One of
    /// each type; a second of the same type replaces the first.
    pub fn env<E: Send + Sync + 'static>(mut self, value: E) -> Self {
        self.environment.insert(value);
        self
    }

    /// The clock that turns see. Default: the system's.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many calls of one object may be without an answer, in its queue or waiting for the disk, before
    /// further ones fail with [`CallError::Overloaded`](crate::CallError::Overloaded). Default: 1,024.
    pub fn queue_limit(mut self, calls: usize) -> Self {
        self.queue_max = calls.max(1);
        self
    }

    /// How many objects stay in memory at the same time; beyond that, those that were not used
    /// for longest are evicted. Default: 10,000, or fewer if the process may not open so many files.
    pub fn resident_limit(mut self, objects: usize) -> Self {
        self.residents_max = Some(objects.max(1));
        self
    }

    /// How long an object stays in memory without events; up to a quarter longer, since they are looked at
    /// four times in that span. At least 4 milliseconds; [`Duration::MAX`]: until there are too many. Default:
    /// 10 seconds.
    ///
    /// An object with a handler, a background future or a closed gate stays for as long as that takes.
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit.max(IDLE_LIMIT_MIN);
        self
    }

    /// How long the future given to [`Handle::block_concurrency_while`](crate::Handle::block_concurrency_while) may
    /// keep all others out; beyond that the object is reset. Default: 30 seconds.
    pub fn gate_limit(mut self, limit: Duration) -> Self {
        self.gate_limit = limit;
        self
    }

    /// How long a future given to [`Context::wait_until`](crate::Context::wait_until) may run; beyond that it is
    /// dropped, and an error is logged. Default: 15 minutes.
    pub fn background_limit(mut self, limit: Duration) -> Self {
        self.background_limit = limit;
        self
    }

    /// How long one run of an async `alarm` handler may take; beyond that it is dropped, and counts as a run that failed.
    /// Default: 15 minutes. A sync one is a turn: see [`turn_limit`](Builder::turn_limit).
    pub fn alarm_limit(mut self, limit: Duration) -> Self {
        self.alarm_limit = limit;
        self
    }

    /// How often an object may run its alarm and timers within a window of time, before it is taken for one that wakes itself
    /// for ever. Default: 10,000 times in 10 seconds.
    ///
    /// What is due beyond that is not lost: it waits for the length of a window, and twice as long each time that the next
    /// window is full as well, up to 64 windows. Each such wait is a warning in the log.
    pub fn wake_limit(mut self, runs: u32, window: Duration) -> Self {
        self.pace = PaceLimit { runs_max: runs, window };
        self
    }

    /// How long the peer of a WebSocket may be silent before it is asked, with a ping, whether it is still there; after as
    /// long again without an answer the connection is dropped, and counts as lost. [`Duration::MAX`]: for ever. Default: 30 seconds.
    pub fn websocket_idle_ping(mut self, silence: Duration) -> Self {
        self.sockets.idle_ping = silence.max(IDLE_PING_MIN);
        self
    }

    /// How long a message from the peer of a WebSocket may be, in bytes. A longer one closes the socket with 1009. Default: 32 MiB.
    pub fn websocket_message_limit(mut self, bytes: usize) -> Self {
        self.sockets.message_bytes_max = bytes;
        self
    }

    /// How much may wait to be written to one WebSocket, in bytes, 64 more for each message. Beyond it the peer reads too slowly: what
    /// waits is dropped, and the socket closed with 1013. One message alone may be longer. While more than half of it waits, nothing is
    /// read from the peer, so that one who only sends is not closed for that. Default: 4 MiB.
    pub fn websocket_queue_limit(mut self, bytes: usize) -> Self {
        self.sockets.queue_bytes_max = bytes;
        self
    }

    /// How long a turn may run until a warning is logged, while it still runs: with class, id, name and method, at the
    /// latest after half of that time more, and again each time it has doubled. By the machine's time, whatever the
    /// [clock](Builder::clock) says. At least 1 millisecond; [`Duration::MAX`]: never. Default: 1 second.
    ///
    /// Code of yours that never returns cannot be ended by the runtime; this shows which it is.
    pub fn long_turn_warning(mut self, threshold: Duration) -> Self {
        self.long_turn = threshold;
        self
    }

    /// How much memory the databases of the objects in memory may take, in bytes; beyond that, those that
    /// were not used for longest are evicted. It is looked at when an object comes into memory, and it is an
    /// estimate: 42 KiB for each, up to 256 KiB of cached pages, and what is not yet in its file. The
    /// objects' own fields are not counted. Default: 1 GiB.
    pub fn resident_memory_limit(mut self, bytes: usize) -> Self {
        self.resident_bytes_max = bytes;
        self
    }

    /// How much journal may be written before the objects' files are brought up to date, in bytes.
    /// Default: 64 MiB. More means less writing and a longer start after a crash; the journal takes
    /// up to about twice as much disk.
    pub fn checkpoint_distance(mut self, bytes: u64) -> Self {
        self.writing.checkpoint_distance = bytes.max(1);
        self
    }

    /// How many bytes of changes may wait in memory until they are written to the objects' files, or are
    /// on disk at all. From half of it on they are written; beyond it turns that write wait, and fail with
    /// [`ErrorKind::StorageFull`] if the files cannot be written. One turn may exceed it, by what it
    /// changes. Default: 256 MiB.
    pub fn unwritten_limit(mut self, bytes: usize) -> Self {
        self.writing.unwritten_bytes_max = bytes;
        self
    }

    /// For how long earlier states of objects are kept, to [restore](crate::Context::restore_on_next_session) them. Default: 30
    /// days. With [`Duration::ZERO`] none are kept, and what was kept before is removed.
    ///
    /// It takes space in the data directory, in `history/`, about as much as the journal that objects' commits make, and once
    /// more for the pages that they change, packed in the background: see [`history_limit`](Builder::history_limit). Commits do not wait for it.
    pub fn history(mut self, keep: Duration) -> Self {
        self.writing.history.keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// How much of the disk the history of all objects together may take, in bytes; beyond it the oldest is removed, in files of up to 16 MiB and
    /// what one checkpoint adds. A file that is being packed is there twice for a moment. Default: 1 GiB, and not more than a tenth of the disk.
    pub fn history_limit(mut self, bytes: u64) -> Self {
        self.history_bytes = Some(bytes);
        self
    }

    /// Whether to start although the journal is damaged so that nobody can say which objects lost
    /// acknowledged commits. Default: no, [`start`](Builder::start) fails then and changes nothing.
    ///
    /// With `true` every object of which a lost commit is known stays closed, and its calls fail; all others
    /// go on with what is left of them, which may lack their last commits. The damaged journal is
    /// kept in the data directory, in `journal/damaged-…`. Meant for one start, after a look at the log and at
    /// what [`check`](crate::check()) says. Where it is known which objects lost commits, only these stay closed, and
    /// nothing has to be accepted.
    pub fn accept_damage(mut self, accept: bool) -> Self {
        self.on_damage = if accept { OnDamage::Accept } else { OnDamage::Refuse };
        self
    }

    /// How long the SQL of one turn may run before it is interrupted with
    /// [`ErrorKind::TimedOut`]. Default: 30 s. Code of yours that never returns is not ended by this.
    pub fn turn_limit(mut self, time: Duration) -> Self {
        self.limits.turn = time;
        self
    }

    /// How long the SQL of one migration may run before the migration fails. Default: 15 minutes.
    pub fn migration_limit(mut self, time: Duration) -> Self {
        self.limits.migration = time;
        self
    }

    /// How large the database of one object may get, in bytes. A statement that needs more fails with
    /// [`ErrorKind::Limit`]. Default: 10 GB.
    pub fn database_limit(mut self, bytes: u64) -> Self {
        self.limits.database_bytes = bytes;
        self
    }

    /// How long the text of one SQL statement may be, in bytes. Default: 100,000.
    pub fn sql_limit(mut self, bytes: usize) -> Self {
        self.limits.sql_bytes = bytes;
        self
    }

    /// How long a key of [`Kv`](crate::Kv) may be, in bytes. Default: 2 KiB.
    pub fn key_limit(mut self, bytes: usize) -> Self {
        self.limits.keys.key_bytes = bytes;
        self
    }

    /// How long a key and its value may be together, in bytes. Default: 2 MiB. More than 8 MiB in a
    /// value is too much for SQLite, whatever this says.
    pub fn entry_limit(mut self, bytes: usize) -> Self {
        self.limits.keys.entry_bytes = bytes;
        self
    }

    /// How many keys one call of [`Kv`](crate::Kv) may name. Default: 128.
    pub fn key_batch_limit(mut self, keys: usize) -> Self {
        self.limits.keys.batch_keys = keys;
        self
    }

    /// Passes the arguments and the reply of every call through their wire form, as if the
    /// caller were in another process. For tests: it finds types that cannot be sent.
    pub fn always_serialize(mut self) -> Self {
        self.form = Form::Wire;
        self
    }

    /// Puts a test kit's things in the place of the machine's. The clock is one that somebody moves.
    #[cfg(feature = "testing")]
    pub(crate) fn under_test(mut self, harness: Harness, clock: Clock) -> Self {
        (self.harness, self.clock) = (harness, clock);
        self
    }

    /// Opens the data directory and starts the runtime on the current tokio runtime.
    ///
    /// A recorder of the crate `metrics` is to be installed before: see the guide, "observability".
    ///
    /// # Errors
    /// When the directory cannot be used (not ours, of a newer version, opened by another runtime),
    /// a class cannot be registered, or there is no tokio runtime.
    pub async fn start(self) -> Result<Runtime> {
        let executor = tokio::runtime::Handle::try_current().map_err(|_| {
            Error::new(ErrorKind::Invalid, "a runtime is started inside a tokio runtime")
        })?;
        let open = executor.spawn_blocking(move || self.open());
        let (settings, opened, path) = open.await.map_err(|error| {
            Error::new(
                ErrorKind::Storage,
                format!("opening the data directory was given up: {error}"),
            )
        })??;
        let node = Node::new(settings, opened.engine, opened.classes, executor);
        Ok(Runtime::new(node, path))
    }

    /// The part that waits for the disk.
    fn open(self) -> Result<(Settings, Opened, PathBuf)> {
        // Before the catalogue, which is SQLite's too: afterwards it takes no settings any more.
        tune_process();
        meters::describe();
        let directory = if self.is_offline {
            Directory::open_existing(&self.directory)?
        } else {
            Directory::open(&self.directory)?
        };
        let catalogue = Arc::new(Catalogue::open(directory.path())?);
        let classes = resolve(&self.classes, &catalogue)?;
        let clock = Arc::clone(&self.clock);
        let history = self.history_limits(directory.path());
        let writing = WriteLimits { history, ..self.writing };
        let engine: Arc<dyn Engine> = Arc::new(JournaledEngine::open(
            directory,
            Arc::clone(&self.harness.disk),
            clock,
            writing,
            self.on_damage,
            catalogue,
        )?);
        if !self.is_offline {
            tell_of_unregistered(&*engine)?;
        }
        let settings = Settings {
            environment: self.environment,
            time: if self.harness.moves_time {
                Time::manual(self.clock)
            } else {
                Time::new(self.clock)
            },
            form: self.form,
            queue_max: self.queue_max,
            resident_bytes_max: self.resident_bytes_max,
            limits: Arc::new(self.limits),
            residents_max: self.residents_max.unwrap_or_else(|| default_residents(&*engine)),
            idle_limit: self.idle_limit,
            gate_limit: self.gate_limit,
            background_limit: self.background_limit,
            harness: self.harness,
            alarm_limit: self.alarm_limit,
            pace: self.pace,
            sockets: self.sockets,
            long_turn: self.long_turn,
        };
        Ok((settings, Opened { engine, classes }, self.directory))
    }
}

/// What is on the disk, opened.
struct Opened {
    engine: Arc<dyn Engine>,
    classes: HashMap<TypeId, Arc<dyn AnyClass>>,
}

/// Finds the key of each class; two classes must not share one.
fn resolve(
    registrations: &[Registration],
    catalogue: &Catalogue,
) -> Result<HashMap<TypeId, Arc<dyn AnyClass>>> {
    let mut classes = HashMap::new();
    let mut keys: HashMap<Arc<str>, &Registration> = HashMap::new();
    for registration in registrations {
        let name = registration.name;
        if classes.contains_key(&registration.type_id) {
            continue;
        }
        if let Some(other) = keys.values().find(|other| other.name == name) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "two types are registered as class `{}`; give one of them another name: `#[durable_object(name = \"..\")]`",
                    other.name
                ),
            ));
        }
        let key = catalogue.resolve(name, registration.former)?;
        if let Some(other) = keys.insert(key.clone(), registration) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "classes `{}` and `{name}` are the same stored class `{key}`; only one of them can be registered",
                    other.name
                ),
            ));
        }
        classes.insert(registration.type_id, (registration.make)(key));
    }
    Ok(classes)
}

/// A class that has vanished from the program may have been forgotten, or renamed without saying so.
fn tell_of_unregistered(engine: &dyn Engine) -> Result<()> {
    for class in engine.classes()?.into_iter().filter(|class| !class.is_registered) {
        let first = engine.list(&class.key, &Order::Ids { after: None }, 1)?;
        if !first.is_empty() {
            note!(
                warn,
                class = class.name,
                "a class that has objects is not registered: they are kept, and nobody can call them"
            );
        }
    }
    Ok(())
}

/// Half of the files that the process may open are for objects.
fn default_residents(engine: &dyn Engine) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files / 2 / engine.files_per_object()).clamp(1, RESIDENTS_MAX)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: Vec<_> = self.classes.iter().map(|class| class.name).collect();
        f.debug_struct("Builder")
            .field("directory", &self.directory)
            .field("classes", &classes)
            .finish_non_exhaustive()
    }
}
