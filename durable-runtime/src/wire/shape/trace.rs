//! Finds out what a type looks like to serde: its `Deserialize` is asked to read sample values, again
//! and again, until every part of it has been seen.
//!
//! A type is told from all others by the [`TypeId`] of its visitor: what serde calls it does not tell
//! `Page<A>` from `Page<B>`. Each pass reads one value. Where a value may end (an `Option`, a sequence,
//! a map) it is entered once or twice in a pass and is empty afterwards, so that a type which contains itself comes
//! to an end; an enum gives a variant that has not been seen, or else one on the way to something that has not.
//!
//! Invariants: what could not be seen whole, or was seen in two different ways, is never said to be
//! known; and a trace ends, after [`STEPS_MAX`] values and [`PASSES_MAX`] passes at the latest.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;

use super::graph::{Body, Distances, Format, Graph, Node, NodeId, Part, Scalar};
use super::reader::{Reader, Stop};
use super::samples;

/// How many values are given to the types of one method, with all their parts. What is looked through
/// between two passes counts as well.
const STEPS_MAX: usize = 1 << 18;

/// How many times one type may be read.
const PASSES_MAX: usize = 4_096;

/// How deep sample values may be nested: each level takes stack, and the stack may be of 2 MiB.
const DEPTH_MAX: usize = 96;

/// How many nodes the types of one method may have.
const NODES_MAX: usize = 16_384;

/// How many parts one node may have.
const PARTS_MAX: usize = 65_536;

/// How often a sequence is given an element in one pass. More than once, for types that refuse to be
/// empty and occur twice; seldom, or a type of many sequences of itself would never end.
const ENTRIES_MAX: usize = 2;

/// Says why a type has no positional form.
pub(crate) type Reason = String;

/// A part of a node: where the next value is read to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) part: usize,
}

/// What tells one type from another.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    visitor: TypeId,
    body: Body,
    name: &'static str,
    members: Vec<&'static str>,
}

/// Traces the types of one method.
#[derive(Debug, Default)]
pub struct Tracer {
    pub(super) graph: Graph,
    nodes: HashMap<Identity, NodeId>,
    /// How many samples a place has refused.
    refusals: HashMap<Place, usize>,
    /// The variants that have been read to their end, by enum, in the order in which they were.
    finished: HashMap<NodeId, Vec<usize>>,
    steps: usize,
    pass: Pass,
    /// What came of the types, in the order in which they were traced.
    pub(super) traced: Vec<Traced>,
}

/// What came of one type.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The type as Rust calls it.
    pub(super) type_name: &'static str,
    /// Its form, or why it has none.
    pub(super) format: Result<Format, Reason>,
    /// Whether there is never such a value.
    pub(super) is_never: bool,
}

/// What is remembered while one value is read.
#[derive(Debug, Default)]
struct Pass {
    distances: Distances,
    /// How often what may be empty was not.
    entries: HashMap<NodeId, usize>,
    /// What is being read just now, from the outermost inwards, of what need not go on.
    open: Vec<NodeId>,
    /// The enums that were asked to lead on to something that has not been seen.
    led: HashSet<NodeId>,
    depth: usize,
    /// Whether anything was seen for the first time.
    progress: bool,
    /// Who is to blame if the value is refused.
    last_scalar: Option<(Place, Scalar)>,
    verdict: Option<Reason>,
}

impl Tracer {
    /// Traces a type: an argument, the reply or the error, in this order.
    pub fn add<T: DeserializeOwned>(&mut self) {
        let format = self.trace::<T>();
        let type_name = std::any::type_name::<T>();
        self.traced.push(Traced { type_name, format, is_never: false });
    }

    /// Says that there is no such value: the error of a method that cannot fail.
    pub fn add_never(&mut self) {
        let format = Err("there is no such value".to_owned());
        self.traced.push(Traced { type_name: "", format, is_never: true });
    }

