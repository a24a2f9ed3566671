//! Which objects are known, and which of them stay in memory.
//!
//! A [`Class`] finds the one [`Object`] of an id; it holds it weakly, so that objects that nobody
//! uses cost nothing. [`Residents`] bounds how many have an instance, and
//! how much memory their databases take.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::DurableObject;
use crate::id::{Identity, RawId};
use crate::instance::Object;
use crate::node::Node;

const SHARDS: usize = 16;

type Shard<T> = Mutex<HashMap<RawId, Weak<Object<T>>>>;

/// A registered class and its objects.
pub(crate) struct Class<T: DurableObject> {
    /// The first name that the class was ever registered under: what ids and files derive from.
    pub(crate) key: Arc<str>,
    shards: [Shard<T>; SHARDS],
}

impl<T: DurableObject> Class<T> {
    pub(crate) fn new(key: Arc<str>) -> Self {
        Class { key, shards: std::array::from_fn(|_| Mutex::default()) }
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
    /// Whether somebody runs in any object.
    fn is_busy(&self) -> bool;
    /// Ends all objects in which nobody runs; `false` if somebody does.
    fn close_all(&self) -> bool;
}

impl<T: DurableObject> AnyClass for Class<T> {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_busy(&self) -> bool {
        self.objects().iter().any(|object| object.is_busy())
    }

    fn close_all(&self) -> bool {
        // Not `all`, which would stop at the first busy one.
        self.objects().iter().filter(|object| !object.close()).count() == 0
    }
}

/// An object whose type is not known, as far as eviction needs it.
trait Resident: Send + Sync {
    /// Whether it was used since the last time somebody asked.
    fn was_used(&self) -> bool;
    /// Evicts it. `false` if somebody runs in it.
    fn evict(self: Arc<Self>) -> bool;
    /// Marks it as being in the ring, or not; gives what it was.
    fn set_listed(&self, listed: bool) -> bool;
}

impl<T: DurableObject> Resident for Object<T> {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
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
    ring: Mutex<VecDeque<Weak<dyn Resident>>>,
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
    pub(crate) fn admit<T: DurableObject>(&self, object: Arc<Object<T>>) {
        let object: Arc<dyn Resident> = object;
        if object.set_listed(true) {
            return;
        }
        self.ring.lock().push_back(Arc::downgrade(&object));
        while self.is_too_full() && self.evict_one() {}
    }

    fn is_too_full(&self) -> bool {
        let count = self.ring.lock().len();
        // The one that has just come is not sent away for its size.
        count > self.max || (count > 1 && self.bytes.load(Ordering::Relaxed) > self.bytes_max)
    }

    /// Two rounds: after the first, everybody who does not run right now is a candidate. `false` if
    /// everybody runs.
    fn evict_one(&self) -> bool {
        let rounds = 2 * self.ring.lock().len();
        for _ in 0..rounds {
            let Some(candidate) = self.ring.lock().pop_front() else { return false };
            let Some(object) = candidate.upgrade() else { return true };
            object.set_listed(false);
            if !object.was_used() && object.clone().evict() {
                return true;
            }
            object.set_listed(true);
            self.ring.lock().push_back(candidate);
        }
        false
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
