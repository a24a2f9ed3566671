//! Listing objects: what the catalogue has, and what it is to learn with the next checkpoint.
//!
//! The guarantee: an object that exists throughout is found. News travel from an open object over those that wait for the
//! list into the catalogue, each time before they are dropped where they were; whoever looks goes the same way, so what
//! moves on meanwhile is seen twice rather than not at all. No commit waits for that for longer than it takes to look at one object.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Shared;
use crate::Result;
use crate::engine::catalogue::{News, Row};
use crate::engine::pagestore::FilePerObject;
use crate::engine::wakes::Wake;
use crate::engine::{Known, Listed, ObjectKey, Order, Place};
use crate::id::RawId;

/// Rows that are read from the catalogue at a time. Few in tests, so that it takes several.
const ROWS_READ: usize = if cfg!(test) { 4 } else { 256 };

impl Shared {
    /// See [`Engine::list`](crate::engine::Engine::list).
    pub(super) fn list(&self, class: &str, order: &Order, count: usize) -> Result<Vec<Listed>> {
        let news = self.news(class);
        let places: BTreeMap<Place, RawId> = news
            .rows
            .iter()
            .filter_map(|(key, row)| Some((order.place(key.id, row.about.name.as_ref())?, key.id)))
            .collect();
        let wakes = self.wakes.news(class);
        let class: Arc<str> = class.into();
        let key = |id| ObjectKey { class: Arc::clone(&class), id };
        let (mut order, mut listed) = (order.clone(), Vec::new());
        loop {
            let rows = self.index.page(&class, &order, ROWS_READ)?;
            let is_last = rows.len() < ROWS_READ;
            let mut found: BTreeMap<Place, Listed> = BTreeMap::new();
            for (id, known) in rows {
                let place = order.place(id, known.row.about.name.as_ref());
                found.extend(place.map(|place| (place, (id, known))));
            }
            let last = found.last_key_value().map(|(place, _)| place.clone()).filter(|_| !is_last);
            let end = last.as_ref().map_or(Bound::Unbounded, Bound::Included);
            for (place, id) in places.range((Bound::Unbounded, end)) {
                if order.place(*id, place.0.as_ref()).is_some() {
                    found.entry(place.clone()).or_insert_with(|| (*id, unlisted()));
                }
            }
            for (id, known) in found.into_values() {
                let known = self.complete(&key(id), known, &news, wakes.get(&id).copied());
                listed.extend(known.map(|known| (id, known)));
                if listed.len() == count {
                    return Ok(listed);
                }
            }
            let Some(last) = last else { return Ok(listed) };
            order = order.after(last);
        }
    }

    /// See [`Engine::find`](crate::engine::Engine::find).
    pub(super) fn find(&self, object: &ObjectKey) -> Result<Option<Known>> {
        let mut open = News::default();
        if let Some(entry) = self.entries.get(object) {
            open.note(object, entry.row());
        }
        let news = merged(self.unlisted.of_one(object), open);
        let wake = self.wakes.news_of(object);
        let known = self.index.find(object)?.unwrap_or_else(unlisted);
        Ok(self.complete(object, known, &news, wake))
    }

    /// What the list does not know yet about the objects of a class.
    fn news(&self, class: &str) -> News {
        let mut open = News::default();
        for entry in self.entries.all().iter().filter(|entry| *entry.key.class == *class) {
            open.note(&entry.key, entry.row());
        }
        merged(self.unlisted.of_class(class), open)
    }

    /// Adds what is new of an object; none if it does not exist.
    fn complete(
        &self,
        object: &ObjectKey,
        mut known: Known,
        news: &News,
        wake: Option<Wake>,
    ) -> Option<Known> {
        if let Some(row) = news.rows.get(object) {
            known.row.update(row.clone());
        }
        if known.row.deleted {
            return None;
        }
        known.active_ms = known.active_ms.max(news.uses.get(object).copied());
        known.wake_ms = wake.map_or(known.wake_ms, |wake| wake.time_ms);
        if known.row.header.is_none() {
            // Of an earlier program's catalogue. An object whose file cannot be read is told of all the same.
            let store = FilePerObject::new(Arc::clone(&self.disk), &self.objects, object);
            known.row.header = store.header().unwrap_or_default();
        }
        Some(known)
    }
}

/// Of an object that has no row.
fn unlisted() -> Known {
    Known { row: Row { deleted: true, ..Row::default() }, ..Known::default() }
}

/// What waits for the list, and what open objects have beyond that.
fn merged(mut waiting: News, open: News) -> News {
    waiting.merge(open);
    waiting
}
