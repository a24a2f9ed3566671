//! What is shown of a turn, a handler and a background future: spans, and how long it took.
//!
//! The guarantee: the code of a turn, and its commit, run inside the turn's span; async code runs inside its own whenever
//! it is polled or dropped. Times are measured only if a subscriber or a recorder wants them.

use std::cell::Cell;
use std::time::Instant;

use tracing::field::{Empty, debug};
use tracing::level_filters::LevelFilter;
use tracing::span::Entered;
use tracing::{Instrument, Span, debug_span};

use super::TARGET;
use super::meters::{ClassMeters, Outcome, TurnTimes};
use crate::BoxFuture;
use crate::call::CallError;
use crate::id::Identity;

/// Whether a subscriber may want spans.
#[inline]
pub(crate) fn is_traced() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// Since when a call waits for its turn, and for whom.
#[derive(Debug)]
pub(crate) struct Waiting {
    since: Option<Instant>,
    caller: Span,
}

impl Waiting {
    /// Of a turn that begins at once, on its caller's task.
    pub(crate) fn not() -> Self {
        Waiting { since: None, caller: Span::none() }
    }

    /// From now on, for whoever runs this.
    pub(crate) fn from_here(meters: &ClassMeters) -> Self {
        let is_traced = is_traced();
        Waiting {
            since: (is_traced || meters.is_timed).then(Instant::now),
            caller: if is_traced { Span::current() } else { Span::none() },
        }
    }
}

/// A turn that runs, as others see it.
pub(crate) struct ObservedTurn {
    span: Span,
    waited_since: Option<Instant>,
    begun: Option<Instant>,
    /// When the turn's code came back.
    returned: Cell<Option<Instant>>,
}

impl ObservedTurn {
    /// A turn begins. Its span belongs to that of its caller.
    pub(crate) fn begin(
        identity: &Identity,
        method: &'static str,
        waiting: &Waiting,
        is_timed: bool,
    ) -> Self {
        let span = waiting.caller.in_scope(|| turn_span(identity, method));
        let is_wanted = is_timed || !span.is_disabled();
        ObservedTurn {
            span,
            waited_since: waiting.since,
            begun: is_wanted.then(Instant::now),
            returned: Cell::new(None),
        }
    }

    /// What happens as long as the guard lives is a part of the turn.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// The turn's code is done, and its commit or rollback begins.
    pub(crate) fn code_returned(&self) {
        if self.begun.is_some() {
            self.returned.set(Some(Instant::now()));
        }
    }

    /// The turn has ended.
    pub(crate) fn end(self, outcome: Outcome) -> TurnTimes {
        let times = match self.begun {
            Some(begun) => self.times(begun, outcome),
            None => TurnTimes::default(),
        };
        if !self.span.is_disabled() {
            self.span.record("outcome", outcome.as_str());
            let parts = [("waited", times.waited), ("ran", times.ran), ("commit", times.commit)];
            for (field, duration) in parts {
                if let Some(duration) = duration {
                    self.span.record(field, debug(duration));
                }
            }
        }
        times
    }

    fn times(&self, begun: Instant, outcome: Outcome) -> TurnTimes {
        let ended = Instant::now();
        let returned = self.returned.get().unwrap_or(ended);
        TurnTimes {
            waited: self.waited_since.map(|since| begun.saturating_duration_since(since)),
            ran: Some(returned.saturating_duration_since(begun)),
            commit: (outcome == Outcome::Ok).then(|| ended.saturating_duration_since(returned)),
        }
    }
}

fn turn_span(identity: &Identity, method: &'static str) -> Span {
    debug_span!(
        target: TARGET,
        "turn",
        class = %identity.class,
        id = %identity.id,
        name = identity.name.get().map(|name| &**name),
        method,
        outcome = Empty,
        waited = Empty,
        ran = Empty,
        commit = Empty,
    )
}

/// How a turn ended, in one word.
pub(crate) fn outcome_of<R, E>(ended: &Result<R, CallError<E>>) -> Outcome {
    match ended {
        Ok(_) => Outcome::Ok,
        Err(CallError::Application(_) | CallError::Incompatible { .. }) => Outcome::Error,
        Err(CallError::Panicked { .. }) => Outcome::Panicked,
        Err(CallError::RolledBack(_)) => Outcome::RolledBack,
        Err(CallError::Reset { .. }) => Outcome::Reset,
        Err(_) => Outcome::Failed,
    }
}

/// An async handler, or a closed gate's code, in a span of its own. It belongs to that of its caller, if one waits for it.
pub(crate) fn handler<R: 'static>(
    identity: &Identity,
    method: &'static str,
    caller: &Span,
    handler: BoxFuture<R>,
) -> BoxFuture<R> {
    let span = debug_span!(
        target: TARGET,
        parent: caller.id(),
        "handler",
        class = %identity.class,
        id = %identity.id,
        name = identity.name.get().map(|name| &**name),
        method,
    );
    inside(span, handler)
}

/// A background future in a span of its own. It follows from the turn that started it and does not belong to it, which would
/// keep that open for as long.
pub(crate) fn background(identity: &Identity, future: BoxFuture<()>) -> BoxFuture<()> {
    let span = debug_span!(
        target: TARGET,
        parent: None,
        "background",
        class = %identity.class,
        id = %identity.id,
        name = identity.name.get().map(|name| &**name),
    );
    if !span.is_disabled() {
        span.follows_from(Span::current());
    }
    inside(span, future)
}

fn inside<R: 'static>(span: Span, future: BoxFuture<R>) -> BoxFuture<R> {
    if span.is_disabled() { future } else { Box::pin(future.instrument(span)) }
}
