//! Snapshots, forks, exports and imports of objects.

mod crashing;
mod importing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{Bookmark, CallError, ErrorKind, ObjectId};
use durable_tests::on_many_threads;
use rusqlite::Connection;

/// Accounts whose sum is always the same, and all that an object may wait for.
#[derive(Default)]
pub struct Bank {
    transfers: u64,
}

#[durable_object]
impl Bank {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, filler BLOB);
             WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 200)
             INSERT INTO accounts SELECT id, 100, randomblob(2000) FROM ids",
        )
    }

    #[migration(2)]
    fn add_notes(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE notes (text TEXT NOT NULL)")
    }

    pub fn transfer(&mut self, ctx: &Context, from: i64, to: i64) -> Result<Bookmark> {
        let sql =
            "UPDATE accounts SET amount = amount + ?2, filler = randomblob(2000) WHERE id = ?1";
        ctx.sql().execute(sql, (from, -1))?;
        ctx.sql().execute(sql, (to, 1))?;
        self.transfers += 1;
        ctx.current_bookmark()
    }

    pub fn transfers(&self) -> u64 {
        self.transfers
    }

    pub fn note(&mut self, ctx: &Context, text: &str) -> Result<Bookmark> {
        ctx.sql().execute("INSERT INTO notes VALUES (?)", [text])?;
        ctx.kv().put("last", &text)?;
        ctx.current_bookmark()
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<String>> {
        ctx.sql().query_all("SELECT text FROM notes ORDER BY rowid", [])
    }

    pub fn last(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get("last")
    }

    pub fn total(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT sum(amount) FROM accounts", [])
    }

    pub fn identity(&self, ctx: &Context) -> (String, Option<String>) {
        (ctx.id().to_string(), ctx.name().map(str::to_owned))
    }

    /// An alarm, a timer and a message for later.
    pub fn wait_for_everything(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.set_alarm(After(HOUR))?;
        ctx.schedule("timer", Every(HOUR), ctx.this().note("timer"))?;
        ctx.send_at(After(HOUR), ctx.this().note("message"))
    }

    pub fn waits_for(&self, ctx: &Context) -> Result<(bool, usize, u64)> {
        Ok((ctx.alarm()?.is_some(), ctx.schedules()?.len(), ctx.pending_messages()?))
    }

    pub fn tell(&mut self, ctx: &Context, to: &str, text: &str) -> Result<()> {
        ctx.send(ctx.namespace::<Bank>().get_by_name(to).note(text))
    }

    fn alarm(&mut self, ctx: &Context, _: AlarmInfo) -> Result<()> {
        self.note(ctx, "alarm").map(|_| ())
    }
}

const HOUR: Duration = Duration::from_hours(1);

async fn start() -> TestRuntime {
    let month = Duration::from_hours(30 * 24);
    TestRuntime::start(move |builder| builder.register::<Bank>().history(month)).await.unwrap()
}

fn id(banks: &Namespace<Bank>, name: &str) -> ObjectId<Bank> {
    banks.id_from_name(name).unwrap()
}

/// A folder for what is written, and a file in it.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    (folder, file)
}

fn integrity(connection: &Connection) -> String {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// Reads a file as everybody can.
fn read(file: &Path) -> (i64, Vec<String>) {
    let connection = Connection::open(file).unwrap();
    assert_eq!(integrity(&connection), "ok");
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    let total = connection.query_row("SELECT sum(amount) FROM accounts", [], |row| row.get(0));
    let mut notes = connection.prepare("SELECT text FROM notes ORDER BY rowid").unwrap();
    let notes = notes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (total.unwrap(), notes)
}

#[test]
fn an_export_is_whole_while_a_writer_goes_on() {
    on_many_threads(async {
        let data = tempfile::tempdir().unwrap();
        let runtime = Runtime::builder(data.path())
            .register::<Bank>()
            // So that the file is written while it is copied.
            .checkpoint_distance(100_000)
            .start()
            .await
            .unwrap();
        let banks = runtime.namespace::<Bank>();
        let bank = id(&banks, "home");
        banks.get(&bank).transfer(1, 2).await.unwrap();
        let stub = banks.get(&bank);
        let writer = tokio::spawn(async move {
            for number in 0_i64.. {
                match stub.transfer(1 + number % 200, 1 + number * 7 % 200).await {
                    Err(CallError::ShutDown) => return,
                    other => drop(other.unwrap()),
                }
            }
        });
        let (folder, _) = folder();
        let mut bookmarks = Vec::new();
        for number in 0..8 {
            let file = folder.path().join(format!("{number}.db"));
            let exported = banks.export(&bank, &file).await.unwrap();
            assert_eq!(read(&file), (20_000, vec![]));
            assert_eq!(exported.bytes, std::fs::metadata(&file).unwrap().len());
            assert_eq!(exported.schema_version, 2);
            bookmarks.push(exported.bookmark);
        }
        assert!(bookmarks.is_sorted());
        assert!(bookmarks[0] < bookmarks[7], "nothing was written meanwhile");
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 8, "nothing else is left");
        let copies = data.path().join("copies");
        assert_eq!(std::fs::read_dir(copies).map_or(0, Iterator::count), 0);
        runtime.shutdown().await.unwrap();
        writer.await.unwrap();
    });
}

