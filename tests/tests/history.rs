//! Earlier states of objects: bookmarks, and going back to them and forth again.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{Bookmark, Builder, Error, ErrorKind};

#[derive(Default)]
struct Ledger;

#[durable_object]
impl Ledger {
    #[migration(1)]
    fn create_entries(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT, filler BLOB)")
    }

    pub fn add(&mut self, ctx: &Context, text: String) -> Result<Bookmark> {
        let filler = "INSERT INTO entries (text, filler) VALUES (?, randomblob(3000))";
        ctx.sql().execute(filler, [&text])?;
        ctx.current_bookmark()
    }

    /// Puts bytes that do not compress in the place of those before.
    pub fn fill(&mut self, ctx: &Context, bytes: u32) -> Result<Bookmark> {
        let filler = "INSERT OR REPLACE INTO entries (id, filler) VALUES (1, randomblob(?))";
        ctx.sql().execute(filler, [bytes])?;
        ctx.current_bookmark()
    }

    pub fn clear(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("DELETE FROM entries", []).map(|_| ())
    }

    pub fn delete(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    pub fn entries(&self, ctx: &Context) -> Result<Vec<String>> {
        ctx.sql().query_all("SELECT text FROM entries ORDER BY id", [])
    }

    pub fn bookmark(&self, ctx: &Context) -> Result<Bookmark> {
        ctx.current_bookmark()
    }

    /// Wishes for an earlier state.
    pub fn go_back_later(&mut self, ctx: &Context, to: Bookmark) -> Result<Bookmark> {
        ctx.restore_on_next_session(&to)
    }

    /// As on Cloudflare: the wish outlives the abort, and nothing else of the turn does.
    pub fn go_back(&mut self, ctx: &Context, to: Bookmark) -> Result<()> {
        ctx.sql().execute("INSERT INTO entries (text) VALUES ('undone')", [])?;
        ctx.restore_on_next_session(&to)?;
        Err(ctx.abort("going back"))
    }

    pub fn go_back_and_fail(&mut self, ctx: &Context, to: Bookmark) -> Result<()> {
        ctx.restore_on_next_session(&to)?;
        Err(Error::other("never mind"))
    }

    pub fn wake_in(&mut self, ctx: &Context, minutes: u64) -> Result<()> {
        ctx.set_alarm(After(Duration::from_secs(60 * minutes)))
    }

    pub fn is_waiting(&self, ctx: &Context) -> Result<bool> {
        Ok(ctx.alarm()?.is_some())
    }

    fn alarm(&mut self, ctx: &Context, _: durable::AlarmInfo) -> Result<()> {
        ctx.sql().execute("INSERT INTO entries (text) VALUES ('alarm')", []).map(|_| ())
    }
}

