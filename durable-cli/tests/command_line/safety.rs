//! What an operator cannot do to a living object.

use std::time::Duration;

use durable::ErrorKind;
use durable::admin::{Evict, RunSql, Show};

use crate::bed::{Bed, Counter, Room, fill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_of_operators_is_guarded_as_that_of_objects() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        let before = bed.json(&["show", "Room/lobby"]).await;
        for query in [
            "DELETE FROM posts",
            "INSERT INTO posts (who, text) VALUES ('a', 'b')",
            "DROP TABLE posts",
            "PRAGMA optimize",
        ] {
            let ended = bed.run(&["sql", "Room/lobby", query]).await;
            assert_eq!(ended.code, 1, "{query}: {ended:?}");
            assert!(ended.err.contains("--write"), "{query}: {ended:?}");
        }
        for query in [
            "SELECT * FROM _durable_kv",
            "DELETE FROM _durable_meta",
            "UPDATE _durable_alarm SET due = 0",
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT s",
            "ATTACH 'other.db' AS other",
            "VACUUM",
            "VACUUM INTO 'copy.db'",
            "PRAGMA user_version = 7",
            "PRAGMA writable_schema = ON",
            "PRAGMA journal_mode = DELETE",
            "CREATE TEMP TABLE t (x)",
            "SELECT load_extension('x')",
            "/*durable*/DELETE FROM posts",
        ] {
            for write in [false, true] {
                let arguments = ["sql", "Room/lobby", query, "--write"];
                let ended = bed.run(&arguments[..3 + usize::from(write)]).await;
                assert_eq!(ended.code, 1, "{query}, write: {write}: {ended:?}");
            }
        }
        let after = bed.json(&["show", "Room/lobby"]).await;
        for part in ["bookmark", "tables", "parts", "entries", "alarm", "timers"] {
            assert_eq!(before[part], after[part], "{part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_one_turn_and_the_instance_knows_of_it() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let lobby = runtime.get::<Room>("lobby");
    assert_eq!(lobby.posts_so_far().await.unwrap(), 2);
    let failed = bed
        .run(&[
            "sql",
            "Room/lobby",
            "--write",
            "INSERT INTO posts (who, text) SELECT 'Bob', 'x' UNION ALL SELECT NULL, 'y'",
        ])
        .await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(lobby.posts_so_far().await.unwrap(), 2, "none of it");
    let said =
        bed.done(&["sql", "Room/lobby", "--write", "DELETE FROM posts WHERE who = 'Ada'"]).await;
    assert_eq!(said, "1 row changed\n");
    assert_eq!(lobby.posts_so_far().await.unwrap(), 1, "the instance was made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_query_ends_and_others_go_on() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let (admin, query) = (
        runtime.admin(),
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    );
    let endless = RunSql {
        object: "Room/lobby".into(),
        query: query.into(),
        write: false,
        rows: 1,
        time_ms: Some(4_000),
    };
    let asking = tokio::spawn({
        let admin = admin.clone();
        async move { admin.perform(endless, "a test").await }
    });
    // An object that is at work cannot be sent out of memory.
    while admin.perform(Evict { object: "Room/lobby".into() }, "a test").await.unwrap().is_out {
        tokio::task::yield_now().await;
    }
    assert_eq!(runtime.get::<Counter>("visits").increment().await.unwrap(), 4);
    assert!(!asking.is_finished(), "the query runs");
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(runtime.get::<Room>("lobby").posts_so_far().await.unwrap(), 2);
    let ended = bed.run(&["sql", "Room/lobby", query, "--timeout", "0.1"]).await;
    assert!(ended.code == 1 && ended.err.contains("limit of 100ms"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_no_more_rows_than_they_ask_for() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let query = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT i FROM n";
    let rows = bed.json(&["sql", "Room/lobby", query, "--limit", "3"]).await;
    assert_eq!((rows["rows"].as_array().unwrap().len(), &rows["has_more"]), (3, &true.into()));
    let query = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100) SELECT zeroblob(1000000) FROM n";
    let rows = bed.json(&["sql", "Room/lobby", query]).await;
    assert_eq!(
        (rows["rows"].as_array().unwrap().len(), &rows["has_more"]),
        (8, &true.into()),
        "8 MiB"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_a_sleeper_does_not_wake_it() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    bed.done(&["evict", "Room/lobby"]).await;
    let show = || async { bed.json(&["show", "Room/lobby"]).await["is_resident"].clone() };
    assert_eq!(show().await, false);
    bed.done(&["sql", "Room/lobby", "SELECT 1"]).await;
    bed.done(&["sql", "Room/lobby", "DELETE FROM posts", "--write"]).await;
    bed.done(&["check"]).await;
    assert_eq!(show().await, false);
    assert_eq!(runtime.get::<Room>("lobby").posts_so_far().await.unwrap(), 0);
    assert_eq!(show().await, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_has_ended_says_so() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let admin = runtime.admin();
    runtime.shutdown_within(Duration::from_secs(5)).await.unwrap();
    let show = Show { object: "Room/lobby".into(), limit: 1, after: None };
    let error = admin.perform(show, "a test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert!(!bed.data().join("admin.sock").exists(), "its socket is gone");
}
