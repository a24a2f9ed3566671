//! Which objects are known, and which of them stay in memory.
//!
//! A [`Class`] finds the one [`Object`] of an id; it holds it weakly, so that objects that nobody
//! uses cost nothing. [`Residents`] bounds how many have an instance, and
//! how much memory their databases take.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

#[cfg(feature = "admin")]
use crate::call::Failure;
use crate::id::{Identity, RawId};
use crate::instance::Object;
use crate::instance::adopt::{self, Adoption};
#[cfg(feature = "admin")]
use crate::instance::delete;
use crate::instance::idle::{self, Verdict};
#[cfg(feature = "admin")]
use crate::instance::operate::{self, Present, Visit};
use crate::instance::outbox::{self, Delivered, Delivery};
use crate::instance::work::{self, Woken};
use crate::node::Node;
use crate::object::MigrationInfo;
use crate::observe::meters::ClassMeters;
use crate::{BoxFuture, DurableObject, Result};

const SHARDS: usize = 16;

type Shard<T> = Mutex<HashMap<RawId, Weak<Object<T>>>>;

/// A registered class and its objects.
pub(crate) struct Class<T: DurableObject> {
    /// The first name that the class was ever registered under: what ids and files derive from.
    pub(crate) key: Arc<str>,
    pub(super) meters: ClassMeters,
    shards: [Shard<T>; SHARDS],
}

impl<T: DurableObject> Class<T> {
    pub(crate) fn new(key: Arc<str>) -> Self {
        let meters = ClassMeters::new(&key);
        Class { key, meters, shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn shard(&self, id: RawId) -> &Shard<T> {
        // Not the first byte: that is the jurisdiction.
        &self.shards[usize::from(id.as_bytes()[1]) % SHARDS]
    }

    /// The object with this id. Nothing is opened.
    pub(crate) fn object(
        self: &Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        name: Option<&Arc<str>>,
    ) -> Arc<Object<T>> {
        let mut objects = self.shard(id).lock();
        let known = objects.get(&id).and_then(Weak::upgrade);
        let object = known.unwrap_or_else(|| {
            let identity = Identity::new(self.key.clone(), id);
            let object = Arc::new(Object::new(Arc::new(identity), self.clone(), node.clone()));
            objects.insert(id, Arc::downgrade(&object));
            object
        });
        drop(objects);
        if let Some(name) = name {
            // The name makes the id, so a second one cannot differ.
            let _ = object.identity.name.set(name.clone());
        }
        object
    }

    /// Called when the last reference to an object goes. Its id may be in use anew by then.
    pub(super) fn forget(&self, id: RawId) {
        let mut objects = self.shard(id).lock();
        if objects.get(&id).is_some_and(|object| object.strong_count() == 0) {
            objects.remove(&id);
        }
    }

    /// When an object was last in use, if it is in memory or was lately.
    pub(crate) fn last_use(&self, id: RawId, now: SystemTime) -> Option<SystemTime> {
        let object = self.shard(id).lock().get(&id).and_then(Weak::upgrade)?;
        object.last_use(now)
    }

    fn objects(&self) -> Vec<Arc<Object<T>>> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| shard.lock().values().filter_map(Weak::upgrade).collect::<Vec<_>>())
            .collect()
    }
}

/// A class whose type is not known.
pub(crate) trait AnyClass: Any + Send + Sync {
    /// The class itself, to be cast back to its type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The class key.
    fn key(&self) -> &str;
    /// Makes one step of what an object has to do by itself.
    fn wake(self: Arc<Self>, node: &Arc<Node>, id: RawId) -> BoxFuture<Woken>;
    /// Gives messages to an object.
    fn deliver(self: Arc<Self>, node: &Arc<Node>, delivery: Delivery) -> BoxFuture<Delivered>;
    /// The history of its schema.
    fn migrations(&self) -> &'static [MigrationInfo];
    /// How long its objects are kept that nobody uses.
    fn expires_after(&self) -> Option<Duration>;
    /// Who the object with this id is.
    fn identity(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        name: Option<&Arc<str>>,
    ) -> Arc<Identity>;
    /// Makes a copy the first commit of an object, durably.
    fn adopt(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        adoption: Adoption,
    ) -> BoxFuture<Result<()>>;
    /// Who the object at this address is.
    fn identity_at(&self, address: usize) -> Option<Arc<Identity>>;
    /// Whether somebody runs in any object.
    fn is_busy(&self) -> bool;
    /// Ends all objects in which nobody runs; `false` if somebody does.
    fn close_all(&self) -> bool;
    /// Closes all WebSockets of all objects: clients are told to come back.
    fn close_sockets(&self);
    /// Drops all connections of all objects, without a word.
    fn drop_sockets(&self);
    /// Evicts all objects that nothing needs; `false` if there are others.
    #[cfg(feature = "testing")]
    fn evict_all(&self) -> bool;
    /// Lets an operator do something with the storage of an object.
    #[cfg(feature = "admin")]
    fn visit(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        visit: Visit,
    ) -> BoxFuture<Result<(), Failure>>;
    /// Deletes what an object has stored; gives whether there was anything.
    #[cfg(feature = "admin")]
    fn delete(self: Arc<Self>, node: &Arc<Node>, id: RawId) -> BoxFuture<Result<bool, Failure>>;
    /// Drops an object's instance, unless it is at work; whether it has none now.
    #[cfg(feature = "admin")]
    fn evict(&self, id: RawId) -> bool;
    /// The objects that are in memory, or were lately.
    #[cfg(feature = "admin")]
    fn present(&self) -> Vec<Present>;
    /// The same of one object.
    #[cfg(feature = "admin")]
    fn present_one(&self, id: RawId) -> Option<Present>;
    /// When an object was last in use, if it is in memory or was lately.
    #[cfg(feature = "admin")]
    fn last_use_of(&self, id: RawId, now: SystemTime) -> Option<SystemTime>;
}