#[tokio::test]
async fn an_export_says_how_far_it_is_and_overwrites_nothing() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let bank = id(&banks, "home");
    let (folder, file) = folder();
    let none = banks.export(&bank, &file).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotKept);
    assert!(!banks.exists(&bank).unwrap());
    banks.get(&bank).note("one").await.unwrap();
    let (sender, reports) = std::sync::mpsc::channel();
    let report = move |progress: durable::Progress| sender.send(progress).unwrap();
    let exported = banks.export(&bank, &file).progress(report).await.unwrap();
    let reports: Vec<_> = reports.iter().collect();
    assert!(reports.iter().all(|report| report.total == exported.bytes));
    assert!(reports.iter().map(|report| report.done).is_sorted());
    assert_eq!(reports.last().unwrap().done, exported.bytes);
    let before = std::fs::read(&file).unwrap();
    assert_eq!(banks.export(&bank, &file).await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let missing = folder.path().join("missing/bank.db");
    assert_eq!(banks.export(&bank, missing).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A program that died in an export, and had the same number, may have left a name of a file that lies elsewhere now.
#[tokio::test]
async fn an_export_writes_into_no_file_that_was_there() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let bank = id(&banks, "home");
    banks.get(&bank).note("one").await.unwrap();
    let (folder, file) = folder();
    let earlier = folder.path().join("earlier");
    std::fs::write(&earlier, "an earlier export").unwrap();
    for number in 0..200 {
        let name = format!(
            ".{}.{}-{number}.tmp",
            file.file_name().unwrap().to_str().unwrap(),
            std::process::id()
        );
        std::fs::hard_link(&earlier, folder.path().join(name)).unwrap();
    }
    banks.export(&bank, &file).await.unwrap();
    assert_eq!(std::fs::read(&earlier).unwrap(), b"an earlier export");
    assert!(std::fs::read(&file).unwrap().starts_with(b"SQLite format 3"));
}

#[tokio::test]
async fn exports_and_forks_of_an_earlier_moment() {
    let mut rt = start().await;
    let bank = id(&rt.namespace::<Bank>(), "home");
    let mut moments = Vec::new();
    let texts: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    for (number, text) in texts.iter().enumerate() {
        let banks = rt.namespace::<Bank>();
        banks.get(&bank).transfer(1, 2).await.unwrap();
        moments.push(banks.get(&bank).note(text).await.unwrap());
        match number % 5 {
            1 => rt.restart().await.unwrap(),
            3 => rt.crash().await.unwrap(),
            _ => {}
        }
    }
    let banks = rt.namespace::<Bank>();
    let (folder, _) = folder();
    for (number, moment) in moments.iter().enumerate() {
        let file = folder.path().join(format!("{number}.db"));
        let exported = banks.export(&bank, &file).at(moment).await.unwrap();
        assert_eq!(exported.bookmark, *moment);
        assert_eq!(read(&file), (20_000, texts[..=number].to_vec()));
        let fork = id(&banks, &format!("fork {number}"));
        banks.fork(&bank, &fork).at(moment).await.unwrap();
        assert_eq!(banks.get(&fork).notes().await.unwrap(), texts[..=number]);
    }
    // Also when it is gone.
    assert!(banks.delete(&bank).await.unwrap());
    banks.fork(&bank, &id(&banks, "late")).at(&moments[4]).await.unwrap();
    assert_eq!(banks.get_by_name("late").notes().await.unwrap(), texts[..5]);
    let other = id(&banks, "other");
    let foreign = banks.fork(&other, &id(&banks, "x")).at(&moments[4]).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Invalid);
    assert_eq!(banks.get(&bank).notes().await.unwrap(), Vec::<String>::new());
}

