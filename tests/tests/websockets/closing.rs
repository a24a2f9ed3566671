//! How sockets end, and that it is told once.

use std::sync::Arc;
use std::time::Duration;

use durable::prelude::*;
use durable::testing::{TestRuntime, TestSocket};
use durable::{ErrorKind, KvRange, SocketState};
use durable_tests::matrix;

use super::room::Room;
use super::{Relay, close_gate, join, notes, request, start, text, with_key};

/// How the runtime says it.
const LOST: &str = "the connection was lost without a close frame";

/// Counts how often each of its sockets was opened and closed.
#[derive(Default)]
struct Ledger;

#[durable_object]
impl Ledger {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        let (socket, response) = ctx.accept_websocket(&mut request, [])?;
        ctx.kv().put(&format!("opened {}", socket.id()), &1)?;
        Ok(response)
    }

    pub fn close_some(&mut self, ctx: &Context, remainder: u64) -> Result<()> {
        let mut sockets = ctx.websockets();
        sockets.retain(|socket| socket.id() % 3 == remainder);
        sockets.iter().try_for_each(|socket| socket.close(3000, ""))
    }

    pub fn counts(&self, ctx: &Context) -> Result<(usize, Vec<i32>)> {
        let opened = ctx.kv().list::<i32>(KvRange::prefix("opened"))?.count();
        let closed = ctx.kv().list::<i32>(KvRange::prefix("closed"))?;
        Ok((opened, closed.map(|entry| entry.map(|(_, times)| times)).collect::<Result<_>>()?))
    }

    fn websocket_message(
        &mut self,
        _: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        let is_closing = socket.state() != SocketState::Open;
        if is_closing { Ok(()) } else { socket.send(message) }
    }

    fn websocket_close(&mut self, ctx: &Context<Self>, socket: WebSocket, _: Close) -> Result<()> {
        let key = format!("closed {}", socket.id());
        let times: i32 = ctx.kv().get(&key)?.unwrap_or(0);
        ctx.kv().put(&key, &(times + 1))
    }
}

