use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake as WakeTask;

use super::*;
use crate::id::RawId;

fn object(number: u32) -> ObjectKey {
    ObjectKey { class: "Room".into(), id: RawId::from_name("Room", None, &number.to_string()) }
}

/// The table in memory.
#[derive(Default)]
struct Rows {
    times: Mutex<BTreeMap<ObjectKey, i64>>,
    given_up: Mutex<BTreeSet<ObjectKey>>,
    is_broken: AtomicBool,
}

impl WakeTable for Rows {
    fn after(&self, last: Option<&Due>, count: usize) -> Result<Vec<Due>> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(crate::Error::new(crate::ErrorKind::Storage, "broken"));
        }
        let rows = self.times.lock();
        let mut due: Vec<Due> = rows.iter().map(|(object, time)| (*time, object.clone())).collect();
        due.sort();
        Ok(due.into_iter().filter(|due| last.is_none_or(|last| due > last)).take(count).collect())
    }

    fn write(&self, changes: &[(ObjectKey, Wake)]) -> Result<()> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(crate::Error::new(crate::ErrorKind::Storage, "broken"));
        }
        let mut rows = self.times.lock();
        for (object, wake) in changes {
            match wake.time_ms {
                Some(time) => drop(rows.insert(object.clone(), time)),
                None => drop(rows.remove(object)),
            }
            if wake.has_given_up {
                self.given_up.lock().insert(object.clone());
            } else {
                self.given_up.lock().remove(object);
            }
        }
        Ok(())
    }

    fn given_up(&self, _: &str) -> Result<Vec<ObjectKey>> {
        Ok(self.given_up.lock().iter().cloned().collect())
    }
}

struct Flag(AtomicBool);

impl WakeTask for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn times(due: &[Due]) -> Vec<i64> {
    due.iter().map(|due| due.0).collect()
}

#[test]
fn who_is_due_comes_once_and_in_order() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    for (number, time) in [(1, 30), (2, 10), (3, 20), (4, 99)] {
        wakes.set(&object(number), Some(time));
    }
    assert_eq!(wakes.earliest(&rows, Waker::noop()).unwrap(), Some(10));
    let due = wakes.take_due(&rows, 30, 2).unwrap();
    assert_eq!(times(&due), [10, 20]);
    assert_eq!(times(&wakes.take_due(&rows, 30, 9).unwrap()), [30]);
    assert_eq!(wakes.earliest(&rows, Waker::noop()).unwrap(), Some(99));
    // One has nothing more to do, one wants to come again, and one could not be woken.
    wakes.set(&object(2), None);
    wakes.set(&object(3), Some(50));
    for (_, object) in &due {
        wakes.give_back(object);
    }
    wakes.put_off(&object(1), 40);
    assert_eq!(times(&wakes.take_due(&rows, 60, 9).unwrap()), [40, 50]);
}

#[test]
fn who_is_put_off_comes_then_or_when_it_commits_an_earlier_time() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    for number in 1..=4 {
        wakes.set(&object(number), Some(10));
    }
    assert_eq!(wakes.take_due(&rows, 10, 2).unwrap().len(), 2);
    let found = wakes.take_due(&rows, 10, 9).unwrap();
    // Taken or not, with a time or for ever.
    wakes.give_back(&found[0].1);
    wakes.put_off(&found[0].1, 30);
    wakes.put_off(&found[1].1, NEVER);
    assert_eq!(wakes.earliest(&rows, Waker::noop()).unwrap(), Some(30));
    assert_eq!(times(&wakes.take_due(&rows, 40, 9).unwrap()), [30]);
    assert_eq!(wakes.earliest(&rows, Waker::noop()).unwrap(), None);
    wakes.set(&found[1].1, Some(10));
    assert_eq!(times(&wakes.take_due(&rows, 40, 9).unwrap()), [10]);
}

#[test]
fn work_that_was_given_up_is_known_before_and_after_it_is_written() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    let class = object(1).class;
    let known = || wakes.given_up(&rows, &class).unwrap();
    wakes.set(&object(1), Wake { time_ms: None, has_given_up: true });
    wakes.set(&object(2), Some(5));
    assert_eq!(known(), [object(1)]);
    assert_eq!(wakes.given_up(&rows, "Nobody").unwrap(), []);
    wakes.write(&rows, &wakes.unwritten()).unwrap();
    assert_eq!(known(), [object(1)]);
    wakes.set(&object(1), None);
    assert_eq!(known(), []);
}

