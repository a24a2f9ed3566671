use proptest::prelude::*;

use super::*;

fn cron(expression: &str, zone: Option<&str>) -> CronRule {
    CronRule { expression: expression.into(), zone: zone.map(Into::into) }
}

/// A time as a person writes it, such as `2030-03-31T02:30+02:00`.
fn millis(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The next times after this one.
fn following(rule: &CronRule, after: &str, count: usize) -> Vec<i64> {
    let rule = Rule::Cron(rule.clone());
    let mut times = vec![millis(after)];
    for _ in 0..count {
        let last = times[times.len() - 1];
        times.push(rule.next(last, last).unwrap().unwrap());
    }
    times.split_off(1)
}

fn assert_follow(rule: &CronRule, after: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|time| millis(time)).collect();
    assert_eq!(following(rule, after, expected.len()), expected, "{rule:?} after {after}");
}

#[test]
fn cron_is_read_in_utc_or_in_the_zone_that_is_named() {
    let weekdays = "0 9 * * MON-FRI";
    let (friday, monday) = ("2030-01-04T09:00Z", "2030-01-07T09:00Z");
    assert_follow(&cron(weekdays, None), "2030-01-03T09:00Z", &[friday, monday]);
    let berlin = cron(weekdays, Some("Europe/Berlin"));
    assert_follow(&berlin, friday, &["2030-01-07T09:00+01:00"]);
    // Six fields begin with the second.
    assert_follow(
        &cron("*/30 0 9 * * *", None),
        "2030-01-04T09:00:29.999Z",
        &["2030-01-04T09:00:30Z", "2030-01-05T09:00Z"],
    );
}

#[test]
fn an_hour_that_the_clock_skips() {
    // Berlin, 31 March 2030: 2:00 to 3:00 is not there. One fixed time a day runs right after, so that no day is without.
    let daily = cron("30 2 * * *", Some("Europe/Berlin"));
    assert_follow(
        &daily,
        "2030-03-30T12:00Z",
        &["2030-03-31T03:00+02:00", "2030-04-01T02:30+02:00"],
    );
    // What has no one time a day skips what is not there.
    let half_hours = cron("0,30 1-3 * * *", Some("Europe/Berlin"));
    assert_follow(
        &half_hours,
        "2030-03-31T01:00+01:00",
        &["2030-03-31T01:30+01:00", "2030-03-31T03:00+02:00", "2030-03-31T03:30+02:00"],
    );
}

#[test]
fn an_hour_that_the_clock_repeats() {
    // Berlin, 27 October 2030: 2:00 to 3:00 comes twice. One fixed time a day runs at the first.
    let daily = cron("30 2 * * *", Some("Europe/Berlin"));
    assert_follow(
        &daily,
        "2030-10-26T12:00Z",
        &["2030-10-27T02:30+02:00", "2030-10-28T02:30+01:00"],
    );
    // What has no one time a day runs in both.
    let half_hours = cron("0,30 2 * * *", Some("Europe/Berlin"));
    assert_follow(
        &half_hours,
        "2030-10-26T12:00Z",
        &[
            "2030-10-27T02:00+02:00",
            "2030-10-27T02:30+02:00",
            "2030-10-27T02:00+01:00",
            "2030-10-27T02:30+01:00",
            "2030-10-28T02:00+01:00",
        ],
    );
}

#[test]
fn what_means_nothing_is_named() {
    for (rule, named) in [
        (cron("", None), "\"\""),
        (cron("0 9 * *", None), "\"0 9 * *\""),
        (cron("99 * * * *", None), "\"99 * * * *\""),
        (cron("nine o'clock, at the latest", None), "nine o'clock"),
        (cron("0 9 * * *", Some("Europe/Bielefeld")), "\"Europe/Bielefeld\""),
        (cron("0 9 * * *", Some("")), "no time zone \"\""),
    ] {
        let error = Rule::Cron(rule).next(0, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(named), "{error}");
    }
}

#[test]
fn what_never_comes_has_no_next_time() {
    for rule in [cron("0 0 30 2 *", None), cron("0 0 0 1 1 * 2029", Some("Asia/Tokyo"))] {
        assert_eq!(Rule::Cron(rule).next(0, millis("2030-01-01T00:00Z")).unwrap(), None);
    }
    assert_eq!(Rule::Once.next(5, 7).unwrap(), None);
    assert_eq!(Rule::Every(i64::MAX).next(1, 1).unwrap(), None);
    assert_eq!(Rule::Cron(cron("* * * * *", None)).next(0, i64::MAX).unwrap(), None);
}

