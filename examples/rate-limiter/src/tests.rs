//! The limiter on a clock that is set by hand: boundaries, restarts, and a model of it.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use durable::{CallError, Runtime};
use futures_util::future::join_all;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::bucket::{Bucket, Decision};
use crate::clock::HandClock;
use crate::limiter::{LimitError, Limiter};
use crate::plan::Plan;

/// A runtime on its own directory and its own clock.
struct World {
    directory: TempDir,
    clock: HandClock,
    runtime: Runtime,
}

/// Some time after 1970, in microseconds, so that the clock can be set back.
const START: u64 = 1_000_000_000_000;

async fn start(directory: &Path, clock: &HandClock, default: &str) -> Runtime {
    let clock = clock.clone();
    let builder = Runtime::builder(directory).register::<Limiter>().env(plan(default));
    builder.clock(move || clock.now()).start().await.unwrap()
}

impl World {
    async fn new(default: &str) -> Self {
        let (directory, clock) = (tempdir().unwrap(), HandClock::default());
        clock.set(Duration::from_micros(START));
        let runtime = start(directory.path(), &clock, default).await;
        World { directory, clock, runtime }
    }

    /// Ends the program and starts it again.
    async fn restart(&mut self, default: &str) {
        self.runtime.shutdown().await.unwrap();
        self.runtime = start(self.directory.path(), &self.clock, default).await;
    }

    /// Sets the clock to so many microseconds after the start.
    fn at(&self, micros: u64) {
        self.clock.set(Duration::from_micros(START + micros));
    }

    async fn take(&self, key: &str, tokens: u32) -> Decision {
        self.runtime.get::<Limiter>(key).take(some(tokens)).await.unwrap()
    }
}

fn plan(text: &str) -> Plan {
    text.parse().unwrap()
}

fn some(tokens: u32) -> NonZeroU32 {
    NonZeroU32::new(tokens).unwrap()
}

fn allowed(remaining: u32) -> Decision {
    Decision::Allowed { remaining }
}

fn denied(micros: u64) -> Decision {
    Decision::Denied { retry_after: Duration::from_micros(micros) }
}

#[tokio::test]
async fn a_token_comes_back_to_the_microsecond() {
    let world = World::new("3+1/1s").await;
    for remaining in [2, 1, 0] {
        assert_eq!(world.take("a", 1).await, allowed(remaining));
    }
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
    world.at(999_999);
    assert_eq!(world.take("a", 1).await, denied(1));
    assert_eq!(world.take("a", 3).await, denied(2_000_001));
    world.at(1_000_000);
    assert_eq!(world.take("a", 1).await, allowed(0));
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
}

#[tokio::test]
async fn a_bucket_fills_up_to_its_burst() {
    let world = World::new("3+1/1s").await;
    assert_eq!(world.take("a", 3).await, allowed(0));
    world.at(2_500_000);
    assert_eq!(world.take("a", 1).await, allowed(1), "and a half");
    world.at(3_600_000_000);
    assert_eq!(world.take("a", 3).await, allowed(0));
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
}

