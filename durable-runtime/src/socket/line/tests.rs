//! Random histories of one socket, and the ones that are easily got wrong.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Error, ErrorKind};

const PATIENCE: Duration = Duration::from_secs(30);
const BYTES_MAX: usize = 10 * (4 + 64);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn message(number: usize) -> Outgoing {
    Outgoing::Text(Bytes::from(format!("{number:04}")))
}

fn closing(code: u16) -> CloseFrame {
    CloseFrame::of_runtime(code, "")
}

/// A line whose frames are held back until as many commits are durable.
type TestLine = Line<usize>;

fn next(line: &mut TestLine, durable: usize) -> Poll<Option<Outgoing>> {
    line.next(at(0), |held| if *held <= durable { Poll::Ready(Ok(())) } else { Poll::Pending })
}

#[derive(Clone, Debug)]
enum Step {
    /// A turn sends; what it waits for may be durable or not.
    Send,
    Close(u16),
    PeerCloses(u16),
    /// The close event is handled.
    Answers,
    Loses,
    Write,
    Flush,
    Fails,
    Reads,
    Passes(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Send),
        1 => (3000_u16..3005).prop_map(Step::Close),
        1 => (4000_u16..4005).prop_map(Step::PeerCloses),
        1 => Just(Step::Answers),
        1 => Just(Step::Loses),
        6 => Just(Step::Write),
        3 => Just(Step::Flush),
        1 => Just(Step::Fails),
        1 => Just(Step::Reads),
        2 => (1_u64..40).prop_map(Step::Passes),
    ];
    prop::collection::vec(step, 0..60)
}

/// A line with all that it has done.
struct World {
    line: TestLine,
    now: u64,
    committed: usize,
    durable: usize,
    is_failed: bool,
    /// Messages that were taken, in their order.
    sent: Vec<Outgoing>,
    written: Vec<Outgoing>,
    events: Vec<Close>,
}

