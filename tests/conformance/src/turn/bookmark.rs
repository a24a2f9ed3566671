//! Earlier states of the object.

use std::time::Duration;

use serde_json::json;

use super::{Outcome, Turn};
use crate::case::{Action, Op};
use crate::object::Interpreter;

impl<T: Interpreter> Turn<'_, T> {
    /// A recording shows a bookmark by its type and length.
    pub(super) fn bookmark(&mut self, op: &Op) -> Outcome {
        let ctx = self.ctx;
        let bookmark = match &op.action {
            Action::BookmarkAt { ago_ms } => {
                ctx.bookmark_for_time(ctx.now() - Duration::from_millis(*ago_ms))?
            }
            Action::Restore {} => ctx.restore_on_next_session(&ctx.current_bookmark()?)?,
            _ => ctx.current_bookmark()?,
        };
        Ok(json!({ "type": "string", "len": bookmark.to_string().len() }))
    }
}
