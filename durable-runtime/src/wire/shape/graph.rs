//! The forms of the types of one method, as serde sees them: a graph, since types may contain themselves.

/// What a value looks like in positional form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A value without parts.
    Scalar(Scalar),
    /// A value with parts.
    Node(NodeId),
}

/// A value without parts. Its text is what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Unit,
}

impl Scalar {
    /// Its name in a shape's text. A promise: fingerprints are made of these.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Scalar::Bool => "bool",
            Scalar::I8 => "i8",
            Scalar::I16 => "i16",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::I128 => "i128",
            Scalar::U8 => "u8",
            Scalar::U16 => "u16",
            Scalar::U32 => "u32",
            Scalar::U64 => "u64",
            Scalar::U128 => "u128",
            Scalar::F32 => "f32",
            Scalar::F64 => "f64",
            Scalar::Char => "char",
            Scalar::Str => "String",
            Scalar::Bytes => "bytes",
            Scalar::Unit => "()",
        }
    }
}

/// Where a node stands in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(usize);

/// How the parts of a node hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Body {
    /// The value of one argument, or the reply, or the error: not seen on the wire.
    Root,
    Option,
    Seq,
    /// A key and a value.
    Map,
    /// Of a struct or a variant that has no parts.
    Unit,
    Newtype,
    Tuple,
    Struct,
    /// Its parts are its variants, each a node.
    Enum,
    /// A variant whose parts nobody has seen yet.
    Unexplored,
}

/// A value with parts, or a variant of one.
#[derive(Debug)]
pub(crate) struct Node {
    /// What serde calls it, without type arguments and path; empty if it has no name.
    pub(crate) name: &'static str,
    pub(crate) body: Body,
    pub(crate) parts: Vec<Part>,
}

/// A field, an element, a variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Empty if it has none.
    pub(crate) name: &'static str,
    /// Unknown only while the types are traced.
    pub(crate) format: Option<Format>,
}

impl Part {
    pub(crate) fn unknown(name: &'static str) -> Self {
        Part { name, format: None }
    }
}

/// All nodes of a method.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// Whether what is read in positional form is bounded by the length of the message: how deep it is nested, since no type
    /// contains itself, and how many elements it has, since each of them takes bytes. Who sends it may be a stranger, and bincode counts neither.
    pub(crate) fn is_bounded(&self) -> bool {
        let mut states = vec![Visit::New; self.nodes.len()];
        (0..self.nodes.len()).all(|node| self.visit(node, &mut states).is_some())
    }

    /// Whether a value of this node takes no bytes; `None` if it is not bounded.
    fn visit(&self, place: usize, states: &mut [Visit]) -> Option<bool> {
        match states[place] {
            Visit::Done { is_empty } => return Some(is_empty),
            Visit::Begun => return None,
            Visit::New => states[place] = Visit::Begun,
        }
        let node = &self.nodes[place];
        let mut parts_are_empty = true;
        for part in &node.parts {
            parts_are_empty &= match part.format {
                Some(Format::Node(NodeId(child))) => self.visit(child, states)?,
                Some(Format::Scalar(scalar)) => scalar == Scalar::Unit,
                None => false,
            };
        }
        let is_empty = match node.body {
            Body::Seq | Body::Map if parts_are_empty => return None,
            Body::Root | Body::Unit | Body::Newtype | Body::Tuple | Body::Struct => parts_are_empty,
            Body::Option | Body::Seq | Body::Map | Body::Enum | Body::Unexplored => false,
        };
        states[place] = Visit::Done { is_empty };
        Some(is_empty)
    }

    /// For each node how far it is, in nodes, to something that nobody has seen yet; `None` if there is
    /// nothing left to see behind it.
    pub(crate) fn distances(&self) -> Distances {
        let mut distances = vec![None; self.nodes.len()];
        loop {
            let mut changed = false;
            // Most nodes are older than their parts.
            for (place, node) in self.nodes.iter().enumerate().rev() {
                let found = distance(node, &distances);
                if found.is_some_and(|found| distances[place].is_none_or(|known| found < known)) {
                    distances[place] = found;
                    changed = true;
                }
            }
            if !changed {
                return Distances(distances);
            }
        }
    }
}

/// How far a node has been looked at.
#[derive(Clone, Copy)]
enum Visit {
    New,
    Begun,
    Done { is_empty: bool },
}

fn distance(node: &Node, known: &[Option<usize>]) -> Option<usize> {
    if node.body == Body::Unexplored {
        return Some(0);
    }
    let parts = node.parts.iter().filter_map(|part| match part.format {
        None => Some(0),
        Some(Format::Scalar(_)) => None,
        Some(Format::Node(NodeId(child))) => known[child].map(|distance| distance + 1),
    });
    parts.min()
}

/// See [`Graph::distances`].
#[derive(Debug, Default)]
pub(crate) struct Distances(Vec<Option<usize>>);

impl Distances {
    /// A node that is newer than these distances has everything still to be seen.
    pub(crate) fn of(&self, NodeId(node): NodeId) -> Option<usize> {
        self.0.get(node).copied().unwrap_or(Some(0))
    }
}