impl World {
    fn new() -> Self {
        World {
            line: Line::new(at(0)),
            now: 0,
            committed: 0,
            durable: 0,
            is_failed: false,
            sent: Vec::new(),
            written: Vec::new(),
            events: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let now = at(self.now);
        match step {
            Step::Send => {
                self.committed += 1;
                let frame = message(self.committed);
                let before = self.line.state();
                match self.line.send(self.committed, frame.clone(), BYTES_MAX, now) {
                    Sent::Queued => self.sent.push(frame),
                    Sent::Lost => assert_eq!(before, SocketState::Closed),
                    Sent::Refused => assert!(self.line.closed_by_us()),
                    Sent::Overflowed => assert_ne!(self.line.state(), SocketState::Open),
                }
            }
            Step::Close(code) => {
                self.committed += 1;
                self.line.close(self.committed, closing(*code), now);
            }
            Step::PeerCloses(code) => {
                let event = self.line.peer_closed(&closing(*code), now);
                assert!(event.as_ref().is_none_or(|event| event.was_clean));
                self.events.extend(event);
            }
            Step::Answers if self.events.is_empty() => {}
            Step::Answers => {
                self.line.close(0, closing(4000), now);
            }
            Step::Loses => self.events.extend(self.line.lost("gone")),
            Step::Write => self.write(),
            Step::Flush => self.durable = self.committed,
            Step::Fails => self.is_failed = true,
            Step::Reads => {
                self.line.busy();
                self.line.idle(now);
            }
            Step::Passes(seconds) => self.pass(*seconds),
        }
    }

    fn write(&mut self) {
        let (durable, is_failed) = (self.durable, self.is_failed);
        let next = self.line.next(at(self.now), |held| {
            if *held <= durable {
                Poll::Ready(Ok(()))
            } else if is_failed {
                Poll::Ready(Err(Error::new(ErrorKind::Storage, "lost")))
            } else {
                Poll::Pending
            }
        });
        if let Poll::Ready(Some(frame)) = next {
            if let Outgoing::Text(_) = frame {
                let number = self.number_of(&frame);
                assert!(number <= self.durable, "{frame:?} was written before it was durable");
            }
            self.written.push(frame);
        }
    }

    fn number_of(&self, frame: &Outgoing) -> usize {
        (1..=self.committed).find(|number| message(*number) == *frame).unwrap()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        loop {
            match self.line.due(at(self.now), PATIENCE) {
                Due::Over | Due::Never => return,
                Due::Ping => {}
                Due::Lost(reason) => self.events.extend(self.line.lost(reason)),
                Due::At(time) => return assert!(time > at(self.now)),
            }
        }
    }
}

proptest! {
    #[test]
    fn one_close_event_nothing_after_the_close_frame_and_all_in_order(history in steps()) {
        let mut world = World::new();
        for step in &history {
            world.step(step);
            prop_assert!(world.events.len() <= 1);
            match world.line.state() {
                SocketState::Open => prop_assert!(world.events.is_empty()),
                SocketState::Closing => {}
                SocketState::Closed => prop_assert_eq!(world.events.len(), 1),
            }
        }
        // Whatever happened, time ends it.
        world.step(&Step::Flush);
        world.step(&Step::Close(3000));
        for _ in 0..=history.len() {
            world.write();
        }
        world.pass(100);
        prop_assert_eq!(world.events.len(), 1);
        prop_assert_eq!(world.line.due(at(world.now), PATIENCE), Due::Over);

        let closes = world.written.iter().filter(|frame| matches!(frame, Outgoing::Close(_)));
        prop_assert!(closes.count() <= 1);
        let is_close = |frame: &Outgoing| matches!(frame, Outgoing::Close(_));
        if let Some(place) = world.written.iter().position(is_close) {
            prop_assert_eq!(place, world.written.len() - 1, "something came after the close frame");
        }
        let messages: Vec<_> =
            world.written.iter().filter(|frame| matches!(frame, Outgoing::Text(_))).collect();
        // No gap: what is missing is at the end.
        prop_assert_eq!(messages, world.sent.iter().take(
            world.written.iter().filter(|frame| matches!(frame, Outgoing::Text(_))).count()
        ).collect::<Vec<_>>());
    }
}

#[test]
fn a_close_of_ours_is_answered_and_told_once() {
    let mut line = TestLine::new(at(0));
    assert_eq!(line.send(1, message(1), BYTES_MAX, at(0)), Sent::Queued);
    assert!(line.close(2, closing(3000), at(0)));
    assert!(!line.close(2, closing(3001), at(0)), "the second is as none");
    assert_eq!(line.send(3, message(2), BYTES_MAX, at(0)), Sent::Refused);
    assert_eq!(next(&mut line, 0), Poll::Pending);
    assert_eq!(next(&mut line, 1), Poll::Ready(Some(message(1))));
    assert_eq!(next(&mut line, 1), Poll::Pending, "the close is not durable");
    assert_eq!(next(&mut line, 2), Poll::Ready(Some(Outgoing::Close(closing(3000)))));
    assert_eq!(line.state(), SocketState::Closing);
    let event = line.peer_closed(&closing(3000), at(1)).unwrap();
    assert_eq!((event.code, event.was_clean), (3000, true));
    assert_eq!(line.peer_closed(&closing(3000), at(1)), None);
    assert_eq!(next(&mut line, 2), Poll::Ready(None));
    assert_eq!(line.due(at(1), PATIENCE), Due::Over);
    assert_eq!(line.lost("gone"), None);
}

#[test]
fn both_sides_close_at_once() {
    let mut line = TestLine::new(at(0));
    assert!(line.close(1, closing(3000), at(0)));
    let event = line.peer_closed(&closing(4000), at(0)).unwrap();
    assert_eq!(event.code, 4000);
    assert_eq!(line.state(), SocketState::Closed);
    assert_ne!(line.due(at(0), PATIENCE), Due::Over, "our frame is still to be written");
    assert_eq!(next(&mut line, 1), Poll::Ready(Some(Outgoing::Close(closing(3000)))));
    assert_eq!(next(&mut line, 1), Poll::Ready(None));
    assert_eq!(line.due(at(0), PATIENCE), Due::Over);
}

#[test]
fn a_close_frame_that_is_not_answered_is_waited_for() {
    let mut line = TestLine::new(at(0));
    line.close(0, closing(3000), at(0));
    assert!(matches!(next(&mut line, 0), Poll::Ready(Some(_))));
    assert_eq!(line.due(at(9), PATIENCE), Due::At(at(10)));
    let Due::Lost(reason) = line.due(at(10), PATIENCE) else { panic!("it waits on") };
    let event = line.lost(reason).unwrap();
    assert_eq!((event.code, event.was_clean), (1006, false));
}

#[test]
fn who_is_silent_is_asked_and_then_given_up() {
    let mut line = TestLine::new(at(0));
    assert_eq!(line.due(at(29), PATIENCE), Due::At(at(30)));
    assert_eq!(line.due(at(30), PATIENCE), Due::Ping);
    assert_eq!(next(&mut line, 0), Poll::Ready(Some(Outgoing::Ping)));
    assert_eq!(next(&mut line, 0), Poll::Pending, "one ping is enough");
    // It answers.
    line.idle(at(40));
    assert_eq!(line.due(at(40), PATIENCE), Due::At(at(70)));
    assert_eq!(line.due(at(70), PATIENCE), Due::Ping);
    assert!(matches!(line.due(at(99), PATIENCE), Due::At(_)));
    assert!(matches!(line.due(at(100), PATIENCE), Due::Lost(_)));
}

#[test]
fn nobody_is_silent_to_whom_nobody_listens() {
    let mut line = TestLine::new(at(0));
    line.busy();
    assert_eq!(line.due(at(1_000), PATIENCE), Due::At(at(1_030)));
    line.idle(at(1_000));
    assert_eq!(line.due(at(1_000), PATIENCE), Due::At(at(1_030)));
}

#[test]
fn who_reads_too_slowly_is_closed() {
    let mut line = TestLine::new(at(0));
    for number in 0..10 {
        assert_eq!(line.send(0, message(number), BYTES_MAX, at(0)), Sent::Queued);
    }
    assert_eq!(line.send(0, message(10), BYTES_MAX, at(0)), Sent::Overflowed);
    let Poll::Ready(Some(Outgoing::Close(frame))) = next(&mut line, 0) else { panic!("no close") };
    assert_eq!(frame.code, Some(1013));
    // One that is larger than the limit may pass alone.
    let mut line = TestLine::new(at(0));
    let large = Outgoing::Binary(Bytes::from(vec![0; BYTES_MAX + 1]));
    assert_eq!(line.send(0, large, BYTES_MAX, at(0)), Sent::Queued);
}

#[test]
fn a_peer_that_reads_slowly_is_there_while_it_is_not_read() {
    let mut line = TestLine::new(at(0));
    for number in 0..9 {
        line.send(0, message(number), BYTES_MAX, at(0));
    }
    for seconds in [25, 50, 75] {
        assert!(matches!(next(&mut line, 0), Poll::Ready(Some(Outgoing::Text(_)))));
        line.took(at(seconds), BYTES_MAX);
        assert_eq!(line.due(at(seconds + 29), PATIENCE), Due::At(at(seconds + 30)));
    }
    // Half of it is gone, and it is read again.
    assert!(next(&mut line, 0).is_ready());
    assert!(!line.is_crowded(BYTES_MAX));
    line.took(at(100), BYTES_MAX);
    assert_eq!(line.due(at(105), PATIENCE), Due::Ping);
}
