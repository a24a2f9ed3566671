//! Reads the text of a shape back, as far as comparing two of them needs it.
//!
//! The text may come from a stranger. The guarantee: any text gives an outline or `None`, in time
//! proportional to its length, and a text that is too long or nested too deep gives `None`.

use std::collections::HashMap;

use super::text::{RESERVED, SELF_DESCRIBING, TEXT_BYTES_MAX, TEXT_DEPTH_MAX};

/// How much longer than its types' texts the text of a method may be: names of arguments and types without form.
const METHOD_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;

/// A method, as its text tells it.
#[derive(Debug)]
pub(super) struct Outline<'t> {
    pub(super) arguments: Vec<Member<'t>>,
    pub(super) reply: Type<'t>,
    pub(super) error: Option<Type<'t>>,
    /// The types that are written out somewhere, by their names.
    pub(super) types: HashMap<&'t str, Body<'t>>,
}

/// An argument, a field.
#[derive(Clone, Debug)]
pub(super) struct Member<'t> {
    pub(super) name: &'t str,
    pub(super) type_: Type<'t>,
}

/// A type where it is mentioned.
#[derive(Clone, Debug)]
pub(super) enum Type<'t> {
    /// One that has a name of its own, or no parts. In types of the same name, with its number.
    Named(&'t str),
    /// `Option<T>`, `Vec<T>`, `Map<K, V>`, a tuple, an array.
    Anonymous(&'static str, Vec<Type<'t>>),
    /// By the name it has in Rust.
    SelfDescribing(&'t str),
}

/// What a type of its own consists of.
#[derive(Clone, Debug)]
pub(super) enum Body<'t> {
    Unit,
    Tuple(Vec<Type<'t>>),
    Fields(Vec<Member<'t>>),
    Variants(Vec<(&'t str, Body<'t>)>),
}

impl<'t> Outline<'t> {
    pub(super) fn read(text: &'t str) -> Option<Self> {
        if text.len() > METHOD_BYTES_MAX {
            return None;
        }
        let mut reader = Reader { rest: text, depth: 0, types: HashMap::new() };
        reader.eat("(")?;
        let arguments = reader.list(")", Reader::member)?;
        reader.eat("->")?;
        let reply = reader.type_()?;
        let error = if reader.at("or") { Some(reader.type_()?) } else { None };
        let is_read = reader.rest.is_empty();
        is_read.then_some(Outline { arguments, reply, error, types: reader.types })
    }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
    types: HashMap<&'t str, Body<'t>>,
}

impl<'t> Reader<'t> {
    /// Takes a token, if it comes next.
    fn at(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.at(token).then_some(())
    }

    fn inside<R>(&mut self, read: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        // A node of a text may take two levels here: a type, and the variant in it.
        if self.depth > 2 * TEXT_DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Items with commas between them, up to what closes the list.
    fn list<R>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Option<R>,
    ) -> Option<Vec<R>> {
        let mut items = Vec::new();
        while !self.at(close) {
            items.push(item(self)?);
            if !self.at(",") {
                self.eat(close)?;
                break;
            }
        }
        Some(items)
    }

    /// A word or a quoted name, with its quotes and its number.
    fn name(&mut self) -> Option<&'t str> {
        let text = self.rest.trim_start();
        let mut length = if text.starts_with('"') { quoted(text)? } else { word(text) };
        if length > 0
            && let Some(number) = text[length..].strip_prefix('#')
        {
            length += 1 + word(number);
        }
        let (name, rest) = text.split_at(length);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn member(&mut self) -> Option<Member<'t>> {
        let name = self.name()?;
        self.eat(":")?;
        Some(Member { name, type_: self.type_()? })
    }

    fn type_(&mut self) -> Option<Type<'t>> {
        self.inside(|reader| {
            if reader.at("(") {
                return Some(Type::Anonymous("a tuple", reader.list(")", Self::type_)?));
            }
            if reader.at("[") {
                let element = reader.type_()?;
                reader.eat(";")?;
                let length = Type::Named(reader.name()?);
                reader.eat("]")?;
                return Some(Type::Anonymous("an array", vec![element, length]));
            }
            match reader.name()? {
                "Option" => reader.arguments("an `Option`"),
                "Vec" => reader.arguments("a sequence"),
                "Map" => reader.arguments("a map"),
                SELF_DESCRIBING => Some(Type::SelfDescribing(reader.name()?)),
                name => {
                    let body = reader.body()?;
                    if !RESERVED.contains(&name) {
                        define(&mut reader.types, name, body);
                    }
                    Some(Type::Named(name))
                }
            }
        })
    }

    fn arguments(&mut self, what: &'static str) -> Option<Type<'t>> {
        self.eat("<")?;
        Some(Type::Anonymous(what, self.list(">", Self::type_)?))
    }

    /// What follows the name of a type or a variant; nothing if it has no parts, or was written out before.
    fn body(&mut self) -> Option<Body<'t>> {
        if self.at("(") {
            return Some(Body::Tuple(self.list(")", Self::type_)?));
        }
        if !self.at("{") {
            return Some(Body::Unit);
        }
        if self.at("}") {
            return Some(Body::Fields(Vec::new()));
        }
        // Fields have a colon after their names, and variants have none.
        let before = self.rest;
        self.name()?;
        let has_fields = self.at(":");
        self.rest = before;
        if has_fields {
            return Some(Body::Fields(self.list("}", Self::member)?));
        }
        let variant = |reader: &mut Self| {
            let name = reader.name()?;
            Some((name, reader.inside(Self::body)?))
        };
        Some(Body::Variants(self.list("}", variant)?))
    }
}

/// The first mention counts, and it is the one that ends last if the type contains itself.
fn define<'t>(types: &mut HashMap<&'t str, Body<'t>>, name: &'t str, body: Body<'t>) {
    let known = types.entry(name).or_insert(Body::Unit);
    if matches!(known, Body::Unit) {
        *known = body;
    }
}

fn word(text: &str) -> usize {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.find(|letter| !is_letter(letter)).unwrap_or(text.len())
}

/// How long the quoted text is, with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(place + 1),
            _ => {}
        }
    }
    None
}
