//! What the desk promises, with a clock by hand, evictions and crashes.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;

use crate::HISTORY;
use crate::desk::Desk;
use crate::document::Document;
use crate::draft::Draft;
use crate::versions::Versions;

const DAY: Duration = Duration::from_hours(24);

async fn start() -> TestRuntime {
    let start = TestRuntime::start(|builder| {
        let builder = builder.register::<Document>().register::<Versions>().register::<Draft>();
        builder.history(HISTORY)
    });
    start.await.unwrap()
}

async fn text(rt: &Runtime, name: &str) -> String {
    Desk::new(rt).read(name).await.unwrap().1
}

async fn numbers(rt: &Runtime, name: &str) -> Vec<u32> {
    let versions = Desk::new(rt).versions(name).await.unwrap().0;
    versions.iter().map(|version| version.number).collect()
}

#[tokio::test]
async fn every_undo_can_be_redone_over_crashes() {
    let mut rt = start().await;
    let texts = ["one", "two", "three", "four"];
    for (number, text) in (1..).zip(texts) {
        assert_eq!(Desk::new(&rt).write("a", text).await.unwrap(), number);
    }
    for back in (0..3).rev() {
        rt.crash().await.unwrap();
        Desk::new(&rt).undo("a").await.unwrap();
        assert_eq!(text(&rt, "a").await, texts[back]);
        assert_eq!(numbers(&rt, "a").await, [1, 2, 3, 4]);
    }
    let error = Desk::new(&rt).undo("a").await.unwrap_err();
    assert!(error.message().contains("nothing to undo"), "{error}");
    for forth in texts.iter().skip(1) {
        rt.crash().await.unwrap();
        Desk::new(&rt).redo("a").await.unwrap();
        assert_eq!(text(&rt, "a").await, *forth);
    }
    let error = Desk::new(&rt).redo("a").await.unwrap_err();
    assert!(error.message().contains("nothing to redo"), "{error}");
}

#[tokio::test]
async fn an_edit_after_an_undo_takes_the_place_of_what_was_undone() {
    let rt = start().await;
    let desk = Desk::new(&rt);
    for text in ["one", "two", "three"] {
        desk.write("a", text).await.unwrap();
    }
    desk.undo("a").await.unwrap();
    desk.undo("a").await.unwrap();
    assert_eq!(desk.write("a", "2").await.unwrap(), 2);
    assert_eq!(numbers(&rt, "a").await, [1, 2]);
    desk.redo("a").await.unwrap_err();
    desk.undo("a").await.unwrap();
    assert_eq!(text(&rt, "a").await, "one");
    desk.redo("a").await.unwrap();
    assert_eq!(text(&rt, "a").await, "2");
}

#[tokio::test]
async fn a_copy_begins_with_any_version_and_goes_its_own_way() {
    let rt = start().await;
    let desk = Desk::new(&rt);
    for text in ["one", "two", "three"] {
        desk.write("a", text).await.unwrap();
    }
    assert_eq!(desk.copy("a", "b", Some(2)).await.unwrap(), 2);
    assert_eq!((text(&rt, "a").await, text(&rt, "b").await), ("three".into(), "two".into()));
    assert_eq!(desk.write("b", "other").await.unwrap(), 3);
    desk.undo("b").await.unwrap();
    assert_eq!(text(&rt, "b").await, "two");
    desk.undo("b").await.unwrap_err();
    assert_eq!((numbers(&rt, "a").await, numbers(&rt, "b").await), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!(text(&rt, "a").await, "three");
    // What is there is not written over, and what is not there is not copied.
    desk.copy("a", "b", None).await.unwrap_err();
    desk.copy("a", "c", Some(9)).await.unwrap_err();
    desk.copy("nothing", "c", None).await.unwrap_err();
    assert_eq!(desk.names::<Document>().await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_draft_is_gone_after_a_week_unless_it_was_published() {
    let rt = start().await;
    let desk = Desk::new(&rt);
    desk.draft("idea", "to do nothing").await.unwrap();
    desk.draft("plan", "to do this").await.unwrap();
    rt.advance(6 * DAY).await.unwrap();
    desk.draft("plan", "to do that").await.unwrap();
    rt.advance(2 * DAY).await.unwrap();
    assert_eq!(desk.names::<Draft>().await.unwrap(), ["plan"]);
    assert_eq!(desk.publish("plan").await.unwrap(), 1);
    let error = desk.publish("idea").await.unwrap_err();
    assert!(error.message().contains("no such draft"), "{error}");
    rt.advance(100 * DAY).await.unwrap();
    assert!(desk.names::<Draft>().await.unwrap().is_empty());
    assert_eq!(text(&rt, "plan").await, "to do that");
}

#[tokio::test]
async fn an_edit_can_be_undone_for_a_month_however_old_the_text_is() {
    let mut rt = start().await;
    for text in ["one", "two"] {
        Desk::new(&rt).write("a", text).await.unwrap();
    }
    for _ in 0..6 {
        // A restart makes a checkpoint, and a checkpoint removes what is too old.
        rt.restart().await.unwrap();
        rt.advance(HISTORY / 2).await.unwrap();
    }
    Desk::new(&rt).write("a", "three").await.unwrap();
    Desk::new(&rt).undo("a").await.unwrap();
    assert_eq!(text(&rt, "a").await, "two");
    let error = Desk::new(&rt).undo("a").await.unwrap_err();
    assert_eq!(error.kind(), durable::ErrorKind::NotKept, "{error}");
    assert_eq!(text(&rt, "a").await, "two");
    Desk::new(&rt).redo("a").await.unwrap();
    assert_eq!(text(&rt, "a").await, "three");
}
