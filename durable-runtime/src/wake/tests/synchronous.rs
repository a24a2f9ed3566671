//! Alarms with a sync handler, and all that is the same for both forms.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::bed::{Act, Agenda, Bed, Silent, at};
use crate::time::retry::RUNS_MAX;
use crate::{After, At, CallError, Context, Error, ErrorKind, Result, Rollback};

const NOBODY: [&str; 0] = [];

fn fails(_: &Context<Agenda>) -> Result<()> {
    Err(Error::other("no luck"))
}

#[tokio::test]
async fn alarms_run_in_the_order_of_their_times_and_never_early() {
    let mut bed = Bed::new().await;
    assert_eq!(bed.earliest(), None, "nobody wants to be woken, so there is no timer");
    for (name, time) in [("c", 30_000), ("a", 10_000), ("b", 20_000)] {
        bed.agenda(name, move |ctx| ctx.set_alarm(At(at(time)))).await.unwrap();
    }
    assert_eq!(bed.next_wait().await, 10_000);
    bed.move_to(9_999);
    assert_eq!(bed.next_wait().await, 10_000);
    bed.move_to(10_000);
    let ran = bed.ran().await;
    assert_eq!((ran.name.as_str(), ran.retry, ran.scheduled), ("a", 0, 10_000));
    assert_eq!(bed.next_wait().await, 20_000);
    bed.move_to(99_000);
    assert_eq!([bed.ran().await.name, bed.ran().await.name], ["b", "c"]);
    for name in ["a", "b", "c"] {
        let (alarm, runs) =
            bed.agenda(name, |ctx| Ok((ctx.alarm()?, ctx.kv().get("runs")?))).await.unwrap();
        assert_eq!((alarm, runs), (None, Some(1)));
    }
    assert_eq!(bed.earliest(), None);
}

#[tokio::test]
async fn what_fails_is_tried_again_six_times_and_then_given_up() {
    let mut bed = Bed::new().await;
    bed.plan.acts.lock().extend([fails as Act; RUNS_MAX as usize]);
    bed.agenda("a", |ctx| ctx.set_alarm(After(Duration::from_secs(9)))).await.unwrap();
    bed.move_to(bed.next_wait().await);
    for retry in 0..RUNS_MAX {
        let ran = bed.ran().await;
        assert_eq!((ran.retry, ran.scheduled, ran.at), (retry, 10_000, bed.now()));
        if retry + 1 < RUNS_MAX {
            let next = bed.next_wait().await;
            let (wait, least) = (next - bed.now(), 1_000 << (retry + 1));
            assert!((least..=least * 5 / 4).contains(&wait), "{retry}: {wait}");
            let alarm = bed.agenda("a", |ctx| ctx.alarm()).await.unwrap();
            assert_eq!(alarm, Some(at(10_000)), "the time it was set for");
            bed.move_to(next);
        }
    }
    let look = |ctx: &Context<Agenda>| {
        Ok((ctx.alarm()?, ctx.failed_alarm()?, ctx.kv().get::<u32>("runs")?))
    };
    let (alarm, failed, runs) = bed.agenda("a", look).await.unwrap();
    assert_eq!((alarm, runs), (None, None), "every run was undone");
    let failed = failed.unwrap();
    assert_eq!((failed.runs, failed.reason.as_str()), (RUNS_MAX, "no luck"));
    assert_eq!((failed.scheduled_time, failed.given_up), (at(10_000), at(bed.now())));
    assert_eq!(bed.names_until(bed.now() + 1_000_000).await, NOBODY);

    // It stays known until one succeeds.
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    assert_eq!(bed.ran().await.retry, 0);
    let (_, failed, runs) = bed.agenda("a", look).await.unwrap();
    assert_eq!((failed, runs), (None, Some(1)));
}

#[tokio::test]
async fn a_panic_and_an_abort_count_as_failed_runs() {
    let mut bed = Bed::new().await;
    let acts: [Act; 3] = [
        |_| panic!("on purpose"),
        |ctx| Err(ctx.abort("start over")),
        |ctx| {
            ctx.abort("also without an error");
            Ok(())
        },
    ];
    bed.plan.acts.lock().extend(acts);
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    for retry in 0..4 {
        assert_eq!(bed.ran().await.retry, retry);
        if retry < 3 {
            bed.move_to(bed.next_wait().await);
        }
    }
    assert_eq!(bed.agenda("a", |ctx| ctx.kv().get::<u32>("runs")).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_retry_that_waits_is_replaced_or_deleted_like_any_alarm() {
    let mut bed = Bed::new().await;
    bed.plan.acts.lock().extend([fails as Act; 2]);
    for name in ["a", "b"] {
        bed.agenda(name, |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
        assert_eq!(bed.ran().await.name, name);
    }
    bed.next_wait().await;
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(500_000)))).await.unwrap();
    assert!(bed.agenda("b", |ctx| ctx.delete_alarm()).await.unwrap());
    assert!(!bed.agenda("b", |ctx| ctx.delete_alarm()).await.unwrap());
    assert_eq!(bed.names_until(400_000).await, NOBODY);
    bed.move_to(500_000);
    let ran = bed.ran().await;
    assert_eq!((ran.name.as_str(), ran.retry, ran.scheduled), ("a", 0, 500_000));
}

