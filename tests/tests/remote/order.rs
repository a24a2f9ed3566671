//! In which order calls arrive, and which of them are not made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use durable::CallError;
use futures_util::future::join_all;
use tempfile::TempDir;

use crate::bed::Server;

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_stub_arrive_in_the_order_in_which_they_were_polled() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    for round in 0..20 {
        let calls = (0..8).map(|number| desk.log(round * 8 + number));
        join_all(calls).await.into_iter().for_each(|made| made.unwrap());
    }
    assert_eq!(desk.logged().await.unwrap(), (0..160).collect::<Vec<_>>());
}

/// A layer that takes longer over some calls than over others.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_waits_lets_no_call_overtake_another() {
    let calls = Arc::<AtomicU64>::default();
    let waits = from_fn(move |request: Request, next: Next| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..(100 - number.min(100)) {
                tokio::task::yield_now().await;
            }
            next.run(request).await
        }
    });
    let directory = Arc::new(TempDir::new().unwrap());
    let server = Server::with(directory, "127.0.0.1:0", |router| router.layer(waits)).await;
    let desk = server.desk("a").await;
    let calls = (0..8).map(|number| desk.log(number));
    join_all(calls).await.into_iter().for_each(|made| made.unwrap());
    assert_eq!(desk.logged().await.unwrap(), (0..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_before_its_turn_is_not_made() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let mut dropped = Box::pin(desk.log(1));
    let mut kept = Box::pin(desk.log(2));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    assert!(futures_util::poll!(&mut kept).is_pending());
    drop(dropped);
    // Behind the same connection's cancellation: when this comes back, that has arrived.
    let other = server.desk("b").await;
    other.nothing().await.unwrap();
    desk_of_the_same_client(&desk).await;
    server.signals.release.notify_one();
    kept.await.unwrap();
    assert_eq!(desk.logged().await.unwrap(), [2]);
}

/// Waits for a reply that comes after all that was sent before, over the connection of `desk`.
async fn desk_of_the_same_client(desk: &crate::bed::DeskStub) {
    // The queue is full of nothing: what is not exposed is answered before it comes to the object.
    assert!(matches!(desk.hidden().await, Err(CallError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_goes_along() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let late = desk.log(1).timeout(Duration::from_millis(20)).await;
    assert!(matches!(late, Err(CallError::TimedOut { after, .. }) if after.as_millis() == 20));
    desk_of_the_same_client(&desk).await;
    server.signals.release.notify_one();
    desk.log(2).await.unwrap();
    assert_eq!(desk.logged().await.unwrap(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    desk.hold().await.unwrap();
    server.signals.entered.notified().await;
    let mut calls: Vec<_> = (0..20).map(|number| Box::pin(desk.log(number))).collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    desk_of_the_same_client(&desk).await;
    server.signals.release.notify_one();
    let ended = join_all(calls).await;
    let refused = ended.iter().filter(|ended| matches!(ended, Err(CallError::Overloaded { .. })));
    assert_eq!(refused.count(), 12);
    assert_eq!(desk.logged().await.unwrap(), (0..8).collect::<Vec<_>>());
}
