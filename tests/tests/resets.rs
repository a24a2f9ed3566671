//! Objects that start over: `abort`, from inside a turn and from outside.

use std::sync::Arc;

use durable::prelude::*;
use durable::{Body, Error, ErrorKind};
use durable_tests::{Bed, Form, matrix, now, on_many_threads, on_one_thread, poll_once};
use tokio::sync::{Notify, mpsc};

/// Says when a handler or a background future is dropped.
struct Witness(&'static str, mpsc::UnboundedSender<&'static str>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

type Reports = mpsc::UnboundedSender<&'static str>;

/// Meeting points of a test with a turn that blocks its thread.
#[derive(Clone)]
struct Meeting {
    entered: Arc<std::sync::Barrier>,
    leave: Arc<std::sync::Barrier>,
}

impl Meeting {
    fn new() -> Self {
        let barrier = || Arc::new(std::sync::Barrier::new(2));
        Meeting { entered: barrier(), leave: barrier() }
    }
}

#[derive(Default)]
struct Account {
    in_memory: u32,
}

#[durable_object]
impl Account {
    pub fn put(&mut self, ctx: &Context, value: u32) -> Result<()> {
        self.in_memory = value;
        ctx.kv().put("value", &value)
    }

    /// What is stored, and what the instance remembers.
    pub fn values(&self, ctx: &Context) -> Result<(u32, u32)> {
        Ok((ctx.kv().get("value")?.unwrap_or(0), self.in_memory))
    }

    pub fn put_and_abort(&mut self, ctx: &Context, value: u32) -> Result<()> {
        self.put(ctx, value)?;
        Err(ctx.abort("the books do not balance"))
    }

    /// Does as if nothing were wrong.
    pub fn abort_and_go_on(&mut self, ctx: &Context, value: u32) -> Result<u32> {
        self.in_memory = value;
        let _ = ctx.abort("the books do not balance");
        let refused = ctx.kv().put("value", &value).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RolledBack);
        assert!(refused.message().contains("do not balance"), "{refused}");
        ctx.wait_until(async { panic!("it never starts") });
        Ok(value)
    }

    pub fn abort_and_panic(&mut self, ctx: &Context) {
        let _ = ctx.abort("the books do not balance");
        panic!("not today")
    }

    /// Blocks its thread, writes, and goes on when the test says so.
    pub fn hold(&mut self, ctx: &Context) -> Result<()> {
        self.put(ctx, 99)?;
        let meeting = ctx.env::<Meeting>()?;
        meeting.entered.wait();
        meeting.leave.wait();
        Ok(())
    }

    pub fn hold_and_abort(&mut self, ctx: &Context) -> Result<()> {
        self.hold(ctx)?;
        Err(ctx.abort("the books do not balance"))
    }

    /// Waits in the background, for ever.
    pub fn linger(&mut self, ctx: &Context<Self>) -> Result<()> {
        let reports = ctx.env::<Reports>()?.clone();
        ctx.wait_until(async move {
            let _witness = Witness("background", reports.clone());
            let _ = reports.send("background began");
            std::future::pending::<()>().await;
        });
        Ok(())
    }

    pub fn send_handle(&self, ctx: &Context<Self>) -> Result<()> {
        ctx.env::<mpsc::UnboundedSender<Handle<Account>>>()?
            .send(ctx.handle())
            .map_err(Error::other)
    }

    /// Makes a turn, then waits for ever; or aborts the object itself.
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let reports = this.env::<Reports>()?.clone();
        let _witness = Witness("handler", reports.clone());
        this.turn(|account: &mut Account, ctx| account.put(ctx, 5)).await?;
        let _ = reports.send("handler began");
        if request.uri().path() == "/abort" {
            this.abort("the handler gives up");
        }
        std::future::pending::<()>().await;
        Ok(Response::new(Body::empty()))
    }
}

/// Whose constructor aborts, as often as it is told.
struct Reluctant;

#[durable_object]
impl Reluctant {
    fn new(ctx: &Context) -> Result<Self> {
        let times = ctx.env::<Arc<std::sync::Mutex<u32>>>()?;
        let mut times = times.lock().unwrap();
        if *times > 0 {
            *times -= 1;
            return Err(ctx.abort("not yet"));
        }
        Ok(Reluctant)
    }

    pub fn ping(&self) -> u8 {
        1
    }
}

fn reset(reason: &str, started: bool) -> CallError<Error> {
    CallError::Reset { reason: reason.to_owned(), started }
}

fn get(path: &str) -> Request {
    http::Request::get(path).body(Body::empty()).unwrap()
}

struct Setup {
    runtime: Runtime,
    account: AccountStub,
    reports: mpsc::UnboundedReceiver<&'static str>,
    handles: mpsc::UnboundedReceiver<Handle<Account>>,
    meeting: Meeting,
}

