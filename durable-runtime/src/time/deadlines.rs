//! Who waits for which time: plain data, without a clock.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::SystemTime;

/// Names a waiter for as long as it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    time: SystemTime,
    /// Waiters for the same time are woken in the order in which they came.
    number: u64,
}

/// Waiters, earliest first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    waiting: BTreeMap<Ticket, Waker>,
    next: u64,
}

impl Deadlines {
    /// Adds a waiter; `true` if it is the first to be woken now.
    pub(super) fn add(&mut self, time: SystemTime, waker: Waker) -> (Ticket, bool) {
        let ticket = Ticket { time, number: self.next };
        self.next += 1;
        let is_first = self.earliest().is_none_or(|earliest| time < earliest);
        self.waiting.insert(ticket, waker);
        (ticket, is_first)
    }

    /// Gives a waiter another waker; `false` if it was woken already.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        match self.waiting.get_mut(&ticket) {
            Some(known) => {
                known.clone_from(waker);
                true
            }
            None => false,
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    pub(super) fn earliest(&self) -> Option<SystemTime> {
        self.waiting.first_key_value().map(|(ticket, _)| ticket.time)
    }

    /// Takes out all whose time has come.
    pub(super) fn take_due(&mut self, now: SystemTime) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().time > now {
                break;
            }
            due.push(first.remove());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_earliest_is_first_whoever_came_when() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.earliest(), None);
        assert!(deadlines.add(at(5), Waker::noop().clone()).1);
        assert!(!deadlines.add(at(5), Waker::noop().clone()).1, "the same time changes nothing");
        assert!(deadlines.add(at(3), Waker::noop().clone()).1);
        assert_eq!(deadlines.earliest(), Some(at(3)));
        assert_eq!(deadlines.take_due(at(2)).len(), 0);
        assert_eq!(deadlines.take_due(at(3)).len(), 1);
        assert_eq!(deadlines.take_due(at(9)).len(), 2);
        assert_eq!(deadlines.earliest(), None);
    }

    #[test]
    fn who_was_woken_or_has_left_is_not_woken() {
        let mut deadlines = Deadlines::default();
        let (first, _) = deadlines.add(at(1), Waker::noop().clone());
        let (second, _) = deadlines.add(at(1), Waker::noop().clone());
        deadlines.remove(first);
        assert!(deadlines.renew(second, Waker::noop()));
        assert_eq!(deadlines.take_due(at(1)).len(), 1);
        assert!(!deadlines.renew(second, Waker::noop()));
        assert!(!deadlines.renew(first, Waker::noop()));
    }
}
