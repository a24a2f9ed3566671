//! Async work in the places where it is allowed.

use durable::prelude::*;
use std::time::Duration;

#[derive(Default)]
pub struct Mailer;

#[durable_object]
impl Mailer {
    pub fn send(&mut self, ctx: &Context, to: String) {
        ctx.wait_until(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::spawn(async move { drop(to) }).await.ok();
        });
        ctx.wait_until(Self::deliver(1));
    }

    // Private async functions are the user's own.
    async fn deliver(_count: u8) {
        std::future::ready(()).await;
        std::thread::sleep(Duration::ZERO);
    }

    // Names that only look like the forbidden ones.
    pub fn harmless(&self) -> String {
        static NAME: &str = "mailer";
        NAME.to_owned()
    }

    fn plain(&self) -> u8 {
        async fn later() -> u8 {
            std::future::ready(1).await
        }
        drop(later());
        1
    }
}
