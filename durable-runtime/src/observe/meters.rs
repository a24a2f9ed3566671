//! The runtime's numbers, for whatever recorder of the crate `metrics` the program has installed.
//!
//! Handles are made once, when the runtime starts. Without a recorder a handle is empty, so to count costs one branch; and
//! whether anybody wants durations is known beforehand, so that no clock is read for nobody.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, IntoF64, Unit};

const TURNS: &str = "durable_turns_total";
const TURN_DURATION: &str = "durable_turn_duration_seconds";
const TURN_QUEUE: &str = "durable_turn_queue_seconds";
const TURN_COMMIT: &str = "durable_turn_commit_seconds";
const OVERLOADED: &str = "durable_calls_overloaded_total";
const ACTIVATIONS: &str = "durable_activations_total";
const EVICTIONS: &str = "durable_evictions_total";
const RESETS: &str = "durable_resets_total";
const RESIDENTS: &str = "durable_resident_objects";
const ALARM_RUNS: &str = "durable_alarm_runs_total";
const ALARM_RETRIES: &str = "durable_alarm_retries_total";
const ALARMS_GIVEN_UP: &str = "durable_alarms_given_up_total";
const TIMER_RUNS: &str = "durable_timer_runs_total";
const TIMER_RETRIES: &str = "durable_timer_retries_total";
const TIMERS_GIVEN_UP: &str = "durable_timers_given_up_total";
const DELIVERED: &str = "durable_messages_delivered_total";
const DEAD_LETTERS: &str = "durable_dead_letters_total";
const SOCKETS: &str = "durable_websockets_open";
const SOCKETS_RECEIVED: &str = "durable_websocket_messages_received_total";
const SOCKETS_SENT: &str = "durable_websocket_messages_sent_total";
const SOCKETS_ANSWERED: &str = "durable_websocket_auto_responses_total";
const SOCKETS_SLOW: &str = "durable_websockets_too_slow_total";
const FLUSHES: &str = "durable_journal_flushes_total";
const FLUSH_DURATION: &str = "durable_journal_flush_duration_seconds";
const FLUSH_BYTES: &str = "durable_journal_flush_bytes";
const CHECKPOINTS: &str = "durable_checkpoints_total";
const CHECKPOINT_DURATION: &str = "durable_checkpoint_duration_seconds";

/// Tells the recorder what each number means.
pub(crate) fn describe() {
    let counters = [
        (TURNS, "Turns that have ended, by class and outcome"),
        (OVERLOADED, "Calls that were refused because too many waited"),
        (ACTIVATIONS, "Objects that came into memory"),
        (EVICTIONS, "Objects that were sent out of memory"),
        (RESETS, "Objects that were made to start over"),
        (ALARM_RUNS, "Runs of alarms that have begun"),
        (ALARM_RETRIES, "Runs of alarms that failed and are to be tried again"),
        (ALARMS_GIVEN_UP, "Alarms whose last run failed"),
        (TIMER_RUNS, "Runs of timers that have begun"),
        (TIMER_RETRIES, "Runs of timers that failed and are to be tried again"),
        (TIMERS_GIVEN_UP, "Timers, or runs of those that recur, that were given up"),
        (DELIVERED, "Messages whose receiver has taken them, by the sender's class"),
        (DEAD_LETTERS, "Messages that were refused or given up, by the sender's class"),
        (SOCKETS_RECEIVED, "Messages that were read from WebSockets"),
        (SOCKETS_SENT, "Messages that were written to WebSockets"),
        (SOCKETS_ANSWERED, "Messages of WebSockets that were answered without the object"),
        (SOCKETS_SLOW, "WebSockets that were closed because their peer read too slowly"),
        (FLUSHES, "Batches of commits that were made durable together"),
        (CHECKPOINTS, "Checkpoints, by outcome"),
    ];
    for (name, text) in counters {
        metrics::describe_counter!(name, Unit::Count, text);
    }
    metrics::describe_gauge!(RESIDENTS, Unit::Count, "Objects in memory");
    metrics::describe_gauge!(SOCKETS, Unit::Count, "WebSockets whose close event is not handled");
    let durations = [
        (TURN_DURATION, "How long the code of a turn ran"),
        (TURN_QUEUE, "How long a call that had to wait was in its object's queue"),
        (TURN_COMMIT, "How long a turn took to commit, without the wait for the disk"),
        (FLUSH_DURATION, "How long a batch of commits took to be written and synced"),
        (CHECKPOINT_DURATION, "How long a checkpoint took"),
    ];
    for (name, text) in durations {
        metrics::describe_histogram!(name, Unit::Seconds, text);
    }
    metrics::describe_histogram!(FLUSH_BYTES, Unit::Bytes, "The size of a batch of commits");
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Error,
    Panicked,
    RolledBack,
    Reset,
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Error,
        Outcome::Panicked,
        Outcome::RolledBack,
        Outcome::Reset,
        Outcome::Failed,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Panicked => "panicked",
            Outcome::RolledBack => "rolled_back",
            Outcome::Reset => "reset",
            Outcome::Failed => "failed",
        }
    }
}

