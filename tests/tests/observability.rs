//! What a subscriber of `tracing` is told: the spans of turns, handlers and background futures, and the events of objects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{Body, Error};
use durable_tests::collector::{Collected, Collector, Fields, Shown};
use durable_tests::{Bed, Form, on_many_threads, on_one_thread, poll_once};
use tracing::{Instrument, info, info_span};

/// Does whatever can be seen from outside.
#[derive(Default)]
struct Actor;

#[durable_object]
impl Actor {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    }

    pub fn act(&mut self, ctx: &Context, x: u32) -> Result<()> {
        info!(name = ctx.name(), "acted");
        ctx.sql().execute("INSERT INTO t VALUES (?)", [x]).map(|_| ())
    }

    pub fn fail(&mut self) -> Result<()> {
        Err(Error::other("on purpose"))
    }

    pub fn crash(&mut self) {
        panic!("on purpose");
    }

    /// SQLite ends the transaction, and the method does not look.
    pub fn stumble(&mut self, ctx: &Context) {
        let _ = ctx.sql().execute("INSERT OR ROLLBACK INTO t VALUES (1), (1)", []);
    }

    pub fn start_over(&mut self, ctx: &Context) -> Result<()> {
        Err(ctx.abort("on purpose"))
    }

    pub fn act_later(&mut self, ctx: &Context<Self>) {
        let name = ctx.name().map(str::to_owned);
        ctx.wait_until(async move {
            tokio::task::yield_now().await;
            info!(name, "acted later");
        });
    }

    pub fn linger(&mut self, ctx: &Context) {
        ctx.wait_until(std::future::pending());
    }

    pub fn remind(&mut self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(After(Duration::from_secs(1)))
    }

    fn alarm(&mut self, _: &Context<Self>, _: AlarmInfo) -> Result<()> {
        Err(Error::other("on purpose"))
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        tokio::task::yield_now().await;
        info!(name = this.name(), "fetched");
        match request.uri().path() {
            "/crash" => panic!("on purpose"),
            "/linger" => std::future::pending().await,
            _ => Ok(Response::new(Body::empty())),
        }
    }
}

/// Cannot be made.
struct Unborn;

#[durable_object]
impl Unborn {
    fn new(_: &Context) -> Result<Self> {
        Err(Error::other("on purpose"))
    }

    pub fn be(&self) {}
}

/// As it was before its second migration.
#[derive(Default)]
struct Young;

#[durable_object(name = "Aged")]
impl Young {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE t (x)")
    }

    pub fn fill(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("INSERT INTO t VALUES (1)", []).map(|_| ())
    }
}

/// Has a second migration that fails if there are rows.
#[derive(Default)]
struct Aged;

#[durable_object]
impl Aged {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE t (x)")
    }

    #[migration(2)]
    fn check(db: &mut Migration<'_>) -> Result<()> {
        match db.query_one("SELECT count(*) FROM t", [])? {
            0 => Ok(()),
            _ => Err(Error::other("on purpose")),
        }
    }

    pub fn be(&self) {}
}

async fn runtime(bed: &Bed) -> Runtime {
    Collector::install();
    let builder = bed.builder().register::<Actor>().register::<Unborn>();
    builder.start().await.unwrap()
}

fn collected() -> Collected {
    Collector::install().collected()
}

/// The turns of the object with this name, in order.
fn turns(collected: &Collected, name: &str) -> Vec<Shown> {
    let spans = collected.spans_of(name).filter(|(_, span)| span.name == "turn");
    spans.map(|(_, span)| span.clone()).collect()
}

fn keys(fields: &Fields) -> Vec<&'static str> {
    fields.keys().copied().collect()
}

/// Level, text and fields of the last event about the object with this text.
fn event(name: &str, text: &str) -> (String, Fields) {
    let collected = collected();
    let event = collected.about(name).filter(|event| event.text == text).last();
    let event = event.unwrap_or_else(|| panic!("no `{text}` of {name}: {:#?}", collected.events));
    assert_eq!(event.target, "durable");
    assert_eq!(event.fields["id"].len(), 64);
    (event.level.to_string(), event.fields.clone())
}