matrix! {
    async fn whoever_closes_the_object_is_told_once(bed) {
        let runtime = start(&bed).await;
        let closed = async |socket: &TestSocket| {
            let close = socket.closed().await.unwrap();
            (close.code, close.reason)
        };
        let mut expected: Vec<String> = Vec::new();

        // The client, with a code and without.
        let socket = join(&runtime, "/join").await;
        socket.close(1000, "done");
        assert_eq!(closed(&socket).await, (1000, "done".into()));
        expected.push("1000 done clean Closing true".into());
        assert_eq!(notes(&runtime).await, expected);
        let socket = join(&runtime, "/join").await;
        socket.close(None, "");
        assert_eq!(closed(&socket).await, (1005, String::new()));
        expected.push("1005  clean Closing true".into());
        assert_eq!(notes(&runtime).await, expected);

        // The handler answers by itself, and what it says before arrives.
        let socket = join(&runtime, "/join").await;
        socket.close(4001, "answer me");
        assert_eq!(closed(&socket).await, (4100, "back".into()));
        assert_eq!(socket.try_recv(), Some("farewell".into()));
        expected.push("4001 answer me clean Closing true".into());
        assert_eq!(notes(&runtime).await, expected);

        // The object.
        for (code, seen) in [("3000", 3000), ("", 1005)] {
            let socket = join(&runtime, "/join").await;
            socket.send(format!("close {code}"));
            assert_eq!(text(&socket).await, "before");
            assert_eq!(closed(&socket).await, (seen, String::new()));
            expected.push(format!("{seen}  clean Closed true"));
            assert_eq!(notes(&runtime).await, expected);
        }

        // With a code that a client does not understand.
        let socket = join(&runtime, "/join").await;
        socket.send("close 2999");
        let close = socket.closed().await.unwrap();
        assert_eq!((close.code, close.was_clean), (1002, false));
        expected.push("1002  clean Closed true".into());
        assert_eq!(notes(&runtime).await, expected);

        // Both.
        let socket = join(&runtime, "/join").await;
        socket.send("close 3000");
        socket.close(4000, "too");
        assert_eq!(closed(&socket).await.0, 3000);
        expected.push("4000 too clean Closed true".into());
        assert_eq!(notes(&runtime).await, expected);

        // Nobody: the connection breaks.
        let socket = join(&runtime, "/join").await;
        socket.send("note heard");
        socket.terminate();
        expected.push("heard".into());
        expected.push(format!("1006 {LOST} lost Closed true"));
        assert_eq!(notes(&runtime).await, expected);
        assert_eq!(runtime.get::<Room>("a").names(None).await.unwrap(), [""; 0]);
    }

    async fn a_client_that_closes_is_answered_when_the_async_handler_is_done(bed) {
        let runtime = start(&bed).await;
        let relay = runtime.get::<Relay>("a");
        let socket = runtime.connect(&relay, request("/")).await.unwrap();
        socket.close(4001, "5");
        runtime.advance(Duration::from_secs(4)).await.unwrap();
        assert!(!socket.is_closed());
        runtime.advance(Duration::from_secs(2)).await.unwrap();
        let close = socket.closed().await.unwrap();
        assert_eq!((close.code, &*close.reason), (4100, "back"));
        assert_eq!(text(&socket).await, "farewell");
        let socket = runtime.connect(&relay, request("/")).await.unwrap();
        // It does not wait for ever.
        socket.close(4001, "60");
        runtime.advance(Duration::from_secs(11)).await.unwrap();
        assert_eq!(socket.closed().await.unwrap().code, 1006);
        runtime.advance(Duration::from_secs(60)).await.unwrap();
        let notes = relay.notes().await.unwrap();
        assert_eq!(notes, ["closed 4001", "closed 4001"], "an event each");
        let left = runtime.run_in_object(&relay, |_, ctx| Ok(ctx.websockets().len()));
        assert_eq!(left.await.unwrap(), 0);
    }

    async fn a_handler_that_fails_keeps_no_socket(bed) {
        let runtime = start(&bed).await;
        let (socket, other) = (join(&runtime, "/join?one").await, join(&runtime, "/join?two").await);
        socket.close(1000, "fail");
        assert_eq!(socket.closed().await.unwrap().code, 1000);
        assert_eq!(notes(&runtime).await, [""; 0], "it was undone");
        assert_eq!(runtime.get::<Room>("a").names(None).await.unwrap(), ["two"]);
        other.send("echo here");
        assert_eq!(text(&other).await, "here");
    }

    async fn a_response_that_nobody_sends_is_a_lost_connection(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        // Not even the object: then there never was a socket.
        runtime.connect(&room, request("/forgotten")).await.unwrap_err();
        assert_eq!(notes(&runtime).await, [""; 0]);
        let mut upgrade = request("/join");
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ] {
            upgrade.headers_mut().insert(name, value.parse().unwrap());
        }
        let status = room.fetch(upgrade).await.unwrap().status();
        assert_eq!(status, 426, "it lacks a key, so nothing was accepted");
        drop(room.fetch(with_key(request("/join"))).await.unwrap());
        assert_eq!(notes(&runtime).await, [format!("1006 {LOST} lost Closed true")]);
    }

    async fn a_restart_is_told_and_a_crash_is_not(bed) {
        let mut runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        socket.send("note before");
        socket.send("echo stored");
        assert_eq!(text(&socket).await, "stored");
        // What was said before the end is heard.
        runtime.get::<Room>("a").say(None, "last".into()).await.unwrap();
        runtime.restart().await.unwrap();
        assert_eq!(text(&socket).await, "last");
        let close = socket.closed().await.unwrap();
        assert_eq!((close.code, &*close.reason), (1012, "service restart"));

        let socket = join(&runtime, "/join").await;
        runtime.crash().await.unwrap();
        assert_eq!(socket.closed().await.unwrap().code, 1006);
        assert_eq!(socket.recv().await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(notes(&runtime).await, ["before"], "the ends of processes are no events");
        assert_eq!(runtime.get::<Room>("a").names(None).await.unwrap(), [""; 0]);

        let socket = join(&runtime, "/join").await;
        drop(runtime);
        assert_eq!(socket.closed().await.unwrap().code, 1006, "nobody is there any more");
    }

    async fn a_reset_drops_all_connections_and_is_no_event(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        for how in ["abort", "gate"] {
            let members = [join(&runtime, "/join?one").await, join(&runtime, "/join?two").await];
            if how == "gate" {
                close_gate(&runtime, Err("the gate has failed")).await;
                // Neither a frame nor an end that waits for the gate comes to the fresh instance.
                members[0].send("note heard");
                members[1].close(1000, "bye");
                runtime.settle().await.unwrap();
                runtime.advance(Duration::from_secs(6)).await.unwrap();
            } else {
                members[0].send(how);
                members[0].send("note heard");
            }
            for member in members {
                assert_eq!(member.closed().await.unwrap().code, 1006, "{how}");
                assert_eq!(member.try_recv(), None, "{how}: what the turn has sent is undone");
            }
            assert_eq!(notes(&runtime).await, [""; 0], "{how}");
            assert_eq!(room.names(None).await.unwrap(), [""; 0], "{how}");
        }
        // Whoever comes back finds the object.
        let socket = join(&runtime, "/join").await;
        socket.send("seen");
        assert_eq!(text(&socket).await, "1");
    }

    async fn who_does_not_answer_pings_is_gone(bed) {
        let runtime = start(&bed).await;
        let (here, gone) = (join(&runtime, "/join?here").await, join(&runtime, "/join?gone").await);
        runtime.advance(Duration::from_hours(1)).await.unwrap();
        assert!(!here.is_closed() && !gone.is_closed());
        gone.stop_answering();
        runtime.advance(Duration::from_secs(59)).await.unwrap();
        runtime.advance(Duration::from_secs(31)).await.unwrap();
        assert_eq!(gone.closed().await.unwrap().code, 1006);
        assert_eq!(
            notes(&runtime).await,
            ["1006 the peer did not answer a ping lost Closed true"]
        );
        assert_eq!(runtime.get::<Room>("a").names(None).await.unwrap(), ["here"]);
    }
}

