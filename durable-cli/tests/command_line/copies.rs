//! Objects as files, and objects made of others.

use std::os::unix::fs::PermissionsExt;

use durable::admin::Token;

use crate::bed::{Bed, Counter, Room, fill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_from_one_program_to_another_as_a_file() {
    let (here, there) = (Bed::new(), Bed::new());
    let from = here.served().await;
    fill(&from).await.unwrap();
    let to = there.program().await;
    let token = Token::load_or_create(there.folder().join("token")).unwrap();
    let serve = durable::admin::serve(&to).tcp("127.0.0.1:0".parse().unwrap(), token);
    let url = format!("http://{}", serve.start().await.unwrap().address().unwrap());
    let file = there.folder().join("lobby.db");
    let path = file.to_str().unwrap();
    let exported = here.json(&["export", "Room/lobby", path]).await;
    let found = std::fs::metadata(&file).unwrap();
    assert_eq!(
        (&exported["bytes"], found.permissions().mode() & 0o777),
        (&found.len().into(), 0o600)
    );
    assert_eq!(
        std::fs::read_dir(there.folder()).unwrap().count(),
        3,
        "the data, the token, and the file"
    );
    let place = ["--url", &url, "--token-file", "token"];
    let name = "Room/a b&object=c/ü";
    there.done(&[&place[..], &["import", name, "lobby.db"]].concat()).await;
    let annex = to.get::<Room>("a b&object=c/ü");
    assert_eq!(annex.posts_so_far().await.unwrap(), 2);
    let shown = there.json(&[&place[..], &["show", name]].concat()).await;
    assert_eq!(
        (&shown["alarm"], &shown["timers"]),
        (&serde_json::Value::Null, &serde_json::json!([]))
    );
    let again = [&place[..], &["export", name, "annex.db"]].concat();
    there.done(&again).await;
    let ended = there.run(&again).await;
    assert!(ended.code == 1 && ended.err.contains("is there already"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_the_moment_that_is_asked_for() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let commits = bed.json(&["bookmarks", "Counter/visits"]).await["commits"].clone();
    let first = commits[2]["bookmark"].as_str().unwrap().to_owned();
    for (way, is_live) in [("live", true), ("offline", false)] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        let (now, then) = (format!("now-{way}.db"), format!("then-{way}.db"));
        bed.done(&["export", "Counter/visits", &now]).await;
        let exported = bed.json(&["export", "Counter/visits", &then, "--at", &first]).await;
        assert_eq!(exported["bookmark"], first);
        let fork = format!("Counter/{way}");
        bed.done(&["fork", "Counter/visits", &fork, "--at", &first]).await;
        assert_eq!(bed.json(&["show", &fork]).await["entries"][0]["value"], 1);
        let ended = bed.run(&["fork", "Counter/visits", &fork]).await;
        assert!(ended.code == 1 && ended.err.contains("exists already"), "{ended:?}");
        let ended = bed.run(&["fork", "Counter/visits", "Room/visits"]).await;
        assert!(ended.code == 2 && ended.err.contains("different classes"), "{ended:?}");
        let ended = bed.run(&["export", "Counter/nobody", "nobody.db"]).await;
        assert!(ended.code == 4 && !bed.folder().join("nobody.db").exists(), "{ended:?}");
    }
    let runtime = bed.served().await;
    for (file, count) in
        [("now-live.db", 4), ("then-live.db", 2), ("now-offline.db", 4), ("then-offline.db", 2)]
    {
        let object = format!("Counter/{file}");
        bed.done(&["import", &object, file]).await;
        assert_eq!(runtime.get::<Counter>(file).increment().await.unwrap(), count, "{file}");
    }
    for fork in ["live", "offline"] {
        assert_eq!(runtime.get::<Counter>(fork).increment().await.unwrap(), 2, "{fork}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_started_can_be_exported() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    runtime.get::<Counter>("broken").break_it().await.unwrap();
    bed.done(&["evict", "Counter/broken"]).await;
    assert!(runtime.get::<Counter>("broken").increment().await.is_err());
    bed.done(&["export", "Counter/broken", "live.db"]).await;
    runtime.shutdown().await.unwrap();
    bed.done(&["export", "Counter/broken", "offline.db"]).await;
    let ended = bed.run(&["import", "Counter/other", "live.db"]).await;
    assert!(ended.code == 1 && ended.err.contains("needs the program's code"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_sound_database_becomes_no_object() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    std::fs::write(bed.folder().join("text.db"), "what is this").unwrap();
    let ended = bed.run(&["import", "Room/new", "text.db"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(bed.run(&["import", "Room/new", "nothing.db"]).await.code, 4);
    bed.done(&["export", "Room/lobby", "lobby.db"]).await;
    std::fs::write(bed.folder().join("lobby.db-wal"), "not in the file").unwrap();
    let ended = bed.run(&["import", "Room/new", "lobby.db"]).await;
    assert!(ended.code == 2 && ended.err.contains("wal_checkpoint"), "{ended:?}");
    assert_eq!(bed.run(&["show", "Room/new"]).await.code, 4, "nothing was made");
    let spooled = std::fs::read_dir(bed.data().join("copies")).map_or(0, Iterator::count);
    assert_eq!(spooled, 0, "nothing is left of what came in");
}