async fn start() -> TestRuntime {
    TestRuntime::start(|builder| builder.register::<Ledger>()).await.unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_object_goes_back_and_forth_over_restarts_and_crashes() {
    let mut rt = start().await;
    let id = rt.namespace::<Ledger>().id_from_name("home").unwrap();
    let mut bookmarks: Vec<Bookmark> = Vec::new();
    let names: Vec<String> = (0..20).map(|number| format!("entry {number}")).collect();
    for (number, name) in names.iter().enumerate() {
        bookmarks.push(rt.namespace::<Ledger>().get(&id).add(name.clone()).await.unwrap());
        match number % 7 {
            2 => rt.restart().await.unwrap(),
            4 => rt.crash().await.unwrap(),
            6 => assert!(rt.evict(&rt.namespace::<Ledger>().get(&id)).await.unwrap()),
            _ => {}
        }
    }
    assert!(bookmarks.is_sorted());
    assert!(bookmarks.iter().map(Bookmark::to_string).is_sorted());
    let mut undo: Vec<(Bookmark, usize)> = Vec::new();
    for index in [3, 17, 0, 19, 9] {
        let ledgers = rt.namespace::<Ledger>();
        let before = ledgers.get(&id).entries().await.unwrap().len();
        undo.push((ledgers.restore(&id, &bookmarks[index]).await.unwrap(), before));
        assert_eq!(ledgers.get(&id).entries().await.unwrap(), names[..=index]);
        rt.crash().await.unwrap();
        assert_eq!(rt.namespace::<Ledger>().get(&id).entries().await.unwrap(), names[..=index]);
    }
    for (bookmark, length) in undo.into_iter().rev() {
        let ledgers = rt.namespace::<Ledger>();
        ledgers.restore(&id, &bookmark).await.unwrap();
        assert_eq!(ledgers.get(&id).entries().await.unwrap(), names[..length]);
    }
}

#[tokio::test]
async fn a_wish_is_fulfilled_by_the_next_session_and_undone_with_its_turn() {
    let rt = start().await;
    let ledger = rt.namespace::<Ledger>().get_by_name("home");
    let one = ledger.add("one".into()).await.unwrap();
    ledger.add("two".into()).await.unwrap();
    ledger.go_back_and_fail(one).await.unwrap_err();
    rt.evict(&ledger).await.unwrap();
    assert_eq!(ledger.entries().await.unwrap(), ["one", "two"]);
    let undo = ledger.go_back_later(one).await.unwrap();
    assert_eq!(ledger.entries().await.unwrap(), ["one", "two"], "not before the next session");
    rt.evict(&ledger).await.unwrap();
    assert_eq!(ledger.entries().await.unwrap(), ["one"]);
    rt.evict(&ledger).await.unwrap();
    ledger.add("three".into()).await.unwrap();
    rt.evict(&ledger).await.unwrap();
    assert_eq!(ledger.entries().await.unwrap(), ["one", "three"], "a wish is fulfilled once");
    let error = ledger.go_back(undo).await.unwrap_err();
    assert!(matches!(error, durable::CallError::Reset { .. }), "{error:?}");
    assert_eq!(ledger.entries().await.unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn a_time_leads_to_the_last_commit_before_it() {
    let rt = start().await;
    let ledgers = rt.namespace::<Ledger>();
    let id = ledgers.id_from_name("home").unwrap();
    let created = rt.now() + MINUTE;
    let mut moments = Vec::new();
    for number in 1..=5_usize {
        rt.advance(MINUTE).await.unwrap();
        let bookmark = ledgers.get(&id).add(number.to_string()).await.unwrap();
        moments.push((rt.now(), bookmark));
        if number == 3 {
            rt.evict(&ledgers.get(&id)).await.unwrap();
        }
    }
    for (time, bookmark) in &moments {
        for later in [Duration::ZERO, MINUTE / 2] {
            let found = ledgers.bookmark_for_time(&id, *time + later).await.unwrap();
            assert_eq!(found, *bookmark);
        }
    }
    assert_eq!(ledgers.current_bookmark(&id).await.unwrap(), moments[4].1);
    let early = ledgers.bookmark_for_time(&id, created - MINUTE / 2).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::NotKept);
    assert!(early.message().contains("goes back to"), "{early}");
    ledgers.restore(&id, &moments[1].1).await.unwrap();
    assert_eq!(ledgers.get(&id).entries().await.unwrap(), ["1", "2"]);
    // What was before the restore is still there.
    let found = ledgers.bookmark_for_time(&id, moments[3].0).await.unwrap();
    assert_eq!(found, moments[3].1);
}

#[tokio::test]
async fn a_deleted_object_comes_back() {
    let mut rt = start().await;
    for restarts in [false, true] {
        let ledgers = rt.namespace::<Ledger>();
        let id = ledgers.unique_id().unwrap();
        ledgers.get(&id).add("one".into()).await.unwrap();
        let two = ledgers.get(&id).add("two".into()).await.unwrap();
        ledgers.get(&id).delete().await.unwrap();
        assert!(!ledgers.exists(&id).unwrap());
        if restarts {
            rt.restart().await.unwrap();
        }
        let ledgers = rt.namespace::<Ledger>();
        let none = ledgers.current_bookmark(&id).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotKept);
        ledgers.restore(&id, &two).await.unwrap();
        assert_eq!(ledgers.get(&id).entries().await.unwrap(), ["one", "two"]);
        assert!(ledgers.current_bookmark(&id).await.unwrap() > two);
        rt.crash().await.unwrap();
        let ledgers = rt.namespace::<Ledger>();
        assert_eq!(ledgers.get(&id).entries().await.unwrap(), ["one", "two"]);
    }
}

#[tokio::test]
async fn a_bookmark_of_another_object_or_of_nothing_is_refused() {
    let rt = start().await;
    let ledgers = rt.namespace::<Ledger>();
    let (id, other) = (ledgers.id_from_name("a").unwrap(), ledgers.id_from_name("b").unwrap());
    let foreign = ledgers.get(&other).add("x".into()).await.unwrap();
    let own = ledgers.get(&id).add("x".into()).await.unwrap();
    assert_eq!(ledgers.restore(&id, &foreign).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mistyped: Bookmark = own.to_string().replace("-0000", "-0001").parse().unwrap();
    assert_eq!(ledgers.restore(&id, &mistyped).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(ledgers.get(&id).entries().await.unwrap(), ["x"]);
}

#[tokio::test]
async fn what_is_older_than_the_history_is_gone_and_what_is_younger_stays() {
    let mut rt = TestRuntime::start(|builder| {
        builder.register::<Ledger>().history(Duration::from_secs(30 * 3_600))
    })
    .await
    .unwrap();
    let id = rt.namespace::<Ledger>().id_from_name("home").unwrap();
    let mut moments = Vec::new();
    for number in 0..60_usize {
        let ledgers = rt.namespace::<Ledger>();
        moments.push(ledgers.get(&id).add(number.to_string()).await.unwrap());
        // A restart makes a checkpoint, and a checkpoint removes what is too old.
        rt.restart().await.unwrap();
        rt.advance(Duration::from_secs(3_601)).await.unwrap();
    }
    let ledgers = rt.namespace::<Ledger>();
    let gone = ledgers.restore(&id, &moments[5]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotKept);
    assert!(gone.message().contains("goes back to"), "{gone}");
    for kept in [35, 45, 59] {
        ledgers.restore(&id, &moments[kept]).await.unwrap();
        assert_eq!(ledgers.get(&id).entries().await.unwrap().len(), kept + 1);
    }
}

#[tokio::test]
async fn without_history_there_is_none() {
    let without = |builder: Builder| builder.register::<Ledger>().history(Duration::ZERO);
    let rt = TestRuntime::start(without).await.unwrap();
    let ledgers = rt.namespace::<Ledger>();
    let id = ledgers.id_from_name("home").unwrap();
    let one = ledgers.get(&id).add("one".into()).await.unwrap();
    ledgers.get(&id).add("two".into()).await.unwrap();
    for error in [
        ledgers.restore(&id, &one).await.unwrap_err(),
        ledgers.bookmark_for_time(&id, rt.now()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotKept);
        assert!(error.message().contains("Builder::history"), "{error}");
    }
}

#[tokio::test]
async fn an_alarm_that_is_overdue_is_skipped_and_another_one_comes_back() {
    for (minutes, comes_back) in [(5, false), (30, true)] {
        let rt = start().await;
        let ledgers = rt.namespace::<Ledger>();
        let id = ledgers.id_from_name("home").unwrap();
        ledgers.get(&id).add("one".into()).await.unwrap();
        ledgers.get(&id).wake_in(minutes).await.unwrap();
        let set = ledgers.current_bookmark(&id).await.unwrap();
        ledgers.get(&id).delete().await.unwrap();
        rt.advance(10 * MINUTE).await.unwrap();
        ledgers.restore(&id, &set).await.unwrap();
        assert_eq!(ledgers.get(&id).is_waiting().await.unwrap(), comes_back);
        rt.advance(60 * MINUTE).await.unwrap();
        let entries = ledgers.get(&id).entries().await.unwrap();
        assert_eq!(entries.len(), 1 + usize::from(comes_back), "{entries:?}");
    }
}

/// What stands in all files of the history and the objects.
fn contents(rt: &TestRuntime) -> Vec<Vec<u8>> {
    let mut folders = vec![rt.directory().join("history"), rt.directory().join("objects")];
    let mut contents = Vec::new();
    while let Some(folder) = folders.pop() {
        // Objects have a folder from the first one that is written on.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                // One that was sorted meanwhile has gone over into another.
                false => contents.extend(std::fs::read(path)),
            }
        }
    }
    contents
}

fn stands_anywhere(rt: &TestRuntime, text: &str) -> bool {
    let holds =
        |content: &Vec<u8>| content.windows(text.len()).any(|window| window == text.as_bytes());
    contents(rt).iter().any(holds)
}

const SECRET: &str = "nobody must ever read this again";

#[tokio::test]
async fn an_erased_object_is_nowhere_and_its_moments_lead_nowhere() {
    let mut rt = start().await;
    let ledgers = rt.namespace::<Ledger>();
    let (id, other) = (ledgers.id_from_name("a").unwrap(), ledgers.id_from_name("b").unwrap());
    let kept = ledgers.get(&other).add("kept".into()).await.unwrap();
    ledgers.get(&other).clear().await.unwrap();
    let mut moments = Vec::new();
    for _ in 0..3 {
        moments.push(rt.namespace::<Ledger>().get(&id).add(SECRET.into()).await.unwrap());
        rt.restart().await.unwrap();
    }
    assert!(stands_anywhere(&rt, SECRET));
    let ledgers = rt.namespace::<Ledger>();
    assert!(ledgers.erase(&id).await.unwrap());
    assert!(!stands_anywhere(&rt, SECRET));
    assert!(!ledgers.exists(&id).unwrap());
    for crashes in [false, true] {
        if crashes {
            rt.crash().await.unwrap();
        }
        let ledgers = rt.namespace::<Ledger>();
        for moment in &moments {
            let gone = ledgers.restore(&id, moment).await.unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::NotKept);
        }
        assert!(!stands_anywhere(&rt, SECRET));
    }
    // Others keep their past, and so does who comes after it.
    let ledgers = rt.namespace::<Ledger>();
    ledgers.restore(&other, &kept).await.unwrap();
    assert_eq!(ledgers.get(&other).entries().await.unwrap(), ["kept"]);
    let one = ledgers.get(&id).add("one".into()).await.unwrap();
    ledgers.get(&id).add("two".into()).await.unwrap();
    ledgers.restore(&id, &one).await.unwrap();
    assert_eq!(ledgers.get(&id).entries().await.unwrap(), ["one"]);
    assert!(one > moments[2]);
}

