//! Calls without storage, against the actor that people write by hand: a task with an mpsc queue
//! and a oneshot for each reply.

use std::sync::Arc;
use std::time::Duration;

use durable::prelude::*;
use tokio::runtime::Runtime as Executor;
use tokio::sync::{mpsc, oneshot};

use crate::measure::{Pace, Row, Run, Sides, rate};
use crate::rows::{executor, fail, ok};

/// Operations between two looks at the clock.
const BATCH: usize = 2_000;

#[derive(Default)]
struct Adder {
    total: u64,
}

#[durable_object]
impl Adder {
    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }
}

/// The hand-written actor.
#[derive(Clone)]
struct Actor(mpsc::Sender<(u64, oneshot::Sender<u64>)>);

impl Actor {
    fn start(executor: &Executor) -> Self {
        let (sender, mut jobs) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(1_024);
        executor.spawn(async move {
            let mut total = 0;
            while let Some((by, reply)) = jobs.recv().await {
                total += by;
                let _ = reply.send(total);
            }
        });
        Actor(sender)
    }

    async fn add(&self, by: u64) -> Option<u64> {
        let (sender, reply) = oneshot::channel();
        self.0.send((by, sender)).await.ok()?;
        reply.await.ok()
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "calls/s",
        limit_name: "mpsc + oneshot actor",
        pace: Pace::Timed,
        set_up,
    };
    vec![
        row("rpc, one caller", |_| set_up(1, 1)),
        row("rpc, 100 callers of one object", |_| set_up(100, 1)),
        row("rpc, 100 callers of 1,000 objects", |_| set_up(100, 1_000)),
    ]
}

fn set_up(callers: usize, objects: usize) -> Sides {
    let executor = Arc::new(executor());
    let stubs = Arc::new(durable_stubs(&executor, objects));
    let actors: Arc<Vec<Actor>> = Arc::new((0..objects).map(|_| Actor::start(&executor)).collect());
    let ours = {
        let executor = executor.clone();
        run(executor, callers, move |caller, call| {
            let stub = stubs[(caller * 31 + call) % stubs.len()].clone();
            async move { stub.add(1).await.is_ok() }
        })
    };
    let limit = run(executor, callers, move |caller, call| {
        let actor = actors[(caller * 31 + call) % actors.len()].clone();
        async move { actor.add(1).await.is_some() }
    });
    Sides::pair(ours, limit)
}

fn durable_stubs(executor: &Executor, objects: usize) -> Vec<AdderStub> {
    let path = ok(tempfile::tempdir()).keep();
    executor.block_on(async {
        let runtime = ok(Runtime::builder(path).register::<Adder>().start().await);
        let stubs = (0..objects).map(|n| runtime.get::<Adder>(&n.to_string())).collect();
        // The process ends with the runtime.
        std::mem::forget(runtime);
        stubs
    })
}

/// Lets `callers` tasks call one after the other, `BATCH` calls in all for each look at the clock.
fn run<F, C>(executor: Arc<Executor>, callers: usize, call: F) -> Run
where
    F: Fn(usize, usize) -> C + Clone + Send + Sync + 'static,
    C: Future<Output = bool> + Send,
{
    Box::new(move |time: Duration| {
        rate(time, || {
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let call = call.clone();
                    executor.spawn(async move {
                        for index in 0..BATCH {
                            if !call(caller, index).await {
                                fail("a call failed");
                            }
                        }
                    })
                })
                .collect();
            executor.block_on(async {
                for task in tasks {
                    let _ = task.await;
                }
            });
            callers * BATCH
        })
    })
}
