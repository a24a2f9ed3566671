//! Objects whose code fails or is not there, and directories that nobody runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::prelude::*;

use crate::bed::{Bed, Counter, Room, fill};

/// A counter that cannot be started any more.
async fn broken(runtime: &Runtime) {
    let broken = runtime.get::<Counter>("broken");
    broken.increment().await.unwrap();
    broken.break_it().await.unwrap();
    runtime
        .namespace::<Counter>()
        .evict(&runtime.namespace().id_from_name("broken").unwrap())
        .unwrap();
    assert!(broken.increment().await.is_err(), "it is broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_started_can_be_looked_at_restored_and_deleted() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    broken(&runtime).await;
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        let shown = bed.json(&["show", "Counter/broken"]).await;
        assert_eq!(shown["entries"][1]["value"], 1, "{shown}");
        assert_eq!(bed.json(&["sql", "Counter/broken", "SELECT 7"]).await["rows"][0][0], 7);
        assert_eq!(bed.json(&["check", "Counter/broken"]).await["objects"], 1);
    }
    // The commit before the one that broke it.
    let commits = bed.json(&["bookmarks", "Counter/broken"]).await["commits"].clone();
    let good = commits[1]["bookmark"].as_str().unwrap().to_owned();
    let runtime = bed.served().await;
    let restored = bed.json(&["restore", "Counter/broken", &good]).await;
    assert_eq!(runtime.get::<Counter>("broken").increment().await.unwrap(), 2, "it starts again");
    let undo = restored["undo"].as_str().unwrap().to_owned();
    bed.done(&["restore", "Counter/broken", &undo]).await;
    assert!(runtime.get::<Counter>("broken").increment().await.is_err(), "that is undone");
    bed.done(&["delete", "Counter/broken", "--yes"]).await;
    assert_eq!(runtime.get::<Counter>("broken").increment().await.unwrap(), 1, "a new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_class_that_the_program_lacks_are_open_to_operators() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    runtime.shutdown().await.unwrap();
    let runtime = Runtime::builder(bed.data()).register::<Counter>().start().await.unwrap();
    durable::admin::serve(&runtime).start().await.unwrap();
    assert_eq!(bed.json(&["classes"]).await[1]["is_registered"], false);
    let bookmark =
        bed.json(&["bookmarks", "Room/lobby"]).await["current"].as_str().unwrap().to_owned();
    bed.done(&["sql", "Room/lobby", "DELETE FROM posts", "--write"]).await;
    let count = || async {
        bed.json(&["sql", "Room/lobby", "SELECT count(*) FROM posts"]).await["rows"][0][0].clone()
    };
    assert_eq!(count().await, 0);
    bed.done(&["restore", "Room/lobby", &bookmark]).await;
    assert_eq!(count().await, 2);
    let ended = bed.run(&["alarms", "--fire", "Room/lobby"]).await;
    assert!(ended.code == 1 && ended.err.contains("class `Room`"), "{ended:?}");
    bed.done(&["delete", "Room/lobby", "--yes"]).await;
    assert_eq!(bed.run(&["show", "Room/lobby"]).await.code, 4);
    runtime.shutdown().await.unwrap();
    let runtime = bed.program().await;
    assert_eq!(runtime.get::<Room>("lobby").posts_so_far().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_neither_begun_nor_cut_by_looking() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    let lobby = runtime.get::<Room>("lobby");
    lobby.post("Ada".into(), "first".into()).await.unwrap();
    let first = runtime
        .namespace::<Room>()
        .current_bookmark(&runtime.namespace().id_from_name("lobby").unwrap())
        .await
        .unwrap();
    lobby.post("Ada".into(), "second".into()).await.unwrap();
    runtime.shutdown().await.unwrap();
    for _ in 0..3 {
        bed.done(&["classes"]).await;
        bed.done(&["sql", "Room/lobby", "UPDATE posts SET text = text || '!'", "--write"]).await;
    }
    let past = bed.json(&["bookmarks", "Room/lobby"]).await;
    assert_eq!(past["oldest"]["bookmark"], first.to_string());
    assert_eq!(past["commits"].as_array().unwrap().len(), 5);
    bed.done(&["restore", "Room/lobby", &first.to_string()]).await;
    let runtime = bed.program().await;
    assert_eq!(runtime.get::<Room>("lobby").posts_so_far().await.unwrap(), 1);
    runtime.shutdown().await.unwrap();

    let bed = Bed::new();
    let builder = Runtime::builder(bed.data()).register::<Room>().history(Duration::ZERO);
    let runtime = builder.start().await.unwrap();
    runtime.get::<Room>("lobby").post("Ada".into(), "hello".into()).await.unwrap();
    runtime.shutdown().await.unwrap();
    bed.done(&["sql", "Room/lobby", "DELETE FROM posts", "--write"]).await;
    let ended = bed.run(&["bookmarks", "Room/lobby"]).await;
    assert!(ended.code == 0 && ended.err.contains("no history"), "{ended:?}");
    assert!(!bed.data().join("history").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_waits_for_the_program() {
    let bed = Bed::new();
    let long_ago = || std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let runtime =
        Runtime::builder(bed.data()).clock(long_ago).register::<Room>().start().await.unwrap();
    runtime.get::<Room>("lobby").close_later().await.unwrap();
    runtime.shutdown().await.unwrap();
    for _ in 0..2 {
        let shown = bed.json(&["show", "Room/lobby"]).await;
        assert_eq!(shown["alarm"]["due"], "2001-09-10T01:46:40.000Z", "{shown}");
        assert_eq!(shown["keys"], 0, "it has not run");
        assert_eq!(bed.json(&["alarms"]).await["due"][0]["object"], "Room/lobby");
    }
    for arguments in [
        &["alarms", "--fire", "Room/lobby"][..],
        &["alarms", "--retry", "Room/lobby"],
        &["migrate", "--dry-run"],
        &["top"],
    ] {
        let ended = bed.run(arguments).await;
        assert!(ended.code == 1 && ended.err.contains("the program"), "{ended:?}");
    }
}

/// All files of a folder, and what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_without_the_program_leaves_all_that_is_stored_as_it_is() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    runtime.shutdown().await.unwrap();
    let before = files(&bed.data());
    bed.done(&["check"]).await;
    assert!(before == files(&bed.data()), "a check changes no file at all");
    for command in [
        &["classes"][..],
        &["list", "Room"],
        &["show", "Room/lobby"],
        &["sql", "Room/lobby", "SELECT * FROM posts"],
        &["bookmarks", "Room/lobby"],
        &["export", "Room/lobby", "lobby.db"],
        &["alarms"],
        &["stats"],
        &["check", "Room/lobby"],
    ] {
        bed.done(command).await;
    }
    let mut after = files(&bed.data());
    for (path, content) in before {
        let now = after.remove(&path).unwrap_or_default();
        // Each start begins a segment of the journal, and the history notes that.
        match path.strip_prefix(bed.data()).unwrap() {
            path if path.starts_with("journal") => {}
            path if path.starts_with("history") => assert!(now.starts_with(&content), "{path:?}"),
            path => assert!(now == content, "{path:?}"),
        }
    }
    let is_of_journal = |path: &PathBuf| path.starts_with(bed.data().join("journal"));
    assert!(after.keys().all(is_of_journal), "{:?}", after.keys());
}

/// Is kept for an hour.
#[derive(Default)]
struct Ticket;

#[durable_object(expires_after = "1h")]
impl Ticket {
    pub fn write(&mut self, ctx: &Context, text: String) -> Result<()> {
        ctx.kv().put("text", &text)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_restored_without_the_program_is_kept_for_its_time() {
    let bed = Bed::new();
    let long_ago = || std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let builder = Runtime::builder(bed.data()).clock(long_ago).history(Duration::from_hours(24));
    let runtime = builder.register::<Ticket>().start().await.unwrap();
    runtime.get::<Ticket>("a").write("first".into()).await.unwrap();
    runtime.get::<Ticket>("a").write("second".into()).await.unwrap();
    runtime.shutdown().await.unwrap();
    let past = bed.json(&["bookmarks", "Ticket/a"]).await;
    bed.done(&["delete", "Ticket/a", "--yes"]).await;
    bed.done(&["restore", "Ticket/a", past["oldest"]["bookmark"].as_str().unwrap()]).await;
    let shown = bed.json(&["show", "Ticket/a"]).await;
    let (used, due) = (&shown["object"]["last_written"], &shown["object"]["next_wake"]);
    // As texts, too, one is later than the other.
    assert!(due.as_str().unwrap() > used.as_str().unwrap(), "it is overdue: {shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_name_is_the_id_of_another_is_not_taken_for_it() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    runtime.get::<Counter>("a").increment().await.unwrap();
    let id = runtime.namespace::<Counter>().id_from_name("a").unwrap().to_string();
    runtime.get::<Counter>(&id).increment().await.unwrap();
    let listed = bed.json(&["list", "Counter"]).await;
    let listed = listed["objects"].as_array().unwrap();
    let other = listed.iter().find(|object| object["name"] == id.as_str()).unwrap();
    bed.done(&["delete", other["object"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(runtime.get::<Counter>("a").increment().await.unwrap(), 2, "it is still there");
    assert_eq!(bed.json(&["list", "Counter"]).await["objects"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_runs_when_an_operator_wants_it() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    bed.done(&["alarms", "--fire", "Room/lobby"]).await;
    while bed.json(&["show", "Room/lobby"]).await["keys"] != 3 {}
    assert_eq!(
        bed.run(&["alarms", "--fire", "Room/lobby"]).await.code,
        4,
        "there is none any more"
    );
}

/// The room as a later program has it, which knows what it wants and not what there is.
mod later {
    use durable::prelude::*;

    #[derive(Default)]
    pub struct Hall;

    #[durable_object(name = "Room")]
    impl Hall {
        #[migration(1)]
        fn posts(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE posts (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)")
        }

        #[migration(2)]
        fn one_each(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE UNIQUE INDEX one_each ON posts (who)")
        }

        pub fn ping(&self) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_are_tried_and_undone() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    runtime.get::<Room>("team/blue").post("Ada".into(), "one".into()).await.unwrap();
    runtime.get::<Room>("team/blue").post("Ada".into(), "two".into()).await.unwrap();
    runtime.shutdown().await.unwrap();
    let runtime = Runtime::builder(bed.data()).register::<later::Hall>().start().await.unwrap();
    durable::admin::serve(&runtime).start().await.unwrap();
    let before = bed.json(&["show", "Room/lobby"]).await["bookmark"].clone();
    for _ in 0..2 {
        let ended = bed.run(&["--json", "migrate", "--dry-run"]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        let tried: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let trials = tried["trials"].as_array().unwrap();
        let error = |object: &str| {
            trials.iter().find(|trial| trial["object"] == object).unwrap()["error"].clone()
        };
        assert_eq!((error("Room/lobby"), trials.len()), (serde_json::Value::Null, 2));
        let said = error("Room/team/blue");
        assert!(said.as_str().unwrap().contains("migration 2 `one_each` failed"), "{said}");
    }
    let after = bed.json(&["show", "Room/lobby"]).await;
    assert_eq!((&after["bookmark"], &after["object"]["schema_version"]), (&before, &1.into()));
    // The one that cannot be started can be helped.
    assert!(runtime.get::<later::Hall>("team/blue").ping().await.is_err());
    bed.done(&["sql", "Room/team/blue", "DELETE FROM posts WHERE text = 'two'", "--write"]).await;
    assert_eq!(bed.run(&["migrate", "--dry-run"]).await.code, 0);
    runtime.get::<later::Hall>("team/blue").ping().await.unwrap();
}
