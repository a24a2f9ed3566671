//! The classes that are stored, whether or not the program has them.

use std::sync::Arc;

use super::Runtime;
use crate::engine::{Engine, Known, ObjectKey, Order, StoredClass};
use crate::id::RawId;
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

/// Objects that are looked up at a time.
const BATCH: usize = 10_000;

/// A class of which something is stored. See [`Runtime::classes`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassInfo {
    /// The name that it was last registered under.
    pub name: String,
    /// The name that it was first registered under, from which ids and files derive.
    pub key: String,
    /// The names it had before this one, from the first on.
    pub former_names: Vec<String>,
    /// Whether it is registered in this runtime.
    pub is_registered: bool,
    /// How many objects it has.
    pub objects: u64,
}

impl Runtime {
    /// The classes that were ever registered in this data directory, in the order of their names. This counts their
    /// objects, a few milliseconds for each 10,000, and wakes nobody.
    ///
    /// # Errors
    /// When the runtime is shut down, or the disk fails.
    pub async fn classes(&self) -> Result<Vec<ClassInfo>> {
        self.owner.node.read(stored_classes).await
    }

    /// Deletes a class that the program does not have any more, and with `force` the objects that it still has; gives how many
    /// those were. Afterwards it is as if there never had been such a class.
    ///
    /// If it fails in the middle, objects are deleted or whole, and trying again goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is registered in this runtime (delete its objects with
    /// [`Namespace::delete`](crate::Namespace::delete) instead), and when it has objects and `force` is not set: the error says how
    /// many. [`ErrorKind::NotFound`] when there is no such class. Also when an object cannot be opened, the runtime is shut down,
    /// or the disk fails.
    pub async fn delete_class(&self, name: &str, force: bool) -> Result<u64> {
        let name = name.to_owned();
        let node = Arc::clone(&self.owner.node);
        let delete = move |engine: &dyn Engine| {
            let _alone = node.keep_strangers();
            delete_class(engine, &name, force)
        };
        self.owner.node.read(delete).await
    }
}

/// The classes that were ever registered, in the order of their names, with how many objects they have.
pub(crate) fn stored_classes(engine: &dyn Engine) -> Result<Vec<ClassInfo>> {
    let counted = engine.classes()?.into_iter().map(|class| {
        let mut objects = 0;
        for_each(engine, &class.key, &mut |_, _| {
            objects += 1;
            Ok(())
        })?;
        let StoredClass { key, name, former, is_registered } = class;
        Ok(ClassInfo { name, key, former_names: former, is_registered, objects })
    });
    counted.collect()
}

fn delete_class(engine: &dyn Engine, name: &str, force: bool) -> Result<u64> {
    let class =
        engine.classes()?.into_iter().find(|class| class.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no stored class `{name}`"))
        })?;
    if class.is_registered {
        let text = format!(
            "class `{name}` is registered: start the program without it to delete it, or delete its objects with `Namespace::delete`"
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let mut objects = 0_u64;
    for_each(engine, &class.key, &mut |object, _| {
        objects += 1;
        if force { engine.delete(object) } else { Ok(()) }
    })?;
    if objects > 0 && !force {
        let text = format!(
            "class `{name}` has {objects} objects: delete them with it by `delete_class(.., true)`, or keep it"
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    engine.remove_class(&class.key)?;
    note!(warn, class = name, objects, "a class was deleted");
    Ok(objects)
}

/// Visits all objects of a class, in the order of their ids.
pub(crate) fn for_each(
    engine: &dyn Engine,
    class: &str,
    visit: &mut dyn FnMut(&ObjectKey, &Known) -> Result<()>,
) -> Result<()> {
    let class: Arc<str> = class.into();
    let mut after: Option<RawId> = None;
    loop {
        let objects = engine.list(&class, &Order::Ids { after }, BATCH)?;
        let Some((last, _)) = objects.last() else { return Ok(()) };
        after = Some(*last);
        for (id, known) in objects {
            visit(&ObjectKey { class: Arc::clone(&class), id }, &known)?;
        }
    }
}
