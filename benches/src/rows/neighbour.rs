//! Durable calls of one object while many callers crowd another one of the same runtime, against the same calls
//! without the crowd.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durable::CallError;
use tokio::task::JoinSet;

use crate::latency::{Latencies, Latency};
use crate::measure::{Pace, Row, Sides};
use crate::rows::fleet::{Counter, CounterStub, Fleet};
use crate::rows::{fail, ok};

/// Ten times what the queue holds.
const CROWD: usize = 10_000;
/// How long whoever was refused waits: twice as long each time, up to the last.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, set_up| Row {
        name,
        unit: "us a call",
        limit_name: "the same, alone",
        pace: Pace::Long,
        set_up,
    };
    vec![
        row("neighbour of an object with 10,000 callers, p50", |_| {
            set_up(Caller::AmongThem, |latency| latency.p50_us)
        }),
        row("neighbour of an object with 10,000 callers, p99", |_| {
            set_up(Caller::AmongThem, |latency| latency.p99_us)
        }),
        row("the same, its caller on a thread of its own, p50", |_| {
            set_up(Caller::OnItsOwn, |latency| latency.p50_us)
        }),
        row("the same, its caller on a thread of its own, p99", |_| {
            set_up(Caller::OnItsOwn, |latency| latency.p99_us)
        }),
    ]
}

/// Where the calls of the neighbour come from.
#[derive(Clone, Copy)]
enum Caller {
    /// A task of the same executor: it waits for its place among those of the crowd.
    AmongThem,
    OnItsOwn,
}

fn set_up(caller: Caller, figure: fn(Latency) -> f32) -> Sides {
    let fleet = Arc::new(Fleet::counters(2));
    let (directory, latencies) = (Some(fleet.path()), Latencies::default());
    let noted = latencies.clone();
    let alone = {
        let fleet = Arc::clone(&fleet);
        Box::new(move |time| f64::from(figure(call(&fleet, caller, time, None))))
    };
    let crowded = Box::new(move |time| {
        let mut crowd = crowd(&fleet);
        // Those who come too early are refused once more often.
        let _ = call(&fleet, caller, time / 4, None);
        let latency = call(&fleet, caller, time, Some(&noted));
        fleet.executor.block_on(crowd.shutdown());
        f64::from(figure(latency))
    });
    Sides { latencies: Some(latencies), directory, ..Sides::pair(crowded, alone) }
}

/// Callers of the first object, until they are shut down.
fn crowd(fleet: &Fleet<Counter>) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn_on(insist(fleet.stubs[0].clone()), fleet.executor.handle());
    }
    crowd
}

/// Calls again and again, and later if there is no place.
async fn insist(stub: CounterStub) {
    let [shortest, longest] = BACK_OFF;
    let mut wait = shortest;
    loop {
        match stub.increment(1).await {
            Ok(_) => wait = shortest,
            Err(CallError::Overloaded { .. }) => {
                tokio::time::sleep(wait).await;
                wait = longest.min(wait * 2);
            }
            Err(error) => fail(&error.to_string()),
        }
    }
}

/// How long calls of the second object take, one after the other.
fn call(
    fleet: &Fleet<Counter>,
    caller: Caller,
    time: Duration,
    noted: Option<&Latencies>,
) -> Latency {
    let stub = fleet.stubs[1].clone();
    let calls = async move {
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < time {
            let begin = Instant::now();
            if let Err(error) = stub.increment(1).await {
                fail(&error.to_string());
            }
            times.push(begin.elapsed().as_secs_f32() * 1e6);
        }
        times
    };
    let times = match caller {
        Caller::AmongThem => ok(fleet.executor.block_on(fleet.executor.spawn(calls))),
        Caller::OnItsOwn => {
            let own = ok(tokio::runtime::Builder::new_current_thread().enable_all().build());
            own.block_on(calls)
        }
    };
    if let Some(noted) = noted {
        noted.add(&times);
    }
    let latencies = Latencies::default();
    latencies.add(&times);
    latencies.summary(None)
}
