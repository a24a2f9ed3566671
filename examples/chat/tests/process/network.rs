//! The program as its users have it: the page, what is exposed beside it, and how it begins and ends.

use std::process::Command;

use http::Request;
use tempfile::tempdir;

use super::client::{Client, Frame, ask, get, history};
use super::server::{Server, any_port, chat};

#[tokio::test]
async fn members_talk_over_the_network_and_a_stop_tells_them_to_come_back() {
    let directory = tempdir().unwrap();
    let server = Server::start(&mut chat(directory.path(), any_port()));
    // A room may be called anything.
    let room = "caf%C3%A9%20%2F%20bar";
    let mut ann = Client::join(server.address, room, "Ann%20Lee").await.unwrap();
    let welcome = Frame::Welcome { members: vec!["Ann Lee".into()], posts: vec![] };
    assert_eq!(ann.next().await.unwrap(), welcome);
    let mut bob = Client::join(server.address, room, "bob").await.unwrap();
    bob.next().await.unwrap();
    assert_eq!(ann.next().await.unwrap(), Frame::Joined { name: "bob".into() });
    let post = ann.adds("1", "good morning").await;
    assert_eq!((post.seq, post.author.as_str()), (1, "Ann Lee"));
    assert_eq!(bob.next().await.unwrap(), Frame::Posted { post: post.clone() });
    assert_eq!(history(server.address, room).await, std::slice::from_ref(&post));

    let (status, said) = server.interrupt();
    assert!(status.success(), "{status}");
    assert_eq!(said, ["all rooms are closed"]);
    assert_eq!(bob.next().await, Err(Some(1012)));

    let server = Server::start(&mut chat(directory.path(), any_port()));
    let mut bob = Client::join(server.address, room, "bob").await.unwrap();
    let welcome = Frame::Welcome { members: vec!["bob".into()], posts: vec![post] };
    assert_eq!(bob.next().await.unwrap(), welcome);
}

#[tokio::test]
async fn a_member_who_is_too_fast_is_told_when_to_come_back() {
    let directory = tempdir().unwrap();
    let mut command = chat(directory.path(), any_port());
    let server = Server::start(command.args(["--burst=2", "--per-second=1"]));
    let mut ann = Client::join(server.address, "lobby", "ann").await.unwrap();
    ann.next().await.unwrap();
    // So many at once that it does not matter how fast this machine is.
    for id in 0..100 {
        ann.post(&id.to_string(), "again").await.unwrap();
    }
    let (refused, wait) = loop {
        if let Frame::Refused { id, retry_after_ms, .. } = ann.next().await.unwrap() {
            break (id.unwrap(), retry_after_ms.unwrap());
        }
    };
    assert!((1..=1_000).contains(&wait), "{wait}");
    let stored = history(server.address, "lobby").await;
    assert!(stored.iter().all(|post| post.id != refused));
}

#[tokio::test]
async fn only_what_the_page_needs_is_exposed() {
    let directory = tempdir().unwrap();
    let server = Server::start(&mut chat(directory.path(), any_port()));
    for path in ["/", "/room/lobby", "/page/main.js", "/page/style.css"] {
        let reply = get(server.address, path).await;
        assert_eq!(reply.status(), 200, "{path}");
        let header = |name: &str| reply.headers()[name].to_str().unwrap();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; script-src 'self'")
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    for path in [
        "/room/",
        "/page/",
        "/page/../Cargo.toml",
        "/objects",
        "/objects/Room/name/lobby",
        "/objects/Limiter/name/127.0.0.1/take",
        "/objects/Room/name/lobby/fetch/other",
    ] {
        let reply = get(server.address, path).await;
        assert_eq!(reply.status(), 404, "{path}");
    }
    let elsewhere =
        format!("http://{}/objects/Room/name/lobby/fetch/socket?name=a", server.address);
    let upgrade = Request::builder()
        .uri(elsewhere)
        .header("origin", "https://elsewhere.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(ask(upgrade).await.status(), 403, "pages of others may not join for their readers");
}

#[test]
fn a_port_that_is_taken_is_told_with_the_way_out() {
    let directory = tempdir().unwrap();
    let server = Server::start(&mut chat(directory.path(), any_port()));
    let data = directory.path().join("other");
    let second = chat(&data, server.address).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    let expected = format!(
        "chat: something else listens on {} already; `--listen 127.0.0.1:0` takes a free port\n",
        server.address
    );
    assert_eq!(told, expected);
    assert!(!data.exists(), "nothing was created");
}

#[test]
fn it_says_what_it_takes() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_chat"));
    let help = String::from_utf8(help.arg("--help").output().unwrap().stdout).unwrap();
    for option in ["--listen", "127.0.0.1:8080", "--data", "--burst", "--per-second"] {
        assert!(help.contains(option), "{option}: {help}");
    }
}
