//! All a turn can do.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use crate::engine::{Engine, Receipt};
use crate::id::Identity;
use crate::instance::Object;
use crate::instance::chain::Chain;
use crate::instance::gate::{self, GateEnd, PendingGate};
use crate::instance::mailbox::GateId;
use crate::instance::session::Session;
use crate::instance::turn::dispose;
use crate::node::Node;
use crate::observe::events::event;
use crate::observe::turns;
use crate::rpc::Access;
use crate::socket::changes;
use crate::socket::home::Home;
use crate::storage::{Kv, MigrationRun, Outcome, Sql, Store, Wish, millis};
use crate::stub::RawStub;
use crate::{
    Bookmark, BoxFuture, DurableObject, Error, ErrorKind, GateHandle, Handle, LocationHint,
    Namespace, ObjectId, Restore, Result,
};

/// What a turn may do: storage, identity, other objects, background work.
///
/// A method takes `ctx: &Context`. Taken as `&Context<Self>` it also has [`this`](Context::this)
/// and [`handle`](Context::handle), and can be passed wherever a `&Context` is wanted.
///
/// A context lives for one turn. It cannot be held over an `.await` or sent to another thread:
/// whatever is written through it belongs to the turn's transaction.
pub struct Context<T: Scope = ()> {
    parts: T::Parts,
}

/// What a [`Context`] knows of its object: its class, or nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a durable object",
    label = "`Context<{Self}>` needs a durable object",
    note = "help: put `#[durable_object]` on the inherent `impl` of `{Self}`, or take a plain `&Context`"
)]
pub trait Scope {
    /// What the context holds.
    #[doc(hidden)]
    type Parts;
}

impl Scope for () {
    type Parts = Parts;
}

#[diagnostic::do_not_recommend]
impl<T: DurableObject> Scope for T {
    type Parts = TypedParts<T>;
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "private in all but visibility")]
pub struct Parts {
    // Before `node` and whatever holds the object, so that the database is closed first.
    store: Store,
    identity: Arc<Identity>,
    class: &'static str,
    node: Arc<Node>,
    /// The object, for its sockets.
    home: Arc<dyn Home>,
    /// The turn's time, once somebody has asked for it.
    now: Cell<Option<SystemTime>>,
    /// Whether the turn's reply need not wait until the turn is durable.
    unconfirmed: Cell<bool>,
    /// Futures that start when the turn is durable.
    background: RefCell<Vec<BoxFuture<()>>>,
    /// What starts when the turn is committed, in its session.
    starts: RefCell<Vec<Start>>,
    /// What closes the gate when the turn ends well.
    gates: RefCell<Vec<PendingGate>>,
    /// Whether the class has an `alarm` handler.
    has_alarm_handler: bool,
    /// Why the turn wants the object reset.
    abort: RefCell<Option<Arc<str>>>,
    /// What the turn that aborts wants the object restored to.
    wish: Cell<Option<Wish>>,
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "private in all but visibility")]
pub struct TypedParts<T: DurableObject> {
    base: Context,
    /// An object with an instance stays known: the instance holds it.
    object: Arc<Object<T>>,
}

type Start = Box<dyn FnOnce(Arc<Session>) + Send>;

impl Context {
    /// The object's id. On a `Context<Self>` it is an `ObjectId<Self>`.
    pub fn id(&self) -> ObjectId<()> {
        ObjectId::new(self.parts.identity.id, self.parts.identity.name.get().cloned())
    }

    /// The object's name, if it has one and it is known: from the stub that first called it, or
    /// stored with the object.
    pub fn name(&self) -> Option<&str> {
        self.parts.identity.name.get().map(|name| &**name)
    }