#[tokio::test]
async fn what_is_undone_was_never_set() {
    let mut bed = Bed::new().await;
    let undone = bed.agenda("a", |ctx| {
        ctx.set_alarm(At(at(2_000)))?;
        Err::<(), _>(Error::other("no"))
    });
    undone.await.unwrap_err();
    let undone = bed.agenda("b", |ctx| {
        ctx.set_alarm(At(at(90_000)))?;
        ctx.transaction(|| Rollback(ctx.set_alarm(At(at(2_000)))))?
    });
    undone.await.unwrap();
    let undone = bed.agenda("c", |ctx| {
        ctx.set_alarm(At(at(90_000)))?;
        ctx.transaction(|| Rollback(ctx.delete_alarm()))?.map(|_| ())
    });
    undone.await.unwrap();
    assert_eq!(bed.names_until(80_000).await, NOBODY);
    bed.move_to(90_000);
    let mut names = [bed.ran().await.name, bed.ran().await.name];
    names.sort();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test]
async fn a_handler_sets_the_next_alarm() {
    let mut bed = Bed::new().await;
    let acts: [Act; 3] = [
        |ctx| ctx.set_alarm(Duration::from_secs(10)),
        |ctx| ctx.set_alarm(ctx.now()),
        // Undone with its run: the old one is tried again.
        |ctx| ctx.set_alarm(Duration::from_secs(99)).and_then(|()| fails(ctx)),
    ];
    bed.plan.acts.lock().extend(acts);
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    assert_eq!(bed.ran().await.at, 1_000);
    assert_eq!(bed.next_wait().await, 11_000);
    bed.move_to(11_000);
    assert_eq!(bed.ran().await.scheduled, 11_000);
    assert_eq!(bed.ran().await.scheduled, 11_000);
    bed.move_to(bed.next_wait().await);
    let ran = bed.ran().await;
    assert_eq!((ran.retry, ran.scheduled), (1, 11_000));
}

#[tokio::test]
async fn overdue_alarms_run_at_the_start_oldest_first_and_retries_go_on() {
    let mut bed = Bed::new().await;
    bed.plan.acts.lock().push_back(fails);
    bed.agenda("tried", |ctx| ctx.set_alarm(At(at(0)))).await.unwrap();
    bed.ran().await;
    assert!(bed.next_wait().await < 20_000);
    for (name, time) in [("late", 40_000), ("early", 20_000), ("far", 900_000)] {
        bed.agenda(name, move |ctx| ctx.set_alarm(At(at(time)))).await.unwrap();
    }
    bed.stop().await;
    bed.move_to(100_000);
    bed.start().await;
    let ran = [bed.ran().await, bed.ran().await, bed.ran().await];
    assert_eq!(ran.each_ref().map(|ran| ran.name.as_str()), ["tried", "early", "late"]);
    assert_eq!((ran[0].retry, ran[0].scheduled), (1, 0));
    assert_eq!(bed.next_wait().await, 900_000);
}

#[tokio::test]
async fn a_lost_catalogue_loses_no_alarm() {
    let mut bed = Bed::new().await;
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(50_000)))).await.unwrap();
    bed.agenda("b", |ctx| ctx.kv().put("x", &1)).await.unwrap();
    bed.stop().await;
    bed.lose_catalogue();
    bed.start().await;
    assert_eq!(bed.next_wait().await, 50_000);
    assert_eq!(bed.names_until(60_000).await, ["a"]);
}

#[tokio::test]
async fn deleting_everything_deletes_the_alarm() {
    let mut bed = Bed::new().await;
    for name in ["a", "b", "c"] {
        bed.agenda(name, |ctx| ctx.set_alarm(At(at(50_000)))).await.unwrap();
    }
    bed.agenda("a", |ctx| ctx.delete_all()).await.unwrap();
    bed.agenda("b", |ctx| ctx.delete_all().and_then(|()| ctx.kv().put("x", &1))).await.unwrap();
    let again = bed.agenda("c", |ctx| {
        ctx.delete_all()?;
        ctx.set_alarm(At(at(70_000)))
    });
    again.await.unwrap();
    assert_eq!(bed.names_until(60_000).await, NOBODY);
    bed.stop().await;
    bed.move_to(100_000);
    bed.start().await;
    assert_eq!(bed.names_until(200_000).await, ["c"]);
}

