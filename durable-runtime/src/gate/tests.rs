//! What leaves an object and when, on an engine whose commits become durable when the test says so.

mod closed;
mod disk;
mod messages;
mod sockets;

use std::any::TypeId;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::engine::Engine;
use crate::engine::fake::Fake;
use crate::harness::Harness;
use crate::instance::pace::PaceLimit;
use crate::instance::registry::{AnyClass, Class};
use crate::instance::turn::Form;
use crate::node::{Environment, Node, Settings};
use crate::object::{BoxFuture, DurableObject, Handler, Handlers, MigrationInfo};
use crate::rpc::{MethodDescription, WireReply};
use crate::socket::shared::SocketLimits;
use crate::stub::RawStub;
use crate::time::Time;
use crate::wire::{Decoder, WireError};
use crate::{
    Body, Call, CallError, Context, Error, ErrorKind, Handle, Request, Response, Result, Rollback,
    Runtime,
};

/// Counts its calls in a field and under the key `n`.
#[derive(Default)]
struct Counter {
    calls: i64,
}

type Script = fn(Handle<Counter>) -> BoxFuture<Result<()>>;

impl DurableObject for Counter {
    type Stub = RawStub<Counter>;

    const CLASS: &'static str = "Counter";
    const FORMER_CLASSES: &'static [&'static str] = &[];
    const METHODS: &'static [MethodDescription] = &[];
    const MIGRATIONS: &'static [MigrationInfo] = &[MigrationInfo {
        number: 1,
        name: "create",
        checksum: 1,
        sql: &[],
        apply: |db| db.execute_batch("CREATE TABLE t (x)"),
    }];
    const HANDLERS: Handlers<Self> = Handlers {
        fetch: Some(Handler::Async(run_script)),
        websocket_message: Some(Handler::Async(sockets::handle_message)),
        ..Handlers::NONE
    };

    fn construct(ctx: &Context<Self>) -> Result<Self> {
        if ctx.name() == Some("forgetful") {
            ctx.delete_all()?;
        }
        if ctx.name() == Some("forgetful loader") {
            ctx.delete_all()?;
            ctx.block_concurrency_while(|_| async {
                let _loading = closed::Loading::begin();
                std::future::pending::<Result<()>>().await
            });
        }
        Ok(Counter::default())
    }

    /// Only messages come this way.
    fn dispatch(
        &mut self,
        ctx: &Context<Self>,
        method: &str,
        _: &mut Decoder<'_>,
    ) -> Result<WireReply, WireError> {
        let unknown = || WireError::UnknownMethod(method.into());
        if method == "add unconfirmed" {
            ctx.allow_unconfirmed();
        }
        let is_add = method.starts_with("add");
        let added = is_add.then(|| add(self, ctx)).ok_or_else(unknown)?;
        added.map(|_| WireReply::Ok(Vec::new())).map_err(|_| unknown())
    }

    fn stub(raw: RawStub<Self>) -> RawStub<Counter> {
        raw
    }
}

/// Has the object reset by somebody else in the turn that starts the handler.
#[derive(Clone)]
struct ResetFirst;

/// The handler does what the request carries.
fn run_script(this: Handle<Counter>, (request,): (Request,)) -> BoxFuture<Result<Response>> {
    if request.extensions().get::<ResetFirst>().is_some() {
        this.abort("meanwhile");
    }
    Box::pin(async move {
        let script = *request.extensions().get::<Script>().unwrap();
        script(this).await?;
        Ok(Response::new(Body::empty()))
    })
}

fn request(script: Script) -> Request {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(script);
    request
}

fn add(object: &mut Counter, ctx: &Context<Counter>) -> Result<i64> {
    object.calls += 1;
    let n = ctx.kv().get::<i64>("n")?.unwrap_or(0) + 1;
    ctx.kv().put("n", &n)?;
    Ok(n)
}

fn read(_: &mut Counter, ctx: &Context<Counter>) -> Result<Option<i64>> {
    ctx.kv().get("n")
}

fn node(engine: Arc<dyn Engine>, time: Time) -> Node {
    let class: Arc<dyn AnyClass> = Arc::new(Class::<Counter>::new("Counter".into()));
    let settings = Settings {
        limits: Arc::default(),
        environment: Environment::default(),
        time,
        form: Form::Moved,
        queue_max: 10,
        residents_max: 10,
        resident_bytes_max: usize::MAX,
        idle_limit: Duration::MAX,
        gate_limit: Duration::MAX,
        background_limit: Duration::MAX,
        long_turn: Duration::MAX,
        harness: Harness::default(),
        alarm_limit: Duration::MAX,
        pace: PaceLimit::default(),
        sockets: SocketLimits::default(),
    };
    let classes = HashMap::from([(TypeId::of::<Counter>(), class)]);
    Node::new(settings, engine, classes, tokio::runtime::Handle::current())
}

