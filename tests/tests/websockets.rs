//! Hibernating WebSockets as an object and its clients have them.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::{TestRuntime, TestSocket};
use durable::{Body, Error, ErrorKind, KvRange, SocketError, SocketState};
use durable_tests::{Bed, Form, matrix, on_one_thread};

/// Does what its members tell it.
#[derive(Default)]
struct Room {
    /// Messages that this instance has seen.
    seen: u32,
}

/// What the path and the query of a request say: `/join?tag,tag`.
fn tags(request: &Request) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    query.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn note(ctx: &Context, what: &str) -> Result<()> {
    let mut notes: Vec<String> = ctx.kv().get("notes")?.unwrap_or_default();
    notes.push(what.to_owned());
    ctx.kv().put("notes", &notes)
}

#[durable_object]
impl Room {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        let tags = tags(&request);
        let (socket, response) = ctx.accept_websocket(&mut request, tags)?;
        match request.uri().path() {
            "/undone" => return Err(Error::other("changed its mind")),
            "/forgotten" => return Ok(Response::new(Body::empty())),
            "/greeted" => socket.send("welcome")?,
            _ => socket.set_attachment(&socket.tags().next().unwrap_or("nobody"))?,
        }
        assert!(ctx.websockets().contains(&socket), "a turn sees what it accepts");
        Ok(response)
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("notes")?.unwrap_or_default())
    }

    pub fn names(&self, ctx: &Context, tag: Option<String>) -> Result<Vec<String>> {
        let sockets = tag.map_or_else(|| ctx.websockets(), |tag| ctx.websockets_tagged(&tag));
        sockets.iter().map(|socket| Ok(socket.attachment()?.unwrap_or_default())).collect()
    }

    pub fn say(&self, ctx: &Context, tag: Option<String>, text: String) -> usize {
        match tag {
            None => ctx.broadcast(text),
            Some(tag) => ctx.broadcast_tagged(&tag, &Message::Text(text)),
        }
    }

    pub fn answer_by_itself(
        &mut self,
        ctx: &Context,
        pair: Option<(String, String)>,
    ) -> Result<()> {
        let pair = pair.as_ref().map(|(request, response)| (&**request, &**response));
        ctx.set_websocket_auto_response(pair)?;
        assert_eq!(
            ctx.websocket_auto_response().as_ref().map(|(a, b)| (&**a, &**b)),
            pair,
            "a turn sees what it sets"
        );
        Ok(())
    }

    fn websocket_message(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        self.seen += 1;
        let Message::Text(text) = message else { return socket.send(message) };
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "echo" => socket.send(rest),
            "seen" => socket.send(self.seen.to_string()),
            "note" => note(ctx, rest),
            "rename" => {
                socket.set_attachment(rest)?;
                assert_eq!(socket.attachment::<String>()?.as_deref(), Some(rest));
                Ok(())
            }
            "all" => {
                ctx.broadcast(rest);
                Ok(())
            }
            "close" => {
                socket.send("before")?;
                socket.close(rest.parse::<u16>().ok(), "")?;
                assert_eq!(socket.state(), SocketState::Closing);
                assert_eq!(socket.send("after").unwrap_err().kind(), ErrorKind::Invalid);
                assert_eq!(ctx.broadcast("after"), ctx.websockets().len() - 1);
                socket.close(4999, "the second is as none")
            }
            // All of these are undone.
            "fail" | "panic" | "abort" => {
                note(ctx, "undone")?;
                socket.send("undone")?;
                socket.set_attachment("undone")?;
                ctx.broadcast("undone");
                ctx.set_websocket_auto_response(("undone", "undone"))?;
                socket.close(1000, "undone")?;
                match word {
                    "panic" => panic!("on purpose"),
                    "abort" => Err(ctx.abort("on purpose")),
                    _ => Err(Error::other("on purpose")),
                }
            }
            _ => socket.send(format!("what is {word}?")),
        }
    }

    fn websocket_close(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        close: Close,
    ) -> Result<()> {
        let Close { code, reason, was_clean, .. } = close;
        let how = if was_clean { "clean" } else { "lost" };
        let listed = ctx.websockets().contains(&socket);
        note(ctx, &format!("{code} {reason} {how} {:?} {listed}", socket.state()))?;
        if reason == "answer me" {
            socket.send("farewell")?;
            socket.close(4100, "back")?;
            assert_eq!(socket.state(), SocketState::Closed);
        }
        if reason == "fail" { Err(Error::other("on purpose")) } else { Ok(()) }
    }

    fn websocket_error(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        error: SocketError,
    ) -> Result<()> {
        note(ctx, &format!("error {:?}: {error}", socket.state()))
    }
}

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
        this.turn(move |_, ctx| note(ctx, &format!("closed {}", close.code))).await
    }
}

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

    async fn who_sends_much_and_reads_as_it_comes_is_not_closed(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        // Each answer is most of what may wait.
        let long = |number: u32| format!("{number:0900}");
        for number in 0..30 {
            socket.send(format!("echo {}", long(number)));
        }
        for number in 0..30 {
            assert_eq!(text(&socket).await, long(number));
        }
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
        for how in ["fail", "panic", "abort"] {
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
        assert_eq!(status, 500, "it lacks a key, so nothing was accepted");
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

    async fn a_message_that_is_too_long_closes_its_socket(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        socket.send("x".repeat(1_000));
        assert!(text(&socket).await.starts_with("what is xxx"));
        socket.send("x".repeat(1_001));
        assert_eq!(socket.closed().await.unwrap().code, 1009);
        let notes = notes(&runtime).await;
        assert!(notes[0].starts_with("error Open: a message has 1001 bytes"), "{notes:?}");
        assert!(notes[1].starts_with("1009 "), "{notes:?}");
        assert_eq!(notes.len(), 2);
    }

    async fn a_frame_that_waits_while_the_object_is_reset_is_handled_afterwards(bed) {
        let runtime = start(&bed).await;
        let room = runtime.get::<Room>("a");
        let socket = join(&runtime, "/join").await;
        let handle = runtime.run_in_object(&room, |_, ctx| {
            ctx.block_concurrency_while(async |gate| {
                gate.sleep(Duration::from_secs(5)).await;
                Err::<(), _>("the gate has failed")
            });
            Ok(ctx.handle())
        });
        drop(handle.await.unwrap());
        socket.send("seen");
        runtime.settle().await.unwrap();
        assert_eq!(socket.try_recv(), None, "the gate is closed");
        runtime.advance(Duration::from_secs(6)).await.unwrap();
        assert_eq!(text(&socket).await, "1");
    }

    async fn attachments_are_typed_and_limited(bed) {
        let runtime = start(&bed).await;
        let _socket = join(&runtime, "/join?Ann").await;
        let room = runtime.get::<Room>("a");
        let checked = runtime.run_in_object(&room, |_, ctx| {
            let socket = ctx.websockets().remove(0);
            assert_eq!(socket.attachment::<u32>().unwrap_err().kind(), ErrorKind::Conversion);
            // Three bytes say how long it is.
            socket.set_attachment(&"x".repeat(16 * 1024 - 3))?;
            let error = socket.set_attachment(&"x".repeat(16 * 1024 - 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(socket.attachment::<String>()?.unwrap().len(), 16 * 1024 - 3);
            Ok(())
        });
        checked.await.unwrap();
    }

    async fn an_object_has_at_most_32768_sockets(bed) {
        let runtime = start(&bed).await;
        let mute = runtime.get::<Mute>("a");
        let _before = runtime.connect(&mute, request("/")).await.unwrap();
        let filled = runtime.run_in_object(&mute, |_, ctx| {
            for _ in 1..durable::SOCKETS_MAX {
                ctx.accept_websocket(&mut with_key(request("/")), [])?;
            }
            assert_eq!(ctx.websockets().len(), 32_768);
            let refused = ctx.accept_websocket(&mut with_key(request("/")), []).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Limit);
            Ok(())
        });
        filled.await.unwrap();
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

/// Both ends close, break and send at the same time, and the object comes and goes.
#[test]
fn whatever_happens_at_the_same_time_each_socket_is_closed_once() {
    const CLIENTS: u64 = 12;
    const ROUNDS: u64 = 20;
    durable_tests::on_many_threads(async {
        let builder = TestRuntime::builder().in_memory();
        let runtime = builder.start(|builder| builder.register::<Ledger>()).await.unwrap();
        let runtime = std::sync::Arc::new(runtime);
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

const LOST: &str = "the connection was lost without a close frame";

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
