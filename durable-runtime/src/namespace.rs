//! All objects of one class.

mod copy;
mod delete;
mod history;
mod list;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::{Engine, ObjectKey};
use crate::id::{RawId, check_name};
use crate::instance::registry::Class;
use crate::node::Node;
use crate::storage::{FailedAlarm, millis};
use crate::stub::RawStub;
use crate::{
    Context, DurableObject, Error, ErrorKind, Jurisdiction, LocationHint, ObjectId, Result,
};

pub use copy::{Export, Exported, Fork, Snapshot, TakeSnapshot};
pub use list::{LIST_LIMIT, List, ObjectInfo, Page};

/// The objects of class `T`: makes ids and stubs. Nothing is opened or created before a call.
pub struct Namespace<T: DurableObject> {
    node: Arc<Node>,
    class: std::result::Result<Arc<Class<T>>, Arc<Error>>,
    jurisdiction: Option<Jurisdiction>,
    location_hint: Option<LocationHint>,
    marker: PhantomData<fn() -> T>,
}

impl<T: DurableObject> Namespace<T> {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let class = node.class().map_err(Arc::new);
        Namespace { node, class, jurisdiction: None, location_hint: None, marker: PhantomData }
    }

    /// The same objects under a jurisdiction: ids made from it carry it, so the same name gives
    /// another object there.
    #[must_use]
    pub fn jurisdiction(&self, jurisdiction: Jurisdiction) -> Self {
        Namespace { jurisdiction: Some(jurisdiction), ..self.clone() }
    }

    /// Objects first reached through this namespace remember where they should live.
    #[must_use]
    pub fn with_location_hint(&self, hint: LocationHint) -> Self {
        Namespace { location_hint: Some(hint), ..self.clone() }
    }

    /// The class key, or the class name of a class that is not registered, whose ids lead nowhere.
    fn key(&self) -> &str {
        self.class.as_ref().map_or(T::CLASS, |class| &class.key)
    }

    /// The id that belongs to `name`: always the same.
    ///
    /// # Errors
    /// When the name is empty or has more than 1,024 bytes.
    pub fn id_from_name(&self, name: &str) -> Result<ObjectId<T>> {
        check_name(name)?;
        let raw = RawId::from_name(self.key(), self.jurisdiction, name);
        Ok(ObjectId::new(raw, Some(name.into())))
    }

    /// An id that nobody had before and nobody can guess.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn unique_id(&self) -> Result<ObjectId<T>> {
        let randomness = &self.node.settings.harness.randomness;
        Ok(ObjectId::new(RawId::unique(self.key(), self.jurisdiction, randomness)?, None))
    }

    /// Reads an id from its 64 hex digits.
    ///
    /// # Errors
    /// When it is not 64 hex digits, is the id of another class, is mistyped, or belongs to
    /// another jurisdiction than this namespace.
    pub fn id_from_string(&self, text: &str) -> Result<ObjectId<T>> {
        self.checked(text.parse()?)
    }

    /// An id that came from outside.
    pub(crate) fn checked(&self, raw: RawId) -> Result<ObjectId<T>> {
        let id = ObjectId::new(raw, None);
        self.check(&id)?;
        Ok(id)
    }

    /// Whether the class is registered, and if not, how to do that.
    #[doc(hidden)]
    pub fn check_registered(&self) -> Result<()> {
        self.class.as_ref().map(|_| ()).map_err(|error| Error::clone(error))
    }

    fn class(&self) -> Result<&Arc<Class<T>>> {
        self.class.as_ref().map_err(|error| Error::clone(error))
    }

    fn check(&self, id: &ObjectId<T>) -> Result<()> {
        if !id.raw().belongs_to(self.key()) {
            let message = format!("{id} is not an id of class `{}`", T::CLASS);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        match self.jurisdiction {
            Some(wanted) if id.jurisdiction() != Some(wanted) => {
                let message = format!("{id} is not an id of jurisdiction `{wanted}`");
                Err(Error::new(ErrorKind::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// A stub of the object with this id.
    ///
    /// An id of another class gives a stub whose calls fail with
    /// [`CallError::NotFound`](crate::CallError::NotFound).
    pub fn get(&self, id: &ObjectId<T>) -> T::Stub {
        T::stub(self.raw_stub(id))
    }

    /// The stub inside the typed one, for gateways that know names and no types.
    #[doc(hidden)]
    pub fn raw_stub(&self, id: &ObjectId<T>) -> RawStub<T> {
        let object = match (&self.class, self.check(id)) {
            (Err(unregistered), _) => Err(Error::clone(unregistered)),
            (_, Err(foreign)) => Err(foreign),
            (Ok(class), Ok(())) => Ok(class.object(&self.node, id.raw(), id.shared_name())),
        };
        if let (Ok(object), Some(hint)) = (&object, self.location_hint) {
            // The first hint stays, as on Cloudflare.
            let _ = object.identity().requested_hint.set(hint);
        }
        RawStub::new(id.clone(), object)
    }

    /// A stub of the object with this name.
    ///
    /// A name that is empty or has more than 1,024 bytes gives a stub whose calls fail with
    /// [`CallError::NotFound`](crate::CallError::NotFound).
    pub fn get_by_name(&self, name: &str) -> T::Stub {
        match self.id_from_name(name) {
            Ok(id) => self.get(&id),
            Err(error) => {
                let raw = RawId::from_name(self.key(), self.jurisdiction, name);
                T::stub(RawStub::new(ObjectId::new(raw, None), Err(error)))
            }
        }
    }

    /// Whether the object has ever written something.
    ///
    /// # Errors
    /// When the class is not registered, the id belongs to another class, or the disk fails.
    pub fn exists(&self, id: &ObjectId<T>) -> Result<bool> {
        let class = self.class()?;
        self.check(id)?;
        self.engine()?.exists(&ObjectKey { class: class.key.clone(), id: id.raw() })
    }

    /// The objects in which work was given up: an alarm or a timer whose runs all failed, or a message that nobody took. In the order
    /// of their ids. This wakes nobody: it reads a list that the runtime keeps.
    ///
    /// What it is, the object itself says: [`failed_alarm`](crate::Context::failed_alarm), [`schedules`](crate::Context::schedules), [`dead_letters`](crate::Context::dead_letters).
    /// [`retry`](Self::retry) tries it again.
    ///
    /// # Errors
    /// When the class is not registered, the runtime is shut down, or the disk fails.
    pub fn given_up(&self) -> Result<Vec<ObjectId<T>>> {
        let class = self.class()?;
        let objects = self.engine()?.given_up(&class.key)?;
        Ok(objects.into_iter().map(|object| ObjectId::new(object.id, None)).collect())
    }

    /// The alarms that were given up, in the order of their objects' ids. Each of those objects is activated.
    ///
    /// # Errors
    /// As [`given_up`](Self::given_up), and when an object cannot be activated.
    pub async fn failed_alarms(&self) -> Result<Vec<(ObjectId<T>, FailedAlarm)>> {
        let mut alarms = Vec::new();
        for id in self.given_up()? {
            let failed = self.turn(&id, "failed_alarms", |_, ctx| ctx.failed_alarm()).await;
            let failed = failed.map_err(|error| error.context(&id))?;
            alarms.extend(failed.map(|alarm| (id, alarm)));
        }
        Ok(alarms)
    }

    /// Tries again all that an object has given up: its alarm, unless another one is set meanwhile, its timers, and its messages. Gives how many
    /// things those are.
    ///
    /// # Errors
    /// When the class is not registered, the id belongs to another class, or the object cannot be activated.
    pub async fn retry(&self, id: &ObjectId<T>) -> Result<usize> {
        let begin = self.turn(id, "retry", |_, ctx| {
            let (store, now) = (ctx.store(), millis(ctx.now()));
            let alarms = usize::from(store.retry_failed_alarm(now)?);
            let timers = store.retry_given_up_timers(now)?;
            Ok((alarms + timers, store.last_dead_letter()?))
        });
        let (mut count, last) = begin.await?;
        let Some(last) = last else { return Ok(count) };
        // Turn by turn, since they may be more than one turn can change; not those that are refused meanwhile.
        loop {
            let resend = move |_: &mut T, ctx: &Context<T>| {
                ctx.store().resend_dead_letters(last, millis(ctx.now()))
            };
            match self.turn(id, "retry", resend).await? {
                0 => return Ok(count),
                letters => count += letters,
            }
        }
    }

    async fn turn<R: Send + 'static>(
        &self,
        id: &ObjectId<T>,
        name: &'static str,
        code: impl FnOnce(&mut T, &Context<T>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let class = self.class()?;
        self.check(id)?;
        let object = class.object(&self.node, id.raw(), id.shared_name());
        RawStub::new(id.clone(), Ok(object)).turn(name, code).await.map_err(Error::from)
    }

    fn engine(&self) -> Result<Arc<dyn Engine>> {
        let engine = self.node.engine();
        engine.ok_or_else(|| Error::new(ErrorKind::ShutDown, "the runtime is shut down"))
    }

    /// Drops the object's instance from memory, unless it is at work: a turn, an async handler, a background
    /// future or a closed gate. The next call makes a new one. Gives whether the object has no instance now.
    ///
    /// # Errors
    /// When the class is not registered or the id belongs to another class.
    pub fn evict(&self, id: &ObjectId<T>) -> Result<bool> {
        let class = self.class()?;
        self.check(id)?;
        Ok(class.object(&self.node, id.raw(), None).evict())
    }
}

impl<T: DurableObject> Clone for Namespace<T> {
    fn clone(&self) -> Self {
        Namespace { node: self.node.clone(), class: self.class.clone(), ..*self }
    }
}

impl<T: DurableObject> fmt::Debug for Namespace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", T::CLASS)
    }
}
