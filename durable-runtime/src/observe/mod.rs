//! What a program shows of itself while it runs: events and spans for `tracing`, numbers for `metrics`.
//!
//! The guarantee: it costs next to nothing while nobody listens. A turn then takes a few branches more, reads no clock and
//! allocates nothing. The library installs neither a subscriber nor a recorder.
//!
//! `docs/observability.md` lists all of it, and `tests/tests/observability_page.rs` holds the page to the source.

pub(crate) mod events;
pub(crate) mod meters;
pub(crate) mod turns;

/// The target of every event and span: what programs filter by.
pub(crate) const TARGET: &str = "durable";
