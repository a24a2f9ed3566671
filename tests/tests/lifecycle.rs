//! How objects and the runtime come and go: activation, eviction, shutdown, restart, background futures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durable::prelude::*;
use durable::{Error, ErrorKind};
use durable_tests::{Bed, Form, finish, matrix, poll_once};
use tokio::sync::mpsc;

/// Where objects report what they did.
type Reports = mpsc::UnboundedSender<String>;

#[derive(Default)]
struct Notes;

#[durable_object]
impl Notes {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE notes (text TEXT NOT NULL)")
    }

    pub fn add(&mut self, ctx: &Context, text: &str) -> Result<usize> {
        ctx.sql().execute("INSERT INTO notes VALUES (?)", [text])?;
        ctx.sql().query_one("SELECT count(*) FROM notes", [])
    }

    pub fn all(&self, ctx: &Context) -> Result<Vec<String>> {
        ctx.sql().query_all("SELECT text FROM notes ORDER BY rowid", [])
    }

    /// Adds a note and reports in the background; `fail` undoes both.
    pub fn add_and_report(&mut self, ctx: &Context<Self>, text: String, fail: bool) -> Result<()> {
        let reports = ctx.env::<Reports>()?.clone();
        let this = ctx.handle();
        let said = text.clone();
        ctx.wait_until(async move {
            let count = this.turn(|notes, ctx| Ok::<_, Error>(notes.all(ctx)?.len())).await;
            let _ = reports.send(format!("{said} {}", count.unwrap()));
        });
        self.add(ctx, &text)?;
        if fail { Err(Error::other("no")) } else { Ok(()) }
    }

    /// Goes on in the background until the test lets it.
    pub fn linger(&mut self, ctx: &Context<Self>) -> Result<()> {
        let latch = ctx.env::<Arc<tokio::sync::Notify>>()?.clone();
        let this = ctx.handle();
        ctx.wait_until(async move {
            latch.notified().await;
            let added: Result<usize> = this.turn(|notes, ctx| notes.add(ctx, "late")).await;
            added.unwrap();
        });
        Ok(())
    }

    /// Calls another object in the background: allowed, while a turn itself could not.
    pub fn call_later(&mut self, ctx: &Context, other: &str) {
        let other = ctx.namespace::<Notes>().get_by_name(other);
        ctx.wait_until(async move {
            other.add("from afar").await.unwrap();
        });
    }
}

/// Counts its constructions and can fail them.
struct Fragile;

#[derive(Clone, Default)]
struct Plan {
    constructions: Arc<AtomicUsize>,
    failures: Arc<AtomicUsize>,
}

#[durable_object]
impl Fragile {
    fn new(ctx: &Context) -> Result<Self> {
        let plan = ctx.env::<Plan>()?;
        plan.constructions.fetch_add(1, Ordering::SeqCst);
        ctx.kv().put("constructed", &true)?;
        match plan.failures.load(Ordering::SeqCst) {
            0 => Ok(Fragile),
            1 => {
                plan.failures.store(0, Ordering::SeqCst);
                Err(Error::other("not yet"))
            }
            _ => {
                plan.failures.store(0, Ordering::SeqCst);
                panic!("cannot")
            }
        }
    }

    pub fn ping(&self) -> u8 {
        1
    }
}

/// Evicts an object that was called a moment ago: whoever ran the call may still be leaving.
async fn evict(namespace: &Namespace<Notes>, id: &durable::ObjectId<Notes>) {
    while !namespace.evict(id).unwrap() {
        tokio::task::yield_now().await;
    }
}

async fn start(bed: &Bed) -> Runtime {
    bed.builder().register::<Notes>().start().await.unwrap()
}