/// Both ends close, break and send at the same time, and the object comes and goes.
#[test]
fn whatever_happens_at_the_same_time_each_socket_is_closed_once() {
    const CLIENTS: u64 = 12;
    const ROUNDS: u64 = 20;
    durable_tests::on_many_threads(async {
        let builder = TestRuntime::builder().in_memory();
        let runtime = builder.start(|builder| builder.register::<Ledger>()).await.unwrap();
        let runtime = Arc::new(runtime);
        let client = |client: u64| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                let ledger = runtime.get::<Ledger>("a");
                for round in 0..ROUNDS {
                    let socket = runtime.connect(&ledger, request("/")).await.unwrap();
                    for number in 0..round % 4 {
                        socket.send(number.to_string());
                    }
                    match (client * 7 + round) % 5 {
                        0 => socket.close(1000, ""),
                        1 => socket.terminate(),
                        2 => ledger.close_some(round % 3).await.unwrap(),
                        3 => drop(
                            runtime
                                .namespace::<Ledger>()
                                .evict(&runtime.namespace::<Ledger>().id_from_name("a").unwrap()),
                        ),
                        _ => {
                            socket.close(4000, "");
                            ledger.close_some(round % 3).await.unwrap();
                        }
                    }
                }
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for client in clients {
            client.await.unwrap();
        }
        runtime.settle().await.unwrap();
        let (opened, closed) = runtime.get::<Ledger>("a").counts().await.unwrap();
        assert_eq!(opened as u64, CLIENTS * ROUNDS);
        assert_eq!(closed, vec![1; opened]);
    });
}