    /// The class name.
    pub fn class(&self) -> &'static str {
        self.parts.class
    }

    /// Where the object was asked to be created.
    pub fn location_hint(&self) -> Option<LocationHint> {
        self.parts.identity.hint()
    }

    /// The object's SQL database.
    pub fn sql(&self) -> Sql<'_> {
        self.parts.store.sql()
    }

    /// The object's key-value store, in the same database.
    pub fn kv(&self) -> Kv<'_> {
        self.parts.store.kv()
    }

    /// Runs `code` as a transaction of its own inside the turn, over SQL, keys and values.
    ///
    /// `Ok` keeps what it wrote, `Err` undoes that and nothing else, and [`Rollback(value)`](crate::Rollback)
    /// undoes it and still gives the value. Transactions nest; what an inner one keeps, an outer one, or
    /// the turn, can still undo. A panic that is caught outside the transaction undoes it, too. In a
    /// read-only method it does no more than group reads.
    ///
    /// Only storage is undone: fields of the object and other memory stay as `code` left them. So
    /// change them after the transaction. (When the *turn* is undone, the object is built anew.)
    ///
    /// ```
    /// use durable_runtime::{Context, ErrorKind, Result};
    ///
    /// /// Books as many of the seats as are free.
    /// fn book(ctx: &Context, seats: &[u32]) -> Result<usize> {
    ///     let mut booked = 0;
    ///     for seat in seats {
    ///         let attempt = ctx.transaction(|| -> Result<()> {
    ///             ctx.sql().execute("INSERT INTO bookings (seat) VALUES (?)", [seat])?;
    ///             ctx.sql().execute("UPDATE free SET seats = seats - 1", []).map(|_| ())
    ///         });
    ///         match attempt {
    ///             Ok(()) => booked += 1,
    ///             Err(error) if error.kind() == ErrorKind::Constraint => {}
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(booked)
    /// }
    /// ```
    ///
    /// # Errors
    /// What `code` returned; [`ErrorKind::RolledBack`](crate::ErrorKind::RolledBack), whatever it returned, when
    /// SQLite has ended the whole turn's transaction meanwhile (`INSERT OR ROLLBACK`, a full disk).
    pub fn transaction<R: Outcome>(&self, code: impl FnOnce() -> R) -> R::Output {
        self.parts.store.transaction(code)
    }

    /// Deletes all that the object has stored: rows, tables, keys and values, as a part of the turn.
    ///
    /// Afterwards all migrations have run anew on an empty database, so the object can be used at once.
    /// If the turn writes nothing more, its commit makes the object one that does not exist, until it
    /// writes again. The instance stays, with its fields. An error undoes the deletion as any other
    /// write, and so does a [`transaction`](Context::transaction) round it.
    ///
    /// ```
    /// # use durable_runtime::{Context, Result};
    /// fn leave(ctx: &Context) -> Result<()> {
    ///     ctx.delete_all()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) in a read-only method, and
    /// [`ErrorKind::Migration`](crate::ErrorKind::Migration) when a migration fails; nothing is deleted then.
    pub fn delete_all(&self) -> Result<()> {
        self.parts.store.delete_all(self.now())
    }

    /// The object's state now, to come back to: after the last commit, or, in a turn that has written something, after this turn.
    /// Where that turn is undone, such a bookmark stands for nothing, or for the commit that comes in its place.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`](crate::ErrorKind::NotKept) when nothing of the object is stored yet.
    pub fn current_bookmark(&self) -> Result<Bookmark> {
        let point = self.parts.store.current_commit()?;
        Ok(Bookmark::new(self.parts.identity.id, point))
    }

    /// The object's state at a time: after the last commit that was made then or before, by the runtime's clock.
    ///
    /// Looks into what is kept (see [`Builder::history`](crate::Builder::history)), and waits until all commits so far are written
    /// to it; so it takes some milliseconds, and longer on a busy node.
    ///
    /// # Errors
    /// [`ErrorKind::NotKept`](crate::ErrorKind::NotKept) when the object did not exist at that time, or that is
    /// too long ago, or no history is kept; the text says how far back it goes.
    pub fn bookmark_for_time(&self, time: SystemTime) -> Result<Bookmark> {
        let point = self.parts.store.commit_at(millis(time))?;
        Ok(Bookmark::new(self.parts.identity.id, point))
    }

    /// Makes the object what it was at a bookmark, when it is next started: after [`abort`](Context::abort), in this turn
    /// too, or when it was evicted. Until then it goes on as it is. Gives a bookmark of the state with this turn, to undo
    /// that; what is committed between this turn and the restart is kept as well, under later bookmarks.
    ///
    /// Restoring is itself a commit, so the history goes on, and one can go back and forth. Restored are all rows, tables, keys and values, the alarm and
    /// the timers; those that are overdue then are skipped, which the log says, unless the wish says [`fire_overdue`](Restore::fire_overdue). Migrations that were added since run anew. What was sent to other objects is not
    /// undone, and messages that the object has had are not applied again. See the guide, "history".
    ///
    /// ```
    /// # use durable_runtime::{Bookmark, Context, Error, Result};
    /// fn go_back(ctx: &Context, bookmark: Bookmark) -> Result<Error> {
    ///     ctx.restore_on_next_session(&bookmark)?;
    ///     Ok(ctx.abort("restored"))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a bookmark of another object,
    /// [`ErrorKind::NotKept`](crate::ErrorKind::NotKept) when that state is not kept, and
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) in a read-only method.
    pub fn restore_on_next_session(&self, to: impl Into<Restore>) -> Result<Bookmark> {
        let id = self.parts.identity.id;
        let undo = self.parts.store.wish_restore(to.into().wish_of(id)?)?;
        Ok(Bookmark::new(id, undo))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.parts.node
    }

    pub(crate) fn home(&self) -> &Arc<dyn Home> {
        &self.parts.home
    }

    pub(crate) fn has_alarm_handler(&self) -> bool {
        self.parts.has_alarm_handler
    }

    /// The time, from the runtime's clock; the same for the whole turn.
    pub fn now(&self) -> SystemTime {
        let now = self.parts.now.get().unwrap_or_else(|| self.parts.node.settings.time.now());
        self.parts.now.set(Some(now));
        now
    }

    /// Runs a future in the background once the turn is durable; never, if the turn is rolled back.
    ///
    /// The object stays in memory meanwhile, and [`Runtime::shutdown`](crate::Runtime::shutdown) waits for it.
    /// It is dropped when it runs for longer than 15 minutes (see [`Builder::background_limit`](crate::Builder::background_limit)),
    /// when the object is reset, and when the process ends before it is done. A panic in it is logged.
    pub fn wait_until(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.parts.background.borrow_mut().push(Box::pin(future));
    }

    /// Starts the object over, for a state that it cannot go on from: gives the error to return.
    ///
    /// Nothing of this turn is kept, whatever the method returns, but the wish to be [restored](Context::restore_on_next_session). The instance is dropped, and with it async
    /// handlers, background futures and closed gates. This call and every other that waits for the object
    /// fails with [`CallError::Reset`](crate::CallError::Reset) and the reason; the next one finds
    /// a fresh instance. The connections of its WebSockets are dropped, without a close event. What was committed before
    /// stays, and stubs go on working.
    ///
    /// ```
    /// # use durable_runtime::{Context, Result};
    /// fn check(ctx: &Context, balance: i64) -> Result<()> {
    ///     if balance < 0 { Err(ctx.abort("the balance is negative")) } else { Ok(()) }
    /// }
    /// ```
    pub fn abort(&self, reason: impl fmt::Display) -> Error {
        let reason = reason.to_string();
        let error = Error::new(ErrorKind::Reset, &reason);
        if let Some(wish) = self.parts.store.wish() {
            self.parts.wish.set(Some(wish));
        }
        self.parts.store.doom(&error);
        self.parts.abort.borrow_mut().get_or_insert_with(|| reason.into());
        error
    }

    /// Lets the turn's reply leave before the turn is durable: if the machine fails within the next
    /// moments, what the caller was told is stored is lost.
    ///
    /// For writes that are worth less than the wait for the disk: a cursor's position, a rough
    /// count. The turn is a transaction as always, its writes keep their order, and background futures and
    /// later turns wait for the disk as they would.
    pub fn allow_unconfirmed(&self) {
        self.parts.unconfirmed.set(true);
    }

    /// Objects of another class.
    ///
    /// A call cannot be awaited inside a turn; await it in [`wait_until`](Context::wait_until) or
    /// an async handler.
    pub fn namespace<Other: DurableObject>(&self) -> Namespace<Other> {
        Namespace::new(self.parts.node.clone())
    }

    /// The value of type `E` that was given to [`Builder::env`](crate::Builder::env).
    ///
    /// # Errors
    /// When there is none.
    pub fn env<E: Send + Sync + 'static>(&self) -> Result<&E> {
        self.parts.node.settings.environment.get()
    }
}

