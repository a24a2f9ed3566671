//! Finding objects: which there are, and what is known of each, without waking any.
//!
//! The guarantee: paging gives every object that exists throughout exactly once, whatever is created and deleted meanwhile, and what
//! a page says of an object survives a crash.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::Namespace;
use crate::engine::sqlite::PAGE_BYTES;
use crate::engine::{Known, Listed, ObjectKey, Order};
use crate::id::RawId;
use crate::storage::alarm::time_of;
use crate::{DurableObject, Error, ErrorKind, LocationHint, ObjectId, Result};

/// Objects on a page, unless [`List::limit`] says otherwise.
pub const LIST_LIMIT: usize = 1_000;

impl<T: DurableObject> Namespace<T> {
    /// The objects that exist, a page at a time, in the order of their ids, or with
    /// [`prefix`](List::prefix) in the order of their names.
    ///
    /// This wakes nobody: it reads a list that the runtime keeps. A namespace of a jurisdiction lists
    /// the objects of that jurisdiction, any other one all of them.
    ///
    /// ```
    /// use durable_runtime::{DurableObject, Namespace, Result};
    ///
    /// async fn largest<T: DurableObject>(rooms: &Namespace<T>) -> Result<u64> {
    ///     let (mut largest, mut after) = (0, None);
    ///     loop {
    ///         let page = rooms.list().prefix("team/").after(after).page().await?;
    ///         largest = page.objects.iter().map(|object| object.size).max().unwrap_or(0).max(largest);
    ///         after = page.next;
    ///         if after.is_none() {
    ///             return Ok(largest);
    ///         }
    ///     }
    /// }
    /// ```
    pub fn list(&self) -> List<T> {
        List { namespace: self.clone(), prefix: None, after: None, limit: LIST_LIMIT }
    }

    /// What is known of an object, if it exists. This wakes nobody.
    ///
    /// # Errors
    /// When the class is not registered, the id belongs to another class, the runtime is shut down, or the disk fails.
    pub async fn info(&self, id: &ObjectId<T>) -> Result<Option<ObjectInfo<T>>> {
        self.check(id)?;
        let object = ObjectKey { class: self.class()?.key.clone(), id: id.raw() };
        let found = self.node.read(move |engine| engine.find(&object)).await?;
        found.map(|known| self.describe((id.raw(), known))).transpose()
    }

    /// The objects that exist, in the order of their ids.
    #[cfg(feature = "testing")]
    pub(crate) fn stored(&self) -> Result<Vec<ObjectId<T>>> {
        let all = Order::Ids { after: None };
        let objects = self.engine()?.list(&self.class()?.key, &all, usize::MAX)?;
        Ok(objects.into_iter().map(|(id, _)| ObjectId::new(id, None)).collect())
    }

    fn describe(&self, (id, known): Listed) -> Result<ObjectInfo<T>> {
        let Known { row, active_ms, wake_ms } = known;
        let used = self.class()?.last_use(id, self.node.settings.time.now_or_system());
        let header = row.header.unwrap_or_default();
        let written = (row.stamp.time_ms != 0).then(|| time_of(row.stamp.time_ms));
        Ok(ObjectInfo {
            id: ObjectId::new(id, row.about.name),
            created: row.created_ms.map(time_of),
            last_written: written,
            last_active: [active_ms.map(time_of), written, used].into_iter().flatten().max(),
            next_wake: wake_ms.map(time_of),
            size: u64::from(header.pages) * PAGE_BYTES,
            schema_version: header.schema_version,
            location_hint: row.about.location_hint.and_then(|hint| hint.parse().ok()),
        })
    }
}

/// What is known of an object without waking it. See [`Namespace::list`].
#[non_exhaustive]
pub struct ObjectInfo<T> {
    /// The object's id, with its name if it has one and it is known.
    pub id: ObjectId<T>,
    /// When its first commit was, if that is known.
    pub created: Option<SystemTime>,
    /// When its last commit was. Nothing for an object that an earlier version has written, until it is written again.
    pub last_written: Option<SystemTime>,
    /// When it was last used, reads included, to within the [`idle_limit`](crate::Builder::idle_limit). Of an object that is not
    /// in memory it is noted when it leaves memory, and kept from the next checkpoint on: after a crash it may be as old as
    /// the last write.
    pub last_active: Option<SystemTime>,
    /// When it wakes by itself, for its alarm, a timer, a message that is to be sent, or to see whether it has
    /// [expired](DurableObject::EXPIRES_AFTER).
    pub next_wake: Option<SystemTime>,
    /// The size of its database, in bytes; 0 if its file cannot be read.
    pub size: u64,
    /// The number of the last migration that it has had; 0 if the class had none. It gets those that are missing when it is next in use.
    pub schema_version: u32,
    /// Where it was asked to be created.
    pub location_hint: Option<LocationHint>,
}