#[tokio::test]
async fn what_was_deleted_before_a_crash_can_still_be_erased() {
    let mut rt = start().await;
    let ledgers = rt.namespace::<Ledger>();
    let id = ledgers.id_from_name("home").unwrap();
    let moment = ledgers.get(&id).add(SECRET.into()).await.unwrap();
    assert!(ledgers.delete(&id).await.unwrap());
    rt.crash().await.unwrap();
    // It is deleted, and no more than that.
    assert!(stands_anywhere(&rt, SECRET));
    let ledgers = rt.namespace::<Ledger>();
    ledgers.restore(&id, &moment).await.unwrap();
    assert_eq!(ledgers.get(&id).entries().await.unwrap(), [SECRET]);
    assert!(ledgers.delete(&id).await.unwrap());
    for _ in 0..2 {
        assert!(!ledgers.erase(&id).await.unwrap(), "there was nothing to delete");
        assert!(!stands_anywhere(&rt, SECRET));
        let gone = ledgers.restore(&id, &moment).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotKept);
    }
}

#[tokio::test]
async fn an_object_is_erased_where_no_history_is_kept_too() {
    let without = |builder: Builder| builder.register::<Ledger>().history(Duration::ZERO);
    let rt = TestRuntime::start(without).await.unwrap();
    let ledgers = rt.namespace::<Ledger>();
    let id = ledgers.id_from_name("home").unwrap();
    ledgers.get(&id).add(SECRET.into()).await.unwrap();
    rt.evict(&ledgers.get(&id)).await.unwrap();
    assert!(stands_anywhere(&rt, SECRET));
    assert!(ledgers.erase(&id).await.unwrap());
    assert!(contents(&rt).is_empty());
}

