//! The bank: the durable object that knows which accounts there are.

use durable::prelude::*;

/// The name of the one bank in a data directory.
pub const NAME: &str = "bank";

/// The key of the mark that stays when a run does not end well.
const RUNNING: &str = "running";

/// Knows the names of all accounts, and whether the last run of the program ended well.
///
/// It knows nothing of money: if it did, bank and account could disagree after a crash. It may only
/// list an account too many, never one too few, because a name is stored here before the account is
/// opened.
#[derive(Default)]
pub struct Bank;

#[durable_object]
impl Bank {
    #[migration(1)]
    fn create_accounts(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE accounts (name TEXT PRIMARY KEY) WITHOUT ROWID")
    }

    /// Remembers an account, known or not.
    pub fn add(&mut self, ctx: &Context, account: &str) -> Result<()> {
        ctx.sql().execute("INSERT OR IGNORE INTO accounts VALUES (?)", [account])?;
        Ok(())
    }

    /// The next accounts after `account` in alphabetical order, at most `limit` of them; none at the
    /// end.
    ///
    /// In portions, because nothing else can run on an object before a call to it returns.
    pub fn accounts_after(&self, ctx: &Context, account: &str, limit: u32) -> Result<Vec<String>> {
        ctx.sql().query_all(
            "SELECT name FROM accounts WHERE name > ? ORDER BY name LIMIT ?",
            (account, limit),
        )
    }

    /// The program starts. Gives whether the run before may have left transfers under way.
    pub fn begin_run(&mut self, ctx: &Context) -> Result<bool> {
        let unfinished = ctx.kv().get(RUNNING)?.unwrap_or(false);
        ctx.kv().put(RUNNING, &true)?;
        Ok(unfinished)
    }

    /// Nothing is under way, neither of this run nor of those before.
    pub fn end_run(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().delete(RUNNING)?;
        Ok(())
    }
}