/// What is counted of the objects of one class.
pub(crate) struct ClassMeters {
    turns: [Counter; Outcome::ALL.len()],
    turn_duration: Histogram,
    turn_queue: Histogram,
    turn_commit: Histogram,
    pub(crate) overloaded: Counter,
    pub(crate) activations: Counter,
    pub(crate) evictions: Counter,
    pub(crate) resets: Counter,
    pub(crate) alarm_runs: Counter,
    pub(crate) alarm_retries: Counter,
    pub(crate) alarms_given_up: Counter,
    pub(crate) timer_runs: Counter,
    pub(crate) timer_retries: Counter,
    pub(crate) timers_given_up: Counter,
    pub(crate) messages_delivered: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) sockets: Arc<SocketMeters>,
    residents: Gauge,
    /// Whether anybody wants the durations of turns.
    pub(crate) is_timed: bool,
}

impl ClassMeters {
    /// With the recorder that is installed now.
    pub(crate) fn new(class: &str) -> Self {
        let counter = |name| metrics::counter!(name, "class" => class.to_owned());
        let histogram = |name| metrics::histogram!(name, "class" => class.to_owned());
        let turns = Outcome::ALL.map(|outcome| {
            metrics::counter!(TURNS, "class" => class.to_owned(), "outcome" => outcome.as_str())
        });
        let (turn_duration, turn_queue, turn_commit) =
            (histogram(TURN_DURATION), histogram(TURN_QUEUE), histogram(TURN_COMMIT));
        let is_timed = [&turn_duration, &turn_queue, &turn_commit].into_iter().any(is_wanted);
        ClassMeters {
            turns,
            turn_duration,
            turn_queue,
            turn_commit,
            overloaded: counter(OVERLOADED),
            activations: counter(ACTIVATIONS),
            evictions: counter(EVICTIONS),
            resets: counter(RESETS),
            alarm_runs: counter(ALARM_RUNS),
            alarm_retries: counter(ALARM_RETRIES),
            alarms_given_up: counter(ALARMS_GIVEN_UP),
            timer_runs: counter(TIMER_RUNS),
            timer_retries: counter(TIMER_RETRIES),
            timers_given_up: counter(TIMERS_GIVEN_UP),
            messages_delivered: counter(DELIVERED),
            dead_letters: counter(DEAD_LETTERS),
            sockets: Arc::new(SocketMeters {
                open: metrics::gauge!(SOCKETS, "class" => class.to_owned()),
                received: counter(SOCKETS_RECEIVED),
                sent: counter(SOCKETS_SENT),
                answered: counter(SOCKETS_ANSWERED),
                too_slow: counter(SOCKETS_SLOW),
            }),
            residents: metrics::gauge!(RESIDENTS, "class" => class.to_owned()),
            is_timed,
        }
    }

    /// A turn has ended.
    #[inline]
    pub(crate) fn count(&self, outcome: Outcome) {
        self.turns[outcome as usize].increment(1);
    }

    /// How long its parts took.
    pub(crate) fn time(&self, times: TurnTimes) {
        if let Some(waited) = times.waited {
            self.turn_queue.record(waited);
        }
        if let Some(ran) = times.ran {
            self.turn_duration.record(ran);
        }
        if let Some(commit) = times.commit {
            self.turn_commit.record(commit);
        }
    }