matrix! {
    async fn what_was_written_is_there_after_a_restart(bed) {
        let runtime = start(&bed).await;
        let stub = runtime.get::<Notes>("diary");
        assert_eq!(stub.add("one").await.unwrap(), 1);
        runtime.shutdown().await.unwrap();
        assert_eq!(stub.all().await, Err(CallError::ShutDown));

        let runtime = start(&bed).await;
        let stub = runtime.get::<Notes>("diary");
        assert_eq!(stub.add("two").await.unwrap(), 2);
        assert_eq!(stub.all().await.unwrap(), ["one", "two"]);
    }

    async fn an_evicted_object_comes_back_as_it_was(bed) {
        let runtime = start(&bed).await;
        let namespace = runtime.namespace::<Notes>();
        let id = namespace.id_from_name("diary").unwrap();
        let stub = namespace.get(&id);
        stub.add("one").await.unwrap();
        evict(&namespace, &id).await;
        assert!(namespace.evict(&id).unwrap(), "twice is no error");
        assert_eq!(stub.all().await.unwrap(), ["one"]);
    }

    async fn a_read_creates_nothing(bed) {
        let runtime = start(&bed).await;
        let namespace = runtime.namespace::<Notes>();
        let id = namespace.id_from_name("diary").unwrap();
        assert!(namespace.get(&id).all().await.unwrap().is_empty());
        assert!(!namespace.exists(&id).unwrap());
        assert_eq!(bed.object_files(), Vec::<std::path::PathBuf>::new());
        namespace.get(&id).add("one").await.unwrap();
        assert!(namespace.exists(&id).unwrap());
        evict(&namespace, &id).await;
        assert!(namespace.exists(&id).unwrap());
        // Where a history is kept, its file is written soon after the eviction.
        runtime.shutdown().await.unwrap();
        assert_eq!(bed.object_files().len(), 1, "an object is one file");
    }

    async fn background_futures_start_after_the_commit_and_never_after_a_rollback(bed) {
        let (sender, mut reports) = mpsc::unbounded_channel::<String>();
        let runtime = bed.builder().register::<Notes>().env(sender).start().await.unwrap();
        let stub = runtime.get::<Notes>("diary");
        stub.add_and_report("lost".into(), true).await.unwrap_err();
        stub.add_and_report("kept".into(), false).await.unwrap();
        assert_eq!(reports.recv().await.unwrap(), "kept 1");
        runtime.shutdown().await.unwrap();
        assert!(reports.try_recv().is_err(), "nothing else was reported");
    }

    async fn a_shutdown_waits_for_background_futures_and_their_turns(bed) {
        let latch = Arc::new(tokio::sync::Notify::new());
        let runtime = bed.builder().register::<Notes>().env(latch.clone()).start().await.unwrap();
        let stub = runtime.get::<Notes>("diary");
        stub.linger().await.unwrap();
        stub.call_later("other").await.unwrap();
        let mut shutdown = Box::pin(runtime.shutdown());
        assert!(poll_once(&mut shutdown).is_pending());
        assert_eq!(stub.all().await, Err(CallError::ShutDown), "new calls are refused meanwhile");
        latch.notify_one();
        shutdown.await.unwrap();

        let runtime = start(&bed).await;
        assert_eq!(runtime.get::<Notes>("diary").all().await.unwrap(), ["late"]);
        assert_eq!(runtime.get::<Notes>("other").all().await.unwrap(), ["from afar"]);
    }

    async fn a_shutdown_answers_the_calls_that_wait(bed) {
        let runtime = start(&bed).await;
        let stub = runtime.get::<Notes>("diary");
        let mut calls: Vec<_> = (0..20).map(|_| stub.add("note")).collect();
        let polls: Vec<_> = calls.iter_mut().map(poll_once).collect();
        runtime.shutdown().await.unwrap();
        for (index, (poll, call)) in polls.into_iter().zip(calls).enumerate() {
            assert_eq!(finish(poll, call).await.unwrap(), index + 1);
        }
    }

    async fn a_dropped_runtime_lets_go_of_its_directory(bed) {
        let runtime = start(&bed).await;
        let stub = runtime.get::<Notes>("diary");
        stub.add("one").await.unwrap();
        drop(runtime);
        assert_eq!(stub.all().await, Err(CallError::ShutDown));
        // Whoever ran the last call may still be leaving.
        let runtime = loop {
            match bed.builder().register::<Notes>().start().await {
                Err(error) if error.kind() == ErrorKind::Locked => tokio::task::yield_now().await,
                started => break started.unwrap(),
            }
        };
        assert_eq!(runtime.get::<Notes>("diary").all().await.unwrap(), ["one"]);
    }

    async fn a_directory_has_one_runtime_at_a_time(bed) {
        let runtime = start(&bed).await;
        let error = bed.builder().register::<Notes>().start().await.unwrap_err();
        assert!(error.message().contains("in use by another"), "{error}");
        runtime.shutdown().await.unwrap();
        start(&bed).await;
    }

    async fn objects_over_the_limit_are_evicted_and_come_back(bed) {
        let plan = Plan::default();
        let builder = bed.builder().register::<Fragile>().env(plan.clone()).resident_limit(3);
        let runtime = builder.start().await.unwrap();
        let stubs: Vec<_> = (0..10).map(|n| runtime.get::<Fragile>(&n.to_string())).collect();
        for stub in stubs.iter().chain(&stubs) {
            assert_eq!(stub.ping().await.unwrap(), 1);
        }
        // With at most three of ten in memory, a second round finds no more than those of the first's.
        let constructions = plan.constructions.load(Ordering::SeqCst);
        assert!((17..=20).contains(&constructions), "{constructions}");
    }

    async fn objects_that_take_too_much_memory_are_evicted_and_come_back(bed) {
        let plan = Plan::default();
        let builder = bed.builder().register::<Fragile>().env(plan.clone());
        // Enough for seven at most, since a connection alone takes 42 KiB.
        let runtime = builder.resident_memory_limit(300 * 1_024).start().await.unwrap();
        let stubs: Vec<_> = (0..10).map(|n| runtime.get::<Fragile>(&n.to_string())).collect();
        for stub in stubs.iter().chain(&stubs) {
            assert_eq!(stub.ping().await.unwrap(), 1);
            // The last one is still there.
            assert_eq!(stub.ping().await.unwrap(), 1);
        }
        let constructions = plan.constructions.load(Ordering::SeqCst);
        assert!((13..=20).contains(&constructions), "{constructions}");
    }

    async fn a_failed_constructor_is_the_callers_error_and_is_tried_again(bed) {
        let plan = Plan::default();
        let runtime =
            bed.builder().register::<Fragile>().env(plan.clone()).start().await.unwrap();
        let namespace = runtime.namespace::<Fragile>();
        let id = namespace.id_from_name("glass").unwrap();
        let stub = namespace.get(&id);
        plan.failures.store(1, Ordering::SeqCst);
        let error = stub.ping().await.unwrap_err();
        assert!(matches!(&error, CallError::Activation(why) if why.message().contains("not yet")), "{error:?}");
        assert!(!namespace.exists(&id).unwrap(), "what the constructor wrote is undone");
        plan.failures.store(2, Ordering::SeqCst);
        let error = stub.ping().await.unwrap_err();
        assert!(matches!(&error, CallError::Panicked { method: "new", .. }), "{error:?}");
        assert_eq!(stub.ping().await.unwrap(), 1);
        assert!(namespace.exists(&id).unwrap());
        assert_eq!(plan.constructions.load(Ordering::SeqCst), 3);
    }
}

/// Run in a process of its own by the test below.
#[test]
#[ignore = "a helper: run by another test with DURABLE_TEST_DIRECTORY set"]
fn open_directory_of_another_process() {
    let Some(directory) = std::env::var_os("DURABLE_TEST_DIRECTORY") else { return };
    durable_tests::on_one_thread(async move {
        let error = Runtime::builder(directory).register::<Notes>().start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.message().contains("in use by another"), "{error}");
    });
}

#[test]
fn a_second_process_is_refused() {
    durable_tests::on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = start(&bed).await;
        runtime.get::<Notes>("diary").add("one").await.unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "open_directory_of_another_process"])
            .env("DURABLE_TEST_DIRECTORY", bed.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        assert_eq!(runtime.get::<Notes>("diary").all().await.unwrap(), ["one"]);
    });
}