impl<T: DurableObject> AnyClass for Class<T> {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn wake(self: Arc<Self>, node: &Arc<Node>, id: RawId) -> BoxFuture<Woken> {
        Box::pin(work::wake(self.object(node, id, None)))
    }

    fn deliver(self: Arc<Self>, node: &Arc<Node>, delivery: Delivery) -> BoxFuture<Delivered> {
        let object = self.object(node, delivery.receiver.id, delivery.name.as_ref());
        Box::pin(outbox::deliver(object, delivery))
    }

    fn migrations(&self) -> &'static [MigrationInfo] {
        T::MIGRATIONS
    }

    fn expires_after(&self) -> Option<Duration> {
        T::EXPIRES_AFTER
    }

    fn identity(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        name: Option<&Arc<str>>,
    ) -> Arc<Identity> {
        Arc::clone(self.object(node, id, name).identity())
    }

    fn adopt(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        adoption: Adoption,
    ) -> BoxFuture<Result<()>> {
        Box::pin(adopt::adopt(self.object(node, id, None), adoption))
    }

    fn identity_at(&self, address: usize) -> Option<Arc<Identity>> {
        let is_there = |object: &&Weak<Object<T>>| object.as_ptr().addr() == address;
        self.shards.iter().find_map(|shard| {
            let object = shard.lock().values().find(is_there).and_then(Weak::upgrade)?;
            Some(Arc::clone(&object.identity))
        })
    }

    fn is_busy(&self) -> bool {
        self.objects().iter().any(|object| object.is_busy())
    }

    fn close_all(&self) -> bool {
        // Not `all`, which would stop at the first busy one.
        self.objects().iter().filter(|object| !object.close()).count() == 0
    }

    fn close_sockets(&self) {
        self.objects().iter().for_each(|object| object.sockets.close_all());
    }

    fn drop_sockets(&self) {
        self.objects().iter().for_each(|object| drop(object.sockets.take_all()));
    }

    #[cfg(feature = "testing")]
    fn evict_all(&self) -> bool {
        self.objects().iter().filter(|object| !object.evict()).count() == 0
    }

    #[cfg(feature = "admin")]
    fn visit(
        self: Arc<Self>,
        node: &Arc<Node>,
        id: RawId,
        visit: Visit,
    ) -> BoxFuture<Result<(), Failure>> {
        Box::pin(operate::operate(self.object(node, id, None), visit))
    }

    #[cfg(feature = "admin")]
    fn delete(self: Arc<Self>, node: &Arc<Node>, id: RawId) -> BoxFuture<Result<bool, Failure>> {
        Box::pin(delete::delete(self.object(node, id, None)))
    }

    #[cfg(feature = "admin")]
    fn evict(&self, id: RawId) -> bool {
        let object = self.shard(id).lock().get(&id).and_then(Weak::upgrade);
        object.is_none_or(Resident::evict)
    }

    #[cfg(feature = "admin")]
    fn present(&self) -> Vec<Present> {
        self.objects().iter().map(|object| object.present()).collect()
    }

    #[cfg(feature = "admin")]
    fn present_one(&self, id: RawId) -> Option<Present> {
        let object = self.shard(id).lock().get(&id).and_then(Weak::upgrade);
        object.map(|object| object.present())
    }

    #[cfg(feature = "admin")]
    fn last_use_of(&self, id: RawId, now: SystemTime) -> Option<SystemTime> {
        self.last_use(id, now)
    }
}

/// An object whose type is not known, as far as eviction needs it.
trait Resident: Send + Sync {
    /// Whether it was used since the last time somebody asked, which is `now`.
    fn was_used(&self, now: SystemTime) -> bool;
    /// Whether something is pending that needs it.
    fn is_at_work(&self) -> bool;
    /// Evicts it. `false` if somebody runs in it or something is pending.
    fn evict(self: Arc<Self>) -> bool;
    /// Marks it as being in the ring, or not; gives what it was.
    fn set_listed(&self, listed: bool) -> bool;
}

impl<T: DurableObject> Resident for Object<T> {
    fn was_used(&self, now: SystemTime) -> bool {
        let was_used = self.used.swap(false, Ordering::Relaxed);
        if was_used {
            self.note_use(now);
        }
        was_used
    }

