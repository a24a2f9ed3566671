//! The text of a shape, which people read and fingerprints are made of.
//!
//! `(who: String, points: Vec<Point { x: f64, y: f64 }>) -> Option<u32> or ShopError { Closed, Sold(u32) }`: a type is written out
//! where it is mentioned first, and has only its name afterwards. A second type of the same name is `Point#2`.
//!
//! The guarantee: shapes that differ have texts that differ. Names that are no plain words, or words
//! of the text itself, are quoted.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::graph::{Body, Format, Graph, Node, NodeId, Part};
use super::trace::Traced;

/// How long a text may be, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// How deep a text may be nested.
pub(super) const TEXT_DEPTH_MAX: usize = 128;

/// From how many equal elements on a tuple is written as an array.
const ARRAY_MIN: usize = 4;

/// What has a meaning of its own.
pub(super) const RESERVED: [&str; 23] = [
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "f32",
    "f64",
    "char",
    "String",
    "bytes",
    "Option",
    "Vec",
    "Map",
    "or",
    SELF_DESCRIBING,
    "_",
    "self",
];

/// Comes before the Rust name, in quotes, of a type that has no positional form.
pub(super) const SELF_DESCRIBING: &str = "self_describing";

/// The text of a method, and whether all of it has a positional form.
pub(super) fn of_method(graph: &Graph, names: &[&str], traced: &[Traced]) -> (String, bool) {
    let mut writer = Writer { graph, out: String::new(), seen: Seen::default(), depth: 0 };
    let mut is_whole = true;
    writer.out.push('(');
    for (place, part) in traced.iter().enumerate() {
        // The arguments come first, then the reply and the error.
        if let Some(name) = names.get(place) {
            writer.separate(place);
            writer.name(name);
            writer.out.push_str(": ");
        } else if place == names.len() {
            writer.out.push_str(") -> ");
        } else if !part.is_never {
            writer.out.push_str(" or ");
        }
        is_whole &= part.is_never || writer.whole(part);
    }
    (writer.out, is_whole)
}

/// What has been written out.
#[derive(Clone, Debug, Default)]
struct Seen {
    labels: HashMap<NodeId, String>,
    /// How many types have a name.
    names: HashMap<&'static str, usize>,
}

/// The text becomes too long or too deep, as it does for a type without a name that contains itself.
struct Endless;

struct Writer<'g> {
    graph: &'g Graph,
    out: String,
    seen: Seen,
    depth: usize,
}

impl Writer<'_> {
    /// A type, or that it needs a self-describing format.
    fn whole(&mut self, part: &Traced) -> bool {
        let (seen, length) = (self.seen.clone(), self.out.len());
        if let Ok(format) = part.format
            && self.format(format).is_ok()
        {
            return true;
        }
        self.out.truncate(length);
        self.seen = seen;
        self.depth = 0;
        let _ = write!(self.out, "{SELF_DESCRIBING} {:?}", short_name(part.type_name));
        false
    }

    fn format(&mut self, format: Format) -> Result<(), Endless> {
        match format {
            Format::Scalar(scalar) => self.out.push_str(scalar.text()),
            Format::Node(node) => {
                if self.depth == TEXT_DEPTH_MAX || self.out.len() > TEXT_BYTES_MAX {
                    return Err(Endless);
                }
                self.depth += 1;
                self.node(node)?;
                self.depth -= 1;
            }
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<(), Endless> {
        let graph = self.graph;
        let node = graph.node(id);
        match node.body {
            Body::Option => self.around("Option<", &node.parts, ">"),
            Body::Seq => self.around("Vec<", &node.parts, ">"),
            Body::Map => self.around("Map<", &node.parts, ">"),
            Body::Tuple if node.name.is_empty() => self.tuple(&node.parts),
            _ => {
                if let Some(label) = self.seen.labels.get(&id) {
                    self.out.push_str(label);
                    return Ok(());
                }
                self.label(id, node.name);
                self.body(node)
            }
        }
    }

    /// Names a type that is mentioned for the first time.
    fn label(&mut self, id: NodeId, name: &'static str) {
        let length = self.out.len();
        self.name(name);
        let count = self.seen.names.entry(name).or_default();
        *count += 1;
        if *count > 1 {
            let _ = write!(self.out, "#{count}");
        }
        self.seen.labels.insert(id, self.out[length..].to_owned());
    }

    /// What comes after the name of a type or a variant.
    fn body(&mut self, node: &Node) -> Result<(), Endless> {
        match node.body {
            Body::Struct if node.parts.is_empty() => self.out.push_str(" {}"),
            Body::Struct => {
                self.out.push_str(" { ");
                for (place, part) in node.parts.iter().enumerate() {
                    self.separate(place);
                    self.name(part.name);
                    self.out.push_str(": ");
                    self.part(part)?;
                }
                self.out.push_str(" }");
            }
            Body::Enum => {
                self.out.push_str(" { ");
                for (place, part) in node.parts.iter().enumerate() {
                    self.separate(place);
                    self.name(part.name);
                    if let Some(Format::Node(variant)) = part.format {
                        let graph = self.graph;
                        self.body(graph.node(variant))?;
                    }
                }
                self.out.push_str(" }");
            }
            Body::Newtype => self.around("(", &node.parts, ")")?,
            // With a comma at the end where `Name(T)` would be taken for a newtype.
            Body::Tuple => {
                self.around("(", &node.parts, if node.parts.len() == 1 { ",)" } else { ")" })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn tuple(&mut self, parts: &[Part]) -> Result<(), Endless> {
        let [first, rest @ ..] = parts else {
            self.out.push_str("()");
            return Ok(());
        };
        if parts.len() < ARRAY_MIN || rest.iter().any(|part| part.format != first.format) {
            return self.around("(", parts, if rest.is_empty() { ",)" } else { ")" });
        }
        self.out.push('[');
        self.part(first)?;
        let _ = write!(self.out, "; {}]", parts.len());
        Ok(())
    }

    fn around(&mut self, open: &str, parts: &[Part], close: &str) -> Result<(), Endless> {
        self.out.push_str(open);
        for (place, part) in parts.iter().enumerate() {
            self.separate(place);
            self.part(part)?;
        }
        self.out.push_str(close);
        Ok(())
    }

    fn part(&mut self, part: &Part) -> Result<(), Endless> {
        part.format.map_or(Err(Endless), |format| self.format(format))
    }

    fn separate(&mut self, place: usize) {
        if place > 0 {
            self.out.push_str(", ");
        }
    }

    fn name(&mut self, name: &str) {
        if is_plain(name) {
            self.out.push_str(name);
        } else {
            let _ = write!(self.out, "{name:?}");
        }
    }
}

fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.chars().all(is_letter)
        && name.starts_with(|first: char| !first.is_ascii_digit())
        && !RESERVED.contains(&name)
}

/// `Option<String>` for `core::option::Option<alloc::string::String>`.
pub(in crate::wire) fn short_name(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut word_begins = 0;
    let mut rest = full.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ':' && rest.peek() == Some(&':') {
            rest.next();
            short.truncate(word_begins);
            continue;
        }
        short.push(letter);
        if !letter.is_alphanumeric() && letter != '_' {
            word_begins = short.len();
        }
    }
    short
}