#[test]
fn a_turn_has_a_span_with_all_that_happens_in_it() {
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        let actor = runtime.get::<Actor>("spanned");
        actor.act(1).await.unwrap();
        actor.act(2).await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    let collected = collected();
    let turns = turns(&collected, "spanned");
    let methods: Vec<_> = turns.iter().map(|turn| &*turn.fields["method"]).collect();
    assert_eq!(methods, ["new", "act", "act"]);
    for turn in &turns {
        assert_eq!((turn.target, turn.level), ("durable", tracing::Level::DEBUG));
        assert_eq!(turn.fields["class"], "Actor");
        assert_eq!(turn.fields["outcome"], "ok");
        assert!(turn.is_closed);
    }
    let common = ["class", "commit", "id", "method", "name", "outcome", "ran"];
    // The first call had to wait for the object; the second one found it free.
    assert_eq!(keys(&turns[1].fields), [&common[..], &["waited"]].concat());
    assert_eq!(keys(&turns[2].fields), common);

    let acted: Vec<_> = collected.about("spanned").filter(|event| event.text == "acted").collect();
    assert_eq!(acted.len(), 2);
    for event in acted {
        let innermost = &collected.spans[*event.inside.last().unwrap()];
        assert_eq!((innermost.name, &*innermost.fields["method"]), ("turn", "act"));
    }
}

#[test]
fn a_turn_says_how_it_ended() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        let actor = runtime.get::<Actor>("ending");
        actor.act(1).await.unwrap();
        actor.fail().await.unwrap_err();
        actor.crash().await.unwrap_err();
        actor.stumble().await.unwrap_err();
        actor.start_over().await.unwrap_err();
        runtime.shutdown().await.unwrap();
    });
    let turns = turns(&collected(), "ending");
    let ended: Vec<_> = turns
        .iter()
        .filter(|turn| turn.fields["method"] != "new")
        .map(|turn| (&*turn.fields["method"], &*turn.fields["outcome"]))
        .collect();
    assert_eq!(
        ended,
        [
            ("act", "ok"),
            ("fail", "error"),
            ("crash", "panicked"),
            ("stumble", "rolled_back"),
            ("start_over", "reset")
        ]
    );
    let has_commit = |turn: &Shown| turn.fields.contains_key("commit");
    assert!(turns.iter().all(|turn| has_commit(turn) == (turn.fields["outcome"] == "ok")));
}

#[test]
fn a_turn_belongs_to_the_span_of_its_caller() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        let actor = runtime.get::<Actor>("called");
        for x in 0..2 {
            actor
                .act(x)
                .into_future()
                .instrument(info_span!("caller", name = "called"))
                .await
                .unwrap();
        }
        runtime.shutdown().await.unwrap();
    });
    let collected = collected();
    let acts =
        turns(&collected, "called").into_iter().filter(|turn| turn.fields["method"] == "act");
    let parents: Vec<_> = acts.map(|turn| collected.spans[turn.parent.unwrap()].name).collect();
    assert_eq!(parents, ["caller", "caller"]);
}

