//! The texts for what may not stand in a body that runs inside a turn.
//!
//! `{function}` is the function with what it is, `{name}` its name, `{what}` the code that was found.

use super::scan::Finding;
use crate::input::Function;

/// What to say about a finding.
#[derive(Clone, Copy)]
pub(super) struct Text {
    message: &'static str,
    help: &'static str,
}

impl Text {
    /// Message and help for one finding.
    pub(super) fn of(self, function: &Function, finding: &Finding) -> (String, String) {
        let fill = |text: &str| {
            text.replace("{function}", &function.title())
                .replace("{name}", &function.name())
                .replace("{what}", &finding.what)
        };
        (fill(self.message), fill(self.help))
    }
}

pub(super) const AWAIT: Text = Text {
    message: "{function} cannot wait: it is one turn, and nothing else happens in the object until it ends",
    help: "return first and wait in `ctx.wait_until(async move { .. })`, or do the waiting in an async handler",
};

pub(super) const AWAIT_IN_MACRO: Text = Text {
    message: "{function} cannot wait, also not inside a macro: it is one turn",
    help: "return first and wait in `ctx.wait_until(async move { .. })`, or do the waiting in an async handler",
};

pub(super) const ASYNC_BLOCK: Text = Text {
    message: "{function} makes async work that the object does not keep track of",
    help: "hand the block over where it is written: `ctx.wait_until(async move { .. })`;\nor make it a private `async fn` and pass its future to `ctx.wait_until(..)`",
};

pub(super) const SPAWN: Text = Text {
    message: "`{what}` in {function} starts a task that outlives its turn",
    help: "use `ctx.wait_until(async move { .. })`: it starts when the turn is durable, and the object stays awake for it",
};

pub(super) const THREAD: Text = Text {
    message: "`{what}` in {function} starts a thread that outlives its turn",
    help: "use `ctx.wait_until(async move { .. })`, and `tokio::task::spawn_blocking` inside it for long computations;\nthe object itself belongs to one turn at a time and cannot be reached from another thread",
};

pub(super) const SLEEP: Text = Text {
    message: "`{what}` in {function} waits, and every other caller of the object waits with it",
    help: "to be woken later, call `ctx.set_alarm(After(..))` and write an `alarm` handler;\nto wait in the background, use `ctx.wait_until(async move { .. })`",
};

pub(super) const BLOCK_ON: Text = Text {
    message: "`{what}` in {function} blocks on a future, and every other caller of the object with it",
    help: "return first and await the future in `ctx.wait_until(async move { .. })`, or in an async handler",
};

pub(super) const STATIC_STATE: Text = Text {
    message: "`{what}` in {function} keeps state that all objects of the process share and that a restart loses",
    help: "keep what must last in the database (`ctx.sql()`, `ctx.kv()`), and what may be lost in a field of the object;\nwhat all objects share goes into the environment: `ctx.env::<T>()`",
};