impl<T: DurableObject> Context<T> {
    pub(crate) fn new(object: Arc<Object<T>>, engine: Arc<dyn Engine>) -> Self {
        let (node, identity) = (object.node().clone(), object.identity().clone());
        let limits = node.settings.limits.clone();
        let store = Store::limited(engine, identity.clone(), T::MIGRATIONS, limits)
            .expiring(T::EXPIRES_AFTER);
        let parts = Parts {
            store,
            identity,
            class: T::CLASS,
            node,
            home: object.clone(),
            now: Cell::new(None),
            unconfirmed: Cell::new(false),
            background: RefCell::default(),
            starts: RefCell::default(),
            gates: RefCell::default(),
            has_alarm_handler: T::HANDLERS.alarm.is_some(),
            abort: RefCell::default(),
            wish: Cell::new(None),
        };
        Context { parts: TypedParts { base: Context { parts }, object } }
    }

    /// The object's id.
    pub fn id(&self) -> ObjectId<T> {
        let identity = self.parts.object.identity();
        ObjectId::new(identity.id, identity.name.get().cloned())
    }

    /// A stub of the object itself, to hand to others.
    pub fn this(&self) -> T::Stub {
        T::stub(RawStub::new(self.id(), Ok(self.parts.object.clone())))
    }

