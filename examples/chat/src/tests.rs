//! Rooms without a network, on a clock that the tests move, with power that fails.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use durable::Body;
use durable::prelude::*;
use durable::testing::{TestBuilder, TestRuntime, TestSocket};

use crate::limiter::{Limiter, Rate};
use crate::protocol::{Name, Post, ToMember};
use crate::room::{PAGE_POSTS, Room};

const BURST: u32 = 4;
const SECOND: Duration = Duration::from_secs(1);
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

async fn start_with(builder: TestBuilder, burst: u32) -> TestRuntime {
    let start = builder.start(move |builder| {
        let builder = builder.register::<Room>().register::<Limiter>();
        builder.env(Rate { burst, interval: SECOND })
    });
    start.await.unwrap()
}

async fn start() -> TestRuntime {
    start_with(TestRuntime::builder(), BURST).await
}

fn request(path: &str, address: &str) -> Request {
    let peer: SocketAddr = format!("{address}:50000").parse().unwrap();
    http::Request::builder().uri(path).extension(ConnectInfo(peer)).body(Body::empty()).unwrap()
}

/// A member of the room, and what the room has said so far.
struct Client(TestSocket);

impl Client {
    async fn join_from(runtime: &TestRuntime, room: &str, name: &str, address: &str) -> Self {
        let request = request(&format!("/socket?name={name}"), address);
        Client(runtime.connect(&runtime.get::<Room>(room), request).await.unwrap())
    }

    async fn join(runtime: &TestRuntime, name: &str) -> (Self, Vec<Name>, Vec<Post>) {
        let client = Self::join_from(runtime, "lobby", name, HOME).await;
        match client.hears().await {
            ToMember::Welcome { members, posts } => (client, members, posts),
            other => panic!("{other:?} is no welcome"),
        }
    }

    fn says(&self, id: &str, text: &str) {
        let frame = serde_json::json!({ "type": "post", "id": id, "text": text });
        self.0.send(frame.to_string());
    }

    async fn hears(&self) -> ToMember {
        let frame = self.0.recv().await.unwrap();
        serde_json::from_str(frame.as_text().unwrap()).unwrap()
    }

    /// The next message: its number, author and text.
    async fn reads(&self) -> (i64, String, String) {
        match self.hears().await {
            ToMember::Posted { post } => (post.seq, post.author, post.text),
            other => panic!("{other:?} is no message"),
        }
    }

    /// Says it and reads it, so that the next one comes after it.
    async fn adds(&self, id: &str, text: &str) -> i64 {
        self.says(id, text);
        self.reads().await.0
    }

    fn has_nothing_to_read(&self) -> bool {
        self.0.try_recv().is_none()
    }
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::try_from((*name).to_owned()).unwrap()).collect()
}

fn name(text: &str) -> Name {
    names(&[text]).remove(0)
}

fn read(seq: i64, author: &str, text: &str) -> (i64, String, String) {
    (seq, author.to_owned(), text.to_owned())
}

async fn texts(runtime: &TestRuntime, before: Option<i64>) -> Vec<String> {
    runtime.settle().await.unwrap();
    let posts = runtime.get::<Room>("lobby").history(before).await.unwrap();
    posts.into_iter().map(|post| post.text).collect()
}

#[tokio::test]
async fn members_see_who_comes_writes_and_goes() {
    let runtime = start().await;
    let (ann, members, posts) = Client::join(&runtime, "ann").await;
    assert_eq!((members, posts.len()), (names(&["ann"]), 0));
    let (bob, members, _) = Client::join(&runtime, "bob").await;
    assert_eq!(members, names(&["ann", "bob"]));
    assert_eq!(ann.hears().await, ToMember::Joined { name: name("bob") });
    ann.says("1", "  good morning\n");
    assert_eq!(bob.reads().await, read(1, "ann", "good morning"));
    assert_eq!(ann.reads().await, read(1, "ann", "good morning"), "its author, too");
    bob.0.close(1000, "");
    assert_eq!(ann.hears().await, ToMember::Left { name: name("bob") });
    runtime.settle().await.unwrap();
    assert!(ann.has_nothing_to_read());
}

