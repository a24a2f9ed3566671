//! A document: the durable object that goes back and forth in its history.

use durable::prelude::*;

use crate::versions::Versions;

/// One document, as it is now. It knows nothing of what it was: that the runtime keeps.
#[derive(Default)]
pub struct Document;

#[durable_object]
impl Document {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE document (version INTEGER NOT NULL, text TEXT NOT NULL);
             INSERT INTO document VALUES (0, '')",
        )
    }

    /// Replaces the text, and gives the number of this version.
    ///
    /// The bookmarks are of the states before and after this turn. They are sent to another object, since this one is going to forget, when
    /// it goes back, what came later. The edit and its note are one commit: there is never one without the other.
    pub fn write(&mut self, ctx: &Context, text: &str) -> Result<u32> {
        // Of a new document there is no state before.
        let before = ctx.current_bookmark().ok();
        let edit = "UPDATE document SET version = version + 1, text = ? RETURNING version";
        let version = ctx.sql().query_one(edit, [text])?;
        ctx.send(versions(ctx).keep(version, before, ctx.current_bookmark()?, text))?;
        Ok(version)
    }

    /// The number of the version, which is 0 if nothing was ever written, and the text.
    pub fn read(&self, ctx: &Context) -> Result<(u32, String)> {
        ctx.sql().query_one("SELECT version, text FROM document", [])
    }

    /// Begins the list of versions of a document that was made as a copy.
    pub fn begin(&mut self, ctx: &Context) -> Result<()> {
        let (version, text) = self.read(ctx)?;
        ctx.send(versions(ctx).keep(version, None, ctx.current_bookmark()?, &text))
    }

    /// Whether the list of versions has all that was sent to it.
    pub fn is_noted(&self, ctx: &Context) -> Result<bool> {
        Ok(ctx.pending_messages()? == 0)
    }
}

/// The list of this document's versions, which has its name.
fn versions(ctx: &Context) -> <Versions as DurableObject>::Stub {
    ctx.namespace::<Versions>().get_by_name(ctx.name().unwrap_or_default())
}
