//! Which classes and objects there are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Admin, Moment, Operation};
use crate::engine::sqlite::PAGE_BYTES;
use crate::engine::{Engine, Known, ObjectKey, Order, Place};
use crate::id::RawId;
use crate::runtime::classes::stored_classes;
use crate::{Error, ErrorKind, Result};

/// Objects on one page, at most.
const PAGE_MAX: usize = 10_000;

/// Asks for the classes that are stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Classes {}

/// A stored class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Class {
    /// The name that it was last registered under.
    pub name: String,
    /// The name that it was first registered under, from which ids and files derive.
    pub key: String,
    /// The names it had before this one, from the first on.
    pub former_names: Vec<String>,
    /// Whether the program that was asked has it.
    pub is_registered: bool,
    /// How many objects it has.
    pub objects: u64,
}

impl Operation for Classes {
    const NAME: &'static str = "classes";
    type Reply = Vec<Class>;

    async fn run(self, admin: &Admin) -> Result<Vec<Class>> {
        let classes = admin.node.read(stored_classes).await?;
        let class = |class: crate::ClassInfo| Class {
            name: class.name,
            key: class.key,
            former_names: class.former_names,
            is_registered: class.is_registered,
            objects: class.objects,
        };
        Ok(classes.into_iter().map(class).collect())
    }
}

/// Asks for the objects of a class, a page at a time, in the order of their ids, or with a prefix in that of their names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct List {
    /// The class.
    pub class: String,
    /// Only objects whose names begin like this; with `""` those that have a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How many, at most: 1 to 10,000.
    pub limit: usize,
    /// Goes on where a page has ended: its [`next`](Listed::next).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// The objects, in order.
    pub objects: Vec<Summary>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is known of an object without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// How it is named: `Class/name`, or `Class/` and its id.
    pub object: String,
    /// The name of its class.
    pub class: String,
    /// Its id, as 64 hex digits.
    pub id: String,
    /// Its name, if it has one and it is known.
    pub name: Option<String>,
    /// The size of its database, in bytes.
    pub size: u64,
    /// The number of the last migration that it has had.
    pub schema_version: u32,
    /// When its first commit was, if that is known.
    pub created: Option<Moment>,
    /// When its last commit was, if that is known.
    pub last_written: Option<Moment>,
    /// When it was last used, as far as that is known.
    pub last_active: Option<Moment>,
    /// When it wakes by itself.
    pub next_wake: Option<Moment>,
    /// Where it was asked to be created.
    pub location_hint: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "list";
    type Reply = Listed;

    fn subject(&self) -> &str {
        &self.class
    }

    async fn run(self, admin: &Admin) -> Result<Listed> {
        let class = admin.class(&self.class).await?;
        let order = self.order(&class.key)?;
        let limit = self.limit.clamp(1, PAGE_MAX);
        let key: Arc<str> = class.key.as_str().into();
        let listed = {
            let (key, order) = (Arc::clone(&key), order.clone());
            admin.node.read(move |engine: &dyn Engine| engine.list(&key, &order, limit + 1)).await?
        };
        let next = (listed.len() > limit)
            .then(|| &listed[limit - 1])
            .and_then(|(id, known)| order.place(*id, known.row.about.name.as_ref()).map(cursor));
        let objects = listed.into_iter().take(limit).map(|(id, known)| {
            let key = ObjectKey { class: Arc::clone(&key), id };
            admin.summary(&class.name, &key, known)
        });
        Ok(Listed { objects: objects.collect(), next })
    }
}

/// Where a page ends, as text.
fn cursor((name, id): Place) -> String {
    match name {
        Some(name) => format!("{id}:{name}"),
        None => id.to_string(),
    }
}

impl List {
    fn order(&self, key: &str) -> Result<Order> {
        let foreign = || {
            let text = "`after` is not where a page of this list has ended: take its `next`";
            Error::new(ErrorKind::Invalid, text)
        };
        let id = |text: &str| {
            text.parse::<RawId>().ok().filter(|id| id.belongs_to(key)).ok_or_else(foreign)
        };
        let Some(prefix) = self.prefix.as_deref().map(Arc::<str>::from) else {
            return Ok(Order::Ids { after: self.after.as_deref().map(id).transpose()? });
        };
        let Some(after) = &self.after else { return Ok(Order::Names { prefix, after: None }) };
        let (at, name) = after.split_once(':').ok_or_else(foreign)?;
        Ok(Order::Names { prefix, after: Some((name.into(), id(at)?)) })
    }
}

impl Admin {
    /// What is known of an object without opening it.
    pub(super) fn summary(&self, class: &str, key: &ObjectKey, known: Known) -> Summary {
        let Known { row, active_ms, wake_ms } = known;
        let now = self.node.settings.time.now_or_system();
        let used = self.node.class_of(&key.class).and_then(|class| class.last_use_of(key.id, now));
        let header = row.header.unwrap_or_default();
        let written = (row.stamp.time_ms != 0).then(|| Moment::from_millis(row.stamp.time_ms));
        let active = active_ms.map(Moment::from_millis);
        Summary {
            object: super::address(class, key, row.about.name.as_deref()),
            class: class.to_owned(),
            id: key.id.to_string(),
            name: row.about.name.map(|name| name.to_string()),
            size: u64::from(header.pages) * PAGE_BYTES,
            schema_version: header.schema_version,
            created: row.created_ms.map(Moment::from_millis),
            last_written: written,
            last_active: [active, written, used.map(Moment::from)].into_iter().flatten().max(),
            next_wake: wake_ms.map(Moment::from_millis),
            location_hint: row.about.location_hint,
        }
    }

    /// The same of an object that is to be found; nothing if it does not exist.
    pub(super) async fn known(&self, key: &ObjectKey) -> Result<Option<Known>> {
        let key = key.clone();
        self.node.read(move |engine: &dyn Engine| engine.find(&key)).await
    }
}