#[tokio::test]
async fn the_history_stays_within_its_limit_and_the_oldest_goes_first() {
    const LIMIT: u64 = 48 * 1_024 * 1_024;
    let mut rt = TestRuntime::start(|builder| {
        let month = Duration::from_secs(30 * 24 * 3_600);
        builder.register::<Ledger>().history(month).history_limit(LIMIT)
    })
    .await
    .unwrap();
    let id = rt.namespace::<Ledger>().id_from_name("home").unwrap();
    let mut moments = Vec::new();
    for _ in 0..6 {
        for _ in 0..10 {
            let ledgers = rt.namespace::<Ledger>();
            moments.push(ledgers.get(&id).fill(1_500_000).await.unwrap());
        }
        rt.restart().await.unwrap();
        let files = std::fs::read_dir(rt.directory().join("history")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        // A file that is being sorted is there twice.
        assert!(bytes <= LIMIT + LIMIT / 2, "{bytes}");
    }
    let ledgers = rt.namespace::<Ledger>();
    let mut kept = Vec::new();
    for moment in &moments {
        // It looks whether that can be done, and the next one takes its place.
        let wished = ledgers.get(&id).go_back_later(*moment).await;
        if let Err(error) = &wished {
            assert!(error.to_string().contains("goes back to"), "{error}");
        }
        kept.push(wished.is_ok());
    }
    assert!(kept.is_sorted(), "{kept:?}");
    let gone = kept.iter().filter(|kept| !**kept).count();
    assert!((10..55).contains(&gone), "{gone} of {} are gone", moments.len());
    // The state of before the last wish and the first that is left, as any other.
    let first = moments[gone];
    ledgers.restore(&id, &first).await.unwrap();
    assert!(ledgers.current_bookmark(&id).await.unwrap() > moments[59]);
}
