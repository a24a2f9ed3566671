//! What does not simply go back with an object that is restored: messages, what is overdue, its schema, and how long it is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{Bookmark, Error, ErrorKind, Restore};
use durable_tests::on_one_thread;
use parking_lot::Mutex;

const MINUTE: Duration = Duration::from_secs(60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What no restore undoes.
#[derive(Default)]
struct World {
    /// All that was ever heard, by whom.
    heard: Mutex<Vec<(String, String)>>,
    /// Whether the station `b` cannot be reached.
    is_cut_off: AtomicBool,
}

impl World {
    /// How often a station has heard a text.
    fn times(&self, station: &str, text: &str) -> usize {
        self.heard.lock().iter().filter(|heard| heard.0 == station && heard.1 == text).count()
    }
}

/// Sends texts to other stations, and writes down what it hears.
struct Station;

#[durable_object]
impl Station {
    fn new(ctx: &Context) -> Result<Self> {
        let is_cut_off = ctx.env::<Arc<World>>()?.is_cut_off.load(Ordering::Relaxed);
        if is_cut_off && ctx.name() == Some("b") {
            Err(Error::other("no line"))
        } else {
            Ok(Station)
        }
    }

    /// Gives the state in which the text is on its way.
    pub fn send(&mut self, ctx: &Context, to: &str, text: &str) -> Result<Bookmark> {
        ctx.send(ctx.namespace::<Station>().get_by_name(to).hear(text))?;
        ctx.current_bookmark()
    }

    pub fn send_in(
        &mut self,
        ctx: &Context,
        wait: Duration,
        to: &str,
        text: &str,
    ) -> Result<Bookmark> {
        ctx.send_at(After(wait), ctx.namespace::<Station>().get_by_name(to).hear(text))?;
        ctx.current_bookmark()
    }

    pub fn hear(&mut self, ctx: &Context, text: &str) -> Result<()> {
        let station = ctx.name().unwrap_or_default().to_owned();
        ctx.env::<Arc<World>>()?.heard.lock().push((station, text.to_owned()));
        if text == "bad" {
            return Err(Error::other("bad words"));
        }
        self.write(ctx, text).map(drop)
    }

    pub fn write(&mut self, ctx: &Context, text: &str) -> Result<Bookmark> {
        let mut lines = self.lines(ctx)?;
        lines.push(text.to_owned());
        ctx.kv().put("lines", &lines)?;
        ctx.current_bookmark()
    }

    pub fn lines(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("lines")?.unwrap_or_default())
    }

    pub fn refused(&self, ctx: &Context) -> Result<usize> {
        Ok(ctx.dead_letters()?.len())
    }

    pub fn delete(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    /// A rhythm, something once, and an alarm.
    pub fn set_clocks(&mut self, ctx: &Context<Self>) -> Result<Bookmark> {
        ctx.schedule("rhythm", Every(10 * MINUTE), ctx.this().hear("rhythm"))?;
        ctx.schedule("once", After(15 * MINUTE), ctx.this().hear("once"))?;
        ctx.set_alarm(After(20 * MINUTE))?;
        ctx.current_bookmark()
    }

    pub fn go_back(&mut self, ctx: &Context, to: Bookmark) -> Result<()> {
        ctx.restore_on_next_session(Restore::to(&to).fire_overdue())?;
        Err(ctx.abort("going back"))
    }

    fn alarm(&mut self, ctx: &Context, _: AlarmInfo) -> Result<()> {
        self.hear(ctx, "alarm")
    }
}

async fn start() -> (TestRuntime, Arc<World>) {
    let world = Arc::new(World::default());
    let env = Arc::clone(&world);
    let start = TestRuntime::start(move |builder| {
        builder.register::<Station>().env(Arc::clone(&env)).history(MONTH)
    });
    (start.await.unwrap(), world)
}

async fn restore(rt: &TestRuntime, station: &str, to: impl Into<Restore>) -> Bookmark {
    let stations = rt.namespace::<Station>();
    let undo = stations.restore(&stations.id_from_name(station).unwrap(), to).await.unwrap();
    settle(rt).await;
    undo
}

/// Lets all that is on its way arrive.
async fn settle(rt: &TestRuntime) {
    rt.advance(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_message_is_not_applied_again_when_receiver_and_sender_go_back() {
    let (rt, world) = start().await;
    let [a, b] = ["a", "b"].map(|name| rt.get::<Station>(name));
    let mut sent = Vec::new();
    let mut heard = Vec::new();
    for text in ["1", "2", "3"] {
        sent.push(a.send("b", text).await.unwrap());
        settle(&rt).await;
        heard.push(b.write("-").await.unwrap());
    }
    restore(&rt, "b", &heard[0]).await;
    // The sender sends after the moment that the receiver is restored to, and before it: what is on its way goes out again.
    for back in [&sent[1], &sent[0], &sent[2]] {
        restore(&rt, "a", back).await;
    }
    a.send("b", "4").await.unwrap();
    settle(&rt).await;
    for text in ["1", "2", "3", "4"] {
        assert_eq!(world.times("b", text), 1, "{text}");
    }
    assert_eq!(b.lines().await.unwrap(), ["1", "-", "4"], "what 2 and 3 did is undone");
    // Forth again: what it has had in between is known there, too.
    restore(&rt, "b", &heard[2]).await;
    restore(&rt, "a", &sent[2]).await;
    a.send("b", "5").await.unwrap();
    settle(&rt).await;
    assert_eq!(world.heard.lock().len(), 5);
}

#[tokio::test]
async fn numbers_of_messages_are_not_given_twice() {
    let (rt, world) = start().await;
    let a = rt.get::<Station>("a");
    let silent = a.write("nothing sent yet").await.unwrap();
    let first = a.send("b", "1").await.unwrap();
    a.send("b", "2").await.unwrap();
    settle(&rt).await;
    // A receiver ignores a number that it has had: then a new message would be lost.
    restore(&rt, "a", &silent).await;
    a.send("b", "3").await.unwrap();
    settle(&rt).await;
    restore(&rt, "a", &first).await;
    a.send("b", "4").await.unwrap();
    settle(&rt).await;
    restore(&rt, "a", &silent).await;
    let undo = restore(&rt, "a", &silent).await;
    a.send("b", "5").await.unwrap();
    settle(&rt).await;
    restore(&rt, "a", &undo).await;
    restore(&rt, "a", &first).await;
    a.send("b", "6").await.unwrap();
    settle(&rt).await;
    for text in ["1", "2", "3", "4", "5", "6"] {
        assert_eq!(world.times("b", text), 1, "{text}");
    }
}

#[tokio::test]
async fn a_message_that_had_not_arrived_goes_out_after_the_restore() {
    let (mut rt, world) = start().await;
    let a = rt.get::<Station>("a");
    world.is_cut_off.store(true, Ordering::Relaxed);
    let sent = a.send("b", "1").await.unwrap();
    a.send("b", "2").await.unwrap();
    settle(&rt).await;
    restore(&rt, "a", &sent).await;
    rt.crash().await.unwrap();
    world.is_cut_off.store(false, Ordering::Relaxed);
    rt.advance(60 * MINUTE).await.unwrap();
    assert_eq!((world.times("b", "1"), world.times("b", "2")), (1, 0));
    rt.get::<Station>("a").send("b", "3").await.unwrap();
    settle(&rt).await;
    assert_eq!(world.times("b", "3"), 1);
}

#[tokio::test]
async fn after_delete_all_messages_have_new_numbers_and_none_is_lost() {
    let (rt, world) = start().await;
    let a = rt.get::<Station>("a");
    let sent = a.send("b", "1").await.unwrap();
    a.send("b", "2").await.unwrap();
    settle(&rt).await;
    a.delete().await.unwrap();
    a.send("b", "3").await.unwrap();
    settle(&rt).await;
    restore(&rt, "a", &sent).await;
    for text in ["4", "5"] {
        a.send("b", text).await.unwrap();
    }
    settle(&rt).await;
    for text in ["2", "3", "4", "5"] {
        assert_eq!(world.times("b", text), 1, "{text}");
    }
    // Nobody knows any more that it had arrived.
    assert_eq!(world.times("b", "1"), 2);
}

#[tokio::test]
async fn a_message_that_was_refused_is_refused_again_without_being_heard() {
    let (rt, world) = start().await;
    let [a, b] = ["a", "b"].map(|name| rt.get::<Station>(name));
    let before = b.write("-").await.unwrap();
    let sent = a.send("b", "bad").await.unwrap();
    settle(&rt).await;
    assert_eq!(a.refused().await.unwrap(), 1);
    restore(&rt, "b", &before).await;
    restore(&rt, "a", &sent).await;
    assert_eq!(a.refused().await.unwrap(), 1, "the receiver remembers why");
    assert_eq!(world.times("b", "bad"), 1);
}

#[tokio::test]
async fn what_is_overdue_is_skipped_or_runs_if_that_is_asked_for() {
    for fires in [false, true] {
        let (rt, world) = start().await;
        let station = rt.get::<Station>("a");
        let set = station.set_clocks().await.unwrap();
        let posted = station.send_in(25 * MINUTE, "b", "posted").await.unwrap();
        assert!(posted > set);
        rt.advance(26 * MINUTE).await.unwrap();
        let runs = [("a", "rhythm", 2), ("a", "once", 1), ("a", "alarm", 1), ("b", "posted", 1)];
        for (who, text, times) in runs {
            assert_eq!(world.times(who, text), times, "{text}");
        }
        let to = Restore::to(&posted);
        restore(&rt, "a", if fires { to.fire_overdue() } else { to }).await;
        let again = usize::from(fires);
        for (who, text, times) in runs {
            assert_eq!(world.times(who, text), times + again, "{text}");
        }
        // The rhythm goes on with the time that is next, and nothing else does.
        rt.advance(5 * MINUTE).await.unwrap();
        assert_eq!(world.times("a", "rhythm"), 3 + again);
        rt.advance(30 * MINUTE).await.unwrap();
        assert_eq!(world.times("a", "rhythm"), 6 + again);
        for (who, text, times) in &runs[1..] {
            assert_eq!(world.times(who, text), times + again, "{text}");
        }
    }
}

#[tokio::test]
async fn what_is_not_due_yet_comes_back() {
    let (rt, world) = start().await;
    let station = rt.get::<Station>("a");
    let silent = station.write("-").await.unwrap();
    station.set_clocks().await.unwrap();
    let set = station.send_in(25 * MINUTE, "b", "posted").await.unwrap();
    restore(&rt, "a", &silent).await;
    rt.advance(9 * MINUTE).await.unwrap();
    assert!(world.heard.lock().is_empty());
    restore(&rt, "a", &set).await;
    rt.advance(17 * MINUTE).await.unwrap();
    for (who, text, times) in
        [("a", "rhythm", 2), ("a", "once", 1), ("a", "alarm", 1), ("b", "posted", 1)]
    {
        assert_eq!(world.times(who, text), times, "{text}");
    }
}

#[tokio::test]
async fn an_object_lets_what_is_overdue_run_when_it_goes_back_by_itself() {
    let (rt, world) = start().await;
    let station = rt.get::<Station>("a");
    let set = station.set_clocks().await.unwrap();
    rt.advance(26 * MINUTE).await.unwrap();
    station.go_back(set).await.unwrap_err();
    assert_eq!(station.lines().await.unwrap(), Vec::<String>::new());
    settle(&rt).await;
    assert_eq!((world.times("a", "once"), world.times("a", "alarm")), (2, 2));
}

/// Not used for an hour, it is deleted.
#[derive(Default)]
struct Draft;

#[durable_object(expires_after = "1h")]
impl Draft {
    pub fn write(&mut self, ctx: &Context, text: &str) -> Result<Bookmark> {
        ctx.kv().put("text", &text)?;
        ctx.current_bookmark()
    }

    pub fn text(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get("text")
    }
}

#[tokio::test]
async fn a_restored_object_is_kept_for_its_time_and_expires_again() {
    let mut rt =
        TestRuntime::start(|builder| builder.register::<Draft>().history(MONTH)).await.unwrap();
    let id = rt.namespace::<Draft>().id_from_name("a").unwrap();
    let one = rt.namespace::<Draft>().get(&id).write("one").await.unwrap();
    for restarts in [false, true] {
        rt.advance(3 * 60 * MINUTE).await.unwrap();
        let drafts = rt.namespace::<Draft>();
        assert!(!drafts.exists(&id).unwrap(), "it has expired");
        drafts.restore(&id, &one).await.unwrap();
        if restarts {
            rt.crash().await.unwrap();
        }
        rt.advance(55 * MINUTE).await.unwrap();
        assert!(rt.namespace::<Draft>().exists(&id).unwrap(), "a restore is a use");
        assert_eq!(rt.namespace::<Draft>().get(&id).text().await.unwrap().as_deref(), Some("one"));
    }
    rt.advance(3 * 60 * MINUTE).await.unwrap();
    assert!(!rt.namespace::<Draft>().exists(&id).unwrap());
}

/// A program, and the next one: its migration loses what it should have kept, and fails on what is bad.
mod old {
    use super::*;

    #[derive(Default)]
    pub(super) struct List;

    #[durable_object]
    impl List {
        #[migration(1)]
        fn create(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE items (name TEXT)")
        }

        pub fn add(&mut self, ctx: &Context, name: &str) -> Result<Bookmark> {
            ctx.sql().execute("INSERT INTO items VALUES (?)", [name])?;
            ctx.current_bookmark()
        }

        pub fn items(&self, ctx: &Context) -> Result<Vec<String>> {
            ctx.sql().query_all("SELECT name FROM items ORDER BY name", [])
        }
    }
}

mod new {
    use super::*;

    #[derive(Default)]
    pub(super) struct List;

    #[durable_object]
    impl List {
        #[migration(1)]
        fn create(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE items (name TEXT)")
        }

        #[migration(2)]
        fn spoil(db: &mut Migration<'_>) -> Result<()> {
            let bad: u32 = db.query_one("SELECT count(*) FROM items WHERE name = 'bad'", [])?;
            if bad > 0 {
                return Err(Error::other("bad"));
            }
            let spoil = "DELETE FROM items WHERE name <> (SELECT min(name) FROM items)";
            db.execute(spoil, []).map(drop)
        }

        pub fn items(&self, ctx: &Context) -> Result<Vec<String>> {
            ctx.sql().query_all("SELECT name FROM items ORDER BY name", [])
        }
    }
}

#[test]
fn the_old_program_takes_back_what_a_newer_one_has_done() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let builder = || Runtime::builder(data.path()).history(MONTH);
        let runtime = builder().register::<old::List>().start().await.unwrap();
        for name in ["tea", "milk"] {
            runtime.get::<old::List>("a").add(name).await.unwrap();
        }
        let before = std::time::SystemTime::now();
        runtime.shutdown().await.unwrap();

        let runtime = builder().register::<new::List>().start().await.unwrap();
        let lists = runtime.namespace::<new::List>();
        let id = lists.id_from_name("a").unwrap();
        assert_eq!(lists.get(&id).items().await.unwrap(), ["milk"]);
        let spoilt = lists.current_bookmark(&id).await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = builder().register::<old::List>().start().await.unwrap();
        let lists = runtime.namespace::<old::List>();
        let id = lists.id_from_name("a").unwrap();
        let refused = || async { lists.get(&id).items().await.unwrap_err() };
        assert!(matches!(refused().await, CallError::Activation(_)));
        assert_eq!(lists.current_bookmark(&id).await.unwrap(), spoilt);
        // A schema that is newer than the program is refused, and nothing is lost.
        let error = lists.restore(&id, &spoilt).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(error.message().contains("schema version 2"), "{error}");
        assert!(matches!(refused().await, CallError::Activation(_)));

        let good = lists.bookmark_for_time(&id, before).await.unwrap();
        lists.restore(&id, &good).await.unwrap();
        assert_eq!(lists.get(&id).items().await.unwrap(), ["milk", "tea"]);
        // The same for one that works.
        let error = lists.restore(&id, &spoilt).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert_eq!(lists.get(&id).items().await.unwrap(), ["milk", "tea"]);
        // And for one that is deleted, which stays so.
        lists.delete(&id).await.unwrap();
        let error = lists.restore(&id, &spoilt).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(!lists.exists(&id).unwrap());
        lists.restore(&id, &good).await.unwrap();
        lists.get(&id).add("jam").await.unwrap();
        runtime.shutdown().await.unwrap();

        // The newer one runs its migration anew.
        let runtime = builder().register::<new::List>().start().await.unwrap();
        assert_eq!(runtime.get::<new::List>("a").items().await.unwrap(), ["jam"]);
        runtime.shutdown().await.unwrap();
        assert!(durable::check(data.path()).unwrap().is_sound());
    });
}

#[test]
fn an_object_whose_migration_fails_goes_back_to_where_it_does_not() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let builder = || Runtime::builder(data.path()).history(MONTH);
        let runtime = builder().register::<old::List>().start().await.unwrap();
        let good = runtime.get::<old::List>("a").add("tea").await.unwrap();
        runtime.get::<old::List>("a").add("bad").await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = builder().register::<new::List>().start().await.unwrap();
        let lists = runtime.namespace::<new::List>();
        let id = lists.id_from_name("a").unwrap();
        let error = lists.get(&id).items().await.unwrap_err();
        assert!(matches!(error, CallError::Activation(_)), "{error:?}");
        let undo = lists.restore(&id, &good).await.unwrap();
        assert_eq!(lists.get(&id).items().await.unwrap(), ["tea"]);
        lists.restore(&id, &undo).await.unwrap();
        let error = lists.get(&id).items().await.unwrap_err();
        assert!(matches!(error, CallError::Activation(_)), "{error:?}");
        runtime.shutdown().await.unwrap();
    });
}
