//! Making a copy the first commit of an object, whether or not it is in memory.
//!
//! The guarantee: the object is the copy, whole, or what somebody else made it first, and never a mixture. Meanwhile no turn of it runs:
//! those that come wait, and find the copy. One who reads an object that is not there keeps nobody from making it; handlers, background
//! futures and sockets of such a one end.

use std::sync::Arc;

use crate::engine::{About, CopyFile, Engine, Wake};
use crate::instance::events::event;
use crate::instance::turn::dispose;
use crate::instance::visit::visit;
use crate::instance::{Live, Object};
use crate::{DurableObject, Error, Result};

/// What those are told who had to do with the object before.
const MADE: &str = "the object was made from a copy";

/// A copy on its way to become an object.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) copy: CopyFile,
    pub(crate) about: About,
    pub(crate) wake: Wake,
}

/// Makes a copy the first commit of the object.
///
/// # Errors
/// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when the object exists; and when that cannot be logged.
pub(crate) async fn adopt<T: DurableObject>(
    object: Arc<Object<T>>,
    adoption: Adoption,
) -> Result<()> {
    let identity = Arc::clone(&object.identity);
    // Without an instance if that can be: its constructor may write.
    if let Some(vacancy) = Vacancy::of(&object) {
        let Adoption { copy, about, wake } = adoption;
        let adopt = move |engine: &dyn Engine| {
            let key = vacancy.0.identity.key();
            let adopted = engine.adopt(&key, copy, about, wake);
            if adopted.is_ok() {
                vacancy.0.sockets.dismiss_all(MADE);
            }
            drop(vacancy);
            adopted.map(drop)
        };
        object.node.read(adopt).await?;
    } else {
        let made = visit(object, |live| live.become_copy(adoption)).await;
        made.map_err(|failure| Error::from(failure.widen::<Error>()))??;
    }
    event!(info, identity, "an object was made from a copy");
    Ok(())
}

/// The seat of an object that has no instance. While it is held the object gets none.
struct Vacancy<T: DurableObject>(Arc<Object<T>>);

impl<T: DurableObject> Vacancy<T> {
    fn of(object: &Arc<Object<T>>) -> Option<Vacancy<T>> {
        object.evict();
        let is_vacant = object.mailbox.lock().take_vacant();
        is_vacant.then(|| Vacancy(Arc::clone(object)))
    }
}

impl<T: DurableObject> Drop for Vacancy<T> {
    fn drop(&mut self) {
        if self.0.mailbox.lock().vacate() {
            self.0.start_draining(None);
        }
    }
}

impl<T: DurableObject> Live<T> {
    fn become_copy(&mut self, adoption: Adoption) -> Result<()> {
        let store = self.ctx.store_mut();
        store.check_absent()?;
        let Adoption { copy, about, wake } = adoption;
        let adopted = store.adopt(copy, about, wake);
        // Its database was closed in any case.
        dispose(self.instance.take());
        adopted?;
        let object = self.ctx.object();
        object.sockets.dismiss_all(MADE);
        object.start_over(&object.session(), &Arc::from(MADE), || {});
        Ok(())
    }
}
