//! The shape of a business method: what its arguments, its reply and its error look like to serde, with
//! the names of fields and variants all the way down.
//!
//! Two programs may call each other in positional form only if they agree on the shape, and say so by
//! comparing [fingerprints](MethodShape::fingerprint). A shape is found out once per process and
//! method, on first use, from the types themselves: see [`trace`]. What cannot be found out for certain has no fingerprint.
//!
//! Everything counts that a reader can see in the shape's [text](MethodShape::describe): the order and
//! names of fields and variants, the names of types without their paths, and the names of the
//! method's arguments, for an argument that has another name may well have another meaning. What counts
//! needlessly costs a slower form, and never a wrong value.
//!
//! The guarantee: equal fingerprints mean that what one side writes [strictly](super::strict) in
//! positional form, the other reads as the same value. A type may still write less than its
//! shape says (`skip_serializing_if`): that is seen when it is written.

mod difference;
mod graph;
mod outline;
mod reader;
mod samples;
mod text;
mod trace;

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub use difference::difference;
pub(super) use graph::{Body, Format, Graph, Node, Scalar};
#[cfg(feature = "json")]
pub(super) use text::short_name;
use trace::Traced;
pub use trace::Tracer;

/// The stack on which types are traced, of which as much is taken as is used.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Where the shape of one method is kept.
pub type ShapeCell = OnceLock<MethodShape>;

/// The shape of one method.
#[derive(Debug)]
pub struct MethodShape {
    graph: Graph,
    /// The arguments, then the reply and the error.
    traced: Vec<Traced>,
    text: String,
    fingerprint: Option<u64>,
}

/// A value of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// An argument, by its place.
    Argument(usize),
    Reply,
    Error,
}

impl MethodShape {
    /// Finds it out, from the names of the arguments and what traces their types, and then the reply and the error.
    pub(crate) fn new(names: &[&str], types: &[fn(&mut Tracer)]) -> Self {
        let Tracer { graph, traced, .. } = on_a_large_stack(|| {
            let mut tracer = Tracer::default();
            for trace in types {
                trace(&mut tracer);
            }
            tracer
        });
        let (text, is_whole) = text::of_method(&graph, names, &traced);
        let is_whole = is_whole && traced.len() == types.len() && graph.is_bounded();
        let fingerprint = is_whole.then(|| fingerprint(&text));
        MethodShape { graph, traced, text, fingerprint }
    }

    /// What two programs compare: the same for the same shape, whatever builds or runs them. `None` if a
    /// value needs a self-describing format, its type could not be traced, or a stranger could make it endless: then positional form is never used.
    pub fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// The shape in words: `(who: String) -> Option<u32> or ShopError { Closed, Sold(u32) }`.
    ///
    /// A value that has no positional form is `self_describing "Filter"`, with the name of its type.
    pub fn describe(&self) -> &str {
        &self.text
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The form of a value, or why it has none.
    pub(super) fn format(&self, value: Value) -> Result<Format, &str> {
        let arguments = self.traced.len().saturating_sub(2);
        let place = match value {
            Value::Argument(place) if place < arguments => place,
            Value::Argument(_) => return Err("the method has no such argument"),
            Value::Reply => arguments,
            Value::Error => arguments + 1,
        };
        let traced = self.traced.get(place).ok_or("the method has no such value")?;
        traced.format.as_ref().copied().map_err(String::as_str)
    }
}

/// Sample values are nested deeper than most real ones, and the caller's stack may be nearly used up:
/// to overflow it would end the program.
fn on_a_large_stack(trace: impl FnOnce() -> Tracer + Send) -> Tracer {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let tracer = thread.spawn_scoped(scope, trace).map(std::thread::ScopedJoinHandle::join);
        // Without a thread nothing is known of any type, and that is safe.
        tracer.ok().and_then(Result::ok).unwrap_or_default()
    })
}

fn fingerprint(text: &str) -> u64 {
    let digest = Sha256::new().chain_update("durable shape 1").chain_update(text).finalize();
    digest[..8].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