    fn trace<T: DeserializeOwned>(&mut self) -> Result<Format, Reason> {
        let root = Node { name: "", body: Body::Root, parts: vec![Part::unknown("")] };
        let root = self.graph.add(root);
        let place = Place { node: root, part: 0 };
        for _ in 0..PASSES_MAX {
            self.steps += self.graph.len();
            self.pass = Pass { distances: self.graph.distances(), ..Pass::default() };
            let read = catch_unwind(AssertUnwindSafe(|| {
                T::deserialize(Reader { tracer: self, place }).map(drop)
            }));
            if let Some(verdict) = self.pass.verdict.take() {
                return Err(verdict);
            }
            match read {
                Err(_) => return Err("its `Deserialize` panics".to_owned()),
                Ok(Err(Stop(reason))) => self.refuse_sample(&reason)?,
                Ok(Ok(())) => {
                    if self.graph.distances().of(root).is_none() {
                        let format = self.graph.node(root).parts[0].format;
                        return format.ok_or_else(|| "it reads nothing".to_owned());
                    }
                    if !self.pass.progress {
                        return Err("parts of it cannot be seen".to_owned());
                    }
                }
            }
        }
        Err("it is too large to be traced".to_owned())
    }

    /// Lets the next pass try another sample in the place of the last one.
    fn refuse_sample(&mut self, reason: &str) -> Result<(), Reason> {
        let refused = || format!("its `Deserialize` refuses sample values: {reason}");
        let (place, scalar) = self.pass.last_scalar.ok_or_else(refused)?;
        let refusals = self.refusals.entry(place).or_default();
        *refusals += 1;
        if *refusals >= samples::count(scalar) { Err(refused()) } else { Ok(()) }
    }

    /// Ends the trace of this type: it has no positional form.
    pub(super) fn give_up(&mut self, reason: &str) -> Stop {
        // What is inside comes to a verdict before what is around it.
        self.pass.verdict.get_or_insert_with(|| reason.to_owned());
        Stop(reason.to_owned())
    }