#[tokio::test]
async fn more_than_the_burst_is_an_error_and_leaves_no_trace() {
    let world = World::new("3+1/1s").await;
    let limiters = world.runtime.namespace::<Limiter>();
    let limiter = limiters.get_by_name("a");
    let error = LimitError::OverBurst { tokens: 4, burst: 3 };
    assert_eq!(limiter.take(some(4)).await, Err(CallError::Application(error)));
    assert_eq!(limiter.state().await.unwrap().tokens, 3);
    assert!(!limiters.exists(limiter.id()).unwrap());
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_nothing_and_locks_nobody_out() {
    let mut world = World::new("3+1/1s").await;
    world.at(7_200_000_000);
    assert_eq!(world.take("a", 3).await, allowed(0));
    world.at(3_600_000_000);
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
    world.at(3_601_000_000);
    assert_eq!(world.take("a", 1).await, allowed(0));
    world.at(0);
    world.restart("3+1/1s").await;
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
    world.at(1_000_000);
    assert_eq!(world.take("a", 1).await, allowed(0));
}

#[tokio::test]
async fn a_restart_and_an_eviction_keep_the_bucket() {
    let mut world = World::new("3+1/1s").await;
    assert_eq!(world.take("a", 2).await, allowed(1));
    world.restart("3+1/1s").await;
    assert_eq!(world.take("a", 1).await, allowed(0));
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
    let limiters = world.runtime.namespace::<Limiter>();
    assert!(limiters.evict(&limiters.id_from_name("a").unwrap()).unwrap());
    assert_eq!(world.take("a", 1).await, denied(1_000_000));
}

#[tokio::test]
async fn a_key_keeps_a_plan_of_its_own() {
    let mut world = World::new("3+1/1s").await;
    world.runtime.get::<Limiter>("a").set_plan(Some(plan("5+1/1m"))).await.unwrap();
    let state = async |world: &World, key: &str| {
        let state = world.runtime.get::<Limiter>(key).state().await.unwrap();
        (state.plan.to_string(), state.is_own, state.tokens)
    };
    assert_eq!(state(&world, "a").await, ("5+1/1m".into(), true, 3), "it keeps its tokens");
    world.at(60_000_000);
    assert_eq!(world.take("a", 4).await, allowed(0));
    // Another default: it counts for those that have none of their own, and they keep their tokens.
    assert_eq!(world.take("b", 2).await, allowed(1));
    world.restart("9+1/1h").await;
    assert_eq!(state(&world, "a").await, ("5+1/1m".into(), true, 0));
    assert_eq!(state(&world, "b").await, ("9+1/1h".into(), false, 1));
    world.runtime.get::<Limiter>("a").set_plan(None).await.unwrap();
    world.at(3_660_000_000);
    assert_eq!(state(&world, "a").await, ("9+1/1h".into(), false, 1));
    assert_eq!(state(&world, "b").await, ("9+1/1h".into(), false, 2), "and they fill like others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_at_once_do_not_share_tokens() {
    let world = World::new("4+1/1s").await;
    let requests = (0..600).map(|number| {
        let limiter = world.runtime.get::<Limiter>(&format!("key {}", number % 100));
        tokio::spawn(async move { (number % 100, limiter.take(some(1)).await.unwrap()) })
    });
    let mut counts = [0; 100];
    for answer in join_all(requests.collect::<Vec<_>>()).await {
        if let (key, Decision::Allowed { .. }) = answer.unwrap() {
            counts[key] += 1;
        }
    }
    assert_eq!(counts, [4; 100]);
}

/// The limiter as its promise says it: every window of time up to now is looked at.
struct Model {
    burst: u32,
    refill: u32,
    per_micros: u64,
    /// What was allowed, and when.
    taken: Vec<(u64, u32)>,
}

impl Model {
    fn new(plan: Plan) -> Self {
        let (burst, refill, per_micros) = (plan.burst(), plan.refill(), plan.per_micros());
        Model { burst, refill, per_micros, taken: Vec::new() }
    }

    fn take(&mut self, now: u64, tokens: u32) -> bool {
        self.taken.push((now, tokens));
        let fits = (0..self.taken.len()).all(|first| {
            let window = &self.taken[first..];
            let taken: u64 = window.iter().map(|(_, tokens)| u64::from(*tokens)).sum();
            let gained = (now - window[0].0) * u64::from(self.refill);
            taken * self.per_micros <= u64::from(self.burst) * self.per_micros + gained
        });
        if !fits {
            self.taken.pop();
        }
        fits
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    (1..8_u32, 1..8_u32, 1..50_u64).prop_map(|(burst, refill, millis)| {
        Plan::new(burst, refill, Duration::from_millis(millis)).unwrap()
    })
}

/// Microseconds since the request before, and the tokens that are wanted.
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let pause = prop_oneof![2 => Just(0), 6 => 0..3_000_u64, 1 => 0..100_000_u64];
    prop::collection::vec((pause, 1..4_u32), 1..60)
}

fn is_allowed(decision: Decision) -> bool {
    matches!(decision, Decision::Allowed { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_has_more_than_burst_and_refill_and_nothing_else_is_denied(plan in plans(), requests in requests()) {
        let (mut bucket, mut model, mut now) = (Bucket::full(plan, START), Model::new(plan), START);
        for (pause, tokens) in requests {
            now += pause;
            let tokens = tokens.min(plan.burst());
            let (after, decision) = bucket.at(now, plan).take(some(tokens), plan);
            prop_assert_eq!(is_allowed(decision), model.take(now, tokens), "{:?} at {}", decision, now);
            if let Decision::Denied { retry_after } = decision {
                let then = now + u64::try_from(retry_after.as_micros()).unwrap();
                let take_at = |time| is_allowed(after.at(time, plan).take(some(tokens), plan).1);
                prop_assert!(take_at(then) && !take_at(then - 1), "{:?} at {}", decision, now);
            }
            bucket = after;
        }
    }

    #[test]
    fn whatever_the_clock_does_only_its_steps_forward_count(
        plan in plans(),
        times in prop::collection::vec(0..200_000_u64, 1..60),
    ) {
        let (mut bucket, mut last, mut forward, mut taken) = (Bucket::full(plan, START), START, 0, 0);
        for time in times {
            let now = START + time;
            forward += now.saturating_sub(last);
            last = now;
            let (after, decision) = bucket.at(now, plan).take(some(1), plan);
            taken += u64::from(is_allowed(decision));
            bucket = after;
        }
        let most = u64::from(plan.burst()) * plan.per_micros() + forward * u64::from(plan.refill());
        prop_assert!(taken * plan.per_micros() <= most);
    }
}

proptest! {
    // Each case writes to the disk.
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn objects_decide_like_the_model_wherever_they_are_evicted(
        plan in plans(),
        requests in requests(),
        evictions in prop::collection::vec(any::<bool>(), 60),
    ) {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(async {
            let (world, mut model) = (World::new(&plan.to_string()).await, Model::new(plan));
            let limiters = world.runtime.namespace::<Limiter>();
            let limiter = limiters.get_by_name("a");
            let mut micros = 0;
            for ((pause, tokens), evicted) in requests.into_iter().zip(evictions) {
                micros += pause;
                world.at(micros);
                if evicted {
                    limiters.evict(limiter.id()).unwrap();
                }
                let tokens = tokens.min(plan.burst());
                let decision = limiter.take(some(tokens)).await.unwrap();
                prop_assert_eq!(is_allowed(decision), model.take(micros, tokens), "{:?} at {}", decision, micros);
            }
            Ok(())
        })?;
    }
}
