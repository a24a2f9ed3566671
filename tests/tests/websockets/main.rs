//! Hibernating WebSockets as an object and its clients have them.

mod closing;
mod limits;
mod room;

use std::time::Duration;

use durable::prelude::*;
use durable::testing::{TestRuntime, TestSocket};
use durable::{Body, Error, ErrorKind};
use durable_tests::{Bed, Form, matrix, on_one_thread};

use room::{Room, note};

/// Accepts and says nothing.
#[derive(Default)]
struct Mute;

#[durable_object]
impl Mute {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        Ok(ctx.accept_websocket(&mut request, [])?.1)
    }

    pub fn count(&self, ctx: &Context) -> usize {
        ctx.websockets().len()
    }
}

/// Waits between the turns of its handlers.
#[derive(Default)]
struct Relay;

#[durable_object]
impl Relay {
    async fn fetch(this: Handle<Self>, mut request: Request) -> Result<Response> {
        this.turn(move |_, ctx| {
            let (_, response) = ctx.accept_websocket(&mut request, ["relayed"])?;
            Ok(response)
        })
        .await
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("notes")?.unwrap_or_default())
    }

    async fn websocket_message(
        this: Handle<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        let text = message.as_text().unwrap_or_default().to_owned();
        match text.as_str() {
            "fail" => return Err(Error::other("on purpose")),
            "panic" => panic!("on purpose"),
            "close" => return socket.close(3000, "as you like"),
            "wait" => this.sleep(Duration::from_secs(3)).await,
            _ => {}
        }
        let noted = text.clone();
        this.turn(move |_, ctx| note(ctx, &noted)).await?;
        socket.send(format!("did {text}"))
    }

    async fn websocket_close(this: Handle<Self>, socket: WebSocket, close: Close) -> Result<()> {
        assert!(socket.has_tag("relayed"));
        if let Ok(seconds) = close.reason.parse() {
            this.sleep(Duration::from_secs(seconds)).await;
            let listed = this.turn(|_, ctx| Ok::<_, Error>(ctx.websockets().len())).await?;
            assert_eq!(listed, 1, "until its handler is done");
            socket.send("farewell")?;
            socket.close(4100, "back")?;
        }
        this.turn(move |_, ctx| note(ctx, &format!("closed {}", close.code))).await
    }
}

async fn start(bed: &Bed) -> TestRuntime {
    let form = bed.form;
    let setup = move |builder: durable::Builder| {
        let builder = builder.register::<Room>().register::<Mute>().register::<Relay>();
        let builder = builder.websocket_message_limit(1_000).websocket_queue_limit(1_000);
        if form == Form::Wire { builder.always_serialize() } else { builder }
    };
    TestRuntime::builder().in_memory().start(setup).await.unwrap()
}

fn request(uri: &str) -> Request {
    http::Request::builder().uri(uri).body(Body::empty()).unwrap()
}

async fn join(runtime: &TestRuntime, uri: &str) -> TestSocket {
    runtime.connect(&runtime.get::<Room>("a"), request(uri)).await.unwrap()
}

async fn notes(runtime: &TestRuntime) -> Vec<String> {
    runtime.settle().await.unwrap();
    runtime.get::<Room>("a").notes().await.unwrap()
}

async fn text(socket: &TestSocket) -> String {
    socket.recv().await.unwrap().as_text().unwrap().to_owned()
}

/// Keeps a room behind a gate for five seconds.
async fn close_gate(runtime: &TestRuntime, end: Result<(), &'static str>) {
    let room = runtime.get::<Room>("a");
    let closed = runtime.run_in_object(&room, move |_, ctx| {
        ctx.block_concurrency_while(async move |gate| {
            gate.sleep(Duration::from_secs(5)).await;
            end
        });
        Ok(())
    });
    closed.await.unwrap();
}