#[test]
fn who_waits_is_told_of_an_earlier_time_only() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let task = Waker::from(Arc::clone(&flag));
    let told = || flag.0.swap(false, Ordering::Relaxed);
    assert_eq!(wakes.earliest(&rows, &task).unwrap(), None);
    wakes.set(&object(1), Some(10));
    assert!(told());
    wakes.earliest(&rows, &task).unwrap();
    wakes.set(&object(2), Some(11));
    assert!(!told());
    wakes.set(&object(1), None);
    assert!(!told(), "later is no news");
    wakes.set(&object(2), Some(9));
    assert!(told());
}

#[test]
fn many_sleepers_are_not_in_memory() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    let many = 400;
    *rows.times.lock() = (0..many).map(|number| (object(number), i64::from(number))).collect();
    assert_eq!(wakes.earliest(&rows, Waker::noop()).unwrap(), Some(0));
    assert!(wakes.state.lock().window.len() <= WINDOW_MAX);
    // New ones that are all due first push others behind the horizon, where they are found again.
    for number in 0..u32::try_from(WINDOW_MAX).unwrap() {
        wakes.set(&object(many + number), Some(-1));
    }
    assert!(wakes.state.lock().window.len() <= WINDOW_MAX);
    let mut found = 0;
    while let due = wakes.take_due(&rows, i64::MAX, 1_000).unwrap()
        && !due.is_empty()
    {
        found += due.len();
        for (_, object) in &due {
            wakes.set(object, None);
            wakes.give_back(object);
        }
        wakes.write(&rows, &wakes.unwritten()).unwrap();
    }
    assert_eq!(found, usize::try_from(many).unwrap() + WINDOW_MAX);
    assert!(rows.times.lock().is_empty());
    assert!(wakes.state.lock().changed.is_empty());
}

#[test]
fn a_change_during_the_writing_stays_unwritten() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    wakes.set(&object(1), Some(5));
    let batch = wakes.unwritten();
    wakes.set(&object(1), Some(7));
    wakes.write(&rows, &batch).unwrap();
    assert_eq!(rows.times.lock().get(&object(1)), Some(&5));
    assert!(times(&wakes.take_due(&rows, 6, 9).unwrap()).is_empty());
    wakes.write(&rows, &wakes.unwritten()).unwrap();
    assert_eq!(rows.times.lock().get(&object(1)), Some(&7));
}

#[test]
fn a_table_that_fails_loses_nothing() {
    let (wakes, rows) = (Wakes::default(), Rows::default());
    *rows.times.lock() = BTreeMap::from([(object(1), 5)]);
    rows.is_broken.store(true, Ordering::Relaxed);
    wakes.set(&object(2), Some(4));
    assert!(wakes.earliest(&rows, Waker::noop()).is_err());
    assert!(wakes.write(&rows, &wakes.unwritten()).is_err());
    rows.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(times(&wakes.take_due(&rows, 9, 9).unwrap()), [4, 5]);
}

/// Random histories against a map, with restarts that keep what was written.
#[test]
fn whatever_happens_everybody_is_found_at_their_time() {
    for seed in 0..200_u64 {
        let mut random = fastrand(seed);
        let (mut wakes, rows) = (Wakes::default(), Rows::default());
        let mut wanted: BTreeMap<ObjectKey, i64> = BTreeMap::new();
        let mut taken: Vec<ObjectKey> = Vec::new();
        for now in 0..300_i64 {
            let key = object(random(30));
            match random(8) {
                0..=2 => {
                    let time = now + i64::from(random(40));
                    wakes.set(&key, Some(time));
                    wanted.insert(key, time);
                }
                3 => {
                    wakes.set(&key, None);
                    wanted.remove(&key);
                }
                4 => wakes.write(&rows, &wakes.unwritten()).unwrap(),
                5 if random(10) == 0 => {
                    wakes.write(&rows, &wakes.unwritten()).unwrap();
                    wakes = Wakes::default();
                    taken.clear();
                }
                6 => {
                    if let Some(key) = taken.pop() {
                        wakes.give_back(&key);
                    }
                }
                _ => {
                    let expected: Vec<Due> = {
                        let due = wanted.iter().filter(|(key, _)| !taken.contains(key));
                        let mut due: Vec<Due> =
                            due.map(|(key, time)| (*time, key.clone())).collect();
                        due.retain(|due| due.0 <= now);
                        due.sort();
                        due
                    };
                    let earliest = wakes.earliest(&rows, Waker::noop()).unwrap();
                    let due = wakes.take_due(&rows, now, 100).unwrap();
                    assert_eq!(due, expected, "seed {seed}, time {now}");
                    if let Some(first) = expected.first() {
                        assert_eq!(earliest, Some(first.0));
                    }
                    taken.extend(due.into_iter().map(|due| due.1));
                }
            }
        }
    }
}

/// Numbers below a limit, the same for the same seed.
fn fastrand(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |limit| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state % u64::from(limit)).unwrap()
    }
}
