//! What is done to an object's storage from outside: in the object's queue as any turn, and also when the object cannot be activated.
//!
//! The guarantee: it is done between two turns, once or not at all, and whoever asked hears of it when what it has written, or may have
//! seen, is durable. Who no longer waits for it has not begun it: what is still in the queue then is not done. No object
//! is activated for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::activity::waiting;
use crate::call::{CallError, Failure};
use crate::engine::Receipt;
use crate::instance::mailbox::Ticket;
use crate::instance::{Job, Live, Object};
use crate::{DurableObject, Result};

/// Runs `code` in the object. There need not be an instance, and then the database is closed.
pub(crate) async fn visit<T: DurableObject, R: Send + 'static, E: Send + 'static>(
    object: Arc<Object<T>>,
    code: impl FnOnce(&mut Live<T>) -> Result<R, E> + Send + 'static,
) -> Result<Result<R, E>, Failure> {
    let (sender, done) = oneshot::channel();
    let ticket = object.submit_patiently(Box::new(Visit { code, sender })).await?;
    let _place = Place { object: &object, ticket };
    let (result, receipt) = waiting(done).await.unwrap_or(Err(CallError::ShutDown))?;
    receipt.wait().await.map_err(CallError::StorageFailed)?;
    Ok(result)
}

/// A place in the queue, which is given up with this.
struct Place<'a, T: DurableObject> {
    object: &'a Object<T>,
    ticket: Ticket,
}

impl<T: DurableObject> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.object.cancel(self.ticket);
    }
}

/// What it gave, and when all that it may have seen is durable.
type Visited<R> = Result<(R, Receipt), Failure>;

struct Visit<C, R> {
    code: C,
    sender: oneshot::Sender<Visited<R>>,
}

impl<T, C, R> Job<T> for Visit<C, R>
where
    T: DurableObject,
    C: FnOnce(&mut Live<T>) -> R + Send,
    R: Send,
{
    fn run(self: Box<Self>, live: &mut Live<T>) {
        let result = (self.code)(live);
        let receipt = live.ctx.store().receipt();
        live.after_turn();
        let _ = self.sender.send(Ok((result, receipt)));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }

    fn needs_no_instance(&self) -> bool {
        true
    }
}
