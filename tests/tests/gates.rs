//! `block_concurrency_while`: who waits, who passes, and what becomes of a gate that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable::prelude::*;
use durable::{Error, ErrorKind, GateHandle};
use durable_tests::{Bed, finish, matrix, now, poll_once};
use tokio::sync::{Notify, mpsc, oneshot};

/// What happened, in order, in all objects of a test.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn add(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Lets the test hold a gate closed.
#[derive(Clone, Default)]
struct Latch(Arc<Notify>);

/// How the constructor of [`Loader`] loads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loading {
    Works,
    FailsOnce,
}

async fn snow(latch: Latch) -> Result<()> {
    latch.0.notified().await;
    panic!("it snows")
}

#[derive(Default)]
struct Room {
    visits: usize,
}

#[durable_object]
impl Room {
    pub fn visit(&mut self, ctx: &Context, who: &str) -> Result<usize> {
        if let Ok(journal) = ctx.env::<Journal>() {
            journal.add(format!("visit {who}"));
        }
        self.visits += 1;
        Ok(self.visits)
    }

    pub fn put(&mut self, ctx: &Context, value: u32) -> Result<()> {
        ctx.kv().put("value", &value)
    }

    pub fn value(&self, ctx: &Context) -> Result<Option<u32>> {
        ctx.kv().get("value")
    }

    /// Closes the gate until the test opens it.
    pub fn close(&mut self, ctx: &Context<Self>) -> Result<()> {
        let (latch, journal) = (ctx.env::<Latch>()?.clone(), ctx.env::<Journal>()?.clone());
        ctx.block_concurrency_while(|gate| async move {
            journal.add("closed");
            gate.turn(|room: &mut Room, ctx| room.visit(ctx, "inside").map(drop)).await?;
            latch.0.notified().await;
            gate.turn(|room: &mut Room, ctx| room.visit(ctx, "inside again").map(drop)).await?;
            journal.add("opens");
            Ok::<_, Error>(())
        });
        Ok(())
    }

    /// Two gates of one turn.
    pub fn close_twice(&mut self, ctx: &Context<Self>) -> Result<()> {
        for which in ["first", "second"] {
            let journal = ctx.env::<Journal>()?.clone();
            ctx.block_concurrency_while(move |gate: GateHandle<Room>| async move {
                journal.add(format!("{which} begins"));
                gate.turn(|_, _| Ok::<_, Error>(())).await?;
                tokio::task::yield_now().await;
                journal.add(format!("{which} ends"));
                Ok::<_, Error>(())
            });
        }
        Ok(())
    }

    /// A turn inside a gate closes another one.
    pub fn nest(&mut self, ctx: &Context<Self>) -> Result<()> {
        let journal = ctx.env::<Journal>()?.clone();
        ctx.block_concurrency_while(|gate| async move {
            let inner_journal = journal.clone();
            gate.turn(move |_, ctx| {
                ctx.block_concurrency_while(|inner| async move {
                    inner_journal.add("inner begins");
                    inner.turn(|room: &mut Room, ctx| room.visit(ctx, "inner").map(drop)).await?;
                    inner_journal.add("inner ends");
                    Ok::<_, Error>(())
                });
                Ok::<_, Error>(())
            })
            .await?;
            gate.turn(|room: &mut Room, ctx| room.visit(ctx, "outer").map(drop)).await?;
            journal.add("outer ends");
            Ok::<_, Error>(())
        });
        Ok(())
    }

    /// A gate that is not even closed, since the turn fails.
    pub fn close_and_fail(&mut self, ctx: &Context<Self>) -> Result<()> {
        self.close(ctx)?;
        Err(Error::other("no"))
    }

    /// Stays closed for ever, if the runtime lets it.
    pub fn close_for_ever(&mut self, ctx: &Context<Self>) -> Result<()> {
        self.visits += 1;
        ctx.block_concurrency_while(|_| std::future::pending::<Result<()>>());
        Ok(())
    }

    pub fn gate_fails(&mut self, ctx: &Context<Self>) -> Result<()> {
        self.visits += 1;
        let latch = ctx.env::<Latch>()?.clone();
        ctx.block_concurrency_while(|_| async move {
            latch.0.notified().await;
            Err::<(), _>("it rains")
        });
        Ok(())
    }

    pub fn gate_panics(&mut self, ctx: &Context<Self>) -> Result<()> {
        let latch = ctx.env::<Latch>()?.clone();
        ctx.block_concurrency_while(|_| snow(latch));
        Ok(())
    }

    pub fn handle(&self, ctx: &Context<Self>) -> Result<()> {
        let sender = ctx.env::<mpsc::UnboundedSender<Handle<Room>>>()?;
        sender.send(ctx.handle()).map_err(Error::other)
    }

