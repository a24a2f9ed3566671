//! The site: the durable object that knows which pages there are.

use durable::prelude::*;

/// The name of the one site in a data directory.
pub const NAME: &str = "site";

/// Knows the names of all pages, so that the report can ask each of them.
///
/// It keeps no counts: if it did, page and site could disagree after a crash. It may only list
/// a page too many, never one too few, because a page's name is stored here before its first visit.
#[derive(Default)]
pub struct Site;

#[durable_object]
impl Site {
    #[migration(1)]
    fn create_pages(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE pages (name TEXT PRIMARY KEY) WITHOUT ROWID")
    }

    /// Remembers pages, known or not.
    pub fn add(&mut self, ctx: &Context, pages: &[String]) -> Result<()> {
        for page in pages {
            ctx.sql().execute("INSERT OR IGNORE INTO pages VALUES (?)", (page,))?;
        }
        Ok(())
    }

    /// The next pages after `page` in alphabetical order, at most `limit` of them; none at the end.
    ///
    /// In portions, because nothing else can run on an object before a call to it returns.
    pub fn pages_after(&self, ctx: &Context, page: &str, limit: u32) -> Result<Vec<String>> {
        ctx.sql()
            .query_all("SELECT name FROM pages WHERE name > ? ORDER BY name LIMIT ?", (page, limit))
    }
}
