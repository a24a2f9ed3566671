//! Alarms with an async handler.

use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, Courier, Errand, Plan, at};
use crate::{At, BoxFuture, Error, Handle, Result};

const NOBODY: [&str; 0] = [];

async fn wait_for_go(this: &Handle<Courier>) -> Result<()> {
    let plan = Arc::clone(this.env::<Arc<Plan>>()?);
    plan.go.notified().await;
    Ok(())
}

fn waits(this: Handle<Courier>) -> BoxFuture<Result<()>> {
    Box::pin(async move { wait_for_go(&this).await })
}

fn waits_and_fails(this: Handle<Courier>) -> BoxFuture<Result<()>> {
    Box::pin(async move {
        wait_for_go(&this).await?;
        Err(Error::other("no luck"))
    })
}

fn hangs(_: Handle<Courier>) -> BoxFuture<Result<()>> {
    Box::pin(std::future::pending())
}

/// A bed with the object `a`, whose handler has begun to run this errand.
async fn running(errand: Errand) -> Bed {
    let mut bed = Bed::new().await;
    bed.plan.errands.lock().push_back(errand);
    bed.courier("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    assert_eq!(bed.ran().await.retry, 0);
    bed
}

#[tokio::test]
async fn others_enter_while_it_runs_and_no_second_run_does() {
    let mut bed = running(waits).await;
    let id = bed.runtime().namespace::<Courier>().id_from_name("a").unwrap();
    assert!(!bed.runtime().namespace::<Courier>().evict(&id).unwrap(), "it is at work");
    assert_eq!(bed.courier("a", |ctx| ctx.alarm()).await.unwrap(), None);
    // What is due meanwhile runs when this one is done, and not before.
    bed.courier("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    assert_eq!(bed.names_until(5_000).await, NOBODY);
    bed.plan.go.notify_one();
    let ran = bed.ran().await;
    assert_eq!((ran.name.as_str(), ran.retry), ("a", 0));
}

#[tokio::test]
async fn it_is_cleared_when_it_has_succeeded() {
    let mut bed = running(waits).await;
    bed.plan.go.notify_one();
    assert_eq!(bed.names_until(500_000).await, NOBODY);
    bed.stop().await;
    bed.start().await;
    assert_eq!(bed.names_until(900_000).await, NOBODY);
}

#[tokio::test]
async fn a_run_that_fails_is_tried_again() {
    let mut bed = running(waits_and_fails).await;
    let errands: [Errand; 2] = [
        |_| Box::pin(async { panic!("on purpose") }),
        |this| {
            Box::pin(async move {
                this.abort("start over");
                std::future::pending().await
            })
        },
    ];
    bed.plan.errands.lock().extend(errands);
    bed.plan.go.notify_one();
    for retry in 1..=3 {
        // The limit of the run before is not what is waited for.
        let next = loop {
            let next = bed.next_wait().await;
            if next - bed.now() < 100_000 {
                break next;
            }
            tokio::task::yield_now().await;
        };
        let (wait, least) = (next - bed.now(), 1_000 << retry);
        assert!((least..=least * 5 / 4).contains(&wait), "{retry}: {wait}");
        assert_eq!(bed.courier("a", |ctx| ctx.alarm()).await.unwrap(), Some(at(0)));
        bed.move_to(next);
        assert_eq!(bed.ran().await.retry, retry);
    }
    assert_eq!(bed.names_until(bed.now() + 500_000).await, NOBODY);
}

#[tokio::test]
async fn one_that_is_replaced_or_deleted_while_it_runs_is_not_tried_again() {
    let mut bed = running(waits_and_fails).await;
    bed.courier("a", |ctx| ctx.set_alarm(At(at(500_000)))).await.unwrap();
    bed.plan.go.notify_one();
    assert_eq!(bed.names_until(400_000).await, NOBODY);
    bed.move_to(500_000);
    let ran = bed.ran().await;
    assert_eq!((ran.at, ran.retry, ran.scheduled), (500_000, 0, 500_000));

    let mut bed = running(waits_and_fails).await;
    assert!(bed.courier("a", |ctx| ctx.delete_alarm()).await.unwrap());
    bed.plan.go.notify_one();
    assert_eq!(bed.names_until(500_000).await, NOBODY);
}

#[tokio::test]
async fn what_is_undone_in_the_handler_changes_nothing() {
    let mut bed = running(|this| {
        Box::pin(async move {
            let undone = this.turn(|_, ctx| {
                ctx.set_alarm(Duration::from_secs(999))?;
                Err::<(), _>(Error::other("no"))
            });
            undone.await.unwrap_err();
            let alarm = this.turn(|_, ctx| ctx.alarm()).await?;
            assert_eq!(alarm, None);
            Ok(())
        })
    })
    .await;
    assert_eq!(bed.names_until(2_000_000).await, NOBODY);
}

#[tokio::test]
async fn a_run_over_the_limit_counts_as_failed() {
    let mut bed = running(hangs).await;
    let limit = bed.next_wait().await;
    assert_eq!(limit, 1_000 + 15 * 60 * 1_000);
    bed.move_to(limit);
    bed.move_to(bed.next_wait().await);
    assert_eq!(bed.ran().await.retry, 1);
}

#[tokio::test]
async fn seven_failed_runs_are_given_up() {
    let mut bed = Bed::new().await;
    let errand: Errand = |_| Box::pin(async { Err(Error::other("again")) });
    bed.plan.errands.lock().extend([errand; 7]);
    bed.courier("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    for retry in 0..7 {
        assert_eq!(bed.ran().await.retry, retry);
        if retry < 6 {
            bed.move_to(bed.next_wait().await);
        }
    }
    let failed = bed.courier_until("a", |ctx| ctx.failed_alarm()).await;
    assert_eq!((failed.runs, failed.reason.as_str()), (7, "again"));
    assert_eq!(bed.courier("a", |ctx| ctx.alarm()).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_the_end_of_the_program_cuts_short_runs_again_and_is_not_counted() {
    let mut bed = running(hangs).await;
    bed.cut().await;
    bed.start().await;
    let ran = bed.ran().await;
    assert_eq!((ran.retry, ran.scheduled), (0, 0));
}

#[tokio::test]
async fn a_shutdown_waits_for_a_run_and_notes_its_end() {
    let mut bed = running(waits).await;
    bed.plan.go.notify_one();
    bed.stop().await;
    bed.start().await;
    assert_eq!(bed.names_until(500_000).await, NOBODY);
}
