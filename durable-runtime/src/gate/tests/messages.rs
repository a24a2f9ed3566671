//! When a message leaves, and when it counts as delivered.

use super::*;
use crate::engine::ObjectKey;
use crate::id::RawId;
use crate::instance::outbox::Reception;
use crate::instance::work::Woken;
use crate::message::Message;
use crate::storage::inbox::Sender;
use crate::storage::millis;
use crate::storage::outbox::Letter;
use crate::wire::Encoder;

/// Sends `b` an `add`, which is not durable when this comes back.
fn send(object: &RawStub<Counter>, to: &RawStub<Counter>, method: &str) {
    let receiver = to.object().unwrap().identity().key();
    let arguments = Encoder::named().finish();
    let message = Message { receiver, name: None, method: method.into(), arguments };
    let mut sent = call(object, move |_, ctx| ctx.store().post(&message, millis(ctx.now()), None));
    assert!(poll(&mut sent).is_pending());
}

/// Makes a step of an object.
async fn step(object: &RawStub<Counter>) {
    let object = object.object().unwrap();
    let class = object.node().class_of("Counter").unwrap();
    let woken = class.wake(object.node(), object.identity().id).await;
    assert!(matches!(woken, Woken::Done), "{woken:?}");
}

/// What an object holds, as a later turn would find it, and whether it has anything to be flushed.
fn peek<R: Send + 'static>(
    object: &RawStub<Counter>,
    read: impl FnOnce(&mut Counter, &Context<Counter>) -> Result<R> + Send + 'static,
) -> R {
    let slot = Arc::new(parking_lot::Mutex::new(None));
    let found = Arc::clone(&slot);
    let mut call = call(object, move |object, ctx| {
        *found.lock() = Some(read(object, ctx)?);
        Ok(())
    });
    let _ = poll(&mut call);
    slot.lock().take().unwrap()
}

fn waiting(_: &mut Counter, ctx: &Context<Counter>) -> Result<u64> {
    ctx.pending_messages()
}

fn refused(_: &mut Counter, ctx: &Context<Counter>) -> Result<usize> {
    Ok(ctx.dead_letters()?.len())
}

#[tokio::test]
async fn a_message_leaves_when_its_turn_is_durable_and_is_kept_until_its_effect_is() {
    let bed = Bed::new();
    let (a, b) = (bed.awake().await, bed.object("b"));
    call(&b, |_, _| Ok(())).await.unwrap();
    send(&a, &b, "add");
    step(&a).await;
    settle().await;
    assert_eq!(peek(&b, read), None, "it has left before its turn was durable");

    bed.engine.flush();
    settle().await;
    assert_eq!(peek(&b, read), Some(1));
    assert_eq!(peek(&a, waiting), 1, "it was let go before its effect was durable");

    bed.engine.flush();
    settle().await;
    assert_eq!(peek(&a, waiting), 0);
}

#[tokio::test]
async fn a_message_is_kept_until_its_effect_is_durable_even_if_its_reply_need_not_wait() {
    let bed = Bed::new();
    let (a, b) = (bed.awake().await, bed.object("b"));
    call(&b, |_, _| Ok(())).await.unwrap();
    send(&a, &b, "add unconfirmed");
    bed.engine.flush();
    step(&a).await;
    settle().await;
    assert_eq!((peek(&b, read), peek(&a, waiting)), (Some(1), 1));
    bed.engine.flush();
    settle().await;
    assert_eq!(peek(&a, waiting), 0);
}

#[tokio::test]
async fn a_refusal_counts_when_it_is_durable() {
    let bed = Bed::new();
    let (a, b) = (bed.awake().await, bed.object("b"));
    call(&b, |_, _| Ok(())).await.unwrap();
    send(&a, &b, "nothing that it knows");
    bed.engine.flush();
    step(&a).await;
    settle().await;
    assert_eq!(peek(&b, read), None);
    assert_eq!((peek(&a, waiting), peek(&a, refused)), (1, 0));
    bed.engine.flush();
    settle().await;
    assert_eq!((peek(&a, waiting), peek(&a, refused)), (0, 1));
}

#[tokio::test]
async fn a_message_whose_turn_is_lost_never_leaves() {
    let bed = Bed::new();
    let (a, b) = (bed.awake().await, bed.object("b"));
    call(&b, |_, _| Ok(())).await.unwrap();
    send(&a, &b, "add");
    step(&a).await;
    bed.engine.lose();
    settle().await;
    assert_eq!(peek(&b, read), None);
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_overtakes_one_that_a_reset_takes_out_of_the_queue() {
    let bed = Bed::new();
    let b = bed.object("b");
    call(&b, |_, _| Ok(())).await.unwrap();
    let object = Arc::clone(b.object().unwrap());
    let key = ObjectKey { class: "Counter".into(), id: RawId::from_bytes([7; 32]) };
    let reception = Reception::begin(&object, Sender { key, epoch: 1 });
    let letter = |number| Letter { number, method: "add".into(), arguments: Vec::new() };
    assert!(object.close_gate(&object.session()).is_some());

    // The second message comes when the reset has taken out the first one and has not told it yet.
    let (second, answer) = std::sync::mpsc::channel();
    let (posts, meanwhile) = (Arc::clone(&object), Arc::clone(&reception));
    let hook = OnDrop(move || {
        let received = meanwhile.submit(&posts, letter(2)).unwrap().blocking_recv();
        second.send(received.unwrap()).unwrap();
    });
    let mut waits = call(&b, move |_, _| {
        let _hook = &hook;
        Ok(())
    });
    assert!(poll(&mut waits).is_pending());
    let first = reception.submit(&object, letter(1)).unwrap();
    let resets = Arc::clone(&object);
    tokio::task::spawn_blocking(move || resets.reset(&"on purpose".into())).await.unwrap();
    assert!(first.await.unwrap().is_err());
    assert!(answer.recv().unwrap().is_err(), "it has overtaken the first one");
    assert_eq!(peek(&b, read), None);
}