struct Bed {
    engine: Arc<Fake>,
    runtime: Runtime,
    seconds: Arc<AtomicU64>,
}

impl Bed {
    fn new() -> Self {
        let engine = Arc::new(Fake::default());
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&seconds);
        let clock =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
        let node = node(engine.clone(), Time::manual(Arc::new(clock)));
        Bed { engine, runtime: Runtime::new(node, "nowhere".into()), seconds }
    }

    /// Lets time pass.
    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
        let object = self.object("a");
        object.object().unwrap().node().settings.time.wake_due();
    }

    fn object(&self, name: &str) -> RawStub<Counter> {
        self.runtime.get::<Counter>(name)
    }

    /// The object `a`, awake.
    async fn awake(&self) -> RawStub<Counter> {
        let object = self.object("a");
        call(&object, |_, _| Ok(())).await.unwrap();
        object
    }
}

fn call<R: Send + 'static>(
    object: &RawStub<Counter>,
    code: impl FnOnce(&mut Counter, &Context<Counter>) -> Result<R> + Send + 'static,
) -> Call<Counter, R, Error> {
    object.turn("test", code)
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Task::from_waker(Waker::noop()))
}

/// Lets all other tasks get as far as they can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reply_leaves_when_what_it_may_have_seen_is_durable() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (mut write, mut look) = (call(&object, add), call(&object, read));
    assert!(poll(&mut write).is_pending());
    assert!(poll(&mut look).is_pending(), "a read gave away what is not durable");
    let mut failing = call(&object, |_, _| Err::<(), _>(Error::other("on purpose")));
    assert!(poll(&mut failing).is_pending());
    bed.engine.flush();
    assert_eq!(poll(&mut write), Poll::Ready(Ok(1)));
    assert_eq!(poll(&mut look), Poll::Ready(Ok(Some(1))));
    assert!(poll(&mut failing).is_ready());
    assert_eq!(poll(&mut call(&object, read)), Poll::Ready(Ok(Some(1))));
}

#[tokio::test]
async fn a_call_times_out_at_the_gate() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let after = Duration::from_secs(5);
    let mut late = call(&object, add).timeout(after);
    bed.pass(4);
    assert!(poll(&mut late).is_pending());
    bed.pass(4);
    assert!(poll(&mut late).is_pending());
    bed.pass(1);
    assert_eq!(poll(&mut late), Poll::Ready(Err(CallError::TimedOut { after, started: true })));
    // It ran all the same.
    bed.engine.flush();
    assert_eq!(call(&object, read).await, Ok(Some(1)));
}

#[tokio::test]
async fn what_can_not_become_durable_is_told() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut write = call(&object, add);
    assert!(poll(&mut write).is_pending());
    bed.engine.lose();
    let Poll::Ready(Err(CallError::StorageFailed(error))) = poll(&mut write) else {
        panic!("it must fail")
    };
    assert_eq!(error.message(), "the disk is lost");
}

#[tokio::test]
async fn a_commit_that_fails_opens_the_object_anew() {
    let bed = Bed::new();
    let object = bed.awake().await;
    bed.engine.fail_next_commit();
    let failed = call(&object, add).await.unwrap_err();
    assert!(matches!(failed, CallError::StorageFailed(_)), "{failed:?}");
    assert_eq!(bed.engine.opened(), 1);
    // Neither the field nor the database knows of the turn.
    assert_eq!(call(&object, |object, _| Ok(object.calls)).await, Ok(0));
    assert_eq!(call(&object, read).await, Ok(None));
    assert_eq!(bed.engine.opened(), 2);
}

#[tokio::test]
async fn a_turn_is_one_record() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut write = call(&object, |_, ctx| {
        for x in 0..50 {
            ctx.sql().execute("INSERT INTO t VALUES (?)", [x])?;
            ctx.kv().put(&x.to_string(), &x)?;
            ctx.transaction(|| ctx.kv().put_many([("a", x), ("b", x)]))?;
        }
        ctx.kv().delete_many(["a"])
    });
    assert!(poll(&mut write).is_pending());
    assert_eq!(bed.engine.commits(), 1);
    for nothing in [
        |_: &mut Counter, ctx: &Context<Counter>| ctx.kv().keys(..).map(Iterator::count),
        |_: &mut Counter, ctx: &Context<Counter>| {
            ctx.transaction(|| Rollback(ctx.kv().put("undone", &1)))??;
            Ok(0)
        },
    ] {
        let mut turn = call(&object, nothing);
        assert!(poll(&mut turn).is_pending(), "it has seen what is not durable");
        assert_eq!(bed.engine.commits(), 1);
    }
}