#[test]
fn zones_are_there_without_a_system_that_has_them() {
    for zone in ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"] {
        TimeZoneDatabase::bundled().get(zone).unwrap();
    }
}

#[test]
fn a_run_that_fails_is_tried_again_but_not_past_the_next_period() {
    // Seconds, all waits without their random part.
    let verdict = |failed, next: Option<i64>| {
        after_failure(failed, 100_000, next.map(|next| next * 1_000), 0)
    };
    assert_eq!(verdict(1, None), Verdict::Retry(102_000));
    assert_eq!(verdict(6, None), Verdict::Retry(164_000));
    assert_eq!(verdict(7, None), Verdict::GiveUp);
    assert_eq!(verdict(6, Some(160)), Verdict::Retry(160_000));
    assert_eq!(verdict(6, Some(170)), Verdict::Retry(164_000));
    assert_eq!(verdict(7, Some(101)), Verdict::GoOn(101_000));
}

/// A cron field of numbers below this one: any, one, a list, a range or a step.
fn field(from: u32, below: u32) -> impl Strategy<Value = String> {
    let one = from..below;
    prop_oneof![
        Just("*".to_owned()),
        one.clone().prop_map(|one| one.to_string()),
        prop::collection::btree_set(one.clone(), 1..4).prop_map(|set| set
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")),
        (one.clone(), one.clone()).prop_map(|(one, other)| format!(
            "{}-{}",
            one.min(other),
            one.max(other)
        )),
        (1..below - from).prop_map(|step| format!("*/{step}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 60), field(0, 24), field(1, 29), field(1, 13), field(0, 7)).prop_map(|fields| {
        format!("{} {} {} {} {}", fields.0, fields.1, fields.2, fields.3, fields.4)
    })
}

fn zone() -> impl Strategy<Value = Option<&'static str>> {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
    prop_oneof![Just(None), prop::sample::select(zones.to_vec()).prop_map(Some)]
}

/// Up to the year 2096.
const TIMES: std::ops::Range<i64> = 0..4_000_000_000_000;

proptest! {
    #[test]
    fn a_beat_is_the_first_one_after_now(period in 1_i64..1_000_000_000, last in TIMES, now in TIMES) {
        let next = Rule::Every(period).next(last, now).unwrap().unwrap();
        prop_assert_eq!((next - last) % period, 0, "in its rhythm");
        prop_assert!(next > now && next > last);
        prop_assert!(next - period <= now || next - period == last, "none is skipped");
    }

    #[test]
    fn cron_gives_the_first_match_after_now(expression in expression(), zone in zone(), now in TIMES) {
        let rule = cron(&expression, zone);
        let next = rule.next(now).unwrap().unwrap();
        prop_assert!(next > now && next % 1_000 == 0);
        // Nothing that matches lies between: seen from anywhere there it is the next one.
        for part in 0..4 {
            let between = now + (next - 1 - now) / 4 * part;
            prop_assert_eq!(rule.next(between).unwrap(), Some(next), "seen from {}", between);
        }
        prop_assert_eq!(rule.next(next - 1).unwrap(), Some(next));
        // Every minute of an hour before it, by the wall clock.
        let (parsed, zone) = (rule.parse().unwrap(), rule.find_zone().unwrap());
        for minute in 1..60 {
            let earlier = (next - 1 - minute * 60_000).div_euclid(60_000) * 60_000;
            let earlier = Timestamp::from_millisecond(earlier).unwrap().to_zoned(zone.clone());
            let is_skipped = earlier.timestamp().as_millisecond() > now
                && parsed.is_time_matching(&earlier).unwrap();
            // The second of two equal times is skipped by those with one time a day.
            let is_repeat = zone.to_ambiguous_zoned(earlier.datetime()).is_ambiguous();
            prop_assert!(!is_skipped || is_repeat, "{earlier} is skipped");
        }
    }

    #[test]
    fn a_text_that_is_no_expression_is_refused_or_has_a_meaning(text in "[0-9*,/#LW+?@A-Z -]{0,24}", now in TIMES) {
        if let Ok(Some(next)) = cron(&text, None).next(now) {
            prop_assert!(next > now);
        }
    }

    #[test]
    fn a_retry_is_in_time(failed in 1_u32..10, now in TIMES, wait in 1_i64..1_000_000, random: u64) {
        let next = now + wait;
        match after_failure(failed, now, Some(next), random) {
            Verdict::Retry(due) => prop_assert!(now < due && due <= next && failed < retry::RUNS_MAX),
            Verdict::GoOn(due) => prop_assert!(due == next && failed >= retry::RUNS_MAX),
            Verdict::GiveUp => prop_assert!(false, "it never ends"),
        }
    }
}
