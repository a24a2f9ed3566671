//! Sending objects out of memory, and deleting them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Admin, Operation};
use crate::engine::Engine;
use crate::{Error, Result};

/// Drops an object's instance from memory, unless it is at work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evict {
    /// The object.
    pub object: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evicted {
    /// Whether the object has no instance in memory now. If not, it is at work: a turn, a handler, a background future, a closed gate.
    pub is_out: bool,
}

impl Operation for Evict {
    const NAME: &'static str = "evict";
    type Reply = Evicted;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Evicted> {
        let found = admin.find(&self.object).await?;
        let class = admin.node.class_of(&found.key.class);
        Ok(Evicted { is_out: class.is_none_or(|class| class.evict(found.key.id)) })
    }
}

/// Deletes all that an object has stored, whether or not it can be started: see [`Namespace::delete`](crate::Namespace::delete).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delete {
    /// The object.
    pub object: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether there was anything to delete.
    pub existed: bool,
}

impl Operation for Delete {
    const NAME: &'static str = "delete";
    type Reply = Deleted;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Deleted> {
        let found = admin.find(&self.object).await?;
        if let Some(class) = admin.node.class_of(&found.key.class) {
            let deleted = class.delete(&admin.node, found.key.id).await;
            let existed = deleted.map_err(|failure| Error::from(failure.widen::<Error>()))?;
            return Ok(Deleted { existed });
        }
        let node = Arc::clone(&admin.node);
        let delete = move |engine: &dyn Engine| {
            let _alone = node.keep_strangers();
            let existed = engine.exists(&found.key)?;
            if existed {
                engine.delete(&found.key)?;
            }
            Ok(Deleted { existed })
        };
        admin.node.read(delete).await
    }
}
