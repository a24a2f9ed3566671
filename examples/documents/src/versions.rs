//! The versions of a document: the durable object that remembers where they are in the document's history.

use durable::Bookmark;
use durable::prelude::*;
use serde::{Deserialize, Serialize};

/// The versions of the document that has the same name. This object is never restored.
#[derive(Default)]
pub struct Versions;

/// One version of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub number: u32,
    pub bookmark: Bookmark,
    /// The first line of its text.
    pub title: String,
}

#[durable_object]
impl Versions {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE versions (number INTEGER PRIMARY KEY, bookmark TEXT NOT NULL, title TEXT NOT NULL)",
        )
    }

    /// A version was written. Those that it was written instead of, after they were undone, cannot be redone any more.
    ///
    /// Where the document was `before`, the version before was until now. Its own bookmark may be older than the history: then this one is not,
    /// and an edit can be undone for as long as the history goes back, however old is what it has changed.
    ///
    /// When a document goes back to a version, its note goes out again, as all messages do that were on their way then. It is
    /// not applied again here, or it would forget all later versions: the runtime sees to that.
    pub fn keep(
        &mut self,
        ctx: &Context,
        number: u32,
        before: Option<Bookmark>,
        after: Bookmark,
        text: &str,
    ) -> Result<()> {
        let title = text.lines().next().unwrap_or_default();
        ctx.sql().execute("DELETE FROM versions WHERE number >= ?", [number])?;
        if let Some(before) = before {
            let renew = "UPDATE versions SET bookmark = ? WHERE number = ?";
            ctx.sql().execute(renew, (before.to_string(), number - 1))?;
        }
        let insert = "INSERT INTO versions VALUES (?, ?, ?)";
        ctx.sql().execute(insert, (number, after.to_string(), title)).map(drop)
    }

    /// The version with this number, if there is one.
    pub fn version(&self, ctx: &Context, number: u32) -> Result<Option<Version>> {
        ctx.sql().query_optional("SELECT * FROM versions WHERE number = ?", [number])
    }

    /// All versions, the first one first.
    pub fn all(&self, ctx: &Context) -> Result<Vec<Version>> {
        ctx.sql().query_all("SELECT * FROM versions ORDER BY number", [])
    }
}
