//! How commands end, and what they write.

use serde_json::json;

use crate::bed::{Bed, Room, fill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_says_how_it_went() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        for (code, arguments) in [
            (0, &["classes"][..]),
            (0, &["list", "Room", "--prefix", "-x"]),
            (0, &["show", "Room/lobby", "--after", "-x"]),
            (1, &["sql", "Room/lobby", "SELECT nothing FROM nowhere"]),
            (2, &["show"]),
            (2, &["show", "lobby"]),
            (2, &["delete", "Room/lobby"]),
            (2, &["bookmarks", "Room/lobby", "--at", "soon"]),
            (2, &["migrate"]),
            (4, &["show", "Room/attic"]),
            (4, &["show", "Hall/lobby"]),
            (4, &["list", "Hall"]),
            (4, &["delete", "Room/attic", "--yes"]),
            (4, &["restore", "Room/lobby", "1970-01-01T00:00:00Z"]),
        ] {
            let ended = bed.run(arguments).await;
            assert_eq!(ended.code, code, "{arguments:?}, live: {is_live}: {ended:?}");
            assert_eq!(ended.err.is_empty(), code == 0, "{ended:?}");
            assert_eq!(ended.out.is_empty(), code != 0, "{ended:?}");
        }
    }
    let nowhere = bed.run(&["--data", "elsewhere", "classes"]).await;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(!bed.folder().join("elsewhere").exists(), "it makes no data directory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_have_a_code_of_their_own() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    runtime.shutdown().await.unwrap();
    assert_eq!(bed.run(&["check"]).await.code, 0);
    std::fs::write(bed.data().join("objects").join("lost"), "what is this").unwrap();
    let ended = bed.run(&["check"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("1 problem"), "{ended:?}");
    let json = bed.run(&["--json", "check"]).await;
    let found: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, found["problems"].as_array().unwrap().len()), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_without_the_admin_api_is_told_how_to_have_it() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    for arguments in [&["classes"][..], &["check"]] {
        let ended = bed.run(arguments).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains("durable::admin::serve(&runtime)"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_stored_commands_the_terminal() {
    const NASTY: &str = "a\u{1b}[2J\u{9b}b\nc\u{202e}d";
    let bed = Bed::new();
    let runtime = bed.served().await;
    let room = runtime.get::<Room>(NASTY);
    room.name_it(NASTY.into()).await.unwrap();
    room.post(NASTY.into(), NASTY.into()).await.unwrap();
    let object = format!("Room/{NASTY}");
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        for arguments in [
            &["list", "Room"][..],
            &["show", &object],
            &["sql", &object, "SELECT text AS \"x\u{1b}y\" FROM posts"],
            &["sql", &object, "SELECT * FROM \"no\u{1b}where\""],
            &["show", &format!("{object}?")],
            &["--json", "show", &object],
            &["--json", "list", "Room", "--all"],
        ] {
            let ended = bed.run(arguments).await;
            let acts =
                |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
            assert!(
                !ended.out.contains(acts) && !ended.err.contains(acts),
                "{arguments:?}: {ended:?}"
            );
            assert!(
                ended.out.contains("\\u") || ended.err.contains("\\u"),
                "{arguments:?}: {ended:?}"
            );
        }
        let shown = bed.json(&["show", &object]).await;
        assert_eq!(shown["object"]["name"], NASTY);
        assert_eq!(shown["entries"][1]["value"], NASTY);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_hears_nothing_more() {
    let bed = Bed::new();
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    runtime.shutdown().await.unwrap();
    let query = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 5000) \
                 SELECT printf('%.100c', 'x') FROM n";
    let line = format!("(durable sql Room/lobby --limit 10000 \"{query}\"; echo $? >&2) | true");
    let ended = bed.run_line(&line).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "0\n"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_one_another() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    for number in 0..5 {
        let name = format!("r{number}");
        runtime.get::<Room>(&name).name_it(name.clone()).await.unwrap();
    }
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        let (mut names, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut arguments = vec!["list", "Room", "--prefix", "r", "--limit", "2"];
            if let Some(after) = &after {
                arguments.extend(["--after", after]);
            }
            let page = bed.json(&arguments).await;
            let objects = page["objects"].as_array().unwrap();
            names.extend(objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()));
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["r0", "r1", "r2", "r3", "r4"]);
        let all = bed.done(&["--json", "list", "Room", "--all"]).await;
        assert_eq!(all.lines().count(), 5, "{all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_have_their_types() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let query = "SELECT 1 AS i, 1.0 AS r, 'x' AS t, x'00ff' AS b, NULL AS n, 9e999 AS e";
    for is_live in [true, false] {
        if !is_live {
            runtime.shutdown().await.unwrap();
        }
        let rows = bed.json(&["sql", "Room/lobby", query]).await;
        assert_eq!(rows["columns"], json!(["i", "r", "t", "b", "n", "e"]));
        let row = json!([[1, 1.0, "x", { "blob": "00ff" }, null, { "real": "inf" }]]);
        assert_eq!(rows["rows"], row);
        let shown = bed.done(&["sql", "Room/lobby", query]).await;
        let shown: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(shown, ["1", "1.0", "x", "x'00ff'", "NULL", "inf"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shells_and_man_have_what_they_need() {
    let bed = Bed::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(bed.done(&["completions", shell]).await.contains("bookmarks"), "{shell}");
    }
    assert!(bed.done(&["man"]).await.starts_with(".ie"), "it is roff");
}
