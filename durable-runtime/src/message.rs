//! A call in the form in which it is stored: for timers and the outbox.

use std::sync::Arc;

use crate::engine::ObjectKey;

/// A call to a business method of some object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) receiver: ObjectKey,
    /// The receiver's name, if it is known.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) method: Arc<str>,
    /// In the named form of [`wire`](crate::wire), since a later program may read them.
    pub(crate) arguments: Vec<u8>,
}

impl Message {
    /// Whether it is the same call, whatever is known of the receiver's name.
    pub(crate) fn is_same(&self, other: &Message) -> bool {
        let Message { receiver, name: _, method, arguments } = self;
        *receiver == other.receiver && *method == other.method && *arguments == other.arguments
    }
}