    /// A handle for async code: for [`wait_until`](Context::wait_until).
    pub fn handle(&self) -> Handle<T> {
        Handle::new(self.parts.object.clone())
    }

    /// Keeps every other event of the object waiting from the end of this turn on, until `code` is done.
    ///
    /// The future starts when the turn is durable; never, if the turn is rolled back. It reaches the
    /// object with [`gate.turn`](GateHandle::turn); all others wait. In the constructor, that is how
    /// something is loaded before the first call:
    ///
    /// ```
    /// use durable_runtime::{Context, Result};
    /// # use durable_runtime::DurableObject;
    /// # async fn fetch_rates() -> Result<Vec<f64>> { Ok(vec![1.0]) }
    /// # trait Rates { fn set(&mut self, rates: Vec<f64>); }
    ///
    /// fn load<T: DurableObject + Rates>(ctx: &Context<T>) {
    ///     ctx.block_concurrency_while(|gate| async move {
    ///         let rates = fetch_rates().await?;
    ///         gate.turn(|object, _| Ok::<_, durable_runtime::Error>(object.set(rates))).await
    ///     });
    /// }
    /// ```
    ///
    /// If it fails, panics or takes longer than 30 seconds (see [`Builder::gate_limit`](crate::Builder::gate_limit)),
    /// the object is reset, as with [`abort`](Context::abort): the instance is dropped, and whoever waits gets
    /// [`CallError::Reset`](crate::CallError::Reset). Several in one turn run one after the other; one that a
    /// turn of `gate` asks for runs inside the gate, before the next turn of `gate`.
    ///
    /// A call of the object from inside, past `gate`, would wait for itself and fails with
    /// [`CallError::Deadlock`](crate::CallError::Deadlock), also by way of other objects' handlers. In tasks that `code`
    /// spawns by itself that is not noticed, and the limit ends it.
    pub fn block_concurrency_while<E, F, Fut>(&self, code: F)
    where
        F: FnOnce(GateHandle<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let handle = self.handle();
        self.close_gate(None, move |id| async move {
            let failed =
                code(GateHandle::new(handle, id)).await.err().map(|error| error.to_string());
            GateEnd { failed, answer: Box::new(|| {}) }
        });
    }

    /// Starts something once the turn is committed; never, if the turn is rolled back.
    pub(crate) fn once_committed(&self, start: impl FnOnce(Arc<Session>) + Send + 'static) {
        self.parts.base.parts.starts.borrow_mut().push(Box::new(start));
    }