#[tokio::test]
async fn an_error_after_undone_writes_drops_the_instance() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let failed = call(&object, |object, ctx| {
        object.calls = 7;
        ctx.transaction(|| Rollback(ctx.kv().put("k", &1)))??;
        Err::<(), _>(Error::other("on purpose"))
    });
    failed.await.unwrap_err();
    assert_eq!(call(&object, |object, _| Ok(object.calls)).await, Ok(0));
    // With `Ok`, and where nothing was written, it stays.
    let kept = call(&object, |object, ctx| {
        object.calls = 8;
        ctx.transaction(|| Rollback(ctx.kv().put("k", &1)))?
    });
    kept.await.unwrap();
    let failed = call(&object, |_, _| Err::<(), _>(Error::other("on purpose")));
    failed.await.unwrap_err();
    assert_eq!(call(&object, |object, _| Ok(object.calls)).await, Ok(8));
}

#[tokio::test]
async fn an_instance_outlives_the_deletion_of_what_it_stored() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut write = call(&object, add);
    assert!(poll(&mut write).is_pending());
    let mut leave = call(&object, |_, ctx| ctx.delete_all());
    assert!(poll(&mut leave).is_pending());
    assert_eq!((bed.engine.deletions(), bed.engine.opened()), (1, 1));
    // The next turn finds a new database, migrated, and may not tell before the deletion is durable.
    let mut next = call(&object, |object, ctx| {
        let rows = ctx.sql().query_one::<i64>("SELECT count(*) FROM t", [])?;
        Ok((object.calls, rows, ctx.kv().get::<i64>("n")?))
    });
    assert!(poll(&mut next).is_pending());
    bed.engine.flush();
    assert_eq!(next.await, Ok((1, 0, None)));
    assert_eq!((bed.engine.commits(), bed.engine.opened()), (2, 2));
}

#[tokio::test]
async fn a_constructor_may_delete_what_is_stored() {
    let bed = Bed::new();
    let object = bed.object("forgetful");
    let mut count = pin!(call(&object, |_, ctx| ctx.sql().execute("INSERT INTO t VALUES (1)", [])));
    assert!(poll(&mut count).is_pending());
    settle().await;
    bed.engine.flush();
    assert_eq!(count.await, Ok(1));
}

#[tokio::test]
async fn a_turn_may_allow_its_reply_to_leave_at_once() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut write = call(&object, |object, ctx| {
        ctx.allow_unconfirmed();
        add(object, ctx)
    });
    assert_eq!(poll(&mut write), Poll::Ready(Ok(1)));
    assert_eq!(bed.engine.commits(), 1);
    // Only its own: the next one waits for both.
    let mut look = call(&object, read);
    assert!(poll(&mut look).is_pending());
    bed.engine.flush();
    assert_eq!(poll(&mut look), Poll::Ready(Ok(Some(1))));
}

/// Commits twice without waiting and says so by a call of its own.
fn unconfirmed(this: Handle<Counter>) -> BoxFuture<Result<()>> {
    Box::pin(async move {
        assert_eq!(this.turn_unconfirmed(add).await?, 1);
        assert_eq!(this.turn_unconfirmed(add).await?, 2);
        Ok(())
    })
}

#[tokio::test]
async fn the_reply_of_a_handler_waits_for_its_unconfirmed_turns() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut reply = pin!(object.fetch(request(unconfirmed)));
    assert!(poll(&mut reply).is_pending());
    settle().await;
    assert_eq!(bed.engine.commits(), 2, "the second turn waited for the first");
    assert!(poll(&mut reply).is_pending());
    bed.engine.flush();
    assert_eq!(reply.await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_reply_of_a_handler_tells_that_its_turns_are_lost() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut reply = pin!(object.fetch(request(unconfirmed)));
    assert!(poll(&mut reply).is_pending());
    settle().await;
    bed.engine.lose();
    assert!(matches!(reply.await, Err(CallError::StorageFailed(_))));
}

