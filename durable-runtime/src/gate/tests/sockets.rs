//! When a frame leaves on a WebSocket.

use super::*;
use crate::socket::{CloseFrame, Incoming, Message, Outgoing, PendingSocket, SocketDriver};
use crate::{SocketState, WebSocket};

/// An upgrade.
fn upgrade() -> Request {
    let request = http::Request::builder()
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "x");
    request.body(Body::empty()).unwrap()
}

fn accept(_: &mut Counter, ctx: &Context<Counter>) -> Result<(WebSocket, Response)> {
    ctx.accept_websocket(&mut upgrade(), [])
}

/// A socket of the object, and its transport's end.
async fn open(object: &RawStub<Counter>) -> (WebSocket, SocketDriver) {
    let (socket, mut response) = call(object, accept).await.unwrap();
    (socket, PendingSocket::take(&mut response).unwrap())
}

/// The next frame, if it may leave now.
fn leaving(driver: &SocketDriver) -> Poll<Option<Outgoing>> {
    poll(&mut Box::pin(driver.outgoing()))
}

fn text(text: &'static str) -> Poll<Option<Outgoing>> {
    Poll::Ready(Some(Outgoing::Text(text.into())))
}

/// The code of a close frame.
fn code(frame: &Poll<Option<Outgoing>>) -> Option<u16> {
    match frame {
        Poll::Ready(Some(Outgoing::Close(CloseFrame { code, .. }))) => *code,
        _ => None,
    }
}

#[tokio::test]
async fn a_frame_leaves_when_its_turn_is_durable() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (socket, driver) = open(&object).await;
    let again = socket.clone();
    let mut first = call(&object, move |object, ctx| {
        again.send("first")?;
        add(object, ctx)
    });
    assert!(poll(&mut first).is_pending());
    assert_eq!(leaving(&driver), Poll::Pending, "it left before its turn was durable");

    // A turn that writes nothing has seen what is not durable.
    let again = socket.clone();
    let mut second = call(&object, move |_, ctx| {
        again.close(3000, "")?;
        Ok(ctx.broadcast("nobody is open"))
    });
    assert!(poll(&mut second).is_pending());
    assert_eq!(leaving(&driver), Poll::Pending);
    bed.engine.flush();
    assert_eq!(leaving(&driver), text("first"));
    assert_eq!(code(&leaving(&driver)), Some(3000));
    assert_eq!(leaving(&driver), Poll::Ready(None), "nothing comes after the close frame");
    assert_eq!(second.await, Ok(0));
}

#[tokio::test]
async fn what_can_not_become_durable_never_leaves_and_nothing_takes_its_place() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (socket, driver) = open(&object).await;
    let again = socket.clone();
    let mut lost = call(&object, move |object, ctx| {
        again.send("lost")?;
        add(object, ctx)
    });
    assert!(poll(&mut lost).is_pending());
    let mut unconfirmed = call(&object, move |_, ctx| {
        ctx.allow_unconfirmed();
        socket.send("later")
    });
    assert!(poll(&mut unconfirmed).is_ready());
    assert_eq!(leaving(&driver), Poll::Pending, "it is behind the first");
    bed.engine.lose();
    assert_eq!(code(&leaving(&driver)), Some(1011));
    assert_eq!(leaving(&driver), Poll::Ready(None));
}

#[tokio::test]
async fn an_unconfirmed_turn_s_frame_leaves_at_once() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (socket, driver) = open(&object).await;
    let mut unconfirmed = call(&object, move |object, ctx| {
        ctx.allow_unconfirmed();
        socket.send("now")?;
        add(object, ctx)
    });
    assert!(poll(&mut unconfirmed).is_ready());
    assert_eq!(leaving(&driver), text("now"));
}

#[tokio::test]
async fn a_socket_is_accepted_when_its_turn_is_durable() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut joining = call(&object, |object, ctx| {
        add(object, ctx)?;
        accept(object, ctx)
    });
    assert!(poll(&mut joining).is_pending());
    bed.engine.flush();
    assert!(joining.await.unwrap().1.extensions().get::<PendingSocket>().is_some());

    // What is not durable in the end is a lost connection.
    let mut joining = call(&object, |object, ctx| {
        add(object, ctx)?;
        accept(object, ctx)
    });
    assert!(poll(&mut joining).is_pending());
    bed.engine.lose();
    assert!(matches!(joining.await, Err(CallError::StorageFailed(_))));
    settle().await;
    let count = Arc::new(AtomicU64::new(u64::MAX));
    let counted = Arc::clone(&count);
    let mut counting = call(&object, move |_, ctx| {
        counted.store(ctx.websockets().len() as u64, Ordering::Relaxed);
        Ok(())
    });
    let _ = poll(&mut counting);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_async_code_sends_waits_for_what_its_handler_has_not_confirmed() {
    for in_a_task in [false, true] {
        let bed = Bed::new();
        let object = bed.awake().await;
        let (_socket, driver) = open(&object).await;
        let what = if in_a_task { "in a task" } else { "here" };
        driver.incoming(Incoming::Message(Message::from(what))).await;
        settle().await;
        assert_eq!(leaving(&driver), Poll::Pending, "{what}");
        bed.engine.flush();
        assert_eq!(leaving(&driver), text("handled"), "{what}");
    }
}