    /// Closes the gate at the end of this turn, on behalf of `parent`.
    pub(crate) fn close_gate<F, Fut>(&self, parent: Chain, start: F)
    where
        F: FnOnce(GateId) -> Fut + Send + 'static,
        Fut: Future<Output = GateEnd> + Send + 'static,
    {
        let start = Box::new(|id| -> BoxFuture<GateEnd> { Box::pin(start(id)) });
        self.parts.base.parts.gates.borrow_mut().push(PendingGate { start, parent });
    }

    pub(crate) fn object(&self) -> &Arc<Object<T>> {
        &self.parts.object
    }

    /// What the turn that has aborted wants the object restored to.
    pub(crate) fn take_wish(&self) -> Option<Wish> {
        self.parts.base.parts.wish.take()
    }

    /// Why the turn wants the object reset, if it does.
    pub(crate) fn take_abort(&mut self) -> Option<Arc<str>> {
        self.base_mut().abort.get_mut().take()
    }

    fn base_mut(&mut self) -> &mut Parts {
        &mut self.parts.base.parts
    }

    pub(crate) fn identity(&self) -> &Identity {
        self.parts.object.identity()
    }

    pub(crate) fn store_mut(&mut self) -> &mut Store {
        &mut self.base_mut().store
    }

    /// Closes the database; the next activation opens it anew.
    pub(crate) fn reset_store(&mut self) {
        self.base_mut().store.close();
    }

    /// Opens the database, and notes the migrations that have begun.
    pub(crate) fn activate_store(&mut self, runs: &mut Vec<MigrationRun>) -> Result<()> {
        let now = self.node().settings.time.now();
        self.base_mut().store.activate_noting(now, runs)
    }

    pub(crate) fn begin_turn(&self, access: Access) {
        self.parts.base.parts.now.set(None);
        self.parts.base.parts.unconfirmed.set(false);
        changes::begin();
        self.store().begin_turn(access);
    }

    /// What the reply of the turn that has ended must wait for.
    pub(crate) fn receipt(&self) -> Receipt {
        if self.parts.base.parts.unconfirmed.get() {
            return Receipt::durable();
        }
        self.store().receipt()
    }

    /// Commits what the turn wrote, closes the gate if the turn wants that, and lets its background futures go
    /// once that is durable.
    pub(crate) fn commit_turn(&mut self, session: &Arc<Session>) -> Result<()> {
        let Parts { store, node, now, .. } = self.base_mut();
        // The clock is asked only if the time is stored: most reads never look.
        store.commit_turn(|| now.get().unwrap_or_else(|| node.settings.time.now()))?;
        changes::commit(&self.object().sockets, || self.receipt());
        let gates = std::mem::take(self.base_mut().gates.get_mut());
        if !gates.is_empty() {
            gate::close(self.object(), session, self.store().receipt(), gates);
        }
        for start in std::mem::take(self.base_mut().starts.get_mut()) {
            start(session.clone());
        }
        let background = std::mem::take(self.base_mut().background.get_mut());
        if !background.is_empty() {
            let (object, receipt) = (self.object().clone(), self.store().receipt());
            // Pinned at once, so that the object is not evicted before they start.
            let session = session.clone();
            let pinned: Vec<_> = background
                .into_iter()
                .map(|future| {
                    let future = turns::background(object.identity(), future);
                    (session.pin(), future)
                })
                .collect();
            self.node().spawn(async move {
                if let Err(error) = receipt.wait().await {
                    event!(error, object.identity(), reason = %error, "a background future was dropped");
                    return dispose(pinned);
                }
                for (pin, future) in pinned {
                    object.spawn_background(session.clone(), pin, future);
                }
            });
        }
        Ok(())
    }

    /// Undoes what the turn wrote and drops its background futures and gates.
    pub(crate) fn roll_back_turn(&mut self) {
        let background = std::mem::take(self.base_mut().background.get_mut());
        let gates = std::mem::take(self.base_mut().gates.get_mut());
        let starts = std::mem::take(self.base_mut().starts.get_mut());
        dispose((background, gates, starts));
        changes::roll_back();
        self.base_mut().store.rollback_turn();
    }
}

impl<T: DurableObject> Deref for Context<T> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.parts.base
    }
}

impl<T: Scope> fmt::Debug for Context<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}
