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
use crate::node::Node;
use crate::rpc::Access;
use crate::storage::{AppliedMigration, Kv, Outcome, Sql, Store};
use crate::stub::RawStub;
use crate::{BoxFuture, DurableObject, Handle, LocationHint, Namespace, ObjectId, Result};

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
    /// The turn's time, once somebody has asked for it.
    now: Cell<Option<SystemTime>>,
    /// Whether the turn's reply need not wait until the turn is durable.
    unconfirmed: Cell<bool>,
    /// Futures that start when the turn is durable.
    background: RefCell<Vec<BoxFuture<()>>>,
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "private in all but visibility")]
pub struct TypedParts<T: DurableObject> {
    base: Context,
    /// An object with an instance stays known: the instance holds it.
    object: Arc<Object<T>>,
}

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

    /// The time, from the runtime's clock; the same for the whole turn.
    pub fn now(&self) -> SystemTime {
        let now = self.parts.now.get().unwrap_or_else(|| self.parts.node.settings.time.now());
        self.parts.now.set(Some(now));
        now
    }

    /// Runs a future in the background once the turn is durable; never, if the turn is rolled back.
    ///
    /// [`Runtime::shutdown`](crate::Runtime::shutdown) waits for it. It is lost when the process
    /// ends before it is done.
    pub fn wait_until(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.parts.background.borrow_mut().push(Box::pin(future));
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
        let store = Store::limited(engine, identity.clone(), T::MIGRATIONS, limits);
        let parts = Parts {
            store,
            identity,
            class: T::CLASS,
            node,
            now: Cell::new(None),
            unconfirmed: Cell::new(false),
            background: RefCell::default(),
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

    fn base_mut(&mut self) -> &mut Parts {
        &mut self.parts.base.parts
    }

    pub(crate) fn identity(&self) -> &Identity {
        self.parts.object.identity()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        self.parts.object.node()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.base.parts.store
    }

    /// Closes the database; the next activation opens it anew.
    pub(crate) fn reset_store(&mut self) {
        self.base_mut().store.close();
    }

    pub(crate) fn activate_store(&mut self) -> Result<Vec<AppliedMigration>> {
        let now = self.node().settings.time.now();
        self.base_mut().store.activate(now)
    }

    pub(crate) fn begin_turn(&self, access: Access) {
        self.parts.base.parts.now.set(None);
        self.parts.base.parts.unconfirmed.set(false);
        self.store().begin_turn(access);
    }

    /// What the reply of the turn that has ended must wait for.
    pub(crate) fn receipt(&self) -> Receipt {
        if self.parts.base.parts.unconfirmed.get() {
            return Receipt::durable();
        }
        self.store().receipt()
    }

    /// Commits what the turn wrote and lets its background futures go once that is durable.
    pub(crate) fn commit_turn(&mut self) -> Result<()> {
        let Parts { store, node, now, .. } = self.base_mut();
        // The clock is asked only if the time is stored: most reads never look.
        store.commit_turn(|| now.get().unwrap_or_else(|| node.settings.time.now()))?;
        let background = std::mem::take(self.base_mut().background.get_mut());
        if !background.is_empty() {
            let (node, receipt) = (self.node().clone(), self.store().receipt());
            self.node().spawn(async move {
                if receipt.wait().await.is_ok() {
                    for future in background {
                        node.spawn_background(future);
                    }
                }
            });
        }
        Ok(())
    }

    /// Undoes what the turn wrote and drops its background futures.
    pub(crate) fn roll_back_turn(&mut self) {
        let background = std::mem::take(self.base_mut().background.get_mut());
        crate::instance::turn::dispose(background);
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
