//! A limiter: the durable object that decides for one key.

use std::num::NonZeroU32;

use durable::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Decision, micros};
use crate::plan::Plan;

/// The key under which a plan of the limiter's own is stored.
const PLAN: &str = "plan";

/// Why there was no decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LimitError {
    #[error("{tokens} tokens are never allowed: the burst is {burst}")]
    OverBurst { tokens: u32, burst: u32 },
    #[error(transparent)]
    Storage(#[from] durable::Error),
}

impl From<CallError<LimitError>> for LimitError {
    fn from(error: CallError<LimitError>) -> Self {
        error.flatten()
    }
}

/// Limits one key. The object's name is the key.
///
/// The fields are a cache: the constructor reads them from the database whenever the object comes
/// into memory, and decisions are made on them alone. The database has what must not be lost: a row
/// with the bucket after the last request that was *allowed*, and the key's own plan.
///
/// The guarantee: fields are never ahead of the database. They change after it, at the end of a turn;
/// and if the turn is undone even so, its instance is dropped, and the next one reads them anew. (A
/// denied request moves the field on to its time. The row at that time is the same bucket.)
pub struct Limiter {
    plan: Plan,
    bucket: Bucket,
}

/// A limiter as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub plan: Plan,
    /// Whether the plan is the key's own.
    pub is_own: bool,
    /// Whole tokens.
    pub tokens: u32,
}

#[durable_object]
impl Limiter {
    #[migration(1)]
    fn create_bucket(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE bucket (
                 id    INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row, or none if it is full
                 level INTEGER NOT NULL,                   -- in parts of tokens
                 parts INTEGER NOT NULL,                   -- of which a token has so many
                 time  INTEGER NOT NULL                    -- in microseconds since 1970
             )",
        )
    }

    /// Runs whenever the object comes into memory, before its first call.
    fn new(ctx: &Context) -> Result<Self> {
        let plan = own_plan(ctx)?.map_or_else(|| ctx.env().copied(), Ok)?;
        let stored = ctx.sql().query_optional("SELECT level, parts, time FROM bucket", [])?;
        let bucket = match stored {
            // The program's plan may be another one than when it was stored.
            Some(bucket) => Bucket::under(bucket, plan),
            None => Bucket::full(plan, micros(ctx.now())),
        };
        Ok(Limiter { plan, bucket })
    }

    /// Takes tokens, if there are so many.
    ///
    /// A request that is denied writes nothing, so a flood of them costs no disk. One that is allowed
    /// is answered when the bucket without its tokens is durable: no restart gives them out again.
    pub fn take(&mut self, ctx: &Context, tokens: NonZeroU32) -> Result<Decision, LimitError> {
        let (tokens_wanted, burst) = (tokens.get(), self.plan.burst());
        if tokens_wanted > burst {
            return Err(LimitError::OverBurst { tokens: tokens_wanted, burst });
        }
        let now = self.bucket.at(micros(ctx.now()), self.plan);
        let (bucket, decision) = now.take(tokens, self.plan);
        if let Decision::Allowed { .. } = decision {
            store(ctx, bucket)?;
        }
        self.bucket = bucket;
        Ok(decision)
    }

    /// The plan, and what is left now.
    pub fn state(&self, ctx: &Context) -> Result<State> {
        let is_own = own_plan(ctx)?.is_some();
        let tokens = self.bucket.at(micros(ctx.now()), self.plan).tokens();
        Ok(State { plan: self.plan, is_own, tokens })
    }

    /// Gives the key a plan of its own, or with `None` the program's. It keeps the tokens that fit.
    pub fn set_plan(&mut self, ctx: &Context, own: Option<Plan>) -> Result<()> {
        let plan = if let Some(own) = own {
            ctx.kv().put(PLAN, &own)?;
            own
        } else {
            ctx.kv().delete(PLAN)?;
            *ctx.env()?
        };
        let bucket = self.bucket.at(micros(ctx.now()), self.plan).under(plan);
        store(ctx, bucket)?;
        *self = Limiter { plan, bucket };
        Ok(())
    }
}

fn store(ctx: &Context, bucket: Bucket) -> Result<()> {
    let Bucket { level, parts, time } = bucket;
    let row = (level, parts, time);
    ctx.sql().execute("INSERT OR REPLACE INTO bucket VALUES (1, ?, ?, ?)", row)?;
    Ok(())
}

fn own_plan(ctx: &Context) -> Result<Option<Plan>> {
    ctx.kv().get(PLAN)
}