/// The history has it only after a checkpoint, which this does not wait for.
#[tokio::test]
async fn a_fork_of_a_moment_that_is_only_in_the_journal() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let bank = id(&banks, "home");
    let one = banks.get(&bank).note("1").await.unwrap();
    banks.get(&bank).note("2").await.unwrap();
    banks.fork(&bank, &id(&banks, "fork")).at(&one).await.unwrap();
    assert_eq!(banks.get_by_name("fork").notes().await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_fork_is_an_object_of_its_own() {
    let mut rt = start().await;
    let banks = rt.namespace::<Bank>();
    let (home, copy) = (id(&banks, "home"), id(&banks, "copy"));
    banks.get(&home).note("both").await.unwrap();
    rt.advance(HOUR).await.unwrap();
    banks.fork(&home, &copy).await.unwrap();
    let stub = banks.get(&copy);
    assert_eq!(stub.identity().await.unwrap(), (copy.to_string(), Some("copy".to_owned())));
    let info = banks.info(&copy).await.unwrap().unwrap();
    let original = banks.info(&home).await.unwrap().unwrap();
    assert_eq!((info.schema_version, info.size), (2, original.size));
    assert_eq!(info.created, Some(rt.now()));
    assert_eq!(original.created, Some(rt.now() - HOUR));
    let listed = banks.list().prefix("").page().await.unwrap().objects;
    let names: Vec<_> = listed.iter().map(|object| object.id.name().unwrap().to_owned()).collect();
    assert_eq!(names, ["copy", "home"]);
    stub.note("copy").await.unwrap();
    banks.get(&home).note("home").await.unwrap();
    assert_eq!(stub.last().await.unwrap().as_deref(), Some("copy"));
    for round in 0..3 {
        let banks = rt.namespace::<Bank>();
        assert_eq!(banks.get(&copy).notes().await.unwrap(), ["both", "copy"]);
        assert_eq!(banks.get(&copy).total().await.unwrap(), 20_000);
        match round {
            0 => {
                assert_eq!(banks.get(&home).notes().await.unwrap(), ["both", "home"]);
                assert!(banks.delete(&home).await.unwrap());
                rt.crash().await.unwrap();
            }
            _ => rt.restart().await.unwrap(),
        }
    }
    let banks = rt.namespace::<Bank>();
    assert!(!banks.exists(&home).unwrap());
    // The other way round, and onto the place of one that was deleted.
    banks.fork(&copy, &home).await.unwrap();
    assert!(banks.delete(&copy).await.unwrap());
    rt.crash().await.unwrap();
    let banks = rt.namespace::<Bank>();
    assert_eq!(banks.get(&home).notes().await.unwrap(), ["both", "copy"]);
    assert!(!banks.exists(&copy).unwrap());
}

#[tokio::test]
async fn the_history_of_a_fork_begins_with_it() {
    let mut rt = start().await;
    let banks = rt.namespace::<Bank>();
    let (home, copy) = (id(&banks, "home"), id(&banks, "copy"));
    banks.get(&home).note("one").await.unwrap();
    // What was there before under this id is another story.
    let before = banks.get(&copy).note("before").await.unwrap();
    assert!(banks.delete(&copy).await.unwrap());
    banks.fork(&home, &copy).await.unwrap();
    let first = banks.current_bookmark(&copy).await.unwrap();
    assert!(before < first);
    let second = banks.get(&copy).note("two").await.unwrap();
    rt.crash().await.unwrap();
    let third = rt.namespace::<Bank>().get(&copy).note("three").await.unwrap();
    rt.restart().await.unwrap();
    let banks = rt.namespace::<Bank>();
    let all = ["one", "two", "three"];
    for (moment, count) in [(first, 1), (third, 3), (second, 2), (first, 1)] {
        banks.restore(&copy, &moment).await.unwrap();
        assert_eq!(banks.get(&copy).notes().await.unwrap(), all[..count]);
    }
    assert_eq!(banks.restore(&copy, &before).await.unwrap_err().kind(), ErrorKind::NotKept);
    assert_eq!(banks.get(&copy).notes().await.unwrap(), ["one"]);
    let unborn = banks.bookmark_for_time(&copy, rt.now() - HOUR).await.unwrap_err();
    assert_eq!(unborn.kind(), ErrorKind::NotKept);
}

#[tokio::test]
async fn a_fork_waits_for_nothing_and_is_another_sender() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let (home, copy) = (id(&banks, "home"), id(&banks, "copy"));
    let stub = banks.get(&home);
    stub.tell("friend", "from home").await.unwrap();
    banks.get_by_name("friend").tell("home", "from friend").await.unwrap();
    stub.wait_for_everything().await.unwrap();
    rt.settle().await.unwrap();
    assert_eq!(stub.waits_for().await.unwrap(), (true, 1, 1));
    banks.fork(&home, &copy).await.unwrap();
    assert_eq!(banks.get(&copy).waits_for().await.unwrap(), (false, 0, 0));
    assert_eq!(banks.info(&copy).await.unwrap().unwrap().next_wake, None);
    // The receiver has had this number of the other one.
    banks.get(&copy).tell("friend", "from copy").await.unwrap();
    banks.get_by_name("friend").tell("copy", "also to the copy").await.unwrap();
    rt.settle().await.unwrap();
    let heard = banks.get_by_name("friend").notes().await.unwrap();
    assert_eq!(heard, ["from home", "from copy"]);
    assert_eq!(banks.get(&copy).notes().await.unwrap(), ["from friend", "also to the copy"]);
    rt.advance(2 * HOUR).await.unwrap();
    assert!(banks.get(&home).notes().await.unwrap().len() > 3);
    assert_eq!(banks.get(&copy).notes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn of_several_that_make_an_object_one_succeeds() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    for name in ["a", "b"] {
        banks.get_by_name(name).note(name).await.unwrap();
    }
    let exists = banks.fork(&id(&banks, "a"), &id(&banks, "b")).await.unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::Exists);
    assert_eq!(banks.get_by_name("b").notes().await.unwrap(), ["b"]);
    let same = banks.fork(&id(&banks, "a"), &id(&banks, "a")).await.unwrap_err();
    assert_eq!(same.kind(), ErrorKind::Exists);
    for round in 0..20 {
        let target = id(&banks, &format!("target {round}"));
        if round % 2 == 0 {
            // One that somebody has looked at, and that is in memory.
            assert_eq!(banks.get(&target).transfers().await.unwrap(), 0);
        }
        let (a, b) = (id(&banks, "a"), id(&banks, "b"));
        let (from_a, from_b, written) = tokio::join!(
            banks.fork(&a, &target).into_future(),
            banks.fork(&b, &target).into_future(),
            async {
                for _ in 0..round * 3 {
                    tokio::task::yield_now().await;
                }
                banks.get(&target).note("new").await
            },
        );
        let forks = [(from_a, "a"), (from_b, "b")];
        let made: Vec<_> = forks.iter().filter(|(made, _)| made.is_ok()).collect();
        for (failed, _) in forks.iter().filter(|(made, _)| made.is_err()) {
            assert_eq!(failed.as_ref().unwrap_err().kind(), ErrorKind::Exists);
        }
        let mut expected: Vec<&str> = made.iter().map(|(_, name)| *name).collect();
        assert!(expected.len() <= 1);
        match written {
            Ok(_) => expected.push("new"),
            Err(CallError::Reset { started: false, .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(!expected.is_empty());
        assert_eq!(banks.get(&target).notes().await.unwrap(), expected);
        assert_eq!(banks.get(&target).total().await.unwrap(), 20_000);
    }
}

#[tokio::test]
async fn a_snapshot_becomes_many_objects_and_goes_with_its_owner() {
    let mut rt = start().await;
    let banks = rt.namespace::<Bank>();
    let home = id(&banks, "home");
    let first = banks.get(&home).note("one").await.unwrap();
    let snapshot = banks.snapshot(&home).await.unwrap();
    banks.get(&home).note("two").await.unwrap();
    assert_eq!((snapshot.bookmark(), snapshot.schema_version()), (first, 2));
    assert_eq!(snapshot.size(), std::fs::metadata(snapshot.path()).unwrap().len());
    let earlier = banks.snapshot(&home).at(&first).await.unwrap();
    for (number, snapshot) in [&snapshot, &earlier, &snapshot].into_iter().enumerate() {
        let fork = id(&banks, &format!("fork {number}"));
        snapshot.fork(&fork).await.unwrap();
        assert_eq!(snapshot.fork(&fork).await.unwrap_err().kind(), ErrorKind::Exists);
        banks.get(&fork).note("fork").await.unwrap();
        assert_eq!(banks.get(&fork).notes().await.unwrap(), ["one", "fork"]);
    }
    let (_folder, file) = folder();
    assert_eq!(snapshot.export(&file).await.unwrap().bookmark, first);
    assert_eq!(snapshot.export(&file).await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(read(&file), (20_000, vec!["one".to_owned()]));
    assert_eq!(read(snapshot.path()), read(&file));
    let path = snapshot.path().to_owned();
    drop(snapshot);
    assert!(!path.exists());
    // As if the program had died before it could.
    std::fs::write(&path, "left over").unwrap();
    rt.crash().await.unwrap();
    assert!(!path.exists());
    assert_eq!(rt.namespace::<Bank>().get_by_name("fork 2").notes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_turn_cannot_wait_for_a_copy() {
    let rt = start().await;
    let banks = rt.namespace::<Bank>();
    let home = banks.get_by_name("home");
    home.note("one").await.unwrap();
    let (from, to) = (id(&banks, "home"), id(&banks, "copy"));
    let refused = rt
        .run_in_object(&home, move |_, _| {
            Ok(durable_tests::now(banks.fork(&from, &to).into_future()).unwrap_err())
        })
        .await
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::Deadlock);
}