/// A request that needs nothing more to be an upgrade.
fn with_key(mut request: Request) -> Request {
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

matrix! {
    async fn messages_go_both_ways_in_order(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/greeted").await;
        assert_eq!(text(&socket).await, "welcome");
        for number in 0..50 {
            socket.send(format!("echo {number}"));
        }
        for number in 0..50 {
            assert_eq!(text(&socket).await, number.to_string());
        }
        socket.send("echo");
        assert_eq!(text(&socket).await, "");
        socket.send(&[0, 255, 16][..]);
        assert_eq!(socket.recv().await.unwrap(), Message::from(&[0, 255, 16][..]));
    }

    async fn sockets_are_found_by_their_tags_oldest_first(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        let _sockets = [
            join(&runtime, "/join?c1,room,x,room").await,
            join(&runtime, "/join?c2,room").await,
            join(&runtime, "/join?c3,x").await,
        ];
        let names = async |tag: &str| room.names(Some(tag.into())).await.unwrap();
        assert_eq!(room.names(None).await.unwrap(), ["c1", "c2", "c3"]);
        assert_eq!(names("room").await, ["c1", "c2"]);
        assert_eq!(names("x").await, ["c1", "c3"]);
        assert_eq!(names("ROOM").await, [""; 0]);
        let too_long = format!("/join?{}", "x".repeat(257));
        let refused = runtime.connect(&room, request(&too_long)).await.unwrap_err();
        assert!(refused.message().contains("500"), "{refused}");
        assert_eq!(room.names(None).await.unwrap().len(), 3);
    }

    async fn a_broadcast_reaches_all_or_those_with_a_tag(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        let (one, two) = (join(&runtime, "/join?r").await, join(&runtime, "/join").await);
        assert_eq!(room.say(Some("r".into()), "some".into()).await.unwrap(), 1);
        assert_eq!(room.say(None, "all".into()).await.unwrap(), 2);
        assert_eq!((text(&one).await, text(&one).await), ("some".into(), "all".into()));
        assert_eq!(text(&two).await, "all");
    }

    async fn a_socket_outlives_the_instance_and_wakes_the_next(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join?first").await;
        socket.send("rename Ann");
        socket.send("seen");
        assert_eq!(text(&socket).await, "2");
        assert!(runtime.evict(&runtime.get::<Room>("a")).await.unwrap());
        socket.send("seen");
        assert_eq!(text(&socket).await, "1", "another instance");
        // Nobody uses it for long enough.
        runtime.advance(Duration::from_secs(15)).await.unwrap();
        socket.send("seen");
        assert_eq!(text(&socket).await, "1", "one more");
        assert_eq!(runtime.get::<Room>("a").names(Some("first".into())).await.unwrap(), ["Ann"]);
        // Also when what wakes it is its end.
        runtime.evict_all().await.unwrap();
        socket.close(4001, "bye");
        assert_eq!(socket.closed().await.unwrap().code, 4001);
        assert_eq!(notes(&runtime).await, ["4001 bye clean Closing true"]);
    }

    async fn what_an_undone_turn_did_never_happened(bed) {
        let runtime = start(&bed).await;
        let (one, two) = (join(&runtime, "/join?one").await, join(&runtime, "/join?two").await);
        for how in ["fail", "panic"] {
            one.send(how);
            one.send("undone");
            one.send("all still here");
            assert_eq!(text(&one).await, "what is undone?", "{how}: no answer by itself");
            assert_eq!(text(&one).await, "still here");
            assert_eq!(text(&two).await, "still here");
        }
        assert_eq!(notes(&runtime).await, [""; 0]);
        let names = runtime.get::<Room>("a").names(None).await.unwrap();
        assert_eq!(names, ["one", "two"], "the attachment is as before");
        assert!(!one.is_closed() && one.try_recv().is_none());

        let room = runtime.get::<Room>("a");
        runtime.connect(&room, request("/undone")).await.unwrap_err();
        assert_eq!(room.names(None).await.unwrap().len(), 2, "no socket");
        assert_eq!(notes(&runtime).await, [""; 0], "and no event of one");
    }

    async fn a_text_is_answered_without_waking_the_object(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        let socket = join(&runtime, "/join").await;
        room.answer_by_itself(Some(("ping".into(), "pong".into()))).await.unwrap();
        assert!(runtime.evict(&room).await.unwrap());
        socket.send("ping");
        assert_eq!(text(&socket).await, "pong");
        socket.send("seen");
        assert_eq!(text(&socket).await, "1", "its instance has seen nothing before");
        socket.send("ping ");
        assert_eq!(text(&socket).await, "what is ping?", "it is another text");
        socket.send(&b"ping"[..]);
        assert_eq!(socket.recv().await.unwrap(), Message::from(&b"ping"[..]));
        let later = join(&runtime, "/join").await;
        later.send("ping");
        assert_eq!(text(&later).await, "pong");
        let now = runtime.now();
        let times = runtime.run_in_object(&room, move |_, ctx| {
            Ok(ctx.websockets().iter().map(WebSocket::auto_responded_at).collect::<Vec<_>>())
        });
        assert_eq!(times.await.unwrap(), [Some(now), Some(now)]);
        room.answer_by_itself(None).await.unwrap();
        later.send("ping");
        assert_eq!(text(&later).await, "what is ping?");
        let long = Some(("x".repeat(2_049), String::new()));
        room.answer_by_itself(long).await.unwrap_err();
    }

    async fn a_ping_is_answered_without_waking_the_object(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        let socket = join(&runtime, "/join").await;
        assert!(runtime.evict(&room).await.unwrap());
        socket.ping().await.unwrap();
        socket.send("seen");
        assert_eq!(text(&socket).await, "1");
        socket.terminate();
        assert_eq!(socket.ping().await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    async fn a_class_without_handlers_has_sockets_all_the_same(bed) {
        let runtime = start(&bed).await;
        let mute = runtime.get::<Mute>("a");
        let socket = runtime.connect(&mute, request("/")).await.unwrap();
        socket.send("hello");
        runtime.settle().await.unwrap();
        assert_eq!(mute.count().await.unwrap(), 1);
        socket.close(1000, "bye");
        assert_eq!(socket.closed().await.unwrap().code, 1000);
        runtime.settle().await.unwrap();
        assert_eq!(mute.count().await.unwrap(), 0);
    }

    async fn async_handlers_begin_in_order_and_go_on_by_themselves(bed) {
        let runtime = start(&bed).await;
        let relay = runtime.get::<Relay>("a");
        let socket = runtime.connect(&relay, request("/")).await.unwrap();
        for text in ["wait", "fail", "panic", "now"] {
            socket.send(text);
        }
        assert_eq!(text(&socket).await, "did now", "nobody waits for the first");
        runtime.advance(Duration::from_secs(3)).await.unwrap();
        assert_eq!(text(&socket).await, "did wait");
        socket.send("close");
        assert_eq!(socket.closed().await.unwrap().code, 3000);
        runtime.settle().await.unwrap();
        assert_eq!(relay.notes().await.unwrap(), ["now", "wait", "closed 3000"]);
    }

    async fn a_frame_that_waits_for_a_gate_is_handled_afterwards(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        close_gate(&runtime, Ok(())).await;
        socket.send("seen");
        runtime.settle().await.unwrap();
        assert_eq!(socket.try_recv(), None, "the gate is closed");
        runtime.advance(Duration::from_secs(6)).await.unwrap();
        assert_eq!(text(&socket).await, "1");
    }
}

#[test]
fn nothing_of_a_socket_is_in_the_instance() {
    on_one_thread(async {
        let builder = TestRuntime::builder().in_memory().evict_between_turns();
        let runtime =
            builder.start(|builder| builder.register::<Room>().register::<Relay>()).await.unwrap();
        let socket = join(&runtime, "/join?one").await;
        for text in ["rename Ann", "seen", "seen"] {
            socket.send(text);
        }
        assert_eq!((text(&socket).await, text(&socket).await), ("1".into(), "1".into()));
        assert_eq!(runtime.get::<Room>("a").names(Some("one".into())).await.unwrap(), ["Ann"]);
        socket.close(1000, "bye");
        assert_eq!(notes(&runtime).await, ["1000 bye clean Closing true"]);

        let relay = runtime.get::<Relay>("a");
        let socket = runtime.connect(&relay, request("/")).await.unwrap();
        socket.send("now");
        assert_eq!(text(&socket).await, "did now");
    });
}