    /// Says what stands in a place.
    fn record(&mut self, place: Place, format: Format) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.give_up("it is too large to be traced"));
        }
        let known = &mut self.graph.node_mut(place.node).parts[place.part].format;
        match *known {
            Some(known) if known == format => Ok(()),
            Some(_) => Err(self.give_up("its form depends on its values")),
            None => {
                *known = Some(format);
                self.pass.progress = true;
                Ok(())
            }
        }
    }

    /// A value without parts, and which of its samples is to be given.
    pub(super) fn scalar(&mut self, place: Place, scalar: Scalar) -> Result<usize, Stop> {
        self.record(place, Format::Scalar(scalar))?;
        self.pass.last_scalar = Some((place, scalar));
        Ok(self.refusals.get(&place).copied().unwrap_or_default())
    }

    /// A value with parts; `V` is the visitor of its type.
    pub(super) fn node<V>(
        &mut self,
        place: Place,
        body: Body,
        name: &'static str,
        members: Vec<&'static str>,
    ) -> Result<NodeId, Stop> {
        let variants = if body == Body::Enum { members.len() } else { 0 };
        if self.graph.len() + variants > NODES_MAX {
            return Err(self.give_up("it is too large to be traced"));
        }
        let visitor = typeid::of::<V>();
        let identity = Identity { visitor, body, name, members };
        let known = self.nodes.get(&identity).copied();
        let node = known.unwrap_or_else(|| {
            let parts = identity.members.iter().map(|member| self.part(body, member)).collect();
            let node = self.graph.add(Node { name, body, parts });
            self.nodes.insert(identity, node);
            node
        });
        self.record(place, Format::Node(node))?;
        Ok(node)
    }

    /// The names of parts that have none.
    pub(super) fn unnamed(&mut self, count: usize) -> Result<Vec<&'static str>, Stop> {
        if count > PARTS_MAX {
            return Err(self.give_up("it is too large to be traced"));
        }
        Ok(vec![""; count])
    }

    fn part(&mut self, body: Body, name: &'static str) -> Part {
        if body != Body::Enum {
            return Part::unknown(name);
        }
        let variant = Node { name, body: Body::Unexplored, parts: Vec::new() };
        Part { name, format: Some(Format::Node(self.graph.add(variant))) }
    }

    /// One level deeper.
    pub(super) fn inside<R>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        if self.pass.depth >= DEPTH_MAX {
            return Err(self.give_up("it is nested too deep to be traced"));
        }
        self.pass.depth += 1;
        let read = read(self);
        self.pass.depth -= 1;
        read
    }

    /// Reads what may be empty, and is told whether it must be.
    pub(super) fn enter<R>(
        &mut self,
        node: NodeId,
        read: impl FnOnce(&mut Self, bool) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let is_open = self.pass.open.contains(&node);
        let entries = self.pass.entries.entry(node).or_default();
        let is_empty = is_open || *entries >= ENTRIES_MAX;
        if !is_empty {
            *entries += 1;
        }
        self.pass.open.push(node);
        let read = self.inside(|tracer| read(tracer, is_empty));
        self.pass.open.pop();
        read
    }

    /// Reads a variant of an enum.
    pub(super) fn enter_variant<R>(
        &mut self,
        node: NodeId,
        read: impl FnOnce(&mut Self, usize, NodeId) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let Some((index, variant)) = self.choose_variant(node) else {
            return Err(self.give_up("it has no value that comes to an end"));
        };
        self.pass.open.extend([node, variant]);
        let value = self.inside(|tracer| read(tracer, index, variant));
        self.pass.open.truncate(self.pass.open.len() - 2);
        if value.is_ok() {
            let finished = self.finished.entry(node).or_default();
            if !finished.contains(&index) {
                finished.push(index);
                self.pass.progress = true;
            }
        }
        value
    }

    fn choose_variant(&mut self, node: NodeId) -> Option<(usize, NodeId)> {
        let variants = self.graph.node(node).parts.iter().enumerate();
        let variants: Vec<(usize, NodeId)> = variants
            .filter_map(|(index, part)| match part.format {
                Some(Format::Node(variant)) => Some((index, variant)),
                _ => None,
            })
            .collect();
        let finished = self.finished.get(&node).map(Vec::as_slice).unwrap_or_default();
        let pass = &mut self.pass;
        let is_nested = pass.open.contains(&node);
        // The first that came to an end did so without another value of this enum inside it.
        let ends = finished.first().map(|index| variants[*index]);
        if is_nested && ends.is_some() {
            return ends;
        }
        let may_begin = |(_, variant): &&(usize, NodeId)| !pass.open.contains(variant);
        let mut unseen = variants.iter().filter(|(index, _)| !finished.contains(index));
        // Those that end stand at the beginning or at the end of most enums.
        let unseen = if is_nested { unseen.rfind(may_begin) } else { unseen.find(may_begin) };
        if let Some(unseen) = unseen {
            return Some(*unseen);
        }
        let onwards = variants
            .iter()
            .filter(may_begin)
            .filter_map(|variant| pass.distances.of(variant.1).map(|distance| (distance, variant)))
            .min_by_key(|(distance, _)| *distance);
        match onwards {
            Some((_, variant)) if self.pass.led.insert(node) => Some(*variant),
            _ => ends,
        }
    }

    /// Says what the parts of a variant are.
    pub(super) fn variant(
        &mut self,
        variant: NodeId,
        body: Body,
        members: &[&'static str],
    ) -> Result<(), Stop> {
        let node = self.graph.node_mut(variant);
        if node.body == Body::Unexplored {
            node.body = body;
            node.parts = members.iter().map(|name| Part::unknown(name)).collect();
            return Ok(());
        }
        let known = node.parts.iter().map(|part| part.name);
        if node.body == body && known.eq(members.iter().copied()) {
            Ok(())
        } else {
            Err(self.give_up("its form depends on its values"))
        }
    }
}
