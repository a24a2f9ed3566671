//! A draft: a durable object that nobody has to clean up.

use durable::Error;
use durable::prelude::*;

use crate::document::Document;

/// Text that is not a document yet. When nobody has looked at it for a week, it is gone.
#[derive(Default)]
pub struct Draft;

const TEXT: &str = "text";

#[durable_object(expires_after = "7d")]
impl Draft {
    /// Replaces the text.
    pub fn write(&mut self, ctx: &Context, text: &str) -> Result<()> {
        ctx.kv().put(TEXT, &text)
    }

    /// The text, if there is a draft.
    pub fn read(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get(TEXT)
    }

    /// Makes the text the next version of the document that has this name. What is left of the draft may expire.
    pub fn publish(&mut self, ctx: &Context) -> Result<()> {
        let text = self.read(ctx)?.ok_or_else(|| Error::other("there is no such draft"))?;
        ctx.kv().delete(TEXT)?;
        let document = ctx.namespace::<Document>().get_by_name(ctx.name().unwrap_or_default());
        ctx.send(document.write(&text))
    }

    /// Whether the document has what was published.
    pub fn is_sent(&self, ctx: &Context) -> Result<bool> {
        Ok(ctx.pending_messages()? == 0)
    }
}
