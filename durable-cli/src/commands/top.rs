//! The busiest objects, again and again.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use durable_runtime::admin::{Busy, Top, TopShown};

use crate::connect::Objects;
use crate::failure::{Done, Failure};
use crate::options::TopOptions;
use crate::output::{Output, bytes, count, counted, time};

/// Moves to the corner of the terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn top(
    objects: &Objects,
    out: &Output,
    options: TopOptions,
) -> Result<Done, Failure> {
    let TopOptions { interval, count: looks, limit } = options;
    let interval = Duration::try_from_secs_f64(interval)
        .map_err(|_| Failure::Usage(format!("{interval} is no time in seconds")))?;
    tokio::select! {
        done = look_again(objects, out, interval, looks, limit) => done,
        // From the beginning on: a program may take long to answer.
        _ = tokio::signal::ctrl_c() => Ok(Done::Well),
    }
}

async fn look_again(
    objects: &Objects,
    out: &Output,
    interval: Duration,
    looks: Option<u64>,
    limit: usize,
) -> Result<Done, Failure> {
    let mut before = None;
    let mut look = 0;
    loop {
        let shown = objects.perform(Top {}).await?;
        if out.json {
            Output::document(&shown)?;
        } else {
            show(before.as_ref(), &shown, limit)?;
        }
        look += 1;
        if looks.is_some_and(|looks| look >= looks) {
            return Ok(Done::Well);
        }
        before = Some(shown);
        tokio::time::sleep(interval).await;
    }
}

fn show(before: Option<&TopShown>, now: &TopShown, limit: usize) -> Result<(), Failure> {
    if io::stdout().is_terminal() && before.is_some() {
        Output::raw(CLEAR)?;
    }
    Output::line(&format!(
        "{}: {} in memory",
        time(Some(now.time)),
        counted(now.resident, "object")
    ))?;
    let mut busy = rates(before, now);
    busy.truncate(limit);
    let rows = busy.into_iter().map(|(rate, object)| {
        vec![
            object.object.clone(),
            rate.map_or_else(crate::output::none, |tenths| {
                format!("{}.{}", tenths / 10, tenths % 10)
            }),
            count(object.turns),
            count(object.waiting as u64),
            bytes(object.bytes as u64),
            count(object.sockets as u64),
        ]
    });
    Output::table(
        &["OBJECT", "TURNS/S", "TURNS", "WAITING", "MEMORY", "SOCKETS"],
        &[1, 2, 3, 4, 5],
        rows,
    )
}

/// How many turns each object has run in ten seconds since the look before, those with the most first.
fn rates<'a>(before: Option<&TopShown>, now: &'a TopShown) -> Vec<(Option<u64>, &'a Busy)> {
    let objects = before.map_or(&[][..], |before| &before.objects);
    let known: HashMap<&str, u64> =
        objects.iter().map(|object| (object.object.as_str(), object.turns)).collect();
    let millis = before.and_then(|before| {
        u64::try_from(now.time.as_millis() - before.time.as_millis())
            .ok()
            .filter(|millis| *millis > 0)
    });
    let rate = |object: &Busy| {
        // One that has left memory meanwhile counts from 0 again.
        let turns = known.get(object.object.as_str()).filter(|turns| **turns <= object.turns);
        let since = object.turns - turns.copied().unwrap_or_default();
        Some(since.saturating_mul(10_000) / millis?)
    };
    let mut rates: Vec<_> = now.objects.iter().map(|object| (rate(object), object)).collect();
    rates.sort_by_key(|(rate, _)| std::cmp::Reverse(*rate));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(time_ms: i64, turns: [u64; 2]) -> TopShown {
        let object = |(name, turns)| serde_json::json!({ "object": name, "turns": turns, "waiting": 0, "bytes": 0, "sockets": 0 });
        let objects = ["Room/a", "Room/b"].into_iter().zip(turns).map(object).collect::<Vec<_>>();
        let time = durable_runtime::admin::Moment::from_millis(time_ms);
        serde_json::from_value(
            serde_json::json!({ "time": time, "resident": 2, "objects": objects }),
        )
        .unwrap()
    }

    #[test]
    fn the_rate_is_that_between_two_looks() {
        let (before, now) = (look(0, [1_000, 5]), look(2_000, [1_002, 205]));
        let rates = rates(Some(&before), &now);
        let named: Vec<_> =
            rates.iter().map(|(rate, object)| (*rate, object.object.as_str())).collect();
        assert_eq!(named, [(Some(1_000), "Room/b"), (Some(10), "Room/a")]);
        assert!(super::rates(None, &now).iter().all(|(rate, _)| rate.is_none()));
        let anew = look(2_000, [4, 5]);
        assert_eq!(super::rates(Some(&before), &anew)[0].0, Some(20), "it counts from 0 again");
    }
}
