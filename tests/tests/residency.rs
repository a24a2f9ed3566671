//! Who stays in memory, for how long, and what shutting down does not wait for.

use std::sync::Arc;
use std::time::Duration;

use durable::Body;
use durable::prelude::*;
use durable::testing::TestRuntime;
use durable_tests::{matrix, on_one_thread, poll_once};
use tokio::sync::{Notify, mpsc};

/// Reports when it is dropped.
struct Witness(&'static str, mpsc::UnboundedSender<&'static str>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

type Reports = mpsc::UnboundedSender<&'static str>;

struct Guest {
    _witness: Witness,
}

#[durable_object]
impl Guest {
    fn new(ctx: &Context) -> Result<Self> {
        let report = if ctx.name() == Some("a") { "evicted" } else { "other evicted" };
        Ok(Guest { _witness: Witness(report, ctx.env::<Reports>()?.clone()) })
    }

    pub fn ping(&self) -> u8 {
        1
    }

    pub fn put(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("key", &1)
    }

    /// Waits in the background until the test lets it.
    pub fn linger(&mut self, ctx: &Context<Self>) -> Result<()> {
        let (latch, reports) = (ctx.env::<Arc<Notify>>()?.clone(), ctx.env::<Reports>()?.clone());
        ctx.wait_until(async move {
            let _witness = Witness("background", reports.clone());
            let _ = reports.send("background began");
            latch.notified().await;
        });
        Ok(())
    }

    pub fn panic_in_the_background(&mut self, ctx: &Context<Self>) -> Result<()> {
        let witness = Witness("background", ctx.env::<Reports>()?.clone());
        ctx.wait_until(async move {
            let _witness = witness;
            panic!("not today")
        });
        Ok(())
    }

    pub fn close_for_ever(&mut self, ctx: &Context<Self>) -> Result<()> {
        let witness = Witness("gate", ctx.env::<Reports>()?.clone());
        ctx.block_concurrency_while(|_| async move {
            let _witness = witness;
            std::future::pending::<Result<()>>().await
        });
        Ok(())
    }

    async fn fetch(this: Handle<Self>, _: Request) -> Result<Response> {
        let (latch, reports) = (this.env::<Arc<Notify>>()?.clone(), this.env::<Reports>()?.clone());
        let _witness = Witness("handler", reports.clone());
        let _ = reports.send("handler began");
        latch.notified().await;
        Ok(Response::new(Body::empty()))
    }
}

struct Setup {
    runtime: Runtime,
    guest: GuestStub,
    reports: mpsc::UnboundedReceiver<&'static str>,
    latch: Arc<Notify>,
}

impl Setup {
    async fn new(builder: durable::Builder) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let latch = Arc::new(Notify::new());
        let builder = builder.register::<Guest>().env(sender).env(latch.clone());
        let runtime = builder.start().await.unwrap();
        let guest = runtime.get::<Guest>("a");
        Setup { runtime, guest, reports, latch }
    }

    fn evict(&self) -> bool {
        let guests = self.runtime.namespace::<Guest>();
        guests.evict(&guests.id_from_name("a").unwrap()).unwrap()
    }

    /// Evicts the object once whoever works in it has left.
    async fn evicted(&mut self) {
        while !self.evict() {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.reports.recv().await, Some("evicted"));
    }

    fn fetch(&self) -> durable::Fetch {
        self.guest.fetch(http::Request::get("/").body(Body::empty()).unwrap())
    }
}