/// Objects on one page of a list. See [`Namespace::list`].
#[non_exhaustive]
pub struct Page<T> {
    /// The objects, in the order of the list.
    pub objects: Vec<ObjectInfo<T>>,
    /// Where the next page begins, for [`List::after`]; `None` if there is none. Plain text that can be stored and
    /// stays good, also across restarts and when the object that it names is deleted.
    pub next: Option<String>,
}

/// A list of objects that is to be read. See [`Namespace::list`].
#[must_use = "nothing is read before `page`"]
pub struct List<T: DurableObject> {
    namespace: Namespace<T>,
    prefix: Option<Arc<str>>,
    after: Option<String>,
    limit: usize,
}

impl<T: DurableObject> List<T> {
    /// Only objects whose names begin like this, in the order of their names by UTF-8 bytes. With `""` those are all
    /// that have a name.
    ///
    /// An object has a name here once it has written something after it was called by that name.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// How many objects there are on a page, at most. Default: [`LIST_LIMIT`], 1,000; at least 1.
    pub fn limit(mut self, objects: usize) -> Self {
        self.limit = objects.max(1);
        self
    }

    /// Goes on where a page has ended: takes its [`next`](Page::next).
    pub fn after(mut self, page: impl Into<Option<String>>) -> Self {
        self.after = page.into();
        self
    }

    /// Reads a page. The objects on it are as they were at some time during the call.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when `after` is not where a page of such a list has ended; and when the class is not registered,
    /// the runtime is shut down, or the disk fails.
    pub async fn page(self) -> Result<Page<T>> {
        let class = self.namespace.class()?.key.clone();
        let begin = self.order()?;
        let mut order = begin.clone();
        let (mut listed, limit) = (Vec::new(), self.limit);
        let jurisdiction = self.namespace.jurisdiction;
        let is_here =
            move |id: &RawId| jurisdiction.is_none_or(|here| id.jurisdiction() == Some(here));
        let (listed, next) = self
            .namespace
            .node
            .read(move |engine| {
                loop {
                    // One more, to see whether there is a next page.
                    let found = engine.list(&class, &order, limit.saturating_add(1))?;
                    let is_last = found.len() <= limit;
                    let last = found.last().and_then(|last| place(&order, last));
                    listed.extend(found.into_iter().filter(|(id, _)| is_here(id)));
                    if listed.len() > limit {
                        listed.truncate(limit);
                        let next = listed.last().and_then(|last| place(&begin, last));
                        return Ok((listed, next));
                    }
                    match last.filter(|_| !is_last) {
                        None => return Ok((listed, None)),
                        Some(last) => order = order.after(last),
                    }
                }
            })
            .await?;
        let objects = listed.into_iter().map(|listed| self.namespace.describe(listed));
        let next = next.map(|(name, id)| match name {
            None => id.to_string(),
            Some(name) => format!("{id}{NAME_FOLLOWS}{name}"),
        });
        Ok(Page { objects: objects.collect::<Result<_>>()?, next })
    }

    fn order(&self) -> Result<Order> {
        let foreign = || {
            let text = "`after` is not where a page of this list has ended: take the `next` of such a page";
            Error::new(ErrorKind::Invalid, text)
        };
        let Some(prefix) = self.prefix.clone() else {
            let after = self.after.as_deref().map(str::parse).transpose();
            return Ok(Order::Ids { after: after.map_err(|_| foreign())? });
        };
        let Some(after) = &self.after else { return Ok(Order::Names { prefix, after: None }) };
        let (id, name) = after.split_once(NAME_FOLLOWS).ok_or_else(foreign)?;
        let after = Some((name.into(), id.parse().map_err(|_| foreign())?));
        Ok(Order::Names { prefix, after })
    }
}

/// What separates the id from the name where a page ends.
const NAME_FOLLOWS: char = ':';

fn place(order: &Order, (id, known): &Listed) -> Option<crate::engine::Place> {
    order.place(*id, known.row.about.name.as_ref())
}

impl<T> Clone for ObjectInfo<T> {
    fn clone(&self) -> Self {
        ObjectInfo { id: self.id.clone(), ..*self }
    }
}

impl<T> fmt::Debug for ObjectInfo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectInfo")
            .field("id", &self.id)
            .field("created", &self.created)
            .field("last_written", &self.last_written)
            .field("last_active", &self.last_active)
            .field("next_wake", &self.next_wake)
            .field("size", &self.size)
            .field("schema_version", &self.schema_version)
            .field("location_hint", &self.location_hint)
            .finish()
    }
}

impl<T> fmt::Debug for Page<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("objects", &self.objects).field("next", &self.next).finish()
    }
}

impl<T: DurableObject> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("namespace", &self.namespace)
            .field("prefix", &self.prefix)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish()
    }
}