    /// Calls back into the room named by the path, on behalf of whoever asks.
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let name = request.uri().path().trim_start_matches('/').to_owned();
        let room = this.namespace::<Room>().get_by_name(&name);
        let answer = match room.visit("by way of another").await {
            Ok(visits) => visits.to_string(),
            Err(error) => error.to_string(),
        };
        Ok(Response::new(answer.into_bytes().into()))
    }
}

/// Loads something before its first call.
struct Loader {
    loaded: Option<&'static str>,
}

#[durable_object]
impl Loader {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        let plan = ctx.env::<Arc<Mutex<Loading>>>()?.clone();
        ctx.block_concurrency_while(|gate| async move {
            tokio::task::yield_now().await;
            let failing =
                std::mem::replace(&mut *plan.lock().unwrap(), Loading::Works) == Loading::FailsOnce;
            if failing {
                return Err(Error::other("nothing to load"));
            }
            gate.turn(|loader: &mut Loader, _| {
                loader.loaded = Some("loaded");
                Ok(())
            })
            .await
        });
        Ok(Loader { loaded: None })
    }

    pub fn loaded(&self) -> String {
        self.loaded.unwrap_or("nothing").to_owned()
    }

    pub fn panic(&mut self) {
        panic!("not today")
    }
}

struct Setup {
    runtime: Runtime,
    room: RoomStub,
    latch: Latch,
    journal: Journal,
    handles: mpsc::UnboundedReceiver<Handle<Room>>,
}

impl Setup {
    async fn new(bed: &Bed) -> Self {
        Setup::with(bed.builder()).await
    }

    async fn with(builder: durable::Builder) -> Self {
        let (latch, journal) = (Latch::default(), Journal::default());
        let (sender, handles) = mpsc::unbounded_channel();
        let builder =
            builder.register::<Room>().env(latch.clone()).env(journal.clone()).env(sender);
        let runtime = builder.start().await.unwrap();
        let room = runtime.get::<Room>("a");
        Setup { runtime, room, latch, journal, handles }
    }

    async fn handle(&mut self) -> Handle<Room> {
        self.room.handle().await.unwrap();
        self.handles.recv().await.unwrap()
    }
}

fn reason<E: std::fmt::Debug>(error: CallError<E>) -> String {
    match error {
        CallError::Reset { reason, started: false } => reason,
        other => panic!("{other:?}"),
    }
}

