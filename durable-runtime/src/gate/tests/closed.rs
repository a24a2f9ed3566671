//! The code behind a closed gate: when it starts, and that it is alone.

use super::*;

/// How many constructors load behind their gate.
static LOADING: AtomicU64 = AtomicU64::new(0);

pub(super) struct Loading;

impl Loading {
    pub(super) fn begin() -> Loading {
        LOADING.fetch_add(1, Ordering::SeqCst);
        Loading
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_code_behind_a_gate_starts_when_its_turn_is_durable() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let (sender, mut begun) = tokio::sync::oneshot::channel();
    let mut closing = call(&object, |object, ctx| {
        ctx.block_concurrency_while(|gate| async move {
            sender.send(()).unwrap();
            gate.turn(add).await.map(drop)
        });
        add(object, ctx)
    });
    assert!(poll(&mut closing).is_pending());
    let mut waiting = call(&object, read);
    assert!(poll(&mut waiting).is_pending(), "the gate is closed at once");
    settle().await;
    assert!(begun.try_recv().is_err(), "its code began too early");
    bed.engine.flush();
    begun.await.unwrap();
    settle().await;
    bed.engine.flush();
    assert_eq!(waiting.await, Ok(Some(2)));
}

#[tokio::test]
async fn a_gate_whose_turn_is_lost_does_not_begin_and_resets_the_object() {
    let bed = Bed::new();
    let object = bed.awake().await;
    let mut closing = call(&object, |object, ctx| {
        ctx.block_concurrency_while(|_| std::future::pending::<Result<()>>());
        add(object, ctx)
    });
    assert!(poll(&mut closing).is_pending());
    let mut waiting = call(&object, read);
    assert!(poll(&mut waiting).is_pending());
    bed.engine.lose();
    let failed = waiting.await.unwrap_err();
    assert!(matches!(failed, CallError::Reset { .. }), "{failed:?}");
}

#[tokio::test]
async fn a_constructor_that_closes_its_gate_is_the_last_step_of_an_activation() {
    let bed = Bed::new();
    bed.engine.refuse_open(2);
    let object = bed.object("forgetful loader");
    for _ in 0..2 {
        let mut waiting = call(&object, read);
        assert!(poll(&mut waiting).is_pending());
        settle().await;
        bed.engine.flush();
        settle().await;
        assert_eq!(LOADING.load(Ordering::SeqCst), 1);
        assert!(poll(&mut waiting).is_pending(), "it passed the gate");
    }
    bed.runtime.shutdown_within(Duration::ZERO).await.unwrap();
    assert_eq!(LOADING.load(Ordering::SeqCst), 0);
}