    /// An object is in memory, for as long as what this gives lives.
    pub(crate) fn resident(&self) -> ResidentMeter {
        self.residents.increment(1);
        ResidentMeter(self.residents.clone())
    }
}

/// What is counted of the WebSockets of one class.
pub(crate) struct SocketMeters {
    pub(crate) open: Gauge,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) answered: Counter,
    pub(crate) too_slow: Counter,
}

/// How long the parts of a turn took, as far as somebody wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnTimes {
    /// Only of a call that had to wait.
    pub(crate) waited: Option<Duration>,
    pub(crate) ran: Option<Duration>,
    /// Only of a turn that was committed.
    pub(crate) commit: Option<Duration>,
}

/// Counts an object in memory.
pub(crate) struct ResidentMeter(Gauge);

impl Drop for ResidentMeter {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What is counted of the journal of a node.
#[derive(Clone, Debug)]
pub(crate) struct JournalMeters {
    flushes: Counter,
    duration: Histogram,
    bytes: Histogram,
    /// Whether anybody wants the durations of flushes.
    is_timed: bool,
}

impl JournalMeters {
    /// With the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let duration = metrics::histogram!(FLUSH_DURATION);
        JournalMeters {
            flushes: metrics::counter!(FLUSHES),
            bytes: metrics::histogram!(FLUSH_BYTES),
            is_timed: is_wanted(&duration),
            duration,
        }
    }

    /// For nobody.
    pub(crate) fn silent() -> Self {
        JournalMeters {
            flushes: Counter::noop(),
            duration: Histogram::noop(),
            bytes: Histogram::noop(),
            is_timed: false,
        }
    }

    /// When a flush begins, if anybody wants to know.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.is_timed.then(Instant::now)
    }

    /// A batch of so many bytes is durable.
    #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2^53 bytes")]
    pub(crate) fn flushed(&self, begun: Option<Instant>, bytes: usize) {
        self.flushes.increment(1);
        if let Some(begun) = begun {
            self.duration.record(begun.elapsed());
        }
        self.bytes.record(bytes as f64);
    }
}

/// What is counted of the checkpoints of a node.
pub(crate) struct CheckpointMeters {
    ok: Counter,
    failed: Counter,
    duration: Histogram,
}

impl CheckpointMeters {
    /// With the recorder that is installed now.
    pub(crate) fn new() -> Self {
        CheckpointMeters {
            ok: metrics::counter!(CHECKPOINTS, "outcome" => Outcome::Ok.as_str()),
            failed: metrics::counter!(CHECKPOINTS, "outcome" => Outcome::Failed.as_str()),
            duration: metrics::histogram!(CHECKPOINT_DURATION),
        }
    }

    pub(crate) fn ended(&self, begun: Instant, is_ok: bool) {
        if is_ok { &self.ok } else { &self.failed }.increment(1);
        self.duration.record(begun.elapsed());
    }
}

/// Whether anybody listens to this histogram. A handle does not say so, but it asks a value for its number only if there
/// is somebody to give it to; none is recorded.
fn is_wanted(histogram: &Histogram) -> bool {
    struct Probe<'a>(&'a Cell<bool>);

    impl IntoF64 for Probe<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            0.0
        }
    }

    let is_asked = Cell::new(false);
    histogram.record_many(Probe(&is_asked), 0);
    is_asked.get()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use metrics::HistogramFn;

    use super::*;

    #[derive(Default)]
    struct Recorded(AtomicUsize);

    impl HistogramFn for Recorded {
        fn record(&self, _: f64) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whether_anybody_listens_is_known_without_a_record() {
        assert!(!is_wanted(&Histogram::noop()));
        let recorded = Arc::<Recorded>::default();
        assert!(is_wanted(&Histogram::from_arc(recorded.clone())));
        assert_eq!(recorded.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_a_recorder_no_turn_is_timed() {
        assert!(!ClassMeters::new("Nobody").is_timed);
    }

    #[test]
    fn each_outcome_has_its_own_counter() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }
}