matrix! {
    async fn a_closed_gate_keeps_all_others_waiting_in_order(bed) {
        let Setup { runtime, room, latch, journal, .. } = Setup::new(&bed).await;
        room.close().await.unwrap();
        let mut visits: Vec<_> = ["b", "c", "d"].iter().map(|who| room.visit(who)).collect();
        let polls: Vec<_> = visits.iter_mut().map(poll_once).collect();
        assert!(polls.iter().all(std::task::Poll::is_pending));
        latch.0.notify_one();
        for (visit, number) in visits.into_iter().zip(3..) {
            assert_eq!(visit.await.unwrap(), number);
        }
        let expected =
            ["closed", "visit inside", "visit inside again", "opens", "visit b", "visit c", "visit d"];
        assert_eq!(journal.entries(), expected);
        runtime.shutdown().await.unwrap();
    }

    async fn a_deletion_that_nobody_waits_for_any_more_is_not_made(bed) {
        let Setup { runtime, room, latch, .. } = Setup::new(&bed).await;
        room.put(7).await.unwrap();
        room.close().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let id = rooms.id_from_name("a").unwrap();
        let mut deletion = Box::pin(rooms.delete(&id));
        assert!(poll_once(&mut deletion).is_pending(), "the gate is closed");
        drop(deletion);
        latch.0.notify_one();
        assert_eq!(room.value().await.unwrap(), Some(7));
        runtime.shutdown().await.unwrap();
    }

    async fn a_constructor_loads_before_the_first_call(bed) {
        let plan = Arc::new(Mutex::new(Loading::Works));
        let builder = bed.builder().register::<Loader>().env(plan.clone());
        let runtime = builder.start().await.unwrap();
        let loader = runtime.get::<Loader>("a");
        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(loader.loaded())).collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), "loaded");
        }
        loader.panic().await.unwrap_err();
        assert_eq!(loader.loaded().await.unwrap(), "loaded", "the fresh instance loads, too");
        *plan.lock().unwrap() = Loading::FailsOnce;
        loader.panic().await.unwrap_err();
        let failed = loader.loaded().await.unwrap_err();
        assert!(failed.is_retryable());
        assert!(reason(failed).contains("nothing to load"));
        assert_eq!(loader.loaded().await.unwrap(), "loaded");
        runtime.shutdown().await.unwrap();
    }

    async fn a_handle_gets_what_the_code_behind_the_gate_gives(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        let room = setup.room.clone();
        let (inside, was_inside) = oneshot::channel();
        let latch = setup.latch.clone();
        let blocked = tokio::spawn(async move {
            let result: Result<usize> = handle.block_concurrency_while(|gate| async move {
                let _ = inside.send(());
                latch.0.notified().await;
                gate.turn(|room: &mut Room, ctx| room.visit(ctx, "inside")).await
            }).await;
            result
        });
        was_inside.await.unwrap();
        let mut visit = room.visit("outside");
        let poll = poll_once(&mut visit);
        assert!(poll.is_pending());
        setup.latch.0.notify_one();
        assert_eq!(blocked.await.unwrap().unwrap(), 1);
        assert_eq!(finish(poll, visit).await.unwrap(), 2);
    }

    async fn a_handle_whose_caller_is_gone_opens_the_gate_all_the_same(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        let (latch, (inside, was_inside)) = (setup.latch.clone(), oneshot::channel());
        let blocked = tokio::spawn(async move {
            let _: Result<()> = handle.block_concurrency_while(|_| async move {
                let _ = inside.send(());
                latch.0.notified().await;
                Ok(())
            }).await;
        });
        was_inside.await.unwrap();
        blocked.abort();
        setup.latch.0.notify_one();
        assert_eq!(setup.room.visit("outside").await.unwrap(), 1);
    }

    async fn gates_of_one_turn_follow_each_other(bed) {
        let setup = Setup::new(&bed).await;
        setup.room.close_twice().await.unwrap();
        setup.room.visit("b").await.unwrap();
        let expected = ["first begins", "first ends", "second begins", "second ends", "visit b"];
        assert_eq!(setup.journal.entries(), expected);
    }

    async fn a_gate_inside_a_gate_comes_first(bed) {
        let setup = Setup::new(&bed).await;
        setup.room.nest().await.unwrap();
        setup.room.visit("b").await.unwrap();
        let expected =
            ["inner begins", "visit inner", "inner ends", "visit outer", "outer ends", "visit b"];
        // The inner gate opens after its last line; the outer one's turn waits for that.
        assert_eq!(setup.journal.entries(), expected);
    }

    async fn a_turn_that_fails_closes_no_gate(bed) {
        let setup = Setup::new(&bed).await;
        setup.room.close_and_fail().await.unwrap_err();
        assert_eq!(setup.room.visit("b").await.unwrap(), 1);
        assert_eq!(setup.journal.entries(), ["visit b"]);
    }

    async fn a_gate_that_fails_resets_the_object(bed) {
        let setup = Setup::new(&bed).await;
        setup.room.put(7).await.unwrap();
        setup.room.gate_fails().await.unwrap();
        let mut waiting = setup.room.visit("b");
        assert!(poll_once(&mut waiting).is_pending());
        setup.latch.0.notify_one();
        let failed = waiting.await.unwrap_err();
        assert!(failed.is_retryable());
        assert!(reason(failed).contains("it rains"));
        assert_eq!(setup.room.visit("b").await.unwrap(), 1, "a fresh instance");
        assert_eq!(setup.room.value().await.unwrap(), Some(7), "with the data of before");

        setup.room.gate_panics().await.unwrap();
        let mut waiting = setup.room.visit("b");
        assert!(poll_once(&mut waiting).is_pending());
        setup.latch.0.notify_one();
        assert!(reason(waiting.await.unwrap_err()).contains("it snows"));
        setup.runtime.shutdown().await.unwrap();
    }

    async fn a_handle_gets_the_error_of_the_code_behind_the_gate(bed) {
        let mut setup = Setup::new(&bed).await;
        setup.room.visit("a").await.unwrap();
        let handle = setup.handle().await;
        let failed: Result<()> =
            handle.block_concurrency_while(|_| async { Err(Error::other("it rains")) }).await;
        assert_eq!(failed.unwrap_err(), Error::other("it rains"));
        assert_eq!(setup.room.visit("b").await.unwrap(), 1, "a fresh instance");
    }

    async fn a_gate_over_its_limit_resets_the_object(bed) {
        let mut setup = Setup::with(bed.builder().gate_limit(Duration::from_millis(1))).await;
        setup.room.close_for_ever().await.unwrap();
        let failed = reason(setup.room.visit("b").await.unwrap_err());
        assert!(failed.contains("longer than 1ms"), "{failed}");
        assert_eq!(setup.room.visit("b").await.unwrap(), 1);
        let handle = setup.handle().await;
        let failed: Result<()> =
            handle.block_concurrency_while(|_| std::future::pending()).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Reset);
        assert!(failed.message().contains("longer than 1ms"), "{failed}");
        setup.runtime.shutdown().await.unwrap();
    }

    async fn an_object_with_a_closed_gate_is_not_evicted_and_shutdown_waits(bed) {
        let Setup { runtime, room, latch, journal, .. } = Setup::new(&bed).await;
        room.close().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        assert!(!rooms.evict(&rooms.id_from_name("a").unwrap()).unwrap());
        let mut visit = room.visit("b");
        assert!(poll_once(&mut visit).is_pending());
        let mut shutdown = Box::pin(runtime.shutdown());
        for _ in 0..100 {
            assert!(poll_once(&mut shutdown).is_pending());
            tokio::task::yield_now().await;
        }
        latch.0.notify_one();
        shutdown.await.unwrap();
        assert_eq!(visit.await.unwrap(), 3, "who waited is answered");
        assert_eq!(journal.entries().last().unwrap(), "visit b");
    }

    async fn the_last_runtime_may_go_while_a_gate_is_closed(bed) {
        let Setup { runtime, room, latch, .. } = Setup::new(&bed).await;
        room.close().await.unwrap();
        drop(runtime);
        assert_eq!(now(room.visit("b")), Err(CallError::ShutDown));
        latch.0.notify_one();
        // Whoever opens the gate drops the instance, which holds the directory.
        let _ = loop {
            match bed.builder().start().await {
                Err(error) if error.kind() == ErrorKind::Locked => tokio::task::yield_now().await,
                started => break started.unwrap(),
            }
        };
    }

    async fn a_call_past_the_own_gate_is_a_deadlock(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        let (room, outer) = (setup.room.clone(), handle.clone());
        let result: Result<()> = handle.block_concurrency_while(|gate| async move {
            let CallError::Deadlock(way) = room.visit("myself").await.unwrap_err() else { panic!() };
            assert_eq!(way, r#"Room "a" -> Room "a""#);
            let turn: Result<()> = outer.turn(|_, _| Ok(())).await;
            assert_eq!(turn.unwrap_err().kind(), ErrorKind::Deadlock);
            // Other objects are free, and so is the way through the gate.
            gate.namespace::<Room>().get_by_name("b").visit("a").await.unwrap();
            gate.turn(|_, _| Ok(())).await
        }).await;
        result.unwrap();
        assert_eq!(setup.room.visit("b").await.unwrap(), 1);
    }

    async fn a_deadlock_by_way_of_another_object_names_the_way(bed) {
        let mut setup = Setup::new(&bed).await;
        let handle = setup.handle().await;
        let answer: Result<Vec<u8>> = handle.block_concurrency_while(|gate| async move {
            let other = gate.namespace::<Room>().get_by_name("b");
            let request = http::Request::get("/a").body(durable::Body::empty()).unwrap();
            let response = other.fetch(request).await.unwrap();
            Ok(response.into_body().collect_up_to(1_000).await?.to_vec())
        }).await;
        let answer = String::from_utf8(answer.unwrap()).unwrap();
        assert!(answer.ends_with(r#"Room "a" -> Room "b" -> Room "a""#), "{answer}");
    }

    async fn who_does_not_hold_the_gate_waits_for_it(bed) {
        // The same way, but the handler in the middle works for somebody else.
        let setup = Setup::new(&bed).await;
        setup.room.close().await.unwrap();
        let other = setup.runtime.get::<Room>("b");
        let request = http::Request::get("/a").body(durable::Body::empty()).unwrap();
        let visit = tokio::spawn(other.fetch(request));
        setup.latch.0.notify_one();
        let body = visit.await.unwrap().unwrap().into_body();
        assert_eq!(body.collect_up_to(10).await.unwrap(), "3");
    }
}

#[test]
fn a_call_counts_until_it_is_answered() {
    durable_tests::on_one_thread(async {
        let bed = Bed::new(durable_tests::Form::Moved);
        let setup = Setup::with(bed.builder().queue_limit(3)).await;
        setup.room.visit("a").await.unwrap();
        // Each turn has run and waits for the disk at most; none is polled again.
        let mut calls: Vec<_> = (0..3).map(|_| setup.room.put(1)).collect();
        let polls: Vec<_> = calls.iter_mut().map(poll_once).collect();
        if polls.iter().all(std::task::Poll::is_pending) {
            assert_eq!(now(setup.room.put(1)), Err(CallError::Overloaded { queued: 3 }));
        }
        for (poll, call) in polls.into_iter().zip(calls) {
            finish(poll, call).await.unwrap();
        }
        setup.room.put(1).await.unwrap();
        let mut dropped: Vec<_> = (0..3).map(|_| setup.room.put(1)).collect();
        let _ = dropped.iter_mut().map(poll_once).count();
        drop(dropped);
        setup.room.put(1).await.unwrap();
    });
}