impl Setup {
    async fn new(bed: &Bed) -> Self {
        let ((sender, reports), (handle_sender, handles)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let meeting = Meeting::new();
        let builder = bed.builder().register::<Account>();
        let builder = builder.env(sender).env(handle_sender).env(meeting.clone());
        let runtime = builder.start().await.unwrap();
        let account = runtime.get::<Account>("a");
        account.put(1).await.unwrap();
        Setup { runtime, account, reports, handles, meeting }
    }

    async fn handle(&mut self) -> Handle<Account> {
        self.account.send_handle().await.unwrap();
        self.handles.recv().await.unwrap()
    }
}

matrix! {
    async fn a_turn_that_aborts_leaves_nothing(bed) {
        let Setup { runtime, account, .. } = Setup::new(&bed).await;
        let failed = account.put_and_abort(2).await.unwrap_err();
        assert_eq!(failed, reset("the books do not balance", false));
        assert_eq!(account.values().await.unwrap(), (1, 0), "a fresh instance, the old data");
        account.put(3).await.unwrap();
        let failed = account.abort_and_go_on(4).await.unwrap_err();
        assert_eq!(failed, reset("the books do not balance", false));
        assert_eq!(account.values().await.unwrap(), (3, 0));
        let failed = account.abort_and_panic().await.unwrap_err();
        assert!(matches!(failed, CallError::Reset { .. }), "{failed:?}");
        runtime.shutdown().await.unwrap();
    }

    async fn an_abort_drops_handlers_and_background_futures_and_tells_their_callers(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        let fetch = tokio::spawn(setup.account.fetch(get("/")));
        assert_eq!(setup.reports.recv().await, Some("handler began"));
        setup.account.linger().await.unwrap();
        assert_eq!(setup.reports.recv().await, Some("background began"));
        handle.abort("somebody said so");
        let failed = fetch.await.unwrap().unwrap_err();
        assert_eq!(failed, CallError::Reset { reason: "somebody said so".into(), started: true });
        assert!(!failed.is_retryable(), "its first turn is stored");
        let mut dropped = [setup.reports.recv().await.unwrap(), setup.reports.recv().await.unwrap()];
        dropped.sort_unstable();
        assert_eq!(dropped, ["background", "handler"]);
        assert_eq!(setup.account.values().await.unwrap(), (5, 0), "stub and handle go on working");
        handle.turn(|account: &mut Account, ctx| account.put(ctx, 6)).await.unwrap();
        setup.runtime.shutdown().await.unwrap();
    }

    async fn a_handler_may_abort_its_own_object(bed) {
        let mut setup = Setup::new(&bed).await;
        let failed = setup.account.fetch(get("/abort")).await.unwrap_err();
        assert_eq!(failed, CallError::Reset { reason: "the handler gives up".into(), started: true });
        assert_eq!(setup.reports.recv().await, Some("handler began"));
        assert_eq!(setup.reports.recv().await, Some("handler"));
        assert_eq!(setup.account.values().await.unwrap(), (5, 0));
    }

    async fn a_constructor_that_aborts_is_tried_again(bed) {
        let times = Arc::new(std::sync::Mutex::new(1_u32));
        let runtime = bed.builder().register::<Reluctant>().env(times).start().await.unwrap();
        let stub = runtime.get::<Reluctant>("a");
        let failed = stub.ping().await.unwrap_err();
        assert_eq!(failed, CallError::Reset { reason: "not yet".into(), started: false });
        assert_eq!(stub.ping().await.unwrap(), 1);
    }

    async fn an_abort_of_an_object_that_rests_is_a_fresh_start(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        assert_eq!(setup.account.values().await.unwrap(), (1, 1));
        handle.abort("once");
        handle.abort("twice");
        assert_eq!(setup.account.values().await.unwrap(), (1, 0));
        setup.runtime.shutdown().await.unwrap();
        handle.abort("after the end");
        assert_eq!(now(setup.account.put(1)), Err(CallError::ShutDown));
    }
}

#[test]
fn an_abort_fails_the_turn_that_runs_and_all_that_wait() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        for from_outside in [true, false] {
            let holder = std::thread::spawn({
                let account = setup.account.clone();
                move || {
                    let mut outcome = None;
                    on_one_thread(async {
                        let call =
                            if from_outside { account.hold() } else { account.hold_and_abort() };
                        outcome = Some(call.await);
                    });
                    outcome.unwrap()
                }
            });
            setup.meeting.entered.wait();
            let mut waiting = [setup.account.put(7), setup.account.put(8)];
            assert!(waiting.iter_mut().all(|call| poll_once(call).is_pending()));
            let reason = if from_outside { "from outside" } else { "the books do not balance" };
            if from_outside {
                handle.abort(reason);
                for call in &mut waiting {
                    assert_eq!(call.await, Err(reset(reason, false)), "told before the turn ends");
                }
                setup.meeting.leave.wait();
            } else {
                setup.meeting.leave.wait();
                for call in &mut waiting {
                    assert_eq!(call.await, Err(reset(reason, false)));
                }
            }
            assert_eq!(holder.join().unwrap(), Err(reset(reason, false)));
            assert_eq!(setup.account.values().await.unwrap(), (1, 0), "nothing of it is stored");
        }
        setup.runtime.shutdown().await.unwrap();
    });
}

#[test]
fn an_abort_opens_a_closed_gate_and_says_why() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let notify = Arc::new(Notify::new());
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        // A turn of a task of the user's own: it is told, and lives on.
        let task = tokio::spawn({
            let (handle, notify) = (handle.clone(), notify.clone());
            async move {
                let result: Result<()> = handle
                    .block_concurrency_while(|_| async move {
                        notify.notify_one();
                        std::future::pending().await
                    })
                    .await;
                result
            }
        });
        notify.notified().await;
        handle.abort("enough");
        let failed = task.await.unwrap().unwrap_err();
        assert_eq!((failed.kind(), failed.message()), (ErrorKind::Reset, "enough"));
        assert_eq!(setup.account.values().await.unwrap(), (1, 0));
    });
}
