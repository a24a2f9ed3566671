//! The same on a real journal, whose flush is in the hands of the test: what the disk has not confirmed nobody
//! sees.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::engine::held::HeldDisk;
use crate::engine::{Catalogue, Directory, JournaledEngine, OnDamage, WriteLimits};

struct HeldBed {
    disk: HeldDisk,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl HeldBed {
    fn new() -> Self {
        let (directory, disk) = (tempfile::tempdir().unwrap(), HeldDisk::default());
        let clock: crate::time::Clock = Arc::new(|| SystemTime::UNIX_EPOCH);
        let locked = Directory::open(directory.path()).unwrap();
        let catalogue = Arc::new(Catalogue::open(directory.path()).unwrap());
        let (held, limits) = (Arc::new(disk.clone()), WriteLimits::default());
        let damage = OnDamage::Refuse;
        let engine =
            JournaledEngine::open(locked, held, Arc::clone(&clock), limits, damage, catalogue);
        let node = node(Arc::new(engine.unwrap()), Time::manual(clock));
        HeldBed {
            disk,
            runtime: Runtime::new(node, directory.path().into()),
            _directory: directory,
        }
    }

    fn object(&self, name: &str) -> RawStub<Counter> {
        self.runtime.get::<Counter>(name)
    }
}

impl Drop for HeldBed {
    /// The end of the journal waits for its flush, also after a test that failed.
    fn drop(&mut self) {
        self.disk.release();
    }
}

/// Commits, and then calls another object.
fn tells_another(this: Handle<Counter>) -> BoxFuture<Result<()>> {
    Box::pin(async move {
        this.turn_unconfirmed(add).await?;
        call(&this.namespace::<Counter>().get_by_name("b"), add).await?;
        Ok(())
    })
}

/// Everything that an object can let out, begun while the flush is held back.
struct Begun {
    bed: HeldBed,
    write: Call<Counter, i64, Error>,
    read: Call<Counter, Option<i64>, Error>,
    failing: Call<Counter, (), Error>,
    /// Its turn starts a background future.
    background: Call<Counter, i64, Error>,
    has_started: Arc<AtomicBool>,
    handler: std::pin::Pin<Box<dyn Future<Output = Result<Response, CallError>>>>,
}

impl Begun {
    async fn new() -> Begun {
        let bed = HeldBed::new();
        let object = bed.object("a");
        assert_eq!(call(&object, add).await, Ok(1));
        bed.disk.hold();
        let has_started = Arc::new(AtomicBool::new(false));
        let starts = Arc::clone(&has_started);
        let mut begun = Begun {
            write: call(&object, add),
            read: call(&object, read),
            failing: call(&object, |_, _| Err(Error::other("on purpose"))),
            background: call(&object, move |object, ctx| {
                ctx.wait_until(async move { starts.store(true, Ordering::SeqCst) });
                add(object, ctx)
            }),
            has_started,
            handler: Box::pin(object.fetch(request(tells_another))),
            bed,
        };
        begun.assert_that_nothing_leaves();
        while !begun.bed.disk.holds_one() {
            tokio::task::yield_now().await;
        }
        settle().await;
        begun.assert_that_nothing_leaves();
        assert_eq!(begun.calls_of_b().await, 0);
        begun
    }

    fn assert_that_nothing_leaves(&mut self) {
        assert!(poll(&mut self.write).is_pending());
        assert!(poll(&mut self.read).is_pending());
        assert!(poll(&mut self.failing).is_pending());
        assert!(poll(&mut self.background).is_pending());
        assert!(poll(&mut self.handler).is_pending());
        assert!(!self.has_started());
    }

    fn has_started(&self) -> bool {
        self.has_started.load(Ordering::SeqCst)
    }

    /// Nothing is stored of it, so its own replies wait for nobody.
    async fn calls_of_b(&self) -> i64 {
        call(&self.bed.object("b"), |object, _| Ok(object.calls)).await.unwrap()
    }
}

#[tokio::test]
async fn while_a_flush_is_held_back_nothing_leaves() {
    let begun = Begun::new().await;
    begun.bed.disk.release();
    assert_eq!(begun.write.await, Ok(2));
    assert_eq!(begun.read.await, Ok(Some(2)));
    assert_eq!(begun.failing.await, Err(CallError::Application(Error::other("on purpose"))));
    assert_eq!(begun.background.await, Ok(3));
    assert_eq!(begun.handler.await.unwrap().status(), 200);
    assert_eq!(call(&begun.bed.object("b"), |object, _| Ok(object.calls)).await, Ok(1));
    begun.bed.runtime.shutdown().await.unwrap();
    assert!(begun.has_started.load(Ordering::SeqCst));
}

#[tokio::test]
async fn after_a_flush_that_failed_nothing_ever_leaves() {
    fn is_lost<R: std::fmt::Debug, E: std::fmt::Debug>(outcome: &Result<R, CallError<E>>) {
        assert!(matches!(outcome, Err(CallError::StorageFailed(_))), "{outcome:?}");
    }
    let mut begun = Begun::new().await;
    begun.bed.disk.fail();
    is_lost(&(&mut begun.write).await);
    is_lost(&(&mut begun.read).await);
    is_lost(&(&mut begun.failing).await);
    is_lost(&(&mut begun.background).await);
    is_lost(&(&mut begun.handler).await);
    settle().await;
    assert!(!begun.has_started());
    assert_eq!(begun.calls_of_b().await, 0);
    is_lost(&call(&begun.bed.object("a"), read).await);
    begun.bed.disk.release();
    is_lost(&call(&begun.bed.object("a"), read).await);
}