#[test]
fn handlers_and_background_futures_have_spans() {
    on_many_threads(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        let actor = runtime.get::<Actor>("async");
        let request = Request::new(Body::empty());
        actor.fetch(request).instrument(info_span!("request")).await.unwrap();
        actor.act_later().await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    let collected = collected();
    let around = |text: &str| {
        let event = collected.about("async").find(|event| event.text == text).unwrap();
        event.inside.iter().map(|place| &collected.spans[*place]).collect::<Vec<_>>()
    };
    let fetched = around("fetched");
    assert_eq!(fetched.iter().map(|span| span.name).collect::<Vec<_>>(), ["request", "handler"]);
    assert_eq!(fetched[1].fields["method"], "fetch");
    let later = around("acted later");
    assert_eq!(later.iter().map(|span| span.name).collect::<Vec<_>>(), ["background"]);
    for span in fetched[1..].iter().chain(&later) {
        assert_eq!((span.target, &*span.fields["class"]), ("durable", "Actor"));
        assert!(span.is_closed);
    }
}

#[test]
fn the_life_of_an_object_is_told() {
    on_one_thread(async {
        Collector::install();
        let runtime = TestRuntime::start(|builder| builder.register::<Actor>()).await.unwrap();
        let actor = runtime.get::<Actor>("living");
        actor.act(1).await.unwrap();
        actor.linger().await.unwrap();
        actor.start_over().await.unwrap_err();
        runtime.settle().await.unwrap();
        actor.crash().await.unwrap_err();
        assert!(runtime.evict(&actor).await.unwrap());
    });
    let (level, fields) = event("living", "a migration was applied");
    assert_eq!(level, "INFO");
    assert_eq!((&*fields["from"], &*fields["to"], &*fields["migration"]), ("0", "1", "create"));
    assert!(fields.contains_key("duration"));
    assert_eq!(event("living", "an object was activated").0, "DEBUG");
    let (level, fields) = event("living", "an object was reset");
    assert_eq!((&*level, &*fields["reason"]), ("WARN", "on purpose"));
    let (level, fields) = event("living", "a background future was dropped");
    assert_eq!((&*level, &*fields["reason"]), ("WARN", "on purpose"));
    let (level, fields) = event("living", "a method panicked");
    assert_eq!((&*level, &*fields["method"], &*fields["reason"]), ("ERROR", "crash", "on purpose"));
    assert_eq!(event("living", "an object was evicted").0, "DEBUG");
}

#[test]
fn handlers_that_do_not_end_well_are_told() {
    on_one_thread(async {
        Collector::install();
        let runtime = TestRuntime::start(|builder| builder.register::<Actor>()).await.unwrap();
        let actor = runtime.get::<Actor>("handling");
        let request = |path: &str| http::Request::get(path).body(Body::empty()).unwrap();
        actor.fetch(request("/crash")).await.unwrap_err();
        let lingering = tokio::spawn(actor.fetch(request("/linger")));
        while collected().about("handling").filter(|event| event.text == "fetched").count() < 2 {
            tokio::task::yield_now().await;
        }
        actor.start_over().await.unwrap_err();
        lingering.await.unwrap().unwrap_err();
    });
    let (level, fields) = event("handling", "a handler panicked");
    assert_eq!((&*level, &*fields["method"], &*fields["reason"]), ("ERROR", "fetch", "on purpose"));
    let (level, fields) = event("handling", "a handler was dropped");
    assert_eq!((&*level, &*fields["method"], &*fields["reason"]), ("WARN", "fetch", "on purpose"));
}

#[test]
fn what_keeps_an_object_from_coming_is_told_once() {
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        runtime.get::<Unborn>("unborn").be().await.unwrap_err();
        runtime.shutdown().await.unwrap();

        let young = bed.builder().register::<Young>().start().await.unwrap();
        young.get::<Young>("aged").fill().await.unwrap();
        young.shutdown().await.unwrap();
        let runtime = bed.builder().register::<Aged>().start().await.unwrap();
        runtime.get::<Aged>("aged").be().await.unwrap_err();
        runtime.shutdown().await.unwrap();
    });
    let (level, fields) = event("unborn", "an object could not be constructed");
    assert_eq!(level, "ERROR");
    assert!(fields["reason"].contains("on purpose"), "{fields:?}");
    let (level, fields) = event("aged", "a migration failed");
    assert_eq!(level, "ERROR");
    assert_eq!((&*fields["from"], &*fields["to"], &*fields["migration"]), ("1", "2", "check"));
    assert!(
        fields.contains_key("duration") && fields["reason"].contains("on purpose"),
        "{fields:?}"
    );
    for name in ["unborn", "aged"] {
        let collected = collected();
        let errors = collected.about(name).filter(|event| event.level == tracing::Level::ERROR);
        assert_eq!(errors.count(), 1, "{name}");
    }
}

