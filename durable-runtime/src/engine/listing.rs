//! Finding objects without knowing their ids: what is asked for, and what is found.
//!
//! The guarantee: going on after the last place that was found gives every object once that exists throughout, in an order that
//! does not depend on what is created and deleted meanwhile, since the place of an object is its id, or its name, for ever.

use std::sync::Arc;

use super::catalogue::Row;
use crate::id::RawId;

/// Which objects of a class are wanted, in which order, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// All, in the order of their ids.
    Ids { after: Option<RawId> },
    /// Those whose names begin like this, in the order of their names.
    Names { prefix: Arc<str>, after: Option<(Arc<str>, RawId)> },
}

/// Where an object stands in an order. Where ids decide there is no name.
pub(crate) type Place = (Option<Arc<str>>, RawId);

/// What is known of an object that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) row: Row,
    /// When it was last seen in use, in milliseconds since 1970: as of when it last left memory.
    pub(crate) active_ms: Option<i64>,
    /// When it wants to be woken.
    pub(crate) wake_ms: Option<i64>,
}

/// An object, and what is known of it.
pub(crate) type Listed = (RawId, Known);

impl Order {
    /// Where an object stands; none if it is not wanted.
    pub(crate) fn place(&self, id: RawId, name: Option<&Arc<str>>) -> Option<Place> {
        match self {
            Order::Ids { after } => after.is_none_or(|after| id > after).then_some((None, id)),
            Order::Names { prefix, after } => {
                let name = name.filter(|name| name.starts_with(&**prefix))?;
                let is_passed =
                    after.as_ref().is_some_and(|(after, last)| (name, id) <= (after, *last));
                (!is_passed).then(|| (Some(Arc::clone(name)), id))
            }
        }
    }

    /// The same order, from behind a place on.
    pub(crate) fn after(&self, place: Place) -> Order {
        match (self, place) {
            (Order::Names { prefix, .. }, (Some(name), id)) => {
                Order::Names { prefix: Arc::clone(prefix), after: Some((name, id)) }
            }
            (_, (_, id)) => Order::Ids { after: Some(id) },
        }
    }
}