/// The `websocket_message` handler of [`Counter`].
pub(super) fn handle_message(
    this: Handle<Counter>,
    (socket, message): (WebSocket, Message),
) -> BoxFuture<Result<()>> {
    Box::pin(async move {
        this.turn_unconfirmed(add).await?;
        if message == Message::from("in a task") {
            // Which does not know on whose behalf it runs; the socket does.
            let sending = tokio::spawn(async move { socket.send("handled") });
            return sending.await.map_err(Error::other)?;
        }
        socket.send("handled")
    })
}

#[tokio::test]
async fn who_reads_too_slowly_is_closed() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (socket, driver) = open(&object).await;
    let megabyte = bytes::Bytes::from(vec![0; (1 << 20) - 100]);
    let filling = |times: usize| {
        let (socket, megabyte) = (socket.clone(), megabyte.clone());
        call(&object, move |_, _| (0..times).try_for_each(|_| socket.send(megabyte.clone())))
    };
    filling(4).await.unwrap();
    assert_eq!(socket.state(), SocketState::Open);
    filling(1).await.unwrap();
    assert_eq!(socket.state(), SocketState::Closing);
    assert_eq!(code(&leaving(&driver)), Some(1013));
    // Whether or not that can be written: the connection ends.
    let mut ended = Box::pin(driver.ended());
    assert!(poll(&mut ended).is_pending());
    bed.pass(10);
    assert!(poll(&mut ended).is_ready());
    assert_eq!(socket.state(), SocketState::Closed);
}

#[tokio::test]
async fn the_next_frame_is_read_when_the_turn_of_the_one_before_is_over() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (_socket, driver) = open(&object).await;
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let closing = call(&object, |_, ctx| {
        ctx.block_concurrency_while(|_| held);
        Ok(())
    });
    closing.await.unwrap();
    let mut reading = Box::pin(driver.incoming(Incoming::Message(Message::from("here"))));
    assert!(poll(&mut reading).is_pending());
    settle().await;
    assert!(poll(&mut reading).is_pending(), "it has had no turn");
    release.send(()).unwrap();
    settle().await;
    assert!(poll(&mut reading).is_ready(), "it does not wait for the disk");
}

#[tokio::test]
async fn nothing_is_read_while_much_is_to_be_written() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (socket, driver) = open(&object).await;
    let three_megabytes = bytes::Bytes::from(vec![0; 3 << 20]);
    call(&object, move |_, _| socket.send(three_megabytes)).await.unwrap();
    let mut reading = Box::pin(driver.incoming(Incoming::Heartbeat));
    assert!(poll(&mut reading).is_pending());
    assert!(leaving(&driver).is_ready());
    assert!(poll(&mut reading).is_ready());
}

#[tokio::test]
async fn a_shutdown_waits_until_clients_are_told_but_not_for_ever() {
    for is_written in [true, false] {
        let bed = Bed::new();
        let object = bed.awake().await;
        let (_socket, driver) = open(&object).await;
        let mut ending = Box::pin(bed.runtime.shutdown());
        // What wakes objects ends first.
        assert!(poll(&mut ending).is_pending());
        settle().await;
        assert!(poll(&mut ending).is_pending());
        assert_eq!(code(&leaving(&driver)), Some(1012));
        settle().await;
        assert!(poll(&mut ending).is_pending(), "it is not written yet");
        if is_written {
            assert_eq!(leaving(&driver), Poll::Ready(None));
        } else {
            bed.pass(5);
        }
        ending.await.unwrap();
    }
}

#[tokio::test]
async fn who_comes_during_a_shutdown_is_sent_away() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (enter, entering) = tokio::sync::oneshot::channel::<()>();
    let (hand_out, response) = tokio::sync::oneshot::channel();
    let background = call(&object, |_, ctx| {
        let this = ctx.handle();
        ctx.wait_until(async move {
            entering.await.unwrap();
            let accepted = this.turn(accept).await;
            hand_out.send(accepted.unwrap().1).unwrap();
        });
        Ok(())
    });
    background.await.unwrap();
    let mut ending = Box::pin(bed.runtime.shutdown());
    assert!(poll(&mut ending).is_pending());
    settle().await;
    assert!(poll(&mut ending).is_pending(), "the background future runs");
    enter.send(()).unwrap();
    let driver = PendingSocket::take(&mut response.await.unwrap()).unwrap();
    assert_eq!(code(&leaving(&driver)), Some(1012));
    ending.await.unwrap();
}

#[tokio::test]
async fn one_broadcast_is_in_memory_once() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let sockets = [open(&object).await, open(&object).await];
    call(&object, |_, ctx| Ok(ctx.broadcast("x".repeat(100)))).await.unwrap();
    let places = sockets.each_ref().map(|(_, driver)| match leaving(driver) {
        Poll::Ready(Some(Outgoing::Text(bytes))) => bytes.as_ptr(),
        other => panic!("{other:?}"),
    });
    assert_eq!(places[0], places[1]);
}
