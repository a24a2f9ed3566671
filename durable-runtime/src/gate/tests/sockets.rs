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
fn leaving(driver: &SocketDriver) -> Option<Option<Outgoing>> {
    match poll(&mut Box::pin(driver.outgoing())) {
        Poll::Ready(frame) => Some(frame),
        Poll::Pending => None,
    }
}

fn text(text: &'static str) -> Option<Option<Outgoing>> {
    Some(Some(Outgoing::Text(text.into())))
}

fn closes(code: u16) -> impl Fn(Option<Option<Outgoing>>) -> bool {
    move |frame| matches!(frame, Some(Some(Outgoing::Close(CloseFrame { code: Some(found), .. }))) if found == code)
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
    assert_eq!(leaving(&driver), None, "it left before its turn was durable");

    // A turn that writes nothing has seen what is not durable.
    let again = socket.clone();
    let mut second = call(&object, move |_, ctx| {
        again.close(3000, "")?;
        Ok(ctx.broadcast("nobody is open"))
    });
    assert!(poll(&mut second).is_pending());
    assert_eq!(leaving(&driver), None);
    bed.engine.flush();
    assert_eq!(leaving(&driver), text("first"));
    assert!(closes(3000)(leaving(&driver)));
    assert_eq!(leaving(&driver), Some(None), "nothing comes after the close frame");
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
    assert_eq!(leaving(&driver), None, "it is behind the first");
    bed.engine.lose();
    assert!(closes(1011)(leaving(&driver)));
    assert_eq!(leaving(&driver), Some(None));
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
        assert_eq!(leaving(&driver), None, "{what}");
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
    let megabyte = bytes::Bytes::from(vec![0; 1 << 20]);
    let filling = |times: usize| {
        let (socket, megabyte) = (socket.clone(), megabyte.clone());
        call(&object, move |_, _| (0..times).try_for_each(|_| socket.send(megabyte.clone())))
    };
    filling(4).await.unwrap();
    assert_eq!(socket.state(), SocketState::Open);
    filling(1).await.unwrap();
    assert_eq!(socket.state(), SocketState::Closing);
    assert!(closes(1013)(leaving(&driver)));
    // Whether or not that can be written: the connection ends.
    let mut ended = Box::pin(driver.ended());
    assert!(poll(&mut ended).is_pending());
    bed.pass(10);
    assert!(poll(&mut ended).is_ready());
    assert_eq!(socket.state(), SocketState::Closed);
}

#[tokio::test]
async fn one_broadcast_is_in_memory_once() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let sockets = [open(&object).await, open(&object).await];
    call(&object, |_, ctx| Ok(ctx.broadcast("x".repeat(100)))).await.unwrap();
    let places = sockets.each_ref().map(|(_, driver)| match leaving(driver) {
        Some(Some(Outgoing::Text(bytes))) => bytes.as_ptr(),
        other => panic!("{other:?}"),
    });
    assert_eq!(places[0], places[1]);
}
