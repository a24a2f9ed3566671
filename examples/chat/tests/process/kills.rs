//! `kill -9` while fifty members write: what anybody has seen is there afterwards.
//!
//! `DURABLE_CRASH_ROUNDS=50 cargo test --release -p chat --test process kills` is the long form.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use tempfile::tempdir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{Client, Frame, Post, history};
use super::server::{Server, any_port, chat};

const MEMBERS: u32 = 50;

/// So long without an answer is no slowness any more.
const STALLED: Duration = Duration::from_mins(1);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One who writes 0, 1, 2 and so on, each when the one before has come back, over as many connections as it takes.
struct Writer {
    name: String,
    /// What it writes next, or again.
    next: u64,
}

impl Writer {
    fn id(&self) -> String {
        format!("{}-{}", self.name, self.next)
    }

    /// Writes until the connection breaks, and gives all messages that it has seen.
    async fn write(&mut self, server: SocketAddr, seen: &mpsc::UnboundedSender<()>) -> Vec<Post> {
        let mut all = Vec::new();
        let Ok(mut client) = Client::join(server, "lobby", &self.name).await else { return all };
        loop {
            let posts = match client.next().await {
                Ok(Frame::Welcome { posts, .. }) => {
                    // What it wrote last may be there already; then this is one too many, and changes nothing.
                    let _ = client.post(&self.id(), &self.next.to_string()).await;
                    posts
                }
                Ok(Frame::Posted { post }) => vec![post],
                Ok(Frame::Refused { reason, .. }) => panic!("{}: {reason}", self.name),
                Ok(_) => continue,
                Err(_) => return all,
            };
            if posts.len() == 1 && posts[0].id == self.id() {
                self.next += 1;
                // Nobody listens any more when the server is being killed.
                let _ = seen.send(());
                let _ = client.post(&self.id(), &self.next.to_string()).await;
            }
            all.extend(posts);
        }
    }
}

/// Lets all write until so many messages have come back, kills the server, and gives what they have seen.
async fn write_and_kill(server: Server, writers: &mut Vec<Writer>, answers: usize) -> Vec<Post> {
    let (sender, mut answered) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    for mut writer in writers.drain(..) {
        let (address, sender) = (server.address, sender.clone());
        running.spawn(async move {
            let seen = writer.write(address, &sender).await;
            (writer, seen)
        });
    }
    for _ in 0..answers {
        let next = tokio::time::timeout(STALLED, answered.recv()).await;
        next.expect("nothing comes back any more").unwrap();
    }
    server.kill();
    let mut seen = Vec::new();
    for (writer, posts) in running.join_all().await {
        writers.push(writer);
        seen.extend(posts);
    }
    seen
}

/// Everything that was seen is there, where it was seen; nothing is there twice; and each member's messages are in their order.
fn check(stored: &[Post], seen: &BTreeMap<i64, Post>, writers: &[Writer]) {
    for (number, post) in (1..).zip(stored) {
        assert_eq!(post.seq, number, "numbers have no gaps");
    }
    for (seq, post) in seen {
        let place = usize::try_from(seq - 1).unwrap();
        assert_eq!(stored.get(place), Some(post), "somebody has seen it");
    }
    let mut by_author: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for post in stored {
        assert_eq!(post.id, format!("{}-{}", post.author, post.text));
        by_author.entry(&post.author).or_default().push(post.text.parse().unwrap());
    }
    for writer in writers {
        let written = by_author.remove(writer.name.as_str()).unwrap_or_default();
        let expected: Vec<u64> = (0..u64::try_from(written.len()).unwrap()).collect();
        assert_eq!(written, expected, "{}: in order, and none twice", writer.name);
        // The one after the last that came back may be stored, too.
        let count = expected.len() as u64;
        assert!(count == writer.next || count == writer.next + 1, "{}", writer.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_has_seen_is_stored_once_and_in_order() {
    let (rounds, random_seed) =
        (setting("DURABLE_CRASH_ROUNDS", 4), setting("DURABLE_SEED", 0x5eed));
    println!("{rounds} rounds, seed {random_seed}");
    let mut random = Rng::with_seed(random_seed);
    let directory = tempdir().unwrap();
    let start = |listen| {
        let mut command = chat(directory.path(), listen);
        command.args(["--burst=1000000", "--per-second=1000000"]);
        Server::start(&mut command)
    };
    let named = |number| Writer { name: format!("member-{number}"), next: 0 };
    let mut writers: Vec<Writer> = (0..MEMBERS).map(named).collect();
    let mut seen: BTreeMap<i64, Post> = BTreeMap::new();
    for round in 0..rounds {
        // The first time, as soon as it is there.
        let answers = if round == 0 { 0 } else { random.usize(0..600) };
        for post in write_and_kill(start(any_port()), &mut writers, answers).await {
            let known = seen.entry(post.seq).or_insert_with(|| post.clone());
            assert_eq!(*known, post, "everybody sees the same");
        }
        let server = start(any_port());
        check(&history(server.address, "lobby").await, &seen, &writers);
        server.kill();
    }
    println!("{} messages were seen", seen.len());
    assert!(!seen.is_empty(), "nothing was tried");
}
