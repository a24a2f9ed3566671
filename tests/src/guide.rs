//! What the examples of the documentation run on, so that each shows its own few lines.

use std::future::Future;

use durable::Builder;
use durable::prelude::*;

/// Any object will do.
#[derive(Default)]
struct Anything;

type Code = Box<dyn Fn(&Context) -> Result<()> + Send + Sync>;

#[durable_object(crate = durable)]
impl Anything {
    pub fn run(&mut self, ctx: &Context) -> Result<()> {
        ctx.env::<Code>()?(ctx)
    }
}

/// Runs code as a turn of a fresh object.
pub fn in_a_turn(code: impl Fn(&Context) -> Result<()> + Send + Sync + 'static) {
    let code: Code = Box::new(code);
    with_runtime(|builder| async move {
        let runtime = builder.env(code).register::<Anything>().start().await?;
        runtime.get::<Anything>("example").run().await?;
        runtime.shutdown().await
    });
}

/// Runs code with the builder of a runtime on a directory of its own.
pub fn with_runtime<F: Future<Output = std::result::Result<(), Error>>, Error: std::fmt::Debug>(
    code: impl FnOnce(Builder) -> F,
) {
    let directory = tempfile::tempdir().unwrap();
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    executor.unwrap().block_on(code(Runtime::builder(directory.path()))).unwrap();
}