#[tokio::test]
async fn a_task_that_a_handler_spawns_counts_for_its_reply() {
    fn spawning(this: Handle<Counter>) -> BoxFuture<Result<()>> {
        Box::pin(async move {
            let handle = this.clone();
            tokio::spawn(async move { handle.turn_unconfirmed(add).await }).await.unwrap()?;
            Ok(())
        })
    }
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut reply = pin!(object.fetch(request(spawning)));
    assert!(poll(&mut reply).is_pending());
    settle().await;
    assert_eq!(bed.engine.commits(), 1);
    assert!(poll(&mut reply).is_pending());
    bed.engine.flush();
    assert_eq!(reply.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_to_another_object_waits_for_unconfirmed_turns() {
    fn calling(this: Handle<Counter>) -> BoxFuture<Result<()>> {
        Box::pin(async move {
            this.turn_unconfirmed(add).await?;
            let other = this.namespace::<Counter>().get_by_name("b");
            call(&other, add).await?;
            Ok(())
        })
    }
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut reply = pin!(object.fetch(request(calling)));
    assert!(poll(&mut reply).is_pending());
    settle().await;
    assert_eq!(bed.engine.commits(), 1, "the other object was called too early");
    bed.engine.flush();
    settle().await;
    assert_eq!(bed.engine.commits(), 2);
    bed.engine.flush();
    assert_eq!(reply.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_that_is_held_back_times_out_without_having_started() {
    fn calling(this: Handle<Counter>) -> BoxFuture<Result<()>> {
        Box::pin(async move {
            this.turn_unconfirmed(add).await?;
            let after = Duration::from_millis(1);
            let other = this.namespace::<Counter>().get_by_name("b");
            let late = call(&other, add).timeout(after).await.unwrap_err();
            assert_eq!(late, CallError::TimedOut { after, started: false });
            this.turn_unconfirmed(add).await?;
            Ok(())
        })
    }
    let bed = Bed::new();
    let object = bed.awake().await;
    let reply = tokio::spawn(object.fetch(request(calling)));
    settle().await;
    bed.pass(6);
    while bed.engine.commits() < 2 {
        tokio::task::yield_now().await;
    }
    bed.engine.flush();
    assert_eq!(reply.await.unwrap().unwrap().status(), 200);
    assert_eq!(call(&bed.object("b"), read).await, Ok(None));
}

#[tokio::test]
async fn a_call_counts_until_it_is_answered() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut calls: Vec<_> = (0..10).map(|_| call(&object, add)).collect();
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    let overloaded = Poll::Ready(Err(CallError::Overloaded { queued: 10 }));
    assert_eq!(poll(&mut call(&object, add)), overloaded);
    calls.pop();
    assert!(poll(&mut call(&object, add)).is_pending(), "one has gone");
    settle().await;
    bed.engine.flush();
    for (call, number) in calls.into_iter().zip(1..) {
        assert_eq!(call.await, Ok(number));
    }
    let mut more: Vec<_> = (0..10).map(|_| call(&object, add)).collect();
    assert!(more.iter_mut().all(|call| poll(call).is_pending()));
}

/// Its database cannot be opened after the constructor has deleted it and closed the gate. The next call must
/// not construct another instance, whose code would run beside the one behind the gate.
#[tokio::test]
async fn sync_waits_for_all_earlier_commits() {
    fn syncing(this: Handle<Counter>) -> BoxFuture<Result<()>> {
        Box::pin(async move {
            this.sync().await?;
            this.turn_unconfirmed(add).await?;
            this.sync().await?;
            this.turn_unconfirmed(add).await?;
            Ok(())
        })
    }
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut reply = pin!(object.fetch(request(syncing)));
    assert!(poll(&mut reply).is_pending());
    settle().await;
    assert_eq!(bed.engine.commits(), 1);
    bed.engine.flush();
    settle().await;
    assert_eq!(bed.engine.commits(), 2);
    bed.engine.lose();
    let Err(CallError::StorageFailed(error)) = reply.await else { panic!("it must fail") };
    assert_eq!(error.kind(), ErrorKind::Storage);
}

/// Its caller is told that nothing has started, and tries again.
#[tokio::test]
async fn a_handler_whose_first_turn_meets_a_reset_never_starts() {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut request = request(|_| {
        Box::pin(async {
            STARTED.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    });
    request.extensions_mut().insert(ResetFirst);
    let failed = object.fetch(request).await.unwrap_err();
    assert_eq!(failed, CallError::Reset { reason: "meanwhile".into(), started: false });
    assert!(failed.is_retryable());
    settle().await;
    assert_eq!(STARTED.load(Ordering::SeqCst), 0);
}
