//! Sending and receiving the messages of one object.

use std::sync::Arc;

use crate::DurableObject;
use crate::call::Failure;
use crate::engine::ObjectKey;
use crate::instance::{Live, Object};

/// Messages on their way to one receiver, in order.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) receiver: ObjectKey,
    pub(crate) name: Option<Arc<str>>,
}

/// What became of a delivery.
#[derive(Debug)]
pub(crate) struct Delivered {
    failure: Option<Failure>,
}

/// Gives messages to the object.
pub(crate) async fn deliver<T: DurableObject>(_: Arc<Object<T>>, _: Delivery) -> Delivered {
    Delivered { failure: None }
}

impl<T: DurableObject> Live<T> {
    /// Sends what is due at this time.
    pub(super) fn send_out(&mut self, now: i64) -> Result<(), Failure> {
        let _ = now;
        Ok(())
    }
}
