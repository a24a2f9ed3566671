//! Reminders under a clock that the tests move.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use durable::testing::TestRuntime;

use crate::agenda::{Agenda, Delivery, Reminder, Rhythm, Show, Tries};
use crate::options::{Command, Options};

const HOUR: Duration = Duration::from_hours(1);

type Shown = Arc<Mutex<Vec<String>>>;

async fn start() -> (TestRuntime, Shown) {
    let shown = Shown::default();
    let seen = shown.clone();
    let runtime = TestRuntime::start(move |builder| {
        let seen = seen.clone();
        let show: Show =
            Box::new(move |delivery: &Delivery| seen.lock().unwrap().push(delivery.text.clone()));
        builder.register::<Agenda>().env(show).env(Tries::default())
    });
    (runtime.await.unwrap(), shown)
}

fn reminder(text: &str, flaky: u32) -> Reminder {
    Reminder { text: text.into(), flaky }
}

fn take(shown: &Shown) -> Vec<String> {
    std::mem::take(&mut *shown.lock().unwrap())
}

#[tokio::test]
async fn reminders_come_in_their_rhythm_over_restarts() {
    let (mut runtime, shown) = start().await;
    let agenda = runtime.get::<Agenda>("me");
    agenda.add("tea", Rhythm::After(HOUR / 15), reminder("tea", 0)).await.unwrap();
    agenda.add("drink", Rhythm::Every(HOUR), reminder("drink", 0)).await.unwrap();
    let standup = Rhythm::Cron("30 9 * * MON-FRI".into(), Some("Europe/Berlin".into()));
    agenda.add("standup", standup, reminder("stand up", 0)).await.unwrap();
    runtime.advance(HOUR).await.unwrap();
    assert_eq!(take(&shown), ["tea", "drink"]);
    runtime.crash().await.unwrap();
    // Until Wednesday, the first of January 2030 being a Tuesday.
    runtime.advance(35 * HOUR).await.unwrap();
    let day = take(&shown);
    assert_eq!(day.iter().filter(|text| *text == "stand up").count(), 2, "{day:?}");
    assert_eq!(day.len(), 37);
    let agenda = runtime.get::<Agenda>("me");
    assert!(agenda.remove("drink").await.unwrap() && !agenda.remove("drink").await.unwrap());
    runtime.advance(5 * HOUR).await.unwrap();
    assert!(take(&shown).is_empty());
    assert_eq!(agenda.deliveries(100).await.unwrap().len(), 39);
    assert_eq!(agenda.entries().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_delivery_that_fails_is_tried_again_and_nobody_sees_it_twice() {
    let (runtime, shown) = start().await;
    let agenda = runtime.get::<Agenda>("me");
    agenda.add("tea", Rhythm::After(HOUR), reminder("tea", 3)).await.unwrap();
    runtime.advance(HOUR + Duration::from_secs(1)).await.unwrap();
    let [entry] = &agenda.entries().await.unwrap()[..] else { panic!("it is gone") };
    assert_eq!(entry.trouble.as_ref().unwrap().0, 1);
    assert!(take(&shown).is_empty());
    runtime.advance(HOUR).await.unwrap();
    assert_eq!(take(&shown), ["tea"]);
    assert!(agenda.entries().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_that_always_fails_is_given_up_and_stays_to_be_seen() {
    let (runtime, shown) = start().await;
    let agenda = runtime.get::<Agenda>("me");
    agenda.add("tea", Rhythm::After(HOUR), reminder("tea", u32::MAX)).await.unwrap();
    runtime.advance(2 * HOUR).await.unwrap();
    let [entry] = &agenda.entries().await.unwrap()[..] else { panic!("it is gone") };
    assert_eq!((entry.next, entry.trouble.as_ref().unwrap().0), (None, 7));
    assert!(take(&shown).is_empty());
    assert_eq!(runtime.namespace::<Agenda>().given_up().unwrap().len(), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let (runtime, _) = start().await;
    let agenda = runtime.get::<Agenda>("me");
    let cron = Rhythm::Cron("at noon".into(), None);
    let error = agenda.add("tea", cron, reminder("tea", 0)).await.unwrap_err();
    assert!(error.to_string().contains("at noon"), "{error}");
    assert!(agenda.entries().await.unwrap().is_empty());
}

#[test]
fn the_command_line_is_sound() {
    Options::command().debug_assert();
    let parse = |text: &str| Options::try_parse_from(text.split(' '));
    let options = parse("scheduler add tea --every 90s now").unwrap();
    let Command::Add(add) = options.command else { panic!("another command") };
    assert_eq!(add.rhythm(), Some(Rhythm::Every(Duration::from_secs(90))));
    for wrong in [
        "tea now",
        "tea --every 0s now",
        "tea --after 1h --every 1h now",
        "tea --zone UTC --after 1h now",
    ] {
        parse(&format!("scheduler add {wrong}")).unwrap_err();
    }
}