    fn is_at_work(&self) -> bool {
        self.is_pinned() || self.is_busy()
    }

    fn evict(self: Arc<Self>) -> bool {
        Object::evict(&self)
    }

    fn set_listed(&self, listed: bool) -> bool {
        self.listed.swap(listed, Ordering::Relaxed)
    }
}

/// The objects that have an instance, in a ring: the hand of a clock goes round, and whoever was
/// not used since it last came by is evicted. That approximates least recently used without
/// anything shared that every call would have to touch.
pub(crate) struct Residents {
    max: usize,
    bytes_max: usize,
    /// The memory of their databases.
    bytes: Arc<AtomicUsize>,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    seats: VecDeque<Seat>,
    /// Looks for objects that nobody uses.
    sweeper: Option<AbortHandle>,
}

struct Seat {
    object: Weak<dyn Resident>,
    /// When a sweep first found it unused, if nobody has used it since.
    unused_since: Option<SystemTime>,
}

impl Residents {
    pub(crate) fn new(max: usize, bytes_max: usize) -> Self {
        Residents { max: max.max(1), bytes_max, bytes: Arc::default(), ring: Mutex::default() }
    }

    /// For a new instance, which weighs nothing yet.
    pub(crate) fn weight(&self) -> Weight {
        Weight { all: Arc::clone(&self.bytes), bytes: 0 }
    }

    /// Takes note of a new instance, and evicts others while they are too many or take too much memory.
    /// `start_sweeper` is called if nobody sweeps.
    pub(crate) fn admit<T: DurableObject>(
        &self,
        object: Arc<Object<T>>,
        now: SystemTime,
        start_sweeper: impl FnOnce() -> Option<AbortHandle>,
    ) {
        object.note_use(now);
        let object: Arc<dyn Resident> = object;
        if object.set_listed(true) {
            return;
        }
        {
            let mut ring = self.ring.lock();
            ring.seats.push_back(Seat { object: Arc::downgrade(&object), unused_since: None });
            if ring.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
                ring.sweeper = start_sweeper();
            }
        }
        while self.is_too_full() && self.evict_one(now) {}
    }

    fn is_too_full(&self) -> bool {
        let count = self.count();
        // The one that has just come is not sent away for its size.
        count > self.max || (count > 1 && self.bytes.load(Ordering::Relaxed) > self.bytes_max)
    }

    /// How many have an instance, or had one since the last sweep.
    pub(super) fn count(&self) -> usize {
        self.ring.lock().seats.len()
    }

    /// Two rounds: after the first, everybody who is not at work right now is a candidate. `false` if
    /// everybody is.
    fn evict_one(&self, now: SystemTime) -> bool {
        let rounds = 2 * self.count();
        for _ in 0..rounds {
            let Some(seat) = self.ring.lock().seats.pop_front() else { return false };
            let Some(object) = seat.object.upgrade() else { return true };
            if object.was_used(now) {
                self.put_back(&object, None);
            } else if self.try_evict(&object, seat.unused_since) {
                return true;
            }
        }
        false
    }

    /// Looks at the next one of the ring, and evicts it if nobody has used it for as long as the limit.
    pub(super) fn sweep_next(&self, now: SystemTime, limit: Duration) -> bool {
        let Some(seat) = self.ring.lock().seats.pop_front() else { return false };
        let Some(object) = seat.object.upgrade() else { return false };
        let was_used = object.was_used(now) || object.is_at_work();
        match idle::judge(was_used, seat.unused_since, now, limit) {
            Verdict::Stays(since) => {
                self.put_back(&object, Some(since));
                false
            }
            Verdict::Goes => self.try_evict(&object, Some(now)),
        }
    }

    fn try_evict(&self, object: &Arc<dyn Resident>, unused_since: Option<SystemTime>) -> bool {
        // Before the attempt: whoever activates it right afterwards lists it anew.
        object.set_listed(false);
        let evicted = object.clone().evict();
        if !evicted && !object.set_listed(true) {
            self.put_back(object, unused_since);
        }
        evicted
    }

    fn put_back(&self, object: &Arc<dyn Resident>, unused_since: Option<SystemTime>) {
        let seat = Seat { object: Arc::downgrade(object), unused_since };
        self.ring.lock().seats.push_back(seat);
    }

    /// Whether the sweeper goes on. If not, the next instance starts another one.
    pub(super) fn goes_on_sweeping(&self) -> bool {
        let mut ring = self.ring.lock();
        if ring.seats.is_empty() {
            ring.sweeper = None;
        }
        !ring.seats.is_empty()
    }

    /// Ends the sweeper, with the runtime.
    pub(crate) fn stop_sweeping(&self) {
        if let Some(sweeper) = self.ring.lock().sweeper.take() {
            sweeper.abort();
        }
    }
}

/// What one instance adds to the memory of all; nothing any more once it is dropped.
#[derive(Debug)]
pub(crate) struct Weight {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            // The difference may be negative, and wrapping around is then the same as subtracting.
            self.all.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}