matrix! {
    async fn an_object_that_nobody_uses_is_evicted_and_comes_back(bed) {
        let mut setup = Setup::new(bed.builder().idle_limit(Duration::from_millis(4))).await;
        for _ in 0..3 {
            setup.guest.put().await.unwrap();
            assert_eq!(setup.reports.recv().await, Some("evicted"));
        }
        setup.runtime.shutdown().await.unwrap();
    }

    async fn an_object_at_work_is_not_evicted(bed) {
        let mut setup = Setup::new(bed.builder()).await;
        setup.guest.linger().await.unwrap();
        assert!(!setup.evict(), "not even before the future has begun");
        assert_eq!(setup.reports.recv().await, Some("background began"));
        assert!(!setup.evict());
        setup.latch.notify_one();
        assert_eq!(setup.reports.recv().await, Some("background"));
        setup.evicted().await;

        let fetch = tokio::spawn(setup.fetch());
        assert_eq!(setup.reports.recv().await, Some("handler began"));
        assert!(!setup.evict());
        setup.latch.notify_one();
        fetch.await.unwrap().unwrap();
        assert_eq!(setup.reports.recv().await, Some("handler"));
        setup.evicted().await;
    }

    async fn neither_idleness_nor_a_limit_evicts_who_is_at_work(bed) {
        let builder = bed.builder().idle_limit(Duration::from_millis(4)).resident_limit(1);
        let mut setup = Setup::new(builder).await;
        setup.guest.linger().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background began"));
        // Others come and go many times over.
        for round in 0..10 {
            setup.runtime.get::<Guest>(&round.to_string()).ping().await.unwrap();
            assert_eq!(setup.reports.recv().await, Some("other evicted"));
        }
        setup.latch.notify_one();
        assert_eq!(setup.reports.recv().await, Some("background"), "it was not evicted before");
        assert_eq!(setup.reports.recv().await, Some("evicted"));
    }

    async fn a_panic_in_the_background_hurts_nobody(bed) {
        let mut setup = Setup::new(bed.builder()).await;
        setup.guest.panic_in_the_background().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background"));
        assert_eq!(setup.guest.ping().await.unwrap(), 1);
        setup.evicted().await;
        setup.runtime.shutdown().await.unwrap();
    }

    async fn a_background_future_over_its_limit_is_dropped(bed) {
        let mut setup = Setup::new(bed.builder().background_limit(Duration::from_millis(1))).await;
        setup.guest.linger().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background began"));
        assert_eq!(setup.reports.recv().await, Some("background"));
        assert_eq!(setup.guest.ping().await.unwrap(), 1);
        setup.evicted().await;
    }

    async fn a_shutdown_with_a_limit_drops_what_goes_on(bed) {
        let mut setup = Setup::new(bed.builder()).await;
        let fetch = tokio::spawn(setup.fetch());
        assert_eq!(setup.reports.recv().await, Some("handler began"));
        setup.guest.linger().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background began"));
        setup.runtime.get::<Guest>("gated").close_for_ever().await.unwrap();
        let mut waiting = setup.runtime.get::<Guest>("gated").ping();
        assert!(poll_once(&mut waiting).is_pending());
        setup.runtime.shutdown_within(Duration::ZERO).await.unwrap();
        assert_eq!(fetch.await.unwrap().unwrap_err(), CallError::ShutDown);
        assert_eq!(waiting.await, Err(CallError::ShutDown));
        let mut dropped = Vec::new();
        while let Ok(report) = setup.reports.try_recv() {
            dropped.push(report);
        }
        dropped.sort_unstable();
        assert_eq!(dropped, ["background", "evicted", "gate", "handler", "other evicted"]);
    }

    async fn a_shutdown_with_patience_is_a_shutdown(bed) {
        let mut setup = Setup::new(bed.builder()).await;
        setup.guest.linger().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background began"));
        setup.latch.notify_one();
        setup.runtime.shutdown_within(Duration::from_secs(3_600)).await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background"));
        assert_eq!(setup.guest.put().await, Err(CallError::ShutDown));
    }
}

/// Without anybody waiting for ten real seconds.
#[test]
fn idleness_is_counted_on_the_runtimes_clock() {
    on_one_thread(async {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let start = TestRuntime::start(move |builder| {
            builder.register::<Guest>().env(sender.clone()).idle_limit(Duration::from_hours(10))
        });
        let runtime = start.await.unwrap();
        let guest = runtime.get::<Guest>("a");
        guest.ping().await.unwrap();
        runtime.advance(Duration::from_secs(10 * 3_600 - 1)).await.unwrap();
        assert!(reports.try_recv().is_err());
        // It is looked at four times within the limit.
        runtime.advance(Duration::from_secs(2 * 3_600 + 1_801)).await.unwrap();
        assert_eq!(reports.try_recv(), Ok("evicted"));
        assert_eq!(guest.ping().await.unwrap(), 1);
    });
}