#[test]
fn a_refused_call_is_told() {
    on_one_thread(async {
        Collector::install();
        let bed = Bed::new(Form::Moved);
        let runtime = bed.builder().register::<Actor>().queue_limit(1).start().await.unwrap();
        let actor = runtime.get::<Actor>("crowded");
        let mut first = actor.act(1);
        assert!(poll_once(&mut first).is_pending());
        assert!(matches!(actor.act(2).await, Err(CallError::Overloaded { .. })));
        first.await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    let (level, fields) = event("crowded", "an object is overloaded");
    assert_eq!((&*level, &*fields["queued"]), ("DEBUG", "1"));
}

#[test]
fn alarms_that_fail_are_told() {
    on_one_thread(async {
        Collector::install();
        let runtime = TestRuntime::start(|builder| builder.register::<Actor>()).await.unwrap();
        runtime.get::<Actor>("alarmed").remind().await.unwrap();
        runtime.advance(Duration::from_hours(1)).await.unwrap();
    });
    let (level, fields) = event("alarmed", "an alarm failed");
    assert_eq!((&*level, &*fields["reason"]), ("WARN", "on purpose"));
    assert!(fields.contains_key("wait") && fields.contains_key("runs"));
    assert_eq!(event("alarmed", "an alarm was given up").0, "ERROR");
}

/// Waits inside a turn until somebody lets it go, which nobody should do.
#[derive(Default)]
struct Stuck;

type Latch = Arc<Mutex<mpsc::Receiver<()>>>;

#[durable_object]
impl Stuck {
    pub fn hang(&mut self, ctx: &Context) -> Result<()> {
        let latch = ctx.env::<Latch>()?.lock().unwrap();
        latch.recv().map_err(Error::other)
    }
}

/// A call hangs, and the test goes on when the log has told of it.
async fn hang(inline: bool, name: &'static str) {
    let collector = Collector::install();
    let bed = Bed::new(Form::Moved);
    let (release, latch) = mpsc::channel();
    let latch: Latch = Arc::new(Mutex::new(latch));
    let builder = bed.builder().register::<Stuck>().env(latch);
    let runtime = builder.long_turn_warning(Duration::from_millis(1)).start().await.unwrap();
    let stuck = runtime.get::<Stuck>(name);
    if inline {
        release.send(()).unwrap();
        stuck.hang().await.unwrap();
    }
    let hanging = tokio::spawn(async move { stuck.hang().await });
    let told = tokio::task::spawn_blocking(move || {
        collector.wait_for(|collected| {
            let text = "a turn has run for long and is not done";
            let mut told = collected.about(name).filter(|event| event.text == text);
            // The second time: it goes on being told.
            told.nth(1).cloned()
        })
    });
    let told = told.await.unwrap();
    assert_eq!((told.level, told.target), (tracing::Level::WARN, "durable"));
    assert_eq!((&*told.fields["class"], &*told.fields["method"]), ("Stuck", "hang"));
    assert!(told.fields.contains_key("ran"));
    release.send(()).unwrap();
    hanging.await.unwrap().unwrap();
    runtime.shutdown().await.unwrap();
}

#[test]
fn a_turn_that_hangs_is_told_of_while_it_runs() {
    on_many_threads(hang(false, "drained"));
    on_many_threads(hang(true, "inline"));
}

#[test]
fn all_events_have_one_target() {
    on_one_thread(async {
        let bed = Bed::new(Form::Moved);
        let runtime = runtime(&bed).await;
        runtime.get::<Actor>("targeted").act(1).await.unwrap();
        runtime.shutdown().await.unwrap();
    });
    let collected = collected();
    let targets: BTreeSet<_> = collected.events.iter().map(|event| event.target).collect();
    assert!(!targets.iter().any(|target| target.starts_with("durable_")), "{targets:?}");
}