#[tokio::test]
async fn two_tabs_are_one_member() {
    let runtime = start().await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let (tab, ..) = Client::join(&runtime, "bob").await;
    let (other_tab, members, _) = Client::join(&runtime, "bob").await;
    assert_eq!(members, names(&["ann", "bob"]));
    assert_eq!(ann.hears().await, ToMember::Joined { name: name("bob") });
    tab.0.close(1000, "");
    runtime.settle().await.unwrap();
    assert!(ann.has_nothing_to_read(), "bob came once, and has not left");
    other_tab.0.terminate();
    assert_eq!(ann.hears().await, ToMember::Left { name: name("bob") });
}

#[tokio::test]
async fn who_comes_later_gets_the_newest_and_pages_back() {
    let runtime = start_with(TestRuntime::builder(), 1_000).await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let count = 2 * i64::from(PAGE_POSTS) + 5;
    for number in 1..=count {
        assert_eq!(ann.adds(&number.to_string(), &number.to_string()).await, number);
    }
    let (_bob, _, posts) = Client::join(&runtime, "bob").await;
    let numbers = |posts: &[Post]| posts.iter().map(|post| post.seq).collect::<Vec<_>>();
    assert_eq!(numbers(&posts), (56..=105).collect::<Vec<_>>());
    let room = runtime.get::<Room>("lobby");
    let page = room.history(Some(56)).await.unwrap();
    assert_eq!(numbers(&page), (6..=55).collect::<Vec<_>>());
    assert_eq!(numbers(&room.history(Some(6)).await.unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(room.history(Some(1)).await.unwrap(), []);
    let another = runtime.get::<Room>("nobody has written here");
    assert_eq!(another.history(None).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once() {
    let runtime = start().await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let (bob, ..) = Client::join(&runtime, "bob").await;
    ann.says("1", "hello");
    assert_eq!(bob.reads().await, read(1, "ann", "hello"));
    // Her connection breaks before she has seen it.
    ann.0.terminate();
    assert_eq!(bob.hears().await, ToMember::Left { name: name("ann") });
    let (ann, _, posts) = Client::join(&runtime, "ann").await;
    assert_eq!(posts.len(), 1, "it is in the history already");
    ann.says("1", "hello");
    assert_eq!(ann.reads().await, read(1, "ann", "hello"));
    assert_eq!(bob.hears().await, ToMember::Joined { name: name("ann") });
    assert_eq!(texts(&runtime, None).await, ["hello"]);
    assert!(bob.has_nothing_to_read(), "the others have it");
}

#[tokio::test]
async fn one_address_is_slowed_down_in_all_rooms_and_others_are_not() {
    let runtime = start().await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let next_door = Client::join_from(&runtime, "next door", "ann", HOME).await;
    let bob = Client::join_from(&runtime, "lobby", "bob", ELSEWHERE).await;
    for client in [&next_door, &bob, &ann] {
        client.hears().await;
    }
    for id in 1..BURST {
        ann.adds(&id.to_string(), "again").await;
    }
    next_door.adds("4", "the last token").await;
    let too_fast = |id: &str| ToMember::Refused {
        id: Some(id.into()),
        reason: "too many messages at once".into(),
        retry_after_ms: Some(1_000),
    };
    ann.says("5", "too fast");
    assert_eq!(ann.hears().await, too_fast("5"));
    next_door.says("6", "too fast, too");
    assert_eq!(next_door.hears().await, too_fast("6"));
    for _ in 1..BURST {
        bob.reads().await;
    }
    assert_eq!(bob.adds("7", "from elsewhere").await, i64::from(BURST));
    assert_eq!(ann.reads().await.2, "from elsewhere");
    // After as long as she was told, it goes.
    runtime.advance(SECOND).await.unwrap();
    assert_eq!(ann.adds("5", "now").await, i64::from(BURST) + 1);
    assert_eq!(texts(&runtime, None).await, ["again", "again", "again", "from elsewhere", "now"]);
}

#[tokio::test]
async fn a_bucket_outlives_a_restart_and_goes_when_it_is_full() {
    let mut runtime = start().await;
    let limiter = runtime.get::<Limiter>(HOME);
    for _ in 0..BURST {
        limiter.take().await.unwrap();
    }
    runtime.restart().await.unwrap();
    let limiters = runtime.namespace::<Limiter>();
    let id = limiters.id_from_name(HOME).unwrap();
    let wait = limiters.get_by_name(HOME).take().await.unwrap();
    assert_eq!(wait, crate::limiter::Token::In(SECOND));
    assert!(limiters.exists(&id).unwrap());
    runtime.advance(BURST * SECOND).await.unwrap();
    assert!(!runtime.namespace::<Limiter>().exists(&id).unwrap());
}

#[tokio::test]
async fn a_room_that_sleeps_keeps_its_members_and_wakes_for_a_message() {
    let runtime = start().await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let (bob, ..) = Client::join(&runtime, "bob").await;
    ann.hears().await;
    let room = runtime.get::<Room>("lobby");
    runtime.evict(&room).await.unwrap();
    // Not for a heartbeat.
    ann.0.send("ping");
    assert_eq!(ann.0.recv().await.unwrap(), Message::from("pong"));
    bob.says("1", "is anybody awake?");
    assert_eq!(ann.reads().await, read(1, "bob", "is anybody awake?"));
    let (_cy, members, _) = Client::join(&runtime, "cy").await;
    assert_eq!(members, names(&["ann", "bob", "cy"]));
}

#[tokio::test]
async fn nothing_that_was_seen_is_lost_and_nobody_is_left_behind() {
    let mut runtime = start().await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    assert_eq!(ann.adds("1", "before the power fails").await, 1);
    runtime.crash().await.unwrap();
    let (bob, members, posts) = Client::join(&runtime, "bob").await;
    assert_eq!(members, names(&["bob"]));
    let posts: Vec<_> = posts.iter().map(|post| (post.seq, post.text.as_str())).collect();
    assert_eq!(posts, [(1, "before the power fails")]);
    assert_eq!(bob.adds("2", "after").await, 2);
    runtime.restart().await.unwrap();
    assert_eq!(bob.0.closed().await.unwrap().code, 1012);
    assert_eq!(texts(&runtime, None).await, ["before the power fails", "after"]);
}

#[tokio::test]
async fn bad_input_is_told_and_stores_nothing() {
    let runtime = start().await;
    let room = runtime.get::<Room>("lobby");
    for path in ["/", "/socket", "/socket?name=", "/socket?name=%0A", "/socket?name=a%00b"] {
        let error = runtime.connect(&room, request(path, HOME)).await.err().map(|e| e.to_string());
        let status = if path == "/" { "404" } else { "400" };
        assert!(error.as_ref().is_some_and(|e| e.contains(status)), "{path}: {error:?}");
    }
    let (ann, ..) = Client::join(&runtime, "ann").await;
    ann.says("1", "  ");
    let reason = "a message is empty".to_owned();
    let refused = ToMember::Refused { id: Some("1".into()), reason, retry_after_ms: None };
    assert_eq!(ann.hears().await, refused);
    ann.0.send("hello");
    assert!(matches!(ann.hears().await, ToMember::Refused { id: None, .. }));
    assert_eq!(texts(&runtime, None).await, [""; 0]);
    let id = runtime.namespace::<Room>().id_from_name("lobby").unwrap();
    assert!(!runtime.namespace::<Room>().exists(&id).unwrap(), "looking in creates nothing");
    assert_eq!(ann.adds("2", "and she is still here").await, 1);
}

/// Nothing that must last is in a field.
#[tokio::test]
async fn every_turn_may_find_a_fresh_instance() {
    let runtime = start_with(TestRuntime::builder().evict_between_turns(), BURST).await;
    let (ann, ..) = Client::join(&runtime, "ann").await;
    let (bob, ..) = Client::join(&runtime, "bob").await;
    assert_eq!(ann.hears().await, ToMember::Joined { name: name("bob") });
    assert_eq!(bob.adds("1", "hello").await, 1);
    assert_eq!(ann.reads().await, read(1, "bob", "hello"));
}
