//! An object that runs whatever SQL it is given.

use durable::Value;
use durable::prelude::*;

#[derive(Default)]
pub struct Any;

#[durable_object]
impl Any {
    /// The rows of the last statement.
    pub fn run(&mut self, ctx: &Context, sql: &str) -> Result<Vec<Vec<Value>>> {
        Ok(ctx.sql().exec(sql, [])?.raw().collect())
    }
}
