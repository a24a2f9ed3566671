//! What objects were, and making them so again.

use serde::{Deserialize, Serialize};

use super::{Admin, LOOK_TIME, Moment, Operation};
use crate::engine::Point;
use crate::instance::operate::Aftermath;
use crate::rpc::Access;
use crate::storage::Store;
use crate::{Bookmark, Error, ErrorKind, Result};

/// Asks for bookmarks of an object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bookmarks {
    /// The object. It may have been deleted.
    pub object: String,
    /// A time to find the bookmark of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Moment>,
    /// How many of the last commits are wanted, up to 1,000.
    #[serde(default)]
    pub commits: usize,
}

/// A commit of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Commit {
    /// The bookmark of the object as it was after it.
    pub bookmark: Bookmark,
    /// When it was made.
    pub time: Moment,
}

/// Bookmarks of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Past {
    /// Of the object as it is; nothing if it does not exist.
    pub current: Option<Bookmark>,
    /// Of the object at the time that was asked for.
    pub at: Option<Bookmark>,
    /// The earliest state that it can be restored to.
    pub oldest: Option<Commit>,
    /// The last commits that it can be restored to, the youngest first.
    pub commits: Vec<Commit>,
    /// Why there is no more than the current one.
    pub lacks: Option<String>,
}

impl Operation for Bookmarks {
    const NAME: &'static str = "bookmarks";
    type Reply = Past;

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Past> {
        let found = admin.find(&self.object).await?;
        let id = found.key.id;
        let (time, count) = (self.time.map(Moment::as_millis), self.commits.min(1_000));
        let look = move |store: &mut Store| (store.past(time, count), Aftermath::Nothing);
        let (current, at, moments) = admin.visit(&found.key, look).await?;
        let bookmark = |point: Point| Bookmark::new(id, point);
        let commit = |(point, time_ms)| Commit {
            bookmark: Bookmark::new(id, point),
            time: Moment::from_millis(time_ms),
        };
        let (moments, lacks) = match moments {
            Ok(moments) => (moments, None),
            Err(error) => (crate::engine::Moments::default(), Some(error.message().to_owned())),
        };
        let oldest = moments.oldest.map(commit);
        if current.is_none() && oldest.is_none() {
            let text = format!("{found} does not exist, and nothing of its past is kept");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let commits = moments.last.into_iter().map(commit).collect();
        Ok(Past { current: current.map(bookmark), at: at.map(bookmark), oldest, commits, lacks })
    }
}

/// Makes an object what it was: at a bookmark, or at a time. Also one that was deleted since, as long as its past is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Restore {
    /// The object.
    pub object: String,
    /// To what it was at this bookmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Bookmark>,
    /// To what it was at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Moment>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Restored {
    /// What the object is now.
    pub to: Bookmark,
    /// What it was before, to undo this; nothing if it did not exist.
    pub undo: Option<Bookmark>,
}

impl Operation for Restore {
    const NAME: &'static str = "restore";
    type Reply = Restored;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Restored> {
        let found = admin.find(&self.object).await?;
        let id = found.key.id;
        let target = match (self.bookmark, self.time) {
            (Some(bookmark), None) => Ok(bookmark.point_of(id)?),
            (None, Some(time)) => Err(time.as_millis()),
            _ => {
                let text = "an object is restored either to a bookmark or to a time";
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        };
        let permit = admin.permit(Access::Write, LOOK_TIME);
        let restore = move |store: &mut Store| {
            let was_active = store.is_active();
            let restored = target
                .or_else(|time_ms| store.point_at(time_ms))
                .and_then(|point| Ok((point, store.go_back(point, permit)?)));
            // If it has failed half way, the next activation goes on with it.
            let aftermath = if restored.is_ok() || (was_active && !store.is_active()) {
                Aftermath::Restored
            } else {
                Aftermath::Nothing
            };
            (restored, aftermath)
        };
        let (to, undo) = admin.visit(&found.key, restore).await?;
        let bookmark = |point: Point| Bookmark::new(id, point);
        Ok(Restored { to: bookmark(to), undo: undo.map(bookmark) })
    }
}