#[tokio::test]
async fn what_cannot_be_set_is_refused() {
    let bed = Bed::new().await;
    let kind = |error: CallError<Error>| match error {
        CallError::Application(error) => error.kind(),
        other => panic!("{other}"),
    };
    let silent = bed.runtime().get::<Silent>("a");
    let set = silent.turn("test", |_, ctx| ctx.set_alarm(At(at(0)))).await;
    assert_eq!(kind(set.unwrap_err()), ErrorKind::NotFound);
    let rest = silent.turn("test", |_, ctx| Ok::<_, Error>((ctx.alarm()?, ctx.delete_alarm()?)));
    assert_eq!(rest.await.unwrap(), (None, false));
    let before = at(0) - Duration::from_millis(1);
    let set = bed.agenda("a", move |ctx| ctx.set_alarm(before)).await;
    assert_eq!(kind(set.unwrap_err()), ErrorKind::Invalid);
    let set = bed.agenda("a", |ctx| ctx.set_alarm(Duration::MAX)).await;
    assert_eq!(kind(set.unwrap_err()), ErrorKind::Invalid);
    // A fraction of a millisecond is not cut off: that would be early.
    let set = bed.agenda("a", |ctx| ctx.set_alarm(at(5_000) + Duration::from_nanos(1)));
    set.await.unwrap();
    assert_eq!(bed.agenda("a", |ctx| ctx.alarm()).await.unwrap(), Some(at(5_001)));
}

#[tokio::test]
async fn ensuring_an_alarm_leaves_the_one_that_is_set() {
    let bed = Bed::new().await;
    let ensure = |time| bed.agenda("a", move |ctx| Ok((ctx.ensure_alarm(at(time))?, ctx.alarm()?)));
    assert_eq!(ensure(50_000).await.unwrap(), (true, Some(at(50_000))));
    assert_eq!(ensure(20_000).await.unwrap(), (false, Some(at(50_000))));
}

#[tokio::test]
async fn an_object_that_cannot_be_activated_is_tried_again_and_no_run_counts() {
    let mut bed = Bed::new().await;
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(50_000)))).await.unwrap();
    bed.stop().await;
    bed.plan.failures.store(3, Ordering::SeqCst);
    bed.start().await;
    bed.move_to(bed.next_wait().await);
    for wait in [2_000, 4_000, 8_000] {
        let next = bed.next_wait().await;
        assert_eq!(next - bed.now(), wait);
        bed.move_to(next);
    }
    assert_eq!(bed.ran().await.retry, 0);
}

#[tokio::test]
async fn alarms_of_a_class_that_is_not_registered_wait_for_it() {
    let mut bed = Bed::new().await;
    bed.agenda("a", |ctx| ctx.set_alarm(At(at(50_000)))).await.unwrap();
    bed.stop().await;
    bed.move_to(60_000);
    bed.start_with(false).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.earliest(), None);
    bed.stop().await;
    bed.start().await;
    assert_eq!(bed.ran().await.name, "a");
}

#[tokio::test]
async fn one_whose_queue_was_full_for_long_runs_soon_afterwards() {
    let mut bed = Bed::new().await;
    let stub = bed.runtime().get::<Agenda>("a");
    stub.turn("test", |_, ctx| ctx.set_alarm(At(at(5_000)))).await.unwrap();
    let object = Arc::clone(stub.object().unwrap());
    let gate = object.close_gate(&object.session()).unwrap();
    let calls = (0..10).map(|_| stub.turn("test", |_, _| Ok::<_, Error>(())));
    let mut calls: Vec<_> = calls.collect();
    for call in &mut calls {
        let polled = poll_fn(|task| Poll::Ready(Pin::new(&mut *call).poll(task)));
        assert!(polled.await.is_pending());
    }
    bed.move_to(5_000);
    for _ in 0..10 {
        let next = bed.next_wait().await;
        assert!(next - bed.now() <= 1_000, "it is left alone for {} ms", next - bed.now());
        bed.move_to(next);
    }
    let next = bed.next_wait().await;
    object.open_gate(gate);
    for call in calls {
        call.await.unwrap();
    }
    bed.move_to(next);
    assert_eq!(bed.ran().await.name, "a");
}
