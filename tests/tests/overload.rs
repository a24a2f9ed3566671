//! More callers than the queue of an object has places.

use std::task::Poll;

use durable::QUEUE_MAX;
use durable::prelude::*;
use durable_tests::{finish, matrix, poll_once};
use tokio::sync::{oneshot, watch};

const CALLERS: usize = 10_000;

/// Lets the test open the gate.
#[derive(Clone)]
struct Door(watch::Receiver<bool>);

#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    pub fn add(&mut self, ctx: &Context) -> Result<usize> {
        let count = ctx.kv().get::<usize>("count")?.unwrap_or(0) + 1;
        ctx.kv().put("count", &count)?;
        Ok(count)
    }

    pub fn count(&self, ctx: &Context) -> Result<usize> {
        Ok(ctx.kv().get("count")?.unwrap_or(0))
    }

    /// Keeps all callers waiting until the test lets them through.
    pub fn close(&mut self, ctx: &Context<Self>) -> Result<()> {
        let mut door = ctx.env::<Door>()?.0.clone();
        ctx.block_concurrency_while(move |_| async move {
            door.wait_for(|is_open| *is_open).await.map(drop)
        });
        Ok(())
    }
}

/// How a call ended, and whether in the poll that submitted it.
struct Answered {
    outcome: std::result::Result<usize, CallError<durable::Error>>,
    at_once: bool,
}

/// All callers at once, each a task; `submitted` is told of every first poll.
fn call_all(
    object: &CounterStub,
) -> (Vec<tokio::task::JoinHandle<Answered>>, Vec<oneshot::Receiver<()>>) {
    let callers = (0..CALLERS).map(|_| {
        let (submitted, is_submitted) = oneshot::channel();
        let mut call = object.add();
        let caller = tokio::spawn(async move {
            let poll = poll_once(&mut call);
            let _ = submitted.send(());
            Answered { at_once: poll.is_ready(), outcome: finish(poll, call).await }
        });
        (caller, is_submitted)
    });
    callers.unzip()
}

/// How many were answered, and how long the queue was that the others found full, each of them at once.
async fn count(callers: Vec<tokio::task::JoinHandle<Answered>>) -> (usize, Vec<usize>) {
    let (mut answered, mut lengths) = (0, Vec::new());
    for caller in callers {
        match caller.await.unwrap() {
            Answered { outcome: Ok(_), .. } => answered += 1,
            Answered { outcome: Err(CallError::Overloaded { queued }), at_once: true } => {
                lengths.push(queued);
            }
            Answered { outcome, at_once } => panic!("{outcome:?}, at once: {at_once}"),
        }
    }
    (answered, lengths)
}

matrix! {
    async fn a_busy_object_answers_as_many_as_its_queue_holds(bed) {
        let (open, door) = watch::channel(false);
        let builder = bed.builder().register::<Counter>().env(Door(door));
        let runtime = builder.start().await.unwrap();
        let object = runtime.get::<Counter>("a");
        object.close().await.unwrap();
        let (callers, submitted) = call_all(&object);
        for submitted in submitted {
            submitted.await.unwrap();
        }
        let mut late = object.add();
        assert_eq!(poll_once(&mut late), Poll::Ready(Err(CallError::Overloaded { queued: QUEUE_MAX })));
        open.send(true).unwrap();
        let (answered, lengths) = count(callers).await;
        assert_eq!(answered, QUEUE_MAX);
        assert_eq!(lengths, vec![QUEUE_MAX; CALLERS - QUEUE_MAX]);
        assert_eq!(object.count().await.unwrap(), QUEUE_MAX, "who was refused has left nothing");
        runtime.shutdown().await.unwrap();
    }

    async fn a_free_object_answers_at_least_as_many(bed) {
        let runtime = bed.builder().register::<Counter>().start().await.unwrap();
        let object = runtime.get::<Counter>("a");
        object.add().await.unwrap();
        let (answered, lengths) = count(call_all(&object).0).await;
        assert!(answered >= QUEUE_MAX, "{answered}");
        assert_eq!(answered + lengths.len(), CALLERS);
        assert!(lengths.iter().all(|queued| *queued >= QUEUE_MAX), "{lengths:?}");
        assert_eq!(object.count().await.unwrap(), answered + 1);
        runtime.shutdown().await.unwrap();
    }
}
